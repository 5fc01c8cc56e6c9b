/* Answers made of a stream of the bus.
 *
 * A stream is answered when its first payload is there: an error before that has its own status,
 * the answer's ETag is known, and a stream that has ended with it is a whole answer, with its
 * length. Else libmicrohttpd pulls: its reader is given text, or the connection is suspended until
 * the stream has more. An error then resets the connection. The payload under the renderer is the
 * only one held here.
 *
 * HTTP/1.0 ends an answer of unknown length with the connection, and a connection over a unix
 * socket cannot be reset: there, such an answer is refused rather than told from a broken one by
 * nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/exchange.h"
#include "lib/log.h"
#include "lib/uid.h"

enum {
    BLOCK = 32 * 1024,
    TEXT_PAYLOAD = 64 * 1024,   /* bytes of a payload that is made text of at once */
    TEXT_MAX = 8 * 1024 * 1024, /* of that text */
    HEAD_BYTES = 1024,          /* of a page that only its header is wanted of */
    PAGE_LEAST = 16 * 1024,     /* bytes of a page */
    PAGE_FIRST = 64 * 1024,
    PAGE_MOST = 1024 * 1024,
    PAGE_SHARE = 4,                 /* of what a reader has taken, the size of its next page */
    PAGES_BYTES = 64 * 1024 * 1024, /* of all pages that are held, about */
    PAGES_HELD = 3,                 /* by a stream: the renderer's, one to come, one under way */
    ETAG_MAX = 160,
};

void mmq_exchange_clear_stream(mmq_exchange *exchange)
{
    exchange->adapter->stream_count -= exchange->counted;
    exchange->counted = false;
    mmq_stream_destroy(&exchange->stream);
    mmq_render_destroy(&exchange->render);
    mmq_gzip_give(&exchange->adapter->gzips, &exchange->gzip);
    mmq_frame_close(&exchange->page);
    mmq_frame_init(&exchange->page);
}

static size_t at_least(size_t value, size_t least)
{
    return value > least ? value : least;
}

static size_t at_most(size_t value, size_t most)
{
    return value < most ? value : most;
}

/* Bytes of the stream's next page: pages are small at first and grow with what the reader takes.
 * Readers that are slow keep theirs: the more readers there are, the smaller the pages. */
static size_t page_bytes(const mmq_exchange *exchange)
{
    const size_t share = PAGES_BYTES / PAGES_HELD / (exchange->adapter->stream_count + 1);
    const size_t wanted = (size_t)exchange->bytes / PAGE_SHARE;
    return at_most(at_least(wanted, PAGE_FIRST), at_most(at_least(share, PAGE_LEAST), PAGE_MOST));
}

static mmq_err take_page(mmq_exchange *exchange, mmq_why *why)
{
    if (exchange->paged) {
        mmq_stream_set_max_bytes(exchange->stream, page_bytes(exchange));
    }
    mmq_frame_close(&exchange->page);
    mmq_frame_init(&exchange->page);
    mmq_err err = mmq_stream_take(exchange->stream, &exchange->page, why);
    if (err == MMQ_OK) {
        mmq_render_feed(exchange->render, mmq_frame_data(&exchange->page),
                        mmq_frame_size(&exchange->page));
    } else if (err == MMQ_EEND) {
        mmq_render_finish(exchange->render);
        exchange->whole = true;
    }
    return err;
}

/* ---- text ------------------------------------------------------------------------------- */

/* Text of the payload that the renderer has; 0: there is no more, or it makes no sense. */
static size_t read_text(mmq_exchange *exchange, char *out, size_t room, bool *failed)
{
    *failed = false;
    if (room >= MMQ_STAGED && exchange->staged_at == exchange->staged_size) {
        return mmq_render_read(exchange->render, out, room, failed);
    }
    if (exchange->staged_at == exchange->staged_size) {
        exchange->staged_at = 0;
        exchange->staged_size =
            mmq_render_read(exchange->render, exchange->staged, MMQ_STAGED, failed);
    }
    size_t left = exchange->staged_size - exchange->staged_at;
    size_t size = left < room ? left : room;
    memcpy(out, exchange->staged + exchange->staged_at, size);
    exchange->staged_at += size;
    return size;
}

/* As read_text, compressed. */
static size_t read_gzip(mmq_exchange *exchange, char *out, size_t room, bool *failed)
{
    mmq_gzip *gzip = exchange->gzip;
    for (;;) {
        size_t size = mmq_gzip_read(gzip, out, room, failed);
        if (size > 0 || *failed || mmq_gzip_ended(gzip)) {
            return size;
        }
        size_t text_room;
        char *text = mmq_gzip_room(gzip, &text_room);
        size_t text_size = mmq_render_read(exchange->render, text, text_room, failed);
        if (*failed || (text_size == 0 && !exchange->whole)) {
            return 0;
        }
        mmq_gzip_put(gzip, text_size, text_size == 0);
    }
}

