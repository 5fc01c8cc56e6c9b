/* Reads of the store against a slow and obvious reference over random rows: repeated timestamps,
 * steps back in time, rows without a score, any range, direction and batch size. */
#include "store_world.h"

#include <time.h>

#include "lib/calendar.h"
#include "workers/store/postgres/postgres.h"
#include "workers/store/sqlite/sqlite.h"

enum { ROWS = 3000 };

static world_rows reference;
static mmq_columns batch;

static int64_t random_below(int64_t bound)
{
    return (int64_t)(((uint64_t)random() << 31 | (uint64_t)random()) % (uint64_t)bound);
}

static void make_rows(void)
{
    int64_t at = -500;
    for (size_t i = 0; i < ROWS; i++) {
        at += random_below(6) == 0 ? -random_below(40) : random_below(3);
        world_set(&reference, i, at, (double)random() / 7.0, random_below(4) == 0 ? NAN : 0.25);
    }
}

static bool is_first(size_t a, size_t b, bool ascending)
{
    int64_t at = reference.timestamp[a], other = reference.timestamp[b];
    bool less = at != other ? at < other : a < b;
    return ascending ? less : !less;
}

/* The rows of the range in order, by selection of the least that is behind the last, among those
 * that the metric has. */
static size_t next_among(const mmq_range *range, size_t last, size_t rows)
{
    size_t best = ROWS;
    for (size_t i = 0; i < rows; i++) {
        int64_t at = reference.timestamp[i];
        if (at >= range->from && at <= range->to && i != last &&
            (last == ROWS || is_first(last, i, range->ascending)) &&
            (best == ROWS || is_first(i, best, range->ascending))) {
            best = i;
        }
    }
    return best;
}

static size_t next_expected(const mmq_range *range, size_t last)
{
    return next_among(range, last, ROWS);
}

static void check_row(size_t i, size_t in_batch)
{
    assert_int_equal(batch.rowid[in_batch], (int64_t)i + 1);
    assert_int_equal(batch.timestamp[in_batch], reference.timestamp[i]);
    assert_memory_equal(&batch.value[in_batch], &reference.value[i], sizeof(double));
    assert_int_equal(isnan(batch.anomaly_score[in_batch]) != 0,
                     isnan(reference.anomaly_score[i]) != 0);
}

static void check_range(mmq_store *store, mmq_range range, size_t capacity)
{
    size_t last = ROWS;
    do {
        assert_ok(mmq_store_read_time(store, &range, &batch, capacity, &why));
        for (size_t i = 0; i < batch.count; i++) {
            size_t expected = next_expected(&range, last);
            assert_true(expected < ROWS);
            check_row(expected, i);
            last = expected;
        }
    } while (!range.ended);
    assert_int_equal(next_expected(&range, last), ROWS);
}

static void test_ranges(void **state)
{
    (void)state;
    world_begin();
    make_rows();
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_metric_head head;
    mmq_appended appended;
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "a", "a"));
    assert_ok(world_create(store, "other", "other"));
    assert_ok(mmq_store_commit(store, &why));
    assert_ok(world_append(store, "other", 0, &reference, 0, 100, &appended));
    assert_ok(world_append(store, "a", 0, &reference, 0, ROWS, &appended));
    assert_int_equal(appended.last_rowid, ROWS);
    mmq_store *reader = world_open(MMQ_STORE_READ);
    mmq_snapshot snapshot;
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    assert_ok(mmq_store_find(reader, "a", &head, &why));
    for (int round = 0; round < 12; round++) {
        int64_t from = reference.timestamp[random_below(ROWS)];
        mmq_range range = {.metric = head.key,
                           .from = round == 0 ? MMQ_TIME_MIN : from,
                           .to = round == 0 ? MMQ_TIME_MAX : from + random_below(400),
                           .ascending = round % 2 == 0};
        check_range(reader, range, round % 3 == 0 ? 1024 : (size_t)random_below(50) + 1);
    }
    mmq_store_end_read(reader);
    mmq_store_close(&reader);
    mmq_store_close(&store);
    world_end();
}

