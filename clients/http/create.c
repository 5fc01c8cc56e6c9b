/* POST and PUT /_models: metrics are made, and their rows appended.
 *
 *     body -> (helper) -> read and checked -> create, append, append, ... -> records
 *
 * Nothing is written before all of the body was read and checked, on the helper's thread if it is
 * big. Then each metric is created and its rows are appended in batches that name their rowids,
 * some metrics of a request side by side, one call each. Both may be sent again and do nothing
 * then; so a request that ended in its middle is completed by another like it. The answer shows the
 * records as they are at the end, read back by a stream.
 *
 * Requests take turns, call by call, within a bound of calls for all of them: a long import does
 * not stand before a short one, and the calls' bytes have a bound. What a request holds (text, then
 * records and rows) counts against the adapter's bound of bodies. */
#include "clients/http/create.h"

#include <stdlib.h>
#include <string.h>

#include "clients/http/exchange.h"
#include "clients/http/models_body.h"
#include "clients/http/routes.h"
#include "lib/check.h"

enum {
    INLINE_BYTES = 64 * 1024, /* a body that is read where it came, within a millisecond */
    LANES = 4,                /* metrics of a request side by side */
    CALLS_MAX = 16,           /* at the bus, of all requests: with MMQ_MODELS_BATCH, 8 MiB */
};

typedef enum lane_state {
    LANE_FREE,
    LANE_READY, /* its next call may be sent */
    LANE_SENT,
} lane_state;

/* A metric that is being made. */
typedef struct lane {
    mmq_creation *creation;
    lane_state state;
    size_t model;
    size_t sent;     /* calls that were sent: the create, then a batch each */
    uint64_t handle; /* SENT */
} lane;

struct mmq_creation {
    mmq_task task;                  /* first: it is what the helper is given */
    TAILQ_ENTRY(mmq_creation) turn; /* while there is something to send */
    bool queued;
    bool at_helper;
    mmq_adapter *adapter;
    mmq_exchange *exchange; /* NULL: it is gone, while the helper was at work */
    mmq_buffer text;
    size_t held; /* bytes that count against the bound of bodies */
    mmq_models_body body;
    mmq_err err; /* of reading the body */
    mmq_why why;
    lane lanes[LANES];
    size_t begun, done; /* metrics */
};

static void hold(mmq_creation *creation, size_t bytes)
{
    mmq_adapter *adapter = creation->adapter;
    adapter->body_bytes = adapter->body_bytes - creation->held + bytes;
    creation->held = bytes;
}

/* ---- taking turns ----------------------------------------------------------------------- */

static lane *find_lane(mmq_creation *creation, lane_state state)
{
    for (size_t i = 0; i < LANES; i++) {
        if (creation->lanes[i].state == state) {
            return &creation->lanes[i];
        }
    }
    return NULL;
}

/* The lane whose call is to be sent next; a metric is begun if there is none; NULL: nothing is to
 * be sent now. */
static lane *next_lane(mmq_creation *creation)
{
    lane *ready = find_lane(creation, LANE_READY);
    if (ready == NULL && creation->begun < creation->body.count) {
        ready = find_lane(creation, LANE_FREE);
        if (ready != NULL) {
            *ready = (lane){creation, LANE_READY, .model = creation->begun++};
        }
    }
    return ready;
}

static void queue_up(mmq_creation *creation)
{
    if (!creation->queued && next_lane(creation) != NULL) {
        creation->queued = true;
        TAILQ_INSERT_TAIL(&creation->adapter->creations, creation, turn);
    }
}

static void leave_queue(mmq_creation *creation)
{
    if (creation->queued) {
        creation->queued = false;
        TAILQ_REMOVE(&creation->adapter->creations, creation, turn);
    }
}

static void free_creation(mmq_creation *creation)
{
    for (size_t i = 0; i < LANES; i++) {
        if (creation->lanes[i].state == LANE_SENT) {
            mmq_client_cancel(creation->adapter->client, creation->lanes[i].handle);
            creation->adapter->creating--;
        }
    }
    leave_queue(creation);
    hold(creation, 0);
    mmq_buffer_clear(&creation->text);
    mmq_models_body_clear(&creation->body);
    free(creation);
}

