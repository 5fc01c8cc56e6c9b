/* The spool's bounds, junk in it, and what people do with it by hand. F67, F70, F71. */
#include "spool_world.h"

#include <sys/file.h>

#include "lib/clock.h"
#include "workers/spool/delivery.h"
#include "workers/spool/folder.h"

static int data_folder;
static mmq_spool *spool;
static mmq_dump dump;

static void open_spool(int64_t jobs, int64_t bytes)
{
    mmq_spool_destroy(&spool);
    spool = mmq_spool_new(data_folder, &(mmq_spool_limits){jobs, bytes}, &why);
    assert_non_null(spool);
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    data_folder = open(world_folder, O_RDONLY | O_DIRECTORY);
    open_spool(MMQ_SPOOL_JOBS, MMQ_SPOOL_BYTES);
    world_dump(&dump, "a", "hello", 1700000000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_dump_clear(&dump);
    mmq_spool_destroy(&spool);
    (void)close(data_folder);
    world_end();
    return 0;
}

static void write_bytes(const mmq_job *job, size_t size)
{
    char room[1000];
    memset(room, 'x', sizeof room);
    assert_true(size <= sizeof room);
    assert_ok(mmq_fd_write(mmq_job_archive(job), room, size, "archive", &why));
}

/* ---- bounds ----------------------------------------------------------------------------- */

/* Several that grow at once: as soon as they outgrow the spool together one is told so, and the
 * others are not, once it is gone. */
static void builders_share_the_room(void **state)
{
    (void)state;
    enum { BUILDERS = 5, STEP = 100, LIMIT = 5000 };
    mmq_job *jobs[BUILDERS];
    int64_t bytes_left, written = 0;
    unsigned alive = BUILDERS;
    open_spool(100, LIMIT);
    for (int i = 0; i < BUILDERS; i++) {
        assert_ok(mmq_job_begin(spool, &jobs[i], &bytes_left, &why));
        assert_int_equal(bytes_left, LIMIT);
    }
    while (alive > 1) {
        for (int i = 0; i < BUILDERS; i++) {
            if (jobs[i] == NULL) {
                continue;
            }
            write_bytes(jobs[i], STEP);
            written += STEP;
            if (mmq_job_room(jobs[i], &why) == MMQ_EBUSY) {
                struct stat status;
                assert_non_null(strstr(why.text, "--spool-max"));
                assert_int_equal(fstat(mmq_job_archive(jobs[i]), &status), 0);
                written -= status.st_size;
                assert_ok(mmq_job_remove(&jobs[i], &why));
                alive--;
            }
        }
        assert_true(written <= LIMIT + BUILDERS * STEP);
    }
    for (int i = 0; i < BUILDERS; i++) {
        if (jobs[i] != NULL) {
            assert_true(written > LIMIT / 2); /* the last one has the room of all */
            assert_ok(mmq_job_room(jobs[i], &why));
            assert_ok(mmq_job_remove(&jobs[i], &why));
        }
    }
}

/* What was written while nobody looked is seen at the end, and takes nothing away. */
static void full_spool_commits_nothing(void **state)
{
    (void)state;
    mmq_job *first, *second;
    int64_t bytes_left;
    open_spool(100, 1000);
    assert_ok(mmq_job_begin(spool, &first, &bytes_left, &why));
    mmq_manifest manifest = world_manifest(&dump, "x");
    write_bytes(first, 1000);
    assert_ok(mmq_job_room(first, &why)); /* to the byte */
    write_bytes(first, 1);
    assert_int_equal(mmq_job_commit(first, &manifest, &why), MMQ_EBUSY);
    assert_int_equal(world_counts(spool).jobs, 0);
    assert_ok(mmq_job_remove(&first, &why));
    assert_ok(mmq_job_begin(spool, &second, &bytes_left, &why));
    assert_ok(mmq_job_remove(&second, &why));
    assert_int_equal(world_entries(world_at("spool")), 1);
}

static void full_spool_says_what_to_do(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, "bytes"), *other;
    int64_t bytes_left;
    open_spool(1, 1000);
    assert_int_equal(mmq_job_begin(spool, &other, &bytes_left, &why), MMQ_EBUSY);
    assert_non_null(strstr(why.text, "full: 1 dumps"));
    assert_non_null(strstr(why.text, "--spool-jobs is 1;"));
    assert_non_null(strstr(why.text, "`metricmq spool list`"));
    open_spool(10, 5);
    assert_int_equal(mmq_job_begin(spool, &other, &bytes_left, &why), MMQ_EBUSY);
    assert_non_null(strstr(why.text, "--spool-max, 5 bytes"));
    assert_int_equal(world_entries(world_at("spool")), 2); /* nothing is left */
    mmq_job_close(&job);
}