/* A position outside the range does not widen it. */
static void test_position_outside(void **state)
{
    (void)state;
    world_begin();
    make_rows();
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_appended appended;
    mmq_metric_head head;
    mmq_snapshot snapshot;
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "a", "a"));
    assert_ok(mmq_store_commit(store, &why));
    assert_ok(world_append(store, "a", 0, &reference, 0, 500, &appended));
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(mmq_store_find(store, "a", &head, &why));
    for (int ascending = 0; ascending < 2; ascending++) {
        mmq_range range = {.metric = head.key,
                           .from = -450,
                           .to = -440,
                           .ascending = ascending,
                           .positioned = true,
                           .timestamp = ascending ? -10000 : 10000,
                           .rowid = 1};
        assert_ok(mmq_store_read_time(store, &range, &batch, 1024, &why));
        for (size_t i = 0; i < batch.count; i++) {
            assert_in_range(-batch.timestamp[i], 440, 450);
        }
    }
    assert_ok(mmq_store_read_rowids(store, head.key, 17, 40, &batch, 1024, &why));
    assert_int_equal(batch.count, 24);
    for (size_t i = 0; i < batch.count; i++) {
        check_row(16 + i, i);
        assert_int_equal(isnan(batch.raw_score[i]) != 0, isnan(batch.anomaly_score[i]) != 0);
    }
    mmq_store_end_read(store);
    mmq_store_close(&store);
    world_end();
}

/* All rows from then on, upwards. */
static mmq_err read_from(int64_t from)
{
    mmq_store *store = world_open(MMQ_STORE_READ);
    mmq_snapshot snapshot;
    mmq_metric_head head;
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_ok(mmq_store_find(store, "a", &head, &why));
    mmq_range range = {.metric = head.key, .from = from, .to = MMQ_TIME_MAX, .ascending = true};
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && !range.ended) {
        err = mmq_store_read_time(store, &range, &batch, 1000, &why);
    }
    mmq_store_end_read(store);
    mmq_store_close(&store);
    return err;
}

/* Whatever a head says, it is believed only when it has been checked, and rows are never left out.
 */
static void test_damage_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *says;
    } damages[] = {
        {"UPDATE block SET last_timestamp = last_timestamp - 512 WHERE first_rowid = 1",
         "the head"},
        {"UPDATE block SET last_rowid = last_rowid - 512 WHERE first_rowid = 1", "the head"},
        {"DELETE FROM block_data WHERE key = (SELECT data FROM block WHERE first_rowid = 1)",
         "the data"},
    };
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        mmq_appended appended;
        world_begin();
        for (size_t row = 0; row < ROWS; row++) {
            world_set(&reference, row, (int64_t)row, (double)row, NAN);
        }
        mmq_store *store = world_open(MMQ_STORE_WRITE);
        assert_ok(mmq_store_begin_write(store, &why));
        assert_ok(world_create(store, "a", "a"));
        assert_ok(mmq_store_commit(store, &why));
        assert_ok(world_append(store, "a", 0, &reference, 0, ROWS, &appended));
        mmq_store_close(&store);
        for (int64_t from = 0; from < 1000; from += 300) {
            assert_ok(read_from(from));
        }
        (void)world_sql(damages[i].sql);
        for (int64_t from = 0; from < 1000; from += 300) {
            assert_int_equal(read_from(from), MMQ_ECORRUPT);
            assert_non_null(strstr(why.text, damages[i].says));
        }
        world_end();
    }
}

enum { TURNS = 9 };

/* Some of the ranges that have not ended, in any order, some of them twice. */
static void expect_some(mmq_store *store, const mmq_range *ranges)
{
    const mmq_range *next[2 * TURNS];
    size_t count = 0;
    while (count < sizeof next / sizeof *next && random_below(12) != 0) {
        const mmq_range *one = &ranges[random_below(TURNS)];
        if (!one->ended) {
            next[count++] = one;
        }
    }
    assert_ok(mmq_store_expect(store, next, count, &why));
    for (size_t i = 0; i < count; i++) {
        assert_false(mmq_store_wants(store, next[i]));
    }
}

