/* The server's id: given, made once at random and kept, or a file that holds something else. */
#include "store_world.h"

#include <fcntl.h>

#include "workers/spool/server_id.h"

static int folder = -1;
static char id[MMQ_SERVER_ID_MAX + 1];

static int begin(void **state)
{
    (void)state;
    world_begin();
    folder = open(world_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(folder >= 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    (void)close(folder);
    world_end();
    return 0;
}

static void put_id(const char *text, size_t size)
{
    const int fd = openat(folder, "server_id", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), size);
    assert_int_equal(close(fd), 0);
}

static void test_made_once(void **state)
{
    (void)state;
    char again[MMQ_SERVER_ID_MAX + 1];
    assert_ok(mmq_server_id_read(folder, NULL, id, &why));
    assert_true(strlen(id) >= 16);
    assert_ok(mmq_server_id_read(folder, NULL, again, &why));
    assert_string_equal(id, again);
    assert_ok(mmq_server_id_read(folder, "given.1", again, &why)); /* goes before the file */
    assert_string_equal(again, "given.1");
}

static void test_files(void **state)
{
    (void)state;
    char most[MMQ_SERVER_ID_MAX + 2];
    memset(most, 'a', sizeof most);
    put_id("A-z_0.9\n", 8);
    assert_ok(mmq_server_id_read(folder, NULL, id, &why));
    assert_string_equal(id, "A-z_0.9");
    put_id(most, MMQ_SERVER_ID_MAX);
    assert_ok(mmq_server_id_read(folder, NULL, id, &why));
    assert_int_equal(strlen(id), MMQ_SERVER_ID_MAX);
    static const struct {
        const char *text;
        size_t size;
    } bad[] = {{"", 0},     {"\n", 1},  {".hidden", 7}, {"a/b", 3},
               {"a\0b", 3}, {"a b", 3}, {"a\n\n", 3},   {"\xc3\xa4", 2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_id(bad[i].text, bad[i].size);
        assert_int_equal(mmq_server_id_read(folder, NULL, id, &why), MMQ_ECORRUPT);
    }
    put_id(most, MMQ_SERVER_ID_MAX + 1);
    assert_int_equal(mmq_server_id_read(folder, NULL, id, &why), MMQ_ECORRUPT);
    most[MMQ_SERVER_ID_MAX + 1] = '\0';
    assert_int_equal(mmq_server_id_read(folder, most, id, &why), MMQ_EINVAL);
    assert_int_equal(mmq_server_id_read(folder, "", id, &why), MMQ_EINVAL);
}

/* F67: a planted link is not followed. */
static void test_planted_link(void **state)
{
    (void)state;
    assert_int_equal(symlinkat("/etc/hostname", folder, "server_id"), 0);
    assert_int_not_equal(mmq_server_id_read(folder, NULL, id, &why), MMQ_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_made_once),
        TEST(test_files),
        TEST(test_planted_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
