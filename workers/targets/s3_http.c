/* A link is a multi handle, which owns the connections, and the easy handles that are not in use,
 * which remember sessions of TLS.
 *
 * Pace is watched here and not by CURLOPT_LOW_SPEED_*, which knows whole seconds only, acts late,
 * and takes for sent what the kernel still holds: on a slow line that can be more than a stall's
 * worth, and the answer cannot come before it has left. What counts is what has left the socket's
 * queue, and what came in.
 *
 * A body is read from its file at the moment it is sent, by pread, so that exchanges share the
 * descriptor and no part is ever in memory. */
#include "workers/targets/s3_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"

enum {
    SEND_BYTES = 256 * 1024, /* handed to the kernel at once */
    EXPECT_MS = 100,         /* a store that answers no "Expect" costs so much a request */
    USUAL_REPLY = 8 * 1024,
    KEPT_CONNECTIONS = MMQ_S3_AT_ONCE + 1,
};

struct mmq_s3_link {
    CURLM *multi;
    CURL *idle[MMQ_S3_AT_ONCE]; /* NULL: none */
    mmq_s3_exchange *open[MMQ_S3_AT_ONCE];
    bool has_news; /* an exchange was done since last asked */
};

struct mmq_s3_exchange {
    mmq_s3_link *link;
    CURL *easy;
    struct curl_slist *headers;
    mmq_s3_body body;
    int64_t body_at; /* of it, what is read next */
    mmq_s3_reply reply;
    size_t header_bytes;
    bool is_flooded, is_unreadable, is_stalled;
    int64_t stall_ns, end_ns;    /* the latest end, whatever the pace */
    int64_t mark_ns, mark_bytes; /* when it had moved so much: its pace is measured from here */
    char error[CURL_ERROR_SIZE];
};

/* ---- set up ----------------------------------------------------------------------------- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_code;

static void begin_global(void)
{
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

mmq_err mmq_s3_http_setup(mmq_why *why)
{
    CHECK(pthread_once(&global_once, begin_global) == 0);
    return global_code == CURLE_OK ? MMQ_OK
                                   : mmq_fail(why, MMQ_ENOMEM, "libcurl cannot be set up: %s",
                                              curl_easy_strerror(global_code));
}

mmq_s3_link *mmq_s3_link_new(void)
{
    mmq_s3_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    link->multi = curl_multi_init();
    if (link->multi == NULL ||
        curl_multi_setopt(link->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS) != CURLM_OK) {
        mmq_s3_link_destroy(&link);
    }
    return link;
}

void mmq_s3_link_destroy(mmq_s3_link **link)
{
    if (*link == NULL) {
        return;
    }
    for (size_t i = 0; i < MMQ_S3_AT_ONCE; i++) {
        CHECK((*link)->open[i] == NULL);
        curl_easy_cleanup((*link)->idle[i]);
    }
    (void)curl_multi_cleanup((*link)->multi);
    free(*link);
    *link = NULL;
}

static CURL *take_easy(mmq_s3_link *link)
{
    for (size_t i = 0; i < MMQ_S3_AT_ONCE; i++) {
        CURL *easy = link->idle[i];
        if (easy != NULL) {
            link->idle[i] = NULL;
            return easy;
        }
    }
    return curl_easy_init();
}

static void give_easy(mmq_s3_link *link, CURL *easy)
{
    curl_easy_reset(easy); /* keeps sessions of TLS */
    for (size_t i = 0; i < MMQ_S3_AT_ONCE; i++) {
        if (link->idle[i] == NULL) {
            link->idle[i] = easy;
            return;
        }
    }
    curl_easy_cleanup(easy);
}

/* ---- what libcurl calls ----------------------------------------------------------------- */

static size_t read_file(mmq_s3_exchange *exchange, char *out, size_t size)
{
    ssize_t got;
    do {
        got = pread(exchange->body.fd, out, size, exchange->body.at + exchange->body_at);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
        exchange->is_unreadable = true;
        return CURL_READFUNC_ABORT;
    }
    return (size_t)got;
}

