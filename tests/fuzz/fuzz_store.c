/* F51, F57: a store's file that somebody damaged or made: it is refused with a sentence, or read
 * and written as far as it goes, and no number comes out of it that no writer writes. Input: a byte
 * that picks the way, then either patches, each three bytes of place, one of size and the bytes
 * that go there (a size of 0 cuts the file there); or SQL that is run on the file first. */
#include <math.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/store_world.h"
#include "lib/calendar.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STORE_STEPS = 2000, STORE_HEADS = 8, STORE_ROUNDS = 64 };

/* ---- damage ----------------------------------------------------------------------------- */

static void put_patched(const uint8_t *data, size_t size)
{
    size_t whole = fuzz_world.size;
    uint8_t *image = malloc(whole);
    CHECK(image != NULL);
    memcpy(image, fuzz_world.image, whole);
    while (size >= 4 && whole > 0) {
        const size_t at = ((size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2]) % whole;
        size_t patch = data[3];
        data += 4;
        size -= 4;
        if (patch == 0) {
            whole = at;
        }
        patch = patch < size ? patch : size;
        patch = patch < whole - at ? patch : whole - at;
        memcpy(image + at, data, patch);
        data += patch;
        size -= patch;
    }
    fuzz_world_put(image, whole);
    free(image);
}

/* Nothing outside of the file, and no more than a moment's work. */
static int authorize(void *context, int action, const char *a, const char *b, const char *c,
                     const char *d)
{
    (void)context, (void)a, (void)b, (void)c, (void)d;
    return action == SQLITE_ATTACH || action == SQLITE_DETACH ? SQLITE_DENY : SQLITE_OK;
}

static int give_up(void *context)
{
    int *steps = context;
    return ++*steps > STORE_STEPS;
}

static void put_changed(const uint8_t *data, size_t size)
{
    sqlite3 *db;
    int steps = 0;
    char *sql = strndup((const char *)data, size);
    CHECK(sql != NULL);
    fuzz_world_put(fuzz_world.image, fuzz_world.size);
    CHECK(sqlite3_open(fuzz_world.path, &db) == SQLITE_OK);
    (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1 << 20);
    (void)sqlite3_set_authorizer(db, authorize, NULL);
    sqlite3_progress_handler(db, 100, give_up, &steps);
    (void)sqlite3_exec(db, "PRAGMA writable_schema = ON; PRAGMA max_page_count = 400", NULL, NULL,
                       NULL);
    (void)sqlite3_exec(db, sql, NULL, NULL, NULL);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    free(sql);
}

/* ---- reading ---------------------------------------------------------------------------- */

static void check_row(int64_t timestamp, double value, double anomaly_score)
{
    CHECK(timestamp >= MMQ_TIME_MIN && timestamp <= MMQ_TIME_MAX && isfinite(value));
    CHECK(!isinf(anomaly_score));
}

static void read_time(mmq_store *store, const mmq_metric_head *head, bool ascending)
{
    static mmq_columns rows;
    mmq_why why = {""};
    mmq_range range = {.metric = head->key,
                       .from = MMQ_TIME_MIN,
                       .to = MMQ_TIME_MAX,
                       .ascending = ascending,
                       .rowid_most = head->last_rowid};
    int64_t last = ascending ? INT64_MIN : INT64_MAX;
    for (int i = 0; i < STORE_ROUNDS && !range.ended; i++) {
        if (mmq_store_read_time(store, &range, &rows, MMQ_BATCH_ROWS, &why) != MMQ_OK) {
            CHECK(why.text[0] != '\0');
            return;
        }
        for (size_t row = 0; row < rows.count; row++) {
            check_row(rows.timestamp[row], rows.value[row], rows.anomaly_score[row]);
            CHECK(ascending ? rows.timestamp[row] >= last : rows.timestamp[row] <= last);
            CHECK(rows.rowid[row] >= 1 && rows.rowid[row] <= head->last_rowid);
            last = rows.timestamp[row];
        }
    }
}

static void read_rowids(mmq_store *store, const mmq_metric_head *head)
{
    static mmq_columns rows;
    mmq_why why = {""};
    const int64_t middle = head->last_rowid / 2 + 1;
    if (mmq_store_read_rowids(store, head->key, middle, head->last_rowid, &rows, MMQ_BATCH_ROWS,
                              &why) != MMQ_OK) {
        CHECK(why.text[0] != '\0');
        return;
    }
    for (size_t row = 0; row < rows.count; row++) {
        check_row(rows.timestamp[row], rows.value[row], rows.anomaly_score[row]);
        CHECK(rows.rowid[row] >= middle && rows.rowid[row] <= head->last_rowid);
        CHECK(row == 0 || rows.rowid[row] > rows.rowid[row - 1]);
    }
}

