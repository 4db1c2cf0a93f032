// SPDX-License-Identifier: Apache-2.0
// Reads over JSON (RFC 8259) without building anything of it, many bytes at a time where the processor can: bit masks
// say where in a block something is that matters.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "processor.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    // A control byte or an escape that JSON does not know.
    cjson_invalid = -1,
    // No closing quote.
    cjson_unterminated = -2,
};

#define CJSON_INLINE __attribute__((always_inline)) static inline

#if defined(__SSE2__)

// Which of 16 bytes matter inside a string, one bit each: quotes, backslashes and control bytes.
CJSON_INLINE uint64_t cjson_marks16(const uint8_t *bytes) {
    __m128i v = _mm_loadu_si128((const __m128i *)bytes);
    __m128i top = _mm_set1_epi8(0x1F);
    __m128i marks = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                              _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))),
                                 _mm_cmpeq_epi8(_mm_min_epu8(v, top), v));
    return (uint64_t)(uint32_t)_mm_movemask_epi8(marks);
}

#else

// A bit for each byte of a word that is zero, exactly.
static inline uint64_t cjson_zeros(uint64_t word) {
    uint64_t low = 0x7F7F7F7F7F7F7F7FULL;
    uint64_t zero = ~(((word & low) + low) | word | low);
    return ((zero >> 7) * 0x0102040810204080ULL) >> 56;
}

static inline uint64_t cjson_marks8(const uint8_t *bytes) {
    uint64_t word = 0;
    for (int j = 7; j >= 0; j--) word = word << 8 | bytes[j];
    return cjson_zeros(word ^ 0x2222222222222222ULL) | cjson_zeros(word ^ 0x5C5C5C5C5C5C5C5CULL) |
           cjson_zeros(word & 0xE0E0E0E0E0E0E0E0ULL);
}

CJSON_INLINE uint64_t cjson_marks16(const uint8_t *bytes) {
    return cjson_marks8(bytes) | cjson_marks8(bytes + 8) << 8;
}

#endif

// The same of 64 bytes.
static inline uint64_t cjson_marks64(const uint8_t *bytes) {
    return cjson_marks16(bytes) | cjson_marks16(bytes + 16) << 16 | cjson_marks16(bytes + 32) << 32 |
           cjson_marks16(bytes + 48) << 48;
}

static inline int cjson_is_hex(uint8_t byte) {
    return (uint8_t)(byte - '0') < 10 || (uint8_t)((byte | 0x20) - 'a') < 6;
}

// 1 for what may stand behind a backslash, 2 for `u`.
static const uint8_t cjson_escapes[256] = {
    ['"'] = 1, ['\\'] = 1, ['/'] = 1, ['b'] = 1, ['f'] = 1, ['n'] = 1, ['r'] = 1, ['t'] = 1, ['u'] = 2,
};

// What follows does for any processor.
static inline ptrdiff_t cjson_string_end_any(const uint8_t *bytes, size_t count) {
    const size_t width = 64;
    size_t at = 0;
    while (at < count) {
        uint64_t marks;
        if (count - at >= width) {
            marks = cjson_marks64(bytes + at);
        } else {
            uint8_t padded[64];
            memset(padded, ' ', 64);
            memcpy(padded, bytes + at, count - at);
            marks = cjson_marks64(padded);
        }
        size_t next = at + width;
        while (marks) {
            size_t place = at + (size_t)__builtin_ctzll(marks);
            uint8_t byte = bytes[place];
            if (byte == '"') return (ptrdiff_t)place;
            if (byte != '\\') return cjson_invalid;
            if (count - place < 2) return cjson_unterminated;
            uint8_t kind = cjson_escapes[bytes[place + 1]];
            if (kind != 1) {
                if (kind != 2 || count - place < 6) return cjson_invalid;
                const uint8_t *hex = bytes + place + 2;
                if (!(cjson_is_hex(hex[0]) && cjson_is_hex(hex[1]) && cjson_is_hex(hex[2]) && cjson_is_hex(hex[3]))) {
                    return cjson_invalid;
                }
            }
            // The mark is done with, and so is one of the byte behind the backslash.
            if (place + 2 >= at + width) {
                next = place + 2;
                break;
            }
            marks &= ~(uint64_t)3 << (place - at);
        }
        at = next;
    }
    return cjson_unterminated;
}

