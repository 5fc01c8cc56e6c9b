/* `metricmq watch`: prints rows as they come.
 *
 * metric.watch says which metrics have changed; their rows from the last one that was shown on are
 * then asked of metric.query, and those before it and itself left out. So whatever is lost on the
 * way (an answer, a worker, the broker), the same question again shows what is new, and nothing
 * twice. The order is that of time: a row that comes late, with a time before that of the last one
 * that was shown, is not shown; with --anomaly the same holds for a score that comes late.
 *
 * The present commit is asked for first, then the last row of each metric: what comes in between
 * is told as a change, and is behind those rows.
 *
 * One thread; signals are blocked, and looked for every LOOK_MS. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "clients/commands/attend.h"
#include "clients/commands/commands.h"
#include "clients/commands/follow_marks.h"
#include "clients/commands/output.h"
#include "clients/commands/reply.h"
#include "lib/backoff.h"
#include "lib/buffer.h"
#include "lib/calendar.h"
#include "lib/clock.h"
#include "metricmq/pack.h"

enum {
    LOOK_MS = 100,
    PACE_MS = 100,    /* between two questions: several commits are then one answer */
    WATCH_MS = 30000, /* a question's time */
    PRESENT_MS = 400, /* of the first one, which is answered when half of it is over */
    RETRY_LEAST_MS = 100,
    RETRY_MOST_MS = 2000,
    STORE_MAX = 64,
    ROWS_MAX = 32 * 1024 * 1024, /* bytes of the rows of a payload */
};

struct follow {
    mmq_client *client;
    const char *uid; /* NULL: all metrics */
    double anomaly;
    unsigned timeout_ms;
    mmq_render *render;
    bool named; /* the renderer has the names of the columns */
    mmq_marks marks;
    bool known; /* the two below are */
    int64_t commit;
    char store[STORE_MAX + 1];
    unsigned failures; /* in a row */
};

/* ---- waiting ---------------------------------------------------------------------------- */

/* Waits for the bus, at most that long; MMQ_ECLOSED: a signal has come. */
static mmq_err wait_bus(struct follow *follow, int64_t most_ns)
{
    const int64_t step_ns = mmq_client_step(follow->client);
    int64_t wait_ns = most_ns < LOOK_MS * MMQ_NS_PER_MS ? most_ns : LOOK_MS * MMQ_NS_PER_MS;
    wait_ns = step_ns >= 0 && step_ns < wait_ns ? step_ns : wait_ns;
    struct pollfd bus = {.fd = mmq_client_descriptor(follow->client), .events = POLLIN};
    (void)poll(&bus, 1, (int)((wait_ns + MMQ_NS_PER_MS - 1) / MMQ_NS_PER_MS));
    return mmq_attend_stopped() ? MMQ_ECLOSED : MMQ_OK;
}

static mmq_err pause_for(struct follow *follow, int64_t ns)
{
    const int64_t end_ns = mmq_now_ns() + ns;
    mmq_err err = MMQ_OK;
    for (int64_t left_ns = ns; left_ns > 0 && err == MMQ_OK; left_ns = end_ns - mmq_now_ns()) {
        err = wait_bus(follow, left_ns);
    }
    return err;
}

/* What may pass, and is asked again: a worker or the broker is away, or slow. */
static bool may_pass(mmq_err err)
{
    return err == MMQ_EUNAVAILABLE || err == MMQ_ETIMEOUT || err == MMQ_EUNREACHABLE ||
           err == MMQ_EGONE || err == MMQ_EBUSY;
}

/* After a failure: says it once, and waits a moment. Other errors, and signals, are returned. */
static mmq_err bear(struct follow *follow, mmq_err err, const mmq_why *why)
{
    if (!may_pass(err)) {
        return err;
    }
    if (follow->failures == 0) {
        fprintf(stderr, "metricmq: %s; waiting\n", why->text);
    }
    follow->failures++;
    return pause_for(follow, mmq_backoff_ns(follow->failures - 1, RETRY_LEAST_MS, RETRY_MOST_MS));
}

