/* The floors below which nothing that moves bytes can go:
 *
 *     bench_floor memcpy  BYTES           copies so many bytes, a batch of rows at a time
 *     bench_floor send    ENDPOINT BYTES  connects and pushes them in frames of 256 KiB
 *     bench_floor forward FRONT BACK      binds both and passes frames on, for ever
 *     bench_floor receive ENDPOINT BYTES  connects and pulls them
 *     bench_floor http    BYTES           a libmicrohttpd server that answers each GET with so many
 *                                         bytes from memory, for ever: in blocks as the adapter
 *                                         gives them, or whole up to 64 KiB
 *
 * Frames are sent from one buffer that libzmq does not copy; nobody looks at them. */
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/bench/tool.h"

enum {
    FRAME = 256 * 1024,
    BATCH = 32 * 1024, /* four columns of 1,024 rows */
    BLOCK = 32 * 1024, /* as the adapter asks of libmicrohttpd */
    POOL = 32 * 1024,  /* likewise */
    WHOLE = 64 * 1024, /* bytes that are answered with their length */
    LINGER_MS = 60000,
    HWM = 8, /* frames: a queue that outgrows the caches makes it slower */
    ENDPOINT_MAX = 256
};

static const size_t SOURCE_MOST = (size_t)256 * 1024 * 1024; /* more than any cache */

static char frame[FRAME];

static void say(bench_clock start, int64_t bytes)
{
    bench_report(bench_since(start), (bench_figure[]){{"bytes", (double)bytes}, {NULL, 0}});
}

static void copy_bytes(int64_t bytes)
{
    const size_t size = (size_t)bytes < SOURCE_MOST ? (size_t)bytes + BATCH : SOURCE_MOST;
    char *source = bench_alloc(size), *out = bench_alloc(BATCH);
    memset(source, 1, size);
    size_t at = 0;
    bench_clock start = bench_start();
    for (int64_t left = bytes; left > 0; left -= BATCH, at += BATCH) {
        at = at + BATCH > size ? 0 : at;
        memcpy(out, source + at, BATCH);
        __asm__ volatile("" : : "r"(out) : "memory"); /* it is used */
    }
    say(start, bytes);
    free(source);
    free(out);
}

/* ---- the smallest forwarder ------------------------------------------------------------- */

static void *open_socket(void *context, int type, const char *endpoint, int bound)
{
    const int linger = LINGER_MS, hwm = HWM;
    void *socket = zmq_socket(context, type);
    if (socket == NULL || zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_setsockopt(socket, ZMQ_SNDHWM, &hwm, sizeof hwm) != 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof hwm) != 0 ||
        (bound ? zmq_bind(socket, endpoint) : zmq_connect(socket, endpoint)) != 0) {
        bench_die("%s: %s", endpoint, zmq_strerror(zmq_errno()));
    }
    return socket;
}

static void send_frames(const char *endpoint, int64_t bytes)
{
    void *context = zmq_ctx_new();
    void *socket = open_socket(context, ZMQ_PUSH, endpoint, 0);
    for (int64_t left = bytes; left > 0; left -= FRAME) {
        zmq_msg_t msg;
        zmq_msg_init_data(&msg, frame, left < FRAME ? (size_t)left : FRAME, NULL, NULL);
        if (zmq_msg_send(&msg, socket, 0) < 0) {
            bench_die("send: %s", zmq_strerror(zmq_errno()));
        }
    }
    zmq_close(socket);
    zmq_ctx_term(context);
}

static void print_endpoint(void *socket)
{
    char name[ENDPOINT_MAX];
    size_t size = sizeof name;
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, name, &size) != 0) {
        bench_die("endpoint: %s", zmq_strerror(zmq_errno()));
    }
    printf("%s\n", name);
}

static void forward(const char *front, const char *back)
{
    void *context = zmq_ctx_new();
    void *in = open_socket(context, ZMQ_PULL, front, 1);
    void *out = open_socket(context, ZMQ_PUSH, back, 1);
    print_endpoint(in);
    print_endpoint(out);
    fflush(stdout);
    for (;;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, in, 0) < 0 || zmq_msg_send(&msg, out, 0) < 0) {
            bench_die("forward: %s", zmq_strerror(zmq_errno()));
        }
    }
}

static void receive_frames(const char *endpoint, int64_t bytes)
{
    bench_clock start = bench_start();
    void *context = zmq_ctx_new();
    void *socket = open_socket(context, ZMQ_PULL, endpoint, 0);
    for (int64_t left = bytes; left > 0;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, socket, 0) < 0) {
            bench_die("receive: %s", zmq_strerror(zmq_errno()));
        }
        left -= (int64_t)zmq_msg_size(&msg);
        zmq_msg_close(&msg);
    }
    say(start, bytes);
    zmq_close(socket);
    zmq_ctx_term(context);
}

/* ---- HTTP from memory ------------------------------------------------------------------- */

static int64_t answer_bytes;

/* libmicrohttpd asks for blocks, as it does of the adapter: the length is not known beforehand. */
static ssize_t read_block(void *context, uint64_t at, char *out, size_t room)
{
    (void)context;
    int64_t left = answer_bytes - (int64_t)at;
    if (left <= 0) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t offset = at % FRAME, size = room < FRAME - offset ? room : FRAME - offset;
    size = (int64_t)size < left ? size : (size_t)left;
    memcpy(out, frame + offset, size);
    return (ssize_t)size;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state)
{
    (void)context, (void)url, (void)method, (void)version, (void)data, (void)size;
    if (*state == NULL) { /* who answers before the request is whole loses the connection */
        *state = frame;
        return MHD_YES;
    }
    struct MHD_Response *response =
        answer_bytes > WHOLE
            ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_block, NULL, NULL)
            : MHD_create_response_from_buffer((size_t)answer_bytes, frame, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static void serve(int64_t bytes)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    answer_bytes = bytes;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL, MHD_OPTION_END);
    if (daemon == NULL) {
        bench_die("libmicrohttpd does not start");
    }
    printf("http://127.0.0.1:%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    for (;;) {
        pause();
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    memset(frame, 'x', sizeof frame);
    if (strcmp(what, "memcpy") == 0 && argc == 3) {
        copy_bytes(bench_number(argv[2]));
    } else if (strcmp(what, "send") == 0 && argc == 4) {
        send_frames(argv[2], bench_number(argv[3]));
    } else if (strcmp(what, "forward") == 0 && argc == 4) {
        forward(argv[2], argv[3]);
    } else if (strcmp(what, "receive") == 0 && argc == 4) {
        receive_frames(argv[2], bench_number(argv[3]));
    } else if (strcmp(what, "http") == 0 && argc == 3) {
        serve(bench_number(argv[2]));
    } else {
        fputs("usage: bench_floor memcpy BYTES | send ENDPOINT BYTES | forward FRONT BACK |"
              " receive ENDPOINT BYTES | http BYTES\n",
              stderr);
        return 2;
    }
    return 0;
}
