/* One batch is packed while the one before is at the write worker: memory stays at two, and client
 * and worker work at the same time.
 *
 * There is never more than one batch of a metric under way. A batch that is refused since its rows
 * differ must be the last: one sent behind it might lie just behind the end of the other rows and
 * be taken. */
#include "clients/commands/loader.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "clients/commands/reply.h"
#include "lib/append_row.h"
#include "lib/buffer.h"

enum {
    BATCH_BYTES = 1024 * 1024,
    ROWS_HEAD = 1 + 4, /* raw32 */
    RECORD_BYTES = 64 * 1024,
};

struct mmq_loader {
    mmq_client *client;
    unsigned timeout_ms;
    mmq_reply reply;           /* to the create or the batch that is under way */
    char uid[MMQ_UID_MAX + 1]; /* "": the create is under way, or failed */
    mmq_args batch;            /* being packed: its rows come first */
    size_t rows_at;            /* where they begin in it, with their head; 0: it has none */
    int64_t batch_rows;
    int64_t sent; /* rows of earlier batches */
    int64_t added;
};

static mmq_err take_uid(mmq_loader *loader, const mmq_frame *record, mmq_why *why)
{
    mmq_value uid;
    if (!mmq_reply_find(record, "uid", &uid) || uid.type != MMQ_STR || uid.text.size == 0 ||
        uid.text.size > MMQ_UID_MAX) {
        return mmq_fail(why, MMQ_EPROTO, "the answer to create holds no uid");
    }
    memcpy(loader->uid, uid.text.data, uid.text.size);
    loader->uid[uid.text.size] = '\0';
    return MMQ_OK;
}

static mmq_err create_metric(mmq_loader *loader, const mmq_new_metric *metric, mmq_why *why)
{
    mmq_args record, args;
    mmq_buffer packed;
    mmq_args_init(&record);
    mmq_args_init(&args);
    mmq_buffer_init(&packed, RECORD_BYTES);
    mmq_args_cstr(&record, "uid", metric->uid);
    mmq_args_cstr(&record, "datasource", metric->datasource ? metric->datasource : "custom");
    mmq_args_cstr(&record, "name", metric->name);
    mmq_args_cstr(&record, "server", metric->server);
    mmq_args_cstr(&record, "location", metric->location);
    mmq_args_cstr(&record, "tag_name", metric->tag);
    mmq_args_cstr(&record, "description", metric->description);
    mmq_pack_map(&packed, record.count);
    mmq_buffer_add(&packed, record.pairs.data, record.pairs.size);
    mmq_args_cstr(&args, "op", "create");
    mmq_args_packed(&args, "metric", packed.data, packed.size);

    mmq_err err = mmq_reply_begin(loader->client, MMQ_SERVICE_WRITE, &args, loader->timeout_ms,
                                  &loader->reply, why);
    mmq_buffer_clear(&packed);
    mmq_args_clear(&args);
    mmq_args_clear(&record);
    return err;
}

mmq_loader *mmq_loader_new(mmq_client *client, const mmq_new_metric *metric, unsigned timeout_ms,
                           mmq_why *why)
{
    mmq_loader *loader = calloc(1, sizeof *loader);
    if (!loader) {
        (void)mmq_fail(why, MMQ_ENOMEM, "out of memory");
        return NULL;
    }
    loader->client = client;
    loader->timeout_ms = timeout_ms;
    mmq_args_init(&loader->batch);
    if (create_metric(loader, metric, why)) {
        mmq_loader_destroy(&loader);
    }
    return loader;
}

void mmq_loader_destroy(mmq_loader **loader)
{
    if (*loader) {
        mmq_reply_cancel((*loader)->client, &(*loader)->reply);
        mmq_args_clear(&(*loader)->batch);
        free(*loader);
        *loader = NULL;
    }
}

const char *mmq_loader_uid(const mmq_loader *loader)
{
    return loader->uid;
}

/* Waits for what is under way, if anything is. */
static mmq_err await_reply(mmq_loader *loader, mmq_why *why)
{
    mmq_result result;
    if (loader->reply.handle == 0) {
        return MMQ_OK;
    }
    mmq_err err = mmq_reply_end(loader->client, &loader->reply, &result, why);
    if (err) {
        return err;
    }
    mmq_value added;
    if (loader->uid[0] == '\0') {
        err = take_uid(loader, &result.payload, why);
    } else if (mmq_reply_find(&result.payload, "added", &added) && added.type == MMQ_INT) {
        loader->added += added.integer;
    }
    mmq_result_clear(&result);
    return err;
}

static void begin_batch(mmq_loader *loader)
{
    mmq_buffer *out = &loader->batch.pairs;
    mmq_pack_cstr(out, "rows");
    loader->rows_at = out->size;
    mmq_buffer_add(out, (const uint8_t[ROWS_HEAD]){0xdb}, ROWS_HEAD);
    loader->batch.count = 1;
}

/* The size was not known when the head was written. */
static void end_rows(mmq_loader *loader)
{
    const mmq_buffer *out = &loader->batch.pairs;
    if (!out->failed) {
        const uint32_t size = htobe32((uint32_t)(out->size - loader->rows_at - ROWS_HEAD));
        memcpy(out->data + loader->rows_at + 1, &size, sizeof size);
    }
}

mmq_err mmq_loader_flush(mmq_loader *loader, mmq_why *why)
{
    mmq_err err = loader->batch_rows > 0 ? await_reply(loader, why) : MMQ_OK;
    if (err || loader->batch_rows == 0) {
        return err;
    }
    end_rows(loader);
    mmq_args_cstr(&loader->batch, "op", "append");
    mmq_args_cstr(&loader->batch, "uid", loader->uid);
    mmq_args_int(&loader->batch, "first_rowid", loader->sent + 1);
    err = mmq_reply_begin(loader->client, MMQ_SERVICE_WRITE, &loader->batch, loader->timeout_ms,
                          &loader->reply, why);
    loader->sent += loader->batch_rows;
    loader->batch_rows = 0;
    loader->rows_at = 0;
    mmq_buffer_reset(&loader->batch.pairs);
    return err;
}

mmq_err mmq_loader_add(mmq_loader *loader, int64_t timestamp, double value, double anomaly_score,
                       double raw_score, mmq_why *why)
{
    mmq_buffer *out = &loader->batch.pairs;
    if (loader->rows_at == 0) {
        begin_batch(loader);
    }
    uint8_t *at = mmq_buffer_reserve(out, MMQ_APPEND_ROW_MAX);
    if (!at) {
        return mmq_fail(why, MMQ_ENOMEM, "out of memory");
    }
    const mmq_append_row row = {timestamp, value, anomaly_score, raw_score};
    out->size += (size_t)(mmq_append_row_put(at, &row) - at);
    loader->batch_rows++;
    return out->size < BATCH_BYTES ? MMQ_OK : mmq_loader_flush(loader, why);
}

mmq_err mmq_loader_finish(mmq_loader *loader, int64_t *rows, int64_t *added, mmq_why *why)
{
    mmq_err err = mmq_loader_flush(loader, why);
    if (!err) {
        err = await_reply(loader, why);
    }
    *rows = loader->sent;
    *added = loader->added;
    return err;
}
