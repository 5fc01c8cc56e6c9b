/* The order is that of what is known: where a request comes from is looked at before its path, so
 * that a stranger's page learns nothing; a key before the path is said to be there or not; a right
 * when path and method are known.
 *
 * A key does not help a request with a foreign Origin or Host: a browser sends the key that it
 * remembers along with whatever a page makes it send. */
#include "clients/http/access.h"

#include <stdio.h>
#include <string.h>

#include "clients/http/routes.h"
#include "lib/clock.h"
#include "lib/intrusive.h"
#include "lib/log.h"

/* ---- Host and Origin -------------------------------------------------------------------- */

static bool has_own_host(const mmq_exchange *exchange)
{
    const char *host = exchange->headers.host;
    /* HTTP/1.0 without: no browser. */
    return host == NULL || mmq_hosts_know(&exchange->adapter->hosts, host);
}

static bool has_own_origin(const mmq_exchange *exchange)
{
    const mmq_headers *headers = &exchange->headers;
    if (headers->origins == 0) {
        return true;
    }
    return headers->origins == 1 &&
           (mmq_cors_allows(exchange) ||
            (headers->host != NULL && mmq_origin_is_own(headers->origin, headers->host)));
}

void mmq_access_check_source(mmq_exchange *exchange)
{
    if (!has_own_host(exchange)) {
        mmq_exchange_refuse(exchange, 403,
                            "the Host is no address of this server, nor a name of --http-host");
    } else if (!has_own_origin(exchange)) {
        mmq_exchange_refuse(exchange, 403,
                            "the Origin is not this server's, nor one of --cors-origin");
    }
}

/* ---- keys ------------------------------------------------------------------------------- */

/* Paths that want no key; what is not there under them does not either. */
static bool is_open(const mmq_exchange *exchange)
{
    const mmq_url *url = &exchange->url;
    return (exchange->route && exchange->route->rights == 0) ||
           (url->depth > 0 && mmq_slice_is(&url->segments[0], "health"));
}

/* A missing key is no guess: it is how a browser asks whether one is wanted. */
static void note_guess(mmq_exchange *exchange)
{
    mmq_adapter *adapter = exchange->adapter;
    if (exchange->headers.authorizations > 0) {
        const mmq_seat *seat = exchange->seat;
        const int64_t now_ns = mmq_now_ns();
        const int64_t wait_ns =
            mmq_guesses_note(&adapter->guesses, seat->party, seat->shared, now_ns);
        exchange->hold_ns = wait_ns > 0 ? now_ns + wait_ns : 0;
        exchange->unlogged = wait_ns > 0;
    }
}

static const mmq_key *find_key(const mmq_exchange *exchange)
{
    const mmq_headers *headers = &exchange->headers;
    return headers->authorizations == 1
               ? mmq_keys_find(exchange->adapter->keys, headers->authorization)
               : NULL;
}

void mmq_access_check_key(mmq_exchange *exchange, const char *method, unsigned *rights)
{
    *rights = MMQ_RIGHTS_ALL;
    if (!exchange->adapter->keyed || is_open(exchange) || mmq_cors_preflight(exchange, method)) {
        return;
    }
    const mmq_key *key = find_key(exchange);
    if (key) {
        *rights = key->rights;
        memcpy(exchange->key, key->name, sizeof exchange->key);
        return;
    }
    note_guess(exchange);
    mmq_exchange_refuse(exchange, 401, "the key is missing or wrong");
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Basic realm=\"metricmq\"");
}

void mmq_access_check_right(mmq_exchange *exchange, unsigned rights)
{
    const unsigned wanted = exchange->route->rights;
    if (wanted != 0 && (wanted & rights) == 0) {
        char text[MMQ_RIGHTS_TEXT];
        mmq_rights_print(wanted, text);
        mmq_exchange_refuse(exchange, 403, "this needs the right `%s`, which the key has not",
                            text);
    }
}

/* ---- answers that wait ------------------------------------------------------------------ */

bool mmq_access_holds(mmq_exchange *exchange)
{
    mmq_adapter *adapter = exchange->adapter;
    if (exchange->hold_ns <= mmq_now_ns() || adapter->draining) {
        return false;
    }
    mmq_heap_put(&adapter->held, &exchange->hold, exchange->hold_ns);
    return true;
}

void mmq_access_leave(mmq_exchange *exchange)
{
    mmq_heap_remove(&exchange->adapter->held, &exchange->hold);
}

static void say_guesses(mmq_guesses *guesses, int64_t now_ns, int64_t *left_ns)
{
    const uint64_t count = mmq_guesses_say(guesses, now_ns, left_ns);
    if (count > 0) {
        mmq_log(MMQ_WARN, "wrong keys: too many for a line each", MMQ_I("count", count));
    }
}

int64_t mmq_access_tick(mmq_adapter *adapter, bool all)
{
    int64_t left_ns;
    mmq_heap_item *first;
    const int64_t now_ns = mmq_now_ns();
    while ((first = mmq_heap_first(&adapter->held)) && (all || first->key <= now_ns)) {
        mmq_exchange *exchange = MMQ_OF(first, mmq_exchange, hold);
        exchange->hold_ns = 0;
        mmq_access_leave(exchange);
        mmq_exchange_wake(exchange);
    }
    if (all) {
        adapter->guesses.say_ns = 0;
    }
    say_guesses(&adapter->guesses, now_ns, &left_ns);
    const int64_t wake_ns = first ? first->key - now_ns : -1;
    return left_ns < 0 || (wake_ns >= 0 && wake_ns < left_ns) ? wake_ns : left_ns;
}
