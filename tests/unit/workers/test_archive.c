/* Archives: their bytes, read back by libarchive, against the store. F70, F72, F73, F76. */
#include "spool_world.h"

#include <archive.h>
#include <archive_entry.h>
#include <signal.h>
#include <sys/resource.h>

#include "lib/calendar.h"
#include "lib/json.h"
#include "lib/number.h"
#include "lib/splitmix.h"
#include "metricmq/protocol.h"

static mmq_store *writer, *reader;
static world_rows rows;

static int begin(void **state)
{
    (void)state;
    world_begin();
    writer = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(writer, &why));
    assert_ok(world_create(writer, "full", "full"));
    assert_ok(world_create(writer, "empty", "empty"));
    assert_ok(mmq_store_commit(writer, &why));
    for (size_t i = 0; i < WORLD_ROWS; i++) {
        world_set(&rows, i, 1376600000 + (int64_t)(i / 2), (double)i / 3,
                  i % 3 == 0 ? (double)NAN : (double)i / 7);
    }
    rows.value[0] = -0.0;
    rows.value[1] = 222;
    rows.value[2] = 5e-324;
    mmq_appended appended;
    assert_ok(world_append(writer, "full", 0, &rows, 0, WORLD_ROWS, &appended));
    reader = world_open(MMQ_STORE_READ);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_store_close(&reader);
    mmq_store_close(&writer);
    world_end();
    return 0;
}

/* Builds into the file; what it was told goes into *made. */
static mmq_err build(const mmq_dump *dump, const char *path, int64_t bytes_max, mmq_sums *made)
{
    const mmq_archive_order order = {.store = reader,
                                     .dump = dump,
                                     .server_id = "server",
                                     .bytes_max = bytes_max,
                                     .watch = world_watch};
    const int fd = open(path, O_RDWR | O_CREAT, 0644);
    assert_true(fd >= 0);
    mmq_err err = mmq_archive_build(&order, fd, made, &why);
    (void)close(fd);
    return err;
}

/* Reads the next entry, which must be that one, into *out; the caller clears it. */
static void read_entry(struct archive *archive, const char *name, int64_t created, mmq_buffer *out)
{
    struct archive_entry *entry;
    mmq_buffer_init(out, 1 << 28);
    assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
    assert_string_equal(archive_entry_pathname(entry), name);
    assert_int_equal(archive_entry_mtime(entry), created);
    assert_int_equal(archive_entry_perm(entry), 0644);
    assert_int_equal(archive_entry_uid(entry), 0);
    const size_t size = (size_t)archive_entry_size(entry);
    if (size > 0) {
        uint8_t *room = mmq_buffer_reserve(out, size);
        assert_non_null(room);
        assert_int_equal(archive_read_data(archive, room, size), size);
        out->size += size;
    }
}

static void read_back(const char *path, int64_t created, mmq_buffer *json, mmq_buffer *csv)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    archive_read_support_filter_gzip(archive);
    archive_read_support_format_tar(archive);
    assert_int_equal(archive_read_open_filename(archive, path, 65536), ARCHIVE_OK);
    read_entry(archive, "metric.json", created, json);
    read_entry(archive, "metric_data.csv", created, csv);
    assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_EOF);
    archive_read_free(archive);
}

static void dump_and_read(mmq_dump *dump, mmq_buffer *json, mmq_buffer *csv)
{
    mmq_sums made;
    char sum[MMQ_DIGEST_HEX + 1];
    assert_ok(build(dump, world_at("a.tar.gz"), INT64_MAX, &made));
    mmq_buffer bytes = world_read(world_at("a.tar.gz"));
    mmq_digest(bytes.data, bytes.size, sum);
    assert_int_equal(made.size_bytes, bytes.size);
    assert_string_equal(made.whole.sha256, sum);
    mmq_buffer_clear(&bytes);
    read_back(world_at("a.tar.gz"), dump->created, json, csv);
}

