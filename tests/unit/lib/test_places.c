/* What may be done with files and folders, of which none is made by asking. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/places.h"

static int enter(void **state)
{
    static char folder[] = "/tmp/metricmq-places-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0 || mkdir("folder", 0700) != 0) {
        return -1;
    }
    *state = folder;
    int file = open("file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    return file < 0 ? -1 : close(file);
}

static int leave(void **state)
{
    return unlink("file") == 0 && rmdir("folder") == 0 && chdir("/") == 0 ? rmdir(*state) : -1;
}

static void assert_refused(mmq_err err, mmq_err wanted, const mmq_why *why, const char *part)
{
    assert_int_equal(err, wanted);
    if (!strstr(why->text, part)) {
        fail_msg("%s: no %s", why->text, part);
    }
}

static void files(void **state)
{
    mmq_why why = {""};
    (void)state;
    assert_int_equal(mmq_place_file("file", &why), MMQ_OK);
    assert_refused(mmq_place_file("none", &why), MMQ_ENOTFOUND, &why, "none: No such file");
    assert_refused(mmq_place_file("folder", &why), MMQ_EINVAL, &why, "folder is no file");
    assert_refused(mmq_place_file("file/x", &why), MMQ_EINVAL, &why, "Not a directory");
}

static void folders(void **state)
{
    static const char *const good[] = {"folder", "folder/", "./folder//new", "new", "new/",
                                       "/",      "."};
    static const char *const far[] = {"a/b/c", "folder/a//b/", "/tmp/no-such-folder-of-ours/b/c"};
    mmq_why why = {""};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(mmq_place_folder(good[i], false, &why), MMQ_OK);
    }
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        assert_refused(mmq_place_folder(far[i], false, &why), MMQ_EINVAL, &why, "No such file");
        assert_int_equal(mmq_place_folder(far[i], true, &why), MMQ_OK);
    }
    assert_refused(mmq_place_folder("file", true, &why), MMQ_EINVAL, &why, "file is not a folder");
    assert_refused(mmq_place_folder("file/x", true, &why), MMQ_EINVAL, &why, "Not a directory");
    assert_refused(mmq_place_folder("", true, &why), MMQ_EINVAL, &why, "a path has");
}

static void what_stands_beside(void **state)
{
    char longest[PATH_MAX + 8];
    mmq_why why = {""};
    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(mmq_place_beside("socket", &why), MMQ_OK);
    assert_int_equal(mmq_place_beside("folder/socket", &why), MMQ_OK);
    assert_int_equal(mmq_place_beside("/socket", &why), MMQ_OK);
    assert_refused(mmq_place_beside("none/socket", &why), MMQ_EINVAL, &why, "none: No such file");
    assert_refused(mmq_place_beside("file/socket", &why), MMQ_EINVAL, &why, "not a folder");
    assert_refused(mmq_place_beside("", &why), MMQ_EINVAL, &why, "a path has");
    assert_refused(mmq_place_beside(longest, &why), MMQ_EINVAL, &why, "a path has");
}

static void rights(void **state)
{
    mmq_why why = {""};
    (void)state;
    if (geteuid() == 0 && seteuid(65534) != 0) {
        skip();
    }
    const bool other = geteuid() == 65534;
    assert_int_equal(mmq_place_folder("/tmp", false, &why), MMQ_OK);
    assert_refused(mmq_place_folder("/no-such-folder-of-ours", false, &why), MMQ_EINVAL, &why,
                   "nothing can be made in the folder /: Permission denied");
    assert_int_equal(mmq_place_file("/etc/passwd", &why), MMQ_OK);
    if (other) {
        assert_int_equal(seteuid(0), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(folders),
        cmocka_unit_test(what_stands_beside),
        cmocka_unit_test(rights),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