/* ---- rows ------------------------------------------------------------------------------- */

static mmq_err write_text(struct follow *follow, mmq_why *why)
{
    char block[16384];
    bool failed = false;
    size_t size;
    while ((size = mmq_render_read(follow->render, block, sizeof block, &failed)) > 0 && !failed) {
        if (fwrite(block, 1, size, stdout) != size) {
            return mmq_fail(why, MMQ_EIO, "cannot write to standard output");
        }
    }
    if (failed) {
        return mmq_fail(why, MMQ_EPROTO, "the answer cannot be read");
    }
    /* on a terminal that is gone, fwrite and fflush have nothing to complain of */
    return fflush(stdout) == 0 && !ferror(stdout)
               ? MMQ_OK
               : mmq_fail(why, MMQ_EIO, "cannot write to standard output");
}

/* Takes the rows of a payload that are new into `fresh`, as they are. */
static mmq_err take_rows(struct follow *follow, const mmq_frame *payload, bool show,
                         mmq_buffer *fresh, mmq_why *why)
{
    const uint8_t *data = mmq_frame_data(payload);
    const size_t size = mmq_frame_size(payload);
    mmq_err err = MMQ_OK;
    for (size_t at = 0; err == MMQ_OK || err == MMQ_EAGAIN;) {
        const size_t begin = at;
        mmq_row row;
        err = mmq_rows_decode(data, size, &at, &row);
        const bool names = err == MMQ_EAGAIN && !follow->named && show;
        bool is_new = false;
        if (err == MMQ_OK) {
            const mmq_mark mark = mmq_marks_find(&follow->marks, row.uid, row.uid_size);
            is_new = mmq_mark_before(&mark, &row);
            err = is_new ? mmq_marks_set(&follow->marks, &row) : MMQ_OK;
        }
        if (names || (is_new && show)) {
            mmq_buffer_add(fresh, data + begin, at - begin);
            follow->named = true;
        }
    }
    if (err != MMQ_EEND || fresh->failed) {
        return mmq_fail(why, err == MMQ_EEND ? MMQ_ENOMEM : err, "the rows cannot be taken");
    }
    return MMQ_OK;
}

static mmq_err show_payload(struct follow *follow, const mmq_frame *payload, bool show,
                            mmq_why *why)
{
    mmq_buffer fresh;
    mmq_buffer_init(&fresh, ROWS_MAX);
    mmq_err err = take_rows(follow, payload, show, &fresh, why);
    if (err == MMQ_OK && fresh.size > 0) {
        mmq_render_feed(follow->render, fresh.data, fresh.size);
        err = write_text(follow, why);
    }
    mmq_buffer_clear(&fresh);
    return err;
}

/* Reads a stream to its end. `show` false: only notes where it ends. */
static mmq_err read_stream(struct follow *follow, const mmq_args *args, bool show, mmq_why *why)
{
    mmq_stream_options options = {.call = mmq_args_call(args, MMQ_SERVICE_QUERY)};
    options.call.timeout_ms = follow->timeout_ms;
    options.call.retry = true;
    mmq_stream *stream = mmq_stream_new(follow->client, &options, why);
    mmq_err err = stream != NULL ? MMQ_OK : MMQ_ENOMEM;
    while (err == MMQ_OK) {
        mmq_frame payload;
        mmq_frame_init(&payload);
        err = mmq_stream_take(stream, &payload, why);
        if (err == MMQ_OK) {
            err = show_payload(follow, &payload, show, why);
        } else if (err == MMQ_EAGAIN) {
            err = wait_bus(follow, LOOK_MS * MMQ_NS_PER_MS);
        }
        mmq_frame_close(&payload);
    }
    mmq_stream_destroy(&stream);
    return err == MMQ_EEND ? MMQ_OK : err;
}

/* Shows rows from `from` on, or (`show` false) notes the last of each metric; of one metric, or of
 * all if uid is NULL. Asks again until it has them. */