static void rows_are_the_stores(void **state)
{
    (void)state;
    static const char begins[] =
        "uid,rowid,timestamp,metric_value,raw_anomaly_score,anomaly_score,display_value,"
        "multi_step_best_predictions\r\n"
        "full,1,2013-08-15 20:53:20,-0.0,,,,\r\n"
        "full,2,2013-08-15 20:53:20,222,0.14285714285714285,0.14285714285714285,,\r\n"
        "full,3,2013-08-15 20:53:21,5e-324,0.2857142857142857,0.2857142857142857,,\r\n";
    mmq_dump dump;
    mmq_buffer json, csv;
    world_dump(&dump, "full", "hello", 1700000000);
    dump_and_read(&dump, &json, &csv);
    assert_memory_equal(csv.data, begins, sizeof begins - 1);
    size_t lines = 0;
    for (size_t i = 0; i < csv.size; i++) {
        lines += csv.data[i] == '\n';
    }
    assert_int_equal(lines, WORLD_ROWS + 1);
    mmq_buffer_clear(&json);
    mmq_buffer_clear(&csv);
    mmq_dump_clear(&dump);
}

static void no_rows_make_an_empty_file(void **state)
{
    (void)state;
    mmq_dump dump;
    mmq_buffer json, csv;
    world_dump(&dump, "empty", "hello", 0);
    dump_and_read(&dump, &json, &csv);
    assert_int_equal(csv.size, 0);
    const char *text = mmq_buffer_cstr(&json);
    assert_non_null(strstr(text, "{\"note\":\"hello\",\"server_id\":\"server\",\"metric\":\"{"));
    assert_non_null(strstr(text, "\\\"uid\\\":\\\"empty\\\""));
    mmq_buffer_clear(&json);
    mmq_buffer_clear(&csv);
    mmq_dump_clear(&dump);
}

static void same_request_gives_same_bytes(void **state)
{
    (void)state;
    mmq_dump dump;
    mmq_sums first, second;
    world_dump(&dump, "full", "hello", 1700000000);
    assert_ok(build(&dump, world_at("a"), INT64_MAX, &first));
    assert_ok(build(&dump, world_at("b"), INT64_MAX, &second));
    assert_string_equal(first.whole.sha256, second.whole.sha256);
    mmq_dump_clear(&dump);
}

/* Reads a dump of `json` for extra. */
static mmq_err read_extra(const char *json, size_t size, mmq_dump *dump)
{
    mmq_buffer extra, body;
    mmq_buffer_init(&extra, MMQ_BODY_MAX);
    assert_ok(mmq_json_to_msgpack(json, size, &extra, &why));
    world_body(&body, "empty", &extra, 1);
    mmq_err err = mmq_dump_read(body.data, body.size, dump, &why);
    mmq_buffer_clear(&extra);
    mmq_buffer_clear(&body);
    return err;
}

/* ---- the store's blocks do not show ------------------------------------------------------ */

enum { MANY = 20000, APPEND = 4096 };

/* Rows of a metric as the test knows them, by rowid. */
static struct {
    int64_t timestamp[MANY];
    double value[MANY], score[MANY];
} many;

/* Times in random order, so that the blocks of the store hold rowids from everywhere. */
static void make_many(uint64_t seed)
{
    mmq_splitmix random = {seed};
    for (size_t i = 0; i < MANY; i++) {
        many.timestamp[i] = 1400000000 + (int64_t)mmq_splitmix_below(&random, MANY) * 300;
        many.value[i] = (double)mmq_splitmix_below(&random, 100000) / 100;
        many.score[i] = i % 3 == 0 ? 0.0301029996659 : mmq_splitmix_share(&random);
    }
}

/* A store of its own with the metric "many", which has no rows yet. */
static mmq_store *open_many(const char *name)
{
    mmq_store *store;
    char url[sizeof world_url + 16];
    (void)snprintf(url, sizeof url, "sqlite:%s/%s.db", world_folder, name);
    assert_ok(mmq_store_open(url, MMQ_STORE_WRITE, &store, &why));
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "many", "many"));
    assert_ok(mmq_store_commit(store, &why));
    return store;
}

static void append_many(mmq_store *store, size_t from, size_t count, bool scored)
{
    mmq_appended appended;
    double none[APPEND];
    for (size_t i = 0; i < count && !scored; i++) {
        none[i] = (double)NAN;
    }
    double *score = scored ? many.score + from : none;
    assert_ok(mmq_store_append(store, "many", 0,
                               &(mmq_write_rows){.count = count,
                                                 .timestamp = many.timestamp + from,
                                                 .value = many.value + from,
                                                 .anomaly_score = score,
                                                 .raw_score = score},
                               &appended, &why));
    assert_int_equal(appended.added, count);
}

