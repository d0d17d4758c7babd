#include "json.h"

#include "numbers.h"
#include "strings.h"

static inline bool put(buffer *out, uint8_t byte) {
    if (!buffer_has(out, 1))
        return false;
    out->data[out->used++] = byte;
    return true;
}

/* A value that is neither an object nor an array. */
static const uint8_t *scalar(const uint8_t *at, buffer *out) {
    number found;
    size_t size = 4;
    switch (*at) {
    case '"':
        return string_json(at + 1, out);
    case 't':
        if (!is_true(at))
            return NULL;
        break;
    case 'n':
        if (!is_null(at))
            return NULL;
        break;
    case 'f':
        if (!is_false(at))
            return NULL;
        size = 5;
        break;
    default:
        at = number_parts(at, &found);
        return at != NULL && number_text(&found, out) ? at : NULL;
    }
    if (!buffer_has(out, size))
        return NULL;
    memcpy(out->data + out->used, at, size);
    out->used += size;
    return at + size;
}

/* A key and its colon. */
static const uint8_t *key(const uint8_t *at, buffer *out) {
    at = skip_blanks(at);
    if (*at != '"')
        return NULL;
    at = string_json(at + 1, out);
    if (at == NULL)
        return NULL;
    at = skip_blanks(at);
    return *at == ':' && put(out, ':') ? at + 1 : NULL;
}

const uint8_t *json_compact(const uint8_t *at, int levels, buffer *out) {
    uint8_t closing[MOST_LEVELS];
    int open = 0;
    for (;;) {
        at = skip_blanks(at);
        bool empty = false;
        if (*at == '{' || *at == '[') {
            if (open == levels || open == MOST_LEVELS || !put(out, *at))
                return NULL;
            closing[open++] = (uint8_t)(*at + 2); /* in ASCII: { | } and [ \ ] */
            at = skip_blanks(at + 1);
            empty = *at == closing[open - 1];
            if (!empty) {
                if (closing[open - 1] == '}')
                    at = key(at, out);
                if (at == NULL)
                    return NULL;
                continue;
            }
        } else {
            at = scalar(at, out);
            if (at == NULL)
                return NULL;
        }
        /* Behind a value: what is closed here, then a comma. */
        for (;;) {
            if (open == 0)
                return at;
            at = skip_blanks(at);
            if (*at != closing[open - 1])
                break;
            if (!put(out, *at))
                return NULL;
            open--;
            at++;
        }
        if (*at != ',' || !put(out, ','))
            return NULL;
        at++;
        if (closing[open - 1] == '}') {
            at = key(at, out);
            if (at == NULL)
                return NULL;
        }
    }
}
