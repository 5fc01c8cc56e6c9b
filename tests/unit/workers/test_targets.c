/* Delivery to file:. F65, F68, F76. */
#include "spool_world.h"

#include <sys/file.h>

#include "workers/spool/delivery.h"

static int data_folder;
static mmq_spool *spool;
static mmq_target *target;
static mmq_dump dump;
static mmq_setback setback;
static const char bytes[] = "the bytes of an archive";

static int begin(void **state)
{
    char url[128];
    (void)state;
    world_begin();
    data_folder = open(world_folder, O_RDONLY | O_DIRECTORY);
    spool = mmq_spool_new(data_folder, NULL, &why);
    (void)snprintf(url, sizeof url, "file:%s/deep/uploads", world_folder);
    target = mmq_target_new(url, NULL, &why);
    assert_non_null(spool);
    assert_non_null(target);
    world_dump(&dump, "a", "hello", 1700000000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_dump_clear(&dump);
    mmq_target_destroy(&target);
    mmq_spool_destroy(&spool);
    (void)close(data_folder);
    world_end();
    return 0;
}

static const char *uploads(void)
{
    return world_at("deep/uploads/metric_dumps");
}

/* The one object that is there, whole. */
static void expect_object(const char *key)
{
    mmq_buffer got = world_read(world_at("deep/uploads/%s", key));
    assert_int_equal(got.size, sizeof bytes - 1);
    assert_memory_equal(got.data, bytes, got.size);
    mmq_buffer_clear(&got);
    assert_int_equal(world_entries(uploads()), 1);
}

static void expect_empty_spool(void)
{
    assert_int_equal(world_entries(world_at("spool")), 1); /* quarantine */
}

static void job_is_delivered_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* the same again: one object */
        mmq_job *job = world_commit(spool, &dump, bytes);
        char key[MMQ_OBJECT_KEY_MAX + 1];
        memcpy(key, mmq_job_manifest(job)->key, sizeof key);
        assert_ok(mmq_job_deliver(&job, target, &world_watch, &setback, &why));
        assert_null(job);
        expect_object(key);
        expect_empty_spool();
    }
}

static void two_dumps_of_one_second_are_two(void **state)
{
    (void)state;
    mmq_dump other;
    world_dump(&other, "a", "another", dump.created);
    mmq_job *first = world_commit(spool, &dump, bytes),
            *second = world_commit(spool, &other, bytes);
    assert_ok(mmq_job_deliver(&first, target, &world_watch, &setback, &why));
    assert_ok(mmq_job_deliver(&second, target, &world_watch, &setback, &why));
    assert_int_equal(world_entries(uploads()), 2);
    mmq_dump_clear(&other);
}

static void changed_bytes_are_never_delivered(void **state)
{
    (void)state;
    mmq_spool_counts counts;
    mmq_job *job = world_commit(spool, &dump, bytes);
    world_write(world_at("spool/%s/archive.tar.gz", dump.name), "The bytes of an archive",
                sizeof bytes - 1);
    assert_int_equal(mmq_job_deliver(&job, target, &world_watch, &setback, &why), MMQ_ECORRUPT);
    assert_null(job);
    assert_int_equal(world_entries(uploads()), 0);
    job = world_commit(spool, &dump, bytes);
    assert_int_equal(truncate(world_at("spool/%s/archive.tar.gz", dump.name), 3), 0);
    assert_int_equal(mmq_job_deliver(&job, target, &world_watch, &setback, &why), MMQ_ECORRUPT);
    assert_ok(mmq_spool_count(spool, &counts, &why));
    assert_int_equal(counts.quarantined, 2);
    assert_int_equal(counts.jobs, 0);
}

static mmq_err stop_at_once(void *context, const char *stage, int64_t done, int64_t total,
                            mmq_why *reason)
{
    (void)context, (void)stage, (void)done, (void)total;
    return mmq_fail(reason, MMQ_ECLOSED, "stop");
}

static void broken_off_delivery_stays(void **state)
{
    (void)state;
    const mmq_watch watch = {stop_at_once, NULL};
    mmq_job *job = world_commit(spool, &dump, bytes);
    assert_int_equal(mmq_job_deliver(&job, target, &watch, &setback, &why), MMQ_ECLOSED);
    assert_non_null(job);
    assert_int_equal(world_entries(uploads()), 0);
    assert_ok(mmq_job_deliver(&job, target, &world_watch, &setback, &why));
}

/* What a crashed delivery left is taken over; what a living one has is left alone. */
static void part_has_one_owner(void **state)
{
    (void)state;
    char key[MMQ_OBJECT_KEY_MAX + 1];
    mmq_job *job = world_commit(spool, &dump, bytes);
    memcpy(key, mmq_job_manifest(job)->key, sizeof key);
    assert_int_equal(mkdir(world_at("deep"), 0755), 0);
    assert_int_equal(mkdir(world_at("deep/uploads"), 0755), 0);
    assert_int_equal(mkdir(uploads(), 0755), 0);
    const char *part = world_at("deep/uploads/metric_dumps/.%s.part", strchr(key, '/') + 1);
    world_write(part, "left by a crash, and longer than what comes after it", 52);
    const int fd = open(part, O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(mmq_job_deliver(&job, target, &world_watch, &setback, &why), MMQ_EBUSY);
    assert_true(world_exists(part));
    (void)close(fd);
    assert_ok(mmq_job_deliver(&job, target, &world_watch, &setback, &why));
    expect_object(key);
}

static void symlinks_below_the_target_are_not_followed(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, bytes);
    assert_int_equal(mkdir(world_at("deep"), 0755), 0);
    assert_int_equal(mkdir(world_at("deep/uploads"), 0755), 0);
    assert_int_equal(mkdir(world_at("elsewhere"), 0755), 0);
    assert_int_equal(symlink(world_at("elsewhere"), uploads()), 0);
    assert_int_equal(mmq_job_deliver(&job, target, &world_watch, &setback, &why), MMQ_EIO);
    assert_int_equal(world_entries(world_at("elsewhere")), 0);
    const char *name = strchr(mmq_job_manifest(job)->key, '/') + 1;
    assert_int_equal(unlink(uploads()), 0);
    assert_int_equal(mkdir(uploads(), 0755), 0);
    assert_int_equal(symlink("/dev/null", world_at("deep/uploads/metric_dumps/.%s.part", name)), 0);
    assert_int_equal(mmq_job_deliver(&job, target, &world_watch, &setback, &why), MMQ_EIO);
    mmq_job_close(&job);
}

static void urls_are_checked(void **state)
{
    (void)state;
    assert_null(mmq_target_new("ftp://example/", NULL, &why));
    assert_null(mmq_target_new("file:", NULL, &why));
    assert_null(mmq_target_new("", NULL, &why));
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(job_is_delivered_once),
        TEST(two_dumps_of_one_second_are_two),
        TEST(changed_bytes_are_never_delivered),
        TEST(broken_off_delivery_stays),
        TEST(part_has_one_owner),
        TEST(symlinks_below_the_target_are_not_followed),
        TEST(urls_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
