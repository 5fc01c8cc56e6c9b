/* The rules of create, append, score and delete, lengths at commits, housekeeping, the lock, and
 * what is left after a writer died. */
#include "store_world.h"

#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/columns.h"

static world_rows rows;

static int begin(void **state)
{
    world_begin();
    for (size_t i = 0; i < WORLD_ROWS; i++) {
        world_set(&rows, i, 1000 + (int64_t)i, (double)i / 3, i % 2 == 0 ? 0.5 : NAN);
    }
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "a", "a"));
    assert_ok(mmq_store_commit(store, &why));
    *state = store;
    return 0;
}

static int end(void **state)
{
    mmq_store *store = *state;
    mmq_store_close(&store);
    world_end();
    return 0;
}

static mmq_metric_head head_of(mmq_store *store, const char *uid, mmq_snapshot *snapshot)
{
    mmq_metric_head head;
    assert_ok(mmq_store_begin_read(store, snapshot, &why));
    assert_ok(mmq_store_find(store, uid, &head, &why));
    mmq_store_end_read(store);
    return head;
}

static int64_t unscored(mmq_store *store)
{
    mmq_snapshot snapshot;
    int64_t count;
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(mmq_store_unscored(store, &count, &why));
    mmq_store_end_read(store);
    return count;
}

static void test_create(void **state)
{
    mmq_store *store = *state;
    mmq_snapshot before, after;
    mmq_metric_head head = head_of(store, "a", &before);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "a", "a"));
    assert_int_equal(world_create(store, "b", "a"), MMQ_ECONFLICT);
    assert_int_equal(world_create(store, "a", "b"), MMQ_ECONFLICT);
    assert_int_equal(world_create(store, "data", "c"), MMQ_EINVAL);
    assert_int_equal(world_create(store, "no/no", "c"), MMQ_EINVAL);
    assert_ok(mmq_store_commit(store, &why));
    assert_int_equal(head_of(store, "a", &after).key, head.key);
    assert_int_equal(after.commit, before.commit);
    assert_int_equal(after.store, before.store);
}

static void test_append(void **state)
{
    mmq_store *store = *state;
    mmq_appended out;
    assert_int_equal(world_append(store, "none", 0, &rows, 0, 1, &out), MMQ_ENOTFOUND);
    assert_ok(world_append(store, "a", 0, &rows, 0, 3000, &out));
    assert_int_equal(out.first_rowid, 1);
    assert_int_equal(out.last_rowid, 3000);
    assert_int_equal(out.added, 3000);
    /* the same again, overlapping, beyond, a gap, a difference */
    assert_ok(world_append(store, "a", 1, &rows, 0, 3000, &out));
    assert_int_equal(out.added, 0);
    assert_ok(world_append(store, "a", 2900, &rows, 2899, 200, &out));
    assert_int_equal(out.added, 99);
    assert_int_equal(out.last_rowid, 3099);
    assert_int_equal(world_append(store, "a", 3101, &rows, 3100, 1, &out), MMQ_ECONFLICT);
    rows.value[2500] += 1;
    assert_int_equal(world_append(store, "a", 1, &rows, 0, 4000, &out), MMQ_ECONFLICT);
    assert_non_null(strstr(why.text, "2501"));
    rows.value[2500] -= 1;
    assert_ok(world_append(store, "a", 0, &rows, 0, 0, &out));
    assert_int_equal(out.first_rowid, 0);
    mmq_snapshot snapshot;
    assert_int_equal(head_of(store, "a", &snapshot).last_rowid, 3099);
}

/* F57: what cannot be kept is refused, the rest is exact. */
static void test_values(void **state)
{
    mmq_store *store = *state;
    mmq_appended out;
    const double refused[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        rows.value[1] = refused[i];
        assert_int_equal(world_append(store, "a", 0, &rows, 0, 2, &out), MMQ_EINVAL);
        assert_non_null(strstr(why.text, "row 2"));
    }
    rows.timestamp[1] = INT64_MAX;
    assert_int_equal(world_append(store, "a", 0, &rows, 1, 1, &out), MMQ_EINVAL);
    const double kept[] = {-0.0, 5e-324, 1e308, -1.5, 222, 9007199254740993.0};
    for (size_t i = 0; i < 6; i++) {
        world_set(&rows, i, -62135596800 + (int64_t)i, kept[i], kept[i]);
    }
    assert_ok(world_append(store, "a", 0, &rows, 0, 6, &out));
    mmq_snapshot snapshot;
    mmq_columns *read = malloc(sizeof *read);
    mmq_metric_head head = head_of(store, "a", &snapshot);
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(mmq_store_read_rowids(store, head.key, 1, 6, read, 10, &why));
    mmq_store_end_read(store);
    assert_int_equal(read->count, 6);
    assert_memory_equal(read->value, kept, sizeof kept);
    assert_memory_equal(read->raw_score, kept, sizeof kept);
    free(read);
}

