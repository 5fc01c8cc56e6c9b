/* A request that waits is a kept one in an array; nothing is done for it until a commit, or until
 * its time is nearly over: then it is answered too, so that the answer is there before the asker,
 * or the broker, gives up.
 *
 * Who asked may have left without a word, and nobody would say so before the time is over. So one
 * that comes when MMQ_WATCHERS_KEPT wait takes the place of the one that has waited longest, which
 * is answered: who is still there asks again.
 *
 * The store tells of changes within a transaction. If that comes to nothing, all is forgotten, so
 * that who watches reloads: it is rare, and what was noted cannot be taken back. */
#include "workers/watchers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "metricmq/pack.h"
#include "workers/changes.h"

enum {
    ANSWER_MAX = 256 * 1024, /* bytes; MMQ_CHANGES_TOLD pairs are less */
    STORE_TEXT = 17,         /* 16 hex digits */
};

#define MARGIN_NS (2 * MMQ_NS_PER_S) /* before the deadline, or half of a shorter time */
#define SOON_NS   MMQ_NS_PER_S

typedef struct waiting {
    mmq_request *request;
    int64_t since;
    int64_t begun_ns, due_ns;
} waiting;

struct mmq_watchers {
    mmq_store *store;
    mmq_changes *changes;
    size_t count;
    waiting waiting[MMQ_WATCHERS_KEPT];
};

/* ---- what is asked ---------------------------------------------------------------------- */

mmq_err mmq_watch_args_read(const void *body, size_t size, mmq_watch_args *out, mmq_why *why)
{
    static const mmq_field_spec fields[] = {
        {"since", MMQ_KIND_INT, false, offsetof(mmq_watch_args, since),
         offsetof(mmq_watch_args, has_since)},
        {"store", MMQ_KIND_TEXT, false, offsetof(mmq_watch_args, store), MMQ_NO_GIVEN},
    };
    mmq_slice op;
    *out = (mmq_watch_args){0};
    mmq_err err = mmq_fields_op(body, size, &op, why);
    if (err == MMQ_OK && !mmq_slice_is(&op, "watch")) {
        err = mmq_fail(why, MMQ_EINVAL, "\"op\" must be watch");
    }
    if (err == MMQ_OK) {
        err = mmq_fields_read(body, size, fields, sizeof fields / sizeof *fields, out, why);
    }
    if (err == MMQ_OK && out->has_since && out->since < 0) {
        err = mmq_fail(why, MMQ_EINVAL, "\"since\" must be a commit's number");
    }
    return err;
}

/* ---- answers ---------------------------------------------------------------------------- */

static void print_store(char out[STORE_TEXT], uint64_t store)
{
    snprintf(out, STORE_TEXT, "%016" PRIx64, store);
}

/* All of the answer but the pairs, which are its end. */
static void pack_head(mmq_buffer *out, const mmq_snapshot *now, bool reload)
{
    char store[STORE_TEXT];
    print_store(store, now->store);
    mmq_pack_map(out, 4);
    mmq_pack_cstr(out, "commit");
    mmq_pack_int(out, now->commit);
    mmq_pack_cstr(out, "store");
    mmq_pack_cstr(out, store);
    mmq_pack_cstr(out, "reload");
    mmq_pack_bool(out, reload);
    mmq_pack_cstr(out, "metrics");
}

static void pack_answer(const mmq_watchers *watchers, int64_t since, bool reload, mmq_buffer *out)
{
    const mmq_snapshot now = mmq_store_last(watchers->store);
    mmq_buffer pairs;
    mmq_buffer_init(&pairs, ANSWER_MAX);
    if (!reload) {
        reload = !mmq_changes_pack(watchers->changes, since, &pairs);
    }
    pack_head(out, &now, reload);
    if (reload) {
        mmq_pack_array(out, 0);
    } else {
        mmq_buffer_add(out, pairs.data, pairs.size);
        out->failed |= pairs.failed;
    }
    mmq_buffer_clear(&pairs);
}

static void answer(const mmq_watchers *watchers, mmq_request **request, int64_t since, bool reload)
{
    mmq_why why = {""};
    mmq_buffer body;
    mmq_frame payload;
    mmq_buffer_init(&body, ANSWER_MAX);
    mmq_frame_init(&payload);
    pack_answer(watchers, since, reload, &body);
    mmq_err err = mmq_buffer_to_frame(&body, &payload);
    if (err != MMQ_OK) {
        mmq_request_refuse(request, err, &why);
    } else {
        const mmq_final final = {.status = 200, .rows = -1};
        mmq_request_final(request, &final, &payload);
    }
    mmq_frame_close(&payload);
    mmq_buffer_clear(&body);
}

/* ---- who waits -------------------------------------------------------------------------- */

static void remove_at(mmq_watchers *watchers, size_t at)
{
    watchers->waiting[at] = watchers->waiting[--watchers->count];
}

/* Answers the one that has waited longest. */
static void make_room(mmq_watchers *watchers)
{
    size_t oldest = 0;
    for (size_t i = 1; i < watchers->count; i++) {
        if (watchers->waiting[i].begun_ns < watchers->waiting[oldest].begun_ns) {
            oldest = i;
        }
    }
    waiting *at = &watchers->waiting[oldest];
    if (mmq_request_awaited(at->request)) {
        answer(watchers, &at->request, at->since, false);
    } else {
        mmq_request_drop(&at->request);
    }
    remove_at(watchers, oldest);
}

