#include "times.h"

#define SECOND ((int64_t)1000000)
#define DAY (86400 * SECOND)
#define FIRST (-719162 * DAY)       /* 0001-01-01 */
#define BEHIND ((2932896 + 1) * DAY) /* 9999-12-31, and a day */

static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

static int two_digits(const uint8_t *at) {
    return (at[0] - '0') * 10 + (at[1] - '0');
}

/* The day of a text YYYY-MM-DD. Reads no byte behind the first that does not fit. */
static bool read_day(const uint8_t *at, int32_t *value) {
    static const char form[] = "dddd-dd-dd";
    for (int i = 0; i < 10; i++)
        if (form[i] == 'd' ? !is_digit(at[i]) : at[i] != form[i])
            return false;
    int year = two_digits(at) * 100 + two_digits(at + 2), month = two_digits(at + 5), day = two_digits(at + 8);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > month_days[month - 1] + (leap && month == 2))
        return false;
    /* Days of the years that begin in March: the leap day is then the last. */
    int from = month > 2 ? year : year - 1, era = from / 400, of_era = from - era * 400;
    int of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    *value = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    return true;
}

static bool known_day(const uint8_t *at, days *known, int32_t *value) {
    uint64_t head = load64(at);
    uint16_t tail;
    memcpy(&tail, at + 8, 2);
    unsigned place = (at[9] ^ (at[8] << 4) ^ (at[6] << 3)) % KNOWN_DAYS;
    if (known->entries[place].known && known->entries[place].head == head && known->entries[place].tail == tail) {
        *value = known->entries[place].day;
        return true;
    }
    if (!read_day(at, value))
        return false;
    known->entries[place].head = head;
    known->entries[place].tail = tail;
    known->entries[place].known = 1;
    known->entries[place].day = *value;
    return true;
}

const uint8_t *date_value(const uint8_t *at, days *known, int32_t *value) {
    if (!known_day(at, known, value) || at[10] != '"')
        return NULL;
    return at + 11;
}

/* Seconds of a text hh:mm:ss, or -1. */
static int64_t read_clock(const uint8_t *at) {
    uint64_t bits = load64(at) ^ 0x30303a30303a3030u; /* now digits are 0 to 9, and colons 0 */
    if (((bits + 0x76767f76767f7676u) | bits) & 0x8080808080808080u)
        return -1;
    int hour = (int)(bits & 15) * 10 + (int)(bits >> 8 & 15);
    int minute = (int)(bits >> 24 & 15) * 10 + (int)(bits >> 32 & 15);
    int second = (int)(bits >> 48 & 15) * 10 + (int)(bits >> 56 & 15);
    return hour > 23 || minute > 59 || second > 59 ? -1 : hour * 3600 + minute * 60 + second;
}

/* Reads a zone such as +05:30, +0530 or +05. */
static const uint8_t *read_offset(const uint8_t *at, int64_t *seconds) {
    int sign = *at == '-' ? -1 : 1, minutes = 0;
    at++;
    if (!is_digit(at[0]) || !is_digit(at[1]))
        return NULL;
    int hours = two_digits(at);
    at += 2;
    if (*at == ':' || is_digit(*at)) {
        at += *at == ':';
        if (!is_digit(at[0]) || !is_digit(at[1]))
            return NULL;
        minutes = two_digits(at);
        at += 2;
    }
    if (hours > 23 || minutes > 59)
        return NULL;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return at;
}

const uint8_t *timestamp_value(const uint8_t *at, days *known, int64_t *value) {
    int32_t day;
    int64_t offset = 0;
    if (!known_day(at, known, &day) || (at[10] != 'T' && at[10] != 't' && at[10] != ' '))
        return NULL;
    int64_t clock = read_clock(at + 11);
    if (clock < 0)
        return NULL;
    at += 19;
    int64_t micros = 0;
    if (*at == '.') {
        at++;
        int64_t unit = SECOND;
        int count = 0;
        for (; count < 9 && is_digit(*at); count++, at++) {
            unit /= 10;
            micros += unit * (*at - '0'); /* past six digits the unit is 0 */
        }
        if (count == 0)
            return NULL;
    }
    if (*at == 'Z' || *at == 'z') {
        at++;
    } else if (*at == '+' || *at == '-') {
        at = read_offset(at, &offset);
        if (at == NULL)
            return NULL;
    }
    if (*at != '"')
        return NULL;
    *value = day * DAY + (clock - offset) * SECOND + micros;
    if (*value < FIRST || *value >= BEHIND)
        return NULL;
    return at + 1;
}
