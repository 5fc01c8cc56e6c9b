/* Servers that are none: silent, dying, or answering what no PostgreSQL answers. A thread plays the
 * server; the sanitizers look on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fake_server.h"
#include "lib/clock.h"
#include "metricmq/unpack.h"
#include "workers/store/postgres/link.h"

enum { PATIENCE_MS = 300 };

static mmq_why why;

/* ---- the peer ------------------------------------------------------------------------------- */

static const mmq_pg_statement statements[] = {{"SELECT 7", ""}, {"SELECT $1", "b"}};

static mmq_err connect_to(server *fake, mmq_pg_link **link)
{
    const mmq_pg_options options = {.url = fake->url,
                                    .statements = statements,
                                    .statement_count = 2,
                                    .connect_ms = PATIENCE_MS,
                                    .answer_ms = PATIENCE_MS};
    assert_int_equal(mmq_pg_open(&options, link, &why), MMQ_OK);
    return mmq_pg_connect(*link, &why);
}

static void check_sentence(void)
{
    assert_true(strlen(why.text) > 10);
    assert_true(mmq_utf8_valid(why.text, strlen(why.text)));
    assert_null(strstr(why.text, "s3cret"));
    for (const char *at = why.text; *at != '\0'; at++) {
        assert_true((unsigned char)*at >= ' ');
    }
}

/* No connection comes of such a handshake, and nobody waits longer than he said. */
static void refuses_handshake(answer handshake)
{
    server fake = {.handshake = handshake};
    mmq_pg_link *link;
    fake_begin(&fake);
    int64_t start_ns = mmq_now_ns();
    assert_int_equal(connect_to(&fake, &link), MMQ_EUNAVAILABLE);
    assert_true(mmq_now_ns() - start_ns < 10 * MMQ_NS_PER_S);
    assert_false(mmq_pg_connected(link));
    check_sentence();
    mmq_pg_close(&link);
    fake_end(&fake);
}

/* Asks; what comes of it. The connection is lost, or still good for the next statement. */
static mmq_err ask(answer first, int64_t *number)
{
    server fake = {.first = first};
    mmq_pg_link *link;
    bool row;
    fake_begin(&fake);
    assert_int_equal(connect_to(&fake, &link), MMQ_OK);
    int64_t start_ns = mmq_now_ns();
    *number = -1;
    mmq_err err = mmq_pg_queue(link, 0, NULL, &why);
    if (err == MMQ_OK && (err = mmq_pg_step(link, &row, &why)) == MMQ_OK && row) {
        bool right = mmq_pg_column_int(mmq_pg_row_at(link), 0, 0, INT64_MAX, number);
        err = mmq_pg_finish(link, &why);
        *number = right ? *number : -2;
    }
    assert_true(mmq_now_ns() - start_ns < 10 * MMQ_NS_PER_S);
    if (err != MMQ_OK) {
        check_sentence();
    }
    assert_int_equal(mmq_pg_queued(link), 0);
    if (mmq_pg_connected(link)) {
        int64_t again;
        assert_int_equal(mmq_pg_queue(link, 0, NULL, &why), MMQ_OK);
        assert_int_equal(mmq_pg_step(link, &row, &why), MMQ_OK);
        assert_true(row);
        assert_true(mmq_pg_column_int(mmq_pg_row_at(link), 0, 7, 7, &again));
    }
    mmq_pg_close(&link);
    fake_end(&fake);
    return err;
}

/* ---- handshakes ----------------------------------------------------------------------------- */

static void say_nothing(server *fake)
{
    (void)fake;
}

static void say_rubbish(server *fake)
{
    put_string(fake, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
}

static void say_go_away(server *fake)
{
    put_error(fake, "FATAL", "28P01", "password \x01 authentication \xff failed\nfor\tyou");
}

static void hang_up(server *fake)
{
    (void)shutdown(fake->peer, SHUT_RDWR);
}

static void ask_for_plain_password(server *fake)
{
    size_t at = begin(fake, 'R');
    put_32(fake, 3);
    end(fake, at);
}

static void handshakes(void **state)
{
    (void)state;
    refuses_handshake(say_nothing);
    refuses_handshake(say_rubbish);
    refuses_handshake(say_go_away);
    refuses_handshake(hang_up);
    refuses_handshake(ask_for_plain_password);
}

/* ---- answers to a statement ----------------------------------------------------------------- */

static void as_it_should_be(void **state)
{
    (void)state;
    int64_t number;
    assert_int_equal(ask(NULL, &number), MMQ_OK);
    assert_int_equal(number, 7);
}

static void other_type(server *fake)
{
    static const uint32_t types[] = {701, 0};
    put_description(fake, types);
    put_row(fake);
    put_complete(fake, "SELECT 1");
}

static void no_column(server *fake)
{
    static const uint32_t types[] = {0};
    put_description(fake, types);
    size_t at = begin(fake, 'D');
    put_16(fake, 0);
    end(fake, at);
    put_complete(fake, "SELECT 1");
}

static void short_column(server *fake)
{
    static const uint32_t types[] = {20, 0};
    put_description(fake, types);
    size_t at = begin(fake, 'D');
    put_16(fake, 1);
    put_value(fake, "abc", 3);
    end(fake, at);
    put_complete(fake, "SELECT 1");
}

static void null_column(server *fake)
{
    static const uint32_t types[] = {20, 0};
    put_description(fake, types);
    size_t at = begin(fake, 'D');
    put_16(fake, 1);
    put_32(fake, UINT32_MAX);
    end(fake, at);
    put_complete(fake, "SELECT 1");
}

static void wrong_columns(void **state)
{
    (void)state;
    static const answer answers[] = {other_type, no_column, short_column, null_column};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        int64_t number;
        assert_int_equal(ask(answers[i], &number), MMQ_OK);
        assert_int_equal(number, -2);
    }
}

