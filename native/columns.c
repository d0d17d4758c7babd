#include "columns.h"

enum { ALIGNMENT = 64 };

static size_t width(enum kind kind) {
    switch (kind) {
    case KIND_BOOLEAN:
        return 1;
    case KIND_STRING:
    case KIND_MAP:
    case KIND_DATE:
        return 4;
    case KIND_DECIMAL:
        return 16;
    default:
        return 8;
    }
}

static bool has_offsets(const column *it) {
    return it->kind == KIND_STRING || it->kind == KIND_MAP;
}

static int32_t *offsets(const column *it) {
    return (int32_t *)(void *)it->values.data;
}

bool column_make(column *it, const scanner_field *field) {
    it->kind = (enum kind)field->kind;
    it->required = field->required;
    it->precision = field->precision;
    it->scale = field->scale;
    size_t size = (size_t)field->name_size;
    bool has_room = buffer_has(&it->name, size + 1) && buffer_has(&it->values, width(it->kind));
    if (!has_room || (it->kind == KIND_MAP && !map_make(&it->map)))
        return false;
    memcpy(it->name.data, field->name, size);
    it->name.used = size;
    bool plain = size + 3 <= PATTERN;
    for (size_t i = 0; i < size; i++)
        plain = plain && field->name[i] != '"' && field->name[i] != '\\' && field->name[i] >= 0x20;
    if (plain) {
        it->pattern[0] = '"';
        memcpy(it->pattern + 1, field->name, size);
        memcpy(it->pattern + 1 + size, "\":", 2);
        it->pattern_size = size + 3;
    }
    column_reset(it);
    return true;
}

void column_free(column *it) {
    buffer_free(&it->name);
    buffer_free(&it->valid);
    buffer_free(&it->values);
    buffer_free(&it->text);
    map_free(&it->map);
}

void column_reset(column *it) {
    it->seen = 0;
    it->text.used = 0;
    if (has_offsets(it))
        offsets(it)[0] = 0;
    if (it->kind == KIND_MAP)
        map_reset(&it->map);
}

bool column_has(column *it, size_t row) {
    it->valid.used = row;
    it->values.used = (row + has_offsets(it)) * width(it->kind);
    return buffer_has(&it->valid, 1) && buffer_has(&it->values, width(it->kind));
}

bool column_is_next(const column *it, const uint8_t *at) {
    return it->pattern_size > 0 && same_bytes(at, it->pattern, it->pattern_size);
}

void column_put_null(column *it, size_t row) {
    size_t size = width(it->kind);
    it->valid.data[row] = 0;
    if (it->kind == KIND_STRING)
        offsets(it)[row + 1] = (int32_t)it->text.used;
    else if (it->kind == KIND_MAP)
        offsets(it)[row + 1] = (int32_t)it->map.count;
    else
        memset(it->values.data + row * size, 0, size);
}

void column_roll_back(column *it, size_t row) {
    if (it->kind == KIND_STRING)
        it->text.used = (size_t)offsets(it)[row];
    else if (it->kind == KIND_MAP)
        map_roll_back(&it->map, (size_t)offsets(it)[row]);
}

int64_t place_buffer(scanner_place **places, int64_t start, size_t size) {
    int64_t aligned = (start + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *(*places)++ = (scanner_place){aligned, (int64_t)size};
    return aligned + (int64_t)size;
}

static size_t bitmap_size(const uint8_t *bytes, size_t count) {
    return count > 0 && memchr(bytes, 0, count) != NULL ? (count + 7) / 8 : 0;
}

int64_t column_layout(const column *it, size_t rows, int64_t start, scanner_place **places) {
    start = place_buffer(places, start, bitmap_size(it->valid.data, rows));
    if (it->kind == KIND_BOOLEAN)
        return place_buffer(places, start, (rows + 7) / 8);
    start = place_buffer(places, start, (rows + has_offsets(it)) * width(it->kind));
    if (it->kind == KIND_STRING)
        return place_buffer(places, start, it->text.used);
    if (it->kind != KIND_MAP)
        return start;
    const text_map *map = &it->map;
    start = place_buffer(places, start, (map->count + 1) * 4);
    start = place_buffer(places, start, map->keys.used);
    start = place_buffer(places, start, bitmap_size(map->value_valid.data, map->count));
    start = place_buffer(places, start, (map->count + 1) * 4);
    return place_buffer(places, start, map->values.used);
}

static void export_bytes(const uint8_t *bytes, uint8_t *to, const scanner_place **places) {
    const scanner_place *place = (*places)++;
    if (place->size)
        memcpy(to + place->start, bytes, (size_t)place->size);
}

/* Bytes of 0 and 1 as bits, the lowest first. */
static void export_bits(const uint8_t *bytes, size_t count, uint8_t *to, const scanner_place **places) {
    const scanner_place *place = (*places)++;
    if (place->size == 0)
        return;
    to += place->start;
    size_t at = 0;
    for (; at + 8 <= count; at += 8)
        *to++ = (uint8_t)((load64(bytes + at) * 0x0102040810204080u) >> 56);
    if (at < count) {
        uint8_t bits = 0;
        for (size_t i = at; i < count; i++)
            bits |= (uint8_t)(bytes[i] << (i - at));
        *to = bits;
    }
}

void column_export(const column *it, size_t rows, uint8_t *to, const scanner_place **places) {
    export_bits(it->valid.data, rows, to, places);
    if (it->kind == KIND_BOOLEAN) {
        export_bits(it->values.data, rows, to, places);
        return;
    }
    export_bytes(it->values.data, to, places);
    if (it->kind == KIND_STRING)
        export_bytes(it->text.data, to, places);
    if (it->kind != KIND_MAP)
        return;
    const text_map *map = &it->map;
    export_bytes(map->key_offsets.data, to, places);
    export_bytes(map->keys.data, to, places);
    export_bits(map->value_valid.data, map->count, to, places);
    export_bytes(map->value_offsets.data, to, places);
    export_bytes(map->values.data, to, places);
}