/* ---- junk ------------------------------------------------------------------------------- */

static double seconds_since(int64_t start_ns)
{
    return (double)(mmq_now_ns() - start_ns) / (double)MMQ_NS_PER_S;
}

/* Things of every kind, under every kind of name. */
static void plant(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const char *path = NULL;
        switch (i / 4 % 4) {
        case 0:
            path = world_at("spool/junk-%u", i);
            break;
        case 1:
            path = world_at("spool/%032x", i);
            break;
        case 2:
            path = world_at("spool/.new-%016x", i);
            break;
        default:
            path = world_at("spool/.done-%u", i);
            break;
        }
        switch (i % 4) {
        case 0:
            assert_int_equal(mknod(path, S_IFREG | 0644, 0), 0);
            break;
        case 1:
            assert_int_equal(mkfifo(path, 0644), 0);
            break;
        case 2:
            assert_int_equal(symlink("/", path), 0);
            break;
        default:
            assert_int_equal(mkdir(path, 0755), 0);
            break;
        }
    }
}

/* F67: 100,000 things that are no jobs. None counts as one, and no accept takes long. */
static void junk_holds_nobody_up(void **state)
{
    (void)state;
    enum { JUNK = 100000 };
    mmq_job_name *names;
    size_t count;
    mmq_job *job, *found;
    int64_t bytes_left;
    plant(JUNK);
    open_spool(2, 1000);
    int64_t start_ns = mmq_now_ns();
    assert_ok(mmq_job_begin(spool, &job, &bytes_left, &why));
    assert_ok(mmq_job_remove(&job, &why));
    const double accept_s = seconds_since(start_ns);
    job = world_commit(spool, &dump, "bytes");
    assert_int_equal(world_counts(spool).jobs, 1);
    assert_int_equal(world_counts(spool).bytes, 5);
    start_ns = mmq_now_ns();
    assert_ok(mmq_spool_sweep(spool, &why));
    const double first_s = seconds_since(start_ns);
    start_ns = mmq_now_ns();
    assert_ok(mmq_spool_sweep(spool, &why));
    const double again_s = seconds_since(start_ns);
    assert_ok(mmq_spool_list(spool, &names, &count, &why));
    assert_int_equal(count, 1);
    free(names);
    assert_int_equal(world_counts(spool).quarantined, MMQ_SPOOL_QUARANTINE_MAX);
    mmq_job_close(&job);
    assert_ok(mmq_job_take(spool, dump.name, &found, &why));
    assert_ok(mmq_job_remove(&found, &why));
    printf("beside %d junk entries: accept %.3f s, sweep %.3f s, then %.3f s\n", JUNK, accept_s,
           first_s, again_s);
    assert_true(accept_s < 5 && again_s < 10); /* what is no hang, under sanitizers too */
}

static void plant_archive(unsigned number, int64_t size)
{
    assert_int_equal(mkdir(world_at("spool/%032x", number), 0755), 0);
    const char *path = world_at("spool/%032x/archive.tar.gz", number);
    world_write(path, "x", 1);
    while (truncate(path, size) != 0) { /* what the file system takes */
        size /= 2;
        assert_true(size > 0);
    }
}

static void set_time(const char *path, int64_t seconds)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Sparse files and times of anywhen: the sums end at their largest value. */
static void sizes_and_times_add_up(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, "bytes"), *other;
    int64_t bytes_left;
    assert_ok(mmq_job_failed(job, MMQ_JOB_HELD, 0, &(mmq_why){"of 2400"}, &why));
    mmq_job_close(&job);
    set_time(world_at("spool/%s/manifest.json", dump.name),
             13569465600); /* 292 years end in 2262 */
    for (unsigned i = 1; i <= 4; i++) {
        plant_archive(i, INT64_MAX);
        set_time(world_at("spool/%032x/archive.tar.gz", i), i % 2 ? -1000000000 : 13569465600);
    }
    mmq_spool_counts counts = world_counts(spool);
    assert_int_equal(counts.jobs, 5);
    assert_true(counts.bytes > 5);
    assert_string_equal(counts.last_error.text, "of 2400");
    assert_int_equal(mmq_job_begin(spool, &other, &bytes_left, &why), MMQ_EBUSY);
    assert_non_null(strstr(why.text, "--spool-max"));
}

/* Sums of sizes cannot overflow, whatever lies there. */
static void sums_are_capped(void **state)
{
    (void)state;
    assert_int_equal(mmq_size_sum(2, 3), 5);
    assert_int_equal(mmq_size_sum(INT64_MAX - 1, 1), INT64_MAX);
    assert_int_equal(mmq_size_sum(INT64_MAX, INT64_MAX), INT64_MAX);
    assert_int_equal(mmq_size_sum(5, -1), 5); /* no file has such a size */
}