static mmq_err score(mmq_store *store, size_t from, size_t count)
{
    mmq_write_rows view = world_view(&rows, from, count);
    assert_ok(mmq_store_begin_write(store, &why));
    mmq_err err = mmq_store_score(store, "a", &view, &why);
    mmq_why ignored;
    assert_int_equal(mmq_store_commit(store, &ignored), MMQ_OK);
    return err;
}

static void test_score(void **state)
{
    mmq_store *store = *state;
    mmq_appended out;
    assert_ok(world_append(store, "a", 0, &rows, 0, 100, &out));
    assert_int_equal(unscored(store), 50);
    rows.anomaly_score[1] = 0.75;
    assert_ok(score(store, 0, 4));
    assert_int_equal(unscored(store), 49);
    assert_ok(score(store, 0, 4));
    assert_int_equal(unscored(store), 49);
    rows.anomaly_score[3] = 1;
    assert_int_equal(score(store, 0, 101), MMQ_ENOTFOUND);
    assert_non_null(strstr(why.text, "101"));
    assert_int_equal(unscored(store), 49);
    rows.anomaly_score[3] = INFINITY;
    assert_int_equal(score(store, 0, 4), MMQ_EINVAL);
}

/* Several steps of one transaction: a refused one changes nothing, a rolled back one neither. */
static void test_group(void **state)
{
    mmq_store *store = *state;
    mmq_appended out;
    mmq_snapshot before, after;
    mmq_write_rows view = world_view(&rows, 0, 10);
    (void)head_of(store, "a", &before);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(mmq_store_append(store, "a", 0, &view, &out, &why));
    assert_ok(world_create(store, "b", "b"));
    assert_int_equal(mmq_store_append(store, "a", 20, &view, &out, &why), MMQ_ECONFLICT);
    assert_ok(mmq_store_append(store, "b", 0, &view, &out, &why));
    assert_ok(mmq_store_append(store, "a", 0, &view, &out, &why));
    assert_ok(mmq_store_commit(store, &why));
    assert_int_equal(head_of(store, "a", &after).last_rowid, 20);
    assert_int_equal(after.commit, before.commit + 1);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(mmq_store_delete(store, "a", &why));
    assert_ok(mmq_store_append(store, "b", 0, &view, &out, &why));
    mmq_store_rollback(store);
    assert_int_equal(head_of(store, "b", &after).last_rowid, 10);
    assert_int_equal(after.commit, before.commit + 1);
}

static mmq_err length_at(mmq_store *store, int64_t commit, int64_t *length)
{
    mmq_snapshot snapshot;
    mmq_metric_head head = head_of(store, "a", &snapshot);
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    mmq_err err = mmq_store_length_at(store, &head, commit, length, &why);
    mmq_store_end_read(store);
    return err;
}

static void tidy(mmq_store *store)
{
    bool more = true;
    for (int i = 0; more; i++) {
        assert_ok(mmq_store_tidy(store, &more, &why));
        assert_true(i < 1000);
    }
}

/* F55: the length at each commit, until it is forgotten. */
static void test_lengths(void **state)
{
    mmq_store *store = *state;
    mmq_appended out;
    mmq_snapshot start, snapshot;
    int64_t lengths[40], length;
    (void)head_of(store, "a", &start);
    lengths[0] = 0;
    for (size_t i = 1; i < 40; i++) {
        size_t count = i % 3;
        if (count > 0) {
            assert_ok(world_append(store, "a", 0, &rows, 0, count, &out));
        } else {
            assert_ok(score(store, 0, 1));
        }
        lengths[i] = lengths[i - 1] + (int64_t)count;
    }
    assert_ok(length_at(store, start.commit - 1, &length));
    assert_int_equal(length, 0);
    for (size_t i = 0; i < 40; i++) {
        assert_ok(length_at(store, start.commit + (int64_t)i, &length));
        assert_int_equal(length, lengths[i]);
    }
    tidy(store);
    assert_ok(length_at(store, start.commit, &length));
    mmq_clock_shift(3700 * MMQ_NS_PER_S);
    tidy(store);
    mmq_clock_shift(0);
    assert_int_equal(length_at(store, start.commit, &length), MMQ_EGONE);
    assert_int_equal(length_at(store, start.commit + 37, &length), MMQ_EGONE);
    (void)head_of(store, "a", &snapshot);
    assert_ok(length_at(store, snapshot.commit, &length));
    assert_int_equal(length, lengths[39]);
    /* 39 scored: nothing was forgotten of what came after 38 */
    assert_ok(length_at(store, start.commit + 38, &length));
    assert_int_equal(length, lengths[38]);
}