// The end of a string when it is in the first 16 bytes, as that of keys and small values is, and nothing before it
// needs a look; else -1.
CJSON_INLINE ptrdiff_t cjson_short_string_end(const uint8_t *bytes, size_t count) {
    if (count < 16) return -1;
    uint64_t marks = cjson_marks16(bytes);
    if (!marks) return -1;
    size_t place = (size_t)__builtin_ctzll(marks);
    return bytes[place] == '"' ? (ptrdiff_t)place : -1;
}

// The marks of 64 bytes, for as long as strings end among them: keys and small values do.
typedef struct {
    const uint8_t *base;
    uint64_t marks;
} cjson_window;

#if defined(CPROCESSOR_IS_X86)

// 64 bytes of the text.
typedef struct {
    __m256i low, high;
} cjson_block;

CPROCESSOR_WIDE static inline cjson_block cjson_load(const uint8_t *bytes) {
    cjson_block block = {_mm256_loadu_si256((const __m256i *)bytes), _mm256_loadu_si256((const __m256i *)(bytes + 32))};
    return block;
}

// A table for both halves of a vector. It is looked up by the lower half of a byte, and has 0 for those beyond ASCII.
#define CJSON_TABLE(...) _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))

// The top bits of 64 bytes.
CPROCESSOR_WIDE static inline uint64_t cjson_tops(__m256i low, __m256i high) {
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

CPROCESSOR_WIDE static inline uint64_t cjson_equal(cjson_block block, char byte) {
    __m256i all = _mm256_set1_epi8(byte);
    return cjson_tops(_mm256_cmpeq_epi8(block.low, all), _mm256_cmpeq_epi8(block.high, all));
}

CPROCESSOR_WIDE static inline __m256i cjson_controls32(__m256i bytes) {
    return _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1F)), bytes);
}

CPROCESSOR_WIDE static inline uint64_t cjson_controls(cjson_block block) {
    // Mostly there is none.
    if (!_mm256_movemask_epi8(cjson_controls32(_mm256_min_epu8(block.low, block.high)))) return 0;
    return cjson_tops(cjson_controls32(block.low), cjson_controls32(block.high));
}

// Which bytes are quotes or backslashes; their lower halves differ.
CPROCESSOR_WIDE static inline __m256i cjson_delimiters(__m256i bytes) {
    const __m256i both = CJSON_TABLE(-1, -1, '"', -1, -1, -1, -1, -1, -1, -1, -1, -1, '\\', -1, -1, -1);
    return _mm256_cmpeq_epi8(_mm256_shuffle_epi8(both, bytes), bytes);
}

// What `cjson_marks64` does.
CPROCESSOR_WIDE static inline uint64_t cjson_marks64_wide(const uint8_t *bytes) {
    cjson_block block = cjson_load(bytes);
    return cjson_tops(_mm256_or_si256(cjson_delimiters(block.low), cjson_controls32(block.low)),
                      _mm256_or_si256(cjson_delimiters(block.high), cjson_controls32(block.high)));
}

// How many bytes can be read without a mark, up to the 128 that have one.
CPROCESSOR_WIDE static inline size_t cjson_skip_plain(const uint8_t *bytes, size_t count, size_t at) {
    for (; count - at >= 128; at += 128) {
        cjson_block first = cjson_load(bytes + at), second = cjson_load(bytes + at + 64);
        __m256i least = _mm256_min_epu8(_mm256_min_epu8(first.low, first.high),
                                        _mm256_min_epu8(second.low, second.high));
        __m256i marks = _mm256_or_si256(
            _mm256_or_si256(cjson_delimiters(first.low), cjson_delimiters(first.high)),
            _mm256_or_si256(cjson_delimiters(second.low), cjson_delimiters(second.high)));
        if (_mm256_movemask_epi8(_mm256_or_si256(marks, cjson_controls32(least)))) break;
    }
    return at;
}

// Which bytes may stand behind a backslash, quotes left out.
CPROCESSOR_WIDE static inline __m256i cjson_escapable(__m256i bytes) {
    // Of them only ", b and r have the same lower half.
    const __m256i others = CJSON_TABLE(-1, -1, 'b', -1, 't', 'u', 'f', -1, -1, -1, -1, -1, '\\', -1, 'n', '/');
    return _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(others, bytes), bytes),
                           _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('r')));
}

