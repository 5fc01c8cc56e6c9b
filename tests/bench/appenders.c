/* Clients that append, as lean as libzmq allows, for measuring the write worker and its store.
 *
 *     appenders rows    CLIENTS ENDPOINT SECONDS   each client: one row, its answer, the next row
 *     appenders batches ROWS    ENDPOINT BYTES     ROWS rows of one metric in bodies of BYTES, all
 *                                                  made before; the next one goes out with the
 *                                                  answer to the one before
 *
 * prints one line when all is answered: requests=N rows=N seconds=S rate=R p50_us=L p99_us=L, where
 * rate is of requests. The first half second of `rows` does not count. Stops at an answer that is
 * not 200. Between the preparations of `batches` and its run, it prints "ready" and waits for a
 * line. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum {
    CLIENTS_MAX = 1000,
    ROW_SIZE = 1 + 5 + 3 * 9,
    HEAD_SIZE = 128, /* of a body, before its rows */
    FRAMES_MAX = 8,
    BUCKETS = 1000000,
    WARMUP_NS = 500000000,
    FIRST_TIME = 1400000000,
};

struct client {
    void *socket;
    int64_t sent_ns;
    unsigned char body[HEAD_SIZE + ROW_SIZE];
    size_t size;
    unsigned rows;
};

static struct client clients[CLIENTS_MAX];
static void *context;
static uint64_t took_us[BUCKETS];
static int64_t run_id;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "appenders: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *open_dealer(const char *endpoint)
{
    const int linger = 0;
    void *socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_connect(socket, endpoint) != 0) {
        die(endpoint, zmq_strerror(zmq_errno()));
    }
    return socket;
}

/* ---- bodies ------------------------------------------------------------------------------- */

static unsigned char *put_text(unsigned char *at, const char *text)
{
    const size_t size = strlen(text);
    *at = (unsigned char)(0xa0 | size);
    memcpy(at + 1, text, size);
    return at + 1 + size;
}

static unsigned char *put_number(unsigned char *at, unsigned char head, uint64_t number,
                                 size_t size)
{
    *at++ = head;
    for (size_t i = size; i-- > 0;) {
        *at++ = (unsigned char)(number >> (8 * i));
    }
    return at;
}

static unsigned char *put_double(unsigned char *at, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_number(at, 0xcb, bits, 8);
}

static unsigned char *put_row(unsigned char *at, uint32_t number)
{
    *at++ = 0x94;
    at = put_number(at, 0xce, FIRST_TIME + 60 * number, 4);
    at = put_double(at, number % 1009 / 7.0);
    at = put_double(at, 0.0301029996659);
    return put_double(at, number % 101 / 101.0);
}

static unsigned char *put_append(unsigned char *at, const char *uid, size_t rows_size)
{
    *at++ = 0x84;
    at = put_text(put_text(at, "op"), "append");
    at = put_text(put_text(at, "id"), "1");
    at = put_text(put_text(at, "uid"), uid);
    return put_number(put_text(at, "rows"), 0xdb, rows_size, 4);
}

static void name_metric(char *out, size_t size, int number)
{
    snprintf(out, size, "bench-%lld-%d", (long long)run_id % 100000000, number);
}

/* ---- calls -------------------------------------------------------------------------------- */

static void send_body(void *socket, const void *body, size_t size)
{
    zmq_send(socket, "MDPC02", 6, ZMQ_SNDMORE);
    zmq_send(socket, "\1", 1, ZMQ_SNDMORE);
    zmq_send(socket, "metric.write", 12, ZMQ_SNDMORE);
    if (zmq_send(socket, body, size, 0) < 0) {
        die("send", zmq_strerror(zmq_errno()));
    }
}

static bool is_good(zmq_msg_t *header)
{
    static const char wanted[] = "\xa6status\xcc\xc8";
    return memmem(zmq_msg_data(header), zmq_msg_size(header), wanted, sizeof wanted - 1) != NULL;
}

/* Waits for the FINAL: protocol, command, service, header, payload. */
static void take_answer(void *socket)
{
    zmq_msg_t frames[FRAMES_MAX];
    size_t count = 0;
    do {
        zmq_msg_init(&frames[count]);
        if (zmq_msg_recv(&frames[count], socket, 0) < 0) {
            die("receive", zmq_strerror(zmq_errno()));
        }
    } while (zmq_msg_more(&frames[count++]) && count < FRAMES_MAX);
    if (count < 4 || !is_good(&frames[3])) {
        die("an answer that is not 200", count < 4 ? "" : (char *)zmq_msg_data(&frames[3]));
    }
    for (size_t i = 0; i < count; i++) {
        zmq_msg_close(&frames[i]);
    }
}

static void create_metric(void *socket, int number)
{
    unsigned char body[256], *at = body;
    char uid[64];
    name_metric(uid, sizeof uid, number);
    *at++ = 0x83;
    at = put_text(put_text(at, "op"), "create");
    at = put_text(put_text(at, "id"), "0");
    at = put_text(at, "metric");
    *at++ = 0x83;
    at = put_text(put_text(at, "uid"), uid);
    at = put_text(put_text(at, "datasource"), "custom");
    at = put_text(put_text(at, "name"), uid);
    send_body(socket, body, (size_t)(at - body));
    take_answer(socket);
}

