/* A store copied into others (docs/migration.md): random stores, while they are written, broken off
 * anywhere; what is to be refused. The copies are read and compared row by row. With
 * METRICMQ_TEST_POSTGRES the stores are of both engines in turn. SEED repeats a run. */
#include "store_world.h"

#include <time.h>

#include "lib/calendar.h"
#include "lib/columns.h"
#include "workers/store/copy.h"

enum { UIDS = 6, NAMES = 4, COPIES = 3, WINDOW = 1 << 16 };

static world_rows rows;
static mmq_store *writer;
static char copies[COPIES][512];
static mmq_copied copied;

static int64_t below(int64_t bound)
{
    return random() % bound;
}

/* ---- the watch -------------------------------------------------------------------------- */

static int64_t calls, stop_at, write_every; /* 0: never */
static unsigned faults;
static void write_some(void);

static bool at(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context, (void)doing, (void)done, (void)total;
    calls++;
    if (write_every > 0 && calls % write_every == 0) {
        write_some();
    }
    return stop_at == 0 || calls < stop_at;
}

static void fault(void *context, const char *what)
{
    (void)context;
    fprintf(stderr, "%s\n", what);
    faults++;
}

static mmq_err copy(const char *from, const char *to, bool finish)
{
    const mmq_store_watch watch = {.at = at, .fault = fault};
    calls = 0;
    return mmq_store_copy(from, to, finish, &watch, &copied, &why);
}

/* ---- writing ---------------------------------------------------------------------------- */

static void uid_of(int64_t i, char *out)
{
    (void)snprintf(out, 16, "uid-%c", (char)('a' + i));
}

/* Identities change places: a uid may be made again with another's. */
static void make(const char *uid)
{
    mmq_metric metric;
    char name[16];
    (void)snprintf(name, sizeof name, "name %d", (int)below(UIDS + NAMES));
    world_metric(&metric, uid, name);
    if (below(2) == 0) {
        metric.message = strdup("a message");
        metric.tag_name = strdup("");
        metric.status = below(3);
    }
    const mmq_err err = mmq_store_create(writer, &metric, &why);
    assert_true(err == MMQ_OK || err == MMQ_ECONFLICT);
    mmq_metric_clear(&metric);
}

static void append(const char *uid)
{
    static int64_t newest = 1000;
    const size_t count = 1 + (size_t)below(below(3) == 0 ? WORLD_ROWS : 40);
    const int64_t step = below(3); /* 0: ties */
    for (size_t i = 0; i < count; i++) {
        newest += step;
        world_set(&rows, i, below(20) == 0 ? below(newest) : newest, (double)below(1000) / 10,
                  below(3) == 0 ? NAN : (double)below(1000) / 1000);
        rows.raw_score[i] = below(2) == 0 ? NAN : -0.0;
    }
    mmq_appended out;
    const mmq_write_rows view = world_view(&rows, 0, count);
    assert_ok(mmq_store_append(writer, uid, 0, &view, &out, &why));
}

static void score(const mmq_metric_head *head)
{
    const size_t count = 1 + (size_t)below(50);
    for (size_t i = 0; i < count; i++) {
        rows.rowid[i] = 1 + below(head->last_rowid);
        rows.anomaly_score[i] = (double)below(2000) / 1000;
        rows.raw_score[i] = (double)below(2000) / 1000;
    }
    const mmq_write_rows view = world_view(&rows, 0, count);
    const mmq_err err = mmq_store_score(writer, head->uid, &view, &why);
    assert_true(err == MMQ_OK || err == MMQ_ENOTFOUND); /* pruned */
}

static void prune(const mmq_metric_head *head)
{
    mmq_pruned out = {0};
    int work = 1 + (int)below(2 * MMQ_PRUNE_WORK);
    bool done;
    assert_ok(mmq_store_prune(writer, head, below(8000), &work, &done, &out, &why));
}

static void write_one(void)
{
    char uid[16];
    mmq_metric_head head;
    uid_of(below(UIDS), uid);
    const mmq_err err = mmq_store_find(writer, uid, &head, &why);
    const int64_t what = below(20);
    if (err == MMQ_ENOTFOUND) {
        make(uid);
        return;
    }
    assert_ok(err);
    if (what == 0) {
        assert_ok(mmq_store_delete(writer, uid, &why));
    } else if (what < 3) {
        prune(&head);
    } else if (what < 8 && head.last_rowid > 0) {
        score(&head);
    } else {
        append(uid);
    }
}

static void write_some(void)
{
    for (int64_t i = 1 + below(4); i > 0; i--) {
        assert_ok(mmq_store_begin_write(writer, &why));
        write_one();
        assert_ok(mmq_store_commit(writer, &why));
    }
}