/* A torn job is put aside, one that somebody is at is not. */
static void torn_jobs_are_swept_aside(void **state)
{
    (void)state;
    const char *torn = world_at("spool/%032d", 1), *owned = world_at("spool/%032d", 2);
    assert_int_equal(mkdir(torn, 0755), 0);
    assert_int_equal(mkdir(owned, 0755), 0);
    const int fd = open(owned, O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_ok(mmq_spool_sweep(spool, &why));
    assert_false(world_exists(torn));
    assert_true(world_exists(owned));
    assert_int_equal(world_counts(spool).quarantined, 1);
    (void)close(fd);
}

/* ---- the first version ------------------------------------------------------------------ */

static const char first_name[] = "0123456789abcdef0123456789abcdef";

static void plant_first_version(const char *bytes)
{
    char sum[MMQ_DIGEST_HEX + 1], text[1024];
    mmq_digest("bytes", 5, sum);
    const int size = snprintf(
        text, sizeof text,
        "{\"op\":\"dump\",\"version\":1,\"key\":\"metric_dumps/server-x.tar.gz\",\"uid\":\"a\","
        "\"created\":1,\"digest\":\"%s%s\",\"size\":5,\"sha256\":\"%s\",\"attempts\":2,"
        "\"server_id\":\"server\"}\n",
        first_name, first_name, sum);
    assert_int_equal(mkdir(world_at("spool/%s", first_name), 0755), 0);
    world_write(world_at("spool/%s/archive.tar.gz", first_name), bytes, 5);
    world_write(world_at("spool/%s/manifest.json", first_name), text, (size_t)size);
}

static void first_version_is_summed(void **state)
{
    (void)state;
    mmq_job *job;
    int fd = -1;
    char md5[MMQ_MD5_HEX + 1];
    mmq_md5("bytes", 5, md5);
    plant_first_version("bytes");
    assert_ok(mmq_job_take(spool, first_name, &job, &why));
    assert_ok(mmq_job_open(job, &fd, &why));
    mmq_fd_close(&fd);
    assert_string_equal(mmq_job_manifest(job)->sums.whole.md5, md5);
    assert_ok(mmq_job_failed(job, MMQ_JOB_HELD, 0, &(mmq_why){"a fault"}, &why));
    mmq_job_close(&job);
    mmq_manifest manifest; /* is of version 2 from here on */
    assert_ok(mmq_spool_peek(spool, first_name, &manifest, &why));
    assert_string_equal(manifest.sums.whole.md5, md5);
    assert_int_equal(manifest.attempts, 3);
    assert_int_equal(manifest.state, MMQ_JOB_HELD);
    mmq_manifest_clear(&manifest);
}

static void first_version_that_changed_is_refused(void **state)
{
    (void)state;
    mmq_job *job;
    int fd = -1;
    plant_first_version("Bytes");
    assert_ok(mmq_job_take(spool, first_name, &job, &why));
    assert_int_equal(mmq_job_open(job, &fd, &why), MMQ_ECORRUPT);
    assert_int_equal(fd, -1);
    mmq_job_quarantine(&job, &why);
    assert_int_equal(world_counts(spool).quarantined, 1);
}

/* ---- by hand ---------------------------------------------------------------------------- */

struct seen {
    unsigned count;
    mmq_spool_entry last; /* without its sums */
};

static mmq_err see(void *context, const mmq_spool_entry *entry)
{
    struct seen *seen = context;
    seen->count++;
    seen->last = *entry;
    seen->last.manifest.sums = (mmq_sums){.size_bytes = entry->manifest.sums.size_bytes};
    return MMQ_OK;
}

static struct seen look(void)
{
    struct seen seen = {.count = 0};
    assert_ok(mmq_spool_each(spool, see, &seen, &why));
    return seen;
}

static void entries_say_what_they_are(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, "bytes");
    struct seen seen = look();
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.last.name, dump.name);
    assert_true(seen.last.owned && seen.last.known && !seen.last.quarantined);
    assert_true(seen.last.made_s > 0);
    assert_int_equal(seen.last.manifest.sums.size_bytes, 5);
    assert_int_equal(mmq_spool_drop(spool, &seen.last, &why), MMQ_EBUSY);
    assert_int_equal(mmq_spool_retry(spool, &seen.last, &why), MMQ_EBUSY);
    assert_ok(mmq_job_failed(job, MMQ_JOB_HELD, 0, &(mmq_why){"a fault"}, &why));
    mmq_job_close(&job);
    seen = look();
    assert_false(seen.last.owned);
    assert_int_equal(seen.last.manifest.state, MMQ_JOB_HELD);
    assert_ok(mmq_spool_retry(spool, &seen.last, &why));
    seen = look();
    assert_int_equal(seen.last.manifest.state, MMQ_JOB_WAITING);
    assert_int_equal(seen.last.manifest.next_attempt_ms, 0);
    assert_int_equal(seen.last.manifest.attempts, 1);
    assert_string_equal(seen.last.manifest.error.text, "a fault");
    assert_ok(mmq_spool_drop(spool, &seen.last, &why));
    assert_int_equal(look().count, 0);
    assert_int_equal(world_entries(world_at("spool")), 1);
}

