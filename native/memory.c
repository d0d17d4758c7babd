#include "memory.h"

#include <stdlib.h>

enum { SMALLEST = 4096 };

bool buffer_grow(buffer *it, size_t more) {
    if (more > SIZE_MAX / 4 || it->used > SIZE_MAX / 4)
        return false;
    size_t room = it->room * 2;
    if (room < it->used + more)
        room = it->used + more;
    if (room < SMALLEST)
        room = SMALLEST;
    uint8_t *data = realloc(it->data, room);
    if (data == NULL)
        return false;
    it->data = data;
    it->room = room;
    return true;
}

void buffer_free(buffer *it) {
    free(it->data);
    *it = (buffer){0};
}

void *memory_zeroed(size_t count, size_t size) {
    return calloc(count, size);
}

void memory_free(void *it) {
    free(it);
}
