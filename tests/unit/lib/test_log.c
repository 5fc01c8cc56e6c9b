/* Log lines as they leave the process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/json.h"
#include "lib/log.h"
#include "metricmq/unpack.h"

enum { CAPTURE_MAX = 8 * 1024 * 1024 };

static char captured[CAPTURE_MAX];
static int capture_file, real_stderr;

/* A file in memory rather than a pipe: nobody needs to read it while it is written. */
static void begin_capture(void)
{
    capture_file = memfd_create("log", 0);
    assert_true(capture_file >= 0);
    assert_int_equal(fcntl(capture_file, F_SETFL, O_APPEND), 0);
    real_stderr = dup(STDERR_FILENO);
    assert_true(real_stderr >= 0 && dup2(capture_file, STDERR_FILENO) >= 0);
}

static size_t end_capture(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    ssize_t size = pread(capture_file, captured, sizeof captured - 1, 0);
    close(capture_file);
    assert_true(size >= 0);
    captured[size] = '\0';
    return (size_t)size;
}

static void assert_matches(const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&regex, captured, 0, NULL, 0) != 0) {
        fail_msg("%s does not match %s", captured, pattern);
    }
    regfree(&regex);
}

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

static void logfmt_lines(void **state)
{
    (void)state;
    mmq_log_setup(MMQ_INFO, false);
    mmq_log_role("broker");
    begin_capture();
    mmq_log(MMQ_INFO, "worker ready", MMQ_S("service", "metric.query"), MMQ_I("capacity", 8));
    end_capture();
    assert_matches("^ts=" TIME " level=info role=broker msg=\"worker ready\" "
                   "service=metric.query capacity=8\n$");
    mmq_log_role(NULL);
    begin_capture();
    mmq_log(MMQ_ERROR, "x", MMQ_S("a", ""), MMQ_S("b", "k=v"), MMQ_SN("c", "abc", 2));
    end_capture();
    assert_matches("^ts=" TIME " level=error msg=x a=\"\" b=\"k=v\" c=ab\n$");
}

static void json_lines(void **state)
{
    (void)state;
    mmq_log_setup(MMQ_DEBUG, true);
    mmq_log_role("query");
    begin_capture();
    mmq_log(MMQ_DEBUG, "hello", MMQ_S("q", "a\"b\\c\n"), MMQ_I("n", INT64_MIN));
    size_t size = end_capture();
    assert_matches(
        "^\\{\"ts\":\"" TIME "\",\"level\":\"debug\",\"role\":\"query\","
        "\"msg\":\"hello\",\"q\":\"a\\\\\"b\\\\\\\\c\\\\n\",\"n\":-9223372036854775808}\n$");
    assert_int_equal(mmq_json_check(captured, size, NULL), MMQ_OK);
    mmq_log_role(NULL);
}

static void lower_levels_are_silent(void **state)
{
    (void)state;
    mmq_log_setup(MMQ_WARN, false);
    begin_capture();
    mmq_log(MMQ_INFO, "not shown", MMQ_I("a", 1));
    assert_int_equal(end_capture(), 0);
}

static void assert_one_clean_line(size_t size, bool json)
{
    assert_true(size > 0 && size <= PIPE_BUF);
    assert_ptr_equal(strchr(captured, '\n'), captured + size - 1);
    assert_int_equal(strlen(captured), size);
    assert_true(mmq_utf8_valid(captured, size));
    for (size_t i = 0; i + 1 < size; i++) {
        assert_true((unsigned char)captured[i] >= 0x20 && captured[i] != 0x7f);
    }
    for (char *nul = captured;
         (nul = strstr(nul, "\\u0000"));) { /* our check takes none of these */
        nul[5] = '1';
    }
    if (json) {
        assert_int_equal(mmq_json_check(captured, size, NULL), MMQ_OK);
    }
}

/* Whatever bytes a peer sends: one line, no control characters, UTF-8. */
static void hostile_values_stay_inside_their_field(void **state)
{
    char value[4096];
    (void)state;
    for (int json = 0; json <= 1; json++) {
        mmq_log_setup(MMQ_INFO, json);
        for (unsigned first = 0; first < 256; first++) {
            for (size_t i = 0; i < sizeof value; i++) {
                value[i] = (char)(first + i * (first % 7));
            }
            begin_capture();
            mmq_log(MMQ_INFO, "m", MMQ_SN("v", value, sizeof value), MMQ_SN("w", value, 3),
                    MMQ_SN("x", value, sizeof value), MMQ_SN("y", value, sizeof value),
                    MMQ_SN("z", value, sizeof value), MMQ_I("end", 1));
            assert_one_clean_line(end_capture(), json);
            assert_non_null(strstr(captured, json ? "\"end\":1" : " end=1"));
        }
    }
}

static void terminal_controls_are_escaped(void **state)
{
    (void)state;
    mmq_log_setup(MMQ_INFO, false);
    begin_capture();
    mmq_log(MMQ_INFO, "m", MMQ_S("v", "\x1b[31m\xc2\x9b\xc3\xa9\r"));
    assert_one_clean_line(end_capture(), false);
    assert_non_null(strstr(captured, "v=\"\\u001b[31m\\u00c2\\u009b\xc3\xa9\\u000d\""));
}

enum { THREADS = 4, LINES = 1000 };

static void *log_lines(void *unused)
{
    char value[900];
    (void)unused;
    memset(value, 'v', sizeof value);
    mmq_log_role("thread");
    for (int i = 0; i < LINES; i++) {
        mmq_log(MMQ_INFO, "line", MMQ_SN("v", value, sizeof value), MMQ_I("n", i));
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    pthread_t threads[THREADS];
    size_t lines = 0;
    (void)state;
    mmq_log_setup(MMQ_INFO, true);
    begin_capture();
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    end_capture();
    for (const char *at = captured; *at; lines++) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        assert_int_equal(mmq_json_check(at, (size_t)(end - at), NULL), MMQ_OK);
        at = end + 1;
    }
    assert_int_equal(lines, THREADS * LINES);
}

static void events_that_come_often(void **state)
{
    (void)state;
    mmq_log_pace pace = {0};
    assert_int_equal(mmq_log_due(&pace, 5, 100), 1);
    for (int64_t now_ns = 5; now_ns < 105; now_ns++) {
        assert_int_equal(mmq_log_due(&pace, now_ns, 100), 0);
    }
    assert_int_equal(mmq_log_due(&pace, 105, 100), 101);
    assert_int_equal(mmq_log_due(&pace, 106, 100), 0);
    assert_int_equal(mmq_log_due(&pace, INT64_MAX, 100), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt_lines),
        cmocka_unit_test(json_lines),
        cmocka_unit_test(lower_levels_are_silent),
        cmocka_unit_test(hostile_values_stay_inside_their_field),
        cmocka_unit_test(terminal_controls_are_escaped),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(events_that_come_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
