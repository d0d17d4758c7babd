/* Memory: the growable buffers that a scan writes to.
 *
 * A buffer owns `room` bytes at `data`; the first `used` of them are written. Each write asks for room first:
 * nothing else in this folder allocates. A buffer keeps its memory from one scan to the next.
 */
#ifndef SCANNER_MEMORY_H
#define SCANNER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *data;
    size_t used, room;
} buffer;

/* Room for `more` bytes behind those used. Returns false, with the buffer as it was, if there is no memory. */
bool buffer_grow(buffer *it, size_t more);

/* Gives the memory back. The buffer is then empty. */
void buffer_free(buffer *it);

static inline bool buffer_has(buffer *it, size_t more) {
    return it->room - it->used >= more || buffer_grow(it, more);
}

/* Bytes that a table of structures needs, all zero. NULL if there is no memory. `memory_free` takes NULL, too. */
void *memory_zeroed(size_t count, size_t size);
void memory_free(void *it);

#endif
