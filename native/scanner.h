/* The scanner: lines of NDJSON to the buffers of Arrow arrays.
 *
 * A scanner reads the records of one version of a dataset. It accepts a line only if the exact path (in Python) accepts
 * it, with the same values. Each other line is *unsure*, and leaves nothing behind: the exact path decides on it. A
 * blank line, if it is not too long, is neither.
 *
 * A scanner may be used by any thread, but only by one at a time. Nothing is shared between scanners.
 *
 * Usage: `scanner_scan` reads lines; `scanner_layout` then says how large the buffers are; `scanner_export` copies them.
 */
#ifndef SCANNER_H
#define SCANNER_H

#include <stdint.h>

/* All other names stay inside the library. */
#define SCANNER_API __attribute__((visibility("default")))

enum { SCANNER_ABI = 1 }; /* grows with each change of what is declared here */

enum kind { KIND_STRING, KIND_LONG, KIND_DOUBLE, KIND_BOOLEAN, KIND_TIMESTAMP, KIND_DATE, KIND_DECIMAL, KIND_MAP };

typedef struct {
    int32_t kind, required;
    int32_t precision, scale; /* of a decimal */
    const uint8_t *name;      /* its JSON key as UTF-8 */
    int64_t name_size;
} scanner_field;

/* Where a buffer lies in what `scanner_export` writes. A bitmap of values that are all valid has no bytes. */
typedef struct {
    int64_t start, size;
} scanner_place;

typedef struct scanner scanner;

SCANNER_API int32_t scanner_abi(void);

/* A scanner, or NULL if there is no memory.
 *
 * Only lines whose field number `version_field`, a long, is `version` are accepted; only lines of at most `line_limit`
 * bytes without the newline; and with at most `levels` levels of objects and arrays, the record itself included. */
SCANNER_API scanner *scanner_make(const scanner_field *fields, int64_t count, int64_t version_field, int64_t version,
                      int64_t line_limit, int64_t levels);
SCANNER_API void scanner_free(scanner *it);

/* Reads whole lines, each with its newline. The result replaces that of the scan before. `size` is at most SCANNER_MOST.
 * Returns false if there is no memory for the result. */
enum { SCANNER_MOST = 1 << 28 };
SCANNER_API int32_t scanner_scan(scanner *it, const uint8_t *data, int64_t size);

/* Lays the result out: all buffers one after the other, each aligned to 64 bytes. Returns the size of all.
 *
 * `counts` is set to the number of rows and of unsure lines. `places` is set for each buffer, in this order: for each
 * field, then for `extra` (a map):
 *   all: bitmap of valid values
 *   string: offsets, text; map: offsets, offsets of keys, keys, bitmap of valid values, offsets of values, values
 *   boolean: bitmap of values; others: values
 * and then: the number of the line (int64) of each row; line, start and end (3 int64) of each unsure line. */
SCANNER_API int64_t scanner_layout(const scanner *it, int64_t counts[2], scanner_place *places);

/* Writes all buffers to `to`, as `scanner_layout` has laid them out. */
SCANNER_API void scanner_export(const scanner *it, const scanner_place *places, uint8_t *to);

#endif
