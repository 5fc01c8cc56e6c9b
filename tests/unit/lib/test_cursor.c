/* Cursors come back whole; no other text counts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/cursor.h"
#include "lib/digest.h"

static const mmq_cursor sample = {.binding = UINT64_C(0xfedcba9876543210),
                                  .store = 42,
                                  .commit = 7,
                                  .metric = 3,
                                  .bound = 22695,
                                  .shown = 100,
                                  .positioned = true,
                                  .timestamp = 1376602494,
                                  .rowid = 125,
                                  .uid = "cpu-1.a_B"};

static const mmq_cursor in_bucket = {.binding = 1,
                                     .store = 42,
                                     .commit = 7,
                                     .metric = 3,
                                     .bound = 22695,
                                     .positioned = true,
                                     .timestamp = 1376602494,
                                     .rowid = 125,
                                     .uid = "cpu-1.a_B",
                                     .has_buckets = true,
                                     .buckets = {.from = 1376602440,
                                                 .to = 1386602440,
                                                 .bucket = {.rows = 5,
                                                            .unscored = 2,
                                                            .least = -1e308,
                                                            .greatest = 1e308,
                                                            .first = -0.0,
                                                            .last = 1,
                                                            .mean = 0.5,
                                                            .greatest_score = 0.25}}};

static mmq_err parse(const char *text)
{
    mmq_cursor out;
    return mmq_cursor_parse(text, strlen(text), &out);
}

static void assert_comes_back(mmq_cursor cursor)
{
    char text[MMQ_CURSOR_MAX];
    mmq_cursor back;
    mmq_cursor_print(&cursor, text);
    assert_int_equal(mmq_cursor_parse(text, strlen(text), &back), MMQ_OK);
    assert_true(back.binding == cursor.binding && back.store == cursor.store);
    assert_true(back.commit == cursor.commit && back.metric == cursor.metric);
    assert_true(back.bound == cursor.bound && back.shown == cursor.shown);
    assert_true(back.positioned == cursor.positioned);
    if (cursor.positioned) {
        assert_true(back.timestamp == cursor.timestamp && back.rowid == cursor.rowid);
    }
    assert_string_equal(back.uid, cursor.uid);
    assert_int_equal(back.has_buckets, cursor.has_buckets);
    const mmq_bucket *a = &cursor.buckets.bucket, *b = &back.buckets.bucket;
    assert_true(back.buckets.from == cursor.buckets.from && back.buckets.to == cursor.buckets.to);
    assert_true(a->rows == b->rows && a->unscored == b->unscored);
    assert_memory_equal(&a->least, &b->least,
                        offsetof(mmq_bucket, greatest_score) - offsetof(mmq_bucket, least));
    assert_true(isnan(a->greatest_score) ? isnan(b->greatest_score)
                                         : a->greatest_score == b->greatest_score);
}

static void cursors_come_back(void **state)
{
    mmq_cursor cursor = sample;
    (void)state;
    assert_comes_back(cursor);
    assert_comes_back((mmq_cursor){0});
    cursor.positioned = false;
    assert_comes_back(cursor);
    memset(cursor.uid, 'u', MMQ_UID_MAX);
    assert_comes_back(cursor);
    cursor.commit = cursor.metric = INT64_MAX;
    cursor.bound = cursor.shown = INT64_C(1) << 53;
    cursor.positioned = true;
    cursor.timestamp = MMQ_TIME_MIN;
    cursor.rowid = INT64_MAX;
    assert_comes_back(cursor);
    cursor = in_bucket;
    assert_comes_back(cursor);
    memset(cursor.uid, 'u', MMQ_UID_MAX);
    cursor.buckets.bucket.unscored = cursor.buckets.bucket.rows = INT64_C(1) << 53;
    cursor.buckets.bucket.greatest_score = NAN;
    assert_comes_back(cursor);
    cursor.buckets = (mmq_cursor_buckets){.from = MMQ_TIME_MIN, .to = MMQ_TIME_MAX};
    cursor.positioned = false;
    assert_comes_back(cursor);
}

static void assert_refused(mmq_cursor cursor)
{
    char text[MMQ_CURSOR_MAX];
    mmq_cursor_print(&cursor, text);
    assert_int_equal(parse(text), MMQ_EINVAL);
}

static void fields_out_of_range_are_refused(void **state)
{
    mmq_cursor cursor = sample;
    const struct {
        int64_t *field, value;
    } faults[] = {
        {&cursor.commit, -1},
        {&cursor.metric, -1},
        {&cursor.metric, 0},
        {&cursor.bound, -1},
        {&cursor.bound, (INT64_C(1) << 53) + 1},
        {&cursor.shown, -1},
        {&cursor.shown, (INT64_C(1) << 53) + 1},
        {&cursor.rowid, -1},
        {&cursor.timestamp, MMQ_TIME_MAX + 1},
        {&cursor.timestamp, MMQ_TIME_MIN - 1},
        {&cursor.commit, INT64_MIN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        cursor = sample;
        *faults[i].field = faults[i].value;
        assert_refused(cursor);
    }
    cursor = sample;
    cursor.uid[0] = '/';
    assert_refused(cursor);
    strcpy(cursor.uid, "data");
    assert_refused(cursor);
}

static void buckets_that_cannot_be_are_refused(void **state)
{
    mmq_cursor cursor = in_bucket;
    mmq_bucket *bucket = &cursor.buckets.bucket;
    const struct {
        int64_t *field, value;
    } counts[] = {
        {&cursor.buckets.from, MMQ_TIME_MIN - 1},
        {&cursor.buckets.to, MMQ_TIME_MAX + 1},
        {&cursor.buckets.to, 1376602439},
        {&cursor.timestamp, 1376602439},
        {&cursor.timestamp, 1386602441},
        {&bucket->rows, (INT64_C(1) << 53) + 1},
        {&bucket->rows, 1},
        {&bucket->unscored, -1},
        {&bucket->unscored, 5},
    };
    const struct {
        double *field, value;
    } numbers[] = {
        {&bucket->least, NAN},          {&bucket->least, 0.75},
        {&bucket->least, -INFINITY},    {&bucket->greatest, INFINITY},
        {&bucket->mean, NAN},           {&bucket->mean, INFINITY},
        {&bucket->first, NAN},          {&bucket->last, -INFINITY},
        {&bucket->greatest_score, NAN}, {&bucket->greatest_score, INFINITY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        cursor = in_bucket;
        *counts[i].field = counts[i].value;
        assert_refused(cursor);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        cursor = in_bucket;
        *numbers[i].field = numbers[i].value;
        assert_refused(cursor);
    }
    cursor = in_bucket;
    cursor.positioned = false;
    assert_refused(cursor);
}

static void other_texts_are_refused(void **state)
{
    char text[MMQ_CURSOR_MAX], changed[MMQ_CURSOR_MAX + 8];
    (void)state;
    mmq_cursor_print(&sample, text);
    size_t size = strlen(text);
    assert_int_equal(parse(""), MMQ_EINVAL);
    for (size_t cut = 0; cut < size; cut++) {
        mmq_cursor out;
        mmq_err err = mmq_cursor_parse(text, cut, &out);
        /* cut within the uid it may be the cursor of a shorter uid, and nothing else */
        assert_true(err == MMQ_EINVAL || strncmp(out.uid, sample.uid, strlen(out.uid)) == 0);
    }
    static const char *const tails[] = {"=", "A", "\n", "+", " "};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        snprintf(changed, sizeof changed, "%s%s", text, tails[i]);
        assert_int_equal(parse(changed), MMQ_EINVAL);
    }
    memset(changed, 'A', sizeof changed);
    mmq_cursor out;
    assert_int_equal(mmq_cursor_parse(changed, sizeof changed, &out), MMQ_EINVAL);
    memcpy(changed, text, size + 1);
    changed[0] = 'B'; /* another version */
    assert_int_equal(parse(changed), MMQ_EINVAL);
}

/* What is taken prints as the very same text, whatever a client made up. */
static void what_is_taken_is_canonical(void **state)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+";
    char text[MMQ_CURSOR_MAX], changed[MMQ_CURSOR_MAX], again[MMQ_CURSOR_MAX];
    unsigned seed;
    (void)state;
    mmq_random(&seed, sizeof seed);
    printf("seed: %u\n", seed);
    for (int i = 0; i < 200000; i++) {
        mmq_cursor out;
        mmq_cursor_print(i % 2 == 0 ? &sample : &in_bucket, text);
        const size_t size = strlen(text);
        memcpy(changed, text, size + 1);
        for (int edits = rand_r(&seed) % 3; edits >= 0; edits--) {
            changed[(size_t)rand_r(&seed) % size] = digits[(size_t)rand_r(&seed) % 66];
        }
        if (mmq_cursor_parse(changed, size, &out) != MMQ_OK) {
            continue;
        }
        mmq_cursor_print(&out, again);
        assert_string_equal(again, changed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursors_come_back),
        cmocka_unit_test(fields_out_of_range_are_refused),
        cmocka_unit_test(buckets_that_cannot_be_are_refused),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(what_is_taken_is_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
