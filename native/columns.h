/* Columns: where the values of a field are collected, and how they leave as Arrow buffers. */
#ifndef SCANNER_COLUMNS_H
#define SCANNER_COLUMNS_H

#include "bytes.h"
#include "maps.h"
#include "memory.h"
#include "scanner.h"

enum { PATTERN = 56 }; /* bytes of a key that is compared with the input as it stands: fewer than PADDING */

typedef struct {
    enum kind kind;
    bool required;
    int precision, scale;
    buffer name;
    uint8_t pattern[PATTERN]; /* the key as it is usually written, with quotes and colon */
    size_t pattern_size;      /* 0: the key is never written so */
    uint64_t seen;            /* the last line that has the field */

    buffer valid;  /* a byte for each row: 0 or 1 */
    buffer values; /* for each row; of strings and maps: offsets (int32), and one more */
    buffer text;   /* of strings */
    text_map map;  /* of maps */
} column;

bool column_make(column *it, const scanner_field *field);
void column_free(column *it);
void column_reset(column *it);

/* Room for the values of a row. */
bool column_has(column *it, size_t row);

/* Whether a place begins with the key as it is usually written. */
bool column_is_next(const column *it, const uint8_t *at);

void column_put_null(column *it, size_t row);

/* Takes away what a row that was not finished has left. */
void column_roll_back(column *it, size_t row);

/* Sets the place of each buffer, from `start` on. Returns the place behind them. `*places` is moved. */
int64_t column_layout(const column *it, size_t rows, int64_t start, scanner_place **places);

void column_export(const column *it, size_t rows, uint8_t *to, const scanner_place **places);

/* The next place, aligned, for a buffer of this size. Returns the end of the buffer. */
int64_t place_buffer(scanner_place **places, int64_t start, size_t size);

#endif
