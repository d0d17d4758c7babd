#include "maps.h"

#include "json.h"
#include "numbers.h"
#include "strings.h"

enum {
    COMPARABLE = 48,  /* bytes of a key that is compared with the input as it stands: fewer than PADDING */
    MOST_PROBES = 64, /* more, and the keys are made to collide: the exact path has a table that cannot be attacked */
    FIRST_ROOM = 64,
};

static int32_t *offsets(const buffer *it) {
    return (int32_t *)(void *)it->data;
}

bool map_make(text_map *it) {
    *it = (text_map){0};
    it->room = FIRST_ROOM;
    it->slots = memory_zeroed(it->room, sizeof(slot));
    if (it->slots == NULL || !buffer_has(&it->key_offsets, 4) || !buffer_has(&it->value_offsets, 4))
        return false;
    map_reset(it);
    return true;
}

void map_free(text_map *it) {
    buffer *all[] = {&it->key_offsets, &it->value_offsets, &it->value_valid, &it->keys, &it->values};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_free(all[i]);
    memory_free(it->slots);
}

void map_reset(text_map *it) {
    offsets(&it->key_offsets)[0] = 0;
    offsets(&it->value_offsets)[0] = 0;
    map_roll_back(it, 0);
}

void map_roll_back(text_map *it, size_t count) {
    it->count = it->first = count;
    it->before_count = 0;
    it->keys.used = (size_t)offsets(&it->key_offsets)[count];
    it->values.used = (size_t)offsets(&it->value_offsets)[count];
    it->key_offsets.used = it->value_offsets.used = (count + 1) * 4;
    it->value_valid.used = count;
}

static void next_mark(text_map *it) {
    if (++it->mark == 0) {
        memset(it->slots, 0, it->room * sizeof(slot));
        it->mark = 1;
    }
}

void map_open(text_map *it) {
    it->first = it->count;
    it->plain = true;
    it->agrees = it->before_count > 0;
    next_mark(it);
}

void map_close(text_map *it) {
    it->before = it->first;
    it->before_count = it->plain ? it->count - it->first : 0;
}

static uint64_t mix(uint64_t sum, uint64_t word) {
    sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
    return sum ^ sum >> 32;
}

static uint32_t hash(const uint8_t *key, size_t size) {
    uint64_t sum = size, tail = 0;
    size_t at = 0;
    for (; at + 8 <= size; at += 8)
        sum = mix(sum, load64(key + at));
    for (; at < size; at++)
        tail = tail << 8 | key[at];
    return (uint32_t)mix(sum, tail);
}

/* Puts an entry of the open map into the table. False if its key is in there, or if that is not sure. */
static bool index_entry(text_map *it, uint32_t entry) {
    const int32_t *at = offsets(&it->key_offsets);
    const uint8_t *key = it->keys.data + at[entry];
    size_t size = (size_t)(at[entry + 1] - at[entry]);
    size_t place = hash(key, size);
    for (int probe = 0; probe < MOST_PROBES; probe++, place++) {
        slot *found = &it->slots[place & (it->room - 1)];
        if (found->mark != it->mark) {
            *found = (slot){it->mark, entry};
            return true;
        }
        size_t other = (size_t)(at[found->entry + 1] - at[found->entry]);
        if (other == size && same_bytes(it->keys.data + at[found->entry], key, size))
            return false;
    }
    return false;
}

/* Puts the entries of the open map into the table: `from` and those behind it, up to the one that was named last. */
static bool index_entries(text_map *it, size_t from) {
    size_t named = it->count + 1 - it->first;
    if (named * 4 > it->room) {
        size_t room = it->room * 2;
        while (room < named * 8)
            room *= 2;
        slot *slots = memory_zeroed(room, sizeof(slot));
        if (slots == NULL)
            return false;
        memory_free(it->slots);
        it->slots = slots;
        it->room = room;
        it->mark = 1;
        from = it->first;
    }
    for (size_t entry = from; entry <= it->count; entry++)
        if (!index_entry(it, (uint32_t)entry))
            return false;
    return true;
}

