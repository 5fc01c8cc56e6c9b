/* A stream of rows over pages.
 *
 * cursor is always the place after the last payload that went into the queue, so a page that breaks
 * is simply asked for again from there. seq must be consecutive and FINAL must agree with it: what
 * does not is thrown away with all that follows, and asked for again. So no row comes twice and
 * none is missing.
 *
 * One page at most is under way, and it is asked for only while fewer than two are held untaken.
 *
 * The limit is the call's timeout without progress: progress is a payload, a page's end, or a
 * reader that takes what it left lying. A try gets half of what is left of it, so that a worker
 * that hangs leaves time for another. */
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/backoff.h"
#include "lib/check.h"
#include "lib/client_later.h"
#include "lib/clock.h"
#include "metricmq/pack.h"
#include "metricmq/client.h"

enum { PAGES_HELD_MAX = 2, TRY_LEAST_MS = 1000 };

typedef struct held {
    STAILQ_ENTRY(held) link;
    uint64_t page;
    mmq_frame payload;
} held;

struct mmq_stream {
    mmq_client *client;
    mmq_call call; /* without arguments */
    char *service;
    mmq_args args; /* the caller's */
    size_t max_bytes;
    int64_t limit_ns;
    void (*ready)(void *context);
    void *context;
    STAILQ_HEAD(, held) queue;
    uint64_t page;      /* of the page that is under way or was last */
    uint64_t pages;     /* that came whole */
    uint64_t last_page; /* of the last payload in the queue */
    uint64_t handle;    /* of the try under way; 0: none */
    int64_t seq;        /* of its next PARTIAL */
    size_t cursor_size;
    bool paged; /* there is a cursor */
    char cursor[MMQ_CURSOR_MAX];
    unsigned failures; /* tries in a row without progress */
    int64_t try_ns;    /* no try before */
    int64_t progress_ns;
    bool ended; /* whole or broken: nothing more comes into the queue */
    mmq_err err;
    mmq_why why; /* of err */
    int status;
    char state[128];
};

static void take_answer(void *context, const mmq_answer *answer);

/* ---- asking ------------------------------------------------------------------------------- */

static void end_stream(mmq_stream *stream, mmq_err err, int status)
{
    stream->ended = true;
    stream->err = err;
    stream->status = status;
}

static uint64_t pages_held(const mmq_stream *stream)
{
    const held *first = STAILQ_FIRST(&stream->queue);
    return first == NULL ? 0 : stream->last_page - first->page + 1;
}

static unsigned try_timeout_ms(const mmq_stream *stream, int64_t start_ns)
{
    int64_t left_ms = (stream->progress_ns + stream->limit_ns - start_ns) / MMQ_NS_PER_MS;
    int64_t least_ms = left_ms < TRY_LEAST_MS ? left_ms : TRY_LEAST_MS;
    int64_t try_ms = left_ms / 2 > least_ms ? left_ms / 2 : least_ms;
    return try_ms > 0 ? (unsigned)try_ms : 1;
}

static void send_try(mmq_stream *stream, int64_t now_ns)
{
    int64_t start_ns = stream->try_ns > now_ns ? stream->try_ns : now_ns;
    mmq_args *args = &stream->args;
    const size_t size = args->pairs.size;
    const uint32_t count = args->count;
    if (stream->max_bytes > 0) {
        mmq_args_int(args, "max_bytes", (int64_t)stream->max_bytes);
    }
    if (stream->paged) {
        mmq_args_text(args, "cursor", stream->cursor, stream->cursor_size);
    }
    mmq_call call = stream->call;
    call.args = args->pairs.data;
    call.args_size = args->pairs.size;
    call.args_count = args->count;
    call.timeout_ms = try_timeout_ms(stream, start_ns);
    if (args->pairs.failed) {
        end_stream(stream, mmq_fail(&stream->why, MMQ_ENOMEM, "no memory for the request"), 503);
        return;
    }
    stream->handle = mmq_client_send_later(stream->client, &call, start_ns - now_ns, &stream->why);
    args->pairs.size = size; /* without max_bytes and cursor again */
    args->count = count;
    if (stream->handle == 0) {
        end_stream(stream, MMQ_EBUSY, 503);
    }
}

/* Asks for the next page, or for the rest of a broken one, unless the reader is behind. */
static void ask(mmq_stream *stream)
{
    if (stream->ended || stream->handle != 0 || pages_held(stream) >= PAGES_HELD_MAX) {
        return;
    }
    stream->page++;
    stream->seq = 0;
    send_try(stream, mmq_now_ns());
}

