/* Bytes as the life of a broker's core: clients and workers that keep to the protocol or do not,
 * vanish, do not read, and time that passes. broker_model.h says what must hold; at the end, when
 * all time is over, nothing is left. Input: a byte for the bounds, then steps of three bytes: what,
 * who, and how; some take more bytes behind them. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/state.h"
#include "tests/fuzz/broker_model.h"
#include "lib/buffer.h"
#include "lib/log.h"
#include "metricmq/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    BROKER_STEPS = 300,
    BROKER_BODY_BIG = 3000,
    BROKER_PART_BIG = 1 << 20,
    BROKER_QUEUE = 8,
    BROKER_JOBS = 24,
    BROKER_ROOM = 64 << 20,
    BROKER_ROOM_TIGHT = 256 << 10,
};

static mmq_core *broker_core;

/* The input, as far as it has been read. */
typedef struct broker_input {
    const uint8_t *at, *end;
} broker_input;

static uint8_t take_byte(broker_input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static mmq_err model_send(void *context, mmq_side side, mmq_message *message)
{
    (void)context;
    const int peer = model_find_peer(side, message);
    mmq_err err =
        mmq_side_works(side) ? model_to_worker(peer, message) : model_to_client(peer, message);
    if (err == MMQ_OK) {
        mmq_message_clear(message);
    }
    return err;
}

static void begin_message(mmq_message *message, int peer, bool works)
{
    const char *name = model_name(peer, works);
    mmq_message_init(message);
    CHECK(mmq_message_append_copy(message, name, strlen(name)) == MMQ_OK);
}

static void append_bytes(mmq_message *message, const void *data, size_t size)
{
    CHECK(mmq_message_append_copy(message, data, size) == MMQ_OK);
}

/* ---- clients ---------------------------------------------------------------------------- */

/* The request's index, as a number or as a text. */
static void pack_id(mmq_buffer *body, int index, bool text)
{
    char id[128];
    if (!text) {
        mmq_pack_int(body, index);
        return;
    }
    (void)snprintf(id, sizeof id, "%dx%.*s", index, index % 100,
                   "0123456789012345678901234567890123456789012345678901234567890123456789"
                   "01234567890123456789012345678901234567890");
    mmq_pack_cstr(body, id);
}

/* Some are no timeouts, and count as the default. */
static unsigned pack_timeout(mmq_buffer *body, uint8_t how)
{
    static const int64_t timeouts[] = {1, 50, 1000, 5000, 30000, 300000, 0, -1, 300001};
    const int64_t timeout = timeouts[how % (sizeof timeouts / sizeof *timeouts)];
    mmq_pack_cstr(body, "timeout");
    mmq_pack_int(body, timeout);
    return timeout >= 1 && timeout <= MMQ_TIMEOUT_MAX_MS ? (unsigned)timeout
                                                         : MMQ_TIMEOUT_DEFAULT_MS;
}

static void pack_request(mmq_buffer *body, int index, uint8_t how, unsigned *timeout_ms)
{
    static const char filler[BROKER_BODY_BIG];
    mmq_pack_map(body, 3);
    mmq_pack_cstr(body, "id");
    pack_id(body, index, (how & 0x40) != 0);
    *timeout_ms = pack_timeout(body, how & 0x0f);
    mmq_pack_cstr(body, "x");
    mmq_pack_text(body, filler, (how & 0x80) != 0 ? sizeof filler : 0);
    CHECK(!body->failed);
}

static void client_asks(int client, uint8_t what, uint8_t how)
{
    if (model.request_count == MODEL_REQUESTS || model.given_count > MODEL_GIVEN - 64) {
        return;
    }
    const int index = model.request_count++, service = what % MODEL_SERVICES;
    unsigned timeout_ms;
    mmq_message message;
    mmq_buffer body;
    mmq_buffer_init(&body, 1 << 16);
    pack_request(&body, index, how, &timeout_ms);
    model.requests[index] = (model_request){
        .client = client,
        .service = service,
        .deadline_ns = model.now_ns + timeout_ms * MMQ_NS_PER_MS,
        .body_hash = model_hash(body.data, body.size),
        .body_size = body.size,
    };
    begin_message(&message, client, false);
    const char *name = model_services[service];
    CHECK(mmq_envelope_begin_client(&message, MMQ_CLIENT_REQUEST, name, strlen(name)) == MMQ_OK);
    append_bytes(&message, body.data, body.size);
    mmq_core_receive(broker_core, model_side(client, false), &message, model.now_ns);
    mmq_buffer_clear(&body);
}

static void client_asks_mmi(int client, uint8_t how)
{
    static const char *const names[] = {"mmi.service", "mmi.stats", "mmi.x"};
    const char *name = names[how % 3], *body = model_services[how / 3 % MODEL_SERVICES];
    mmq_message message;
    begin_message(&message, client, false);
    CHECK(mmq_envelope_begin_client(&message, MMQ_CLIENT_REQUEST, name, strlen(name)) == MMQ_OK);
    append_bytes(&message, body, strlen(body));
    model.clients[client].pending_mmi++;
    mmq_core_receive(broker_core, model_side(client, false), &message, model.now_ns);
}

/* Frames of any bytes, as many as there are: each a byte of size and that many. */
static void append_raw(mmq_message *message, broker_input *input, unsigned frames)
{
    for (; frames > 0; frames--) {
        size_t size = take_byte(input);
        const size_t left = (size_t)(input->end - input->at);
        size = size < left ? size : left;
        append_bytes(message, input->at, size);
        input->at += size;
    }
}

/* What is a request after all has an id that the model does not know, so it is not sent. */
static void client_sends_raw(int client, broker_input *input, uint8_t how)
{
    mmq_message message;
    mmq_envelope envelope;
    mmq_why why;
    begin_message(&message, client, false);
    append_raw(&message, input, how % 8);
    if (mmq_envelope_parse_client(&message, 1, &envelope, &why) != MMQ_OK ||
        envelope.command != MMQ_CLIENT_REQUEST) {
        mmq_core_receive(broker_core, model_side(client, false), &message, model.now_ns);
    }
    mmq_message_clear(&message);
}

/* ---- workers ---------------------------------------------------------------------------- */

/* How the broker may take a worker's message. */
typedef enum broker_verdict { VERDICT_GOOD, VERDICT_BAD, VERDICT_EITHER } broker_verdict;

/* Hands the message in and checks that the worker is told to go if, and only if, it must. */
static void worker_sends(int index, mmq_message *message, broker_verdict verdict)
{
    model_worker *worker = &model.workers[index];
    const uint64_t told = worker->told_to_go;
    mmq_core_receive(broker_core, model_side(index, true), message, model.now_ns);
    const bool told_now = worker->told_to_go != told;
    CHECK(verdict != VERDICT_BAD || told_now);
    CHECK(verdict != VERDICT_GOOD || !told_now);
    if (!told_now && worker->life == MODEL_ALIVE) {
        worker->heard_ns = worker->forgiven_ns = model.now_ns;
    }
}

/* Of what a registered worker may say at any time. */
static broker_verdict usual_verdict(const model_worker *worker)
{
    if (worker->life == MODEL_GONE) {
        return VERDICT_BAD;
    }
    return model_may_be_gone(worker) ? VERDICT_EITHER : VERDICT_GOOD;
}

static bool reserved(const char *service)
{
    return strncmp(service, "mmi.", 4) == 0;
}

/* It is a worker of that service from now on, if the broker does not send it away; the model must
 * know before, since requests come at once. */
static void register_worker(int index, mmq_message *message, int service, unsigned capacity,
                            bool must_fail)
{
    model_worker *worker = &model.workers[index], before = *worker;
    const broker_verdict verdict =
        must_fail || (before.life == MODEL_ALIVE && !model_may_be_gone(&before)) ? VERDICT_BAD
                                                                                 : VERDICT_EITHER;
    if (verdict == VERDICT_EITHER) {
        worker->life = MODEL_ALIVE;
        worker->epoch++;
        worker->service = service;
        worker->capacity = capacity > 0 ? capacity : 1;
        worker->plain = capacity == 0;
        worker->heard_ns = worker->forgiven_ns = model.now_ns;
    }
    worker_sends(index, message, verdict);
}

static void worker_registers(int index, uint8_t what, uint8_t how)
{
    static const unsigned capacities[] = {0, 1, 2, 3, 1000};
    static const char *const others[] = {"mmi.x", "other", "foo.mmi.x"};
    const int kind = what % (MODEL_SERVICES + 3);
    const char *name = kind < MODEL_SERVICES ? model_services[kind] : others[kind - MODEL_SERVICES];
    const unsigned capacity = capacities[how % 5];
    mmq_message message;
    begin_message(&message, index, true);
    CHECK(mmq_envelope_ready(&message, name, capacity) == MMQ_OK);
    register_worker(index, &message, kind < MODEL_SERVICES ? kind : -1, capacity, reserved(name));
}

static void worker_says(int index, uint8_t how)
{
    static const mmq_worker_command commands[] = {MMQ_WORKER_HEARTBEAT, MMQ_WORKER_HEARTBEAT,
                                                  MMQ_WORKER_DISCONNECT};
    const mmq_worker_command command = commands[how % 3];
    mmq_message message;
    begin_message(&message, index, true);
    CHECK(mmq_envelope_begin_worker(&message, command, NULL, 0) == MMQ_OK);
    if (command == MMQ_WORKER_DISCONNECT) {
        if (model.workers[index].life == MODEL_ALIVE) {
            model_lose_worker(index);
        }
        worker_sends(index, &message, VERDICT_GOOD);
    } else {
        worker_sends(index, &message, usual_verdict(&model.workers[index]));
    }
}

/* One of those that the worker, or any, was given last. */
static model_given *pick_given(int worker, uint8_t which, bool own)
{
    for (int i = model.given_count; i-- > 0;) {
        if ((!own || model.given[i].worker == worker) && which-- == 0) {
            return &model.given[i];
        }
    }
    return NULL;
}

static void append_part(mmq_message *message, const model_given *given, size_t size)
{
    static uint8_t bytes[BROKER_PART_BIG];
    const model_part part = {MODEL_MARK, (uint32_t)given->request, ++model.parts};
    memcpy(bytes, &part, sizeof part);
    append_bytes(message, bytes, size > sizeof part ? size : sizeof part);
}

/* Tells the model what the worker is about to answer; returns how the broker may take it. */
static broker_verdict note_answer(int index, model_given *given, bool final, size_t size)
{
    model_worker *worker = &model.workers[index];
    model_request *request = &model.requests[given->request];
    broker_verdict verdict = usual_verdict(worker);
    if (given->worker != index || given->epoch != worker->epoch) {
        return VERDICT_BAD;
    }
    if (!final && !given->done) {
        given->bytes += size;
        verdict = given->bytes > MMQ_FRAME_LIMIT / 2 ? VERDICT_EITHER : verdict;
    }
    if (final && verdict == VERDICT_GOOD) {
        request->answered |= !request->ended && !given->done;
    }
    given->done |= final && verdict != VERDICT_BAD;
    return verdict;
}

static void worker_answers(int index, uint8_t which, uint8_t how)
{
    model_given *given = pick_given(index, which % 8, how != 0xff);
    const bool final = (how & 1) != 0;
    const size_t size = (how & 0xf0) == 0xf0 ? BROKER_PART_BIG : (size_t)(how >> 1) * 16;
    mmq_message message;
    if (given == NULL) {
        return;
    }
    begin_message(&message, index, true);
    CHECK(mmq_envelope_begin_worker(&message, final ? MMQ_WORKER_FINAL : MMQ_WORKER_PARTIAL,
                                    given->token, given->token_size) == MMQ_OK);
    append_part(&message, given, size);
    worker_sends(index, &message, note_answer(index, given, final, size));
}

/* Frames of any bytes. */
static void worker_sends_raw(int index, broker_input *input, uint8_t how)
{
    mmq_message message;
    mmq_envelope envelope;
    mmq_why why;
    begin_message(&message, index, true);
    append_raw(&message, input, how % 8);
    if (mmq_envelope_parse_worker(&message, 1, &envelope, &why) != MMQ_OK) {
        worker_sends(index, &message, VERDICT_BAD);
    } else if (envelope.command == MMQ_WORKER_REQUEST || envelope.command == MMQ_WORKER_PARTIAL ||
               envelope.command == MMQ_WORKER_FINAL) {
        worker_sends(index, &message, VERDICT_BAD); /* nobody guesses a token */
    }
    mmq_message_clear(&message);
}

/* ---- time and faults -------------------------------------------------------------------- */

/* Ticks whenever one is due, as the broker's loop does. */
static void pass_time(int64_t duration_ns)
{
    const int64_t end_ns = model.now_ns + duration_ns;
    for (;;) {
        const int64_t due_ns = mmq_core_tick(broker_core, model.now_ns);
        if (due_ns < 0 || model.now_ns + due_ns > end_ns) {
            break;
        }
        model.now_ns += due_ns;
    }
    model.now_ns = end_ns;
    (void)mmq_core_tick(broker_core, model.now_ns);
    if (duration_ns > MODEL_SLACK_NS) {
        model_check_waiting();
    }
}

/* The broker itself stands still. */
static void stand_still(uint8_t how)
{
    const int64_t duration_ns = (how + 1) * 100 * MMQ_NS_PER_MS;
    (void)mmq_core_tick(broker_core, model.now_ns);
    model.now_ns += duration_ns;
    for (int i = 0; i < MODEL_PEERS; i++) {
        int64_t *heard_ns = &model.workers[i].forgiven_ns;
        *heard_ns += duration_ns;
        *heard_ns = *heard_ns < model.now_ns ? *heard_ns : model.now_ns;
    }
    pass_time(0);
}

static void set_fault(uint8_t who, uint8_t how)
{
    static const mmq_err faults[] = {MMQ_OK, MMQ_EAGAIN, MMQ_EUNREACHABLE, MMQ_OK};
    const mmq_err fault = faults[how % 4];
    const int peer = who % MODEL_PEERS;
    if ((how & 4) != 0) {
        model.workers[peer].fault = fault;
        return;
    }
    model_client *client = &model.clients[peer];
    client->well_ns = fault == MMQ_OK && client->fault == MMQ_OK ? client->well_ns : model.now_ns;
    client->fault = fault;
}

static void lose_side(uint8_t how)
{
    const mmq_side side = (mmq_side)(how % MMQ_SIDES);
    for (int i = 0; i < MODEL_PEERS; i++) {
        if (model_side(i, true) == side && model.workers[i].life == MODEL_ALIVE) {
            model_lose_worker(i);
        }
        if (model_side(i, false) == side) {
            model_lose_client(i);
        }
    }
    mmq_core_lose(broker_core, side, model.now_ns);
}

static void send_too_big(uint8_t who, uint8_t how)
{
    const int peer = who % MODEL_PEERS;
    const bool works = (how & 1) != 0;
    const uint64_t told = model.workers[peer].told_to_go;
    mmq_message message;
    begin_message(&message, peer, works);
    mmq_core_too_big(broker_core, model_side(peer, works), &message, model.now_ns);
    CHECK(!works || model.workers[peer].told_to_go != told);
}

static void check_bounds(void)
{
    size_t jobs = broker_core->jobs_in[MMQ_JOB_QUEUED] + broker_core->jobs_in[MMQ_JOB_HELD] +
                  broker_core->jobs_in[MMQ_JOB_FORGOTTEN];
    CHECK(jobs <= BROKER_JOBS && broker_core->services.count <= 5);
    CHECK(broker_core->hands.count <= MODEL_PEERS && broker_core->callers.count <= MODEL_PEERS);
    /* one answer may be over */
    CHECK(broker_core->bytes <= broker_core->settings.bytes_max + BROKER_PART_BIG + (64 << 10));
}

/* ---- the whole -------------------------------------------------------------------------- */

static void take_rare_step(uint8_t who, uint8_t how)
{
    if (how % 4 == 0) {
        send_too_big(who, how / 4);
    } else if (how % 4 == 1) {
        lose_side(how / 4);
    } else if (how % 4 == 2) {
        mmq_core_suspect(broker_core, model.now_ns);
    } else if (how == 0xff) {
        mmq_core_drain(broker_core, model.now_ns);
    }
}

static void take_step(broker_input *input)
{
    static const int64_t times_ms[] = {1, 6, 50, 400, 1100, 3100, 11000, 31000};
    const uint8_t what = take_byte(input), who = take_byte(input), how = take_byte(input);
    const int peer = who % MODEL_PEERS;
    switch (what % 16) {
    case 0:
    case 1:
    case 2:
        client_asks(peer, what / 16, how);
        break;
    case 3:
        client_asks_mmi(peer, how);
        break;
    case 4:
        client_sends_raw(peer, input, how);
        break;
    case 5:
    case 6:
        worker_registers(peer, what / 16, how);
        break;
    case 7:
        worker_says(peer, how);
        break;
    case 8:
    case 9:
    case 10:
        worker_answers(peer, what / 16, how);
        break;
    case 11:
        worker_sends_raw(peer, input, how);
        break;
    case 12:
        pass_time(times_ms[how % 8] * MMQ_NS_PER_MS);
        break;
    case 13:
        set_fault(who, how);
        mmq_core_retry(broker_core, model.now_ns);
        break;
    case 14:
        stand_still(how);
        break;
    default:
        take_rare_step(who, how);
        break;
    }
}

/* All read again, nobody says anything more: what is left must go by itself. */
static void end_all(void)
{
    for (int i = 0; i < MODEL_PEERS; i++) {
        set_fault((uint8_t)i, 0);
        set_fault((uint8_t)i, 4);
    }
    pass_time(100 * MMQ_NS_PER_MS);
    pass_time((MMQ_TIMEOUT_MAX_MS + 60000) * MMQ_NS_PER_MS);
    for (int i = 0; i < model.request_count; i++) {
        const model_request *request = &model.requests[i];
        CHECK(request->ended || (model.tight && model.clients[request->client].was_blocked));
    }
    CHECK(mmq_core_idle(broker_core) && mmq_core_bytes(broker_core) == 0);
    CHECK(broker_core->hands.count == 0 && broker_core->callers.count == 0);
    CHECK(broker_core->tokens.count == 0 && broker_core->deadlines.count == 0);
    CHECK(broker_core->timers.count == 0 && broker_core->services.count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    broker_input input = {data, data + size};
    memset(&model, 0, sizeof model);
    mmq_log_setup(MMQ_ERROR, false);
    model.now_ns = 1000 * MMQ_NS_PER_S;
    model.tight = (take_byte(&input) & 1) != 0;
    const mmq_core_settings settings = {
        .queue_max = BROKER_QUEUE,
        .queue_bytes_max = 64 << 10,
        .services_max = 5,
        .workers_max = MODEL_PEERS,
        .requests_max = BROKER_JOBS,
        .bytes_max = model.tight ? BROKER_ROOM_TIGHT : BROKER_ROOM,
        .send = model_send,
    };
    broker_core = mmq_core_new(&settings, model.now_ns);
    CHECK(broker_core != NULL);
    for (int i = 0; i < BROKER_STEPS && input.at < input.end; i++) {
        take_step(&input);
        check_bounds();
    }
    end_all();
    mmq_core_destroy(&broker_core);
    return 0;
}
