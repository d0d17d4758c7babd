#include "numbers.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SURE_DIGITS = 15,   /* a decimal of so many digits is its double's shortest text */
    MOST_DIGITS = 17,   /* that a double's shortest text can have */
    LONGEST_TEXT = 512, /* of a number that strtod is asked for */
};

const uint8_t *number_parts(const uint8_t *at, number *found) {
    found->start = at;
    found->negative = *at == '-';
    at += found->negative;
    found->whole = at;
    if (*at == '0')
        at++;
    else if (is_digit(*at))
        while (is_digit(*at))
            at++;
    else
        return NULL;
    found->whole_size = (size_t)(at - found->whole);
    found->fraction = found->exponent = NULL;
    found->fraction_size = 0;
    if (*at == '.') {
        found->fraction = ++at;
        while (is_digit(*at))
            at++;
        found->fraction_size = (size_t)(at - found->fraction);
        if (found->fraction_size == 0)
            return NULL;
    }
    if (*at == 'e' || *at == 'E') {
        found->exponent = ++at;
        at += *at == '+' || *at == '-';
        if (!is_digit(*at))
            return NULL;
        while (is_digit(*at))
            at++;
    }
    found->end = at;
    return at;
}

/* The fraction without the zeros at its end. */
static size_t significant(const number *it) {
    size_t size = it->fraction_size;
    while (size > 0 && it->fraction[size - 1] == '0')
        size--;
    return size;
}

static uint64_t digits(uint64_t value, const uint8_t *at, size_t size) {
    for (size_t i = 0; i < size; i++)
        value = value * 10 + (uint64_t)(at[i] - '0');
    return value;
}

bool number_long(const number *it, int64_t *value) {
    if (it->exponent != NULL || it->whole_size > 19 || significant(it) > 0)
        return false;
    uint64_t size = digits(0, it->whole, it->whole_size); /* 19 digits fit */
    if (size > (uint64_t)INT64_MAX + it->negative)
        return false;
    *value = it->negative ? (int64_t)(0 - size) : (int64_t)size;
    return true;
}

/* The exponent of ten by which the number's digits, read as one whole number, are to be multiplied. */
static long power_of_ten(const number *it) {
    long power = 0;
    if (it->exponent != NULL) {
        const uint8_t *at = it->exponent;
        bool negative = *at == '-';
        at += *at == '+' || *at == '-';
        for (; at < it->end; at++)
            power = power < 100000 ? power * 10 + (*at - '0') : power; /* more is as much to a double */
        power = negative ? -power : power;
    }
    return power - (long)it->fraction_size;
}

/* The double of a text that may be long: strtod of a text without a point, as locales differ in that alone. */
static bool slow_double(const number *it, double *value) {
    char text[LONGEST_TEXT + 32];
    if (it->whole_size + it->fraction_size > LONGEST_TEXT)
        return false;
    memcpy(text, it->whole, it->whole_size);
    if (it->fraction_size)
        memcpy(text + it->whole_size, it->fraction, it->fraction_size);
    snprintf(text + it->whole_size + it->fraction_size, 32, "e%ld", power_of_ten(it));
    *value = strtod(text, NULL);
    if (it->negative)
        *value = -*value;
    return true;
}

bool number_double(const number *it, double *value) {
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (it->end - it->start == 2 && it->start[0] == '-' && it->start[1] == '0') {
        *value = 0.0;
        return true;
    }
    if (it->whole_size + it->fraction_size <= 18) { /* both factors are doubles, so that their quotient is rounded once */
        uint64_t all = digits(digits(0, it->whole, it->whole_size), it->fraction, it->fraction_size);
        long power = power_of_ten(it);
        if (all <= (uint64_t)1 << 53 && power >= -22 && power <= 22) {
            double size = power < 0 ? (double)all / tens[-power] : (double)all * tens[power];
            *value = it->negative ? -size : size;
            return true;
        }
    }
    return slow_double(it, value) && isfinite(*value);
}