// Which bytes are hexadecimal digits.
CPROCESSOR_WIDE static inline __m256i cjson_hex(__m256i bytes) {
    const __m256i digits = CJSON_TABLE('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', -1, -1, -1, -1, -1, -1);
    const __m256i letters = CJSON_TABLE(-1, 'a', 'b', 'c', 'd', 'e', 'f', -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i small = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
    return _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(digits, bytes), bytes),
                           _mm256_cmpeq_epi8(_mm256_shuffle_epi8(letters, bytes), small));
}

// What a block needs to know of those before it.
typedef struct {
    // 1 when the first byte stands behind a backslash that escapes.
    uint64_t escaped;
    // Of the first four bytes those that must be hexadecimal digits.
    uint64_t hex;
} cjson_carry;

// Which bytes of a block stand behind a backslash that escapes. `slashes` are all of its backslashes.
CJSON_INLINE uint64_t cjson_escaped(uint64_t slashes, cjson_carry *carry) {
    slashes &= ~carry->escaped;
    uint64_t escaping = slashes, behind = slashes & slashes << 1;
    if (behind) {
        // In a run of backslashes every other one escapes, from the first on. Adding the first bit of a run to it
        // clears all of it: so are those that begin at an even place told from the others.
        const uint64_t even = 0x5555555555555555ULL;
        uint64_t at_even = slashes & ~(slashes + ((slashes ^ behind) & even));
        escaping = (at_even & even) | (slashes & ~at_even & ~even);
    }
    uint64_t escaped = escaping << 1 | carry->escaped;
    carry->escaped = escaping >> 63;
    return escaped;
}

// Which bytes must be hexadecimal digits, behind each `u` of an escape.
CJSON_INLINE uint64_t cjson_digits(uint64_t units, cjson_carry *carry) {
    // Four bytes behind each: where these overlap there is a backslash before, which is no digit.
    unsigned __int128 four = (unsigned __int128)units * 30;
    uint64_t digits = (uint64_t)four | carry->hex;
    carry->hex = (uint64_t)(four >> 64);
    return digits;
}

// The end of a string when that is the next mark, and near; else -1, and in `plain` how many bytes have none.
CPROCESSOR_WIDE static inline ptrdiff_t cjson_windowed_string_end(cjson_window *window, const uint8_t *at,
                                                                  size_t count, size_t *plain) {
    size_t offset = (size_t)(at - window->base);
    uint64_t marks = offset < 64 ? window->marks >> offset : 0;
    if (!marks) {
        *plain = 0;
        if (count < 64) return cjson_short_string_end(at, count);
        window->base = at;
        window->marks = marks = cjson_marks64_wide(at);
        *plain = 64;
        if (!marks) return -1;
    }
    size_t place = (size_t)__builtin_ctzll(marks);
    if (at[place] == '"') return (ptrdiff_t)place;
    *plain = place;
    return -1;
}

// The same by 64 bytes at a time, whatever is escaped, from a place on before which there is no mark. What stands
// behind the string's end in its block is read too, and may not matter.
CPROCESSOR_WIDE static ptrdiff_t cjson_string_end_wide(const uint8_t *bytes, size_t count, size_t from) {
    cjson_carry carry = {0, 0};
    for (size_t at = cjson_skip_plain(bytes, count, from); at < count; at += 64) {
        uint8_t padded[64];
        const uint8_t *start = bytes + at;
        if (count - at < 64) {
            memset(padded, ' ', 64);
            memcpy(padded, start, count - at);
            start = padded;
        }
        cjson_block block = cjson_load(start);
        uint64_t bad = 0, quotes = cjson_equal(block, '"'), slashes = cjson_equal(block, '\\');
        if (__builtin_expect((slashes | carry.escaped | carry.hex) != 0, 1)) {
            uint64_t escaped = cjson_escaped(slashes, &carry);
            bad = escaped & ~(quotes | cjson_tops(cjson_escapable(block.low), cjson_escapable(block.high)));
            uint64_t units = escaped & cjson_equal(block, 'u');
            if (units | carry.hex) {
                bad |= cjson_digits(units, &carry) & ~cjson_tops(cjson_hex(block.low), cjson_hex(block.high));
            }
            quotes &= ~escaped;
        }
        bad |= cjson_controls(block);
        uint64_t stops = quotes | bad;
        if (stops) {
            uint64_t first = stops & -stops;
            return bad & first ? cjson_invalid : (ptrdiff_t)(at + (size_t)__builtin_ctzll(first));
        }
        // Where a block has no backslash there may be many.
        if (!slashes && !carry.hex && count - at >= 64) at = cjson_skip_plain(bytes, count, at + 64) - 64;
    }
    return cjson_unterminated;
}

