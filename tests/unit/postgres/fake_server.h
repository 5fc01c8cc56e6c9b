/* A server that speaks PostgreSQL's protocol as far as the connection wants it, and then answers
 * what the test likes. A thread of the test plays it. */
#ifndef MMQ_TEST_FAKE_SERVER_H
#define MMQ_TEST_FAKE_SERVER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Bytes that the server sends. */
typedef struct text {
    uint8_t *at;
    size_t size, capacity;
} text;

typedef struct server server;
typedef void (*answer)(server *fake);

struct server {
    char folder[64], path[96], url[160];
    int listener, peer;
    pthread_t thread;
    answer handshake, first,
        then;     /* NULL: as it should be; first, then: of the test's statements */
    int executed; /* statements that the peer wanted to be run */
    text out;
};

/* ---- the protocol, as far as it is wanted --------------------------------------------------- */

static void put(server *fake, const void *data, size_t size)
{
    text *out = &fake->out;
    if (out->size + size > out->capacity) {
        out->capacity = 2 * (out->size + size);
        out->at = realloc(out->at, out->capacity);
        assert_non_null(out->at);
    }
    memcpy(out->at + out->size, data, size);
    out->size += size;
}

static void put_16(server *fake, unsigned number)
{
    uint16_t big = htobe16((uint16_t)number);
    put(fake, &big, sizeof big);
}

static void put_32(server *fake, uint32_t number)
{
    uint32_t big = htobe32(number);
    put(fake, &big, sizeof big);
}

static void put_64(server *fake, uint64_t number)
{
    uint64_t big = htobe64(number);
    put(fake, &big, sizeof big);
}

static void put_string(server *fake, const char *string)
{
    put(fake, string, strlen(string) + 1);
}

static size_t begin(server *fake, char kind)
{
    put(fake, &kind, 1);
    put_32(fake, 0);
    return fake->out.size - 4;
}

static void end(server *fake, size_t at)
{
    uint32_t big = htobe32((uint32_t)(fake->out.size - at));
    memcpy(fake->out.at + at, &big, sizeof big);
}

static void put_empty(server *fake, char kind)
{
    end(fake, begin(fake, kind));
}

static void put_ready(server *fake)
{
    size_t at = begin(fake, 'Z');
    put(fake, "I", 1);
    end(fake, at);
}

static void put_complete(server *fake, const char *tag)
{
    size_t at = begin(fake, 'C');
    put_string(fake, tag);
    end(fake, at);
}

/* The types of columns, ended by 0. */
static void put_description(server *fake, const uint32_t *types)
{
    size_t count = 0;
    while (types[count] != 0) {
        count++;
    }
    size_t at = begin(fake, 'T');
    put_16(fake, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        put_string(fake, "column");
        put_32(fake, 0);
        put_16(fake, 0);
        put_32(fake, types[i]);
        put_16(fake, 8);
        put_32(fake, UINT32_MAX);
        put_16(fake, 1);
    }
    end(fake, at);
}

static void put_value(server *fake, const void *data, size_t size)
{
    put_32(fake, (uint32_t)size);
    put(fake, data, size);
}

static void put_number(server *fake, uint64_t number)
{
    put_32(fake, 8);
    put_64(fake, number);
}

static void put_error(server *fake, const char *severity, const char *state, const char *message)
{
    size_t at = begin(fake, 'E');
    put(fake, "S", 1);
    put_string(fake, severity);
    put(fake, "V", 1);
    put_string(fake, severity);
    put(fake, "C", 1);
    put_string(fake, state);
    put(fake, "M", 1);
    put_string(fake, message);
    put(fake, "", 1);
    end(fake, at);
}