bool number_decimal(const number *it, int precision, int scale, uint64_t value[2]) {
    size_t fraction = significant(it);
    size_t whole = it->whole_size == 1 && it->whole[0] == '0' ? 0 : it->whole_size;
    if (it->exponent != NULL || fraction > (size_t)scale || whole > (size_t)(precision - scale))
        return false;
    unsigned __int128 all = 0; /* 38 digits fit */
    for (size_t i = 0; i < whole; i++)
        all = all * 10 + (unsigned)(it->whole[i] - '0');
    for (size_t i = 0; i < (size_t)scale; i++)
        all = all * 10 + (i < fraction ? (unsigned)(it->fraction[i] - '0') : 0);
    if (it->negative)
        all = 0 - all;
    value[0] = (uint64_t)all;
    value[1] = (uint64_t)(all >> 64);
    return true;
}

static bool append(buffer *out, const uint8_t *text, size_t size) {
    if (!buffer_has(out, size))
        return false;
    memcpy(out->data + out->used, text, size);
    out->used += size;
    return true;
}

/* Appends what Python's repr makes of a double's shortest digits: 0.d1d2d3... times 10 ** point. */
static bool append_repr(buffer *out, bool negative, const char *shortest, int count, int point) {
    char text[64], *at = text;
    if (negative)
        *at++ = '-';
    if (point > -4 && point <= 16) {
        if (point <= 0) {
            memcpy(at, "0.0000", 6);
            at += 2 - point;
        }
        for (int i = 0; i < count || i < point; i++) {
            if (i == point && i > 0)
                *at++ = '.';
            *at++ = i < count ? shortest[i] : '0';
        }
        if (count <= point) {
            memcpy(at, ".0", 2);
            at += 2;
        }
    } else {
        *at++ = shortest[0];
        if (count > 1) {
            *at++ = '.';
            memcpy(at, shortest + 1, (size_t)(count - 1));
            at += count - 1;
        }
        at += snprintf(at, 8, "e%c%02d", point > 0 ? '+' : '-', abs(point - 1));
    }
    return append(out, (const uint8_t *)text, (size_t)(at - text));
}

/* The text of a number that is not written as repr writes it, or has more digits than are sure. */
static bool slow_text(const number *it, buffer *out) {
    double value;
    int bits, exponent = 0;
    if (!slow_double(it, &value))
        return false;
    if (isinf(value))
        return append(out, it->start, (size_t)(it->end - it->start));
    if (value == 0)
        return append_repr(out, it->negative, "0", 1, 1);
    value = fabs(value);
    if (value < DBL_MIN)
        return false;
    /* The doubles below a power of two are closer than those above: the nearest text need not be the shortest there. */
    int most = frexp(value, &bits) == 0.5 ? SURE_DIGITS : MOST_DIGITS;
    char text[40], shortest[MOST_DIGITS + 1];
    for (int count = SURE_DIGITS; count <= most; count++) {
        snprintf(text, sizeof text, "%.*e", count - 1, value);
        int size = 0;
        const char *at = text;
        for (; *at != 'e'; at++) /* a point, whatever it is in this locale, is left out */
            if (is_digit((uint8_t)*at) && size < count)
                shortest[size++] = *at;
        exponent = atoi(at + 1);
        snprintf(text, sizeof text, "%.*se%d", size, shortest, exponent - (size - 1));
        if (strtod(text, NULL) == value) {
            while (size > 1 && shortest[size - 1] == '0')
                size--;
            return append_repr(out, it->negative, shortest, size, exponent + 1);
        }
    }
    return false;
}

bool number_text(const number *it, buffer *out) {
    if (it->fraction == NULL && it->exponent == NULL) {
        bool minus_zero = it->negative && it->whole[0] == '0';
        return append(out, it->start + minus_zero, (size_t)(it->end - it->start) - minus_zero);
    }
    if (it->exponent != NULL || it->whole_size + it->fraction_size > SURE_DIGITS)
        return slow_text(it, out);
    size_t size = significant(it);
    if (it->whole_size == 1 && it->whole[0] == '0' && size > 4 && load32(it->fraction) == load32((const uint8_t *)"0000"))
        return slow_text(it, out); /* 1e-05 */
    return append(out, it->start, (size_t)(it->fraction - it->start) + (size ? size : 1));
}
