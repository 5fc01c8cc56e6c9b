/* libmicrohttpd pulls: it is given what there is, or the connection is suspended until there is
 * more. The buffer has room for the last line when all others no longer fit. */
#include "clients/http/feed.h"

#include <string.h>

#include "clients/http/exchange.h"

enum {
    BLOCK = 4096,
    LINES_MAX = 16 * 1024, /* bytes of lines that wait */
    LAST_MAX = 33 * 1024,  /* of the last one */
};

void mmq_feed_clear(mmq_feed *feed)
{
    if (feed->begun) {
        mmq_buffer_clear(&feed->text);
    }
    *feed = (mmq_feed){0};
}

/* libmicrohttpd's content reader. */
static ssize_t read_feed(void *context, uint64_t position, char *out, size_t room)
{
    mmq_exchange *exchange = context;
    mmq_feed *feed = &exchange->feed;
    (void)position;
    size_t size = feed->text.size - feed->at;
    if (exchange->broken || feed->text.failed) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (size == 0 && feed->ended) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (size == 0) {
        mmq_exchange_suspend(exchange);
        return 0;
    }
    size = size < room ? size : room;
    memcpy(out, feed->text.data + feed->at, size);
    feed->at += size;
    exchange->bytes += size;
    if (feed->at == feed->text.size) {
        mmq_buffer_reset(&feed->text);
        feed->at = 0;
    }
    return (ssize_t)size;
}

static void begin(mmq_exchange *exchange, const char *type)
{
    exchange->feed.begun = true;
    mmq_buffer_init(&exchange->feed.text, LINES_MAX + LAST_MAX);
    mmq_exchange_respond(
        exchange, 200, type, "no-store",
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_feed, exchange, NULL));
}

void mmq_feed_line(mmq_exchange *exchange, const char *type, const mmq_buffer *line, bool last)
{
    mmq_feed *feed = &exchange->feed;
    if (!feed->begun) {
        begin(exchange, type);
    }
    if (last && line->failed) {
        feed->text.failed = true; /* without its last line the answer must not look whole */
    } else if (last || (!line->failed && feed->text.size + line->size < LINES_MAX)) {
        mmq_buffer_add(&feed->text, line->data, line->size);
        mmq_buffer_text(&feed->text, "\n");
    }
    feed->ended = last;
    mmq_exchange_wake(exchange);
}