static size_t read_body(char *out, size_t size, size_t count, void *context)
{
    mmq_s3_exchange *exchange = context;
    const int64_t left = exchange->body.size - exchange->body_at;
    const size_t room = size * count, wanted = left < (int64_t)room ? (size_t)left : room;
    size_t got = wanted;
    if (wanted > 0 && exchange->body.data == NULL) {
        got = read_file(exchange, out, wanted);
    } else if (wanted > 0) {
        memcpy(out, (const char *)exchange->body.data + exchange->body_at, wanted);
    }
    if (got != CURL_READFUNC_ABORT) {
        exchange->body_at += (int64_t)got;
    }
    return got;
}

/* libcurl begins anew on another connection. */
static int seek_body(void *context, curl_off_t offset, int origin)
{
    mmq_s3_exchange *exchange = context;
    if (origin != SEEK_SET || offset < 0 || offset > exchange->body.size) {
        return CURL_SEEKFUNC_FAIL;
    }
    exchange->body_at = offset;
    return CURL_SEEKFUNC_OK;
}

static size_t write_reply(char *data, size_t size, size_t count, void *context)
{
    mmq_s3_exchange *exchange = context;
    mmq_buffer_add(&exchange->reply.body, data, size * count);
    exchange->is_flooded = exchange->is_flooded || exchange->reply.body.failed;
    return exchange->reply.body.failed ? 0 : size * count;
}

struct kept_header {
    const char *name;
    size_t offset, room;
};

#define KEPT(name_, member_)                                                                       \
    {                                                                                              \
        name_, offsetof(mmq_s3_reply, member_), sizeof(((mmq_s3_reply *)NULL)->member_)            \
    }

static const struct kept_header kept_headers[] = {
    KEPT("etag", etag),
    KEPT("date", date),
    KEPT("retry-after", retry_after),
    KEPT("content-length", length),
    KEPT("x-amz-bucket-region", region),
    KEPT("x-amz-server-side-encryption", encryption),
    KEPT("x-amz-server-side-encryption-customer-algorithm", customer),
    KEPT("x-amz-meta-sha256", meta_sha256),
};

enum { KEPT_COUNT = sizeof kept_headers / sizeof *kept_headers };

static char *room_of(mmq_s3_reply *reply, const struct kept_header *kept)
{
    return (char *)reply + kept->offset;
}

/* Of several answers (100 Continue comes before the real one) the last one counts. */
static void forget_headers(mmq_s3_reply *reply)
{
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        room_of(reply, &kept_headers[i])[0] = '\0';
    }
}

static void keep_header(mmq_s3_reply *reply, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    for (size_t i = 0; colon != NULL && i < KEPT_COUNT; i++) {
        const struct kept_header *kept = &kept_headers[i];
        const size_t name_size = strlen(kept->name);
        if ((size_t)(colon - line) != name_size || strncasecmp(line, kept->name, name_size) != 0) {
            continue;
        }
        const char *value = colon + 1, *end = line + size;
        while (value < end && (*value == ' ' || *value == '\t')) {
            value++;
        }
        while (end > value && strchr(" \t\r\n", end[-1]) != NULL) {
            end--;
        }
        const size_t value_size = (size_t)(end - value);
        const bool fits = value_size < kept->room && memchr(value, '\0', value_size) == NULL;
        char *out = room_of(reply, kept);
        memcpy(out, value, fits ? value_size : 0);
        out[fits ? value_size : 0] = '\0';
    }
}

static size_t take_header(char *data, size_t size, size_t count, void *context)
{
    mmq_s3_exchange *exchange = context;
    const size_t bytes = size * count;
    exchange->header_bytes += bytes;
    if (exchange->header_bytes > MMQ_S3_REPLY_MAX) {
        exchange->is_flooded = true;
        return 0;
    }
    if (bytes >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        forget_headers(&exchange->reply);
    } else {
        keep_header(&exchange->reply, data, bytes);
    }
    return bytes;
}