static void keep(mmq_watchers *watchers, mmq_request **request, int64_t since)
{
    if (watchers->count == MMQ_WATCHERS_KEPT) {
        make_room(watchers);
    }
    const int64_t now_ns = mmq_now_ns(), left_ns = mmq_request_left_ns(*request);
    const int64_t margin_ns = left_ns / 2 < MARGIN_NS ? left_ns / 2 : MARGIN_NS;
    watchers->waiting[watchers->count++] = (waiting){.request = *request,
                                                     .since = since,
                                                     .begun_ns = now_ns,
                                                     .due_ns = now_ns + left_ns - margin_ns};
    mmq_request_keep(*request);
    *request = NULL;
}

/* A commit that we have not heard of may be another writer's, who has told of it already. */
static bool is_made(const mmq_watchers *watchers, int64_t commit)
{
    mmq_snapshot there;
    mmq_why why;
    if (commit <= mmq_store_last(watchers->store).commit) {
        return true;
    }
    if (!mmq_store_heed(watchers->store) ||
        mmq_store_begin_read(watchers->store, &there, &why) != MMQ_OK) {
        return false;
    }
    mmq_store_end_read(watchers->store);
    return commit <= there.commit;
}

void mmq_watchers_take(mmq_watchers *watchers, mmq_request **request)
{
    char store[STORE_TEXT];
    size_t size;
    const void *body = mmq_request_body(*request, &size);
    mmq_watch_args args;
    mmq_why why = {""};
    mmq_err err = mmq_watch_args_read(body, size, &args, &why);
    if (err != MMQ_OK) {
        mmq_request_refuse(request, err, &why);
        return;
    }
    const bool made = !args.has_since || is_made(watchers, args.since);
    const mmq_snapshot now = mmq_store_last(watchers->store);
    print_store(store, now.store);
    const bool another = args.store.data != NULL && !mmq_slice_is(&args.store, store);
    if (another || !made) {
        answer(watchers, request, 0, true); /* its numbers are another store's */
    } else if (args.has_since && args.since < now.commit) {
        answer(watchers, request, args.since, false);
    } else {
        keep(watchers, request, args.has_since ? args.since : now.commit);
    }
}

bool mmq_watchers_tend(mmq_watchers *watchers)
{
    const int64_t now_ns = mmq_now_ns();
    const bool others_write = mmq_store_heed(watchers->store);
    const mmq_snapshot now = mmq_store_last(watchers->store);
    bool soon = false;
    for (size_t i = watchers->count; i > 0; i--) {
        waiting *at = &watchers->waiting[i - 1];
        if (!mmq_request_awaited(at->request)) {
            mmq_request_drop(&at->request);
            remove_at(watchers, i - 1);
        } else if (at->since < now.commit || at->due_ns <= now_ns) {
            answer(watchers, &at->request, at->since, false);
            remove_at(watchers, i - 1);
        } else {
            soon |= at->due_ns - now_ns < SOON_NS;
        }
    }
    return soon || (others_write && watchers->count > 0);
}

/* ---- life ------------------------------------------------------------------------------- */

static void note_change(void *context, int64_t commit, const char *uid, int64_t last_rowid)
{
    mmq_watchers *watchers = context;
    mmq_changes_note(watchers->changes, commit, uid, last_rowid);
}

static void undo_changes(void *context)
{
    mmq_watchers *watchers = context;
    const int64_t newest = mmq_changes_newest(watchers->changes);
    if (newest > mmq_store_last(watchers->store).commit) {
        mmq_changes_forget(watchers->changes, newest);
    }
}

static void forget_changes(void *context)
{
    mmq_watchers *watchers = context;
    mmq_changes_forget(watchers->changes, mmq_store_last(watchers->store).commit);
}

/* A transaction that changes nothing lets the store know what there is. */
static mmq_err look_at_store(mmq_store *store, mmq_why *why)
{
    mmq_err err = mmq_store_begin_write(store, why);
    return err == MMQ_OK ? mmq_store_commit(store, why) : err;
}

mmq_watchers *mmq_watchers_new(mmq_store *store, mmq_why *why)
{
    if (look_at_store(store, why) != MMQ_OK) {
        return NULL;
    }
    mmq_watchers *watchers = calloc(1, sizeof *watchers);
    if (watchers != NULL) {
        watchers->store = store;
        watchers->changes = mmq_changes_new(mmq_store_last(store).commit);
    }
    if (watchers == NULL || watchers->changes == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the write worker");
        free(watchers);
        return NULL;
    }
    const mmq_store_listener listener = {.context = watchers,
                                         .changed = note_change,
                                         .undone = undo_changes,
                                         .missed = forget_changes};
    mmq_store_listen(store, &listener);
    return watchers;
}

void mmq_watchers_destroy(mmq_watchers **watchers_p)
{
    mmq_watchers *watchers = *watchers_p;
    if (watchers == NULL) {
        return;
    }
    const mmq_store_listener nobody = {0};
    mmq_store_listen(watchers->store, &nobody);
    for (size_t i = 0; i < watchers->count; i++) {
        mmq_request_drop(&watchers->waiting[i].request);
    }
    mmq_changes_destroy(&watchers->changes);
    free(watchers);
    *watchers_p = NULL;
}
