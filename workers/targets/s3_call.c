/* A call goes round: made, signed and sent; judged when its exchange is done; and if there is
 * something to be gained, made once more. Other credentials and another clock are tried once each,
 * and do not count as tries. */
#include <string.h>

#include "lib/backoff.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "workers/targets/s3_store.h"

enum {
    CONNECT_MS = 10 * 1000,
    LEAST_MS = 100, /* before another try */
    MOST_MS = 2000,
    PATIENCE_S = 5, /* a store that wants to be left alone for longer ends the call */
    URL_MAX = 16 * 1024,
};

static const char no_bytes[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/* What is put together for one request. */
struct making {
    mmq_s3_keys keys;
    mmq_buffer path, url, authorization;
    char date[MMQ_S3_DATE + 1];
    mmq_s3_pair headers[MMQ_S3_HEADERS_MAX];
    size_t header_count;
};

static void add_header(struct making *making, const char *name, const char *value)
{
    CHECK(making->header_count < MMQ_S3_HEADERS_MAX);
    making->headers[making->header_count++] = (mmq_s3_pair){name, value};
}

static void making_clear(struct making *making)
{
    mmq_s3_keys_clear(&making->keys);
    mmq_buffer_clear(&making->path);
    mmq_buffer_clear(&making->url);
    mmq_buffer_clear(&making->authorization);
}

static void add_url(struct making *making, const mmq_s3_address *address, const mmq_s3_call *call)
{
    mmq_s3_address_path(&making->path, address, call->key);
    mmq_s3_address_origin(&making->url, address);
    const char *path = mmq_buffer_cstr(&making->path);
    mmq_s3_encode(&making->url, path != NULL ? path : "", true);
    mmq_buffer_text(&making->url, call->query_count > 0 ? "?" : "");
    mmq_s3_query(&making->url, call->query, call->query_count);
}

/* Host comes first: it is signed, but libcurl sends it by itself. */
static void add_headers(struct making *making, const mmq_s3_address *address,
                        const mmq_s3_call *call)
{
    add_header(making, "host", address->host);
    add_header(making, "x-amz-content-sha256", call->sha256 != NULL ? call->sha256 : no_bytes);
    add_header(making, "x-amz-date", making->date);
    if (making->keys.token[0] != '\0') {
        add_header(making, "x-amz-security-token", making->keys.token);
    }
    for (size_t i = 0; i < call->header_count; i++) {
        add_header(making, call->headers[i].name, call->headers[i].value);
    }
}

static mmq_err sign(struct making *making, const mmq_s3_store *store, const mmq_s3_call *call,
                    mmq_why *why)
{
    const mmq_s3_address *address = &store->address;
    const int64_t time_s = mmq_wall_s() + atomic_load(&store->skew_s);
    mmq_s3_date(time_s, making->date);
    add_url(making, address, call);
    add_headers(making, address, call);
    if (making->path.failed || making->url.failed) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a request");
    }
    const mmq_s3_request request = {
        .method = call->method,
        .path = mmq_buffer_cstr(&making->path),
        .query = call->query,
        .query_count = call->query_count,
        .headers = making->headers,
        .header_count = making->header_count,
        .sha256 = call->sha256 != NULL ? call->sha256 : no_bytes,
        .time_s = time_s,
        .region = address->region,
        .access_key = making->keys.access,
        .secret_key = making->keys.secret,
    };
    mmq_err err = mmq_s3_sign(&making->authorization, &request, why);
    if (err == MMQ_OK) {
        add_header(making, "Authorization", mmq_buffer_cstr(&making->authorization));
    }
    return err;
}

static mmq_err send(struct making *making, mmq_s3_session *session, mmq_s3_call *call, mmq_why *why)
{
    const mmq_s3_store *store = session->store;
    const mmq_s3_ask ask = {
        .method = call->method,
        .url = mmq_buffer_cstr(&making->url),
        .headers = making->headers + 1,
        .header_count = making->header_count - 1,
        .body = call->body,
        .reply_max = call->reply_max > 0 ? call->reply_max : MMQ_S3_REPLY_MAX,
        .stall_ns = store->stall_ns * (call->patience > 0 ? call->patience : 1),
        .connect_ns = CONNECT_MS * MMQ_NS_PER_MS,
        .ca_file = store->ca_file,
        .use_proxy = store->address.endpoint.is_tls,
    };
    return mmq_s3_link_start(session->link, &ask, &call->exchange, why);
}

