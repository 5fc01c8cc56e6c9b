/* The spool: what is in it after each step and each fault. F67, F68, F70, F71. */
#include "spool_world.h"

#include <errno.h>
#include <sys/wait.h>

static int data_folder;
static mmq_spool *spool;
static mmq_dump dump;
static unsigned fsyncs_left = UINT32_MAX; /* until one fails */

/* In place of libc's: the Nth fsync of a test may fail. */
int fsync(int fd)
{
    struct stat status;
    if (fsyncs_left > 0) {
        fsyncs_left--;
        return fstat(fd, &status);
    }
    errno = EIO;
    return -1;
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    data_folder = open(world_folder, O_RDONLY | O_DIRECTORY);
    spool = mmq_spool_new(data_folder, NULL, &why);
    assert_non_null(spool);
    world_dump(&dump, "a", "hello", 1700000000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fsyncs_left = UINT32_MAX;
    mmq_dump_clear(&dump);
    mmq_spool_destroy(&spool);
    (void)close(data_folder);
    world_end();
    return 0;
}

static void job_comes_and_goes(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, "bytes"), *other;
    assert_int_equal(world_counts(spool).jobs, 1);
    assert_int_equal(world_counts(spool).bytes, 5);
    assert_int_equal(mmq_job_take(spool, dump.name, &other, &why), MMQ_EBUSY);
    mmq_job_close(&job);
    assert_ok(mmq_job_take(spool, dump.name, &job, &why));
    assert_string_equal(mmq_job_manifest(job)->digest, dump.digest);
    char key[MMQ_OBJECT_KEY_MAX + 1];
    (void)snprintf(key, sizeof key, "metric_dumps/server-metric_dump_a_20231114-221320-%.8s.tar.gz",
                   dump.digest);
    assert_string_equal(mmq_job_manifest(job)->key, key);
    mmq_job_close(&job);
}

static void taken_job_is_read_and_removed(void **state)
{
    (void)state;
    char bytes[6] = "";
    int fd;
    mmq_job *job = world_commit(spool, &dump, "bytes");
    assert_ok(mmq_job_open(job, &fd, &why));
    assert_int_equal(read(fd, bytes, sizeof bytes), 5);
    assert_string_equal(bytes, "bytes");
    (void)close(fd);
    assert_ok(mmq_job_failed(job, MMQ_JOB_WAITING, 0, &(mmq_why){"a fault"}, &why));
    mmq_job_close(&job);
    assert_ok(mmq_job_take(spool, dump.name, &job, &why));
    assert_int_equal(mmq_job_manifest(job)->attempts, 1);
    assert_ok(mmq_job_remove(&job, &why));
    assert_int_equal(mmq_job_take(spool, dump.name, &job, &why), MMQ_ENOTFOUND);
    assert_int_equal(world_entries(world_at("spool")), 1); /* quarantine */
}

static void second_job_of_one_name_conflicts(void **state)
{
    (void)state;
    mmq_job *first = world_commit(spool, &dump, "bytes"), *second;
    int64_t bytes_left;
    mmq_manifest manifest = world_manifest(&dump, "x");
    assert_ok(mmq_job_begin(spool, &second, &bytes_left, &why));
    assert_int_equal(mmq_job_commit(second, &manifest, &why), MMQ_ECONFLICT);
    assert_ok(mmq_job_remove(&second, &why));
    mmq_job_close(&first);
    assert_int_equal(world_counts(spool).jobs, 1);
}

static void full_spool_takes_nothing(void **state)
{
    (void)state;
    mmq_spool_destroy(&spool);
    spool = mmq_spool_new(data_folder, &(mmq_spool_limits){.jobs = 1, .bytes = 100}, &why);
    mmq_job *job = world_commit(spool, &dump, "bytes"), *other;
    int64_t bytes_left;
    assert_int_equal(mmq_job_begin(spool, &other, &bytes_left, &why), MMQ_EBUSY);
    assert_ok(mmq_job_remove(&job, &why));
    assert_ok(mmq_job_begin(spool, &job, &bytes_left, &why));
    assert_int_equal(bytes_left, 100);
    assert_ok(mmq_job_remove(&job, &why));
}