static void read_buckets(mmq_store *store, const mmq_metric_head *head, int64_t width)
{
    static mmq_dated_bucket buckets[MMQ_BUCKETS_LEAST];
    mmq_why why = {""};
    mmq_bucket_range range = {.metric = head->key,
                              .from = MMQ_TIME_MIN,
                              .to = MMQ_TIME_MAX,
                              .width = width,
                              .rowid_most = head->last_rowid};
    int64_t last = INT64_MIN;
    size_t count;
    for (int i = 0; i < STORE_ROUNDS && !range.ended; i++) {
        if (mmq_store_read_buckets(store, &range, buckets, MMQ_BUCKETS_LEAST, &count, &why) !=
            MMQ_OK) {
            CHECK(why.text[0] != '\0');
            return;
        }
        for (size_t j = 0; j < count; j++) {
            CHECK(mmq_bucket_is_sane(&buckets[j].bucket) && buckets[j].start >= last);
            last = buckets[j].start;
        }
    }
}

static void read_metric(mmq_store *store, const mmq_metric_head *head)
{
    mmq_metric metric;
    mmq_why why = {""};
    int64_t length;
    CHECK(mmq_uid_valid(head->uid, strlen(head->uid)));
    if (mmq_store_metric(store, head->uid, &metric, &why) == MMQ_OK) {
        CHECK(strcmp(metric.head.uid, head->uid) == 0);
        CHECK(mmq_utf8_valid(metric.name, strlen(metric.name)));
        mmq_metric_clear(&metric);
    }
    if (mmq_store_length_at(store, head, head->made, &length, &why) == MMQ_OK) {
        CHECK(length >= 0 && length <= head->last_rowid);
    }
    if (head->last_rowid > 0) { /* a range's 0 would mean that there is no bound */
        read_time(store, head, true);
        read_time(store, head, false);
        read_rowids(store, head);
        read_buckets(store, head, 1);
        read_buckets(store, head, MMQ_TIME_MAX);
    }
}

static void read_all(mmq_store *store)
{
    mmq_metric_head heads[STORE_HEADS];
    mmq_snapshot snapshot;
    mmq_why why = {""};
    size_t count = 0;
    int64_t unscored;
    if (mmq_store_begin_read(store, &snapshot, &why) != MMQ_OK) {
        return;
    }
    if (mmq_store_heads(store, "", heads, STORE_HEADS, &count, &why) == MMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            read_metric(store, &heads[i]);
        }
    }
    (void)!mmq_store_unscored(store, &unscored, &why);
    mmq_store_end_read(store);
}

static void check_all(mmq_store *store)
{
    mmq_store_sums sums;
    mmq_why why = {""};
    const mmq_store_watch watch = {.at = fuzz_go_on, .fault = fuzz_tell};
    if (mmq_store_check(store, &watch, &sums, &why) == MMQ_OK) {
        CHECK(sums.faults >= 0 && sums.rows >= 0);
    }
}

/* ---- writing ---------------------------------------------------------------------------- */

static void write_some(mmq_store *store)
{
    int64_t timestamp[] = {1400000000, 1500000000}, rowid[] = {1, 2};
    double number[] = {0.5, 1.5};
    const mmq_write_rows rows = {2, timestamp, rowid, number, number, number};
    mmq_appended out;
    mmq_why why = {""};
    bool more;
    if (mmq_store_begin_write(store, &why) != MMQ_OK) {
        return;
    }
    mmq_err err = mmq_store_append(store, "u", 0, &rows, &out, &why);
    if (err == MMQ_OK || err == MMQ_ENOTFOUND) {
        err = mmq_store_score(store, "u", &rows, &why);
    }
    if (err == MMQ_OK || err == MMQ_ENOTFOUND) {
        err = mmq_store_delete(store, "a", &why);
    }
    CHECK(err == MMQ_OK || why.text[0] != '\0');
    if (err == MMQ_OK || err == MMQ_ENOTFOUND) {
        (void)!mmq_store_commit(store, &why);
    } else {
        mmq_store_rollback(store);
    }
    (void)!mmq_store_tidy(store, &more, &why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mmq_store *store;
    mmq_why why = {""};
    if (size == 0) {
        return 0;
    }
    fuzz_world_begin();
    if ((data[0] & 1) == 0) {
        put_patched(data + 1, size - 1);
    } else {
        put_changed(data + 1, size - 1);
    }
    if (mmq_store_open(fuzz_world.url, MMQ_STORE_READ, &store, &why) == MMQ_OK) {
        read_all(store);
        check_all(store);
        mmq_store_close(&store);
    } else {
        CHECK(why.text[0] != '\0' && store == NULL);
    }
    if (mmq_store_open(fuzz_world.url, MMQ_STORE_WRITE, &store, &why) == MMQ_OK) {
        write_some(store);
        read_all(store);
        mmq_store_close(&store);
    }
    fuzz_world_remove();
    return 0;
}