static void fewer_than_said(server *fake)
{
    static const uint32_t types[] = {20, 20, 0};
    put_description(fake, types);
    put_row(fake);
    put_complete(fake, "SELECT 1");
}

static void longer_than_message(server *fake)
{
    static const uint32_t types[] = {20, 0};
    put_description(fake, types);
    size_t at = begin(fake, 'D');
    put_16(fake, 1);
    put_value(fake, "abcdefgh", 8);
    end(fake, at);
    fake->out.at[fake->out.size - 9] = 200; /* of 8 bytes */
    put_complete(fake, "SELECT 1");
}

static void row_without_description(server *fake)
{
    put_row(fake);
    put_complete(fake, "SELECT 1");
}

static void half_a_message(server *fake)
{
    static const uint32_t types[] = {20, 0};
    put_description(fake, types);
    put(fake, "D\0\0\0\x12\0", 6);
    (void)flush(fake);
    (void)shutdown(fake->peer, SHUT_RDWR);
}

static void never_the_rest(server *fake)
{
    static const uint32_t types[] = {20, 0};
    put_description(fake, types);
    put(fake, "D\x3f\xff\xff\xff\0\1\0", 8);
    (void)flush(fake);
    while (receive_message(fake, false) != 0) {
    }
}

/* Each byte comes in time, and the whole never. */
static void drips(server *fake)
{
    static const uint32_t types[] = {17, 0};
    put_description(fake, types);
    put(fake, "D\x0f\xff\xff\xff\0\1\x0f\xff\xff\0", 11);
    while (flush(fake)) {
        (void)usleep(5000);
        put(fake, "x", 1);
    }
}

static void falls_silent(server *fake)
{
    while (receive_message(fake, false) != 0) {
    }
}

static void copies(server *fake)
{
    size_t at = begin(fake, 'H');
    put(fake, "\0\0\0", 3);
    end(fake, at);
}

static void fatal(server *fake)
{
    put_error(fake, "FATAL", "57P01", "terminating connection");
    (void)flush(fake);
    (void)shutdown(fake->peer, SHUT_RDWR);
}

static void ready_too_early(server *fake)
{
    put_ready(fake);
    put_ready(fake);
    put_ready(fake);
}

static void unknown_kind(server *fake)
{
    put(fake, "\x7f\0\0\0\4", 5);
}

static void lost_connections(void **state)
{
    (void)state;
    static const answer answers[] = {fewer_than_said,
                                     longer_than_message,
                                     row_without_description,
                                     half_a_message,
                                     never_the_rest,
                                     drips,
                                     falls_silent,
                                     copies,
                                     fatal,
                                     ready_too_early,
                                     unknown_kind};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        int64_t number;
        if (ask(answers[i], &number) != MMQ_EUNAVAILABLE) {
            fail_msg("answer %zu: %" PRId64 " %s", i, number, why.text);
        }
    }
}

/* Who is in a hurry waits no longer than he says, and never longer than before. */
static void hurried(void **state)
{
    (void)state;
    server fake = {.first = falls_silent};
    mmq_pg_link *link;
    bool row;
    fake_begin(&fake);
    const mmq_pg_options options = {
        .url = fake.url, .statements = statements, .statement_count = 2, .answer_ms = 60000};
    assert_int_equal(mmq_pg_open(&options, &link, &why), MMQ_OK);
    assert_int_equal(mmq_pg_connect(link, &why), MMQ_OK);
    mmq_pg_hurry(link, PATIENCE_MS);
    mmq_pg_hurry(link, 60000);
    int64_t start_ns = mmq_now_ns();
    assert_int_equal(mmq_pg_queue(link, 0, NULL, &why), MMQ_OK);
    assert_int_equal(mmq_pg_step(link, &row, &why), MMQ_EUNAVAILABLE);
    assert_true(mmq_now_ns() - start_ns < 20 * MMQ_NS_PER_S);
    assert_false(mmq_pg_connected(link));
    mmq_pg_close(&link);
    fake_end(&fake);
}

