/* Digests against published and independently computed sums. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "lib/digest.h"

static void known_sums(void **state)
{
    char hex[MMQ_DIGEST_HEX + 1];
    (void)state;
    mmq_digest("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    mmq_digest("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void parts_are_told_apart(void **state)
{
    const mmq_part one[] = {{"ab", 2}, {"c", 1}}, other[] = {{"a", 1}, {"bc", 2}};
    const char framed[] = "\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c";
    char a[MMQ_DIGEST_HEX + 1], b[MMQ_DIGEST_HEX + 1];
    (void)state;
    mmq_digest_parts(one, 2, a);
    mmq_digest_parts(other, 2, b);
    assert_string_not_equal(a, b);
    mmq_digest(framed, sizeof framed - 1, b);
    assert_string_equal(a, b);
}

static void random_bytes_differ(void **state)
{
    unsigned char a[32] = {0}, b[32] = {0};
    (void)state;
    mmq_random(a, sizeof a);
    mmq_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    mmq_random(a, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums),
        cmocka_unit_test(parts_are_told_apart),
        cmocka_unit_test(random_bytes_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
