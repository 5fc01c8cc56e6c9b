/* Any bytes as what a feedback worker, or who says it is one, answers to who takes JSON lines; what
 * is read of the answer is read in pieces of any size, at any time. All around it is stood in for
 * (--wrap). Steps are a byte that says what happens and two of a size. Each line is an object; only
 * the last one has a status; what waits to be read is bounded. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/exchange.h"
#include "clients/http/routes.h"
#include "lib/check.h"
#include "lib/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
bool __wrap_mmq_exchange_call_start(mmq_exchange *exchange, size_t index, mmq_call *call);
void __wrap_mmq_exchange_respond(mmq_exchange *exchange, int status, const char *type,
                                 const char *cache, struct MHD_Response *response);
void __wrap_mmq_exchange_answer(mmq_exchange *exchange, int status, const char *type,
                                const void *data, size_t size);
void __wrap_mmq_exchange_refuse(mmq_exchange *exchange, int status, const char *format, ...);
void __wrap_mmq_exchange_no_metric(mmq_exchange *exchange, const char *uid, size_t size);
void __wrap_mmq_exchange_suspend(mmq_exchange *exchange);
void __wrap_mmq_exchange_wake(mmq_exchange *exchange);
struct MHD_Response *
__wrap_MHD_create_response_from_callback(uint64_t size, size_t block,
                                         MHD_ContentReaderCallback reader, void *context,
                                         MHD_ContentReaderFreeCallback destroy);

enum { WAITING_MAX = 64 * 1024, PIECE_MAX = 4096 };

static mmq_call asked;
static MHD_ContentReaderCallback read_answer;
static bool whole, broken; /* the answer has ended */
static mmq_buffer line;    /* that is being read */
static bool last_line;     /* it was read */
static uint32_t state;     /* of what chooses sizes */

bool __wrap_mmq_exchange_call_start(mmq_exchange *exchange, size_t index, mmq_call *call)
{
    exchange->calls[index].exchange = exchange;
    exchange->calls[index].handle = 1;
    asked = *call;
    asked.context = &exchange->calls[index];
    return true;
}

void __wrap_mmq_exchange_respond(mmq_exchange *exchange, int status, const char *type,
                                 const char *cache, struct MHD_Response *response)
{
    (void)type, (void)cache, (void)response;
    CHECK(exchange->status == 0);
    exchange->status = status;
}

void __wrap_mmq_exchange_answer(mmq_exchange *exchange, int status, const char *type,
                                const void *data, size_t size)
{
    (void)type, (void)data, (void)size;
    CHECK(exchange->status == 0 && !exchange->feed.begun);
    exchange->status = status;
}

void __wrap_mmq_exchange_refuse(mmq_exchange *exchange, int status, const char *format, ...)
{
    (void)format;
    CHECK(!exchange->feed.begun && status >= 400 && status <= 599);
    exchange->status = status;
}

void __wrap_mmq_exchange_no_metric(mmq_exchange *exchange, const char *uid, size_t size)
{
    CHECK(!exchange->feed.begun && size == 1 && *uid == 'a');
    exchange->status = 404;
}

void __wrap_mmq_exchange_suspend(mmq_exchange *exchange)
{
    CHECK(!exchange->suspended);
    exchange->suspended = true;
}

void __wrap_mmq_exchange_wake(mmq_exchange *exchange)
{
    exchange->suspended = false;
}

struct MHD_Response *__wrap_MHD_create_response_from_callback(uint64_t size, size_t block,
                                                              MHD_ContentReaderCallback reader,
                                                              void *context,
                                                              MHD_ContentReaderFreeCallback destroy)
{
    (void)size, (void)block, (void)context, (void)destroy;
    read_answer = reader;
    return NULL;
}

static size_t feed_choose(size_t below)
{
    state = state * 1664525 + 1013904223;
    return (state >> 8) % below;
}

/* Has the object this key? The bytes are those of a line that is JSON, in its own key order. */
static bool has_key(const char *key)
{
    const char *text = mmq_buffer_cstr(&line);
    return text != NULL && strncmp(text + 2, key, strlen(key)) == 0;
}