static void odd_error(server *fake)
{
    put_error(fake, "ERROR",
              "\xff\x01"
              "zzz",
              "\x1b[31m red \xc3 \r\n");
}

static void long_error(server *fake)
{
    static char message[9000];
    for (size_t i = 0; i + 2 < sizeof message; i += 2) {
        memcpy(message + i, "\xc3\xa9", 2);
    }
    put_error(fake, "ERROR", "42P01", message);
}

static void errors_of_any_bytes(void **state)
{
    (void)state;
    int64_t number;
    assert_int_equal(ask(odd_error, &number), MMQ_EIO);
    assert_int_equal(ask(long_error, &number), MMQ_ECORRUPT);
}

/* ---- without end ---------------------------------------------------------------------------- */

static void rows_without_end(server *fake)
{
    static const uint32_t types[] = {20, 0};
    put_description(fake, types);
    while (flush(fake)) {
        for (int i = 0; i < 1000; i++) {
            put_row(fake);
        }
    }
}

static long peak_kb(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

static void endless_rows(void **state)
{
    (void)state;
    server fake = {.first = rows_without_end};
    mmq_pg_link *link;
    bool row;
    fake_begin(&fake);
    assert_int_equal(connect_to(&fake, &link), MMQ_OK);
    assert_int_equal(mmq_pg_queue(link, 0, NULL, &why), MMQ_OK);
    assert_int_equal(mmq_pg_step(link, &row, &why), MMQ_OK);
    long before_kb = peak_kb();
    for (int i = 0; i < 200000; i++) {
        assert_int_equal(mmq_pg_step(link, &row, &why), MMQ_OK);
        assert_true(row);
    }
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* they keep what was freed */
    assert_true(peak_kb() - before_kb < 4096);
#else
    (void)before_kb;
#endif
    assert_int_equal(mmq_pg_finish(link, &why), MMQ_EUNAVAILABLE);
    assert_false(mmq_pg_connected(link));
    check_sentence();
    mmq_pg_close(&link);
    fake_end(&fake);
}

/* A server that talks while nobody asked it: the connection is left for another. */
static void chatter(server *fake)
{
    one_number(fake);
    put_ready(fake);
    (void)flush(fake);
    for (int i = 0; i < 200; i++) {
        size_t at = begin(fake, 'S');
        put_string(fake, "application_name");
        put_string(fake, "x");
        end(fake, at);
    }
    (void)flush(fake);
    (void)shutdown(fake->peer, SHUT_WR);
}

static void chatters(void **state)
{
    (void)state;
    server fake = {.first = chatter};
    mmq_pg_link *link;
    fake_begin(&fake);
    assert_int_equal(connect_to(&fake, &link), MMQ_OK);
    for (int i = 0; i < 3; i++) {
        mmq_err err = mmq_pg_run(link, 0, NULL, &why);
        assert_true(err == MMQ_OK || err == MMQ_EUNAVAILABLE);
        err = MMQ_OK;
        int64_t end_ns = mmq_now_ns() + 20 * MMQ_NS_PER_S;
        uint64_t serial = mmq_pg_connection(link);
        while (err == MMQ_OK && mmq_pg_connection(link) == serial && mmq_now_ns() < end_ns) {
            err = mmq_pg_connect(link, &why);
        }
        assert_int_equal(err, MMQ_OK);
        assert_true(mmq_pg_connection(link) > serial);
    }
    mmq_pg_close(&link);
    fake_end(&fake);
}

/* A server that takes no bytes does not hold up the sender beyond the bound. */
static void takes_nothing(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    server fake = {.first = drips};
    mmq_pg_link *link;
    mmq_pg_values values = {0};
    char *bytes = calloc(1, SIZE);
    fake_begin(&fake);
    assert_int_equal(connect_to(&fake, &link), MMQ_OK);
    assert_int_equal(mmq_pg_queue(link, 0, NULL, &why), MMQ_OK);
    mmq_pg_bind_bytes(&values, 1, bytes, SIZE);
    int64_t start_ns = mmq_now_ns();
    assert_int_equal(mmq_pg_queue(link, 1, &values, &why), MMQ_OK);
    assert_int_equal(mmq_pg_finish(link, &why), MMQ_EUNAVAILABLE);
    assert_true(mmq_now_ns() - start_ns < 10 * MMQ_NS_PER_S);
    mmq_pg_close(&link);
    fake_end(&fake);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshakes),    cmocka_unit_test(as_it_should_be),
        cmocka_unit_test(wrong_columns), cmocka_unit_test(lost_connections),
        cmocka_unit_test(hurried),       cmocka_unit_test(errors_of_any_bytes),
        cmocka_unit_test(endless_rows),  cmocka_unit_test(chatters),
        cmocka_unit_test(takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