static void fail(mmq_s3_call *call, mmq_err err, mmq_setback_kind kind, const mmq_why *why)
{
    call->is_done = true;
    call->verdict = (mmq_s3_verdict){.err = err, .setback = {.kind = kind}, .why = *why};
}

static void start(mmq_s3_session *session, mmq_s3_call *call)
{
    struct making making = {.header_count = 0};
    mmq_why why = {""};
    mmq_buffer_init(&making.path, URL_MAX);
    mmq_buffer_init(&making.url, URL_MAX);
    mmq_buffer_init(&making.authorization, URL_MAX);
    mmq_err err = mmq_s3_credentials_get(session->store->credentials, &session->asked, &making.keys,
                                         &call->serial, &why);
    if (err != MMQ_OK) {
        fail(call, err, MMQ_SETBACK_SETTINGS, &why);
    } else {
        err = sign(&making, session->store, call, &why);
        if (err == MMQ_OK) {
            err = send(&making, session, call, &why);
        }
        if (err != MMQ_OK) {
            fail(call, err, MMQ_SETBACK_PASSING, &why);
        }
    }
    making_clear(&making);
}

/* True if the call is worth another try, now or at due_ns. */
static bool find_remedy(mmq_s3_session *session, mmq_s3_call *call)
{
    mmq_s3_store *store = session->store;
    const mmq_s3_verdict *verdict = &call->verdict;
    call->due_ns = 0;
    if (verdict->remedy == MMQ_S3_KEYS && !call->has_new_keys) {
        call->has_new_keys = true;
        return mmq_s3_credentials_renew(store->credentials, &session->asked, call->serial);
    }
    if (verdict->remedy == MMQ_S3_CLOCK && !call->has_new_clock) {
        call->has_new_clock = true;
        atomic_store(&store->skew_s, verdict->skew_s);
        return true;
    }
    call->failures++;
    if (verdict->remedy != MMQ_S3_TIME || call->failures >= call->tries ||
        verdict->setback.wait_ns > PATIENCE_S * MMQ_NS_PER_S) {
        return false;
    }
    const int64_t backoff_ns = mmq_backoff_ns(call->failures - 1, LEAST_MS, MOST_MS);
    const int64_t asked_ns = verdict->setback.wait_ns;
    call->due_ns = mmq_now_ns() + (asked_ns > backoff_ns ? asked_ns : backoff_ns);
    return true;
}

void mmq_s3_call_step(mmq_s3_session *session, mmq_s3_call *call)
{
    if (call->is_done) {
        return;
    }
    if (call->exchange != NULL) {
        const mmq_s3_reply *reply = mmq_s3_exchange_reply(call->exchange);
        if (reply->end == MMQ_S3_PENDING) {
            return;
        }
        mmq_s3_judge(&session->store->address, reply, mmq_wall_s(), &call->verdict);
        if (call->verdict.err == MMQ_OK || !find_remedy(session, call)) {
            call->is_done = true;
            return;
        }
        mmq_s3_exchange_drop(&call->exchange);
    }
    if (mmq_now_ns() >= call->due_ns) {
        start(session, call);
    }
}

mmq_err mmq_s3_call_run(mmq_s3_session *session, mmq_s3_call *call)
{
    mmq_err err = MMQ_OK;
    for (mmq_s3_call_step(session, call); err == MMQ_OK && !call->is_done;
         mmq_s3_call_step(session, call)) {
        err = mmq_s3_session_wait(session);
    }
    if (session->stopped != MMQ_OK) {
        return session->stopped;
    }
    if (call->verdict.err != MMQ_OK) {
        session->verdict = call->verdict;
    }
    return call->verdict.err;
}

const mmq_s3_reply *mmq_s3_call_reply(const mmq_s3_call *call)
{
    return call->exchange != NULL ? mmq_s3_exchange_reply(call->exchange) : NULL;
}

void mmq_s3_call_end(mmq_s3_call *call)
{
    mmq_s3_exchange_drop(&call->exchange);
}