/* Ranges that are read by turns, while the store expects this and that: it shows the same. */
static void read_by_turns(mmq_store *store, mmq_range *ranges, const size_t *rows)
{
    size_t last[TURNS], going = TURNS;
    for (size_t i = 0; i < TURNS; i++) {
        last[i] = ROWS;
    }
    while (going > 0) {
        mmq_snapshot snapshot;
        if (random_below(4) == 0) {
            expect_some(store, ranges);
        }
        if (random_below(9) == 0) { /* what was expected is of a transaction */
            mmq_store_end_read(store);
            assert_ok(mmq_store_begin_read(store, &snapshot, &why));
        }
        const size_t at = (size_t)random_below(TURNS);
        if (ranges[at].ended) {
            continue;
        }
        assert_ok(
            mmq_store_read_time(store, &ranges[at], &batch, (size_t)random_below(700) + 1, &why));
        for (size_t i = 0; i < batch.count; i++) {
            const size_t expected = next_among(&ranges[at], last[at], rows[at]);
            assert_true(expected < ROWS);
            check_row(expected, i);
            last[at] = expected;
        }
        if (ranges[at].ended) {
            assert_int_equal(next_among(&ranges[at], last[at], rows[at]), ROWS);
            going--;
        }
    }
}

static void test_turns(void **state)
{
    (void)state;
    world_begin();
    make_rows();
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_metric_head heads[TURNS];
    mmq_appended appended;
    mmq_snapshot snapshot;
    size_t rows[TURNS];
    for (size_t i = 0; i < TURNS; i++) {
        char uid[8];
        (void)snprintf(uid, sizeof uid, "m%zu", i);
        rows[i] = i == 0 ? 0 : (size_t)random_below(ROWS) + 1;
        assert_ok(mmq_store_begin_write(store, &why));
        assert_ok(world_create(store, uid, uid));
        assert_ok(mmq_store_commit(store, &why));
        if (rows[i] > 0) {
            assert_ok(world_append(store, uid, 0, &reference, 0, rows[i], &appended));
        }
    }
    mmq_store *reader = world_open(MMQ_STORE_READ);
    assert_ok(mmq_store_begin_read(reader, &snapshot, &why));
    for (size_t i = 0; i < TURNS; i++) {
        char uid[8];
        (void)snprintf(uid, sizeof uid, "m%zu", i);
        assert_ok(mmq_store_find(reader, uid, &heads[i], &why));
    }
    for (int round = 0; round < 12; round++) {
        const int64_t from = round < 2 ? MMQ_TIME_MIN : reference.timestamp[random_below(ROWS)];
        const int64_t to = round < 2 ? MMQ_TIME_MAX : from + random_below(400);
        mmq_range ranges[TURNS];
        for (size_t i = 0; i < TURNS; i++) {
            ranges[i] = (mmq_range){
                .metric = heads[i].key, .from = from, .to = to, .ascending = round % 2 == 0};
        }
        read_by_turns(reader, ranges, rows);
    }
    mmq_store_end_read(reader);
    mmq_store_close(&reader);
    mmq_store_close(&store);
    world_end();
}

/* The steps of a statement's plan, on a line. */
static void explain(mmq_store *store, mmq_query query, char *plan, size_t size)
{
    char sql[1024];
    sqlite3_stmt *statement;
    (void)snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", mmq_sqlite_texts[query]);
    assert_int_equal(sqlite3_prepare_v2(mmq_sqlite_of(store)->db, sql, -1, &statement, NULL),
                     SQLITE_OK);
    size_t used = 0;
    while (sqlite3_step(statement) == SQLITE_ROW && used < size) {
        used += (size_t)snprintf(plan + used, size - used, "%s; ",
                                 (const char *)sqlite3_column_text(statement, 3));
    }
    assert_true(used < size);
    (void)sqlite3_finalize(statement);
}

/* A range that was read to a block's end in one handle goes on in another, which counts its
 * transactions alike; meanwhile the block was folded into a longer one. */
