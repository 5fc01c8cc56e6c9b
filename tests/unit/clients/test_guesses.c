/* How long answers to wrong keys wait (F45), on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "clients/http/guesses.h"
#include "lib/clock.h"

static const int64_t start_ns = 1000 * MMQ_NS_PER_S;
static const int64_t hold_ns = MMQ_GUESSES_HOLD_MS * MMQ_NS_PER_MS;
static mmq_guesses guesses;

static void test_one_address(void **state)
{
    (void)state;
    mmq_guesses_init(&guesses);
    for (int i = 0; i < MMQ_GUESSES_FREE; i++) {
        assert_int_equal(mmq_guesses_note(&guesses, 7, false, start_ns), 0);
    }
    int64_t last_ns = 0;
    for (int i = 0; i < 1000; i++) { /* each waits for the one before, and none for ever */
        const int64_t wait_ns = mmq_guesses_note(&guesses, 7, false, start_ns);
        assert_true(wait_ns > last_ns || wait_ns == hold_ns);
        assert_true(wait_ns <= hold_ns);
        last_ns = wait_ns;
    }
    assert_int_equal(last_ns, hold_ns);
    assert_int_equal(guesses.held, 1000);
    assert_int_equal(mmq_guesses_note(&guesses, 8, false, start_ns), 0); /* another's */
    const int64_t later_ns = start_ns + 60 * MMQ_NS_PER_S;
    assert_int_equal(mmq_guesses_note(&guesses, 7, false, later_ns), 0);
    for (int i = 1; i < MMQ_GUESSES_RATE * 100; i++) { /* the rate may go on */
        const int64_t at_ns = later_ns + i * MMQ_NS_PER_S / MMQ_GUESSES_RATE;
        assert_int_equal(mmq_guesses_note(&guesses, 7, false, at_ns), 0);
    }
}

/* Who stands for many has only the bound of all, as has who has many addresses. */
static void check_all(uint64_t parties, bool shared)
{
    mmq_guesses_init(&guesses);
    int64_t now_ns = start_ns;
    uint64_t free = 0;
    for (uint64_t i = 0; i < 20 * MMQ_GUESSES_ALL; i++) {
        free += mmq_guesses_note(&guesses, 1 + i % parties, shared, now_ns) == 0;
        now_ns += MMQ_NS_PER_S / (10 * MMQ_GUESSES_ALL); /* two seconds in all */
    }
    assert_in_range(free, MMQ_GUESSES_ALL, 4 * MMQ_GUESSES_ALL);
    assert_int_equal(guesses.total, 20 * MMQ_GUESSES_ALL);
}

static void test_all_addresses(void **state)
{
    (void)state;
    check_all(1, true);
    check_all(1000000, false);
}

static void test_the_log(void **state)
{
    (void)state;
    int64_t left_ns;
    mmq_guesses_init(&guesses);
    assert_int_equal(mmq_guesses_say(&guesses, start_ns, &left_ns), 0);
    assert_int_equal(left_ns, -1);
    guesses.unsaid = 5;
    assert_int_equal(mmq_guesses_say(&guesses, start_ns, &left_ns), 5);
    guesses.unsaid = 9;
    assert_int_equal(mmq_guesses_say(&guesses, start_ns + 1, &left_ns), 0);
    assert_int_equal(left_ns, MMQ_GUESSES_SAY_MS * MMQ_NS_PER_MS - 1);
    assert_int_equal(mmq_guesses_say(&guesses, start_ns + 1 + left_ns, &left_ns), 9);
    assert_int_equal(mmq_guesses_say(&guesses, start_ns + 90 * MMQ_NS_PER_S, &left_ns), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_address),
        cmocka_unit_test(test_all_addresses),
        cmocka_unit_test(test_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
