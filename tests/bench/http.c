/* An HTTP client that keeps its connection, as lean as can be, for measuring servers:
 *
 *     bench_http PORT COUNT WARMUP HEADER...   reads paths from standard input and asks for them on
 *                                              127.0.0.1, one after another and over again, COUNT
 *                                              times after WARMUP that do not count
 *
 * HEADER is sent as it is. An answer must be 200, with Content-Length or in chunks; what it holds
 * is counted, not looked at. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/tool.h"

enum { BUFFER = 256 * 1024, PATHS_MAX = 10000, PATH_BYTES = 4096, REQUEST_MAX = 8192 };

static int connection;
static char buffer[BUFFER];
static size_t begin, end; /* what was received and not yet read */
static char *paths[PATHS_MAX];
static size_t path_count;
static int64_t bytes;

static void open_connection(int64_t port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 ||
        connect(connection, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        bench_die("no connection to port %lld", (long long)port);
    }
}

static void read_paths(void)
{
    static char line[PATH_BYTES];
    while (path_count < PATHS_MAX && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        paths[path_count++] = strdup(line);
    }
    if (path_count == 0) {
        bench_die("no paths on standard input");
    }
}

/* Receives more; what was read is thrown away. */
static void receive(void)
{
    memmove(buffer, buffer + begin, end - begin);
    end -= begin;
    begin = 0;
    ssize_t got = recv(connection, buffer + end, sizeof buffer - end, 0);
    if (got <= 0) {
        bench_die("the connection was closed in an answer");
    }
    end += (size_t)got;
}

/* The next line without its end; valid until the next call. */
static char *read_line(void)
{
    char *stop;
    while ((stop = memmem(buffer + begin, end - begin, "\r\n", 2)) == NULL) {
        if (end - begin == sizeof buffer) {
            bench_die("a line that is too long");
        }
        receive();
    }
    char *line = buffer + begin;
    *stop = '\0';
    begin = (size_t)(stop - buffer) + 2;
    return line;
}

static void skip(int64_t size)
{
    while (size > 0) {
        if (begin == end) {
            receive();
        }
        int64_t there = (int64_t)(end - begin), part = there < size ? there : size;
        begin += (size_t)part;
        size -= part;
    }
}

static void read_chunks(void)
{
    int64_t size;
    do {
        size = strtoll(read_line(), NULL, 16);
        bytes += size;
        skip(size);
        read_line();
    } while (size > 0);
}

static void read_answer(void)
{
    int64_t length = -1;
    const char *status = read_line();
    if (strncmp(status, "HTTP/1.1 200", 12) != 0) {
        bench_die("an answer with \"%s\"", status);
    }
    for (const char *line = read_line(); *line != '\0'; line = read_line()) {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            length = strtoll(line + 15, NULL, 10);
        }
    }
    if (length < 0) {
        read_chunks();
    } else {
        bytes += length;
        skip(length);
    }
}

static void ask(const char *path, const char *headers)
{
    char request[REQUEST_MAX];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n",
                        path, headers);
    if (size < 0 || (size_t)size >= sizeof request ||
        send(connection, request, (size_t)size, MSG_NOSIGNAL) != size) {
        bench_die("a request could not be sent");
    }
    read_answer();
}

static void measure(int64_t count, int64_t warmup, const char *headers)
{
    bench_times times;
    bench_times_init(&times, count);
    bench_clock start = bench_start();
    for (int64_t i = 0; i < count + warmup; i++) {
        if (i == warmup) {
            bytes = 0;
            start = bench_start();
        }
        bench_clock began = bench_start();
        ask(paths[(size_t)i % path_count], headers);
        if (i >= warmup) {
            bench_times_add(&times, bench_since(began));
        }
    }
    bench_clock passed = bench_since(start);
    bench_report(passed, (bench_figure[]){{"bytes", (double)bytes},
                                          {"p50_us", bench_times_us(&times, 0.5)},
                                          {"p99_us", bench_times_us(&times, 0.99)},
                                          {NULL, 0}});
    bench_times_clear(&times);
}

int main(int argc, char **argv)
{
    static char headers[REQUEST_MAX / 2];
    if (argc < 4) {
        fputs("usage: bench_http PORT COUNT WARMUP HEADER... <PATHS\n", stderr);
        return 2;
    }
    for (int i = 4; i < argc; i++) {
        size_t used = strlen(headers);
        snprintf(headers + used, sizeof headers - used, "%s\r\n", argv[i]);
    }
    read_paths();
    open_connection(bench_number(argv[1]));
    measure(bench_number(argv[2]), bench_number(argv[3]), headers);
    close(connection);
    for (size_t i = 0; i < path_count; i++) {
        free(paths[i]);
    }
    return 0;
}
