/* One batch is packed while rows come and sent when it is full: memory stays at one batch. */
#include "clients/commands/loader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/commands/reply.h"

enum {
    BATCH_ROWS = 20000,
    BATCH_BYTES = BATCH_ROWS * 40, /* a row takes at most 37 bytes */
    RECORD_BYTES = 64 * 1024,
};

struct mmq_loader {
    mmq_client *client;
    unsigned timeout_ms;
    char uid[MMQ_UID_MAX + 1];
    mmq_buffer batch;
    size_t batch_rows;
    int64_t sent; /* rows of earlier batches */
    int64_t added;
};

static mmq_err take_uid(mmq_loader *loader, const mmq_frame *record, mmq_why *why)
{
    mmq_value uid;
    if (!mmq_reply_find(record, "uid", &uid) || uid.type != MMQ_STR ||
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

    mmq_result result;
    mmq_err err =
        mmq_reply_call(loader->client, MMQ_SERVICE_WRITE, &args, loader->timeout_ms, &result, why);
    if (!err) {
        err = take_uid(loader, &result.payload, why);
        mmq_result_clear(&result);
    }
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
    mmq_buffer_init(&loader->batch, BATCH_BYTES);
    if (create_metric(loader, metric, why)) {
        mmq_loader_destroy(&loader);
    }
    return loader;
}

void mmq_loader_destroy(mmq_loader **loader)
{
    if (*loader) {
        mmq_buffer_clear(&(*loader)->batch);
        free(*loader);
        *loader = NULL;
    }
}

const char *mmq_loader_uid(const mmq_loader *loader)
{
    return loader->uid;
}

static mmq_err send_batch(mmq_loader *loader, mmq_why *why)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "append");
    mmq_args_cstr(&args, "uid", loader->uid);
    mmq_args_int(&args, "first_rowid", loader->sent + 1);
    mmq_args_text(&args, "rows", (const char *)loader->batch.data, loader->batch.size);
    mmq_result result;
    mmq_err err = loader->batch.failed ? mmq_fail(why, MMQ_ENOMEM, "out of memory")
                                       : mmq_reply_call(loader->client, MMQ_SERVICE_WRITE, &args,
                                                        loader->timeout_ms, &result, why);
    mmq_args_clear(&args);
    if (err) {
        return err;
    }
    mmq_value added;
    if (mmq_reply_find(&result.payload, "added", &added) && added.type == MMQ_INT) {
        loader->added += added.integer;
    }
    mmq_result_clear(&result);
    loader->sent += (int64_t)loader->batch_rows;
    loader->batch_rows = 0;
    mmq_buffer_reset(&loader->batch);
    return MMQ_OK;
}

static void pack_score(mmq_buffer *out, double score)
{
    if (isnan(score)) {
        mmq_pack_nil(out);
    } else {
        mmq_pack_double(out, score);
    }
}

mmq_err mmq_loader_add(mmq_loader *loader, int64_t timestamp, double value, double anomaly_score,
                       double raw_score, mmq_why *why)
{
    mmq_pack_array(&loader->batch, 4);
    mmq_pack_int(&loader->batch, timestamp);
    mmq_pack_double(&loader->batch, value);
    pack_score(&loader->batch, anomaly_score);
    pack_score(&loader->batch, raw_score);
    return ++loader->batch_rows < BATCH_ROWS ? MMQ_OK : send_batch(loader, why);
}

mmq_err mmq_loader_finish(mmq_loader *loader, int64_t *rows, int64_t *added, mmq_why *why)
{
    mmq_err err = loader->batch_rows > 0 ? send_batch(loader, why) : MMQ_OK;
    *rows = loader->sent;
    *added = loader->added;
    return err;
}
