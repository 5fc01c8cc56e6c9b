/* Each op is a row of a table: its arguments and what does it. What a peer sent is checked here and
 * in what reads records and rows (record.c, write_rows.c), before the store sees it. */
#include "workers/write_ops.h"

#include <stddef.h>
#include <string.h>

#include "lib/fields.h"
#include "metricmq/pack.h"
#include "lib/uid.h"
#include "workers/prune.h"
#include "workers/record.h"
#include "workers/write_rows.h"

/* An op's arguments, of all ops. */
typedef struct write_args {
    mmq_slice metric;
    mmq_slice uid;
    mmq_slice rows;
    mmq_slice after;
    int64_t first_rowid, before;
    bool has_first_rowid;
    bool count;
} write_args;

#define UID_FIELD  "uid", MMQ_KIND_TEXT, true, offsetof(write_args, uid), MMQ_NO_GIVEN
#define ROWS_FIELD "rows", MMQ_KIND_BYTES, true, offsetof(write_args, rows), MMQ_NO_GIVEN

static const mmq_field_spec create_fields[] = {
    {"metric", MMQ_KIND_MAP, true, offsetof(write_args, metric), MMQ_NO_GIVEN},
};
static const mmq_field_spec append_fields[] = {
    {UID_FIELD},
    {ROWS_FIELD},
    {"first_rowid", MMQ_KIND_INT, false, offsetof(write_args, first_rowid),
     offsetof(write_args, has_first_rowid)},
};
static const mmq_field_spec score_fields[] = {{UID_FIELD}, {ROWS_FIELD}};
static const mmq_field_spec delete_fields[] = {{UID_FIELD}};

static const mmq_field_spec prune_fields[] = {
    {"uid", MMQ_KIND_TEXT, false, offsetof(write_args, uid), MMQ_NO_GIVEN},
    {"before", MMQ_KIND_TIME, true, offsetof(write_args, before), MMQ_NO_GIVEN},
    {"after", MMQ_KIND_TEXT, false, offsetof(write_args, after), MMQ_NO_GIVEN},
    {"count", MMQ_KIND_BOOL, false, offsetof(write_args, count), MMQ_NO_GIVEN},
};

/* A uid as the store takes it. */
typedef struct uid_text {
    char text[MMQ_UID_MAX + 1];
} uid_text;

static mmq_err check_uid(const mmq_slice *uid, mmq_why *why)
{
    return mmq_uid_valid(uid->data, uid->size) ? MMQ_OK : mmq_fail(why, MMQ_EINVAL, MMQ_UID_RULE);
}

static uid_text copy_uid(const write_args *args)
{
    uid_text uid = {""};
    if (args->uid.size > 0) {
        memcpy(uid.text, args->uid.data, args->uid.size);
    }
    return uid;
}

static mmq_err do_create(mmq_store *store, const write_args *args, mmq_buffer *answer, mmq_why *why)
{
    mmq_metric metric;
    mmq_err err = mmq_record_read(args->metric.data, args->metric.size, &metric, why);
    if (err == MMQ_OK) {
        err = mmq_store_create(store, &metric, why);
    }
    if (err == MMQ_OK) {
        err = mmq_record_pack(answer, &metric, why);
    }
    mmq_metric_clear(&metric);
    return err;
}

static void pack_appended(mmq_buffer *answer, const mmq_appended *appended)
{
    mmq_pack_map(answer, 3);
    mmq_pack_cstr(answer, "first_rowid");
    mmq_pack_int(answer, appended->first_rowid);
    mmq_pack_cstr(answer, "last_rowid");
    mmq_pack_int(answer, appended->last_rowid);
    mmq_pack_cstr(answer, "added");
    mmq_pack_int(answer, appended->added);
}

static mmq_err do_append(mmq_store *store, const write_args *args, mmq_buffer *answer, mmq_why *why)
{
    if (args->has_first_rowid && args->first_rowid < 1) {
        return mmq_fail(why, MMQ_EINVAL, "\"first_rowid\" must be at least 1");
    }
    mmq_write_rows rows;
    mmq_appended appended;
    mmq_err err =
        mmq_write_rows_read(MMQ_ROWS_APPEND, args->rows.data, args->rows.size, &rows, why);
    if (err == MMQ_OK) {
        err =
            mmq_store_append(store, copy_uid(args).text, args->first_rowid, &rows, &appended, why);
    }
    if (err == MMQ_OK) {
        pack_appended(answer, &appended);
    }
    mmq_write_rows_clear(&rows);
    return err;
}