static size_t read_body(mmq_exchange *exchange, char *out, size_t room, bool *failed)
{
    return exchange->gzip ? read_gzip(exchange, out, room, failed)
                          : read_text(exchange, out, room, failed);
}

/* ---- long answers ----------------------------------------------------------------------- */

static ssize_t break_off(mmq_exchange *exchange, const char *reason)
{
    mmq_log(MMQ_WARN, "answer broken off", MMQ_S("path", exchange->shown), MMQ_S("why", reason),
            MMQ_S("trace", exchange->trace));
    mmq_exchange_break(exchange);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* libmicrohttpd's content reader. */
static ssize_t read_answer(void *context, uint64_t position, char *out, size_t room)
{
    mmq_exchange *exchange = context;
    (void)position;
    while (!exchange->broken) {
        bool failed;
        size_t size = read_body(exchange, out, room, &failed);
        if (size > 0) {
            exchange->bytes += size;
            return (ssize_t)size;
        }
        if (failed) {
            return break_off(exchange, "a payload of the bus makes no sense");
        }
        if (exchange->whole) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        mmq_why why = {""};
        mmq_err err = take_page(exchange, &why);
        if (err == MMQ_EAGAIN) {
            mmq_exchange_suspend(exchange);
            return 0;
        }
        if (err != MMQ_OK && err != MMQ_EEND) {
            return break_off(exchange, why.text);
        }
    }
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* ---- headers ---------------------------------------------------------------------------- */

/* Stands in an ETag behind the state: another form of the same rows is another answer. */
static char form_letter(mmq_form form)
{
    static const char letters[] = {
        [MMQ_FORM_MSGPACK] = 'm',        [MMQ_FORM_JSON_METRIC] = 'j',
        [MMQ_FORM_JSON_METRICS] = 'j',   [MMQ_FORM_CSV] = 'c',
        [MMQ_FORM_NDJSON] = 'n',         [MMQ_FORM_JSON_SUMMARY] = 'j',
        [MMQ_FORM_JSON_SUMMARIES] = 'j', [MMQ_FORM_CSV_SUMMARY] = 'c',
        [MMQ_FORM_NDJSON_SUMMARY] = 'n',
    };
    char letter = (size_t)form < sizeof letters ? letters[form] : '\0';
    return letter ? letter : 'r';
}

/* The entity tag without quotes; false: there is none. A state is any worker's, and goes into a
 * header. */
static bool print_tag(const mmq_exchange *exchange, char out[ETAG_MAX])
{
    const char *state = exchange->stream ? mmq_stream_state(exchange->stream) : "";
    return exchange->tagged && mmq_text_plain(state, strlen(state)) &&
           snprintf(out, ETAG_MAX, "%s-%c", state, form_letter(exchange->form)) < ETAG_MAX;
}

static bool is_current(const mmq_slice *tag, void *current)
{
    return mmq_slice_is(tag, "*") || mmq_slice_is(tag, current);
}

static void add_stream_headers(mmq_exchange *exchange, const char *tag)
{
    if (tag) {
        char quoted[ETAG_MAX + 8];
        snprintf(quoted, sizeof quoted, "W/\"%s\"", tag);
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_ETAG, quoted);
    }
    if (exchange->zipped) {
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    }
    if (exchange->form == MMQ_FORM_MSGPACK) {
        mmq_exchange_header(exchange, "X-Accel-Buffering", "no");
    }
}

static int good_status(const mmq_exchange *exchange)
{
    return exchange->stream_status ? exchange->stream_status : 200;
}

static void respond(mmq_exchange *exchange, int status, const char *tag,
                    struct MHD_Response *response)
{
    const char *type = status < 300 ? mmq_render_content_type(exchange->form) : NULL;
    mmq_exchange_respond(exchange, status, type, exchange->tagged ? "no-cache" : "no-store",
                         response);
    add_stream_headers(exchange, tag);
}

/* No compressor (they are few) is no error: the text goes out as it is. */
static void begin_gzip(mmq_exchange *exchange)
{
    if (exchange->form != MMQ_FORM_MSGPACK && mmq_codings_gzip(&exchange->headers.accepted)) {
        exchange->gzip = mmq_gzip_take(&exchange->adapter->gzips);
        exchange->zipped = exchange->gzip != NULL;
    }
}

/* ---- whole answers ---------------------------------------------------------------------- */

/* libmicrohttpd is done with a frame that it sent from. */
static void free_frame(void *context)
{
    mmq_frame *frame = context;
    mmq_frame_close(frame);
    free(frame);
}

/* The payload itself, which is not copied. */
static struct MHD_Response *respond_frame(mmq_exchange *exchange, size_t *size)
{
    mmq_frame *frame = malloc(sizeof *frame);
    if (frame == NULL) {
        return NULL;
    }
    mmq_frame_init(frame);
    mmq_frame_move(frame, &exchange->page);
    *size = mmq_frame_size(frame);
    const union { /* libmicrohttpd changes nothing of it */
        const void *in;
        void *out;
    } bytes = {.in = mmq_frame_data(frame)};
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(*size, bytes.out, free_frame, frame);
    if (response == NULL) {
        free_frame(frame);
    }
    return response;
}

/* All that read() gives, into the buffer. */
static bool read_all(mmq_exchange *exchange, mmq_buffer *out,
                     size_t (*read)(mmq_exchange *exchange, char *out, size_t room, bool *failed))
{
    bool failed = false;
    for (;;) {
        uint8_t *room = mmq_buffer_reserve(out, BLOCK);
        size_t size = room ? read(exchange, (char *)room, BLOCK, &failed) : 0;
        if (size == 0) {
            return room != NULL && !failed;
        }
        out->size += size;
    }
}

static bool render_whole(mmq_exchange *exchange, mmq_buffer *text)
{
    bool fine = read_all(exchange, text, read_text);
    mmq_render_finish(exchange->render);
    exchange->whole = true;
    return fine && read_all(exchange, text, read_text);
}

static bool compress(mmq_exchange *exchange, const mmq_buffer *text, mmq_buffer *out)
{
    mmq_gzip *gzip = exchange->gzip;
    size_t at = 0;
    bool failed = false, last = false;
    while (!failed && !mmq_gzip_ended(gzip)) {
        uint8_t *room = mmq_buffer_reserve(out, BLOCK);
        if (room == NULL) {
            return false;
        }
        size_t size = mmq_gzip_read(gzip, (char *)room, BLOCK, &failed);
        out->size += size;
        if (size == 0 && !failed && !last) {
            size_t most;
            char *into = mmq_gzip_room(gzip, &most);
            size_t part = text->size - at < most ? text->size - at : most;
            memcpy(into, text->data + at, part);
            at += part;
            last = at == text->size;
            mmq_gzip_put(gzip, part, last);
        }
    }
    return !failed;
}

/* Compresses the text if that is wanted and worth it. */
static bool encode_whole(mmq_exchange *exchange, mmq_buffer *text)
{
    mmq_buffer packed;
    if (text->size >= MMQ_GZIP_LEAST) {
        begin_gzip(exchange);
    }
    if (exchange->gzip == NULL) {
        return true;
    }
    mmq_buffer_init(&packed, TEXT_MAX);
    if (!compress(exchange, text, &packed)) {
        mmq_buffer_clear(&packed);
        return false;
    }
    mmq_buffer_clear(text);
    *text = packed;
    return true;
}

static struct MHD_Response *respond_text(mmq_exchange *exchange, size_t *size)
{
    mmq_buffer text;
    mmq_buffer_init(&text, TEXT_MAX);
    struct MHD_Response *response = NULL;
    if (render_whole(exchange, &text) && encode_whole(exchange, &text)) {
        *size = text.size;
        response = MHD_create_response_from_buffer(text.size, text.data, MHD_RESPMEM_MUST_FREE);
    }
    if (response == NULL) {
        mmq_buffer_clear(&text);
    }
    return response;
}

static bool fits_whole(const mmq_exchange *exchange)
{
    return mmq_stream_whole(exchange->stream) &&
           (exchange->form == MMQ_FORM_MSGPACK || mmq_frame_size(&exchange->page) <= TEXT_PAYLOAD);
}

static void answer_whole(mmq_exchange *exchange, const char *tag)
{
    size_t size = 0;
    struct MHD_Response *response = exchange->form == MMQ_FORM_MSGPACK
                                        ? respond_frame(exchange, &size)
                                        : respond_text(exchange, &size);
    if (response == NULL) {
        mmq_exchange_refuse(exchange, 500, "the answer of the bus makes no sense");
        return;
    }
    exchange->bytes = exchange->head ? 0 : size;
    respond(exchange, good_status(exchange), tag, response);
}

/* ---- the first payload ------------------------------------------------------------------ */

/* The first payload is there, or the end. */
static void answer(mmq_exchange *exchange)
{
    char text[ETAG_MAX];
    char *tag = print_tag(exchange, text) ? text : NULL;
    if (mmq_stream_status(exchange->stream) == 304 ||
        (tag && mmq_headers_have_tag(&exchange->headers, is_current, tag))) {
        respond(exchange, 304, tag,
                MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    } else if (fits_whole(exchange)) {
        answer_whole(exchange, tag);
    } else if (exchange->old && exchange->seat->local && !exchange->head) {
        mmq_exchange_refuse(exchange, 505,
                            "over a unix socket an answer of this size needs HTTP/1.1");
    } else {
        begin_gzip(exchange);
        respond(exchange, good_status(exchange), tag,
                MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_answer, exchange,
                                                  NULL));
        if (!exchange->head) {
            return; /* it has only begun */
        }
    }
    mmq_exchange_clear_stream(exchange);
}

static void refuse_stream(mmq_exchange *exchange, mmq_err err, const mmq_why *why)
{
    int status = mmq_stream_status(exchange->stream);
    status = status >= 400 && status <= 599 ? status : mmq_err_status(err);
    mmq_slice *uid = &exchange->url.segments[1];
    if (status == 404 && exchange->url.depth > 1) {
        mmq_exchange_no_metric(exchange, uid->data, uid->size);
    } else {
        mmq_exchange_refuse(exchange, status, "%s", why->text);
    }
}

/* The stream has something to say. */
static void stream_ready(void *context)
{
    mmq_exchange *exchange = context;
    if (exchange->status != 0) {
        mmq_exchange_wake(exchange);
        return;
    }
    mmq_why why = {""};
    mmq_err err = take_page(exchange, &why);
    if (err == MMQ_OK || err == MMQ_EEND) {
        answer(exchange);
    } else if (err != MMQ_EAGAIN) {
        refuse_stream(exchange, err, &why);
    }
}

/* ---- asking ----------------------------------------------------------------------------- */

/* Finds a tag that may be ours: a state and this form's letter. */
static bool is_ours(const mmq_slice *tag, void *context)
{
    mmq_exchange *exchange = context;
    return tag->size > 2 && tag->data[tag->size - 2] == '-' &&
           tag->data[tag->size - 1] == form_letter(exchange->form);
}

struct search {
    mmq_exchange *exchange;
    mmq_slice found;
};

static bool find_ours(const mmq_slice *tag, void *context)
{
    struct search *search = context;
    search->found = *tag;
    return is_ours(tag, search->exchange);
}

/* The bus can compare with one tag, and then has nothing to do; with others we compare. A tag is
 * any client's, and goes to the bus. */
static void add_unless(mmq_exchange *exchange, mmq_args *args)
{
    struct search search = {.exchange = exchange};
    if (mmq_headers_have_tag(&exchange->headers, find_ours, &search) &&
        mmq_text_plain(search.found.data, search.found.size)) {
        mmq_args_text(args, "unless", search.found.data, search.found.size - 2);
    }
}

static size_t first_page_bytes(const mmq_exchange *exchange)
{
    if (!exchange->paged) {
        return 0; /* the op knows no such argument */
    }
    return exchange->head ? HEAD_BYTES : page_bytes(exchange);
}

static void start_stream(mmq_exchange *exchange, mmq_args *args)
{
    mmq_why why = {"no memory for the request"};
    mmq_args_cstr(args, "trace", exchange->trace);
    const mmq_stream_options options = {
        .call = {.service = MMQ_SERVICE_QUERY,
                 .args = args->pairs.data,
                 .args_size = args->pairs.size,
                 .args_count = args->count,
                 .timeout_ms = exchange->adapter->timeout_ms,
                 .retry = true,
                 .party = exchange->seat->party},
        .max_bytes = first_page_bytes(exchange),
        .ready = stream_ready,
        .context = exchange,
    };
    if (exchange->render && !args->pairs.failed) {
        exchange->stream = mmq_stream_new(exchange->adapter->client, &options, &why);
    }
    if (exchange->stream == NULL) {
        mmq_exchange_refuse(exchange, 503, "%s", why.text);
        return;
    }
    exchange->counted = true;
    exchange->adapter->stream_count++;
}

static void ask(mmq_exchange *exchange, mmq_args *args, mmq_form form, bool monitored)
{
    exchange->form = form;
    exchange->render = mmq_render_new(form);
    if (exchange->render && monitored) {
        mmq_render_monitored_only(exchange->render);
    }
    if (exchange->tagged) {
        add_unless(exchange, args);
    }
    start_stream(exchange, args);
    mmq_args_clear(args);
}

void mmq_exchange_stream(mmq_exchange *exchange, mmq_args *args, mmq_form form, bool monitored)
{
    ask(exchange, args, form, monitored);
}

void mmq_exchange_stream_tagged(mmq_exchange *exchange, mmq_args *args, mmq_form form,
                                bool monitored, bool paged)
{
    exchange->tagged = true;
    exchange->paged = paged;
    ask(exchange, args, form, monitored);
}
