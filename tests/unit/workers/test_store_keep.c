/* Backup and restore as the store sees them: what a watch is told, what breaking off leaves, what
 * each refuses; and the locks by which another process knows that a store is in use. */
#include "store_world.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "workers/store/sqlite/sqlite.h"

enum { ROWS = 4000 };

static world_rows rows;
static char file[128], other_url[160];

/* A watch that breaks off at its nth call; 0: never. */
static int calls, break_at, faults;
static const char *last_doing;

static bool at(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context;
    assert_true(done >= 0 && total >= 0);
    last_doing = doing;
    return ++calls != break_at;
}

static void fault(void *context, const char *what)
{
    (void)context, (void)what;
    faults++;
}

static const mmq_store_watch watch = {.at = at, .fault = fault};

static void fill(const char *uid)
{
    mmq_appended out;
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, uid, uid));
    assert_ok(mmq_store_commit(store, &why));
    for (size_t i = 0; i < ROWS; i++) {
        world_set(&rows, i, 1000 + (int64_t)i, (double)i / 3, i % 2 == 0 ? 0.5 : NAN);
    }
    assert_ok(world_append(store, uid, 0, &rows, 0, ROWS, &out));
    mmq_store_close(&store);
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    (void)snprintf(file, sizeof file, "%s/backup", world_folder);
    (void)snprintf(other_url, sizeof other_url, "sqlite:%s/other.db", world_folder);
    calls = break_at = faults = 0;
    fill("a");
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_end();
    return 0;
}

static mmq_err backup(mmq_kept *out)
{
    calls = 0;
    return mmq_store_backup(world_url, file, &watch, out, &why);
}

static bool is_there(const char *path, const char *ending)
{
    char name[192];
    (void)snprintf(name, sizeof name, "%s%s", path, ending);
    return access(name, F_OK) == 0;
}

static void test_backup(void **state)
{
    (void)state;
    mmq_kept kept;
    struct stat about;
    (void)umask(0);
    assert_ok(backup(&kept));
    (void)umask(022);
    assert_int_equal(kept.sums.rows, ROWS);
    assert_int_equal(kept.sums.metrics, 1);
    assert_int_equal(kept.commit, 2);
    assert_int_equal(stat(file, &about), 0);
    assert_int_equal(about.st_size, kept.bytes);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_false(is_there(file, ".partial") || is_there(file, ".partial-journal"));
    assert_int_equal(backup(&kept), MMQ_ECONFLICT);
    assert_non_null(strstr(why.text, "replaces nothing"));
    assert_int_equal(faults, 0);
}

/* Whoever breaks off, wherever: nothing is left. */
static void test_breaking_off(void **state)
{
    (void)state;
    mmq_kept kept;
    mmq_err err;
    break_at = 0;
    do {
        break_at++;
        err = backup(&kept);
        if (err != MMQ_OK) {
            assert_int_equal(err, MMQ_ECLOSED);
            assert_false(is_there(file, "") || is_there(file, ".partial"));
        }
    } while (err != MMQ_OK);
    assert_true(break_at > 3);
    assert_string_equal(last_doing, "checking rows");
}

/* What a process that died has left is taken over; what one that lives is writing is not
 * (flock excludes two descriptors of one process, too). */
static void test_the_temporary_name(void **state)
{
    (void)state;
    mmq_kept kept;
    char partial[160], journal[160];
    (void)snprintf(partial, sizeof partial, "%s.partial", file);
    (void)snprintf(journal, sizeof journal, "%s.partial-journal", file);
    const char *const names[] = {partial, journal};
    for (size_t i = 0; i < 2; i++) {
        FILE *left = fopen(names[i], "w");
        assert_true(left != NULL && fputs("left over", left) >= 0 && fclose(left) == 0);
    }
    assert_ok(backup(&kept));
    assert_int_equal(unlink(file), 0);
    const int fd = open(partial, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    assert_int_equal(backup(&kept), MMQ_EBUSY);
    assert_true(is_there(partial, ""));
    assert_int_equal(close(fd), 0);
    assert_ok(backup(&kept));
}

/* The connection of a backup may write to what it attached, and not to the store. */
static void test_a_damaged_store_gives_no_backup(void **state)
{
    (void)state;
    mmq_kept kept;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE block SET rows = rows - 1", NULL, NULL, NULL), 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(backup(&kept), MMQ_ECORRUPT);
    assert_true(faults > 0);
    assert_false(is_there(file, "") || is_there(file, ".partial"));
}

static void test_restore_into_another_store(void **state)
{
    (void)state;
    mmq_kept kept;
    mmq_store *store;
    mmq_snapshot old, now;
    store = world_open(MMQ_STORE_READ);
    assert_ok(mmq_store_begin_read(store, &old, &why));
    mmq_store_end_read(store);
    mmq_store_close(&store);
    assert_ok(backup(&kept));
    assert_ok(mmq_store_restore(other_url, file, false, &watch, &kept, &why));
    assert_string_equal(kept.old, "");
    assert_ok(mmq_store_open(other_url, MMQ_STORE_READ, &store, &why));
    assert_ok(mmq_store_begin_read(store, &now, &why));
    assert_int_equal(now.commit, old.commit);
    assert_true(now.store != old.store);
    mmq_store_end_read(store);
    mmq_store_close(&store);
    assert_int_equal(mmq_store_restore(other_url, file, false, &watch, &kept, &why), MMQ_ECONFLICT);
    mmq_store_lock *lock;
    assert_ok(mmq_store_lock_try(other_url, &lock, &why));
    assert_int_equal(mmq_store_restore(other_url, file, true, &watch, &kept, &why), MMQ_EBUSY);
    mmq_store_unlock(&lock);
    assert_ok(mmq_store_restore(other_url, file, true, &watch, &kept, &why));
    assert_int_equal(access(kept.old, F_OK), 0);
}

static void test_restore_broken_off(void **state)
{
    (void)state;
    mmq_kept kept;
    mmq_err err;
    char other[128];
    (void)snprintf(other, sizeof other, "%s/other.db", world_folder);
    assert_ok(backup(&kept));
    break_at = 0;
    do {
        break_at++;
        calls = 0;
        err = mmq_store_restore(other_url, file, false, &watch, &kept, &why);
        if (err != MMQ_OK) {
            assert_int_equal(err, MMQ_ECLOSED);
            assert_false(is_there(other, "") || is_there(other, ".restoring"));
        }
    } while (err != MMQ_OK);
    assert_true(break_at > 3);
}

/* A process that has opened a store twice has a lock on it that others see: SQLite takes the log
 * away when the last process closes its connection, and knows by this which is the last. */
static void test_others_see_that_a_store_is_open(void **state)
{
    (void)state;
    mmq_store *writer = world_open(MMQ_STORE_WRITE);
    mmq_store *reader = world_open(MMQ_STORE_READ), *another = world_open(MMQ_STORE_READ);
    const pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_start = 0x40000000, .l_len = 512};
        const int fd = open(world_path, O_RDWR | O_CLOEXEC);
        _exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_pid == getppid() ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    mmq_store_close(&another);
    mmq_store_close(&reader);
    mmq_store_close(&writer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_backup),
        TEST(test_breaking_off),
        TEST(test_the_temporary_name),
        TEST(test_a_damaged_store_gives_no_backup),
        TEST(test_restore_into_another_store),
        TEST(test_restore_broken_off),
        TEST(test_others_see_that_a_store_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