/* ---- comparing -------------------------------------------------------------------------- */

static void open_rows(mmq_rowid_window *out)
{
    *out = (mmq_rowid_window){.capacity = WINDOW};
    out->timestamp = malloc(WINDOW * sizeof *out->timestamp);
    out->value = malloc(3 * WINDOW * sizeof *out->value);
    out->there = malloc(WINDOW * sizeof *out->there);
    assert_true(out->timestamp != NULL && out->value != NULL && out->there != NULL);
    out->anomaly_score = out->value + WINDOW;
    out->raw_score = out->anomaly_score + WINDOW;
}

static void close_rows(mmq_rowid_window *of)
{
    free(of->timestamp);
    free(of->value);
    free(of->there);
}

static void same_double(double a, double b)
{
    assert_true((isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0);
}

static void same_rowids(mmq_store *a, mmq_store *b, const mmq_metric *of, const mmq_metric *as)
{
    mmq_rowid_window left, right;
    open_rows(&left);
    open_rows(&right);
    for (int64_t first = 1; first <= of->head.last_rowid; first += WINDOW) {
        assert_ok(mmq_store_read_window(a, of->head.key, first, INT64_MAX, &left, &why));
        assert_ok(mmq_store_read_window(b, as->head.key, first, INT64_MAX, &right, &why));
        assert_int_equal(left.count, right.count);
        for (size_t i = 0; i < left.count; i++) {
            assert_int_equal(left.there[i], right.there[i]);
            if (left.there[i]) {
                assert_int_equal(left.timestamp[i], right.timestamp[i]);
                same_double(left.value[i], right.value[i]);
                same_double(left.anomaly_score[i], right.anomaly_score[i]);
                same_double(left.raw_score[i], right.raw_score[i]);
            }
        }
    }
    close_rows(&left);
    close_rows(&right);
}

static void same_times(mmq_store *a, mmq_store *b, const mmq_metric *of, const mmq_metric *as)
{
    static mmq_columns left, right;
    const mmq_range all = {.from = MMQ_TIME_MIN,
                           .to = MMQ_TIME_MAX,
                           .ascending = below(2) == 0,
                           .scores = (mmq_score_filter)below(3),
                           .least_score = 0.7};
    mmq_range of_range = all, as_range = all;
    of_range.metric = of->head.key;
    as_range.metric = as->head.key;
    while (!of_range.ended) {
        assert_ok(mmq_store_read_time(a, &of_range, &left, MMQ_BATCH_ROWS, &why));
        assert_ok(mmq_store_read_time(b, &as_range, &right, MMQ_BATCH_ROWS, &why));
        assert_int_equal(left.count, right.count);
        for (size_t i = 0; i < left.count; i++) {
            assert_int_equal(left.timestamp[i], right.timestamp[i]);
            assert_int_equal(left.rowid[i], right.rowid[i]);
        }
    }
    assert_true(as_range.ended);
}

static void same_records(const mmq_metric *a, const mmq_metric *b)
{
    const char *const of[] = {a->head.uid,    a->datasource, a->identity, a->name,
                              a->description, a->server,     a->location, a->parameters},
                      *const as[] = {b->head.uid,    b->datasource, b->identity, b->name,
                                     b->description, b->server,     b->location, b->parameters};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        assert_string_equal(of[i], as[i]);
    }
    assert_int_equal(a->message == NULL, b->message == NULL);
    assert_int_equal(a->tag_name == NULL, b->tag_name == NULL);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->poll_interval, b->poll_interval);
    assert_int_equal(a->head.last_rowid, b->head.last_rowid);
    assert_int_equal(a->has_rows, b->has_rows);
    assert_int_equal(a->last_timestamp, b->last_timestamp);
}

/* All that can be asked is answered alike. */
static void same_stores(const char *a_url, const char *b_url)
{
    mmq_store *a, *b;
    mmq_snapshot of, as;
    char after[MMQ_UID_MAX + 1] = "";
    int64_t unscored[2];
    assert_ok(mmq_store_open(a_url, MMQ_STORE_READ, &a, &why));
    assert_ok(mmq_store_open(b_url, MMQ_STORE_READ, &b, &why));
    assert_ok(mmq_store_begin_read(a, &of, &why));
    assert_ok(mmq_store_begin_read(b, &as, &why));
    assert_true(of.store != as.store);
    for (;;) {
        mmq_metric left, right;
        const mmq_err err = mmq_store_metric_after(a, after, &left, &why);
        assert_int_equal(mmq_store_metric_after(b, after, &right, &why), err);
        if (err == MMQ_ENOTFOUND) {
            break;
        }
        assert_ok(err);
        same_records(&left, &right);
        same_rowids(a, b, &left, &right);
        same_times(a, b, &left, &right);
        (void)snprintf(after, sizeof after, "%s", left.head.uid);
        mmq_metric_clear(&left);
        mmq_metric_clear(&right);
    }
    assert_ok(mmq_store_unscored(a, &unscored[0], &why));
    assert_ok(mmq_store_unscored(b, &unscored[1], &why));
    assert_int_equal(unscored[0], unscored[1]);
    mmq_store_close(&a);
    mmq_store_close(&b);
}

