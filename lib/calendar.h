/* Time as text: proleptic Gregorian, UTC, years 0001 to 9999. No locale, no time zone files. */
#ifndef MMQ_CALENDAR_H
#define MMQ_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MMQ_TIME_MIN INT64_C(-62135596800) /* 0001-01-01 00:00:00 */
#define MMQ_TIME_MAX INT64_C(253402300799) /* 9999-12-31 23:59:59 */

enum { MMQ_TIME_TEXT = 19 };

/* Writes exactly 19 bytes, "YYYY-MM-DD HH:MM:SS", no NUL. seconds within the bounds. */
void mmq_time_print(int64_t seconds, char out[MMQ_TIME_TEXT]);
/* The day of the time printed last, which most times share with the one before. Starts as {0}. */
typedef struct mmq_day {
    int64_t midnight;
    char date[16]; /* "YYYY-MM-DD "; empty: none yet */
} mmq_day;
/* As mmq_time_print; only the time of day is made anew if the day is still the same. */
void mmq_day_print(mmq_day *day, int64_t seconds, char out[MMQ_TIME_TEXT]);
/* Strictly "YYYY-MM-DD HH:MM:SS". */
bool mmq_time_parse(const char *text, size_t size, int64_t *out);
/* Also "YYYY-MM-DDTHH:MM:SS[Z]", "YYYY-MM-DD" (midnight) and epoch seconds ("-12"). */
bool mmq_time_parse_loose(const char *text, size_t size, int64_t *out);

/* The day of the time that was read last: rows in order of time rarely change it. Zeroed at first.
 */
typedef struct mmq_time_day {
    char text[10]; /* "YYYY-MM-DD" */
    int64_t midnight;
} mmq_time_day;

/* As mmq_time_parse_loose; texts of the strict form are read fast if they are of day, which is
 * replaced if they are not. */
bool mmq_time_parse_row(const char *text, size_t size, mmq_time_day *day, int64_t *out);

#endif
