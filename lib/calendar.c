/* Civil time by arithmetic alone: days are counted from 0000-03-01, so that the leap day is a
 * year's last and months fall into a fixed pattern of 153 days each five. Eras of 400 years keep
 * all divisions on non-negative numbers. Texts are checked whole before they count. */
#include "lib/calendar.h"

#include <endian.h>
#include <string.h>

#include "lib/check.h"
#include "lib/digits.h"
#include "lib/number.h"

enum {
    DAY_S = 86400,
    DAYS_OF_ERA = 146097,      /* 400 years */
    DAYS_BEFORE_1970 = 719468, /* from 0000-03-01 */
    DATE_TEXT = 11,            /* bytes of "YYYY-MM-DD " */
};

typedef struct civil {
    int year, month, day;
} civil;

static int64_t days_from_civil(civil date)
{
    int year = date.month > 2 ? date.year : date.year - 1; /* the year that began in March */
    int month = (date.month + 9) % 12;                     /* March is 0 */
    int era = year / 400, year_of_era = year % 400;
    int day_of_year = (153 * month + 2) / 5 + date.day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int64_t)era * DAYS_OF_ERA + day_of_era - DAYS_BEFORE_1970;
}

static civil civil_from_days(int64_t days)
{
    int shifted = (int)(days + DAYS_BEFORE_1970);
    int era = shifted / DAYS_OF_ERA, day_of_era = shifted % DAYS_OF_ERA;
    /* take leap days out, so that every year has 365 days */
    int year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month = (5 * day_of_year + 2) / 153;
    int january = month >= 10;
    return (civil){.year = era * 400 + year_of_era + january,
                   .month = january ? month - 9 : month + 3,
                   .day = day_of_year - (153 * month + 2) / 5 + 1};
}

static void put_pair(char *out, int value)
{
    out[0] = (char)('0' + value / 10);
    out[1] = (char)('0' + value % 10);
}

/* "HH:MM:SS": numbers of two digits in every 24 bits of a word, split all at once. */
static void put_clock(char *out, uint32_t of_day)
{
    const uint64_t hour = of_day / 3600, minute = of_day / 60 % 60, second = of_day % 60;
    const uint64_t numbers = hour | minute << 24 | second << 48;
    const uint64_t tens = numbers * 103 >> 10 & UINT64_C(0x000f00000f00000f);
    const uint64_t colons = UINT64_C(0x00000a00000a0000) + MMQ_DIGITS_ASCII; /* ':' is '0' + 10 */
    mmq_digits_store(out, (tens | (numbers - 10 * tens) << 8) + colons);
}

void mmq_time_print(int64_t seconds, char out[MMQ_TIME_TEXT])
{
    CHECK(seconds >= MMQ_TIME_MIN && seconds <= MMQ_TIME_MAX);
    int64_t since_min = seconds - MMQ_TIME_MIN;
    int of_day = (int)(since_min % DAY_S);
    civil date = civil_from_days(since_min / DAY_S + MMQ_TIME_MIN / DAY_S);
    memcpy(out, "YYYY-MM-DD ", DATE_TEXT);
    put_pair(out, date.year / 100);
    put_pair(out + 2, date.year % 100);
    put_pair(out + 5, date.month);
    put_pair(out + 8, date.day);
    put_clock(out + DATE_TEXT, (uint32_t)of_day);
}

void mmq_day_print(mmq_day *day, int64_t seconds, char out[MMQ_TIME_TEXT])
{
    uint64_t of_day = (uint64_t)seconds - (uint64_t)day->midnight;
    if (of_day >= DAY_S || day->date[0] == '\0') {
        char text[MMQ_TIME_TEXT];
        mmq_time_print(seconds, text);
        memcpy(day->date, text, sizeof day->date);
        of_day = (uint64_t)(seconds - MMQ_TIME_MIN) % DAY_S;
        day->midnight = seconds - (int64_t)of_day;
    }
    memcpy(out, day->date, sizeof day->date); /* and some of the time, which comes next */
    put_clock(out + DATE_TEXT, (uint32_t)of_day);
}

/* True if text has the shape of pattern, in which '0' stands for any digit. */
static bool has_shape(const char *text, size_t size, const char *pattern)
{
    if (size != strlen(pattern)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (pattern[i] == '0' ? !digit : text[i] != pattern[i]) {
            return false;
        }
    }
    return true;
}