static void fill_many(mmq_store *store, size_t step, bool scored)
{
    assert_ok(mmq_store_begin_write(store, &why));
    for (size_t done = 0; done < MANY; done += step) {
        append_many(store, done, MANY - done < step ? MANY - done : step, scored);
        if (done % 1000 < step) {
            assert_ok(mmq_store_commit(store, &why));
            assert_ok(mmq_store_begin_write(store, &why));
        }
    }
    assert_ok(mmq_store_commit(store, &why));
}

/* Scores all rows, a thousand at a time, the last thousand first if `backwards`. */
static void score_many(mmq_store *store, bool backwards)
{
    enum { STEP = 1000 };
    int64_t rowid[STEP];
    assert_ok(mmq_store_begin_write(store, &why));
    for (size_t step = 0; step < MANY / STEP; step++) {
        const size_t from = (backwards ? MANY / STEP - 1 - step : step) * STEP;
        for (size_t i = 0; i < STEP; i++) {
            rowid[i] = (int64_t)(from + i) + 1;
        }
        assert_ok(mmq_store_score(store, "many",
                                  &(mmq_write_rows){.count = STEP,
                                                    .rowid = rowid,
                                                    .anomaly_score = many.score + from,
                                                    .raw_score = many.score + from},
                                  &why));
    }
    assert_ok(mmq_store_commit(store, &why));
}

/* The dump's sum, at that level, and the store is closed. */
static void sum_many(mmq_store **store, int level, char out[MMQ_DIGEST_HEX + 1])
{
    mmq_dump dump;
    mmq_sums made;
    world_dump(&dump, "many", "hello", 1700000000);
    const mmq_archive_order order = {.store = *store,
                                     .dump = &dump,
                                     .server_id = "server",
                                     .level = level,
                                     .bytes_max = INT64_MAX,
                                     .watch = world_watch};
    const int fd = open(world_at("many.tar.gz"), O_RDWR | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_ok(mmq_archive_build(&order, fd, &made, &why));
    (void)close(fd);
    memcpy(out, made.whole.sha256, sizeof made.whole.sha256);
    mmq_sums_clear(&made);
    mmq_dump_clear(&dump);
    mmq_store_close(store);
}

/* Each line of the last archive against the rows. */
static void check_many(void)
{
    mmq_buffer json, csv;
    read_back(world_at("many.tar.gz"), 1700000000, &json, &csv);
    const char *at = strstr(mmq_buffer_cstr(&csv), "\r\n") + 2;
    for (size_t i = 0; i < MANY; i++) {
        char wanted[256], when[MMQ_TIME_TEXT], value[MMQ_NUMBER_MAX], score[MMQ_NUMBER_MAX];
        mmq_time_print(many.timestamp[i], when);
        const int value_size = (int)mmq_number_print(many.value[i], value);
        const int score_size = (int)mmq_number_print(many.score[i], score);
        const int size = snprintf(wanted, sizeof wanted, "many,%zu,%.*s,%.*s,%.*s,%.*s,,\r\n",
                                  i + 1, (int)sizeof when, when, value_size, value, score_size,
                                  score, score_size, score);
        assert_memory_equal(at, wanted, (size_t)size);
        at += size;
    }
    assert_int_equal(*at, '\0');
    mmq_buffer_clear(&json);
    mmq_buffer_clear(&csv);
}

static void blocks_do_not_show(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t step;
        bool scored, backwards;
    } ways[] = {{"once", APPEND, true, false},
                {"small", 2, true, false}, /* 10,000 appends */
                {"later", APPEND, false, false},
                {"backwards", 977, false, true}};
    const char *seed = getenv("METRICMQ_SEED");
    make_many(seed != NULL ? strtoull(seed, NULL, 10) : 1);
    char wanted[MMQ_DIGEST_HEX + 1], sum[MMQ_DIGEST_HEX + 1];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        mmq_store *store = open_many(ways[i].name);
        fill_many(store, ways[i].step, ways[i].scored);
        if (!ways[i].scored) {
            score_many(store, ways[i].backwards);
        }
        sum_many(&store, 0, i == 0 ? wanted : sum);
        check_many();
        assert_true(i == 0 || strcmp(sum, wanted) == 0);
    }
}