static void test_other_handle(void **state)
{
    (void)state;
    enum { FIRST = 500 + 32, MORE = 80 };
    mmq_appended appended;
    mmq_snapshot snapshot;
    mmq_metric_head head;
    world_begin();
    for (size_t i = 0; i < FIRST + MORE; i++) {
        world_set(&reference, i, (int64_t)i, (double)i, 0.5);
    }
    mmq_store *writer = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(world_create(writer, "a", "a"));
    assert_ok(mmq_store_commit(writer, &why));
    assert_ok(world_append(writer, "a", 0, &reference, 0, FIRST, &appended));
    mmq_store *readers[] = {world_open(MMQ_STORE_READ), world_open(MMQ_STORE_READ)};
    mmq_range range = {.from = 0, .to = FIRST, .ascending = true, .rowid_most = FIRST};
    size_t rows = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_ok(mmq_store_begin_read(readers[i], &snapshot, &why));
        assert_ok(mmq_store_find(readers[i], "a", &head, &why));
        range.metric = head.key;
        assert_ok(mmq_store_read_time(readers[i], &range, &batch, i == 0 ? 500 : 1000, &why));
        rows += batch.count;
        mmq_store_end_read(readers[i]);
        assert_ok(
            world_append(writer, "a", 0, &reference, FIRST + i * MORE / 2, MORE / 2, &appended));
    }
    assert_int_equal(rows, FIRST);
    mmq_store_close(&readers[0]);
    mmq_store_close(&readers[1]);
    mmq_store_close(&writer);
    world_end();
}

/* The hot statements seek and sort nothing. */
static void test_plans(void **state)
{
    (void)state;
    if (store_server() != NULL) {
        skip(); /* PostgreSQL plans by what is in its tables */
    }
    world_begin();
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    static const struct {
        mmq_query query;
        const char *wants;
    } plans[] = {
        {MMQ_Q_BLOCK_AT, "USING PRIMARY KEY (metric=? AND (first_timestamp,first_rowid)<(?,?))"},
        {MMQ_Q_BLOCK_AFTER, "USING PRIMARY KEY (metric=? AND (first_timestamp,first_rowid)>(?,?))"},
        {MMQ_Q_BLOCK_FROM, "USING PRIMARY KEY (metric=? AND (first_timestamp,first_rowid)<(?,?))"},
        {MMQ_Q_BLOCK_FROM, "USING PRIMARY KEY (metric=? AND (first_timestamp,first_rowid)>(?,?))"},
        {MMQ_Q_BLOCK_BY_ROWID, "USING INDEX block_by_rowid (metric=? AND least_rowid<?)"},
        {MMQ_Q_BLOCK_DATA, "USING INTEGER PRIMARY KEY"},
        {MMQ_Q_LENGTH_AT, "USING PRIMARY KEY (metric=? AND commit_no>?)"},
        {MMQ_Q_UNSCORED, "USING COVERING INDEX metric_unscored"},
        {MMQ_Q_OLD_GROWTH, "INDEX growth_at"},
        {MMQ_Q_HEADS, "COVERING INDEX sqlite_autoindex_metric_1 (uid>?)"},
        {MMQ_Q_FIND, "COVERING INDEX sqlite_autoindex_metric_1 (uid=?)"},
        {MMQ_Q_METRICS_AFTER, "COVERING INDEX sqlite_autoindex_metric_1 (uid>?)"},
    };
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        char plan[1024];
        explain(store, plans[i].query, plan, sizeof plan);
        if (strstr(plan, plans[i].wants) == NULL || strstr(plan, "TEMP B-TREE") != NULL ||
            strstr(plan, "SCAN metric") != NULL) {
            fail_msg("%s: %s", mmq_sqlite_texts[plans[i].query], plan);
        }
    }
    mmq_store_close(&store);
    world_end();
}

/* How PostgreSQL runs one of our statements, once the tables have been filled. */
static void explain_postgres(const char *fill, unsigned query, const char *types,
                             const char *values, char *plan, size_t size)
{
    char script[8192];
    const int length =
        snprintf(script, sizeof script,
                 "SET search_path = metricmq; SET plan_cache_mode = force_generic_plan;"
                 "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;"
                 "%s ANALYZE; PREPARE asked (%s) AS %s; EXPLAIN EXECUTE asked (%s)",
                 fill, types, mmq_postgres_statements[query].text, values);
    assert_in_range(length, 1, sizeof script - 1);
    PGconn *server = PQconnectdb(store_server());
    PGresult *result = PQexec(server, script);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s", PQresultErrorMessage(result));
    }
    size_t used = 0;
    for (int i = 0; i < PQntuples(result) && used < size; i++) {
        used += (size_t)snprintf(plan + used, size - used, "%s\n", PQgetvalue(result, i, 0));
    }
    PQclear(result);
    PQfinish(server);
}

