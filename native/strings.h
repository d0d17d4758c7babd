/* Strings: JSON strings to UTF-8 text, or to JSON text again.
 *
 * Each function takes the place behind the opening quote and returns the place behind the closing one. It returns NULL
 * if the string is not surely valid (a control character, bytes that are not UTF-8, an escape that JSON does not have,
 * half of a surrogate pair) or if there is no memory. What was appended by then is left behind: the caller rolls back.
 */
#ifndef SCANNER_STRINGS_H
#define SCANNER_STRINGS_H

#include "bytes.h"
#include "memory.h"

/* Appends the string's text. `*escaped` is set if an escape was in it. */
const uint8_t *string_text(const uint8_t *at, buffer *out, bool *escaped);

/* Appends the string as Python's json.dumps(ensure_ascii=False) writes it, with its quotes. */
const uint8_t *string_json(const uint8_t *at, buffer *out);

/* Whether bytes are UTF-8, without surrogates. */
bool is_utf8(const uint8_t *at, const uint8_t *end);

#endif
