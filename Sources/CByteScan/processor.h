// SPDX-License-Identifier: Apache-2.0
// What the processor can do beyond what every one of its architecture can. The program is built for all, and asks.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#define CPROCESSOR_IS_X86 1

// Most have AVX2 and BMI2.
#define CPROCESSOR_WIDE __attribute__((target("avx2,bmi,bmi2")))

static inline int cprocessor_is_wide(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

// Newer ones have AVX-512 and permute bytes (VBMI): one instruction says what 64 bytes are, half of what AVX2 needs
// does for them, and their clock is not lowered for it.
#define CPROCESSOR_WIDEST __attribute__((target("avx2,bmi,bmi2,avx512bw,avx512vbmi")))

static inline int cprocessor_is_widest(void) {
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi");
}

// Nearly all multiply without carries, as checksums do.
#define CPROCESSOR_CARRYLESS __attribute__((target("pclmul,sse4.1")))

static inline int cprocessor_is_carryless(void) {
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

#else

static inline int cprocessor_is_wide(void) { return 0; }

#endif