#define MAKE_METRICS                                                                               \
    "INSERT INTO metric (uid, made, changed, status, poll_interval, datasource, identity, name,"   \
    " description, server, location, parameters)"                                                  \
    " SELECT i, 1, i, 1, 300, 'custom', i, i, '', '', '', '' FROM generate_series(1, 5000) i;"

/* A stream asks it with each page, and with --retain every metric was pruned at some time: only
 * what was pruned since is to be looked at. */
static void test_plan_of_prunes(void **state)
{
    (void)state;
    if (store_server() == NULL) {
        skip(); /* by its tables, which are filled here */
    }
    char plan[4096] = "";
    world_begin();
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_store_close(&store);
    explain_postgres(MAKE_METRICS "INSERT INTO pruned SELECT key, 5, key FROM metric;",
                     MMQ_Q_PRUNED_SINCE, "bigint, bigint, bigint, text", "1, 1, 1, '1'", plan,
                     sizeof plan);
    if (strstr(plan, "Index Cond: (commit_no > $1)") == NULL ||
        strstr(plan, "Index Cond: (metric = $3)") == NULL || strstr(plan, "Join") != NULL) {
        fail_msg("%s", plan);
    }
    world_end();
}

/* One metric has many blocks, most have a few: a block and its data are found by their keys. */
static void test_plans_of_blocks(void **state)
{
    (void)state;
    if (store_server() == NULL) {
        skip();
    }
    static const struct {
        unsigned query;
        const char *types, *values;
    } asked[] = {
        {MMQ_P_AHEAD_AT, "bigint, bigint, bigint, bigint", "1, 1, 1, 1"},
        {MMQ_P_AHEAD_AFTER, "bigint, bigint, bigint, bigint", "1, 1, 1, 1"},
        {MMQ_P_AHEAD_FROM, "bigint, bigint, bigint, bigint", "1, 1, 1, 1"},
        {MMQ_P_EXPECT_AT, "text, text, text", "'1,2', '1,1', '1,1'"},
        {MMQ_P_EXPECT_FROM, "text, text, text", "'1,2', '1,1', '1,1'"},
    };
    static const char fill[] =
        "TRUNCATE block, block_data, metric CASCADE;" MAKE_METRICS
        "INSERT INTO block_data SELECT key, nextval('block_data_key'), 'x' FROM metric,"
        " LATERAL generate_series(1, CASE WHEN key = (SELECT min(key) FROM metric) THEN 1500"
        " ELSE 12 END);"
        "INSERT INTO block (metric, first_timestamp, first_rowid, last_timestamp, last_rowid,"
        " least_rowid, greatest_rowid, rows, unscored, data, data_check, head_check)"
        " SELECT metric, key, 1, key, 1, 1, 1, 1, 1, key, 0, 0 FROM block_data;";
    world_begin();
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    mmq_store_close(&store);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        char plan[8192] = "";
        explain_postgres(fill, asked[i].query, asked[i].types, asked[i].values, plan, sizeof plan);
        if (strstr(plan, "Index Cond: ((metric = block.metric) AND (key = block.data))") == NULL ||
            strstr(plan, "Materialize") != NULL || strstr(plan, "Join Filter") != NULL ||
            strstr(plan, "Seq Scan on block") != NULL || strstr(plan, "Sort") != NULL) {
            fail_msg("%s", plan);
        }
    }
    world_end();
}

int main(void)
{
    const char *given = getenv("SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("SEED=%u\n", seed);
    srandom(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),          cmocka_unit_test(test_position_outside),
        cmocka_unit_test(test_plans),           cmocka_unit_test(test_plan_of_prunes),
        cmocka_unit_test(test_plans_of_blocks), cmocka_unit_test(test_other_handle),
        cmocka_unit_test(test_turns),           cmocka_unit_test(test_damage_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
