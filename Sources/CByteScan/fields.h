// SPDX-License-Identifier: Apache-2.0
// Finds and reads the field lines of an HTTP/1.1 head (RFC 9112 §5), many bytes at a time where the processor can.
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

// The first byte at or behind `at` that may be none of a name's; letters, digits and hyphens are read many at a time.
static inline size_t cfields_name_end(const uint8_t *bytes, size_t count, size_t at) {
#if defined(__SSE2__)
    const __m128i lower = _mm_set1_epi8(0x20), a = _mm_set1_epi8('a'), zero = _mm_set1_epi8('0');
    while (count - at >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(bytes + at));
        __m128i letter = _mm_sub_epi8(_mm_or_si128(v, lower), a), digit = _mm_sub_epi8(v, zero);
        __m128i known = _mm_or_si128(
            _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter),
            _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit),
                         _mm_cmpeq_epi8(v, _mm_set1_epi8('-'))));
        unsigned others = (unsigned)_mm_movemask_epi8(known) ^ 0xFFFF;
        if (!others) {
            at += 16;
            continue;
        }
        at += (size_t)__builtin_ctz(others);
        if (!cfields_token[bytes[at]]) return at;
        at++;
    }
#endif
    // The head's end is no token, so this ends before it.
    while (cfields_token[bytes[at]]) at++;
    return at;
}

/// A bit for names of that length that begin with that byte: sections that lack it have no such name.
static inline uint64_t cfields_name_bit(uint8_t first, size_t count) {
    return UINT64_C(1) << (((size_t)(first | 0x20) + 3 * count) & 63);
}

/// Looks for the end of a head in what has come of it.
///
/// `scanned` is how far it was looked at before, `line` where its last line begins; both are moved on. Returns the place
/// behind the blank line, 0 when more must come, or `cfields_invalid` for a line that ends otherwise than with CR LF.
static inline ptrdiff_t cfields_head_end(const uint8_t *bytes, size_t count, size_t *scanned, size_t *line) {
    size_t at = *scanned, start = *line;
#if defined(__SSE2__)
    const __m128i feed = _mm_set1_epi8('\n');
    for (; count - at >= 16; at += 16) {
        unsigned marks =
            (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(bytes + at)), feed));
        for (; marks; marks &= marks - 1) {
            size_t place = at + (size_t)__builtin_ctz(marks);
            if (place == start || bytes[place - 1] != '\r') return cfields_invalid;
            if (place == start + 1) return (ptrdiff_t)(place + 1);
            start = place + 1;
        }
    }
#endif
    for (; at < count; at++) {
        if (bytes[at] != '\n') continue;
        if (at == start || bytes[at - 1] != '\r') return cfields_invalid;
        if (at == start + 1) return (ptrdiff_t)(at + 1);
        start = at + 1;
    }
    *scanned = count;
    *line = start;
    return 0;
}

/// Reads field lines up to the blank line.
///
/// `start` is where the first begins. The bytes end with CR LF CR LF. Returns how many lines there are, or one of the
/// negative values above; `names` gets the bits of their names. A name is a token with a colon right behind it, no line
/// is folded, and a value has visible characters, spaces, tabs, and bytes beyond ASCII; those around it are not part of
/// it.
static inline ptrdiff_t cfields_read(const uint8_t *bytes, size_t count, size_t start, cfields_line *lines,
                                     size_t room, uint64_t *names) {
    size_t found = 0, at = start;
    uint64_t bits = 0;
    while (at + 2 < count) {
        size_t colon = cfields_name_end(bytes, count, at);
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
        bits |= cfields_name_bit(bytes[at], colon - at);
        at = next;
    }
    *names = bits;
    return (ptrdiff_t)found;
}
