/* Lines and records: see scanner.h for the contract. */
#include <string.h>

#include "columns.h"
#include "json.h"
#include "numbers.h"
#include "scanner.h"
#include "strings.h"
#include "times.h"

struct scanner {
    column *columns; /* of the fields, then `extra` */
    size_t fields;
    uint32_t *next; /* for each field, and for none: the field that followed it last */
    size_t version_field;
    int64_t version, line_limit;
    int levels;

    days known;
    buffer key;  /* of a field that is not the expected one */
    buffer tail; /* the last lines, with PADDING behind them */
    buffer rows; /* the line number of each row */
    buffer unsure; /* line number, start, end */
    uint64_t line; /* serial number, which `column.seen` is compared with */
};

int32_t scanner_abi(void) {
    return SCANNER_ABI;
}

void scanner_free(scanner *it) {
    if (it == NULL)
        return;
    for (size_t i = 0; it->columns != NULL && i <= it->fields; i++)
        column_free(&it->columns[i]);
    buffer *all[] = {&it->key, &it->tail, &it->rows, &it->unsure};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_free(all[i]);
    memory_free(it->columns);
    memory_free(it->next);
    memory_free(it);
}

scanner *scanner_make(const scanner_field *fields, int64_t count, int64_t version_field, int64_t version,
                      int64_t line_limit, int64_t levels) {
    static const scanner_field extra = {.kind = KIND_MAP, .name = (const uint8_t *)""};
    scanner *it = memory_zeroed(1, sizeof(scanner));
    if (it == NULL)
        return NULL;
    it->fields = (size_t)count;
    it->version_field = (size_t)version_field;
    it->version = version;
    it->line_limit = line_limit;
    it->levels = levels < MOST_LEVELS ? (int)levels : MOST_LEVELS;
    it->columns = memory_zeroed(it->fields + 1, sizeof(column));
    it->next = memory_zeroed(it->fields + 1, sizeof(uint32_t));
    bool made = it->columns != NULL && it->next != NULL;
    for (size_t i = 0; made && i <= it->fields; i++) {
        made = column_make(&it->columns[i], i < it->fields ? &fields[i] : &extra);
        it->next[i] = (uint32_t)i + 1;
    }
    if (!made) {
        scanner_free(it);
        return NULL;
    }
    it->next[it->fields] = 0;
    it->columns[it->version_field].required = true;
    return it;
}

/* Reads a value of a field. Returns the place behind it, or NULL. */
static const uint8_t *read_value(scanner *it, column *to, const uint8_t *at, size_t row) {
    number found;
    bool escaped;
    uint8_t *values = to->values.data;
    if (*at == 'n') {
        if (to->required || !is_null(at))
            return NULL;
        column_put_null(to, row);
        return at + 4;
    }
    to->valid.data[row] = 1;
    switch (to->kind) {
    case KIND_STRING:
        at = *at == '"' ? string_text(at + 1, &to->text, &escaped) : NULL;
        ((int32_t *)(void *)values)[row + 1] = (int32_t)to->text.used;
        return at;
    case KIND_TIMESTAMP:
        return *at == '"' ? timestamp_value(at + 1, &it->known, (int64_t *)(void *)values + row) : NULL;
    case KIND_DATE:
        return *at == '"' ? date_value(at + 1, &it->known, (int32_t *)(void *)values + row) : NULL;
    case KIND_BOOLEAN:
        values[row] = *at == 't';
        return is_true(at) ? at + 4 : is_false(at) ? at + 5 : NULL;
    case KIND_LONG:
        at = number_parts(at, &found);
        return at != NULL && number_long(&found, (int64_t *)(void *)values + row) ? at : NULL;
    case KIND_DOUBLE:
        at = number_parts(at, &found);
        return at != NULL && number_double(&found, (double *)(void *)values + row) ? at : NULL;
    case KIND_DECIMAL:
        at = number_parts(at, &found);
        return at != NULL && number_decimal(&found, to->precision, to->scale, (uint64_t *)(void *)values + 2 * row)
                   ? at
                   : NULL;
    case KIND_MAP:
        at = *at == '{' ? map_object(&to->map, at + 1, it->levels - 2) : NULL;
        ((int32_t *)(void *)values)[row + 1] = (int32_t)to->map.count;
        return at;
    }
    return NULL;
}

/* Reads a key that is not the expected one, and its colon. `*found` is the field's number, or that of `extra`. */
static const uint8_t *read_key(scanner *it, const uint8_t *at, size_t *found) {
    bool escaped;
    it->key.used = 0;
    at = *at == '"' ? string_text(at + 1, &it->key, &escaped) : NULL;
    if (at == NULL)
        return NULL;
    at = skip_blanks(at);
    size_t i = 0;
    while (i < it->fields && (it->columns[i].name.used != it->key.used ||
                              !same_bytes(it->columns[i].name.data, it->key.data, it->key.used)))
        i++;
    *found = i;
    return *at == ':' ? at + 1 : NULL;
}