/* ---- beginning -------------------------------------------------------------------------- */

/* The list may hold a token. */
static void wipe_headers(struct curl_slist **headers)
{
    for (struct curl_slist *node = *headers; node != NULL; node = node->next) {
        explicit_bzero(node->data, strlen(node->data));
    }
    curl_slist_free_all(*headers);
    *headers = NULL;
}

static bool make_headers(mmq_s3_exchange *exchange, const mmq_s3_ask *ask)
{
    mmq_buffer line;
    mmq_buffer_init(&line, MMQ_S3_REPLY_MAX);
    bool ok = true;
    for (size_t i = 0; ok && i < ask->header_count; i++) {
        mmq_buffer_reset(&line);
        mmq_buffer_format(&line, "%s: %s", ask->headers[i].name, ask->headers[i].value);
        const char *text = mmq_buffer_cstr(&line);
        struct curl_slist *list = text == NULL ? NULL : curl_slist_append(exchange->headers, text);
        ok = list != NULL;
        exchange->headers = ok ? list : exchange->headers;
    }
    if (line.data != NULL) {
        explicit_bzero(line.data, line.capacity);
    }
    mmq_buffer_clear(&line);
    return ok;
}

/* Each of these is true if libcurl took all options: it refuses them only without memory, or as
 * not built in, which Debian's is. */
#define SET(option_, ...) (curl_easy_setopt(exchange->easy, option_, __VA_ARGS__) == CURLE_OK)

static bool set_transport(mmq_s3_exchange *exchange, const mmq_s3_ask *ask)
{
    bool ok = SET(CURLOPT_URL, ask->url) && SET(CURLOPT_PATH_AS_IS, 1L) &&
              SET(CURLOPT_PROTOCOLS_STR, "http,https") && SET(CURLOPT_FOLLOWLOCATION, 0L) &&
              SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) && SET(CURLOPT_NOSIGNAL, 1L) &&
              SET(CURLOPT_ERRORBUFFER, exchange->error) && SET(CURLOPT_SSL_VERIFYPEER, 1L) &&
              SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
              SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
              SET(CURLOPT_TCP_KEEPALIVE, 1L) && SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
              SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(ask->connect_ns / MMQ_NS_PER_MS)) &&
              SET(CURLOPT_USERAGENT, "metricmq/" MMQ_VERSION) && SET(CURLOPT_PRIVATE, exchange);
    if (ok && ask->ca_file != NULL) {
        ok = SET(CURLOPT_CAINFO, ask->ca_file) && SET(CURLOPT_CAPATH, NULL);
    }
    if (ok && !ask->use_proxy) {
        ok = SET(CURLOPT_PROXY, "");
    }
    /* A name that is still looked up when it is given up is left to its thread: without this
     * libcurl would wait for it. */
    return ok && SET(CURLOPT_QUICK_EXIT, 1L);
}

static bool set_method(mmq_s3_exchange *exchange, const mmq_s3_ask *ask)
{
    if (strcmp(ask->method, "GET") == 0) {
        return SET(CURLOPT_HTTPGET, 1L);
    }
    if (strcmp(ask->method, "HEAD") == 0) {
        return SET(CURLOPT_NOBODY, 1L);
    }
    if (strcmp(ask->method, "DELETE") == 0) {
        return SET(CURLOPT_CUSTOMREQUEST, ask->method);
    }
    return SET(CURLOPT_UPLOAD, 1L) && SET(CURLOPT_CUSTOMREQUEST, ask->method) &&
           SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)ask->body.size) &&
           SET(CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BYTES) &&
           SET(CURLOPT_EXPECT_100_TIMEOUT_MS, (long)EXPECT_MS);
}