/* False: the peer has gone. */
static bool flush(server *fake)
{
    size_t sent = 0;
    while (sent < fake->out.size) {
        ssize_t n = send(fake->peer, fake->out.at + sent, fake->out.size - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        sent += (size_t)n;
    }
    fake->out.size = 0;
    return true;
}

static bool receive(server *fake, void *data, size_t size)
{
    return recv(fake->peer, data, size, MSG_WAITALL) == (ssize_t)size;
}

/* Reads a message and drops what it says; its kind, or 0 when the peer has gone. */
static char receive_message(server *fake, bool start)
{
    char kind = 's', drop[4096];
    uint32_t size;
    if ((!start && !receive(fake, &kind, 1)) || !receive(fake, &size, sizeof size)) {
        return 0;
    }
    for (size_t left = be32toh(size) - 4; left > 0;) {
        size_t part = left < sizeof drop ? left : sizeof drop;
        if (!receive(fake, drop, part)) {
            return 0;
        }
        left -= part;
    }
    return kind;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void shake_hands(server *fake)
{
    size_t at = begin(fake, 'R');
    put_32(fake, 0);
    end(fake, at);
    static const char *const parameters[][2] = {{"client_encoding", "UTF8"},
                                                {"server_version", "15.1"},
                                                {"in_hot_standby", "off"},
                                                {"default_transaction_read_only", "off"}};
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        at = begin(fake, 'S');
        put_string(fake, parameters[i][0]);
        put_string(fake, parameters[i][1]);
        end(fake, at);
    }
    at = begin(fake, 'K');
    put_64(fake, 1);
    end(fake, at);
    put_ready(fake);
}

static void say_what_it_is(server *fake)
{
    static const uint32_t types[] = {20, 20, 25, 25, 25, 0};
    put_description(fake, types);
    size_t at = begin(fake, 'D');
    put_16(fake, 5);
    put_number(fake, 150001);
    put_number(fake, 0);
    put_value(fake, "UTF8", 4);
    put_value(fake, "on", 2);
    put_value(fake, "on", 2);
    end(fake, at);
    put_complete(fake, "SELECT 1");
}

/* A row of one number. */
static void put_row(server *fake)
{
    size_t at = begin(fake, 'D');
    put_16(fake, 1);
    put_number(fake, 7);
    end(fake, at);
}

static void one_number(server *fake)
{
    static const uint32_t types[] = {20, 0};
    put_description(fake, types);
    put_row(fake);
    put_complete(fake, "SELECT 1");
}

static void execute(server *fake)
{
    int number = fake->executed++;
    put_empty(fake, '2');
    if (number < 2) {
        put_empty(fake, 'n');
        put_complete(fake, "SELECT 0");
    } else if (number == 2) {
        say_what_it_is(fake);
    } else {
        answer as = number == 3 ? fake->first : fake->then;
        (as != NULL ? as : one_number)(fake);
    }
}

/* Serves one connection after the other until the listener is shut. */
static void *serve(void *argument)
{
    server *fake = argument;
    while ((fake->peer = accept(fake->listener, NULL, NULL)) >= 0) {
        fake->executed = 0;
        bool there = receive_message(fake, true) != 0;
        fake->out.size = 0;
        (fake->handshake != NULL ? fake->handshake : shake_hands)(fake);
        there = there && flush(fake);
        while (there) {
            char kind = receive_message(fake, false);
            if (kind == 'P') {
                put_empty(fake, '1');
            } else if (kind == 'E') {
                execute(fake);
            } else if (kind == 'S') {
                put_ready(fake);
                there = flush(fake);
            }
            there = there && kind != 0 && kind != 'X';
        }
        (void)close(fake->peer);
    }
    return NULL;
}

static void fake_begin(server *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(fake->folder, sizeof fake->folder, "/tmp/mmq-fake-pg-XXXXXX");
    assert_non_null(mkdtemp(fake->folder));
    (void)snprintf(fake->path, sizeof fake->path, "%s/.s.PGSQL.5432", fake->folder);
    (void)snprintf(fake->url, sizeof fake->url, "postgresql://u@/db?host=%s", fake->folder);
    assert_int_equal(setenv("PGPASSWORD", "s3cret", 1), 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", fake->path);
    fake->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fake->listener, 8), 0);
    assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
}

static void fake_end(server *fake)
{
    (void)shutdown(fake->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
    (void)close(fake->listener);
    (void)unlink(fake->path);
    (void)rmdir(fake->folder);
    free(fake->out.at);
}

#endif
