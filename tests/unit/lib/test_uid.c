/* Which uids are valid, and that derived ones stay as they are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "lib/uid.h"

static bool is_valid(const char *uid)
{
    return mmq_uid_valid(uid, strlen(uid));
}

static void alphabet_and_length(void **state)
{
    char uid[MMQ_UID_MAX + 2];
    (void)state;
    assert_true(is_valid("a"));
    assert_true(is_valid("-._Az09"));
    assert_true(is_valid("..."));
    memset(uid, 'x', sizeof uid);
    assert_true(mmq_uid_valid(uid, MMQ_UID_MAX));
    assert_false(mmq_uid_valid(uid, MMQ_UID_MAX + 1));
    assert_false(mmq_uid_valid(uid, 0));
    for (int c = 0; c < 256; c++) {
        char text[] = {'a', (char)c};
        bool wanted = c != 0 && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789-_.",
                                       c);
        assert_int_equal(mmq_uid_valid(text, 2), wanted);
    }
}

static void reserved_names(void **state)
{
    (void)state;
    assert_false(is_valid("."));
    assert_false(is_valid(".."));
    assert_false(is_valid("data"));
    assert_false(is_valid("export"));
    assert_false(is_valid("summary"));
    assert_true(is_valid("Data"));
    assert_true(is_valid("data1"));
    assert_true(is_valid("dat"));
}

static void derived_uids_never_change(void **state)
{
    char uid[MMQ_UID_MAX + 1];
    (void)state;
    mmq_uid_derive("custom", "cpu", uid);
    assert_string_equal(uid, "bf2251fd378c14c2b1931d64d26a9794");
    assert_true(is_valid(uid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alphabet_and_length),
        cmocka_unit_test(reserved_names),
        cmocka_unit_test(derived_uids_never_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
