/* Bytes: unaligned loads, and steps over 32 bytes at once.
 *
 * Input is read in steps, so up to PADDING bytes behind the newline of a line have to be readable. Their value never
 * matters. Vectors are those that each processor of an architecture has (SSE2, NEON); the rest is portable.
 */
#ifndef SCANNER_BYTES_H
#define SCANNER_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are read, and Arrow's values written, as little-endian machines have them"
#endif

enum { STEP = 32, PADDING = 64 };

static inline uint64_t load64(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static inline uint32_t load32(const uint8_t *at) {
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

/* What 32 bytes hold: a bit for each that ends a run of plain string bytes (quote, backslash, control), and whether
 * any byte before the first of them is not ASCII. */
typedef struct {
    uint32_t stops, high;
} marks;

/* Copies 32 bytes and marks them. */
static inline marks copy_step(const uint8_t *from, uint8_t *to) {
    marks found;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
    __m128i a = _mm_loadu_si128((const __m128i *)from), b = _mm_loadu_si128((const __m128i *)(from + 16));
    _mm_storeu_si128((__m128i *)to, a);
    _mm_storeu_si128((__m128i *)(to + 16), b);
    __m128i stop_a = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(a, quote), _mm_cmpeq_epi8(a, slash)),
                                  _mm_cmpeq_epi8(_mm_min_epu8(a, control), a));
    __m128i stop_b = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(b, quote), _mm_cmpeq_epi8(b, slash)),
                                  _mm_cmpeq_epi8(_mm_min_epu8(b, control), b));
    found.stops = (uint32_t)_mm_movemask_epi8(stop_a) | (uint32_t)_mm_movemask_epi8(stop_b) << 16;
    found.high = (uint32_t)_mm_movemask_epi8(a) | (uint32_t)_mm_movemask_epi8(b) << 16;
#else
    uint8_t copy[STEP];
    uint32_t stops = 0, high = 0;
    memcpy(copy, from, STEP);
    memcpy(to, copy, STEP);
    for (int i = 0; i < STEP; i++) {
        stops |= (uint32_t)(copy[i] == '"' || copy[i] == '\\' || copy[i] < 0x20) << i;
        high |= (uint32_t)(copy[i] >> 7) << i;
    }
    found.stops = stops;
    found.high = high;
#endif
    return found;
}

/* Whether two texts of `size` bytes are the same. Reads no other byte. */
static inline bool same_bytes(const uint8_t *a, const uint8_t *b, size_t size) {
    if (size >= 8) {
        size_t at = 0;
        for (; at + 8 <= size; at += 8)
            if (load64(a + at) != load64(b + at))
                return false;
        return load64(a + size - 8) == load64(b + size - 8);
    }
    if (size >= 4)
        return load32(a) == load32(b) && load32(a + size - 4) == load32(b + size - 4);
    for (size_t at = 0; at < size; at++)
        if (a[at] != b[at])
            return false;
    return true;
}

/* JSON's blanks but the newline, which ends each line. */
static inline const uint8_t *skip_blanks(const uint8_t *at) {
    while (*at == ' ' || *at == '\t' || *at == '\r')
        at++;
    return at;
}

static inline bool is_digit(uint8_t byte) {
    return (uint8_t)(byte - '0') <= 9;
}

#endif