static bool set_callbacks(mmq_s3_exchange *exchange)
{
    return SET(CURLOPT_READFUNCTION, read_body) && SET(CURLOPT_READDATA, exchange) &&
           SET(CURLOPT_SEEKFUNCTION, seek_body) && SET(CURLOPT_SEEKDATA, exchange) &&
           SET(CURLOPT_WRITEFUNCTION, write_reply) && SET(CURLOPT_WRITEDATA, exchange) &&
           SET(CURLOPT_HEADERFUNCTION, take_header) && SET(CURLOPT_HEADERDATA, exchange) &&
           SET(CURLOPT_HTTPHEADER, exchange->headers);
}

static mmq_s3_exchange *exchange_new(mmq_s3_link *link, const mmq_s3_ask *ask)
{
    mmq_s3_exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL) {
        return NULL;
    }
    exchange->link = link;
    exchange->body = ask->body;
    exchange->stall_ns = ask->stall_ns;
    exchange->mark_ns = mmq_now_ns();
    exchange->end_ns = exchange->mark_ns + ask->connect_ns + 2 * ask->stall_ns +
                       ask->body.size / MMQ_S3_LEAST_BYTES_A_S * MMQ_NS_PER_S;
    mmq_buffer_init(&exchange->reply.body, ask->reply_max);
    if (ask->reply_max >= USUAL_REPLY) { /* so that it need not grow, which leaves copies behind */
        (void)mmq_buffer_reserve(&exchange->reply.body, USUAL_REPLY);
        mmq_buffer_reset(&exchange->reply.body);
    }
    return exchange;
}

mmq_err mmq_s3_link_start(mmq_s3_link *link, const mmq_s3_ask *ask, mmq_s3_exchange **out,
                          mmq_why *why)
{
    size_t place = 0;
    while (place < MMQ_S3_AT_ONCE && link->open[place] != NULL) {
        place++;
    }
    CHECK(place < MMQ_S3_AT_ONCE);
    mmq_s3_exchange *exchange = exchange_new(link, ask);
    if (exchange != NULL) {
        link->open[place] = exchange;
        exchange->easy = take_easy(link);
        if (exchange->easy != NULL && make_headers(exchange, ask) && set_transport(exchange, ask) &&
            set_method(exchange, ask) && set_callbacks(exchange) &&
            curl_multi_add_handle(link->multi, exchange->easy) == CURLM_OK) {
            *out = exchange;
            return MMQ_OK;
        }
        mmq_s3_exchange_drop(&exchange);
    }
    return mmq_fail(why, MMQ_ENOMEM, "no memory for a request");
}

/* ---- going on --------------------------------------------------------------------------- */

static mmq_s3_end end_of(const mmq_s3_exchange *exchange, CURLcode code)
{
    if (exchange->is_unreadable || exchange->is_flooded || exchange->is_stalled) {
        return exchange->is_unreadable ? MMQ_S3_UNREADABLE
               : exchange->is_flooded  ? MMQ_S3_FLOODED
                                       : MMQ_S3_STALLED;
    }
    switch ((int)code) {
    case CURLE_OK:
        return MMQ_S3_ANSWERED;
    case CURLE_OUT_OF_MEMORY:
        return MMQ_S3_NO_MEMORY;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return MMQ_S3_UNTRUSTED;
    default:
        return MMQ_S3_BROKEN;
    }
}

/* Takes the handle out of the multi, whose connection is closed unless the answer is whole. */
static void finish(mmq_s3_exchange *exchange, CURLcode code)
{
    long status = 0;
    exchange->reply.end = end_of(exchange, code);
    (void)curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    exchange->reply.status = exchange->reply.end == MMQ_S3_ANSWERED ? (int)status : 0;
    snprintf(exchange->reply.error, sizeof exchange->reply.error, "%s",
             exchange->error[0] != '\0' ? exchange->error : curl_easy_strerror(code));
    (void)curl_multi_remove_handle(exchange->link->multi, exchange->easy);
    exchange->link->has_news = true;
}

