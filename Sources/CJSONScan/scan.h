// SPDX-License-Identifier: Apache-2.0
// Reads over a JSON string (RFC 8259 §7), 64 bytes at a time. Bit masks in place of branches, after Langdale and Lemire,
// "Parsing Gigabytes of JSON per Second" (https://arxiv.org/abs/1902.08318): where a string is dense with escapes, a loop
// over bytes is an order of magnitude slower.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    // A control byte or an escape that JSON does not know.
    cjson_invalid = -1,
    // No closing quote.
    cjson_unterminated = -2,
};

// One bit for each of 64 bytes.
typedef struct {
    uint64_t quotes;
    uint64_t backslashes;
    uint64_t controls;
} cjson_block;

#if defined(__SSE2__)

static inline uint64_t cjson_gather(__m128i a, __m128i b, __m128i c, __m128i d) {
    return (uint64_t)(uint32_t)_mm_movemask_epi8(a) | (uint64_t)(uint32_t)_mm_movemask_epi8(b) << 16 |
           (uint64_t)(uint32_t)_mm_movemask_epi8(c) << 32 | (uint64_t)(uint32_t)_mm_movemask_epi8(d) << 48;
}

static inline uint64_t cjson_equal(const __m128i v[4], char byte) {
    __m128i want = _mm_set1_epi8(byte);
    return cjson_gather(_mm_cmpeq_epi8(v[0], want), _mm_cmpeq_epi8(v[1], want), _mm_cmpeq_epi8(v[2], want),
                        _mm_cmpeq_epi8(v[3], want));
}

static inline void cjson_load(const uint8_t *bytes, __m128i v[4]) {
    for (int i = 0; i < 4; i++) v[i] = _mm_loadu_si128((const __m128i *)(bytes + 16 * i));
}

static inline cjson_block cjson_read(const uint8_t *bytes) {
    __m128i v[4];
    cjson_load(bytes, v);
    __m128i top = _mm_set1_epi8(0x1F);
    cjson_block block;
    block.quotes = cjson_equal(v, '"');
    block.backslashes = cjson_equal(v, '\\');
    block.controls =
        cjson_gather(_mm_cmpeq_epi8(_mm_min_epu8(v[0], top), v[0]), _mm_cmpeq_epi8(_mm_min_epu8(v[1], top), v[1]),
                     _mm_cmpeq_epi8(_mm_min_epu8(v[2], top), v[2]), _mm_cmpeq_epi8(_mm_min_epu8(v[3], top), v[3]));
    return block;
}

#else

// A bit for each byte of a word that is zero, exactly.
static inline uint64_t cjson_zeros(uint64_t word) {
    uint64_t low = 0x7F7F7F7F7F7F7F7FULL;
    uint64_t zero = ~(((word & low) + low) | word | low);
    return ((zero >> 7) * 0x0102040810204080ULL) >> 56;
}

static inline cjson_block cjson_read(const uint8_t *bytes) {
    cjson_block block = {0, 0, 0};
    for (int i = 0; i < 8; i++) {
        uint64_t word = 0;
        for (int j = 7; j >= 0; j--) word = word << 8 | bytes[8 * i + j];
        block.quotes |= cjson_zeros(word ^ 0x2222222222222222ULL) << (8 * i);
        block.backslashes |= cjson_zeros(word ^ 0x5C5C5C5C5C5C5C5CULL) << (8 * i);
        block.controls |= cjson_zeros(word & 0xE0E0E0E0E0E0E0E0ULL) << (8 * i);
    }
    return block;
}

#endif

static inline int cjson_is_hex(uint8_t byte) {
    return (uint8_t)(byte - '0') < 10 || (uint8_t)((byte | 0x20) - 'a') < 6;
}

// 1 for what may stand behind a backslash, 2 for `u`.
static const uint8_t cjson_escapes[256] = {
    ['"'] = 1, ['\\'] = 1, ['/'] = 1, ['b'] = 1, ['f'] = 1, ['n'] = 1, ['r'] = 1, ['t'] = 1, ['u'] = 2,
};

/// Finds the end of a JSON string.
///
/// `bytes` begins behind the opening quote, and `count` bytes can be read. Returns the offset of the closing quote, or
/// one of the negative values above. Bytes beyond ASCII are let pass whatever they are.
static inline ptrdiff_t cjson_string_end(const uint8_t *bytes, size_t count) {
    // Whether the first byte of the next block stands behind a backslash.
    uint64_t carry = 0;
    for (size_t at = 0; at < count; at += 64) {
        uint8_t padded[64];
        const uint8_t *block_bytes = bytes + at;
        size_t left = count - at;
        if (left < 64) {
            memset(padded, ' ', 64);
            memcpy(padded, block_bytes, left);
            block_bytes = padded;
        }
        cjson_block block = cjson_read(block_bytes);
        uint64_t escaped = carry;
        if (block.backslashes | carry) {
            // A backslash behind an odd number of others is itself escaped: see the paper, figure 3.
            uint64_t starters = block.backslashes & ~carry;
            uint64_t follows = starters << 1 | carry;
            uint64_t even = 0x5555555555555555ULL;
            uint64_t odd_starts = starters & ~even & ~follows;
            uint64_t sum;
            carry = (uint64_t)__builtin_add_overflow(odd_starts, starters, &sum);
            escaped = (even ^ (sum << 1)) & follows;
        }
        uint64_t quotes = block.quotes & ~escaped;
        uint64_t before = quotes ? (quotes & (0 - quotes)) - 1 : ~0ULL;
        if (left < 64) before &= ((uint64_t)1 << left) - 1;
        if (block.controls & before) return cjson_invalid;
        for (uint64_t rest = escaped & before; rest; rest &= rest - 1) {
            size_t place = at + (size_t)__builtin_ctzll(rest);
            uint8_t kind = cjson_escapes[bytes[place]];
            if (kind == 1) continue;
            if (kind != 2 || count - place < 5) return cjson_invalid;
            const uint8_t *hex = bytes + place + 1;
            if (!(cjson_is_hex(hex[0]) && cjson_is_hex(hex[1]) && cjson_is_hex(hex[2]) && cjson_is_hex(hex[3]))) {
                return cjson_invalid;
            }
        }
        if (quotes) return (ptrdiff_t)(at + (size_t)__builtin_ctzll(quotes));
    }
    return cjson_unterminated;
}
