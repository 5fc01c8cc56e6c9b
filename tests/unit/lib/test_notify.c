/* What is read of the environment and leaves it, and what goes out when (sd_notify(3)). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/notify.h"

typedef struct manager {
    int socket;
    char address[64];
    mmq_notify notify;
} manager;

static int begin(void **state)
{
    manager *m = calloc(1, sizeof *m);
    assert_non_null(m);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int size = snprintf(m->address, sizeof m->address, "@metricmq-unit-%d", getpid());
    memcpy(address.sun_path + 1, m->address + 1, (size_t)size - 1);
    m->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(m->socket, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)size)),
                     0);
    (void)unsetenv("WATCHDOG_PID");
    assert_int_equal(setenv("NOTIFY_SOCKET", m->address, 1), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
    *state = m;
    return 0;
}

static int end(void **state)
{
    manager *m = *state;
    mmq_notify_clear(&m->notify);
    close(m->socket);
    free(m);
    return 0;
}

/* "" if nothing has come. */
static const char *next(const manager *m)
{
    static char text[1024];
    const ssize_t size = recv(m->socket, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

static void test_environment(void **state)
{
    manager *m = *state;
    char pid[32];
    snprintf(pid, sizeof pid, "%d", getpid());
    assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
    mmq_notify_init(&m->notify);
    assert_true(mmq_notify_has_manager(&m->notify));
    assert_int_equal(m->notify.watchdog_ns, 30000000000);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
}

static void test_nobody(void **state)
{
    manager *m = *state;
    (void)unsetenv("NOTIFY_SOCKET");
    mmq_notify_init(&m->notify);
    assert_false(mmq_notify_has_manager(&m->notify));
    assert_int_equal(m->notify.watchdog_ns, 0);
    mmq_notify_status(&m->notify, "x");
    mmq_notify_life(&m->notify, MMQ_LIFE_READY);
    mmq_notify_flush(&m->notify);
    assert_false(mmq_notify_ping(&m->notify));
    assert_string_equal(next(m), "");
}

static void test_what_is_said(void **state)
{
    manager *m = *state;
    mmq_notify_init(&m->notify);
    mmq_notify_status(&m->notify, "a\nREADY=1\x7f\xc3");
    assert_string_equal(next(m), "STATUS=a?READY=1??\n");
    mmq_notify_status(&m->notify, "a\tREADY=1\x7f\xc3"); /* the same, for who reads it */
    assert_string_equal(next(m), "");
    mmq_notify_life(&m->notify, MMQ_LIFE_READY);
    assert_string_equal(next(m), "READY=1\n");
    assert_true(mmq_notify_ping(&m->notify));
    assert_string_equal(next(m), "WATCHDOG=1\n");
    mmq_notify_life(&m->notify, MMQ_LIFE_RELOADING);
    long long us;
    assert_int_equal(sscanf(next(m), "RELOADING=1\nMONOTONIC_USEC=%lld\n", &us), 1);
    mmq_notify_life(&m->notify, MMQ_LIFE_STOPPING);
    assert_string_equal(next(m), "STOPPING=1\n");
    char longest[2 * MMQ_NOTIFY_TEXT_MAX];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    mmq_notify_status(&m->notify, longest);
    assert_int_equal(strlen(next(m)), strlen("STATUS=\n") + MMQ_NOTIFY_TEXT_MAX - 1);
}

/* Of what was not taken the latest is owed. */
static void test_owed(void **state)
{
    manager *m = *state;
    mmq_notify_init(&m->notify);
    const int before = m->notify.socket;
    m->notify.socket = dup(STDIN_FILENO); /* no socket: nothing is taken */
    mmq_notify_life(&m->notify, MMQ_LIFE_READY);
    mmq_notify_life(&m->notify, MMQ_LIFE_RELOADING);
    mmq_notify_life(&m->notify, MMQ_LIFE_READY);
    mmq_notify_status(&m->notify, "one");
    mmq_notify_status(&m->notify, "two");
    assert_false(mmq_notify_ping(&m->notify));
    close(m->notify.socket);
    m->notify.socket = before;
    mmq_notify_flush(&m->notify);
    assert_string_equal(next(m), "READY=1\nSTATUS=two\n");
    mmq_notify_flush(&m->notify);
    assert_string_equal(next(m), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_environment, begin, end),
        cmocka_unit_test_setup_teardown(test_nobody, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_said, begin, end),
        cmocka_unit_test_setup_teardown(test_owed, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