/* Another level is another file of the same text. */
static void level_is_chosen(void **state)
{
    (void)state;
    static const char *const names[] = {"default", "first", "sixth"};
    char sums[3][MMQ_DIGEST_HEX + 1];
    make_many(1);
    for (int i = 0; i < 3; i++) {
        mmq_store *store = open_many(names[i]);
        fill_many(store, APPEND, true);
        sum_many(&store, i == 2 ? 6 : i, sums[i]);
        check_many();
    }
    assert_string_equal(sums[0], sums[1]); /* 0 is the default */
    assert_string_not_equal(sums[1], sums[2]);
}

static void order_of_keys_means_nothing(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{\"b\":{\"y\":[1,2],\"x\":1.5},\"a\":null,\"aa\":true}",
        "{\"aa\":true,\"a\":null,\"b\":{\"x\":1.5,\"y\":[1,2]}}",
    };
    static const char other[] = "{\"aa\":true,\"a\":null,\"b\":{\"x\":1.5,\"y\":[2,1]}}";
    mmq_dump dumps[3];
    assert_ok(read_extra(same[0], strlen(same[0]), &dumps[0]));
    assert_ok(read_extra(same[1], strlen(same[1]), &dumps[1]));
    assert_ok(read_extra(other, sizeof other - 1, &dumps[2]));
    assert_string_equal(dumps[0].digest, dumps[1].digest);
    assert_string_not_equal(dumps[0].digest, dumps[2].digest);
    for (size_t i = 0; i < 3; i++) {
        mmq_dump_clear(&dumps[i]);
    }
}

/* Our own names win, and strange text comes back as it was. */
static void extra_comes_back(void **state)
{
    (void)state;
    static const char wanted[] =
        "{\"q\\\"\\r\\n\":\"a,\\\"b\\\"\\r\\nc\",\"to\":\"file:/etc\",\"server_id\":\"server\","
        "\"metric\":\"";
    static const char given[] =
        "{\"uid\":\"x\",\"metric\":{\"a\":1},\"server_id\":\"no\",\"to\":\"file:/etc\","
        "\"q\\\"\\r\\n\":\"a,\\\"b\\\"\\r\\nc\"}";
    mmq_dump dump;
    mmq_buffer json, csv;
    assert_ok(read_extra(given, sizeof given - 1, &dump));
    dump_and_read(&dump, &json, &csv);
    assert_true(json.size > sizeof wanted);
    assert_memory_equal(json.data, wanted, sizeof wanted - 1);
    assert_ok(mmq_json_check((const char *)json.data, json.size, &why));
    mmq_buffer_clear(&json);
    mmq_buffer_clear(&csv);
    mmq_dump_clear(&dump);
}

static void long_strings_come_back(void **state)
{
    (void)state;
    enum { LONG = 1 << 20 };
    char *text = malloc(LONG + 1);
    assert_non_null(text);
    memset(text, '\x01', LONG); /* six bytes each in JSON */
    text[LONG] = '\0';
    mmq_dump dump;
    mmq_buffer json, csv;
    world_dump(&dump, "empty", text, 1);
    dump_and_read(&dump, &json, &csv);
    assert_true(json.size > 6 * (size_t)LONG);
    assert_ok(mmq_json_check((const char *)json.data, json.size, &why));
    mmq_buffer_clear(&json);
    mmq_buffer_clear(&csv);
    mmq_dump_clear(&dump);
    free(text);
}

/* Packed extras that JSON cannot hold, or that lie about themselves. */
static void bad_extra_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        {"\x81\xa1\x61\xc4\x01\x62", 6},                          /* bin */
        {"\x81\xa1\x61\xd4\x01\x62", 6},                          /* ext */
        {"\x81\x01\x02", 3},                                      /* a key that is a number */
        {"\x81\xa1\xff\x02", 4},                                  /* a key that is no UTF-8 */
        {"\x81\xa1\x61\xa1\xff", 5},                              /* nor its value */
        {"\x82\xa1\x61\x01\xa1\x61\x02", 7},                      /* a key twice */
        {"\x81\xa1\x61\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", 12}, /* infinite */
        {"\x81\xa1\x61", 3},                                      /* cut off */
        {"\xdf\xff\xff\xff\xff", 5},                              /* four thousand million pairs */
        {"\x91\x01", 2},                                          /* no map */
        {"", 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmq_buffer out;
        mmq_buffer_init(&out, 1024);
        assert_int_equal(mmq_canonical_map(bad[i].bytes, bad[i].size, &out, &why), MMQ_EINVAL);
        mmq_buffer_clear(&out);
    }
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *uid;
        int64_t created;
    } bad[] = {{"..", 1}, {"a/b", 1}, {"", 1}, {"a", -1}, {"a", INT64_MAX}};
    mmq_buffer extra;
    mmq_buffer_init(&extra, 16);
    mmq_pack_map(&extra, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmq_buffer body;
        mmq_dump dump;
        world_body(&body, bad[i].uid, &extra, bad[i].created);
        assert_int_equal(mmq_dump_read(body.data, body.size, &dump, &why), MMQ_EINVAL);
        mmq_dump_clear(&dump);
        mmq_buffer_clear(&body);
    }
    mmq_buffer_clear(&extra);
}