static void check_line(void)
{
    mmq_why why;
    CHECK(!line.failed && !last_line && line.size > 2 && line.data[0] == '{');
    CHECK(mmq_json_check((const char *)line.data, line.size, &why) == MMQ_OK);
    last_line = has_key("status\": ");
    CHECK(last_line || has_key("stage\":"));
    mmq_buffer_reset(&line);
}

static void take_text(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n') {
            check_line();
        } else {
            mmq_buffer_add(&line, &text[i], 1);
        }
    }
}

/* What libmicrohttpd does when the reader has room. */
static void read_piece(mmq_exchange *exchange)
{
    char piece[PIECE_MAX];
    if (read_answer == NULL || exchange->suspended || whole || broken) {
        return;
    }
    const ssize_t size = read_answer(exchange, 0, piece, 1 + feed_choose(sizeof piece));
    whole = size == MHD_CONTENT_READER_END_OF_STREAM;
    broken = size == MHD_CONTENT_READER_END_WITH_ERROR;
    CHECK(whole || broken || size > 0 || exchange->suspended);
    if (size > 0) {
        take_text(piece, (size_t)size);
    }
}

/* Of the bytes the first three are a FINAL's status and how much of them is its reason. */
static void feed_answer(mmq_exchange *exchange, bool final, const uint8_t *data, size_t size)
{
    mmq_frame payload;
    mmq_header header = {.status = 200};
    if (exchange->calls[0].handle == 0) {
        return;
    }
    if (final && size >= 3) {
        header.status = 100 + (data[0] | data[1] << 8) % 500;
        header.error = (mmq_text){(const char *)data + 3, data[2] < size - 3 ? data[2] : size - 3};
        header.error.data = header.error.size > 0 ? header.error.data : NULL;
        data += 3 + header.error.size;
        size -= 3 + header.error.size;
    }
    CHECK(mmq_frame_copy(&payload, data, size) == MMQ_OK);
    const mmq_answer answer = {
        .final = final, .header = &header, .payload = size > 0 ? &payload : NULL};
    asked.answer(asked.context, &answer);
    CHECK((exchange->calls[0].handle == 0) == final);
    CHECK(!exchange->feed.begun || exchange->feed.text.size <= WAITING_MAX);
    mmq_frame_close(&payload);
}

static void feed_begin(mmq_exchange *exchange, mmq_adapter *adapter)
{
    static const char body[] = "{\"uid\": \"a\"}";
    exchange->adapter = adapter;
    adapter->timeout_ms = 1000;
    mmq_accept_init(&exchange->headers.accept);
    mmq_accept_add(&exchange->headers.accept, "application/x-ndjson");
    mmq_buffer_init(&exchange->body, 1024);
    mmq_buffer_add(&exchange->body, body, sizeof body - 1);
    read_answer = NULL;
    whole = broken = last_line = false;
    mmq_buffer_init(&line, WAITING_MAX);
    mmq_handle_feedback(exchange);
    exchange->suspended = true;
    CHECK(exchange->calls[0].handle != 0);
}

static void feed_end(mmq_exchange *exchange)
{
    for (size_t i = 0; i < WAITING_MAX && !exchange->suspended && !whole && !broken; i++) {
        read_piece(exchange);
    }
    if (exchange->calls[0].handle == 0 && exchange->feed.begun) {
        CHECK(broken || (whole && last_line && line.size == 0));
    }
    mmq_feed_clear(&exchange->feed);
    mmq_buffer_clear(&exchange->body);
    mmq_buffer_clear(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mmq_adapter adapter;
    mmq_exchange *exchange = calloc(1, sizeof *exchange);
    CHECK(exchange != NULL);
    state = (uint32_t)size;
    feed_begin(exchange, &adapter);
    while (size >= 3) {
        const uint8_t what = data[0];
        size_t part = (size_t)data[1] | (size_t)data[2] << 8;
        part = part < size - 3 ? part : size - 3;
        for (size_t i = what / 8; i > 0; i--) {
            read_piece(exchange);
        }
        feed_answer(exchange, what % 8 == 0, data + 3, part);
        data += 3 + part;
        size -= 3 + part;
    }
    feed_end(exchange);
    free(exchange);
    return 0;
}
