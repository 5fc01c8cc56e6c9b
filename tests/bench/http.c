/* An HTTP client that keeps its connections, as lean as can be, for measuring servers:
 *
 *     bench_http PORT CONNECTIONS COUNT WARMUP HEADER...
 *
 * reads paths from standard input and asks for them on 127.0.0.1, in turn and over again: COUNT
 * times after WARMUP that do not count, each connection for its next one as soon as it has an
 * answer. HEADER is sent as it is. An answer must be 200, with Content-Length or in chunks; what it
 * holds is counted, not looked at. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/tool.h"

enum {
    BUFFER = 256 * 1024,
    PATHS_MAX = 10000,
    PATH_BYTES = 4096,
    REQUEST_MAX = 8192,
    CONNECTIONS_MAX = 1024,
    EVENTS = 64
};

/* What of an answer comes next. */
typedef enum part { HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, LAST_LINE } part;

typedef struct channel {
    int fd;
    bool asked; /* an answer is on its way */
    bench_clock began;
    part part;
    int64_t left;      /* of a body or a chunk */
    size_t begin, end; /* what was received and not yet read */
    char *buffer;
} channel;

static channel peers[CONNECTIONS_MAX];
static size_t peer_count;
static char *paths[PATHS_MAX];
static size_t path_count;
static char headers[REQUEST_MAX / 2];
static int64_t asked, answered, bytes;

static void open_connection(channel *peer, int64_t port, int poller)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    peer->buffer = bench_alloc(BUFFER);
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->fd < 0 || connect(peer->fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, peer->fd, &event) != 0) {
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

static void ask(channel *peer)
{
    char request[REQUEST_MAX];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n",
                        paths[(size_t)asked % path_count], headers);
    peer->began = bench_start();
    peer->part = HEAD;
    peer->asked = true;
    asked++;
    if (size < 0 || (size_t)size >= sizeof request ||
        send(peer->fd, request, (size_t)size, MSG_NOSIGNAL) != size) {
        bench_die("a request could not be sent");
    }
}

static void receive(channel *peer)
{
    memmove(peer->buffer, peer->buffer + peer->begin, peer->end - peer->begin);
    peer->end -= peer->begin;
    peer->begin = 0;
    ssize_t got = recv(peer->fd, peer->buffer + peer->end, BUFFER - peer->end, 0);
    if (got <= 0) {
        bench_die("the connection was closed in an answer");
    }
    peer->end += (size_t)got;
}

/* What stands before the next `stop`, NUL-ended; NULL: it has not come whole. */
static char *take_until(channel *peer, const char *stop)
{
    char *start = peer->buffer + peer->begin;
    char *found = memmem(start, peer->end - peer->begin, stop, strlen(stop));
    if (found == NULL) {
        if (peer->end - peer->begin == BUFFER) {
            bench_die("a line that is too long");
        }
        return NULL;
    }
    *found = '\0';
    peer->begin = (size_t)(found - peer->buffer) + strlen(stop);
    return start;
}

static bool take_head(channel *peer)
{
    const char *head = take_until(peer, "\r\n\r\n");
    if (head == NULL) {
        return false;
    }
    if (strncmp(head, "HTTP/1.1 200", 12) != 0) {
        bench_die("an answer with \"%.*s\"", (int)strcspn(head, "\r"), head);
    }
    const char *length = strcasestr(head, "\ncontent-length:");
    peer->part = length != NULL ? BODY : CHUNK_SIZE;
    peer->left = length != NULL ? strtoll(length + 16, NULL, 10) : 0;
    bytes += peer->left;
    return true;
}

static bool take_chunk_size(channel *peer)
{
    const char *line = take_until(peer, "\r\n");
    if (line == NULL) {
        return false;
    }
    peer->left = strtoll(line, NULL, 16);
    bytes += peer->left;
    peer->part = peer->left > 0 ? CHUNK : LAST_LINE;
    return true;
}

static bool take_bytes(channel *peer, part next)
{
    const int64_t there = (int64_t)(peer->end - peer->begin);
    const int64_t size = there < peer->left ? there : peer->left;
    peer->begin += (size_t)size;
    peer->left -= size;
    peer->part = peer->left == 0 ? next : peer->part;
    return peer->left == 0;
}

static void end_answer(channel *peer)
{
    peer->asked = false;
    answered++;
}

/* False: more must come first. */
static bool take_part(channel *peer)
{
    switch (peer->part) {
    case HEAD:
        return take_head(peer);
    case BODY:
        if (take_bytes(peer, HEAD)) {
            end_answer(peer);
            return true;
        }
        return false;
    case CHUNK_SIZE:
        return take_chunk_size(peer);
    case CHUNK:
        return take_bytes(peer, CHUNK_END);
    case CHUNK_END:
        if (take_until(peer, "\r\n") == NULL) {
            return false;
        }
        peer->part = CHUNK_SIZE;
        return true;
    case LAST_LINE:
        if (take_until(peer, "\r\n") == NULL) {
            return false;
        }
        end_answer(peer);
        return true;
    }
    return false;
}

static void wait_for_answers(int poller, bench_times *times)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
        channel *ready = events[i].data.ptr;
        receive(ready);
        while (ready->asked && take_part(ready)) {
        }
        if (!ready->asked && times != NULL) {
            bench_times_add(times, bench_since(ready->began));
        }
    }
}

/* Asks `count` times and waits for all the answers. */
static void ask_all(int poller, int64_t count, bench_times *times)
{
    asked = answered = bytes = 0;
    while (answered < count) {
        for (size_t i = 0; i < peer_count && asked < count; i++) {
            if (!peers[i].asked) {
                ask(&peers[i]);
            }
        }
        wait_for_answers(poller, times);
    }
}

static void measure(int poller, int64_t count, int64_t warmup)
{
    bench_times times;
    bench_times_init(&times, count);
    ask_all(poller, warmup, NULL);
    bench_clock start = bench_start();
    ask_all(poller, count, &times);
    bench_clock passed = bench_since(start);
    bench_report(passed, (bench_figure[]){{"bytes", (double)bytes},
                                          {"p50_us", bench_times_us(&times, 0.5)},
                                          {"p99_us", bench_times_us(&times, 0.99)},
                                          {NULL, 0}});
    bench_times_clear(&times);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("usage: bench_http PORT CONNECTIONS COUNT WARMUP HEADER... <PATHS\n", stderr);
        return 2;
    }
    for (int i = 5; i < argc; i++) {
        size_t used = strlen(headers);
        snprintf(headers + used, sizeof headers - used, "%s\r\n", argv[i]);
    }
    peer_count = (size_t)bench_number(argv[2]);
    if (peer_count < 1 || peer_count > CONNECTIONS_MAX) {
        bench_die("1 to %d connections", CONNECTIONS_MAX);
    }
    read_paths();
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < peer_count; i++) {
        open_connection(&peers[i], bench_number(argv[1]), poller);
    }
    measure(poller, bench_number(argv[3]), bench_number(argv[4]));
    for (size_t i = 0; i < peer_count; i++) {
        close(peers[i].fd);
        free(peers[i].buffer);
    }
    close(poller);
    for (size_t i = 0; i < path_count; i++) {
        free(paths[i]);
    }
    return 0;
}
