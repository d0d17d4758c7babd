/* Maps: JSON objects to the entries of a column of maps from string to string.
 *
 * A map has each key once: an object with the same key twice is not sure. The keys of a map are compared with those of
 * the map before it, place by place. As long as they agree they are copied, and are known to differ from each other. At
 * the first that does not agree, all go into a hash table, which each column of maps has for itself.
 */
#ifndef SCANNER_MAPS_H
#define SCANNER_MAPS_H

#include "bytes.h"
#include "memory.h"

typedef struct {
    uint32_t mark, entry; /* the entry is of the map with this mark */
} slot;

typedef struct {
    buffer key_offsets, value_offsets; /* int32 for each entry, and one more */
    buffer value_valid;                /* a byte for each entry: 0 or 1 */
    buffer keys, values;
    size_t count; /* entries of all maps */

    size_t first;          /* entry of the open map */
    bool agrees, plain;    /* its keys are those of the map before; are written without an escape */
    size_t before, before_count; /* entries of the map before, if its keys can be compared */

    slot *slots;
    size_t room; /* of slots: a power of two */
    uint32_t mark;
} text_map;

bool map_make(text_map *it);
void map_free(text_map *it);

/* Forgets all entries, and keeps the memory. */
void map_reset(text_map *it);

/* Begins a map. Its entries are `first` to `count`. */
void map_open(text_map *it);

/* Reads a key from its opening quote, and the colon behind it. Returns the place behind the colon, or NULL. */
const uint8_t *map_key(text_map *it, const uint8_t *at);

/* A key by its text. False if the map has it already, or is not sure of that, or if there is no memory. */
bool map_named(text_map *it, const uint8_t *key, size_t size);

/* Reads the value of the key, with at most `levels` levels. `as_json`: strings and null as JSON text, too. Returns the
 * place behind it, or NULL. */
const uint8_t *map_value(text_map *it, const uint8_t *at, int levels, bool as_json);

/* Reads an object from behind its opening brace as a map. Returns the place behind the closing one, or NULL. */
const uint8_t *map_object(text_map *it, const uint8_t *at, int levels);

/* Ends the map: the next one is compared with it. */
void map_close(text_map *it);

/* Takes all entries from `count` on away. */
void map_roll_back(text_map *it, size_t count);

#endif