static mmq_err ask_rows(struct follow *follow, const char *uid, size_t uid_size, int64_t from,
                        bool show, mmq_why *why)
{
    mmq_err err;
    do {
        mmq_args args;
        mmq_args_init(&args);
        mmq_args_cstr(&args, "op", "data");
        mmq_args_cstr(&args, "order", "metric");
        mmq_args_double(&args, "anomaly", follow->anomaly);
        if (uid != NULL) {
            mmq_args_text(&args, "uid", uid, uid_size);
        }
        if (show) {
            mmq_args_int(&args, "from", from);
        } else {
            mmq_args_int(&args, "limit", 1);
        }
        err = read_stream(follow, &args, show, why);
        mmq_args_clear(&args);
        if (err == MMQ_OK) {
            return MMQ_OK;
        }
        err = bear(follow, err, why);
    } while (err == MMQ_OK);
    return err;
}

static mmq_err show_metric(struct follow *follow, const char *uid, size_t size, mmq_why *why)
{
    const mmq_mark mark = mmq_marks_find(&follow->marks, uid, size);
    return ask_rows(follow, uid, size, mark.timestamp, true, why);
}

/* Notes the rows that there are. */
static mmq_err note_rows(struct follow *follow, mmq_why *why)
{
    mmq_marks_clear(&follow->marks);
    const size_t size = follow->uid != NULL ? strlen(follow->uid) : 0;
    return ask_rows(follow, follow->uid, size, 0, false, why);
}

/* ---- changes ---------------------------------------------------------------------------- */

/* What metric.watch has answered; borrows from the result. */
struct change {
    int64_t commit;
    mmq_value store;
    bool reload;
    mmq_reader pairs; /* behind the array's head */
    uint32_t count;
};

static mmq_err read_change(const mmq_frame *payload, struct change *out, mmq_why *why)
{
    mmq_reader map, whole;
    mmq_value commit, reload, pairs;
    mmq_reader_init(&map, mmq_frame_data(payload), mmq_frame_size(payload));
    if (!mmq_map_find(map, "commit", &commit, &whole) || commit.type != MMQ_INT ||
        !mmq_map_find(map, "store", &out->store, &whole) || out->store.type != MMQ_STR ||
        out->store.text.size > STORE_MAX || !mmq_map_find(map, "reload", &reload, &whole) ||
        reload.type != MMQ_BOOL || !mmq_map_find(map, "metrics", &pairs, &out->pairs) ||
        pairs.type != MMQ_ARRAY || mmq_unpack(&out->pairs, &pairs) != MMQ_OK) {
        return mmq_fail(why, MMQ_EPROTO, "the write worker's answer cannot be read");
    }
    out->commit = commit.integer;
    out->reload = reload.boolean;
    out->count = pairs.count;
    return MMQ_OK;
}

static mmq_err show_pair(struct follow *follow, mmq_reader *pairs, mmq_why *why)
{
    mmq_value pair, uid, rowid;
    if (mmq_unpack(pairs, &pair) != MMQ_OK || pair.type != MMQ_ARRAY || pair.count != 2 ||
        mmq_unpack(pairs, &uid) != MMQ_OK || uid.type != MMQ_STR ||
        mmq_unpack(pairs, &rowid) != MMQ_OK) {
        return mmq_fail(why, MMQ_EPROTO, "the write worker's answer cannot be read");
    }
    if (follow->uid != NULL && !mmq_value_is(&uid, follow->uid)) {
        return MMQ_OK;
    }
    const mmq_mark mark = mmq_marks_find(&follow->marks, uid.text.data, uid.text.size);
    const bool gone = rowid.type != MMQ_INT;
    if (gone || rowid.integer < mark.rowid) { /* in the latter case it was made again */
        mmq_marks_remove(&follow->marks, uid.text.data, uid.text.size);
    }
    return gone ? MMQ_OK : show_metric(follow, uid.text.data, uid.text.size, why);
}