static void quarantined_jobs_are_put_back(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, "bytes");
    mmq_job_quarantine(&job, &(mmq_why){"a doubt"});
    struct seen seen = look();
    assert_int_equal(seen.count, 1);
    assert_true(seen.last.quarantined && seen.last.known);
    assert_string_equal(seen.last.reason.text, "a doubt");
    assert_ok(mmq_spool_retry(spool, &seen.last, &why));
    seen = look();
    assert_string_equal(seen.last.name, dump.name);
    assert_false(seen.last.quarantined);
    assert_string_equal(seen.last.reason.text, "");
    assert_int_equal(world_entries(world_at("spool/%s", dump.name)), 2);
}

/* One that is still no good comes back with another name, and a job is never overwritten. */
static void torn_jobs_are_not_put_back(void **state)
{
    (void)state;
    assert_int_equal(mkdir(world_at("spool/%s", dump.name), 0755), 0);
    world_write(world_at("spool/%s/archive.tar.gz", dump.name), "x", 1);
    mmq_job *job;
    assert_int_equal(mmq_job_take(spool, dump.name, &job, &why), MMQ_ECORRUPT);
    struct seen seen = look();
    assert_string_equal(seen.last.reason.text, "the job has no manifest");
    assert_int_equal(mmq_spool_retry(spool, &seen.last, &why), MMQ_ECORRUPT);
    seen = look();
    assert_int_equal(seen.count, 1);
    assert_true(seen.last.quarantined);
    job = world_commit(spool, &dump, "bytes");
    assert_int_equal(mmq_spool_retry(spool, &seen.last, &why), MMQ_ECONFLICT);
    mmq_job_close(&job);
    assert_int_equal(world_counts(spool).jobs, 1);
    assert_ok(mmq_spool_drop(spool, &seen.last, &why));
    assert_int_equal(world_counts(spool).quarantined, 0);
}

static void strays_are_only_dropped(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(world_at("spool/pipe"), 0644), 0);
    assert_int_equal(symlink("/", world_at("spool/%032d", 5)), 0);
    assert_ok(mmq_spool_sweep(spool, &why));
    assert_int_equal(world_counts(spool).quarantined, 2);
    for (unsigned i = 0; i < 2; i++) {
        const struct seen seen = look();
        assert_false(seen.last.known);
        mmq_err err = mmq_spool_retry(spool, &seen.last, &why);
        assert_true(err == MMQ_EINVAL || err == MMQ_ECORRUPT);
        const struct seen again = look();
        assert_ok(mmq_spool_drop(spool, &again.last, &why));
    }
    assert_int_equal(world_counts(spool).quarantined, 0);
}

static void keys_are_found(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, "bytes");
    const char *key = mmq_job_manifest(job)->key;
    assert_true(mmq_spool_has_key(spool, key));
    assert_false(mmq_spool_has_key(spool, "x"));
    assert_false(mmq_spool_has_key(spool, "metric_dumps/server-x-01234567.tar.gz"));
    mmq_job_close(&job);
    plant_first_version("bytes");
    assert_true(mmq_spool_has_key(spool, "metric_dumps/server-x.tar.gz"));
}

/* Nothing is made where nothing was. */
static void missing_spool_is_not_made(void **state)
{
    (void)state;
    mmq_spool_destroy(&spool);
    assert_int_equal(rmdir(world_at("spool/quarantine")), 0);
    assert_int_equal(rmdir(world_at("spool")), 0);
    assert_null(mmq_spool_find(data_folder, &why));
    assert_false(world_exists(world_at("spool")));
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(builders_share_the_room),
        TEST(full_spool_commits_nothing),
        TEST(full_spool_says_what_to_do),
        TEST(junk_holds_nobody_up),
        TEST(sizes_and_times_add_up),
        TEST(sums_are_capped),
        TEST(torn_jobs_are_swept_aside),
        TEST(first_version_is_summed),
        TEST(first_version_that_changed_is_refused),
        TEST(entries_say_what_they_are),
        TEST(quarantined_jobs_are_put_back),
        TEST(torn_jobs_are_not_put_back),
        TEST(strays_are_only_dropped),
        TEST(keys_are_found),
        TEST(missing_spool_is_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