/* Reads a record from behind its opening brace. Returns the place behind the closing one, or NULL. */
static const uint8_t *read_record(scanner *it, const uint8_t *at, size_t row) {
    column *extra = &it->columns[it->fields];
    size_t before = it->fields, seen = 0;
    uint64_t line = ++it->line;
    map_open(&extra->map);
    at = skip_blanks(at);
    if (*at == '}')
        return NULL; /* a record has fields */
    for (;;) {
        size_t field = it->next[before];
        if (field < it->fields && column_is_next(&it->columns[field], at)) {
            at += it->columns[field].pattern_size;
        } else {
            at = read_key(it, at, &field);
            if (at == NULL)
                return NULL;
        }
        at = skip_blanks(at);
        if (field < it->fields) {
            column *to = &it->columns[field];
            if (to->seen == line)
                return NULL;
            to->seen = line;
            seen++;
            it->next[before] = (uint32_t)field;
            before = field;
            at = read_value(it, to, at, row);
        } else {
            at = map_named(&extra->map, it->key.data, it->key.used) ? map_value(&extra->map, at, it->levels - 1, true)
                                                                    : NULL;
        }
        if (at == NULL)
            return NULL;
        at = skip_blanks(at);
        if (*at == '}')
            break;
        if (*at != ',')
            return NULL;
        at = skip_blanks(at + 1);
    }
    extra->valid.data[row] = 1;
    ((int32_t *)(void *)extra->values.data)[row + 1] = (int32_t)extra->map.count;
    for (size_t i = 0; seen < it->fields && i < it->fields; i++) {
        if (it->columns[i].seen == line)
            continue;
        if (it->columns[i].required)
            return NULL;
        column_put_null(&it->columns[i], row);
    }
    const int64_t *versions = (const int64_t *)(const void *)it->columns[it->version_field].values.data;
    return versions[row] == it->version ? at + 1 : NULL;
}

/* Reads a line that is no longer than the limit. Returns the place of its newline, or NULL. */
static const uint8_t *read_line(scanner *it, const uint8_t *start, size_t row) {
    const uint8_t *at = skip_blanks(start);
    at = *at == '{' ? read_record(it, at + 1, row) : NULL;
    if (at == NULL)
        return NULL;
    at = skip_blanks(at);
    return *at == '\n' && at - start <= it->line_limit ? at : NULL;
}

/* Reads the lines from `at` to `end`, behind which PADDING bytes are readable. `line_no` is that of the first, `place` its
 * place in the input. Both are moved on. */
static bool read_lines(scanner *it, const uint8_t *at, const uint8_t *end, int64_t *line_no, int64_t *place) {
    size_t row = it->rows.used / sizeof(int64_t);
    for (; at < end; ++*line_no) {
        for (size_t i = 0; i <= it->fields; i++)
            if (!column_has(&it->columns[i], row))
                return false;
        if (!buffer_has(&it->rows, sizeof(int64_t)))
            return false;
        const uint8_t *newline = read_line(it, at, row);
        if (newline != NULL) {
            memcpy(it->rows.data + it->rows.used, line_no, sizeof(int64_t));
            it->rows.used += sizeof(int64_t);
            row++;
        } else {
            newline = memchr(at, '\n', (size_t)(end - at));
            for (size_t i = 0; i <= it->fields; i++)
                column_roll_back(&it->columns[i], row);
            if (skip_blanks(at) != newline || newline - at > it->line_limit) {
                int64_t entry[3] = {*line_no, *place, *place + (newline + 1 - at)};
                if (!buffer_has(&it->unsure, sizeof entry))
                    return false;
                memcpy(it->unsure.data + it->unsure.used, entry, sizeof entry);
                it->unsure.used += sizeof entry;
            }
        }
        *place += newline + 1 - at;
        at = newline + 1;
    }
    return true;
}

int32_t scanner_scan(scanner *it, const uint8_t *data, int64_t size) {
    it->rows.used = it->unsure.used = 0;
    it->line = 0;
    for (size_t i = 0; i <= it->fields; i++)
        column_reset(&it->columns[i]);
    if (size == 0)
        return true;
    /* Steps read past a newline. The lines where that may be past the input are read from a copy. */
    int64_t line_no = 0, place = 0, split = size > PADDING ? size - PADDING : 0;
    while (split > 0 && data[split - 1] != '\n')
        split--;
    size_t rest = (size_t)(size - split);
    it->tail.used = 0;
    if (!buffer_has(&it->tail, rest + PADDING))
        return false;
    memcpy(it->tail.data, data + split, rest);
    memset(it->tail.data + rest, 0, PADDING);
    return read_lines(it, data, data + split, &line_no, &place) &&
           read_lines(it, it->tail.data, it->tail.data + rest, &line_no, &place);
}

int64_t scanner_layout(const scanner *it, int64_t counts[2], scanner_place *places) {
    size_t rows = it->rows.used / sizeof(int64_t);
    int64_t end = 0;
    for (size_t i = 0; i <= it->fields; i++)
        end = column_layout(&it->columns[i], rows, end, &places);
    end = place_buffer(&places, end, it->rows.used);
    end = place_buffer(&places, end, it->unsure.used);
    counts[0] = (int64_t)rows;
    counts[1] = (int64_t)(it->unsure.used / (3 * sizeof(int64_t)));
    return end;
}

void scanner_export(const scanner *it, const scanner_place *places, uint8_t *to) {
    size_t rows = it->rows.used / sizeof(int64_t);
    for (size_t i = 0; i <= it->fields; i++)
        column_export(&it->columns[i], rows, to, &places);
    if (places[0].size)
        memcpy(to + places[0].start, it->rows.data, (size_t)places[0].size);
    if (places[1].size)
        memcpy(to + places[1].start, it->unsure.data, (size_t)places[1].size);
}
