// SPDX-License-Identifier: Apache-2.0
// CRC-32 (ISO 3309, as in gzip) with the processor's carry-less multiplication: zlib's tables take five times as long
// for the few hundred bytes of a message.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "processor.h"

#if defined(CPROCESSOR_IS_X86)

// Powers of x modulo the checksum's polynomial, x^32 + x^26 + ... + 1, with the coefficient of the highest power in the
// lowest bit, as the bytes have it that come first. The instruction's products are one bit too low, hence 33 bits here.
// Source: Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel, 2009.
static const uint64_t ccrc_x160 = 0x1751997d0; // x^(128+32)
static const uint64_t ccrc_x96 = 0x0ccaa009e;  // x^(128-32)
static const uint64_t ccrc_x64 = 0x163cd6124;
static const uint64_t ccrc_modulus = 0x1db710641;
static const uint64_t ccrc_quotient = 0x1f7011641; // of x^64 by the modulus

// Moves 16 bytes of the message on by as many: what they are modulo the checksum's polynomial, with room behind.
CPROCESSOR_CARRYLESS static inline __m128i ccrc_fold(__m128i bytes) {
    const __m128i powers = _mm_set_epi64x((int64_t)ccrc_x96, (int64_t)ccrc_x160);
    return _mm_xor_si128(_mm_clmulepi64_si128(bytes, powers, 0x00), _mm_clmulepi64_si128(bytes, powers, 0x11));
}

// The checksum of a message of 16 bytes.
CPROCESSOR_CARRYLESS static inline uint32_t ccrc_reduce(__m128i bytes) {
    const __m128i low32 = _mm_set_epi32(0, -1, 0, -1);
    const __m128i powers = _mm_set_epi64x((int64_t)ccrc_x96, (int64_t)ccrc_x64);
    // To 96 bits and to 64.
    bytes = _mm_xor_si128(_mm_srli_si128(bytes, 8), _mm_clmulepi64_si128(bytes, powers, 0x10));
    bytes = _mm_xor_si128(_mm_srli_si128(bytes, 4), _mm_clmulepi64_si128(_mm_and_si128(bytes, low32), powers, 0x00));
    // Barrett's reduction: what is left without the nearest multiple of the modulus.
    const __m128i barrett = _mm_set_epi64x((int64_t)ccrc_quotient, (int64_t)ccrc_modulus);
    __m128i times = _mm_clmulepi64_si128(_mm_and_si128(bytes, low32), barrett, 0x10);
    times = _mm_clmulepi64_si128(_mm_and_si128(times, low32), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(bytes, times), 1);
}

// `ccrc_checksum` of four bytes at least.
CPROCESSOR_CARRYLESS static inline uint32_t ccrc_checksum_folding(uint32_t start, const uint8_t *bytes, size_t count) {
    // Zeros before a message change nothing.
    if (count == 8) {
        uint64_t both;
        memcpy(&both, bytes, 8);
        return ~ccrc_reduce(_mm_set_epi64x((int64_t)(both ^ (uint32_t)~start), 0));
    }
    uint32_t first;
    memcpy(&first, bytes, 4);
    first ^= ~start;
    if (count < 16) {
        uint8_t padded[16] = {0};
        memcpy(padded + 16 - count, bytes, count);
        memcpy(padded + 16 - count, &first, 4);
        return ~ccrc_reduce(_mm_loadu_si128((const __m128i *)padded));
    }
    __m128i sum = _mm_insert_epi32(_mm_loadu_si128((const __m128i *)bytes), (int)first, 0);
    size_t at = 16;
    for (; count - at >= 16; at += 16) {
        sum = _mm_xor_si128(ccrc_fold(sum), _mm_loadu_si128((const __m128i *)(bytes + at)));
    }
    if (at < count) {
        // As many bytes as are left are moved on, with zeros before them; the others stand before those that are left.
        static const uint8_t places[48] = {
            -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0,  1,  2,  3,  4,  5,  6,  7,
            8,  9,  10, 11, 12, 13, 14, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
        };
        const uint8_t *from = places + (count - at);
        __m128i others = _mm_loadu_si128((const __m128i *)(from + 16));
        __m128i end = _mm_loadu_si128((const __m128i *)(bytes + count - 16));
        __m128i moved = ccrc_fold(_mm_shuffle_epi8(sum, _mm_loadu_si128((const __m128i *)from)));
        sum = _mm_xor_si128(moved, _mm_blendv_epi8(_mm_shuffle_epi8(sum, others), end, others));
    }
    return ~ccrc_reduce(sum);
}

#endif

/// The checksum of bytes that come behind others, of which it is `start`; 0 where there are none.
///
/// Returns whether this processor can make it of so few or many bytes; zlib makes it of any.
static inline int ccrc_checksum(uint32_t start, const uint8_t *bytes, size_t count, uint32_t *checksum) {
#if defined(CPROCESSOR_IS_X86)
    if (count >= 4 && cprocessor_is_carryless()) {
        *checksum = ccrc_checksum_folding(start, bytes, count);
        return 1;
    }
#endif
    (void)start;
    (void)bytes;
    (void)count;
    (void)checksum;
    return 0;
}