static mmq_err show_change(struct follow *follow, const struct change *change, mmq_why *why)
{
    if (change->reload && follow->uid != NULL) {
        return show_metric(follow, follow->uid, strlen(follow->uid), why);
    }
    if (change->reload) {
        return ask_rows(follow, NULL, 0, mmq_marks_least(&follow->marks), true, why);
    }
    mmq_err err = MMQ_OK;
    mmq_reader pairs = change->pairs;
    for (uint32_t i = 0; i < change->count && err == MMQ_OK; i++) {
        err = show_pair(follow, &pairs, why);
    }
    return err;
}

/* The first answer says where we begin; another store is begun anew. */
static mmq_err take_change(struct follow *follow, const struct change *change, mmq_why *why)
{
    const bool same = follow->known && mmq_value_is(&change->store, follow->store);
    if (follow->known && !same) {
        fprintf(stderr, "metricmq: the store is another now; beginning anew\n");
    }
    mmq_err err = same ? show_change(follow, change, why) : note_rows(follow, why);
    memcpy(follow->store, change->store.text.data, change->store.text.size);
    follow->store[change->store.text.size] = '\0';
    follow->commit = change->commit;
    follow->known = true;
    return err;
}

static mmq_err ask_change(struct follow *follow, mmq_result *result, mmq_why *why)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "watch");
    mmq_args_int(&args, "since", follow->commit);
    if (follow->known) {
        mmq_args_cstr(&args, "store", follow->store);
    }
    mmq_reply reply = {0};
    mmq_err err = mmq_reply_begin(follow->client, MMQ_SERVICE_WATCH, &args,
                                  follow->known ? WATCH_MS : PRESENT_MS, &reply, why);
    mmq_args_clear(&args);
    while (err == MMQ_OK && !reply.done) {
        err = wait_bus(follow, LOOK_MS * MMQ_NS_PER_MS);
    }
    if (err != MMQ_OK) {
        mmq_reply_cancel(follow->client, &reply);
        return err;
    }
    return mmq_reply_end(follow->client, &reply, result, why);
}

static mmq_err follow_once(struct follow *follow, mmq_why *why)
{
    mmq_result result;
    mmq_err err = ask_change(follow, &result, why);
    if (err != MMQ_OK) {
        return bear(follow, err, why);
    }
    struct change change;
    err = read_change(&result.payload, &change, why);
    if (err == MMQ_OK) {
        follow->failures = 0;
        err = take_change(follow, &change, why);
    }
    mmq_result_clear(&result);
    return err == MMQ_OK ? pause_for(follow, PACE_MS * MMQ_NS_PER_MS) : err;
}

/* ---- the command ------------------------------------------------------------------------ */

static int run(struct follow *follow)
{
    mmq_why why = {""};
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK) {
        err = follow_once(follow, &why);
    }
    if (err == MMQ_ECLOSED && mmq_attend_stopped()) {
        return MMQ_EXIT_DONE;
    }
    return mmq_failed("%s", why.text[0] != '\0' ? why.text : mmq_err_name(err));
}

int mmq_command_watch(const mmq_config *config)
{
    const char *const *operands;
    const size_t count = mmq_config_operands(config, &operands);
    if (count > 1) {
        return mmq_usage("`watch` takes one uid, or none for all metrics");
    }
    struct follow follow = {
        .uid = count > 0 ? operands[0] : NULL,
        .anomaly = mmq_config_given(config, "anomaly") ? mmq_config_number(config, "anomaly") : -1,
        .timeout_ms = (unsigned)mmq_config_int(config, "timeout"),
    };
    int status = MMQ_EXIT_FAILED;
    mmq_attend attend;
    mmq_attend_begin(&attend); /* before the client's threads */
    follow.client = mmq_connect(config, &status);
    if (follow.client == NULL) {
        return status;
    }
    follow.render = mmq_render_new(mmq_output_form(mmq_config_text(config, "format"),
                                                   MMQ_FORM_NDJSON, MMQ_FORM_CSV, MMQ_FORM_TABLE));
    status = follow.render != NULL ? run(&follow) : mmq_failed("out of memory");
    mmq_render_destroy(&follow.render);
    mmq_marks_clear(&follow.marks);
    mmq_client_destroy(&follow.client);
    return status;
}