static uint64_t percentile(uint64_t requests, double share)
{
    uint64_t seen = 0, at = 0;
    while ((seen += took_us[at]) < (uint64_t)((double)requests * share) && at + 1 < BUCKETS) {
        at++;
    }
    return at;
}

static void count_answer(int64_t took_ns)
{
    const int64_t us = took_ns / 1000;
    took_us[us < BUCKETS ? us : BUCKETS - 1]++;
}

static void report(uint64_t requests, uint64_t rows, int64_t run_ns)
{
    const double seconds = (double)run_ns / 1e9;
    printf("requests=%llu rows=%llu seconds=%.3f rate=%.0f p50_us=%llu p99_us=%llu\n",
           (unsigned long long)requests, (unsigned long long)rows, seconds,
           (double)requests / seconds, (unsigned long long)percentile(requests, 0.5),
           (unsigned long long)percentile(requests, 0.99));
}

/* ---- rows --------------------------------------------------------------------------------- */

static void send_row(struct client *client)
{
    put_row(client->body + client->size, client->rows++);
    client->sent_ns = now_ns();
    send_body(client->socket, client->body, client->size + ROW_SIZE);
}

static void begin_client(struct client *client, const char *endpoint, int number)
{
    char uid[64];
    name_metric(uid, sizeof uid, number);
    client->socket = open_dealer(endpoint);
    create_metric(client->socket, number);
    client->size = (size_t)(put_append(client->body, uid, ROW_SIZE) - client->body);
}

static void append_rows(int count, const char *endpoint, int64_t run_ns)
{
    static zmq_pollitem_t items[CLIENTS_MAX];
    uint64_t requests = 0;
    for (int i = 0; i < count; i++) {
        begin_client(&clients[i], endpoint, i);
        items[i] = (zmq_pollitem_t){clients[i].socket, 0, ZMQ_POLLIN, 0};
    }
    const int64_t start_ns = now_ns() + WARMUP_NS, end_ns = start_ns + run_ns;
    for (int i = 0; i < count; i++) {
        send_row(&clients[i]);
    }
    for (int64_t now = now_ns(); now < end_ns; now = now_ns()) {
        zmq_poll(items, count, 1000);
        for (int i = 0; i < count; i++) {
            if (items[i].revents & ZMQ_POLLIN) {
                take_answer(clients[i].socket);
                if (now >= start_ns) {
                    requests++;
                    count_answer(now_ns() - clients[i].sent_ns);
                }
                send_row(&clients[i]);
            }
        }
    }
    report(requests, requests, run_ns);
}

/* ---- batches ------------------------------------------------------------------------------ */

/* The bodies behind each other, each of `rows` rows but for the last. */
static unsigned char *make_batches(uint32_t total, uint32_t rows, size_t *head)
{
    unsigned char *all = malloc((total / rows + 1) * (HEAD_SIZE + (size_t)rows * ROW_SIZE));
    char uid[64];
    unsigned char *at = all;
    name_metric(uid, sizeof uid, 0);
    for (uint32_t done = 0; all != NULL && done < total;) {
        const uint32_t count = total - done < rows ? total - done : rows;
        unsigned char *body = at;
        at = put_append(at, uid, (size_t)count * ROW_SIZE);
        *head = (size_t)(at - body);
        for (const uint32_t end = done + count; done < end; done++) {
            at = put_row(at, done);
        }
    }
    return all;
}

static void append_batches(uint32_t total, const char *endpoint, size_t bytes)
{
    const uint32_t rows = (uint32_t)(bytes / ROW_SIZE);
    size_t head = 0;
    void *socket = open_dealer(endpoint);
    create_metric(socket, 0);
    unsigned char *all = make_batches(total, rows, &head), *at = all;
    if (all == NULL) {
        die("batches", "no memory");
    }
    printf("ready\n");
    fflush(stdout);
    (void)getchar();
    const int64_t start_ns = now_ns();
    uint64_t requests = 0;
    for (uint32_t done = 0; done < total; requests++) {
        const uint32_t count = total - done < rows ? total - done : rows;
        const int64_t sent_ns = now_ns();
        send_body(socket, at, head + (size_t)count * ROW_SIZE);
        take_answer(socket);
        count_answer(now_ns() - sent_ns);
        at += head + (size_t)count * ROW_SIZE;
        done += count;
    }
    report(requests, total, now_ns() - start_ns);
    free(all);
}

int main(int argc, char **argv)
{
    if (argc != 5 || (strcmp(argv[1], "rows") != 0 && strcmp(argv[1], "batches") != 0) ||
        atoi(argv[2]) < 1 || atof(argv[4]) <= 0) {
        fputs("usage: appenders rows CLIENTS ENDPOINT SECONDS\n"
              "       appenders batches ROWS ENDPOINT BYTES\n",
              stderr);
        return 2;
    }
    context = zmq_ctx_new();
    run_id = now_ns();
    if (argv[1][0] == 'r') {
        const int count = atoi(argv[2]);
        append_rows(count < CLIENTS_MAX ? count : CLIENTS_MAX, argv[3],
                    (int64_t)(atof(argv[4]) * 1e9));
    } else {
        append_batches((uint32_t)atoi(argv[2]), argv[3], (size_t)atof(argv[4]));
    }
    return 0;
}
