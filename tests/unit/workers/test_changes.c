/* What the write worker remembers of changes, against a plain list of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/splitmix.h"
#include "metricmq/unpack.h"
#include "workers/changes.h"

enum { UIDS = 6000, STEPS = 20000 };

static int64_t changed[UIDS]; /* at which commit; 0: never */
static int64_t last_rowid[UIDS];

static int64_t uid_number(const mmq_value *uid)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%.*s", (int)uid->text.size, uid->text.data);
    return strtol(text + 1, NULL, 10);
}

/* What was packed are the metrics that changed since, each once, in the order of commits. */
static void check_pairs(const mmq_buffer *packed, int64_t since)
{
    size_t wanted = 0;
    for (size_t i = 0; i < UIDS; i++) {
        wanted += changed[i] > since;
    }
    mmq_reader reader;
    mmq_value array, uid, rowid;
    mmq_reader_init(&reader, packed->data, packed->size);
    assert_int_equal(mmq_unpack(&reader, &array), MMQ_OK);
    assert_int_equal(array.count, wanted);
    int64_t before = since;
    for (size_t i = 0; i < wanted; i++) {
        assert_int_equal(mmq_unpack(&reader, &rowid), MMQ_OK);
        assert_int_equal(mmq_unpack(&reader, &uid), MMQ_OK);
        assert_int_equal(mmq_unpack(&reader, &rowid), MMQ_OK);
        const int64_t number = uid_number(&uid);
        assert_true(changed[number] >= before);
        before = changed[number];
        if (last_rowid[number] < 0) {
            assert_int_equal(rowid.type, MMQ_NIL);
        } else {
            assert_int_equal(rowid.integer, last_rowid[number]);
        }
    }
    assert_true(mmq_reader_done(&reader));
}

/* `known`: all that changed after it is remembered. */
static void check_since(const mmq_changes *changes, int64_t since, int64_t known)
{
    size_t after = 0;
    for (size_t i = 0; i < UIDS; i++) {
        after += changed[i] > since;
    }
    mmq_buffer packed;
    mmq_buffer_init(&packed, 1024 * 1024);
    const bool told = mmq_changes_pack(changes, since, &packed);
    assert_int_equal(told, since >= known && after <= MMQ_CHANGES_TOLD);
    if (told) {
        check_pairs(&packed, since);
    } else {
        assert_int_equal(packed.size, 0);
    }
    mmq_buffer_clear(&packed);
}

/* The commit of the metric that is the oldest of those that fit. */
static int64_t oldest_known(void)
{
    static int64_t sorted[UIDS];
    size_t count = 0;
    for (size_t i = 0; i < UIDS; i++) {
        if (changed[i] > 0) {
            size_t at = count++;
            for (; at > 0 && sorted[at - 1] < changed[i]; at--) {
                sorted[at] = sorted[at - 1];
            }
            sorted[at] = changed[i];
        }
    }
    return count > MMQ_CHANGES_KEPT ? sorted[MMQ_CHANGES_KEPT] : 0;
}

static void test_random(void **state)
{
    (void)state;
    const char *seed = getenv("METRICMQ_SEED");
    mmq_splitmix random = {seed != NULL ? strtoull(seed, NULL, 10) : 1};
    print_message("METRICMQ_SEED=%llu\n", seed != NULL ? strtoull(seed, NULL, 10) : 1ULL);
    mmq_changes *changes = mmq_changes_new(0);
    assert_non_null(changes);
    int64_t commit = 1;
    for (int i = 0; i < STEPS; i++) {
        const size_t number = mmq_splitmix_next(&random) % UIDS;
        char uid[16];
        (void)snprintf(uid, sizeof uid, "u%zu", number);
        last_rowid[number] = mmq_splitmix_next(&random) % 8 == 0 ? -1 : i;
        changed[number] = commit;
        mmq_changes_note(changes, commit, uid, last_rowid[number]);
        assert_int_equal(mmq_changes_newest(changes), commit);
        commit += mmq_splitmix_next(&random) % 3 == 0;
        if (i % 500 == 499) {
            const int64_t known = oldest_known();
            check_since(changes, commit - 1 - (int64_t)(mmq_splitmix_next(&random) % 300), known);
            check_since(changes, known, known);
            check_since(changes, commit, known);
        }
    }
    mmq_changes_destroy(&changes);
    assert_null(changes);
}

static void test_forget(void **state)
{
    (void)state;
    mmq_buffer packed;
    mmq_buffer_init(&packed, 1024);
    mmq_changes *changes = mmq_changes_new(7);
    assert_non_null(changes);
    assert_false(mmq_changes_pack(changes, 6, &packed));
    assert_true(mmq_changes_pack(changes, 7, &packed));
    mmq_changes_note(changes, 8, "u", 1);
    mmq_changes_forget(changes, 8);
    assert_false(mmq_changes_pack(changes, 7, &packed));
    mmq_changes_note(changes, 8, "v", 1);
    mmq_buffer_reset(&packed);
    assert_false(mmq_changes_pack(changes, 7, &packed));
    assert_true(mmq_changes_pack(changes, 8, &packed));
    mmq_buffer_clear(&packed);
    mmq_changes_destroy(&changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
