/* Lines of text for people, and the names that they may have meant. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/nearest.h"
#include "lib/wrap.h"

#define TEN  "123456789 "
#define FULL TEN TEN TEN TEN TEN TEN TEN "123456789" /* 79 columns */

static void assert_wrapped(const char *text, size_t column, size_t indent, const char *wanted)
{
    char *got = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&got, &size);
    assert_non_null(out);
    mmq_wrap(out, text, column, indent);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(got, wanted);
    free(got);
}

static void lines_are_full_and_no_fuller(void **state)
{
    (void)state;
    assert_int_equal(strlen(FULL), MMQ_WRAP_WIDTH);
    assert_wrapped(FULL, 0, 0, FULL "\n");
    assert_wrapped(FULL "0", 0, 0, TEN TEN TEN TEN TEN TEN "123456789\n1234567890\n");
    assert_wrapped(FULL, 1, 2, TEN TEN TEN TEN TEN TEN "123456789\n  123456789\n");
    assert_wrapped(FULL " end", 0, 4, FULL "\n    end\n");
}

static void words_are_what_spaces_part(void **state)
{
    (void)state;
    assert_wrapped("", 0, 0, "\n");
    assert_wrapped("  a   b ", 3, 3, "a b\n");
    assert_wrapped("a\n\nb\nc", 0, 1, "a\n \n b\n c\n");
}

static void a_word_that_is_too_wide_stands_alone(void **state)
{
    (void)state;
    char word[201];
    memset(word, 'w', 200);
    word[200] = '\0';
    char text[256], wanted[256];
    snprintf(text, sizeof text, "a %s b", word);
    snprintf(wanted, sizeof wanted, "a\n  %s\n  b\n", word);
    assert_wrapped(text, 2, 2, wanted);
}

static void characters_are_counted_not_bytes(void **state)
{
    (void)state;
    assert_wrapped(TEN TEN TEN TEN TEN TEN TEN "äöüäöüäöü", 0, 0,
                   TEN TEN TEN TEN TEN TEN TEN "äöüäöüäöü\n");
}

static const char *nearest_of(const char *wanted)
{
    mmq_nearest search;
    mmq_nearest_begin(&search, wanted, strlen(wanted));
    mmq_nearest_offer(&search, "query");
    mmq_nearest_offer(&search, "status");
    mmq_nearest_offer(&search, "connections-max");
    return search.nearest;
}

static void near_names_are_found(void **state)
{
    (void)state;
    assert_string_equal(nearest_of("qury"), "query");
    assert_string_equal(nearest_of("statsu"), "status");
    assert_string_equal(nearest_of("conn"), "connections-max");
    assert_string_equal(nearest_of("connection-maxi"), "connections-max");
    assert_null(nearest_of("frobnicate"));
    assert_null(nearest_of(""));
    char longer[100];
    memset(longer, 'q', 99);
    longer[99] = '\0';
    assert_null(nearest_of(longer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_full_and_no_fuller),
        cmocka_unit_test(words_are_what_spaces_part),
        cmocka_unit_test(a_word_that_is_too_wide_stands_alone),
        cmocka_unit_test(characters_are_counted_not_bytes),
        cmocka_unit_test(near_names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
