/* Links are kept between sessions, with their open connections: each session takes one for itself,
 * so that only the taking needs the mutex. */
#include "workers/targets/s3_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"

enum {
    STALL_MS = 20 * 1000,
    STALL_MAX_MS = 60 * 60 * 1000,
    WAIT_MS = 50, /* for exchanges, before the watch is asked again */
    TICK_MS = 20, /* it is not asked more often */
};

/* ---- the store -------------------------------------------------------------------------- */

static mmq_err take_ca_file(mmq_s3_store *store, const char *given, mmq_why *why)
{
    const char *file = given != NULL ? given : mmq_s3_env("AWS_CA_BUNDLE", NULL);
    if (file == NULL) {
        return MMQ_OK;
    }
    if (access(file, R_OK) != 0) {
        return mmq_fail(why, MMQ_EINVAL, "the file of authorities \"%.150s\" cannot be read", file);
    }
    store->ca_file = strdup(file);
    return store->ca_file != NULL ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "no memory for a target");
}

mmq_s3_store *mmq_s3_store_new(const char *rest, const mmq_s3_settings *settings, mmq_why *why)
{
    const unsigned stall_ms = settings != NULL ? settings->stall_ms : 0;
    mmq_s3_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a target");
        return NULL;
    }
    CHECK(pthread_mutex_init(&store->mutex, NULL) == 0);
    store->stall_ns = (stall_ms == 0             ? STALL_MS
                       : stall_ms > STALL_MAX_MS ? STALL_MAX_MS
                                                 : (int64_t)stall_ms) *
                      MMQ_NS_PER_MS;
    mmq_err err = mmq_s3_http_setup(why);
    if (err == MMQ_OK) {
        err = mmq_s3_address_make(rest, settings, &store->address, why);
    }
    if (err == MMQ_OK) {
        err = take_ca_file(store, settings != NULL ? settings->ca_file : NULL, why);
    }
    if (err == MMQ_OK) {
        store->credentials = mmq_s3_credentials_new();
        err = store->credentials != NULL ? MMQ_OK
                                         : mmq_fail(why, MMQ_ENOMEM, "no memory for a target");
    }
    if (err != MMQ_OK) {
        mmq_s3_store_destroy(&store);
    }
    return store;
}

void mmq_s3_store_destroy(mmq_s3_store **store)
{
    if (*store == NULL) {
        return;
    }
    for (size_t i = 0; i < MMQ_S3_LINKS_KEPT; i++) {
        mmq_s3_link_destroy(&(*store)->links[i]);
    }
    mmq_s3_credentials_destroy(&(*store)->credentials);
    CHECK(pthread_mutex_destroy(&(*store)->mutex) == 0);
    free((*store)->ca_file);
    free(*store);
    *store = NULL;
}

/* ---- links ------------------------------------------------------------------------------ */

static mmq_s3_link *take_link(mmq_s3_store *store)
{
    mmq_s3_link *link = NULL;
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    for (size_t i = 0; link == NULL && i < MMQ_S3_LINKS_KEPT; i++) {
        link = store->links[i];
        store->links[i] = NULL;
    }
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
    return link != NULL ? link : mmq_s3_link_new();
}

/* Keeps the link if there is room for it; else it is the caller's to destroy. */
static void give_link(mmq_s3_store *store, mmq_s3_link **link)
{
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    for (size_t i = 0; *link != NULL && i < MMQ_S3_LINKS_KEPT; i++) {
        if (store->links[i] == NULL) {
            store->links[i] = *link;
            *link = NULL;
        }
    }
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
}

/* ---- sessions --------------------------------------------------------------------------- */

mmq_err mmq_s3_session_tick(mmq_s3_session *session)
{
    if (session->stopped == MMQ_OK) {
        session->ticked_ns = mmq_now_ns();
        session->stopped = session->watch.tick(session->watch.context, "upload", session->done,
                                               session->total, &session->stopped_why);
    }
    return session->stopped;
}

static mmq_err ask_session(void *context, const char *stage, int64_t done, int64_t total,
                           mmq_why *why)
{
    mmq_s3_session *session = context;
    (void)stage, (void)done, (void)total;
    mmq_err err = mmq_s3_session_tick(session);
    return err == MMQ_OK ? MMQ_OK : mmq_fail(why, err, "%s", session->stopped_why.text);
}

mmq_err mmq_s3_session_begin(mmq_s3_session *session, mmq_s3_store *store, const mmq_watch *watch,
                             mmq_why *why)
{
    *session = (mmq_s3_session){.store = store, .watch = *watch};
    session->asked = (mmq_watch){ask_session, session};
    session->link = take_link(store);
    return session->link != NULL ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "no memory for an upload");
}

void mmq_s3_session_end(mmq_s3_session *session)
{
    if (session->link != NULL) {
        give_link(session->store, &session->link);
        mmq_s3_link_destroy(&session->link);
    }
}

/* The outer watch is told that work goes on, and not heeded. */
static mmq_err ask_time(void *context, const char *stage, int64_t done, int64_t total, mmq_why *why)
{
    const mmq_s3_session *session = context;
    mmq_why ignored;
    (void)session->outer.tick(session->outer.context, stage, done, total, &ignored);
    return mmq_now_ns() < session->end_ns
               ? MMQ_OK
               : mmq_fail(why, MMQ_ETIMEOUT, "putting things in order took too long");
}

void mmq_s3_session_limit(mmq_s3_session *session, int64_t limit_ns)
{
    session->end_ns = mmq_now_ns() + limit_ns;
    session->outer = session->watch;
    session->watch = (mmq_watch){ask_time, session};
    session->asked.context = session;
    session->stopped = MMQ_OK;
}

mmq_err mmq_s3_session_wait(mmq_s3_session *session)
{
    mmq_err err = session->stopped;
    if (mmq_now_ns() - session->ticked_ns >= TICK_MS * MMQ_NS_PER_MS) {
        err = mmq_s3_session_tick(session);
    }
    if (err == MMQ_OK) {
        mmq_s3_link_wait(session->link, WAIT_MS);
    }
    return err;
}
