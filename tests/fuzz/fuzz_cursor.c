/* Any bytes as a cursor's text, and as a cursor's fields: a text that is taken is the one that
 * print makes of it. */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_cursor_text(const char *text, size_t size)
{
    mmq_cursor cursor;
    char again[MMQ_CURSOR_MAX];
    if (mmq_cursor_parse(text, size, &cursor) != MMQ_OK) {
        return;
    }
    mmq_cursor_print(&cursor, again);
    CHECK(strlen(again) == size && memcmp(again, text, size) == 0);
}

static void fuzz_cursor_fields(const uint8_t *data, size_t size)
{
    mmq_cursor cursor = {0};
    char text[MMQ_CURSOR_MAX];
    mmq_cursor_buckets *buckets = &cursor.buckets;
    int64_t *const fields[] = {&cursor.commit,        &cursor.metric,    &cursor.bound,
                               &cursor.shown,         &buckets->from,    &buckets->to,
                               &buckets->bucket.rows, &cursor.timestamp, &cursor.rowid};
    for (size_t i = 0; i < sizeof fields / sizeof *fields && size >= sizeof *fields[i]; i++) {
        memcpy(fields[i], data, sizeof *fields[i]);
        data += sizeof *fields[i];
        size -= sizeof *fields[i];
    }
    cursor.positioned = cursor.rowid != 0;
    cursor.has_buckets = buckets->to != 0;
    buckets->bucket.unscored = buckets->bucket.rows;
    buckets->bucket.greatest_score = NAN;
    memcpy(cursor.uid, data, size < MMQ_UID_MAX ? size : MMQ_UID_MAX);
    mmq_cursor_print(&cursor, text);
    fuzz_cursor_text(text, strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_cursor_text((const char *)data, size);
    fuzz_cursor_fields(data, size);
    return 0;
}