/* What the watch of a build was told, and whether it goes on. */
struct watched {
    int64_t calls, done, total, stop_at;
};

static mmq_err watch_build(void *context, const char *stage, int64_t done, int64_t total,
                           mmq_why *reason)
{
    struct watched *watched = context;
    assert_string_equal(stage, "build");
    assert_true(watched->calls == 0 || done > watched->done);
    watched->calls++;
    watched->done = done;
    watched->total = total;
    return done >= watched->stop_at ? mmq_fail(reason, MMQ_ETIMEOUT, "no time") : MMQ_OK;
}

static void watch_is_told_and_asked(void **state)
{
    (void)state;
    mmq_dump dump;
    mmq_sums made;
    world_dump(&dump, "full", "hello", 1);
    for (int64_t stop_at = 0; stop_at <= WORLD_ROWS; stop_at += WORLD_ROWS / 2) {
        struct watched watched = {.stop_at = stop_at};
        const mmq_archive_order order = {.store = reader,
                                         .dump = &dump,
                                         .server_id = "server",
                                         .bytes_max = INT64_MAX,
                                         .watch = {watch_build, &watched}};
        const int fd = open(world_at("watched"), O_RDWR | O_CREAT | O_TRUNC, 0644);
        assert_true(fd >= 0);
        const bool stopped = stop_at < WORLD_ROWS;
        assert_int_equal(mmq_archive_build(&order, fd, &made, &why),
                         stopped ? MMQ_ETIMEOUT : MMQ_OK);
        assert_int_equal(watched.total, WORLD_ROWS);
        assert_true(!stopped || made.size_bytes == 0);
        mmq_sums_clear(&made);
        (void)close(fd);
    }
    mmq_dump_clear(&dump);
}

static void unknown_metric_is_not_found(void **state)
{
    (void)state;
    mmq_dump dump;
    mmq_sums made;
    world_dump(&dump, "nobody", "hello", 1);
    assert_int_equal(build(&dump, world_at("a"), INT64_MAX, &made), MMQ_ENOTFOUND);
    mmq_dump_clear(&dump);
}

static void full_disk_surfaces(void **state)
{
    (void)state;
    mmq_dump dump;
    mmq_sums made;
    world_dump(&dump, "full", "hello", 1);
    assert_int_equal(build(&dump, "/dev/full", INT64_MAX, &made), MMQ_ENOSPC);
    assert_int_equal(build(&dump, world_at("a"), 1000, &made), MMQ_EBUSY);
    mmq_dump_clear(&dump);
}

/* Each file size limit from none at all to enough. */
static void each_write_may_fail(void **state)
{
    (void)state;
    struct rlimit before, limit;
    mmq_dump dump;
    mmq_sums made;
    mmq_err err = MMQ_ENOSPC;
    world_dump(&dump, "full", "hello", 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    limit = before;
    for (limit.rlim_cur = 0; err == MMQ_ENOSPC; limit.rlim_cur += 10000) {
        (void)unlink(world_at("a"));
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        err = build(&dump, world_at("a"), INT64_MAX, &made);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    }
    assert_int_equal(err, MMQ_OK);
    assert_true(limit.rlim_cur > 20000);
    mmq_dump_clear(&dump);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_are_the_stores),
        TEST(no_rows_make_an_empty_file),
        TEST(same_request_gives_same_bytes),
        TEST(blocks_do_not_show),
        TEST(level_is_chosen),
        TEST(order_of_keys_means_nothing),
        TEST(extra_comes_back),
        TEST(long_strings_come_back),
        TEST(bad_extra_is_refused),
        TEST(bad_requests_are_refused),
        TEST(watch_is_told_and_asked),
        TEST(unknown_metric_is_not_found),
        TEST(full_disk_surfaces),
        TEST(each_write_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
