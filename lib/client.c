/* Requests over a connection to one broker (client_link.c) at a time.
 *
 * All sockets are touched, and all callbacks come, from mmq_client_step; sending only puts a call
 * among those to be sent. A call is freed before its last callback and never looked at after one
 * that was not the last, so that a callback may send, cancel or step.
 *
 * Each try has a new id; an answer that bears any other is late and dropped. Answers of `mmi.*`
 * bear none: they come in the order of the requests, so a call whose owner has left stays in the
 * list `mmi`, forgotten, to take the answer that is still to come.
 *
 * The broker is told what is left of the timeout, and answers 504 or better itself; the library
 * gives up GRACE_NS later. */
#include "metricmq/client.h"

#include <stdlib.h>
#include <string.h>

#include "lib/backoff.h"
#include "lib/buffer.h"
#include "lib/check.h"
#include "lib/client_calls.h"
#include "lib/client_later.h"
#include "lib/client_link.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "lib/envelope.h"

enum {
    PASSES_MAX = 16,        /* of one step */
    MESSAGES_MAX = 64,      /* of one pass */
    LAST_PASSES_MAX = 1024, /* over what came before a loss */
    BODY_OVERHEAD = 64,     /* room for map header, id and timeout */
};

#define GRACE_NS  (250 * MMQ_NS_PER_MS)
#define FORGET_NS (60 * MMQ_NS_PER_S) /* a forgotten call's answer does not come any more */

static const uint8_t packed_nil[] = {0xc0};

struct mmq_client {
    mmq_client_link link;
    mmq_curve curve;  /* what the link borrows, if it has keys */
    uint64_t dropped; /* answers that were late, foreign or malformed */
    mmq_calls calls;
};

mmq_client *mmq_client_new(const char *endpoint, mmq_why *why)
{
    return mmq_client_new_curve(endpoint, NULL, why);
}

mmq_client *mmq_client_new_curve(const char *endpoint, const mmq_curve *curve, mmq_why *why)
{
    mmq_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a client");
        return NULL;
    }
    mmq_calls_init(&client->calls);
    if (curve != NULL) {
        client->curve = *curve;
    }
    if (mmq_client_link_init(&client->link, endpoint, curve != NULL ? &client->curve : NULL, why) !=
        MMQ_OK) {
        mmq_client_destroy(&client);
    }
    return client;
}

void mmq_client_destroy(mmq_client **client_p)
{
    mmq_client *client = *client_p;
    if (client == NULL) {
        return;
    }
    mmq_calls_clear(&client->calls);
    mmq_client_link_clear(&client->link);
    mmq_curve_wipe(&client->curve);
    free(client);
    *client_p = NULL;
}

bool mmq_client_denied(const mmq_client *client)
{
    return client->link.complained;
}

void mmq_client_set_window(mmq_client *client, size_t window)
{
    client->calls.window = window > 0 ? window : SIZE_MAX;
}

int mmq_client_descriptor(const mmq_client *client)
{
    return client->link.input;
}

