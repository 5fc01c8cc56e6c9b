/* One client and some workers that echo, as lean as libzmq allows, for measuring what is between
 * them: `peers mdp|bare CLIENTS WORKERS COUNT IN_FLIGHT SECONDS` prints one line:
 *
 *     requests=N seconds=S rate=R p50_us=L all=N
 *
 * The first half second does not count, but for `all`.
 *
 * mdp speaks MDP/0.2 with stock workers of capacity IN_FLIGHT; bare sends the body alone. The body
 * bears the time it was sent at: nothing is looked up. */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum { FRAMES_MAX = 8, WORKERS_MAX = 64, BUCKETS = 200000, WARMUP_NS = 500000000, BODY_SIZE = 64 };

static void *context;
static bool mdp;
static const char *worker_endpoint, *capacity;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *open_dealer(const char *endpoint)
{
    const int hwm = 100000, linger = 0;
    void *socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &hwm, sizeof hwm);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof hwm);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_connect(socket, endpoint) != 0) {
        fprintf(stderr, "peers: %s: %s\n", endpoint, zmq_strerror(zmq_errno()));
        exit(1);
    }
    return socket;
}

static void say(void *socket, const char *command, const char *service, const char *extra)
{
    zmq_send(socket, mdp ? "MDPW02" : "", mdp ? 6 : 0, mdp ? ZMQ_SNDMORE : 0);
    if (mdp) {
        zmq_send(socket, command, 1, service != NULL ? ZMQ_SNDMORE : 0);
    }
    if (mdp && service != NULL) {
        zmq_send(socket, service, strlen(service), extra != NULL ? ZMQ_SNDMORE : 0);
    }
    if (mdp && service != NULL && extra != NULL) {
        zmq_send(socket, extra, strlen(extra), 0);
    }
}

static size_t receive(void *socket, zmq_msg_t *frames, int flags)
{
    size_t count = 0;
    do {
        zmq_msg_init(&frames[count]);
        if (zmq_msg_recv(&frames[count], socket, flags) < 0) {
            return 0;
        }
    } while (zmq_msg_more(&frames[count++]) && count < FRAMES_MAX);
    return count;
}

/* Sends the request back as it came, as FINAL. */
static void answer(void *socket, zmq_msg_t *frames, size_t count)
{
    if (mdp) {
        memcpy(zmq_msg_data(&frames[1]), "\4", 1);
    }
    for (size_t i = 0; i < count; i++) {
        zmq_msg_send(&frames[i], socket, i + 1 < count ? ZMQ_SNDMORE : 0);
    }
}

static void *run_worker(void *unused)
{
    void *socket = open_dealer(worker_endpoint);
    say(socket, "\1", "echo", capacity);
    int64_t beat_ns = now_ns();
    for (;;) {
        zmq_msg_t frames[FRAMES_MAX];
        zmq_pollitem_t item = {socket, 0, ZMQ_POLLIN, 0};
        if (zmq_poll(&item, 1, 500) > 0) {
            size_t count;
            while ((count = receive(socket, frames, ZMQ_DONTWAIT)) > 0) {
                if (count == (mdp ? 5 : 2)) {
                    answer(socket, frames, count);
                }
            }
        }
        if (mdp && now_ns() - beat_ns > 1000000000) {
            say(socket, "\5", NULL, NULL);
            beat_ns = now_ns();
        }
    }
    return unused;
}

static void ask(void *socket)
{
    unsigned char body[BODY_SIZE] = {0x80}; /* an empty msgpack map, then what nobody reads */
    int64_t sent_ns = now_ns();
    memcpy(body + 8, &sent_ns, sizeof sent_ns);
    if (mdp) {
        zmq_send(socket, "MDPC02", 6, ZMQ_SNDMORE);
        zmq_send(socket, "\1", 1, ZMQ_SNDMORE);
        zmq_send(socket, "echo", 4, ZMQ_SNDMORE);
    } else {
        zmq_send(socket, "", 0, ZMQ_SNDMORE);
    }
    zmq_send(socket, body, sizeof body, 0);
}

/* How long the next answer took. */
static int64_t take_answer(void *socket)
{
    zmq_msg_t frames[FRAMES_MAX];
    size_t count = receive(socket, frames, 0);
    int64_t sent_ns;
    if (count == 0 || zmq_msg_size(&frames[count - 1]) != BODY_SIZE) {
        fputs("peers: an answer that is no echo\n", stderr);
        exit(1);
    }
    memcpy(&sent_ns, (unsigned char *)zmq_msg_data(&frames[count - 1]) + 8, sizeof sent_ns);
    for (size_t i = 0; i < count; i++) {
        zmq_msg_close(&frames[i]);
    }
    return now_ns() - sent_ns;
}

static void measure(void *socket, int in_flight, int64_t run_ns)
{
    static uint64_t took_us[BUCKETS];
    int64_t start_ns = now_ns() + WARMUP_NS, end_ns = start_ns + run_ns, now;
    uint64_t requests = 0, seen = 0, all = 0;
    for (int i = 0; i < in_flight; i++) {
        ask(socket);
    }
    while ((now = now_ns()) < end_ns) {
        int64_t us = take_answer(socket) / 1000;
        ask(socket);
        all++;
        if (now >= start_ns) {
            requests++;
            took_us[us < BUCKETS ? us : BUCKETS - 1]++;
        }
    }
    size_t p50 = 0;
    while ((seen += took_us[p50]) < requests / 2) {
        p50++;
    }
    printf("requests=%llu seconds=%.3f rate=%.0f p50_us=%zu all=%llu\n",
           (unsigned long long)requests, (double)run_ns / 1e9,
           (double)requests / ((double)run_ns / 1e9), p50, (unsigned long long)all);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fputs("usage: peers mdp|bare CLIENTS WORKERS COUNT IN_FLIGHT SECONDS\n", stderr);
        return 2;
    }
    mdp = strcmp(argv[1], "mdp") == 0;
    context = zmq_ctx_new();
    worker_endpoint = argv[3];
    capacity = argv[5];
    for (int i = 0; i < atoi(argv[4]) && i < WORKERS_MAX; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, run_worker, NULL);
    }
    struct timespec settle = {0, 300000000}; /* READYs are under way; a forwarder has no queue */
    nanosleep(&settle, NULL);
    measure(open_dealer(argv[2]), atoi(argv[5]), (int64_t)(atof(argv[6]) * 1e9));
    return 0;
}