static mmq_err do_score(mmq_store *store, const write_args *args, mmq_buffer *answer, mmq_why *why)
{
    (void)answer;
    mmq_write_rows rows;
    mmq_err err = mmq_write_rows_read(MMQ_ROWS_SCORE, args->rows.data, args->rows.size, &rows, why);
    if (err == MMQ_OK) {
        err = mmq_store_score(store, copy_uid(args).text, &rows, why);
    }
    mmq_write_rows_clear(&rows);
    return err;
}

static mmq_err do_delete(mmq_store *store, const write_args *args, mmq_buffer *answer, mmq_why *why)
{
    (void)answer;
    return mmq_store_delete(store, copy_uid(args).text, why);
}

static void pack_pruned(mmq_buffer *answer, const mmq_prune *prune, const mmq_pruned *pruned)
{
    mmq_pack_map(answer, 5);
    mmq_pack_cstr(answer, "rows");
    mmq_pack_int(answer, pruned->rows);
    mmq_pack_cstr(answer, "blocks");
    mmq_pack_int(answer, pruned->blocks);
    mmq_pack_cstr(answer, "metrics");
    mmq_pack_int(answer, prune->metrics);
    mmq_pack_cstr(answer, "more");
    mmq_pack_bool(answer, !prune->done);
    mmq_pack_cstr(answer, "after");
    mmq_pack_cstr(answer, prune->after);
}

static mmq_err do_prune(mmq_store *store, const write_args *args, mmq_buffer *answer, mmq_why *why)
{
    const uid_text uid = copy_uid(args);
    mmq_prune prune = {.before = args->before,
                       .count_only = args->count,
                       .uid = args->uid.size > 0 ? uid.text : NULL};
    mmq_pruned pruned = {0};
    if (args->after.size > 0 && prune.uid != NULL) {
        return mmq_fail(why, MMQ_EINVAL, "\"after\" is for a prune of all metrics");
    }
    mmq_err err = args->after.size > 0 ? check_uid(&args->after, why) : MMQ_OK;
    if (err == MMQ_OK && args->after.size > 0) {
        memcpy(prune.after, args->after.data, args->after.size);
    }
    if (err == MMQ_OK) {
        err = mmq_prune_piece(store, &prune, &pruned, why);
    }
    if (err == MMQ_OK) {
        pack_pruned(answer, &prune, &pruned);
    }
    return err;
}

#define FIELDS(fields) fields, sizeof(fields) / sizeof *(fields)

static const struct write_op {
    const char *name;
    const mmq_field_spec *fields;
    size_t field_count;
    mmq_err (*run)(mmq_store *store, const write_args *args, mmq_buffer *answer, mmq_why *why);
} write_ops[] = {
    {"create", FIELDS(create_fields), do_create}, {"append", FIELDS(append_fields), do_append},
    {"score", FIELDS(score_fields), do_score},    {"delete", FIELDS(delete_fields), do_delete},
    {"prune", FIELDS(prune_fields), do_prune},
};

static const struct write_op *find_op(const mmq_slice *name)
{
    for (size_t i = 0; i < sizeof write_ops / sizeof *write_ops; i++) {
        const struct write_op *op = &write_ops[i];
        if (mmq_slice_is(name, op->name)) {
            return op;
        }
    }
    return NULL;
}

mmq_err mmq_write_op_run(mmq_store *store, const void *body, size_t size, mmq_buffer *answer,
                         mmq_why *why)
{
    mmq_slice name;
    mmq_err err = mmq_fields_op(body, size, &name, why);
    if (err != MMQ_OK) {
        return err;
    }
    const struct write_op *op = find_op(&name);
    if (op == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "\"op\" must be create, append, score, delete or prune");
    }
    write_args args = {0};
    err = mmq_fields_read(body, size, op->fields, op->field_count, &args, why);
    if (err == MMQ_OK && args.uid.data != NULL) {
        err = check_uid(&args.uid, why);
    }
    return err == MMQ_OK ? op->run(store, &args, answer, why) : err;
}