/* The try has failed; the cursor says where the next one begins. */
static void try_later(mmq_stream *stream, int status, const char *reason)
{
    mmq_client_cancel(stream->client, stream->handle);
    stream->handle = 0;
    int64_t now_ns = mmq_now_ns();
    stream->try_ns =
        now_ns + mmq_backoff_ns(stream->failures++, MMQ_RETRY_LEAST_MS, MMQ_RETRY_MOST_MS);
    if (stream->try_ns - stream->progress_ns < stream->limit_ns) {
        ask(stream);
    } else {
        end_stream(stream, mmq_fail(&stream->why, mmq_err_from_status(status), "%s", reason),
                   status);
    }
}

/* ---- answers ------------------------------------------------------------------------------ */

static void note_progress(mmq_stream *stream)
{
    stream->failures = 0;
    stream->try_ns = 0;
    stream->progress_ns = mmq_now_ns();
}

static bool hold_payload(mmq_stream *stream, mmq_frame *payload)
{
    if (payload == NULL || mmq_frame_size(payload) == 0) {
        return true;
    }
    held *item = calloc(1, sizeof *item);
    if (item == NULL) {
        mmq_client_cancel(stream->client, stream->handle);
        stream->handle = 0;
        end_stream(stream, mmq_fail(&stream->why, MMQ_ENOMEM, "no memory for a page"), 503);
        return false;
    }
    item->page = stream->last_page = stream->page;
    mmq_frame_init(&item->payload);
    mmq_frame_move(&item->payload, payload);
    STAILQ_INSERT_TAIL(&stream->queue, item, link);
    return true;
}

static bool is_cursor(mmq_text text)
{
    return text.data != NULL && text.size > 0 && text.size <= MMQ_CURSOR_MAX;
}

/* False if it is where we are already: whoever says that will never come to an end. */
static bool move_cursor(mmq_stream *stream, mmq_text cursor)
{
    if (stream->paged && cursor.size == stream->cursor_size &&
        memcmp(cursor.data, stream->cursor, cursor.size) == 0) {
        return false;
    }
    memcpy(stream->cursor, cursor.data, cursor.size);
    stream->cursor_size = cursor.size;
    stream->paged = true;
    return true;
}

/* One that does not fit is none: cut, it might be taken for another. */
static void keep_state(mmq_stream *stream, const mmq_header *header)
{
    if (stream->state[0] == '\0' && header->state.size < sizeof stream->state) {
        mmq_text_copy(stream->state, sizeof stream->state, header->state.data, header->state.size);
    }
}

static void take_partial(mmq_stream *stream, const mmq_answer *answer)
{
    const mmq_header *header = answer->header;
    if (header->seq != stream->seq) {
        try_later(stream, 503, "a part of a page is missing");
    } else if (answer->payload == NULL || !is_cursor(header->cursor) ||
               !move_cursor(stream, header->cursor)) {
        try_later(stream, 503, "a part of a page has no rows or no cursor");
    } else if (hold_payload(stream, answer->payload)) {
        stream->seq++;
        stream->status = 200;
        keep_state(stream, header);
        note_progress(stream);
    }
}

static void end_page(mmq_stream *stream, const mmq_answer *answer)
{
    const mmq_header *header = answer->header;
    if (header->seq != stream->seq) {
        try_later(stream, 503, "a part of a page is missing");
        return;
    }
    bool last = header->has_next && header->next.data == NULL;
    if (!last &&
        (!is_cursor(header->next) || (!move_cursor(stream, header->next) && stream->seq == 0))) {
        try_later(stream, 503, "a page does not say where the next one begins");
        return;
    }
    if (!hold_payload(stream, answer->payload)) {
        return;
    }
    keep_state(stream, header);
    stream->status = 200;
    stream->pages++;
    note_progress(stream);
    if (last) {
        end_stream(stream, MMQ_EEND, 200);
    } else {
        ask(stream);
    }
}

static void take_final(mmq_stream *stream, const mmq_answer *answer)
{
    int status = (int)answer->header->status;
    mmq_why why;
    mmq_text_copy(why.text, sizeof why.text, answer->header->error.data,
                  answer->header->error.size);
    stream->handle = 0;
    if (status == 200) {
        end_page(stream, answer);
    } else if (status == 304 && !stream->paged) {
        keep_state(stream, answer->header);
        end_stream(stream, MMQ_EEND, status);
    } else if (status == 503 || status == 504) {
        try_later(stream, status, why.text);
    } else {
        mmq_err err = status >= 400 ? mmq_err_from_status(status) : MMQ_EPROTO;
        end_stream(stream, mmq_fail(&stream->why, err, "%s", why.text), status);
    }
}