/* Many lengths of one metric are forgotten at once: the greatest commit counts, whatever the clocks
 * of several writers said of the order. */
static void test_lengths_forgotten(void **state)
{
    mmq_store *store = *state;
    mmq_appended out;
    mmq_snapshot start;
    int64_t length;
    (void)head_of(store, "a", &start);
    for (size_t i = 0; i < 300; i++) {
        assert_ok(world_append(store, "a", 0, &rows, 0, 1, &out));
    }
    (void)world_sql("UPDATE growth SET at = 1000 - commit_no");
    tidy(store);
    assert_int_equal(world_sql("SELECT count(*) FROM growth"), 0);
    assert_int_equal(length_at(store, start.commit + 299, &length), MMQ_EGONE);
    assert_ok(length_at(store, start.commit + 300, &length));
    assert_int_equal(length, 300);
}

static void test_delete(void **state)
{
    mmq_store *store = *state;
    mmq_appended out;
    mmq_snapshot snapshot;
    for (int i = 0; i < 6; i++) {
        assert_ok(world_append(store, "a", 0, &rows, 0, WORLD_ROWS, &out));
    }
    mmq_metric_head old = head_of(store, "a", &snapshot);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(mmq_store_delete(store, "a", &why));
    assert_int_equal(mmq_store_delete(store, "a", &why), MMQ_ENOTFOUND);
    assert_ok(world_create(store, "a", "a"));
    assert_ok(mmq_store_commit(store, &why));
    assert_int_equal(unscored(store), 0);
    mmq_metric_head fresh = head_of(store, "a", &snapshot);
    assert_true(fresh.key > old.key);
    assert_int_equal(fresh.last_rowid, 0);
    assert_ok(world_append(store, "a", 0, &rows, 0, 5, &out));
    tidy(store);
    mmq_columns *read = malloc(sizeof *read);
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(mmq_store_read_rowids(store, old.key, 1, 100000, read, 10, &why));
    assert_int_equal(read->count, 0);
    assert_ok(mmq_store_read_rowids(store, fresh.key, 1, 100000, read, 10, &why));
    assert_int_equal(read->count, 5);
    mmq_store_end_read(store);
    free(read);
}

static void test_lock(void **state)
{
    (void)state;
    if (store_server() != NULL) {
        skip(); /* it takes as many writers as there are */
    }
    mmq_store_lock *lock, *other;
    assert_ok(mmq_store_lock_try(world_url, &lock, &why));
    assert_int_equal(mmq_store_lock_try(world_url, &other, &why), MMQ_EBUSY);
    assert_null(other);
    mmq_store_unlock(&lock);
    assert_ok(mmq_store_lock_try(world_url, &other, &why));
    mmq_store_unlock(&other);
}

/* F53: a writer that dies leaves the commits that it made, and no more. */
static void test_killed_writer(void **state)
{
    mmq_store *store = *state;
    mmq_store_close(&store);
    pid_t child = fork();
    if (child == 0) {
        mmq_appended out;
        mmq_write_rows view = world_view(&rows, 0, 2000);
        store = world_open(MMQ_STORE_WRITE);
        bool done = mmq_store_begin_write(store, &why) == MMQ_OK &&
                    mmq_store_append(store, "a", 0, &view, &out, &why) == MMQ_OK &&
                    mmq_store_commit(store, &why) == MMQ_OK &&
                    mmq_store_begin_write(store, &why) == MMQ_OK &&
                    mmq_store_append(store, "a", 0, &view, &out, &why) == MMQ_OK;
        _exit(done ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    mmq_snapshot snapshot;
    mmq_store *reader = world_open(MMQ_STORE_READ);
    assert_int_equal(head_of(reader, "a", &snapshot).last_rowid, 2000);
    mmq_store_close(&reader);
    *state = world_open(MMQ_STORE_WRITE);
    assert_int_equal(head_of(*state, "a", &snapshot).last_rowid, 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_append),
        TEST(test_values),
        TEST(test_score),
        TEST(test_group),
        TEST(test_lengths),
        TEST(test_lengths_forgotten),
        TEST(test_delete),
        TEST(test_lock),
        TEST(test_killed_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
