// SPDX-License-Identifier: Apache-2.0
// Decodes base64 (RFC 4648 §4), 64 characters at a time where the processor can.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "processor.h"

#if defined(CPROCESSOR_IS_X86)

// What an ASCII character stands for; the top bit is set for those outside the alphabet.
static const uint8_t cbase64_values[128] __attribute__((aligned(64))) = {
    [0 ... '*'] = 0x80, ['+'] = 62, [',' ... '.'] = 0x80, ['/'] = 63, ['0'] = 52, 53, 54, 55, 56, 57, 58, 59, 60, 61,
    [':' ... '@'] = 0x80, ['A'] = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
    24, 25, ['[' ... '`'] = 0x80, ['a'] = 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44,
    45, 46, 47, 48, 49, 50, 51, ['{' ... 0x7F] = 0x80,
};

// Where bytes stand in little-endian numbers of which each has three.
static const uint8_t cbase64_order[64] __attribute__((aligned(64))) = {
    2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 18, 17, 16, 22, 21, 20, 26, 25, 24, 30, 29, 28, 34, 33, 32, 38, 37, 36, 42,
    41, 40, 46, 45, 44, 50, 49, 48, 54, 53, 52, 58, 57, 56, 62, 61, 60,
};

CPROCESSOR_WIDEST static inline size_t cbase64_decode_widest(const uint8_t *text, size_t count, uint8_t *out) {
    const __m512i low = _mm512_load_si512(cbase64_values), high = _mm512_load_si512(cbase64_values + 64);
    size_t at = 0;
    while (count - at >= 4) {
        size_t length = count - at < 64 ? (count - at) / 4 * 4 : 64;
        __mmask64 there = ~(__mmask64)0 >> (64 - length);
        __m512i characters = _mm512_mask_loadu_epi8(_mm512_set1_epi8('A'), there, text + at);
        __m512i values = _mm512_permutex2var_epi8(low, characters, high);
        if (_mm512_movepi8_mask(_mm512_or_si512(values, characters))) break;
        // Two by two, by 2^6 and 1; and these by 2^12 and 1.
        __m512i pairs = _mm512_maddubs_epi16(values, _mm512_set1_epi16(0x0140));
        __m512i fours = _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x00011000));
        __m512i bytes = _mm512_permutexvar_epi8(_mm512_load_si512(cbase64_order), fours);
        _mm512_mask_storeu_epi8(out + at / 4 * 3, there >> length / 4, bytes);
        at += length;
    }
    return at;
}

#endif

/// Decodes four characters to three bytes each, from the first on, for as long as they are in the alphabet and this
/// processor can.
///
/// Returns how many characters were read, a multiple of four. What is behind them is left to the caller.
static inline size_t cbase64_decode(const uint8_t *text, size_t count, uint8_t *out) {
#if defined(CPROCESSOR_IS_X86)
    if (cprocessor_is_widest()) return cbase64_decode_widest(text, count, out);
#endif
    (void)text;
    (void)count;
    (void)out;
    return 0;
}