static void is_whole(const char *url)
{
    const mmq_store_watch watch = {.at = at, .fault = fault};
    mmq_store *store;
    mmq_store_sums sums;
    stop_at = 0;
    assert_ok(mmq_store_open(url, MMQ_STORE_READ, &store, &why));
    assert_ok(mmq_store_check(store, &watch, &sums, &why));
    assert_int_equal(sums.faults, 0);
    mmq_store_close(&store);
}

/* ---- the tests -------------------------------------------------------------------------- */

/* A database of the server beside the one of the store. */
static void name_database(int i, char *out, size_t size)
{
    char script[64];
    const char *rest = strchr(strstr(store_server(), "://") + 3, '/');
    (void)snprintf(script, sizeof script, "DROP DATABASE IF EXISTS copy%d", i);
    (void)store_server_run(script);
    (void)snprintf(script, sizeof script, "CREATE DATABASE copy%d", i);
    (void)store_server_run(script);
    (void)snprintf(out, size, "%.*s/copy%d%s", (int)(rest - store_server()), store_server(), i,
                   strchrnul(rest, '?'));
}

static int setup(void **state)
{
    (void)state;
    world_begin();
    for (int i = 0; i < COPIES; i++) {
        if (store_server() != NULL && i > 0) {
            name_database(i, copies[i], sizeof copies[i]);
        } else {
            (void)snprintf(copies[i], sizeof copies[i], "sqlite:%s/copy%d.db", world_folder, i);
        }
    }
    writer = world_open(MMQ_STORE_WRITE);
    stop_at = write_every = 0;
    faults = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mmq_store_close(&writer);
    world_end();
    return 0;
}

static void fill(int steps)
{
    for (int i = 0; i < steps; i++) {
        write_some();
    }
}

/* There, on, and back, with everything that a store may hold. */
static void test_random_stores(void **state)
{
    (void)state;
    for (unsigned round = 0; round < store_rounds(8); round++) {
        fill(round == 0 ? 60 : 8);
        assert_ok(copy(world_url, copies[0], false));
        assert_int_equal(copied.changed, 0);
        assert_false(copied.finished || copied.was_store);
        assert_ok(copy(world_url, copies[0], false)); /* nothing is copied twice */
        assert_int_equal(copied.blocks + copied.metrics + copied.removed, 0);
    }
    assert_ok(copy(world_url, copies[0], true));
    assert_true(copied.finished);
    assert_int_equal(copied.blocks, 0);
    const uint64_t sum = copied.sum;
    same_stores(world_url, copies[0]);
    for (int i = 1; i < COPIES; i++) {
        assert_ok(copy(copies[i - 1], copies[i], true));
        assert_true(copied.finished && copied.sum == sum);
        same_stores(copies[i - 1], copies[i]);
        is_whole(copies[i]);
    }
    assert_ok(copy(world_url, copies[COPIES - 1], false));
    assert_true(copied.was_store && copied.sum == sum);
    assert_int_equal(faults, 0);
}

/* Broken off at each call of the watch, with writes in between and meanwhile. */
static void test_broken_off(void **state)
{
    (void)state;
    fill(20);
    const int64_t step = store_server() == NULL ? 1 : 10;
    int64_t blocks = 0;
    mmq_err err = MMQ_ECLOSED;
    for (stop_at = 1; err == MMQ_ECLOSED; stop_at += step + stop_at / 4) {
        write_every = below(3) == 0 ? 1 + below(40) : 0;
        err = copy(world_url, copies[0], false);
        assert_true(err == MMQ_OK || err == MMQ_ECLOSED);
        blocks += copied.blocks;
    }
    assert_ok(err);
    write_every = 0;
    err = MMQ_ECLOSED;
    for (stop_at = 1; err == MMQ_ECLOSED; stop_at += step + stop_at / 4) {
        err = copy(world_url, copies[0], true);
    }
    assert_ok(err);
    assert_true(copied.finished && blocks > 0);
    same_stores(world_url, copies[0]);
    is_whole(copies[0]);
}

