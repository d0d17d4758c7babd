/* Times: texts of dates and timestamps to days and microseconds since 1970, UTC.
 *
 * A function takes the place behind the opening quote and returns the place behind the closing one, or NULL if the text
 * is not surely a date or a timestamp of the years 1 to 9999, as `compactor.types.json_values` reads it.
 */
#ifndef SCANNER_TIMES_H
#define SCANNER_TIMES_H

#include "bytes.h"

enum { KNOWN_DAYS = 64 };

/* Days that were read before, by their text. All zero at first. */
typedef struct {
    struct {
        uint64_t head;
        uint16_t tail, known;
        int32_t day;
    } entries[KNOWN_DAYS];
} days;

const uint8_t *date_value(const uint8_t *at, days *known, int32_t *value);

const uint8_t *timestamp_value(const uint8_t *at, days *known, int64_t *value);

#endif
