/* What RFC 18 and docs/protocol.md promise of a broker, as a model that is told all that goes in
 * and sees all that comes out. It knows nothing of how the broker does it.
 *
 * - A request gets exactly one FINAL, with its id, at the client that sent it, by its deadline; its
 *   PARTIALs come before that, in order, each once. A client that is gone gets nothing more.
 * - A request is given to a worker that has registered for its service, as it was sent, with a
 * token never used before; to no second one while the first may still be at it, nor after a
 * PARTIAL, and to three at most (metric.write: one).
 * - A worker never has more open requests than its capacity.
 * - A worker that breaks the protocol is sent DISCONNECT in the same moment, and one that keeps to
 * it is not.
 *
 * A worker that has been silent for its liveness may or may not be gone: the model finds out from
 * what happens next. */
#ifndef MMQ_FUZZ_BROKER_MODEL_H
#define MMQ_FUZZ_BROKER_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "broker/core.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "metricmq/unpack.h"
#include "lib/envelope.h"

enum {
    MODEL_PEERS = 6, /* of each kind; the last two are local and have the names of the first two */
    MODEL_REQUESTS = 512,
    MODEL_GIVEN = 1024,
    MODEL_SERVICES = 3,
    MODEL_TRIES = 3,
    MODEL_TOKEN = 32,
};

#define MODEL_LIVENESS_NS       (3 * MMQ_NS_PER_S)
#define MODEL_PLAIN_LIVENESS_NS (10 * MMQ_NS_PER_S)
#define MODEL_SLACK_NS          (20 * MMQ_NS_PER_MS)

static const char *const model_services[MODEL_SERVICES] = {"a.service", "metric.write", "b"};

typedef enum model_life { MODEL_GONE, MODEL_ALIVE } model_life;

typedef struct model_worker {
    model_life life;
    int service; /* -1: one that no client asks for */
    unsigned capacity;
    bool plain;
    uint64_t epoch;        /* counts its registrations */
    int64_t heard_ns;      /* by the clock */
    int64_t forgiven_ns;   /* the same, moved on by the time in which the broker stood still */
    uint64_t told_to_go;   /* DISCONNECTs */
    uint64_t partial_most; /* bytes of PARTIALs that it sent for one request */
    mmq_err fault;         /* what becomes of messages to it */
} model_worker;

typedef struct model_client {
    int pending_mmi; /* answers to come */
    bool was_blocked;
    int64_t well_ns; /* since when it takes messages */
    mmq_err fault;
} model_client;

typedef struct model_request {
    int client, service;
    bool ended;    /* it had its FINAL, or its client is gone */
    bool answered; /* a worker's FINAL was sent for it while it was open */
    int64_t deadline_ns;
    uint64_t body_hash;
    size_t body_size;
    int given, partials;
    uint32_t last_part; /* number of the last PARTIAL forwarded */
} model_request;

/* A request in a worker's hands. */
typedef struct model_given {
    int request, worker;
    uint64_t epoch; /* of the worker */
    bool done;      /* the worker has sent its FINAL */
    uint8_t token[MODEL_TOKEN];
    size_t token_size;
    uint64_t bytes; /* of its PARTIALs */
} model_given;

static struct {
    int64_t now_ns;
    bool tight; /* answers may be dropped for want of room */
    model_worker workers[MODEL_PEERS];
    model_client clients[MODEL_PEERS];
    int request_count, given_count;
    model_request requests[MODEL_REQUESTS];
    model_given given[MODEL_GIVEN];
    uint32_t parts; /* numbers what workers send */
} model;

static inline mmq_side model_side(int peer, bool works)
{
    const bool local = peer >= MODEL_PEERS - 2;
    return works ? (local ? MMQ_SIDE_LOCAL_WORKERS : MMQ_SIDE_WORKERS)
                 : (local ? MMQ_SIDE_LOCAL_CLIENTS : MMQ_SIDE_CLIENTS);
}

static inline const char *model_name(int peer, bool works)
{
    static const char *const names[2][MODEL_PEERS] = {{"c0", "c1", "c2", "c3", "c0", "c1"},
                                                      {"w0", "c1", "w2", "w3", "w0", "c1"}};
    return names[works][peer];
}

static inline bool frame_is(const mmq_message *message, size_t index, const void *data, size_t size)
{
    return index < message->count && mmq_frame_size(&message->frames[index]) == size &&
           memcmp(mmq_frame_data(&message->frames[index]), data, size) == 0;
}

static inline int model_find_peer(mmq_side side, const mmq_message *message)
{
    const bool works = mmq_side_works(side);
    for (int i = 0; i < MODEL_PEERS; i++) {
        const char *name = model_name(i, works);
        if (model_side(i, works) == side && frame_is(message, 0, name, strlen(name))) {
            return i;
        }
    }
    return -1;
}

static inline uint64_t model_hash(const void *data, size_t size)
{
    const uint8_t *at = data;
    uint64_t hash = 14695981039346656037U;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ at[i]) * 1099511628211U;
    }
    return hash;
}

/* ---- workers ---------------------------------------------------------------------------- */

