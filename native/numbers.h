/* Numbers: JSON numbers to the values of columns, or to the text that a map has for them.
 *
 * `number_parts` follows JSON's grammar by the letter. The others take its result and return false if they are not
 * sure of the value, which must be exactly the one of `compactor.types.json_values`.
 */
#ifndef SCANNER_NUMBERS_H
#define SCANNER_NUMBERS_H

#include "bytes.h"
#include "memory.h"

/* Where the parts of a number are. */
typedef struct {
    const uint8_t *start, *end;
    const uint8_t *whole, *fraction; /* first digits; no fraction: NULL */
    size_t whole_size, fraction_size;
    const uint8_t *exponent; /* behind the e; none: NULL */
    bool negative;
} number;

/* Returns the place behind the number, or NULL. */
const uint8_t *number_parts(const uint8_t *at, number *found);

/* A whole number of 64 bits, also one that is written with a fraction of zeros. */
bool number_long(const number *it, int64_t *value);

/* The nearest double, finite. "-0" is a whole number and has no sign. */
bool number_double(const number *it, double *value);

/* The number times 10 ** scale as 128 bits, lower half first: exact, of at most `precision` digits. */
bool number_decimal(const number *it, int precision, int scale, uint64_t value[2]);

/* Appends the text of `json_values.number_text`: of a whole number all digits, else the shortest that reads as the same
 * double, as Python's repr writes it. */
bool number_text(const number *it, buffer *out);

#endif
