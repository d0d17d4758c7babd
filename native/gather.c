#include "gather.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define AHEAD 16 /* rows: what they need is fetched early, because rows lie anywhere in memory */

static bool bit_of(const uint8_t *bits, int64_t place) { return bits[place >> 3] >> (place & 7) & 1; }

static void set_bit(uint8_t *bits, int64_t place) { bits[place >> 3] |= (uint8_t)(1u << (place & 7)); }

/* Fetches the first bytes of a text, and perhaps of the next: fetching is no reading, and fails nowhere. */
static void fetch_text(const text_chunk *from, int32_t row) {
    const uint8_t *bytes = from->bytes + from->offsets[row];
    __builtin_prefetch(bytes);
    __builtin_prefetch(bytes + 64);
}

EXPORTED int64_t gather_bits(const bit_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, uint8_t *to) {
    int64_t zeros = 0;
    memset(to, 0, (size_t)(rows + 7) / 8);
    for (int64_t i = 0; i < rows; i++) {
        const bit_chunk *from = &chunks[chunk[i]];
        if (from->bits == NULL || bit_of(from->bits, from->first_bit + row[i]))
            set_bit(to, i);
        else
            zeros++;
    }
    return zeros;
}

EXPORTED void gather_values(const uint8_t *const *chunks, const int32_t *chunk, const int32_t *row, int64_t rows,
                            int64_t width, uint8_t *to) {
    if (width == 8) { /* a copy of a size that is known is one instruction */
        for (int64_t i = 0; i < rows; i++)
            memcpy(to + i * 8, chunks[chunk[i]] + (int64_t)row[i] * 8, 8);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + i * width, chunks[chunk[i]] + row[i] * width, (size_t)width);
}

EXPORTED int64_t texts_size(const text_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows,
                            int32_t *offsets) {
    int64_t size = 0;
    for (int64_t i = 0; i < rows; i++) {
        if (i + AHEAD < rows)
            __builtin_prefetch(chunks[chunk[i + AHEAD]].offsets + row[i + AHEAD]);
        const int32_t *at = chunks[chunk[i]].offsets + row[i];
        offsets[i] = (int32_t)size;
        size += at[1] - at[0];
    }
    offsets[rows] = (int32_t)size;
    return size;
}

EXPORTED void gather_texts(const text_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, uint8_t *to) {
    for (int64_t i = 0; i < rows; i++) {
        if (i + AHEAD < rows)
            fetch_text(&chunks[chunk[i + AHEAD]], row[i + AHEAD]);
        const text_chunk *from = &chunks[chunk[i]];
        const int32_t *at = from->offsets + row[i];
        size_t size = (size_t)(at[1] - at[0]);
        memcpy(to, from->bytes + at[0], size);
        to += size;
    }
}

EXPORTED void maps_size(const map_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows, int32_t *offsets,
                        int64_t sizes[3]) {
    sizes[0] = sizes[1] = sizes[2] = 0;
    for (int64_t i = 0; i < rows; i++) {
        if (i + 2 * AHEAD < rows)
            __builtin_prefetch(chunks[chunk[i + 2 * AHEAD]].offsets + row[i + 2 * AHEAD]);
        if (i + AHEAD < rows) {
            const map_chunk *next = &chunks[chunk[i + AHEAD]];
            __builtin_prefetch(next->keys.offsets + next->offsets[row[i + AHEAD]]);
            __builtin_prefetch(next->items.offsets + next->offsets[row[i + AHEAD]]);
        }
        const map_chunk *from = &chunks[chunk[i]];
        const int32_t *at = from->offsets + row[i];
        offsets[i] = (int32_t)sizes[0];
        sizes[0] += at[1] - at[0];
        sizes[1] += from->keys.offsets[at[1]] - from->keys.offsets[at[0]];
        sizes[2] += from->items.offsets[at[1]] - from->items.offsets[at[0]];
    }
    offsets[rows] = (int32_t)sizes[0];
}

/* The texts from `first` to `end`, which lie side by side. Moves the place of the next text and of its bytes. */
static void copy_texts(const text_chunk *from, int32_t first, int32_t end, int32_t *offsets, int64_t *size, uint8_t *to) {
    int32_t start = from->offsets[first];
    for (int32_t i = first; i < end; i++)
        offsets[i - first] = (int32_t)(*size + from->offsets[i] - start);
    size_t bytes = (size_t)(from->offsets[end] - start);
    memcpy(to + *size, from->bytes + start, bytes);
    *size += (int64_t)bytes;
}

EXPORTED int64_t gather_maps(const map_chunk *chunks, const int32_t *chunk, const int32_t *row, int64_t rows,
                             int32_t *key_offsets, uint8_t *keys, int32_t *item_offsets, uint8_t *items, uint8_t *valid) {
    int64_t entry = 0, key_bytes = 0, item_bytes = 0, zeros = 0;
    for (int64_t i = 0; i < rows; i++) {
        if (i + AHEAD < rows) {
            const map_chunk *next = &chunks[chunk[i + AHEAD]];
            fetch_text(&next->keys, next->offsets[row[i + AHEAD]]);
            fetch_text(&next->items, next->offsets[row[i + AHEAD]]);
        }
        const map_chunk *from = &chunks[chunk[i]];
        int32_t first = from->offsets[row[i]], end = from->offsets[row[i] + 1];
        if (first == end)
            continue;
        copy_texts(&from->keys, first, end, key_offsets + entry, &key_bytes, keys);
        copy_texts(&from->items, first, end, item_offsets + entry, &item_bytes, items);
        for (int32_t n = first; n < end; n++, entry++) {
            if (from->valid == NULL || bit_of(from->valid, from->first_bit + n))
                set_bit(valid, entry);
            else
                zeros++;
        }
    }
    key_offsets[entry] = (int32_t)key_bytes;
    item_offsets[entry] = (int32_t)item_bytes;
    return zeros;
}