void mmq_text_copy(char *out, size_t out_size, const char *data, size_t size)
{
    if (size >= out_size) {
        size = out_size - 1;
        while (size > 0 && ((uint8_t)data[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    if (size == 0 || !mmq_utf8_valid(data, size)) {
        size = 0;
    } else {
        memcpy(out, data, size);
    }
    out[size] = '\0';
}

/* ---- taking requests ---------------------------------------------------------------------- */

mmq_err mmq_call_check(const mmq_call *call, mmq_why *why)
{
    CHECK(call->answer != NULL);
    size_t service_size = strlen(call->service);
    if (service_size == 0 || service_size > MMQ_SERVICE_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "a service's name has 1 to %d bytes", MMQ_SERVICE_MAX);
    }
    if (call->args_size > MMQ_BODY_MAX - BODY_OVERHEAD) {
        return mmq_fail(why, MMQ_ETOOBIG, "the request is over %d bytes", MMQ_BODY_MAX);
    }
    return MMQ_OK;
}

static int64_t timeout_ns(const mmq_call *call)
{
    unsigned ms = call->timeout_ms == 0 ? MMQ_TIMEOUT_DEFAULT_MS : call->timeout_ms;
    return (ms < MMQ_TIMEOUT_MAX_MS ? ms : MMQ_TIMEOUT_MAX_MS) * MMQ_NS_PER_MS;
}

uint64_t mmq_client_send_later(mmq_client *client, const mmq_call *call, int64_t delay_ns,
                               mmq_why *why)
{
    if (mmq_call_check(call, why) != MMQ_OK) {
        return 0;
    }
    mmq_pending *pending = mmq_calls_add(&client->calls, call, why);
    if (pending == NULL) {
        return 0;
    }
    int64_t start_ns = mmq_now_ns() + delay_ns;
    pending->mmi = strncmp(call->service, "mmi.", 4) == 0;
    pending->deadline_ns = start_ns + timeout_ns(call);
    mmq_calls_set_due(&client->calls, pending, start_ns);
    return pending->handle;
}

uint64_t mmq_client_send(mmq_client *client, const mmq_call *call, mmq_why *why)
{
    return mmq_client_send_later(client, call, 0, why);
}

/* Its owner wants no more of it. */
static void forget_call(mmq_client *client, mmq_pending *pending)
{
    if (pending->mmi && pending->state == MMQ_CALL_SENT) {
        pending->forgotten = true;
        pending->retry = false;
        mmq_calls_set_due(&client->calls, pending, mmq_now_ns() + FORGET_NS);
    } else {
        mmq_calls_remove(&client->calls, pending);
    }
}

void mmq_client_cancel(mmq_client *client, uint64_t handle)
{
    mmq_pending *pending = mmq_calls_by_handle(&client->calls, handle);
    if (pending != NULL && !pending->forgotten) {
        forget_call(client, pending);
    }
}

uint64_t mmq_client_dropped(const mmq_client *client)
{
    return client->dropped;
}

/* ---- ends --------------------------------------------------------------------------------- */

/* Ends a call by an answer of our own. */
static void fail_call(mmq_client *client, mmq_pending *pending, int status, const char *sentence)
{
    mmq_header header = {.id = packed_nil,
                         .id_size = sizeof packed_nil,
                         .status = status,
                         .rows = -1,
                         .seq = -1,
                         .error = {sentence, strlen(sentence)}};
    mmq_answer answer = {.final = true, .header = &header};
    mmq_answer_fn *callback = pending->answer;
    void *context = pending->context;
    bool forgotten = pending->forgotten;
    if (forgotten) {
        mmq_calls_remove(&client->calls, pending);
        return;
    }
    forget_call(client, pending);
    callback(context, &answer);
}

/* False if the call may not be tried again, or not in time. */
static bool try_again(mmq_client *client, mmq_pending *pending)
{
    int64_t due_ns =
        mmq_now_ns() + mmq_backoff_ns(pending->tries - 1, MMQ_RETRY_LEAST_MS, MMQ_RETRY_MOST_MS);
    if (!pending->retry || due_ns >= pending->deadline_ns) {
        return false;
    }
    mmq_calls_set_state(&client->calls, pending, MMQ_CALL_WAITING);
    mmq_calls_renew(&client->calls, pending);
    mmq_calls_set_due(&client->calls, pending, due_ns);
    return true;
}

/* ---- answers ------------------------------------------------------------------------------ */

static void deliver(mmq_client *client, mmq_pending *pending, const mmq_answer *answer)
{
    mmq_answer_fn *callback = pending->answer;
    void *context = pending->context;
    bool forgotten = pending->forgotten;
    if (answer->final) {
        if (answer->header->status == 503 && try_again(client, pending)) {
            return;
        }
        mmq_calls_remove(&client->calls, pending);
    }
    if (!forgotten) {
        callback(context, answer);
    }
}

/* The status of an `mmi.*` answer is a frame of three digits; a broker that refuses the request
 * may send the header of any other FINAL instead. */
static mmq_err parse_mmi(const mmq_frame *frame, mmq_header *header)
{
    const char *text = mmq_frame_data(frame);
    if (mmq_frame_size(frame) != 3) {
        return mmq_header_parse(text, mmq_frame_size(frame), header);
    }
    int64_t status = 0;
    for (size_t i = 0; i < 3; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return MMQ_EPROTO;
        }
        status = status * 10 + (text[i] - '0');
    }
    *header = (mmq_header){
        .id = packed_nil, .id_size = sizeof packed_nil, .status = status, .rows = -1, .seq = -1};
    if (status == 403) { /* the one that has a reason beside the question itself */
        static const char sentence[] = "the broker says that this key has no right to ask that";
        header->error.data = sentence;
        header->error.size = sizeof sentence - 1;
    }
    return MMQ_OK;
}

static mmq_pending *find_by_header(const mmq_client *client, const mmq_header *header)
{
    mmq_reader reader;
    mmq_value id;
    mmq_reader_init(&reader, header->id, header->id_size);
    if (mmq_unpack(&reader, &id) != MMQ_OK || id.type != MMQ_INT || id.integer <= 0) {
        return NULL;
    }
    mmq_pending *pending = mmq_calls_by_id(&client->calls, (uint64_t)id.integer);
    return pending != NULL && pending->state == MMQ_CALL_SENT && !pending->mmi ? pending : NULL;
}

static bool is_mmi(const mmq_envelope *envelope)
{
    return envelope->service_size > 4 && memcmp(envelope->service, "mmi.", 4) == 0;
}

static mmq_pending *find_call(const mmq_client *client, const mmq_envelope *envelope,
                              const mmq_frame *head, mmq_header *header)
{
    if (is_mmi(envelope)) {
        return parse_mmi(head, header) == MMQ_OK
                   ? mmq_calls_by_mmi(&client->calls, envelope->service, envelope->service_size)
                   : NULL;
    }
    return mmq_header_parse(mmq_frame_data(head), mmq_frame_size(head), header) == MMQ_OK
               ? find_by_header(client, header)
               : NULL;
}

/* False if the message answers none of our calls. */
static bool take_message(mmq_client *client, mmq_message *message)
{
    mmq_envelope envelope;
    if (mmq_envelope_parse_client(message, 0, &envelope, NULL) != MMQ_OK ||
        envelope.command == MMQ_CLIENT_REQUEST || envelope.body >= message->count ||
        message->count > envelope.body + 2) {
        return false;
    }
    mmq_header header;
    mmq_pending *pending = find_call(client, &envelope, &message->frames[envelope.body], &header);
    bool final = envelope.command == MMQ_CLIENT_FINAL;
    if (pending == NULL || (final && (header.status < 100 || header.status > 599))) {
        return false;
    }
    bool has_payload = message->count > envelope.body + 1;
    mmq_answer answer = {final, &header, has_payload ? &message->frames[envelope.body + 1] : NULL};
    deliver(client, pending, &answer);
    return true;
}

/* What dealer_p points to may be left meanwhile, since callbacks may step. */
static bool take_messages(mmq_client *client, mmq_dealer *const *dealer_p)
{
    mmq_message message;
    mmq_message_init(&message);
    bool any = false;
    for (size_t i = 0; i < MESSAGES_MAX && *dealer_p != NULL; i++) {
        mmq_err err = mmq_message_receive(&message, mmq_dealer_socket(*dealer_p), MMQ_FRAME_LIMIT);
        if (err == MMQ_EAGAIN || err == MMQ_ECLOSED) {
            break;
        }
        any = true;
        if (err != MMQ_OK || !take_message(client, &message)) {
            client->dropped++;
            mmq_log(MMQ_DEBUG, "an answer to no request was dropped",
                    MMQ_I("dropped", client->dropped));
        }
    }
    mmq_message_clear(&message);
    return any;
}

/* ---- loss, timers, sending ---------------------------------------------------------------- */

/* Nobody will answer what was sent over the connection. */
static void lose_sent_calls(mmq_client *client, uint64_t connection)
{
    for (size_t i = 0; i < MMQ_CALLS_SLOTS && client->calls.timers.count > 0; i++) {
        mmq_pending *pending = client->calls.slots[i];
        if (pending != NULL && pending->state == MMQ_CALL_SENT &&
            pending->connection == connection && !try_again(client, pending)) {
            mmq_calls_set_state(&client->calls, pending, MMQ_CALL_LOST);
            mmq_calls_set_due(&client->calls, pending, 0);
        }
    }
}

static bool handle_loss(mmq_client *client)
{
    if (!mmq_client_link_check(&client->link)) {
        return false;
    }
    const uint64_t connection = client->link.connection;
    mmq_dealer *dealer = mmq_client_link_leave(&client->link);
    for (size_t i = 0; i < LAST_PASSES_MAX && take_messages(client, &dealer); i++) {
        /* what came before the loss counts */
    }
    mmq_dealer_destroy(&dealer, 0);
    lose_sent_calls(client, connection);
    return true;
}

static void run_timer(mmq_client *client, mmq_pending *pending)
{
    if (pending->state == MMQ_CALL_WAITING) {
        mmq_calls_set_state(&client->calls, pending, MMQ_CALL_UNSENT);
        mmq_calls_set_due(&client->calls, pending, pending->deadline_ns + GRACE_NS);
    } else if (pending->state == MMQ_CALL_UNSENT) {
        fail_call(client, pending, 504,
                  mmq_client_link_connected(&client->link)
                      ? "the request did not get its turn within the timeout"
                      : "the broker could not be reached within the timeout");
    } else if (pending->state == MMQ_CALL_LOST) {
        fail_call(client, pending, 503,
                  "the connection to the broker was lost; it is not known whether the request was "
                  "carried out");
    } else {
        fail_call(client, pending, 504, "no answer within the timeout");
    }
}

static bool run_timers(mmq_client *client)
{
    int64_t now_ns = mmq_now_ns();
    bool any = false;
    for (;;) {
        mmq_pending *pending = mmq_calls_first(&client->calls);
        if (pending == NULL || pending->timer.key > now_ns) {
            return any;
        }
        run_timer(client, pending);
        any = true;
    }
}

static mmq_err pack_body(const mmq_pending *pending, mmq_frame *body)
{
    int64_t left_ms = (pending->deadline_ns - mmq_now_ns()) / MMQ_NS_PER_MS;
    mmq_buffer buffer;
    mmq_buffer_init(&buffer, MMQ_BODY_MAX);
    (void)mmq_buffer_reserve(&buffer, pending->args_size + BODY_OVERHEAD);
    if (!pending->mmi) {
        mmq_pack_map(&buffer, pending->args_count + 2);
        mmq_pack_text(&buffer, "id", 2);
        mmq_pack_int(&buffer, (int64_t)pending->id);
        mmq_pack_text(&buffer, "timeout", 7);
        mmq_pack_int(&buffer, left_ms > 0 ? left_ms : 1);
    }
    mmq_buffer_add(&buffer, pending->args, pending->args_size);
    mmq_err err = mmq_buffer_to_frame(&buffer, body);
    mmq_buffer_clear(&buffer);
    return err;
}

static mmq_err pack_request(const mmq_pending *pending, mmq_message *message)
{
    mmq_frame body;
    mmq_frame_init(&body);
    mmq_err err = pack_body(pending, &body);
    if (err == MMQ_OK) {
        err = mmq_envelope_begin_client(message, MMQ_CLIENT_REQUEST, pending->service,
                                        strlen(pending->service));
    }
    if (err == MMQ_OK) {
        err = mmq_message_append(message, &body);
    }
    mmq_frame_close(&body);
    return err;
}

/* MMQ_EAGAIN: it stays unsent. */
static mmq_err send_call(mmq_client *client, mmq_pending *pending)
{
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err = pack_request(pending, &message);
    if (err == MMQ_OK) {
        err = mmq_message_send(&message, mmq_dealer_socket(client->link.dealer));
    }
    mmq_message_clear(&message);
    if (err == MMQ_OK) {
        pending->tries++;
        pending->connection = client->link.connection;
        mmq_calls_set_state(&client->calls, pending, MMQ_CALL_SENT);
    }
    return err;
}

/* What waits for a connection, waits here, where it ends with its deadline. Asking libzmq is a
 * system call: once for all that is to be sent. It may take note of input, of which the descriptor
 * then does not tell any more. */
static bool can_send(const mmq_client *client, bool *input)
{
    if (!mmq_client_link_connected(&client->link)) {
        return false;
    }
    int events = 0;
    size_t size = sizeof events;
    int rc = zmq_getsockopt(mmq_dealer_socket(client->link.dealer), ZMQ_EVENTS, &events, &size);
    *input = rc == 0 && (events & ZMQ_POLLIN) != 0;
    return rc == 0 && (events & ZMQ_POLLOUT) != 0;
}

static bool send_calls(mmq_client *client)
{
    bool any = false;
    mmq_pending *pending = mmq_calls_next(&client->calls);
    if (pending == NULL || !can_send(client, &any)) {
        return any;
    }
    for (; pending != NULL; pending = mmq_calls_next(&client->calls)) {
        mmq_err err = send_call(client, pending);
        if (err == MMQ_EAGAIN || err == MMQ_ECLOSED) {
            break;
        }
        if (err != MMQ_OK) {
            fail_call(client, pending, 503, "no memory for the request");
        }
        any = true;
    }
    return any;
}

/* Until a timer is due; -1: none is set. */
static int64_t left_ns(const mmq_client *client)
{
    const mmq_pending *first = mmq_calls_first(&client->calls);
    int64_t due_ns = mmq_client_link_due_ns(&client->link);
    if (first != NULL && first->timer.key < due_ns) {
        due_ns = first->timer.key;
    }
    if (due_ns == INT64_MAX) {
        return -1;
    }
    int64_t left = due_ns - mmq_now_ns();
    return left > 0 ? left : 0;
}

int64_t mmq_client_step(mmq_client *client)
{
    for (size_t pass = 0; pass < PASSES_MAX; pass++) {
        bool any = take_messages(client, &client->link.dealer);
        any |= pass == 0 && handle_loss(client); /* a later one makes the descriptor readable */
        any |= run_timers(client);
        any |= send_calls(client);
        if (any) {
            continue;
        }
        return left_ns(client);
    }
    return 0;
}
