/* JSON: values of any kind to compact JSON text, as `json_values.compact_text` writes it.
 *
 * Keys stay in their order, equal ones too. There is no recursion: how deep a value may be is a number, not a matter of
 * the stack.
 */
#ifndef SCANNER_JSON_H
#define SCANNER_JSON_H

#include "bytes.h"
#include "memory.h"

enum { MOST_LEVELS = 512 };

/* Appends the text of the value at `at`. Returns the place behind the value, or NULL if it is not surely valid, has more
 * than `levels` levels of objects and arrays, or if there is no memory. */
const uint8_t *json_compact(const uint8_t *at, int levels, buffer *out);

static inline bool is_null(const uint8_t *at) {
    return load32(at) == load32((const uint8_t *)"null");
}

static inline bool is_true(const uint8_t *at) {
    return load32(at) == load32((const uint8_t *)"true");
}

static inline bool is_false(const uint8_t *at) {
    return same_bytes(at, (const uint8_t *)"false", 5);
}

#endif
