/* Scans mutated lines, to be run under sanitizers: harness FIELDS CORPUS SEED ROUNDS
 *
 * FIELDS has a line for each field: kind, required, precision, scale, number of bytes of the name, and the name. The
 * second one is the version's, which is 1. CORPUS has lines, which are cut, joined and damaged. Each round scans some of
 * them, from memory that ends with the last byte, and looks at what came out. Prints the numbers of lines and rows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "scanner.h"
#include "strings.h"

enum { MOST_FIELDS = 64, MOST_LINE = 1 << 16, LINE_LIMIT = 20000 };

static uint64_t state;

static uint32_t draw(uint32_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % below);
}

static void must(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    must(file != NULL, "the file is there");
    must(fseek(file, 0, SEEK_END) == 0, "the file has an end");
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size + 1);
    must(data != NULL && fread(data, 1, *size, file) == *size, "the file can be read");
    fclose(file);
    return data;
}

typedef struct {
    const uint8_t *data;
    size_t *starts, count;
} corpus;

static size_t line_of(const corpus *all, uint8_t *to) {
    size_t which = draw((uint32_t)all->count), size = all->starts[which + 1] - all->starts[which] - 1;
    size = size < MOST_LINE / 4 ? size : MOST_LINE / 4;
    memcpy(to, all->data + all->starts[which], size);
    return size;
}

/* Puts `more` bytes in the place of `gone` ones. */
static size_t put(uint8_t *line, size_t size, size_t at, size_t gone, const uint8_t *bytes, size_t more) {
    if (at + gone > size)
        gone = size - at;
    if (size - gone + more > MOST_LINE / 2)
        return size;
    memmove(line + at + more, line + at + gone, size - at - gone);
    memcpy(line + at, bytes, more);
    return size - gone + more;
}