// What a byte is, a bit each.
enum {
    cjson_quote = 1,
    cjson_slash = 2,
    cjson_control = 4,
    cjson_mark = cjson_quote | cjson_slash | cjson_control,
    // It may stand behind a backslash, and is no `u`.
    cjson_short_escape = 8,
    cjson_unit = 16,
    cjson_digit = 32,
};

static const uint8_t cjson_kinds[128] __attribute__((aligned(64))) = {
    [0 ... 0x1F] = cjson_control,
    ['"'] = cjson_quote | cjson_short_escape,
    ['\\'] = cjson_slash | cjson_short_escape,
    ['/'] = cjson_short_escape,
    ['b'] = cjson_short_escape | cjson_digit,
    ['f'] = cjson_short_escape | cjson_digit,
    ['n'] = cjson_short_escape,
    ['r'] = cjson_short_escape,
    ['t'] = cjson_short_escape,
    ['u'] = cjson_unit,
    ['0' ... '9'] = cjson_digit,
    ['A' ... 'F'] = cjson_digit,
    ['a'] = cjson_digit,
    ['c' ... 'e'] = cjson_digit,
};

// What each of 64 bytes is.
CPROCESSOR_WIDEST static inline __m512i cjson_classify(__m512i bytes) {
    // Seven bits are looked up: bytes beyond ASCII are taken for the last one, which is nothing.
    return _mm512_permutex2var_epi8(_mm512_load_si512(cjson_kinds), _mm512_min_epu8(bytes, _mm512_set1_epi8(0x7F)),
                                    _mm512_load_si512(cjson_kinds + 64));
}

CPROCESSOR_WIDEST static inline uint64_t cjson_are(__m512i kinds, int kind) {
    return _mm512_test_epi8_mask(kinds, _mm512_set1_epi8((char)kind));
}

// What `cjson_skip_plain` does.
CPROCESSOR_WIDEST static inline size_t cjson_skip_plain_widest(const uint8_t *bytes, size_t count, size_t at) {
    while (count - at >= 128) {
        __m512i kinds = _mm512_or_si512(cjson_classify(_mm512_loadu_si512(bytes + at)),
                                        cjson_classify(_mm512_loadu_si512(bytes + at + 64)));
        if (cjson_are(kinds, cjson_mark)) break;
        at += 128;
    }
    return at;
}

// What `cjson_string_end_wide` does.
CPROCESSOR_WIDEST static ptrdiff_t cjson_string_end_widest(const uint8_t *bytes, size_t count, size_t from) {
    cjson_carry carry = {0, 0};
    for (size_t at = cjson_skip_plain_widest(bytes, count, from); at < count; at += 64) {
        __m512i block;
        if (__builtin_expect(count - at < 64, 0)) {
            __mmask64 there = ((__mmask64)1 << (count - at)) - 1;
            block = _mm512_mask_loadu_epi8(_mm512_set1_epi8(' '), there, bytes + at);
        } else {
            block = _mm512_loadu_si512(bytes + at);
        }
        __m512i kinds = cjson_classify(block);
        uint64_t slashes = cjson_are(kinds, cjson_slash), stops = cjson_are(kinds, cjson_mark) ^ slashes, bad = 0;
        if (__builtin_expect((slashes | carry.escaped | carry.hex) != 0, 1)) {
            uint64_t escaped = cjson_escaped(slashes, &carry);
            uint64_t others = escaped & ~cjson_are(kinds, cjson_short_escape);
            if (others | carry.hex) {
                uint64_t units = others & cjson_are(kinds, cjson_unit);
                bad = (others ^ units) | (cjson_digits(units, &carry) & ~cjson_are(kinds, cjson_digit));
            }
            stops = (stops & ~escaped) | bad;
        } else if (!stops && count - at >= 64) {
            at = cjson_skip_plain_widest(bytes, count, at + 64) - 64;
        }
        if (stops) {
            uint64_t first = stops & -stops;
            if (first & (bad | ~cjson_are(kinds, cjson_quote))) return cjson_invalid;
            return (ptrdiff_t)(at + (size_t)__builtin_ctzll(first));
        }
    }
    return cjson_unterminated;
}