void mmq_creation_destroy(mmq_creation **creation)
{
    if (*creation != NULL && (*creation)->at_helper) {
        (*creation)->exchange = NULL;
    } else if (*creation != NULL) {
        free_creation(*creation);
    }
    *creation = NULL;
}

/* ---- calls ------------------------------------------------------------------------------ */

/* Ends the creation and refuses its request; element: the number to name, 0: none. */
static void refuse(mmq_creation *creation, int status, size_t element, const mmq_why *why)
{
    mmq_exchange *exchange = creation->exchange;
    if (element > 0 && creation->body.array) {
        mmq_exchange_refuse(exchange, status, "element %zu: %s", element, why->text);
    } else {
        mmq_exchange_refuse(exchange, status, "%s", why->text);
    }
    mmq_creation_destroy(&exchange->creation);
}

/* All is written: answers with the records. */
static void answer_records(mmq_creation *creation)
{
    mmq_exchange *exchange = creation->exchange;
    const mmq_buffer *uids = &creation->body.uids;
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "models");
    mmq_args_text(&args, "uids", (const char *)uids->data, uids->size);
    mmq_creation_destroy(&exchange->creation);
    exchange->stream_status = 201;
    mmq_exchange_stream(exchange, &args, MMQ_FORM_JSON_RECORDS, false);
}

/* A metric that is gone between its creation and its rows was deleted by somebody else. */
static int status_of(const mmq_header *header)
{
    const int status = (int)header->status;
    if (status == 404) {
        return 409;
    }
    return status >= 400 && status <= 599 ? status : 500;
}

static void take_answer(void *context, const mmq_answer *answer)
{
    lane *of = context;
    mmq_creation *creation = of->creation;
    mmq_adapter *adapter = creation->adapter;
    if (!answer->final) {
        return;
    }
    const mmq_header *header = answer->header;
    const mmq_new_model *model = &creation->body.models[of->model];
    of->handle = 0;
    of->state = of->sent <= model->batch_count ? LANE_READY : LANE_FREE;
    adapter->creating--;
    if (creation->exchange->status != 0) { /* its deadline came first */
        mmq_creation_destroy(&creation->exchange->creation);
    } else if (header->status != 200) {
        mmq_why why;
        mmq_why_set(&why, "%.*s", (int)header->error.size,
                    header->error.size ? header->error.data : "");
        refuse(creation, status_of(header), of->model + 1, &why);
    } else {
        creation->done += of->state == LANE_FREE;
        mmq_exchange_went_on(creation->exchange);
        if (creation->done == creation->body.count) {
            answer_records(creation);
        } else {
            queue_up(creation);
        }
    }
    mmq_creations_step(adapter);
}

static void add_create(const mmq_creation *creation, const mmq_new_model *model, mmq_args *args)
{
    const uint8_t *record = creation->body.packed.data + model->record.at;
    mmq_args_cstr(args, "op", "create");
    mmq_args_packed(args, "metric", record, model->record.size);
}

static void add_append(const mmq_creation *creation, const mmq_new_model *model, size_t index,
                       mmq_args *args)
{
    const mmq_models_body *body = &creation->body;
    const mmq_models_batch *batch = &body->batches[model->first_batch + index];
    mmq_args_cstr(args, "op", "append");
    mmq_args_text(args, "uid", (const char *)body->uids.data + model->uid.at, model->uid.size);
    mmq_args_int(args, "first_rowid", batch->first_rowid);
    mmq_args_text(args, "rows", (const char *)body->packed.data + batch->rows.at, batch->rows.size);
}