/* A child that dies at each place where an owner may die. */
static void crash(void (*step)(void))
{
    const pid_t child = fork();
    int status;
    if (child == 0) {
        step();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void crash_while_building(void)
{
    mmq_job *job;
    int64_t bytes_left;
    if (mmq_job_begin(spool, &job, &bytes_left, &why) != MMQ_OK) {
        _exit(1);
    }
}

static void crash_after_commit(void)
{
    (void)world_commit(spool, &dump, "bytes");
}

static void leftovers_of_the_dead_are_swept(void **state)
{
    (void)state;
    mmq_job *alive;
    int64_t bytes_left;
    crash(crash_while_building);
    assert_int_equal(mkdir(world_at("spool/.done-0123"), 0755), 0);
    world_write(world_at("spool/.done-0123/archive.tar.gz"), "x", 1);
    assert_ok(mmq_job_begin(spool, &alive, &bytes_left, &why));
    assert_int_equal(world_entries(world_at("spool")), 4);
    assert_ok(mmq_spool_sweep(spool, &why));
    assert_int_equal(world_entries(world_at("spool")), 2); /* quarantine and the one alive */
    assert_ok(mmq_job_remove(&alive, &why));
}

static void job_outlives_its_owner(void **state)
{
    (void)state;
    mmq_job *job;
    mmq_job_name *names;
    size_t count;
    crash(crash_after_commit);
    assert_ok(mmq_spool_sweep(spool, &why));
    assert_ok(mmq_spool_list(spool, &names, &count, &why));
    assert_int_equal(count, 1);
    assert_string_equal(names[0].text, dump.name);
    free(names);
    assert_ok(mmq_job_take(spool, dump.name, &job, &why));
    mmq_job_close(&job);
}

/* Whichever fsync fails, the job is not accepted, or whole. */
static void each_fsync_may_fail(void **state)
{
    (void)state;
    mmq_err err = MMQ_EIO;
    for (unsigned nth = 0; err != MMQ_OK; nth++) {
        mmq_job *job;
        int64_t bytes_left;
        assert_true(nth < 20);
        mmq_manifest manifest = world_manifest(&dump, "x");
        assert_ok(mmq_job_begin(spool, &job, &bytes_left, &why));
        assert_ok(mmq_fd_write(mmq_job_archive(job), "x", 1, "archive", &why));
        fsyncs_left = nth;
        err = mmq_job_commit(job, &manifest, &why);
        fsyncs_left = UINT32_MAX;
        assert_true(err == MMQ_OK || err == MMQ_EIO);
        assert_ok(mmq_job_remove(&job, &why));
        assert_int_equal(world_counts(spool).jobs, 0);
    }
}

static const char good[] =
    "{\"op\":\"dump\",\"version\":1,\"key\":\"metric_dumps/"
    "server-x.tar.gz\",\"uid\":\"a\",\"created\":1,"
    "\"digest\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"size\":1,"
    "\"sha256\":\"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\","
    "\"attempts\":0,\"server_id\":\"server\"}";
static const char good_name[] = "0123456789abcdef0123456789abcdef";

/* A job made by hand, with `text` for its manifest. */
static mmq_err take_planted(const char *text, size_t size)
{
    mmq_job *job;
    assert_int_equal(mkdir(world_at("spool/%s", good_name), 0755), 0);
    world_write(world_at("spool/%s/archive.tar.gz", good_name), "x", 1);
    world_write(world_at("spool/%s/manifest.json", good_name), text, size);
    mmq_err err = mmq_job_take(spool, good_name, &job, &why);
    if (err == MMQ_OK) {
        assert_ok(mmq_job_remove(&job, &why));
    }
    assert_false(world_exists(world_at("spool/%s", good_name)));
    return err;
}

static void torn_manifests_are_put_aside(void **state)
{
    (void)state;
    assert_int_equal(take_planted(good, sizeof good - 1), MMQ_OK);
    for (size_t size = 0; size < sizeof good - 1; size += 11) {
        assert_int_equal(take_planted(good, size), MMQ_ECORRUPT);
    }
    assert_true(world_counts(spool).quarantined > 10);
}

/* One field of the good manifest in another form. */
static void strange_manifests_are_put_aside(void **state)
{
    (void)state;
    static const char *const changes[][2] = {
        {"\"version\":1", "\"version\":2"},  {"\"version\":1", "\"version\":1,\"new\":1"},
        {"metric_dumps/", "../etc/"},        {"metric_dumps/", "/etc/"},
        {"metric_dumps/", "a/./"},           {"\"digest\":\"0", "\"digest\":\"1"},
        {"\"size\":1", "\"size\":-1"},       {"\"sha256\":\"2d", "\"sha256\":\"2D"},
        {"\"uid\":\"a\"", "\"uid\":\"..\""}, {"\"attempts\":0", "\"attempts\":-1"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char text[sizeof good + 64];
        const char *at = strstr(good, changes[i][0]);
        assert_non_null(at);
        const int size = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good,
                                  changes[i][1], at + strlen(changes[i][0]));
        assert_int_equal(take_planted(text, (size_t)size), MMQ_ECORRUPT);
    }
}

static void symlinks_are_not_followed(void **state)
{
    (void)state;
    mmq_job *job;
    mmq_job_name *names;
    size_t count;
    assert_int_equal(mkdir(world_at("elsewhere"), 0755), 0);
    world_write(world_at("elsewhere/manifest.json"), good, sizeof good - 1);
    world_write(world_at("elsewhere/archive.tar.gz"), "x", 1);
    assert_int_equal(symlink(world_at("elsewhere"), world_at("spool/%s", good_name)), 0);
    assert_int_equal(symlink("/", world_at("spool/strange")), 0);
    assert_int_equal(symlink("/", world_at("spool/.new-x")), 0);
    assert_int_equal(mmq_job_take(spool, good_name, &job, &why), MMQ_ECORRUPT);
    assert_ok(mmq_spool_sweep(spool, &why));
    assert_ok(mmq_spool_list(spool, &names, &count, &why));
    free(names);
    assert_int_equal(count, 0);
    assert_int_equal(world_counts(spool).quarantined, 3);
    assert_int_equal(world_entries(world_at("elsewhere")), 2);
}

static void symlinked_archive_is_not_read(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, "bytes");
    int fd;
    world_write(world_at("secret"), "bytes", 5);
    assert_int_equal(unlink(world_at("spool/%s/archive.tar.gz", dump.name)), 0);
    assert_int_equal(symlink(world_at("secret"), world_at("spool/%s/archive.tar.gz", dump.name)),
                     0);
    assert_int_equal(mmq_job_open(job, &fd, &why), MMQ_ECORRUPT);
    mmq_job_quarantine(&job, &why);
    assert_int_equal(world_counts(spool).quarantined, 1);
}

static void quarantine_is_bounded(void **state)
{
    (void)state;
    mmq_job_name *names;
    size_t count;
    for (unsigned i = 0; i < MMQ_SPOOL_QUARANTINE_MAX + 5; i++) {
        world_write(world_at("spool/strange-%u", i), "x", 1);
    }
    mmq_job *job = world_commit(spool, &dump, "bytes");
    mmq_job_close(&job);
    assert_ok(mmq_spool_sweep(spool, &why));
    assert_ok(mmq_spool_list(spool, &names, &count, &why));
    assert_int_equal(count, 1);
    free(names);
    assert_int_equal(world_counts(spool).quarantined, MMQ_SPOOL_QUARANTINE_MAX);
}

static void linked_spool_is_refused(void **state)
{
    (void)state;
    mmq_spool_destroy(&spool);
    assert_int_equal(rename(world_at("spool"), world_at("real")), 0);
    assert_int_equal(symlink("real", world_at("spool")), 0);
    assert_null(mmq_spool_new(data_folder, NULL, &why));
}

static void server_id_is_made_once(void **state)
{
    (void)state;
    char first[MMQ_SERVER_ID_MAX + 1], second[MMQ_SERVER_ID_MAX + 1];
    assert_ok(mmq_server_id_read(data_folder, NULL, first, &why));
    assert_ok(mmq_server_id_read(data_folder, NULL, second, &why));
    assert_string_equal(first, second);
    assert_int_equal(strlen(first), 16);
    assert_ok(mmq_server_id_read(data_folder, "web-1.example", second, &why));
    assert_string_equal(second, "web-1.example");
    assert_int_equal(mmq_server_id_read(data_folder, "a/b", second, &why), MMQ_EINVAL);
    assert_int_equal(mmq_server_id_read(data_folder, "..", second, &why), MMQ_EINVAL);
    world_write(world_at("server_id"), "a/b\n", 4);
    assert_int_equal(mmq_server_id_read(data_folder, NULL, second, &why), MMQ_ECORRUPT);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(job_comes_and_goes),
        TEST(taken_job_is_read_and_removed),
        TEST(second_job_of_one_name_conflicts),
        TEST(full_spool_takes_nothing),
        TEST(leftovers_of_the_dead_are_swept),
        TEST(job_outlives_its_owner),
        TEST(each_fsync_may_fail),
        TEST(torn_manifests_are_put_aside),
        TEST(strange_manifests_are_put_aside),
        TEST(symlinks_are_not_followed),
        TEST(symlinked_archive_is_not_read),
        TEST(quarantine_is_bounded),
        TEST(linked_spool_is_refused),
        TEST(server_id_is_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
