// SPDX-License-Identifier: Apache-2.0
// Reads over JSON (RFC 8259) without building anything of it, many bytes at a time where the processor can: bit masks say
// where in a block something is that matters.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
// Most x86-64 processors have AVX2; the program is built for all, and asks.
#if defined(__x86_64__)
#include <immintrin.h>
#define CJSON_AVX2 1
#endif

enum {
    // A control byte or an escape that JSON does not know.
    cjson_invalid = -1,
    // No closing quote.
    cjson_unterminated = -2,
};

#if defined(__SSE2__)

// Which of 16 bytes matter inside a string, one bit each: quotes, backslashes and control bytes.
static inline uint64_t cjson_marks16(const uint8_t *bytes) {
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

static inline uint64_t cjson_marks16(const uint8_t *bytes) {
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

#if defined(CJSON_AVX2)

__attribute__((target("avx2"))) static inline uint64_t cjson_equal64(__m256i low, __m256i high, char byte) {
    __m256i all = _mm256_set1_epi8(byte);
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, all)) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, all)) << 32;
}

// The same with AVX2: what is escaped becomes a mask, and the first of the other quotes is the end. What stands behind
// that end in its block is read too, and may not matter.
__attribute__((target("avx2"))) static ptrdiff_t cjson_string_end_avx2(const uint8_t *bytes, size_t count) {
    // Whether the byte at hand stands behind a backslash of the block before.
    uint64_t carried = 0;
    for (size_t at = 0; at < count; at += 64) {
        uint8_t padded[64];
        const uint8_t *block = bytes + at;
        if (count - at < 64) {
            memset(padded, ' ', 64);
            memcpy(padded, block, count - at);
            block = padded;
        }
        __m256i low = _mm256_loadu_si256((const __m256i *)block);
        __m256i high = _mm256_loadu_si256((const __m256i *)(block + 32));
        __m256i top = _mm256_set1_epi8(0x1F);
        uint64_t quotes = cjson_equal64(low, high, '"'), slashes = cjson_equal64(low, high, '\\');
        // Control bytes, and escapes that JSON does not know.
        uint64_t bad =
            (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(low, top), low)) |
            (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(high, top), high)) << 32;
        uint64_t escaped = carried;
        slashes &= ~carried;
        carried = 0;
        while (slashes) {
            uint64_t place = (uint64_t)__builtin_ctzll(slashes);
            uint8_t kind = count - at - place < 2 ? 0 : cjson_escapes[bytes[at + place + 1]];
            if (kind != 1) {
                const uint8_t *hex = bytes + at + place + 2;
                if (kind != 2 || count - at - place < 6 || !cjson_is_hex(hex[0]) || !cjson_is_hex(hex[1]) ||
                    !cjson_is_hex(hex[2]) || !cjson_is_hex(hex[3])) {
                    bad |= (uint64_t)1 << place;
                }
            }
            if (place == 63) {
                carried = 1;
                break;
            }
            escaped |= (uint64_t)2 << place;
            slashes &= ~((uint64_t)3 << place);
        }
        quotes &= ~escaped;
        uint64_t stops = quotes | bad;
        if (stops) {
            uint64_t first = stops & -stops;
            return quotes & first ? (ptrdiff_t)(at + (size_t)__builtin_ctzll(first)) : cjson_invalid;
        }
    }
    return cjson_unterminated;
}

#endif

/// Finds the end of a JSON string (RFC 8259 §7).
///
/// `bytes` begins behind the opening quote, and `count` bytes can be read. Returns the offset of the closing quote, or one
/// of the negative values above; either, when a backslash is the last byte. Bytes beyond ASCII are let pass whatever they
/// are.
static inline ptrdiff_t cjson_string_end(const uint8_t *bytes, size_t count) {
    // Keys and small values end in the first 16 bytes.
    if (count >= 16) {
        uint64_t marks = cjson_marks16(bytes);
        if (marks) {
            size_t place = (size_t)__builtin_ctzll(marks);
            if (bytes[place] == '"') return (ptrdiff_t)place;
        }
#if defined(CJSON_AVX2)
        if (__builtin_cpu_supports("avx2")) return cjson_string_end_avx2(bytes, count);
#endif
    }
    return cjson_string_end_any(bytes, count);
}

static inline size_t cjson_skip_space(const uint8_t *bytes, size_t count, size_t at) {
    // Mostly there is none, or one.
    if (at < count && bytes[at] > ' ') return at;
    if (at < count && bytes[at] == ' ' && ++at < count && bytes[at] > ' ') return at;
    while (at < count && (bytes[at] == ' ' || bytes[at] == '\n' || bytes[at] == '\r' || bytes[at] == '\t')) at++;
    return at;
}