static int read_pair(const char *text)
{
    return (text[0] - '0') * 10 + (text[1] - '0');
}

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool date_exists(civil date)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (date.year < 1 || date.month < 1 || date.month > 12 || date.day < 1) {
        return false;
    }
    int leap_day = date.month == 2 && is_leap(date.year);
    return date.day <= lengths[date.month - 1] + leap_day;
}

/* text has the shape of a date */
static bool read_date(const char *text, int64_t *out)
{
    civil date = {.year = read_pair(text) * 100 + read_pair(text + 2),
                  .month = read_pair(text + 5),
                  .day = read_pair(text + 8)};
    if (!date_exists(date)) {
        return false;
    }
    *out = days_from_civil(date) * DAY_S;
    return true;
}

/* text has the shape of a date and a time */
static bool read_date_time(const char *text, int64_t *out)
{
    int hour = read_pair(text + 11), minute = read_pair(text + 14), second = read_pair(text + 17);
    int64_t midnight;
    if (hour > 23 || minute > 59 || second > 59 || !read_date(text, &midnight)) {
        return false;
    }
    *out = midnight + hour * 3600 + minute * 60 + second;
    return true;
}

bool mmq_time_parse(const char *text, size_t size, int64_t *out)
{
    return has_shape(text, size, "0000-00-00 00:00:00") && read_date_time(text, out);
}

static bool read_epoch(const char *text, size_t size, int64_t *out)
{
    int64_t seconds;
    if (!mmq_integer_parse(text, size, &seconds) || seconds < MMQ_TIME_MIN ||
        seconds > MMQ_TIME_MAX) {
        return false;
    }
    *out = seconds;
    return true;
}

bool mmq_time_parse_loose(const char *text, size_t size, int64_t *out)
{
    if (has_shape(text, size, "0000-00-00 00:00:00") ||
        has_shape(text, size, "0000-00-00T00:00:00") ||
        has_shape(text, size, "0000-00-00T00:00:00Z")) {
        return read_date_time(text, out);
    }
    if (has_shape(text, size, "0000-00-00")) {
        return read_date(text, out);
    }
    return read_epoch(text, size, out);
}

/* "HH:MM:SS" as seconds of a day, -1 if it is none. Its bytes are looked at together: less '0' or
 * ':', a byte is the digit or 0; adding what lacks to 0x80 shows in the top bit that it is more. */
static int read_clock(const char *text)
{
    uint64_t bytes;
    memcpy(&bytes, text, sizeof bytes);
    bytes = le64toh(bytes) ^ UINT64_C(0x30303a30303a3030);
    if (((bytes + UINT64_C(0x76767f76767f7676)) | bytes) & UINT64_C(0x8080808080808080)) {
        return -1;
    }
    bytes = bytes * 10 + (bytes >> 8); /* hour, minute and second are bytes 0, 3 and 6 */
    const int hour = (int)(bytes & 0xff), minute = (int)(bytes >> 24 & 0xff);
    const int second = (int)(bytes >> 48 & 0xff);
    return hour > 23 || minute > 59 || second > 59 ? -1 : hour * 3600 + minute * 60 + second;
}

/* A day that was never set is no text's. */
static bool is_of_day(const char *text, const mmq_time_day *day)
{
    return text[0] != '\0' && memcmp(text, day->text, sizeof day->text) == 0;
}

bool mmq_time_parse_row(const char *text, size_t size, mmq_time_day *day, int64_t *out)
{
    enum { DAY_SIZE = sizeof day->text };
    if (size == MMQ_TIME_TEXT && text[DAY_SIZE] == ' ' && is_of_day(text, day)) {
        const int second = read_clock(text + DAY_SIZE + 1);
        *out = second >= 0 ? day->midnight + second : *out;
        return second >= 0;
    }
    if (!mmq_time_parse_loose(text, size, out)) {
        return false;
    }
    if (size == MMQ_TIME_TEXT) {
        memcpy(day->text, text, DAY_SIZE);
        day->midnight = *out - (*out - MMQ_TIME_MIN) % DAY_S; /* MMQ_TIME_MIN is a midnight */
    }
    return true;
}
