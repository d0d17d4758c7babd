/* Rows taken by their numbers from many chunks of an Arrow column, without joining the chunks.
 *
 * Row i of the result is row `row[i]` of chunk `chunk[i]`. The caller sees to it that these exist, that offsets ascend,
 * and that the output has room: `texts_size` and `maps_size` say how much. Chunks are Arrow buffers as they lie in memory:
 * an offset buffer points to the offset of the chunk's first row. Outputs are Arrow buffers; nothing is allocated.
 */
#ifndef GATHER_H
#define GATHER_H

#include <stdint.h>

/* A column of texts: offsets, one more than there are rows, and the bytes. */
typedef struct {
    const int32_t *offsets;
    const uint8_t *bytes;
} text_chunk;

/* A column of maps of texts: the offsets of the rows' entries, and the entries. `valid` has a bit for each item, from bit
 * `first_bit` on; NULL: all items are valid. */
typedef struct {
    const int32_t *offsets;
    text_chunk keys, items;
    const uint8_t *valid;
    int64_t first_bit;
} map_chunk;

/* Bits: of validity, or of booleans. A chunk whose bits are NULL has ones. Returns the number of zeros. */
typedef struct {
    const uint8_t *bits;
    int64_t first_bit;
} bit_chunk;

int64_t gather_bits(const bit_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, uint8_t *to);

/* Values of `width` bytes. */
void gather_values(const uint8_t *const *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, int64_t width,
                   uint8_t *to);

/* Writes the offsets of the result (rows + 1) and returns its bytes. They may be more than an offset holds: then the
 * caller takes fewer rows at once. */
int64_t texts_size(const text_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, int32_t *offsets);
void gather_texts(const text_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, uint8_t *to);

/* Writes the offsets of the rows' entries (rows + 1). sizes: entries, bytes of keys, bytes of items. */
void maps_size(const map_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, int32_t *offsets,
               int64_t sizes[3]);
/* The entries. `valid` has room for their bits, all 0. Returns the number of items that are not valid. */
int64_t gather_maps(const map_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, int32_t *key_offsets,
                    uint8_t *keys, int32_t *item_offsets, uint8_t *items, uint8_t *valid);

#endif
