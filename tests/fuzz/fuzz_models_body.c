/* Any bytes as the body of POST /_models: it is refused with a sentence, or what was read of it is
 * what the write worker takes: each record, and each batch of rows, whose rowids follow one
 * another. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "clients/http/models_body.h"
#include "lib/check.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"
#include "workers/record.h"
#include "workers/write_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(const mmq_models_body *body, const mmq_new_model *model)
{
    mmq_metric metric;
    mmq_why why = {""};
    CHECK(mmq_record_read(body->packed.data + model->record.at, model->record.size, &metric,
                          &why) == MMQ_OK);
    CHECK(strlen(metric.head.uid) == model->uid.size);
    CHECK(memcmp(metric.head.uid, body->uids.data + model->uid.at, model->uid.size) == 0);
    mmq_metric_clear(&metric);
}

static void check_rows(const mmq_models_body *body, const mmq_new_model *model)
{
    size_t rowid = 1;
    mmq_why why = {""};
    for (size_t i = 0; i < model->batch_count; i++) {
        const mmq_models_batch *batch = &body->batches[model->first_batch + i];
        mmq_write_rows rows;
        CHECK(batch->first_rowid == rowid && batch->rows.size <= MMQ_MODELS_BATCH);
        CHECK(mmq_write_rows_read(MMQ_ROWS_APPEND, body->packed.data + batch->rows.at,
                                  batch->rows.size, &rows, &why) == MMQ_OK);
        CHECK(rows.count > 0);
        rowid += rows.count;
        mmq_write_rows_clear(&rows);
    }
}

static void check_uids(const mmq_models_body *body)
{
    mmq_reader reader;
    mmq_value value;
    mmq_reader_init(&reader, body->uids.data, body->uids.size);
    for (size_t i = 0; i < body->count; i++) {
        CHECK(mmq_unpack(&reader, &value) == MMQ_OK && value.type == MMQ_STR);
        CHECK(mmq_uid_valid(value.text.data, value.text.size));
    }
    CHECK(mmq_reader_done(&reader));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mmq_models_body body;
    mmq_why why = {""};
    mmq_err err = mmq_models_body_read((const char *)data, size, &body, &why);
    CHECK(err == MMQ_OK || why.text[0] != '\0');
    if (err == MMQ_OK) {
        CHECK(body.count > 0 && (body.array || body.count == 1));
        check_uids(&body);
        for (size_t i = 0; i < body.count; i++) {
            check_record(&body, &body.models[i]);
            check_rows(&body, &body.models[i]);
        }
    }
    mmq_models_body_clear(&body);
    return 0;
}