static void take_answer(void *context, const mmq_answer *answer)
{
    mmq_stream *stream = context;
    if (answer->final) {
        take_final(stream, answer);
    } else {
        take_partial(stream, answer);
    }
    if (stream->ready != NULL && (stream->ended || !STAILQ_EMPTY(&stream->queue))) {
        stream->ready(stream->context); /* may destroy the stream */
    }
}

/* ---- the reader's side -------------------------------------------------------------------- */

static bool copy_options(mmq_stream *stream, const mmq_stream_options *options)
{
    const mmq_call *call = &options->call;
    stream->service = strdup(call->service);
    stream->call = (mmq_call){.service = stream->service, .answer = take_answer, .context = stream};
    unsigned ms = call->timeout_ms != 0 ? call->timeout_ms : MMQ_TIMEOUT_DEFAULT_MS;
    stream->limit_ns = (ms < MMQ_TIMEOUT_MAX_MS ? ms : MMQ_TIMEOUT_MAX_MS) * MMQ_NS_PER_MS;
    stream->ready = options->ready;
    stream->context = options->context;
    mmq_buffer_add(&stream->args.pairs, call->args, call->args_size);
    stream->args.count = call->args_count;
    stream->max_bytes = options->max_bytes;
    return stream->service != NULL && !stream->args.pairs.failed;
}

mmq_stream *mmq_stream_new(mmq_client *client, const mmq_stream_options *options, mmq_why *why)
{
    mmq_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a stream");
        return NULL;
    }
    stream->client = client;
    STAILQ_INIT(&stream->queue);
    mmq_args_init(&stream->args);
    stream->progress_ns = mmq_now_ns();
    if (!copy_options(stream, options)) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a stream's arguments");
        mmq_stream_destroy(&stream);
        return NULL;
    }
    ask(stream);
    if (stream->ended) {
        (void)mmq_fail(why, stream->err, "%s", stream->why.text);
        mmq_stream_destroy(&stream);
    }
    return stream;
}

static void drop_first(mmq_stream *stream)
{
    held *item = STAILQ_FIRST(&stream->queue);
    STAILQ_REMOVE_HEAD(&stream->queue, link);
    mmq_frame_close(&item->payload);
    free(item);
}

void mmq_stream_destroy(mmq_stream **stream_p)
{
    mmq_stream *stream = *stream_p;
    if (stream == NULL) {
        return;
    }
    mmq_client_cancel(stream->client, stream->handle);
    while (!STAILQ_EMPTY(&stream->queue)) {
        drop_first(stream);
    }
    mmq_args_clear(&stream->args);
    free(stream->service);
    free(stream);
    *stream_p = NULL;
}

mmq_err mmq_stream_take(mmq_stream *stream, mmq_frame *payload, mmq_why *why)
{
    held *first = STAILQ_FIRST(&stream->queue);
    if (first == NULL && !stream->ended) {
        return MMQ_EAGAIN;
    }
    if (first == NULL) {
        return stream->err == MMQ_EEND ? MMQ_EEND
                                       : mmq_fail(why, stream->err, "%s", stream->why.text);
    }
    mmq_frame_move(payload, &first->payload);
    drop_first(stream);
    if (stream->handle == 0) { /* it waited for us, not we for it */
        stream->progress_ns = mmq_now_ns();
        ask(stream);
    }
    return MMQ_OK;
}

mmq_err mmq_stream_next(mmq_stream *stream, mmq_frame *payload, mmq_why *why)
{
    stream->progress_ns = mmq_now_ns(); /* however long the reader was away */
    for (;;) {
        int64_t wait_ns = mmq_client_step(stream->client);
        mmq_err err = mmq_stream_take(stream, payload, why);
        if (err != MMQ_EAGAIN) {
            return err;
        }
        mmq_client_wait(stream->client, wait_ns);
    }
}

int mmq_stream_status(const mmq_stream *stream)
{
    return stream->status;
}

bool mmq_stream_whole(const mmq_stream *stream)
{
    return stream->err == MMQ_EEND && STAILQ_EMPTY(&stream->queue);
}

void mmq_stream_set_max_bytes(mmq_stream *stream, size_t max_bytes)
{
    stream->max_bytes = max_bytes;
}

uint64_t mmq_stream_pages(const mmq_stream *stream)
{
    return stream->pages;
}

const char *mmq_stream_state(const mmq_stream *stream)
{
    return stream->state;
}