static inline size_t cjson_skip_digits(const uint8_t *bytes, size_t count, size_t at) {
    while (at < count && (uint8_t)(bytes[at] - '0') < 10) at++;
    return at;
}

// The offset behind a number (RFC 8259 §6), or cjson_invalid.
static inline ptrdiff_t cjson_number_end(const uint8_t *bytes, size_t count, size_t at) {
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

/// Finds the end of a JSON value, validating all of it.
///
/// `room` is how many containers may be open in it, at most `cjson_maximum_depth`. `found`, unless it is NULL, is set when
/// an object in the value has a key that is `word`, or that has an escape and so may be it. Returns the offset behind the
/// value, or one of the negative values above.
static inline ptrdiff_t cjson_value_end(const uint8_t *bytes, size_t count, size_t room, const uint8_t *word,
                                        size_t word_length, int *found) {
    // A bit for each open container: whether it is an object.
    uint64_t kinds[cjson_maximum_depth / 64 + 1];
    size_t open = 0, at = 0;
    int is_object = 0;
    ptrdiff_t end;

value:
    at = cjson_skip_space(bytes, count, at);
    if (at >= count) return cjson_unterminated;
    switch (bytes[at]) {
    case '"':
        end = cjson_string_end(bytes + at + 1, count - at - 1);
        if (end < 0) return end;
        at += (size_t)end + 2;
        break;
    case '{':
    case '[':
        if (open >= room || open >= cjson_maximum_depth) return cjson_invalid;
        is_object = bytes[at] == '{';
        if (is_object) {
            kinds[open / 64] |= (uint64_t)1 << open % 64;
        } else {
            kinds[open / 64] &= ~((uint64_t)1 << open % 64);
        }
        open++;
        at = cjson_skip_space(bytes, count, at + 1);
        if (at >= count) return cjson_unterminated;
        if (bytes[at] == (is_object ? '}' : ']')) goto close;
        if (is_object) goto key;
        goto value;
    case 't':
        if (count - at < 4 || memcmp(bytes + at, "true", 4)) return cjson_invalid;
        at += 4;
        break;
    case 'f':
        if (count - at < 5 || memcmp(bytes + at, "false", 5)) return cjson_invalid;
        at += 5;
        break;
    case 'n':
        if (count - at < 4 || memcmp(bytes + at, "null", 4)) return cjson_invalid;
        at += 4;
        break;
    default:
        end = cjson_number_end(bytes, count, at);
        if (end < 0) return end;
        at = (size_t)end;
    }

behind:
    if (open == 0) return (ptrdiff_t)at;
    at = cjson_skip_space(bytes, count, at);
    if (at >= count) return cjson_unterminated;
    if (bytes[at] == ',') {
        at++;
        if (!is_object) goto value;
        at = cjson_skip_space(bytes, count, at);
        goto key;
    }
    if (bytes[at] != (is_object ? '}' : ']')) return cjson_invalid;

close:
    at++;
    open--;
    is_object = open > 0 && (kinds[(open - 1) / 64] >> (open - 1) % 64 & 1);
    goto behind;

key:
    if (at >= count) return cjson_unterminated;
    if (bytes[at] != '"') return cjson_invalid;
    end = cjson_string_end(bytes + at + 1, count - at - 1);
    if (end < 0) return end;
    if (found && (size_t)end >= word_length) {
        const uint8_t *name = bytes + at + 1;
        if ((size_t)end == word_length ? !memcmp(name, word, word_length) : memchr(name, '\\', (size_t)end) != NULL) {
            *found = 1;
        }
    }
    at = cjson_skip_space(bytes, count, at + (size_t)end + 2);
    if (at >= count) return cjson_unterminated;
    if (bytes[at] != ':') return cjson_invalid;
    at++;
    goto value;
}

/// A member of an object, counted from the text's first byte.
typedef struct {
    // Behind its opening quote.
    size_t key;
    size_t key_count;
    size_t value;
    // Behind its value.
    size_t end;
} cjson_member;

/// Reads the next member of an object, validating all of it.
///
/// `at` is behind the object's opening brace for the first member and behind the one before for others, and is moved on.
/// The rest is as `cjson_value_end` has it, for the member's value. Returns 1, 0 behind the closing brace, or
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
    ptrdiff_t end = cjson_string_end(bytes + place + 1, count - place - 1);
    if (end < 0) return cjson_invalid;
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