/* Makes room for an entry beside its texts. */
static bool has_entry(text_map *it) {
    return buffer_has(&it->key_offsets, 4) && buffer_has(&it->value_offsets, 4) && buffer_has(&it->value_valid, 1);
}

/* Ends the key that was appended. False if the map has it already. */
static bool name_entry(text_map *it) {
    offsets(&it->key_offsets)[it->count + 1] = (int32_t)it->keys.used;
    size_t from = it->agrees ? it->first : it->count;
    it->agrees = false;
    return index_entries(it, from);
}

bool map_named(text_map *it, const uint8_t *key, size_t size) {
    if (!has_entry(it) || !buffer_has(&it->keys, size + 1))
        return false;
    memcpy(it->keys.data + it->keys.used, key, size);
    it->keys.used += size;
    return name_entry(it);
}

/* Reads the key that the map before has at this place, and its colon. NULL if it is another one. */
static const uint8_t *same_key(text_map *it, const uint8_t *at) {
    size_t place = it->count - it->first;
    if (place >= it->before_count)
        return NULL;
    const int32_t *key = offsets(&it->key_offsets) + it->before + place;
    size_t size = (size_t)(key[1] - key[0]);
    if (size > COMPARABLE || !same_bytes(at, it->keys.data + key[0], size) || at[size] != '"' || at[size + 1] != ':')
        return NULL;
    if (!has_entry(it) || !buffer_has(&it->keys, COMPARABLE))
        return NULL;
    uint8_t *to = it->keys.data + it->keys.used;
    memcpy(to, at, 16);
    if (size > 16)
        memcpy(to + 16, at + 16, COMPARABLE - 16);
    it->keys.used += size;
    offsets(&it->key_offsets)[it->count + 1] = (int32_t)it->keys.used;
    return at + size + 2;
}

const uint8_t *map_key(text_map *it, const uint8_t *at) {
    if (*at != '"')
        return NULL;
    at++;
    if (it->agrees) {
        const uint8_t *behind = same_key(it, at);
        if (behind != NULL)
            return behind;
    }
    bool escaped = false;
    if (!has_entry(it))
        return NULL;
    at = string_text(at, &it->keys, &escaped);
    if (at == NULL)
        return NULL;
    it->plain = it->plain && !escaped;
    at = skip_blanks(at);
    return *at == ':' && name_entry(it) ? at + 1 : NULL;
}

const uint8_t *map_value(text_map *it, const uint8_t *at, int levels, bool as_json) {
    bool escaped = false, valid = true;
    if (*at == '"' && !as_json) {
        at = string_text(at + 1, &it->values, &escaped);
    } else if (*at == 'n' && !as_json) {
        valid = false;
        at = is_null(at) ? at + 4 : NULL;
    } else {
        at = json_compact(at, levels, &it->values);
    }
    if (at == NULL)
        return NULL;
    it->value_valid.data[it->count] = valid;
    it->count++;
    offsets(&it->value_offsets)[it->count] = (int32_t)it->values.used;
    it->key_offsets.used = it->value_offsets.used = (it->count + 1) * 4;
    it->value_valid.used = it->count;
    return at;
}

const uint8_t *map_object(text_map *it, const uint8_t *at, int levels) {
    map_open(it);
    at = skip_blanks(at);
    if (*at != '}') {
        for (;;) {
            at = map_key(it, at);
            if (at == NULL)
                return NULL;
            at = map_value(it, skip_blanks(at), levels, false);
            if (at == NULL)
                return NULL;
            at = skip_blanks(at);
            if (*at == '}')
                break;
            if (*at != ',')
                return NULL;
            at = skip_blanks(at + 1);
        }
        map_close(it);
    }
    return at + 1;
}
