// SPDX-License-Identifier: Apache-2.0
// Reads the field lines of an HTTP/1.1 head (RFC 9112 §5), many bytes at a time where the processor can.
#pragma once
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/// Where a field's name and value stand, counted from the head's first byte.
typedef struct {
    int32_t name;
    int32_t name_count;
    int32_t value;
    int32_t value_count;
} cfields_line;

enum {
    // A line that is no field's.
    cfields_invalid = -1,
    // More lines than there is room for.
    cfields_too_many = -2,
};

// 1 for `tchar` (RFC 9110 §5.6.2).
static const uint8_t cfields_token[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

// The first byte at or behind `at` that no value may have, or a tab; `count` if there is none.
static inline size_t cfields_value_end(const uint8_t *bytes, size_t count, size_t at) {
#if defined(__SSE2__)
    __m128i top = _mm_set1_epi8(0x1F), delete = _mm_set1_epi8(0x7F);
    while (count - at >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(bytes + at));
        int marks = _mm_movemask_epi8(
            _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(v, top), v), _mm_cmpeq_epi8(v, delete)));
        if (marks) return at + (size_t)__builtin_ctz((unsigned)marks);
        at += 16;
    }
#endif
    while (at < count && bytes[at] >= 0x20 && bytes[at] != 0x7F) at++;
    return at;
}

/// Reads field lines up to the blank line.
///
/// `start` is where the first begins. The bytes end with CR LF CR LF. Returns how many lines there are, or one of the
/// negative values above. A name is a token with a colon right behind it, no line is folded, and a value has visible
/// characters, spaces, tabs, and bytes beyond ASCII; those around it are not part of it.
static inline ptrdiff_t cfields_read(const uint8_t *bytes, size_t count, size_t start, cfields_line *lines,
                                     size_t room) {
    size_t found = 0, at = start;
    while (at + 2 < count) {
        size_t colon = at;
        // The head's end is no token, so this ends before it.
        while (cfields_token[bytes[colon]]) colon++;
        if (colon == at || bytes[colon] != ':') return cfields_invalid;
        size_t value = colon + 1;
        while (bytes[value] == ' ' || bytes[value] == '\t') value++;
        size_t end = cfields_value_end(bytes, count, value);
        while (end < count && bytes[end] == '\t') end = cfields_value_end(bytes, count, end + 1);
        if (end + 1 >= count || bytes[end] != '\r' || bytes[end + 1] != '\n') return cfields_invalid;
        size_t next = end + 2;
        while (end > value && (bytes[end - 1] == ' ' || bytes[end - 1] == '\t')) end--;
        if (found == room) return cfields_too_many;
        lines[found++] = (cfields_line){(int32_t)at, (int32_t)(colon - at), (int32_t)value, (int32_t)(end - value)};
        at = next;
    }
    return (ptrdiff_t)found;
}