/* Passes go on while the source is written, and tell what is left. */
static void test_beside_a_writer(void **state)
{
    (void)state;
    fill(10);
    write_every = 1;
    assert_ok(copy(world_url, copies[1], false));
    assert_true(copied.changed > 0 && !copied.finished);
    assert_int_equal(copy(world_url, copies[1], true), MMQ_EBUSY);
    assert_non_null(strstr(why.text, "stop its write workers"));
    write_every = 0;
    assert_ok(copy(world_url, copies[1], true));
    same_stores(world_url, copies[1]);
}

static void is_refused(const char *from, const char *to, bool finish, mmq_err err, const char *said)
{
    assert_int_equal(copy(from, to, finish), err);
    if (strstr(why.text, said) == NULL) {
        fail_msg("%s: not %s", why.text, said);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    fill(5);
    is_refused(world_url, world_url, false, MMQ_EINVAL, "the same store");
    assert_ok(copy(world_url, copies[0], false));
    mmq_store *store;
    assert_int_equal(mmq_store_open(copies[0], MMQ_STORE_READ, &store, &why), MMQ_EBUSY);
    assert_non_null(strstr(why.text, "is a copy that is not finished"));
    assert_int_equal(mmq_store_open(copies[0], MMQ_STORE_WRITE, &store, &why), MMQ_EBUSY);
    is_refused(copies[0], copies[1], false, MMQ_EBUSY, "is a copy that is not finished");
    assert_ok(copy(world_url, copies[1], true));
    is_refused(copies[1], copies[0], false, MMQ_ECONFLICT, "a copy of another store");
    assert_ok(copy(world_url, copies[0], true));

    /* They are stores now: nothing of the source goes there any more. */
    char uid[16] = "uid-z";
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(world_create(writer, uid, "another"));
    assert_ok(mmq_store_commit(writer, &why));
    is_refused(world_url, copies[0], true, MMQ_ECONFLICT, "metric uid-z: only the source has it");
    is_refused(copies[0], world_url, true, MMQ_ECONFLICT, "metric uid-z: only the target has it");
    same_stores(copies[0], copies[1]);
}

static void test_one_fills_at_a_time(void **state)
{
    (void)state;
    SQLITE_ONLY("in PostgreSQL each transaction has a lock of its own");
    fill(2);
    mmq_store_lock *lock;
    assert_ok(copy(world_url, copies[0], false));
    assert_ok(mmq_store_lock_try(copies[0], &lock, &why));
    is_refused(world_url, copies[0], false, MMQ_EBUSY, "another `metricmq migrate`");
    mmq_store_unlock(&lock);
    assert_ok(mmq_store_lock_try(world_url, &lock, &why)); /* a write worker's */
    is_refused(world_url, copies[0], true, MMQ_EBUSY, "a write worker has the source");
    assert_ok(copy(world_url, copies[0], false));
    mmq_store_unlock(&lock);
    assert_ok(copy(world_url, copies[0], true));
}

/* What is damaged in the source is told, and goes nowhere. */
static void test_damage(void **state)
{
    (void)state;
    static const char *const damages[] = {
        "UPDATE block SET head_check = head_check - 1 WHERE metric = 2 AND first_rowid = 1",
        "UPDATE block SET head_check = head_check + 1 WHERE metric = 2 AND first_rowid = 1;"
        "UPDATE block_data SET data = (SELECT data FROM block_data WHERE key ="
        " (SELECT data FROM block WHERE metric = 3 AND first_rowid = 1))"
        " WHERE key = (SELECT data FROM block WHERE metric = 2 AND first_rowid = 1)",
    };
    world_rows *many = &rows;
    assert_ok(mmq_store_begin_write(writer, &why));
    for (int m = 0; m < 3; m++) {
        char uid[16];
        uid_of(m, uid);
        assert_ok(world_create(writer, uid, uid));
    }
    assert_ok(mmq_store_commit(writer, &why));
    for (size_t i = 0; i < 100; i++) {
        world_set(many, i, (int64_t)i, (double)i, NAN);
    }
    for (int m = 0; m < 3; m++) {
        char uid[16];
        mmq_appended out;
        uid_of(m, uid);
        assert_ok(world_append(writer, uid, 0, many, 0, (size_t)(100 - m), &out));
    }
    for (size_t i = 0; i < 2; i++) {
        (void)world_sql(damages[i]);
        is_refused(world_url, copies[0], true, MMQ_ECORRUPT,
                   "metric uid-b, in the source: the store is damaged: ");
        assert_non_null(
            strstr(why.text, i == 0 ? "the head of the block" : "the data of the block"));
    }
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(mmq_store_delete(writer, "uid-b", &why));
    assert_ok(mmq_store_commit(writer, &why));
    assert_ok(copy(world_url, copies[0], true));
    assert_int_equal(copied.sums.metrics, 2);
}

int main(void)
{
    const char *given = getenv("SEED");
    const unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("SEED=%u\n", seed);
    srandom(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beside_a_writer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_fills_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
