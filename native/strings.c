#include "strings.h"

enum { LONGEST_ESCAPE = 8 }; /* bytes that an escape can become: \u0000 stays six */

bool is_utf8(const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        if (end - at >= 8 && (load64(at) & 0x8080808080808080u) == 0) {
            at += 8;
            continue;
        }
        uint8_t first = *at++;
        if (first < 0x80)
            continue;
        int more;
        uint8_t low = 0x80, high = 0xbf; /* of the second byte: no overlong form, no surrogate, nothing past U+10FFFF */
        if (first >= 0xc2 && first <= 0xdf) {
            more = 1;
        } else if (first >= 0xe0 && first <= 0xef) {
            more = 2;
            low = first == 0xe0 ? 0xa0 : 0x80;
            high = first == 0xed ? 0x9f : 0xbf;
        } else if (first >= 0xf0 && first <= 0xf4) {
            more = 3;
            low = first == 0xf0 ? 0x90 : 0x80;
            high = first == 0xf4 ? 0x8f : 0xbf;
        } else {
            return false;
        }
        if (end - at < more || *at < low || *at > high)
            return false;
        for (int i = 1; i < more; i++)
            if ((at[i] & 0xc0) != 0x80)
                return false;
        at += more;
    }
    return true;
}

/* The value of four hex digits, or -1. Stops at the first byte that is none. */
static int hex4(const uint8_t *at) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t byte = at[i], letter = byte | 0x20;
        if (is_digit(byte))
            value = value << 4 | (byte - '0');
        else if (letter >= 'a' && letter <= 'f')
            value = value << 4 | (letter - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* The character of the escape at a backslash. `*at` is moved behind it. -1: not surely one. */
static int32_t escape(const uint8_t **at) {
    const uint8_t *from = *at;
    *at = from + 2;
    switch (from[1]) {
    case '"':
    case '\\':
    case '/':
        return from[1];
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        break;
    default:
        return -1;
    }
    int32_t code = hex4(from + 2);
    *at = from + 6;
    if (code < 0 || (code & 0xfc00) == 0xdc00)
        return -1;
    if ((code & 0xfc00) != 0xd800)
        return code;
    if (from[6] != '\\' || from[7] != 'u')
        return -1;
    int32_t low = hex4(from + 8);
    *at = from + 12;
    if (low < 0 || (low & 0xfc00) != 0xdc00)
        return -1;
    return 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
}

/* Writes a character as UTF-8. Returns its size. */
static size_t put_utf8(int32_t code, uint8_t *to) {
    if (code < 0x80) {
        to[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (uint8_t)(0xc0 | code >> 6);
        to[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (uint8_t)(0xe0 | code >> 12);
        to[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | code >> 18);
    to[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

/* Writes a character as it stands in a string of json.dumps(ensure_ascii=False). Returns its size. */
static size_t put_json(int32_t code, uint8_t *to) {
    static const char hex[] = "0123456789abcdef";
    char letter;
    switch (code) {
    case '"':
    case '\\':
        letter = (char)code;
        break;
    case '\b':
        letter = 'b';
        break;
    case '\f':
        letter = 'f';
        break;
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = 'r';
        break;
    case '\t':
        letter = 't';
        break;
    default:
        if (code >= 0x20)
            return put_utf8(code, to);
        memcpy(to, "\\u00", 4);
        to[4] = (uint8_t)hex[code >> 4];
        to[5] = (uint8_t)hex[code & 15];
        return 6;
    }
    to[0] = '\\';
    to[1] = (uint8_t)letter;
    return 2;
}

/* Both forms: they differ in what an escape becomes. */
static inline const uint8_t *read(const uint8_t *at, buffer *out, bool json, bool *escaped) {
    size_t start = out->used;
    uint32_t high = 0;
    for (;;) {
        if (!buffer_has(out, STEP))
            return NULL;
        marks found = copy_step(at, out->data + out->used);
        if (found.stops == 0) {
            high |= found.high;
            at += STEP;
            out->used += STEP;
            continue;
        }
        unsigned plain = (unsigned)__builtin_ctz(found.stops);
        high |= found.high & ((found.stops & -found.stops) - 1);
        at += plain;
        out->used += plain;
        if (*at == '"')
            break;
        int32_t code = *at == '\\' ? escape(&at) : -1;
        if (code < 0 || !buffer_has(out, LONGEST_ESCAPE))
            return NULL;
        uint8_t *to = out->data + out->used;
        out->used += json ? put_json(code, to) : put_utf8(code, to);
        *escaped = true;
    }
    if (high && !is_utf8(out->data + start, out->data + out->used))
        return NULL;
    return at + 1;
}

const uint8_t *string_text(const uint8_t *at, buffer *out, bool *escaped) {
    return read(at, out, false, escaped);
}

const uint8_t *string_json(const uint8_t *at, buffer *out) {
    bool escaped;
    if (!buffer_has(out, 1))
        return NULL;
    out->data[out->used++] = '"';
    at = read(at, out, true, &escaped);
    if (at == NULL || !buffer_has(out, 1))
        return NULL;
    out->data[out->used++] = '"';
    return at;
}
