/* Lists of endpoints: how they are split, and what is refused by which name. */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/endpoints.h"

/* ---- threads ------------------------------------------------------------------------------ */

static atomic_uint threads_started, threads_open; /* the latter: to SIGTERM */

typedef int creator(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* In the place of everybody's, libzmq's too. */
__attribute__((visibility("default"))) int pthread_create(pthread_t *thread,
                                                          const pthread_attr_t *attributes,
                                                          void *(*run)(void *), void *argument)
{
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    threads_started++;
    threads_open += sigismember(&mask, SIGTERM) == 0;
    creator *real = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attributes, run, argument);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void test_split(void **state)
{
    (void)state;
    mmq_endpoints endpoints;
    assert_int_equal(mmq_endpoints_split("tcp://a:1", &endpoints, NULL), MMQ_OK);
    assert_int_equal(endpoints.count, 1);
    assert_string_equal(endpoints.items[0], "tcp://a:1");
    mmq_endpoints_clear(&endpoints);
    mmq_endpoints_clear(&endpoints);
    assert_int_equal(mmq_endpoints_split("tcp://[::1]:1,ipc://x,tcp://a:2", &endpoints, NULL),
                     MMQ_OK);
    assert_int_equal(endpoints.count, 3);
    assert_string_equal(endpoints.items[1], "ipc://x");
    assert_string_equal(endpoints.items[2], "tcp://a:2");
    mmq_endpoints_clear(&endpoints);
    assert_int_equal(mmq_endpoints_split("a,b,c,d,e,f,g,h", &endpoints, NULL), MMQ_OK);
    assert_int_equal(endpoints.count, MMQ_ENDPOINTS_MAX);
    mmq_endpoints_clear(&endpoints);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *list, *sentence;
    } cases[] = {
        {"", "endpoint 1 of \"\" is empty"},
        {",", "endpoint 1 of \",\" is empty"},
        {"a,", "endpoint 2 of \"a,\" is empty"},
        {"a,,b", "endpoint 2 of \"a,,b\" is empty"},
        {"a,b,a", "a is twice in the list of endpoints"},
        {"a,b,c,d,e,f,g,h,i", "i is one endpoint too many: at most 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_endpoints endpoints;
        mmq_why why = {""};
        assert_int_equal(mmq_endpoints_split(cases[i].list, &endpoints, &why), MMQ_EINVAL);
        assert_string_equal(why.text, cases[i].sentence);
        assert_int_equal(endpoints.count, 0);
    }
}

static mmq_err check(const char *list, mmq_why *why)
{
    mmq_endpoints endpoints;
    assert_int_equal(mmq_endpoints_split(list, &endpoints, NULL), MMQ_OK);
    mmq_err err = mmq_endpoints_check(&endpoints, why);
    mmq_endpoints_clear(&endpoints);
    return err;
}

static void test_check(void **state)
{
    (void)state;
    mmq_why why = {""};
    assert_int_equal(check("tcp://127.0.0.1:1,inproc://nobody-binds-it", &why), MMQ_OK);
    static const char *const bad[] = {"nowhere", "tcp://127.0.0.1:x", "tcp://127.0.0.1:99999", " "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char list[64];
        snprintf(list, sizeof list, "tcp://127.0.0.1:1,%s,tcp://127.0.0.1:2", bad[i]);
        assert_int_equal(check(list, &why), MMQ_EINVAL);
        assert_ptr_equal(strstr(why.text, bad[i]), why.text);
    }
}

/* A thread that has yet to block them takes the signals that the program waits for. */
static void test_check_starts_threads_without_signals(void **state)
{
    (void)state;
    mmq_why why = {""};
    assert_int_equal(check("tcp://127.0.0.1:1,inproc://nobody-binds-it", &why), MMQ_OK);
    assert_true(threads_started > 0);
    assert_int_equal(threads_open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_starts_threads_without_signals),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