static inline int64_t model_liveness(const model_worker *worker)
{
    return worker->plain ? MODEL_PLAIN_LIVENESS_NS : MODEL_LIVENESS_NS;
}

/* It may have been given up for its silence. */
static inline bool model_may_be_gone(const model_worker *worker)
{
    return worker->life == MODEL_GONE ||
           model.now_ns - worker->heard_ns >= model_liveness(worker) - MODEL_SLACK_NS;
}

static inline bool model_holds(const model_given *given, int worker)
{
    return given->worker == worker && given->epoch == model.workers[worker].epoch && !given->done;
}

/* Requests that it surely still has: late ones are given up some time after their deadline. */
static inline unsigned model_held(int worker)
{
    unsigned held = 0;
    for (int i = 0; i < model.given_count; i++) {
        const model_request *request = &model.requests[model.given[i].request];
        const bool unsure = model.clients[request->client].was_blocked; /* its 504 may wait */
        held += model_holds(&model.given[i], worker) &&
                ((!request->ended && !unsure) || model.now_ns < request->deadline_ns);
    }
    return held;
}

/* The broker must have noticed that the one who had the request before is gone. */
static inline void model_check_left(int request)
{
    for (int i = 0; i < model.given_count; i++) {
        model_given *given = &model.given[i];
        if (given->request == request && model_holds(given, given->worker)) {
            model_worker *before = &model.workers[given->worker];
            CHECK(model_may_be_gone(before));
            before->life = MODEL_GONE;
            before->epoch++;
        }
    }
}

static inline int model_find_request(const mmq_frame *body)
{
    const size_t size = mmq_frame_size(body);
    const uint64_t hash = model_hash(mmq_frame_data(body), size);
    for (int i = 0; i < model.request_count; i++) {
        if (model.requests[i].body_hash == hash && model.requests[i].body_size == size) {
            return i;
        }
    }
    return -1;
}

static inline void model_check_token(const void *token, size_t size)
{
    CHECK(size >= 1 && size <= MODEL_TOKEN);
    for (int i = 0; i < model.given_count; i++) {
        CHECK(model.given[i].token_size != size || memcmp(model.given[i].token, token, size) != 0);
    }
}

static inline void model_gave(int worker_index, const mmq_message *message)
{
    model_worker *worker = &model.workers[worker_index];
    CHECK(message->count == 6 && frame_is(message, 4, "", 0) && model.given_count < MODEL_GIVEN);
    const mmq_frame *token = &message->frames[3];
    model_check_token(mmq_frame_data(token), mmq_frame_size(token));
    const int index = model_find_request(&message->frames[5]);
    CHECK(index >= 0 && worker->life == MODEL_ALIVE);
    model_request *request = &model.requests[index];
    CHECK(!request->ended && request->partials == 0 && request->service == worker->service);
    CHECK(request->given++ < (request->service == 1 ? 1 : MODEL_TRIES));
    model_check_left(index);
    if (model_held(worker_index) >= worker->capacity) {
        fprintf(stderr, "worker %d holds %u and is given request %d\n", worker_index,
                model_held(worker_index), index);
    }
    CHECK(worker->life == MODEL_ALIVE && model_held(worker_index) < worker->capacity);
    CHECK(worker->plain ||
          model.now_ns - worker->forgiven_ns <= MODEL_LIVENESS_NS + MODEL_SLACK_NS);
    model_given *given = &model.given[model.given_count++];
    *given = (model_given){index, worker_index, worker->epoch, false, {0}, 0, 0};
    given->token_size = mmq_frame_size(token);
    memcpy(given->token, mmq_frame_data(token), given->token_size);
}

static inline void model_lose_worker(int worker)
{
    model.workers[worker].life = MODEL_GONE;
    model.workers[worker].epoch++;
}

static inline mmq_err model_to_worker(int index, const mmq_message *message)
{
    CHECK(index >= 0 && message->count >= 3);
    model_worker *worker = &model.workers[index];
    CHECK(frame_is(message, 1, MMQ_WORKER_MAGIC, 6) && mmq_frame_size(&message->frames[2]) == 1);
    const uint8_t command = *(const uint8_t *)mmq_frame_data(&message->frames[2]);
    if (command == MMQ_WORKER_DISCONNECT) {
        CHECK(message->count == 3);
        worker->told_to_go++;
        model_lose_worker(index);
        return worker->fault;
    }
    CHECK(worker->life == MODEL_ALIVE);
    if (worker->fault != MMQ_OK) {
        if (worker->fault == MMQ_EUNREACHABLE) {
            model_lose_worker(index);
        }
        return worker->fault;
    }
    if (command == MMQ_WORKER_REQUEST) {
        model_gave(index, message);
    } else {
        CHECK(command == MMQ_WORKER_HEARTBEAT && message->count == 3);
    }
    return MMQ_OK;
}

/* ---- clients ---------------------------------------------------------------------------- */