#endif

// The end of a string when it is near, by the best that the processor has; else -1, and in `plain` how many bytes need
// no other look.
CJSON_INLINE ptrdiff_t cjson_near_string_end(cjson_window *window, const uint8_t *bytes, size_t count, size_t *plain,
                                             int is_wide) {
#if defined(CPROCESSOR_IS_X86)
    if (is_wide) return cjson_windowed_string_end(window, bytes, count, plain);
#endif
    (void)window;
    (void)is_wide;
    *plain = 0;
    return cjson_short_string_end(bytes, count);
}

// The end of a string that is not near.
CJSON_INLINE ptrdiff_t cjson_long_string_end(const uint8_t *bytes, size_t count, size_t plain, int is_wide) {
#if defined(CPROCESSOR_IS_X86)
    if (is_wide) {
        return cprocessor_is_widest() ? cjson_string_end_widest(bytes, count, plain)
                                      : cjson_string_end_wide(bytes, count, plain);
    }
#endif
    (void)is_wide;
    (void)plain;
    return cjson_string_end_any(bytes, count);
}

/// Finds the end of a JSON string (RFC 8259 §7).
///
/// `bytes` begins behind the opening quote, and `count` bytes can be read. Returns the offset of the closing quote, or
/// one of the negative values above; either, when an escape is not complete. Bytes beyond ASCII are let pass whatever
/// they are.
static inline ptrdiff_t cjson_string_end(const uint8_t *bytes, size_t count) {
    ptrdiff_t end = cjson_short_string_end(bytes, count);
    return end < 0 ? cjson_long_string_end(bytes, count, 0, cprocessor_is_wide()) : end;
}

static inline size_t cjson_skip_digits(const uint8_t *bytes, size_t count, size_t at) {
    while (at < count && (uint8_t)(bytes[at] - '0') < 10) at++;
    return at;
}

// The length of a number (RFC 8259 §6), or cjson_invalid.
static inline ptrdiff_t cjson_number_end(const uint8_t *bytes, size_t count) {
    size_t at = 0;
    if (at < count && bytes[at] == '-') at++;
    size_t start = at;
    at = at < count && bytes[at] == '0' ? at + 1 : cjson_skip_digits(bytes, count, at);
    if (at == start) return cjson_invalid;
    if (at < count && bytes[at] == '.') {
        start = at + 1;
        at = cjson_skip_digits(bytes, count, start);
        if (at == start) return cjson_invalid;
    }
    if (at < count && (bytes[at] | 0x20) == 'e') {
        at++;
        if (at < count && (bytes[at] == '+' || bytes[at] == '-')) at++;
        start = at;
        at = cjson_skip_digits(bytes, count, start);
        if (at == start) return cjson_invalid;
    }
    return (ptrdiff_t)at;
}

enum { cjson_maximum_depth = 10000 };

// The containers that are open: a bit for each, set for an object, the innermost one lowest.
typedef struct {
    size_t count;
    uint64_t kinds;
    // What `kinds` was before each 64 of them.
    uint64_t outer[cjson_maximum_depth / 64 + 1];
} cjson_stack;

CJSON_INLINE void cjson_push(cjson_stack *open, int is_object) {
    if (open->count % 64 == 0) open->outer[open->count / 64] = open->kinds;
    open->kinds = open->kinds << 1 | (uint64_t)is_object;
    open->count++;
}

CJSON_INLINE void cjson_pop(cjson_stack *open) {
    open->count--;
    open->kinds = open->count % 64 == 0 ? open->outer[open->count / 64] : open->kinds >> 1;
}

// The length of a number, `true`, `false` or `null`, or cjson_invalid.
static inline ptrdiff_t cjson_scalar_end(const uint8_t *bytes, size_t count) {
    switch (bytes[0]) {
    case 't': return count >= 4 && !memcmp(bytes, "true", 4) ? 4 : cjson_invalid;
    case 'f': return count >= 5 && !memcmp(bytes, "false", 5) ? 5 : cjson_invalid;
    case 'n': return count >= 4 && !memcmp(bytes, "null", 4) ? 4 : cjson_invalid;
    default: return cjson_number_end(bytes, count);
    }
}