static size_t mutate(const corpus *all, uint8_t *line, size_t size) {
    static const char *tokens[] = {
        "\"",     "\\",       "{",         "}",         "[",           "]",      ",",       ":",        "null",
        "true",   "false",    "-",         "0",         "1e5",         "0.10",   "1e-400",  "1e400",    "\\u0000",
        "\\ud83d", "\\ude00", "\\ud83d\\ude00", "\\n",  "\\/",         "\xc3\xa9", "\xff",  "\xed\xa0\x80", "\xf0\x9f\x98\x80",
        "\"a\":", "{\"a\":1,\"a\":2}", "2026-11-01T05:06:07Z", "+23:59", ".123456789", "9223372036854775808", " ",
        "0.30000000000000004", "12345678901234567890123456789012345678", "\t", "\r", "\n", "\x01", "\x7f",
        "[[[[[[[[[[[[[[[[[[[[", "{\"k\":{\"k\":{\"k\":", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    static uint8_t other[MOST_LINE];
    size_t at = draw((uint32_t)size + 1), part, from;
    switch (draw(6)) {
    case 0:
        if (at < size)
            line[at] ^= (uint8_t)(1u << draw(8));
        return size;
    case 1: {
        const char *token = tokens[draw(sizeof tokens / sizeof *tokens)];
        return put(line, size, at, draw(2) ? 0 : draw(8), (const uint8_t *)token, strlen(token));
    }
    case 2:
        return put(line, size, at, 1 + draw(draw(2) ? 4 : 100), other, 0);
    case 3: /* a piece again: keys twice, numbers that grow */
        from = draw((uint32_t)size + 1);
        part = draw(draw(2) ? 8 : 200);
        part = from + part > size ? size - from : part;
        memcpy(other, line + from, part);
        return put(line, size, at, 0, other, part);
    case 4:
        part = line_of(all, other);
        from = draw((uint32_t)part + 1);
        return put(line, size, at, size, other + from, part - from);
    default: /* many of them: texts over the borders of steps, maps over their tables */
        from = draw((uint32_t)size + 1);
        part = draw(40);
        part = from + part > size ? size - from : part;
        memcpy(other, line + from, part);
        for (uint32_t times = draw(200); times > 0; times--)
            size = put(line, size, at, 0, other, part);
        return size;
    }
}

static void check_texts(const uint8_t *out, scanner_place offsets, scanner_place text) {
    const int32_t *at = (const int32_t *)(const void *)(out + offsets.start);
    size_t count = (size_t)offsets.size / 4 - 1;
    must(at[0] == 0 && at[count] == text.size, "offsets begin and end with their text");
    for (size_t i = 0; i < count; i++) {
        must(at[i] <= at[i + 1], "offsets ascend");
        must(is_utf8(out + text.start + at[i], out + text.start + at[i + 1]), "each text is UTF-8");
    }
}

static size_t check(scanner *it, const scanner_field *fields, size_t count, size_t lines, size_t blank) {
    static scanner_place places[7 * MOST_FIELDS];
    const scanner_place *place = places;
    int64_t counts[2], last = -1;
    int64_t size = scanner_layout(it, counts, places);
    uint8_t *out = malloc((size_t)size);
    must(out != NULL, "there is memory");
    scanner_export(it, places, out);
    for (size_t i = 0; i <= count; i++) {
        enum kind kind = i < count ? (enum kind)fields[i].kind : KIND_MAP;
        if (kind == KIND_STRING) {
            check_texts(out, place[1], place[2]);
            place += 3;
        } else if (kind == KIND_MAP) {
            const int32_t *at = (const int32_t *)(const void *)(out + place[1].start);
            must(at[0] == 0 && at[counts[0]] == place[2].size / 4 - 1, "maps begin and end with their entries");
            for (int64_t row = 0; row < counts[0]; row++)
                must(at[row] <= at[row + 1], "maps ascend");
            check_texts(out, place[2], place[3]);
            check_texts(out, place[5], place[6]);
            place += 7;
        } else {
            place += 2;
        }
    }
    must((size_t)(counts[0] + counts[1]) + blank == lines, "each line is a row, unsure or blank");
    const int64_t *rows = (const int64_t *)(const void *)(out + place[0].start);
    for (int64_t row = 0; row < counts[0]; row++) {
        must(rows[row] > last && (size_t)rows[row] < lines, "rows have their lines in order");
        last = rows[row];
    }
    free(out);
    return (size_t)counts[0];
}

int main(int words, char **word) {
    must(words == 5, "there are four arguments");
    size_t size, count = 0;
    uint8_t *text = read_file(word[1], &size);
    scanner_field fields[MOST_FIELDS] = {0};
    for (size_t at = 0; at < size; count++) {
        int kind, required, precision, scale, name_size, head;
        text[size] = 0;
        must(sscanf((char *)text + at, "%d %d %d %d %d %n", &kind, &required, &precision, &scale, &name_size, &head) == 5,
             "a field has five numbers");
        fields[count] = (scanner_field){kind, required, precision, scale, text + at + head, name_size};
        at += (size_t)(head + name_size) + 1;
    }
    corpus all = {.data = read_file(word[2], &size)};
    all.starts = calloc(size + 2, sizeof(size_t));
    for (size_t i = 0; i < size; i++)
        if (all.data[i] == '\n')
            all.starts[++all.count] = i + 1;
    state = strtoull(word[3], NULL, 10) * 2654435761u + 88172645463325252u;
    static uint8_t line[2 * MOST_LINE];
    size_t lines_of_all = 0, rows_of_all = 0;
    scanner *it = NULL;
    for (unsigned long round = strtoul(word[4], NULL, 10); round > 0; round--) {
        if (it == NULL || draw(50) == 0) {
            scanner_free(it);
            it = scanner_make(fields, (int64_t)count, 1, 1, LINE_LIMIT, 500);
            must(it != NULL, "a scanner is made");
        }
        uint8_t *block = NULL;
        size_t used = 0, lines = 0, blank = 0;
        for (uint32_t number = draw(12); number > 0; number--) {
            size_t length = line_of(&all, line);
            for (uint32_t times = draw(4); times > 0 && draw(4) > 0; times--)
                length = mutate(&all, line, length);
            line[length++] = '\n';
            block = realloc(block, used + length);
            memcpy(block + used, line, length);
            used += length;
        }
        for (size_t at = 0, start = 0; at < used; at++) {
            if (block[at] != '\n')
                continue;
            lines++;
            blank += *skip_blanks(block + start) == '\n';
            start = at + 1;
        }
        must(scanner_scan(it, block, (int64_t)used), "there is memory");
        rows_of_all += check(it, fields, count, lines, blank);
        lines_of_all += lines;
        free(block);
    }
    scanner_free(it);
    free(text);
    free((void *)(uintptr_t)all.data);
    free(all.starts);
    printf("%zu lines, %zu rows\n", lines_of_all, rows_of_all);
    return 0;
}
