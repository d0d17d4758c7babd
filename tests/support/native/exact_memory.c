/* In the place of native/memory.c in tests: a buffer has exactly the room that was asked for, between canaries.
 *
 * A byte that is written outside of it ends the process at the next look. Under AddressSanitizer the first touch does.
 */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)
#define ASAN_UNPOISON_MEMORY_REGION(at, size)
#endif

enum { CANARY = 64, SIGN = 0xa5 };

static void look(const uint8_t *data, size_t room) {
    ASAN_UNPOISON_MEMORY_REGION(data - CANARY, CANARY);
    ASAN_UNPOISON_MEMORY_REGION(data + room, CANARY);
    for (int i = 0; i < CANARY; i++) {
        if (data[i - CANARY] != SIGN || data[room + (size_t)i] != SIGN) {
            fputs("a byte outside of a buffer was written\n", stderr);
            abort();
        }
    }
}

static uint8_t *guarded(size_t room) {
    uint8_t *memory = malloc(room + 2 * CANARY);
    if (memory == NULL)
        return NULL;
    memset(memory, SIGN, room + 2 * CANARY);
    ASAN_POISON_MEMORY_REGION(memory, CANARY);
    ASAN_POISON_MEMORY_REGION(memory + CANARY + room, CANARY);
    return memory + CANARY;
}

bool buffer_grow(buffer *it, size_t more) {
    uint8_t *data = guarded(it->used + more);
    if (data == NULL)
        return false;
    if (it->data != NULL) {
        look(it->data, it->room);
        memcpy(data, it->data, it->used);
        free(it->data - CANARY);
    }
    it->data = data;
    it->room = it->used + more;
    return true;
}

void buffer_free(buffer *it) {
    if (it->data != NULL) {
        look(it->data, it->room);
        free(it->data - CANARY);
    }
    *it = (buffer){0};
}

void *memory_zeroed(size_t count, size_t size) {
    return calloc(count, size);
}

void memory_free(void *it) {
    free(it);
}