/* Sends the next call of a lane that is ready. False: the request was refused. */
static bool send_call(lane *of)
{
    mmq_creation *creation = of->creation;
    mmq_adapter *adapter = creation->adapter;
    const mmq_new_model *model = &creation->body.models[of->model];
    mmq_why why = {"no memory for the request"};
    mmq_args args;
    mmq_args_init(&args);
    if (of->sent == 0) {
        add_create(creation, model, &args);
    } else {
        add_append(creation, model, of->sent - 1, &args);
    }
    mmq_args_cstr(&args, "trace", creation->exchange->trace);
    const mmq_call call = {.service = MMQ_SERVICE_WRITE,
                           .args = args.pairs.data,
                           .args_size = args.pairs.size,
                           .args_count = args.count,
                           .timeout_ms = adapter->timeout_ms,
                           .retry = true,
                           .answer = take_answer,
                           .context = of};
    of->handle = args.pairs.failed ? 0 : mmq_client_send(adapter->client, &call, &why);
    mmq_args_clear(&args);
    if (of->handle == 0) {
        refuse(creation, 503, of->model + 1, &why);
        return false;
    }
    of->state = LANE_SENT;
    of->sent++;
    adapter->creating++;
    return true;
}

void mmq_creations_step(mmq_adapter *adapter)
{
    mmq_creation *creation;
    while (adapter->creating < CALLS_MAX && (creation = TAILQ_FIRST(&adapter->creations))) {
        leave_queue(creation);
        lane *next = next_lane(creation);
        if (creation->exchange->status != 0) {
            mmq_creation_destroy(&creation->exchange->creation);
        } else if (next != NULL && send_call(next)) {
            queue_up(creation);
        }
    }
}

/* ---- the body --------------------------------------------------------------------------- */

static void read_body(mmq_task *task)
{
    mmq_creation *creation = (mmq_creation *)task;
    creation->err = mmq_models_body_read((const char *)creation->text.data, creation->text.size,
                                         &creation->body, &creation->why);
    mmq_buffer_clear(&creation->text);
}

/* The body was read: what is in it is written, if it is right, and if there is room for it: metrics
 * may take more as records than as text. */
static void body_read(mmq_task *task)
{
    mmq_creation *creation = (mmq_creation *)task;
    mmq_adapter *adapter = creation->adapter;
    const size_t text_bytes = creation->held;
    creation->at_helper = false;
    if (creation->exchange == NULL || creation->exchange->status != 0) {
        if (creation->exchange != NULL) {
            creation->exchange->creation = NULL;
        }
        free_creation(creation);
        return;
    }
    hold(creation, mmq_models_body_bytes(&creation->body));
    if (creation->err != MMQ_OK) {
        int status = mmq_err_status(creation->err);
        refuse(creation, status >= 500 ? 503 : status, 0, &creation->why);
    } else if (creation->held > text_bytes && adapter->body_bytes > MMQ_BODIES_MAX) {
        mmq_exchange *exchange = creation->exchange;
        mmq_creation_destroy(&exchange->creation);
        mmq_exchange_refuse_body(exchange);
    } else {
        mmq_exchange_went_on(creation->exchange);
        queue_up(creation);
        mmq_creations_step(adapter);
    }
}

static mmq_creation *creation_new(mmq_exchange *exchange)
{
    mmq_creation *creation = calloc(1, sizeof *creation);
    if (creation == NULL) {
        return NULL;
    }
    creation->task = (mmq_task){read_body, body_read};
    creation->adapter = exchange->adapter;
    creation->exchange = exchange;
    creation->text = exchange->body;
    creation->held = exchange->body_held;
    mmq_buffer_init(&exchange->body, 0);
    exchange->body_held = 0;
    exchange->creation = creation;
    return creation;
}

void mmq_handle_create(mmq_exchange *exchange)
{
    mmq_creation *creation = creation_new(exchange);
    if (creation == NULL) {
        mmq_exchange_refuse(exchange, 503, "no memory for the request");
        return;
    }
    creation->at_helper = true;
    if (creation->text.size <= INLINE_BYTES) {
        read_body(&creation->task);
        body_read(&creation->task);
    } else if (!mmq_helper_give(exchange->adapter->helper, &creation->task)) {
        creation->at_helper = false;
        mmq_creation_destroy(&exchange->creation);
        mmq_exchange_refuse_body(exchange);
    }
}