// The offset of the first byte that is no white space, or `count`.
static inline size_t cjson_skip_space(const uint8_t *bytes, size_t count, size_t at) {
    while (at < count && (bytes[at] == ' ' || bytes[at] == '\n' || bytes[at] == '\r' || bytes[at] == '\t')) at++;
    return at;
}

CJSON_INLINE uint32_t cjson_word(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    const uint8_t bytes[4] = {a, b, c, d};
    uint32_t word;
    memcpy(&word, bytes, 4);
    return word;
}

// The length of `":"` or `": "`, or of the same with a comma, as stands between two strings; else 0.
CJSON_INLINE ptrdiff_t cjson_between(const uint8_t *at, const uint8_t *behind_all, uint8_t sign) {
    if (behind_all - at < 4) return 0;
    uint32_t word = cjson_word(at[0], at[1], at[2], at[3]);
    if (word == cjson_word('"', sign, ' ', '"')) return 4;
    return (word & cjson_word(0xFF, 0xFF, 0xFF, 0)) == cjson_word('"', sign, '"', 0) ? 3 : 0;
}

// What `cjson_value_end` does, once for any processor and once for those that do more.
CJSON_INLINE ptrdiff_t cjson_walk(const uint8_t *bytes, size_t count, size_t room, const uint8_t *word,
                                  size_t word_length, int *found, int is_wide) {
    cjson_stack open;
    open.count = 0;
    open.kinds = 0;
    if (room > cjson_maximum_depth) room = cjson_maximum_depth;
    const uint8_t *at = bytes, *const behind_all = bytes + count;
    ptrdiff_t length;
    uint8_t byte;
    cjson_window window = {bytes, 0};
    size_t plain;

// The next byte that is no white space. Mostly there is none before it, or one.
#define CJSON_NEXT()                                                                                                   \
    do {                                                                                                               \
        if (at == behind_all) return cjson_unterminated;                                                               \
        byte = *at;                                                                                                    \
        if (byte <= ' ') {                                                                                             \
            at++;                                                                                                      \
            if (byte != ' ' || at == behind_all || (byte = *at) <= ' ') {                                              \
                at--;                                                                                                  \
                at += cjson_skip_space(at, (size_t)(behind_all - at), 0);                                              \
                if (at == behind_all) return cjson_unterminated;                                                       \
                byte = *at;                                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

value:
    CJSON_NEXT();
have_value:
    if (byte == '"') {
        at++;
    value_string:
        length = cjson_near_string_end(&window, at, (size_t)(behind_all - at), &plain, is_wide);
        if (length < 0) {
            length = cjson_long_string_end(at, (size_t)(behind_all - at), plain, is_wide);
            if (length < 0) return length;
        }
        at += length;
        if (open.kinds & 1 && (length = cjson_between(at, behind_all, ',')) > 0) {
            at += length;
            goto key_string;
        }
        at++;
    } else if (byte == '{') {
        if (open.count >= room) return cjson_invalid;
        cjson_push(&open, 1);
        at++;
        CJSON_NEXT();
        if (byte == '}') goto close;
        goto have_key;
    } else if (byte == '[') {
        if (open.count >= room) return cjson_invalid;
        cjson_push(&open, 0);
        at++;
        CJSON_NEXT();
        if (byte == ']') goto close;
        goto have_value;
    } else {
        length = cjson_scalar_end(at, (size_t)(behind_all - at));
        if (length < 0) return length;
        at += length;
    }
    if (open.kinds & 1) goto behind_member;
    if (open.count == 0) return at - bytes;

behind_element:
    CJSON_NEXT();
    if (byte == ',') {
        at++;
        goto value;
    }
    if (byte != ']') return cjson_invalid;

close:
    at++;
    cjson_pop(&open);
    if (open.count == 0) return at - bytes;
    if (!(open.kinds & 1)) goto behind_element;

behind_member:
    CJSON_NEXT();
    if (byte == '}') goto close;
    if (byte != ',') return cjson_invalid;
    at++;
    CJSON_NEXT();

have_key:
    if (byte != '"') return cjson_invalid;
    at++;
key_string:
    length = cjson_near_string_end(&window, at, (size_t)(behind_all - at), &plain, is_wide);
    if (length < 0) {
        length = cjson_long_string_end(at, (size_t)(behind_all - at), plain, is_wide);
        if (length < 0) return length;
        if (found && (size_t)length > word_length && memchr(at, '\\', (size_t)length) != NULL) *found = 1;
    }
    if ((size_t)length == word_length && found && !memcmp(at, word, word_length)) *found = 1;
    at += length;
    if ((length = cjson_between(at, behind_all, ':')) > 0) {
        at += length;
        goto value_string;
    }
    at++;
    CJSON_NEXT();
    if (byte != ':') return cjson_invalid;
    at++;
    goto value;
#undef CJSON_NEXT
}

#if defined(CPROCESSOR_IS_X86)
CPROCESSOR_WIDE static ptrdiff_t cjson_value_end_wide(const uint8_t *bytes, size_t count, size_t room,
                                                      const uint8_t *word, size_t word_length, int *found) {
    return cjson_walk(bytes, count, room, word, word_length, found, 1);
}
#endif

/// Finds the end of a JSON value, validating all of it.
///
/// `room` is how many containers may be open in it, at most `cjson_maximum_depth`. `found`, unless it is NULL, is set
/// when an object in the value has a key that is `word`, or that has an escape and so may be it. Returns the offset
/// behind the value, or one of the negative values above.
static inline ptrdiff_t cjson_value_end(const uint8_t *bytes, size_t count, size_t room, const uint8_t *word,
                                        size_t word_length, int *found) {
    // Most values hold no others, and need no stack.
    if (count > 0 && bytes[0] == '"') {
        ptrdiff_t end = cjson_string_end(bytes + 1, count - 1);
        return end < 0 ? end : end + 2;
    }
    if (count > 0 && bytes[0] > ' ' && bytes[0] != '{' && bytes[0] != '[') return cjson_scalar_end(bytes, count);
#if defined(CPROCESSOR_IS_X86)
    if (cprocessor_is_wide()) return cjson_value_end_wide(bytes, count, room, word, word_length, found);
#endif
    return cjson_walk(bytes, count, room, word, word_length, found, 0);
}

/// A member of an object, counted from the text's first byte.
typedef struct {
    // Behind its opening quote.
    size_t key;
    size_t key_count;
    // Whether there is an escape in the key.
    int is_escaped;
    size_t value;
    // Behind its value.
    size_t end;
} cjson_member;

/// Reads the next member of an object, validating all of it.
///
/// `at` is behind the object's opening brace for the first member and behind the one before for others, and is moved
/// on. The rest is as `cjson_value_end` has it, for the member's value. Returns 1, 0 behind the closing brace, or
/// `cjson_invalid`.
static inline int cjson_next_member(const uint8_t *bytes, size_t count, size_t *at, int is_first, size_t room,
                                    const uint8_t *word, size_t word_length, int *found, cjson_member *member) {
    size_t place = cjson_skip_space(bytes, count, *at);
    if (place >= count) return cjson_invalid;
    if (bytes[place] == '}') {
        *at = place + 1;
        return 0;
    }
    if (!is_first) {
        if (bytes[place] != ',') return cjson_invalid;
        place = cjson_skip_space(bytes, count, place + 1);
    }
    if (place >= count || bytes[place] != '"') return cjson_invalid;
    member->key = place + 1;
    member->is_escaped = 0;
    ptrdiff_t end = cjson_short_string_end(bytes + place + 1, count - place - 1);
    if (end < 0) {
        end = cjson_long_string_end(bytes + place + 1, count - place - 1, 0, cprocessor_is_wide());
        if (end < 0) return cjson_invalid;
        member->is_escaped = memchr(bytes + place + 1, '\\', (size_t)end) != NULL;
    }
    member->key_count = (size_t)end;
    place = cjson_skip_space(bytes, count, place + (size_t)end + 2);
    if (place >= count || bytes[place] != ':') return cjson_invalid;
    place = cjson_skip_space(bytes, count, place + 1);
    member->value = place;
    end = cjson_value_end(bytes + place, count - place, room, word, word_length, found);
    if (end < 0) return cjson_invalid;
    *at = member->end = place + (size_t)end;
    return 1;
}
