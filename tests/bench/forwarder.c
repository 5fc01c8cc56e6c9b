/* The smallest forwarder that could stand in a broker's place: what a broker costs over it is what
 * routing by the rules costs. It has no queue, no heartbeats, no limits and no checks.
 *
 *     forwarder mdp  CLIENTS WORKERS    MDP/0.2: 5 frames in, 6 out, 6 in, 5 out
 *     forwarder bare CLIENTS WORKERS    peer, client and body: 3 frames each way
 *
 * A worker is whoever sent a message of two frames more than its identity, or fewer (READY or
 * HEARTBEAT); requests go to the workers in turn, to the first one until there is another. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { FRAMES_MAX = 8, WORKERS_MAX = 64, BURST = 256, PEER_MAX = 255 };

struct peer {
    unsigned char id[PEER_MAX];
    size_t size;
};

static struct peer workers[WORKERS_MAX];
static size_t worker_count, next_worker;

static void die(const char *what)
{
    fprintf(stderr, "forwarder: %s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

/* Frames of one message, 0 if there is none. */
static size_t receive(void *socket, zmq_msg_t *frames)
{
    size_t count = 0;
    do {
        zmq_msg_init(&frames[count]);
        if (zmq_msg_recv(&frames[count], socket, ZMQ_DONTWAIT) < 0) {
            return 0;
        }
    } while (zmq_msg_more(&frames[count++]) && count < FRAMES_MAX);
    return count;
}

static void send_bytes(void *socket, const void *data, size_t size)
{
    zmq_send(socket, data, size, ZMQ_SNDMORE | ZMQ_DONTWAIT);
}

static void send_frame(void *socket, zmq_msg_t *frame, bool more)
{
    if (zmq_msg_send(frame, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0) {
        zmq_msg_close(frame);
    }
}

static void close_frames(zmq_msg_t *frames, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        zmq_msg_close(&frames[i]);
    }
}

static void know_worker(zmq_msg_t *id)
{
    size_t size = zmq_msg_size(id);
    for (size_t i = 0; i < worker_count; i++) {
        if (workers[i].size == size && memcmp(workers[i].id, zmq_msg_data(id), size) == 0) {
            return;
        }
    }
    if (worker_count < WORKERS_MAX && size <= PEER_MAX) {
        memcpy(workers[worker_count].id, zmq_msg_data(id), size);
        workers[worker_count++].size = size;
    }
}

static void forward_request(void *to, zmq_msg_t *frames, size_t count, bool mdp)
{
    if (worker_count == 0) {
        close_frames(frames, count);
        return;
    }
    const struct peer *worker = &workers[next_worker++ % worker_count];
    send_bytes(to, worker->id, worker->size);
    if (mdp) {
        send_bytes(to, "MDPW02", 6);
        send_bytes(to, "\2", 1);
    }
    send_frame(to, &frames[0], true);
    if (mdp) {
        send_bytes(to, "", 0);
    }
    send_frame(to, &frames[count - 1], false);
    close_frames(frames + 1, count - 2);
}

static void forward_answer(void *to, zmq_msg_t *frames, size_t count, bool mdp)
{
    send_frame(to, &frames[mdp ? 3 : 1], true);
    if (mdp) {
        send_bytes(to, "MDPC02", 6);
        send_bytes(to, "\3", 1);
        send_bytes(to, "echo", 4);
    } else {
        send_bytes(to, "", 0);
    }
    send_frame(to, &frames[count - 1], false);
    close_frames(frames, count - 1);
}

static void drain(void *from, void *to, bool from_workers, bool mdp)
{
    zmq_msg_t frames[FRAMES_MAX];
    const size_t answer_frames = mdp ? 6 : 3;
    size_t count;
    for (int i = 0; i < BURST && (count = receive(from, frames)) > 0; i++) {
        if (!from_workers) {
            forward_request(to, frames, count, mdp);
        } else if (count == answer_frames) {
            forward_answer(to, frames, count, mdp);
        } else {
            know_worker(&frames[0]);
            close_frames(frames, count);
        }
    }
}

static void *bind_router(void *context, const char *endpoint)
{
    void *socket = zmq_socket(context, ZMQ_ROUTER);
    if (socket == NULL || zmq_bind(socket, endpoint) != 0) {
        die(endpoint);
    }
    return socket;
}

/* As bound; to be used before the next call but one. */
static const char *endpoint_of(void *socket)
{
    static char names[2][256];
    static int turn;
    char *name = names[turn++ % 2];
    size_t size = sizeof names[0];
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, name, &size) != 0) {
        die("endpoint");
    }
    return name;
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[1], "mdp") != 0 && strcmp(argv[1], "bare") != 0)) {
        fputs("usage: forwarder mdp|bare CLIENTS WORKERS\n", stderr);
        return 2;
    }
    bool mdp = strcmp(argv[1], "mdp") == 0;
    void *context = zmq_ctx_new();
    void *clients = bind_router(context, argv[2]);
    void *backend = bind_router(context, argv[3]);
    printf("forwarder ready %s %s\n", endpoint_of(clients), endpoint_of(backend));
    fflush(stdout);
    for (;;) {
        zmq_pollitem_t items[] = {{backend, 0, ZMQ_POLLIN, 0}, {clients, 0, ZMQ_POLLIN, 0}};
        zmq_poll(items, 2, -1);
        drain(backend, clients, true, mdp);
        drain(clients, backend, false, mdp);
    }
}