/* The client is gone: nobody waits for its answers. */
static inline void model_lose_client(int client)
{
    model.clients[client].pending_mmi = 0;
    for (int i = 0; i < model.request_count; i++) {
        model.requests[i].ended |= model.requests[i].client == client;
    }
}

/* What a worker sends: its request's index and a number, so that it is known again. */
typedef struct model_part {
    uint32_t mark, request, number;
} model_part;

enum { MODEL_MARK = 0x57575757 };

/* The index that a header of the broker's bears as its id. */
static inline int model_find_id(const mmq_header *header)
{
    mmq_reader reader;
    mmq_value id;
    mmq_reader_init(&reader, header->id, header->id_size);
    CHECK(mmq_unpack(&reader, &id) == MMQ_OK);
    if (id.type == MMQ_STR) { /* see pack_id in fuzz_broker.c */
        int index = 0;
        for (size_t i = 0; i < id.text.size && id.text.data[i] != 'x'; i++) {
            index = index * 10 + id.text.data[i] - '0';
        }
        return index;
    }
    CHECK(id.type == MMQ_INT);
    return (int)id.integer;
}

static inline void model_end(model_request *request)
{
    CHECK(!request->ended);
    request->ended = true;
}

static inline void model_by_broker(int client, const mmq_frame *frame, bool final, size_t count)
{
    mmq_header header;
    CHECK(final && count == 5);
    CHECK(mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &header) == MMQ_OK);
    CHECK(header.status >= 400 && header.error.size > 0);
    const int index = model_find_id(&header);
    CHECK(index >= 0 && index < model.request_count);
    model_request *request = &model.requests[index];
    CHECK(request->client == client && (!request->answered || model.clients[client].was_blocked));
    CHECK(header.status != 504 || model.now_ns >= request->deadline_ns);
    model_end(request);
}

static inline void model_by_worker(int client, const model_part *part, bool final)
{
    CHECK((int)part->request < model.request_count);
    model_request *request = &model.requests[part->request];
    CHECK(request->client == client && !request->ended);
    CHECK(part->number > request->last_part && part->number <= model.parts);
    request->last_part = part->number;
    if (final) {
        model_end(request);
    } else {
        request->partials++;
    }
}

static inline mmq_err model_to_client(int index, const mmq_message *message)
{
    CHECK(index >= 0 && message->count >= 5 && frame_is(message, 1, MMQ_CLIENT_MAGIC, 6));
    model_client *client = &model.clients[index];
    const mmq_frame *body = &message->frames[4];
    const bool final = frame_is(message, 2, "\3", 1);
    CHECK(final || frame_is(message, 2, "\2", 1));
    if (client->fault != MMQ_OK) {
        if (client->fault == MMQ_EUNREACHABLE) {
            model_lose_client(index);
        }
        client->was_blocked |= client->fault == MMQ_EAGAIN;
        return client->fault;
    }
    model_part part = {0, 0, 0};
    if (mmq_frame_size(body) >= sizeof part) {
        memcpy(&part, mmq_frame_data(body), sizeof part);
    }
    if (mmq_frame_size(&message->frames[3]) > 4 &&
        memcmp(mmq_frame_data(&message->frames[3]), "mmi.", 4) == 0) {
        CHECK(final && client->pending_mmi-- > 0);
    } else if (part.mark == MODEL_MARK) {
        model_by_worker(index, &part, final);
    } else {
        model_by_broker(index, body, final, message->count);
    }
    return MMQ_OK;
}

/* ---- time ------------------------------------------------------------------------------- */

/* A worker that takes messages and has nothing to do, and a client that has nothing of that service
 * at any worker: then its request must not wait. */
static inline bool model_is_idle(int worker)
{
    bool idle = !model_may_be_gone(&model.workers[worker]) && model.workers[worker].fault == MMQ_OK;
    for (int i = 0; i < model.given_count && idle; i++) {
        idle = !model_holds(&model.given[i], worker);
    }
    return idle;
}

static inline void model_check_stuck(int request)
{
    const model_request *waits = &model.requests[request];
    for (int i = 0; i < model.given_count; i++) {
        const model_request *other = &model.requests[model.given[i].request];
        if (other->client == waits->client && other->service == waits->service && !other->ended) {
            return;
        }
    }
    for (int i = 0; i < MODEL_PEERS; i++) {
        const bool stuck = model.workers[i].service == waits->service && model_is_idle(i);
        if (stuck) {
            fprintf(stderr, "request %d of client %d waits, and worker %d is idle\n", request,
                    waits->client, i);
        }
        CHECK(!stuck);
    }
}

/* After a while in which the broker could do all that was due. */
static inline void model_check_waiting(void)
{
    for (int i = 0; i < model.request_count; i++) {
        const model_request *request = &model.requests[i];
        const model_client *client = &model.clients[request->client];
        const bool well =
            client->fault == MMQ_OK && model.now_ns - client->well_ns > MODEL_SLACK_NS;
        if (request->ended || !well || (model.tight && client->was_blocked)) {
            continue;
        }
        CHECK(model.now_ns < request->deadline_ns + MODEL_SLACK_NS && !request->answered);
        model_check_stuck(i);
    }
}

#endif