/* Bytes that the kernel was given and that the peer has not acknowledged. */
static int64_t queued_bytes(const mmq_s3_exchange *exchange)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    int queued = 0;
    if (curl_easy_getinfo(exchange->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD || ioctl(fd, SIOCOUTQ, &queued) != 0) {
        return 0;
    }
    return queued;
}

int64_t mmq_s3_exchange_sent(const mmq_s3_exchange *exchange)
{
    curl_off_t sent = 0;
    if (exchange->reply.end != MMQ_S3_PENDING) {
        return exchange->body_at;
    }
    (void)curl_easy_getinfo(exchange->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    const int64_t queued = queued_bytes(exchange);
    return sent > queued ? sent - queued : 0;
}

static bool is_too_slow(mmq_s3_exchange *exchange, int64_t now_ns)
{
    const int64_t moved = mmq_s3_exchange_sent(exchange) + (int64_t)exchange->reply.body.size +
                          (int64_t)exchange->header_bytes;
    const int64_t wanted = MMQ_S3_LEAST_BYTES_A_S * exchange->stall_ns / MMQ_NS_PER_S;
    if (moved < exchange->mark_bytes) { /* libcurl began anew */
        exchange->mark_bytes = moved;
    } else if (moved - exchange->mark_bytes >= wanted) {
        exchange->mark_bytes = moved;
        exchange->mark_ns = now_ns;
    }
    return now_ns - exchange->mark_ns >= exchange->stall_ns || now_ns >= exchange->end_ns;
}

static void end_the_slow(mmq_s3_link *link)
{
    const int64_t now_ns = mmq_now_ns();
    for (size_t i = 0; i < MMQ_S3_AT_ONCE; i++) {
        mmq_s3_exchange *exchange = link->open[i];
        if (exchange != NULL && exchange->reply.end == MMQ_S3_PENDING &&
            is_too_slow(exchange, now_ns)) {
            exchange->is_stalled = true;
            finish(exchange, CURLE_OPERATION_TIMEDOUT);
        }
    }
}

static void perform(mmq_s3_link *link)
{
    int running = 0, left = 0;
    (void)curl_multi_perform(link->multi, &running);
    for (CURLMsg *news; (news = curl_multi_info_read(link->multi, &left)) != NULL;) {
        mmq_s3_exchange *exchange = NULL;
        (void)curl_easy_getinfo(news->easy_handle, CURLINFO_PRIVATE, &exchange);
        if (news->msg == CURLMSG_DONE && exchange != NULL) {
            finish(exchange, news->data.result);
        }
    }
}

void mmq_s3_link_wait(mmq_s3_link *link, int timeout_ms)
{
    perform(link);
    if (!link->has_news) {
        (void)curl_multi_poll(link->multi, NULL, 0, timeout_ms, NULL);
        perform(link);
    }
    end_the_slow(link);
    link->has_news = false;
}

const mmq_s3_reply *mmq_s3_exchange_reply(const mmq_s3_exchange *exchange)
{
    return &exchange->reply;
}

void mmq_s3_exchange_drop(mmq_s3_exchange **exchange)
{
    mmq_s3_exchange *gone = *exchange;
    if (gone == NULL) {
        return;
    }
    for (size_t i = 0; i < MMQ_S3_AT_ONCE; i++) {
        if (gone->link->open[i] == gone) {
            gone->link->open[i] = NULL;
        }
    }
    if (gone->easy != NULL) {
        (void)curl_multi_remove_handle(gone->link->multi, gone->easy);
        give_easy(gone->link, gone->easy);
    }
    wipe_headers(&gone->headers);
    if (gone->reply.body.data != NULL) { /* an instance's credentials come as an answer */
        explicit_bzero(gone->reply.body.data, gone->reply.body.capacity);
    }
    mmq_buffer_clear(&gone->reply.body);
    free(gone);
    *exchange = NULL;
}
