/* Arguments of metric.query, by tables of fields.
 *
 * A cursor is good only for the arguments it was made for, so a digest of them (the binding) is in
 * it. The digest is taken over what the arguments mean, so that two spellings of one time agree.
 * It guards against mistakes, not against forgery: a forged cursor shows nothing that its sender
 * could not ask for, and every field of it is checked where it is used. */
#include "workers/query_args.h"

#include <string.h>

#include "lib/digest.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"

/* Arguments as they stand in a body. */
struct raw {
    mmq_slice uid, uids, order, cursor, unless;
    int64_t from, to, limit, rowid, max_bytes, buckets;
    double anomaly;
    bool has_buckets, has_uid, has_uids, has_from, has_to, has_rowid, has_order, has_cursor,
        has_max_bytes;
};

#define AT(member_)    offsetof(struct raw, member_)
#define FIELD(member_) offsetof(struct raw, member_), offsetof(struct raw, has_##member_)

static const mmq_field_spec data_fields[] = {
    {"uid", MMQ_KIND_TEXT, false, FIELD(uid)},
    {"from", MMQ_KIND_TIME, false, FIELD(from)},
    {"to", MMQ_KIND_TIME, false, FIELD(to)},
    {"anomaly", MMQ_KIND_NUMBER, false, AT(anomaly), MMQ_NO_GIVEN},
    {"limit", MMQ_KIND_INT, false, AT(limit), MMQ_NO_GIVEN},
    {"rowid", MMQ_KIND_INT, false, FIELD(rowid)},
    {"order", MMQ_KIND_TEXT, false, FIELD(order)},
    {"max_bytes", MMQ_KIND_INT, false, FIELD(max_bytes)},
    {"cursor", MMQ_KIND_TEXT, false, FIELD(cursor)},
    {"unless", MMQ_KIND_TEXT, false, AT(unless), MMQ_NO_GIVEN},
};

static const mmq_field_spec models_fields[] = {
    {"uids", MMQ_KIND_BYTES, false, FIELD(uids)},
    {"max_bytes", MMQ_KIND_INT, false, FIELD(max_bytes)},
    {"cursor", MMQ_KIND_TEXT, false, FIELD(cursor)},
    {"unless", MMQ_KIND_TEXT, false, AT(unless), MMQ_NO_GIVEN},
};

static const mmq_field_spec export_fields[] = {
    {"uid", MMQ_KIND_TEXT, false, FIELD(uid)},
    {"max_bytes", MMQ_KIND_INT, false, FIELD(max_bytes)},
    {"cursor", MMQ_KIND_TEXT, false, FIELD(cursor)},
    {"unless", MMQ_KIND_TEXT, false, AT(unless), MMQ_NO_GIVEN},
};

static const mmq_field_spec summary_fields[] = {
    {"uid", MMQ_KIND_TEXT, false, FIELD(uid)},
    {"from", MMQ_KIND_TIME, false, FIELD(from)},
    {"to", MMQ_KIND_TIME, false, FIELD(to)},
    {"buckets", MMQ_KIND_INT, false, FIELD(buckets)},
    {"max_bytes", MMQ_KIND_INT, false, FIELD(max_bytes)},
    {"cursor", MMQ_KIND_TEXT, false, FIELD(cursor)},
    {"unless", MMQ_KIND_TEXT, false, AT(unless), MMQ_NO_GIVEN},
};

static const mmq_field_spec model_fields[] = {
    {"uid", MMQ_KIND_TEXT, true, FIELD(uid)},
    {"unless", MMQ_KIND_TEXT, false, AT(unless), MMQ_NO_GIVEN},
};

#define COUNT(table_) (sizeof(table_) / sizeof *(table_))

static mmq_err read_uid(const mmq_slice *text, char out[MMQ_UID_MAX + 1], mmq_why *why)
{
    if (!mmq_uid_valid(text->data, text->size)) {
        return mmq_fail(why, MMQ_EINVAL, MMQ_UID_RULE);
    }
    memcpy(out, text->data, text->size);
    out[text->size] = '\0';
    return MMQ_OK;
}

static mmq_err read_order(const struct raw *raw, mmq_selection *out, mmq_why *why)
{
    out->by_metric = raw->has_order && mmq_slice_is(&raw->order, "metric");
    if (raw->has_order && !out->by_metric && !mmq_slice_is(&raw->order, "time")) {
        return mmq_fail(why, MMQ_EINVAL, "order must be \"time\" or \"metric\"");
    }
    return MMQ_OK;
}

static mmq_err read_selection(const struct raw *raw, mmq_selection *out, mmq_why *why)
{
    if (raw->limit < 0) {
        return mmq_fail(why, MMQ_EINVAL, "limit must not be negative");
    }
    out->from = raw->has_from ? raw->from : INT64_MIN;
    out->to = raw->has_to ? raw->to : INT64_MAX;
    out->ascending = raw->has_from;
    out->anomaly = raw->anomaly == 0 ? 0 : raw->anomaly; /* -0.0 means the same */
    out->limit = raw->limit;
    out->has_rowid = raw->has_rowid;
    out->rowid = raw->has_rowid ? raw->rowid : 0;
    mmq_err err = read_order(raw, out, why);
    if (err == MMQ_OK && raw->has_uid) {
        err = read_uid(&raw->uid, out->uid, why);
    }
    return err;
}

static uint64_t digest_parts(const mmq_part *parts, size_t count)
{
    char hex[MMQ_DIGEST_HEX + 1];
    mmq_digest_parts(parts, count, hex);
    uint64_t digest = 0;
    for (int i = 0; i < 16; i++) {
        digest = digest << 4 | (uint64_t)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
    }
    return digest;
}

#define PART(value_) ((mmq_part){&(value_), sizeof(value_)})

static uint64_t bind_data(const mmq_selection *s)
{
    const mmq_part parts[] = {
        {"data", 4},        {s->uid, strlen(s->uid)}, PART(s->from),    PART(s->to),
        PART(s->ascending), PART(s->by_metric),       PART(s->anomaly), PART(s->limit),
        PART(s->has_rowid), PART(s->rowid),
    };
    return digest_parts(parts, COUNT(parts));
}

static uint64_t bind_models(const mmq_slice *uids)
{
    const mmq_part parts[] = {{"models", 6}, {uids->data, uids->size}};
    return digest_parts(parts, uids->data != NULL ? 2 : 1);
}

static uint64_t bind_export(const char *uid)
{
    const mmq_part parts[] = {{"export", 6}, {uid, strlen(uid)}};
    return digest_parts(parts, COUNT(parts));
}

static uint64_t bind_summary(const mmq_page_query *query)
{
    const mmq_selection *s = &query->selection;
    const mmq_part parts[] = {
        {"summary", 7}, {s->uid, strlen(s->uid)}, PART(s->from), PART(s->to), PART(query->buckets),
    };
    return digest_parts(parts, COUNT(parts));
}

static size_t clamp_bytes(const struct raw *raw)
{
    if (!raw->has_max_bytes) {
        return MMQ_PAGE_DEFAULT;
    }
    if (raw->max_bytes < MMQ_PAGE_LEAST) {
        return MMQ_PAGE_LEAST;
    }
    return raw->max_bytes > MMQ_PAGE_MOST ? MMQ_PAGE_MOST : (size_t)raw->max_bytes;
}

/* What all paged ops share; out->binding is set. */
static mmq_err read_paging(const struct raw *raw, mmq_page_query *out, mmq_why *why)
{
    out->max_bytes = clamp_bytes(raw);
    out->unless = raw->unless;
    out->has_cursor = raw->has_cursor;
    if (!raw->has_cursor) {
        return MMQ_OK;
    }
    if (mmq_cursor_parse(raw->cursor.data, raw->cursor.size, &out->cursor) != MMQ_OK ||
        out->cursor.has_buckets != (out->buckets > 0)) {
        return mmq_fail(why, MMQ_EINVAL, "cursor is not one that this service made");
    }
    if (out->cursor.binding != out->binding) {
        return mmq_fail(why, MMQ_EINVAL, "cursor was made for other arguments");
    }
    return MMQ_OK;
}

mmq_err mmq_query_read_data(const void *body, size_t size, mmq_page_query *out, mmq_why *why)
{
    struct raw raw = {0};
    memset(out, 0, sizeof *out);
    mmq_err err = mmq_fields_read(body, size, data_fields, COUNT(data_fields), &raw, why);
    if (err == MMQ_OK) {
        err = read_selection(&raw, &out->selection, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    out->binding = bind_data(&out->selection);
    return read_paging(&raw, out, why);
}

static mmq_err check_uids(const mmq_slice *uids, mmq_why *why)
{
    mmq_reader reader;
    mmq_reader_init(&reader, uids->data, uids->size);
    while (!mmq_reader_done(&reader)) {
        mmq_value value;
        if (mmq_unpack(&reader, &value) != MMQ_OK || value.type != MMQ_STR ||
            !mmq_uid_valid(value.text.data, value.text.size)) {
            return mmq_fail(why, MMQ_EINVAL, "uids must be packed strings, each a uid");
        }
    }
    return MMQ_OK;
}

mmq_err mmq_query_read_models(const void *body, size_t size, mmq_page_query *out, mmq_why *why)
{
    struct raw raw = {0};
    memset(out, 0, sizeof *out);
    mmq_err err = mmq_fields_read(body, size, models_fields, COUNT(models_fields), &raw, why);
    if (err == MMQ_OK && raw.has_uids) {
        out->uids = raw.uids;
        err = check_uids(&raw.uids, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    out->binding = bind_models(&out->uids);
    return read_paging(&raw, out, why);
}

mmq_err mmq_query_read_export(const void *body, size_t size, mmq_page_query *out, mmq_why *why)
{
    struct raw raw = {0};
    memset(out, 0, sizeof *out);
    mmq_err err = mmq_fields_read(body, size, export_fields, COUNT(export_fields), &raw, why);
    if (err == MMQ_OK && raw.has_uid) {
        err = read_uid(&raw.uid, out->selection.uid, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    out->binding = bind_export(out->selection.uid);
    return read_paging(&raw, out, why);
}

static mmq_err read_buckets(const struct raw *raw, mmq_page_query *out, mmq_why *why)
{
    const int64_t most =
        out->selection.uid[0] != '\0' ? MMQ_BUCKETS_MOST : (int64_t)MMQ_BUCKETS_MOST_ALL;
    out->buckets = raw->has_buckets ? raw->buckets : MMQ_BUCKETS_DEFAULT;
    return out->buckets >= 1 && out->buckets <= most
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL,
                          "buckets must be from 1 to %d, or to %d for one metric (uid)",
                          MMQ_BUCKETS_MOST_ALL, MMQ_BUCKETS_MOST);
}

mmq_err mmq_query_read_summary(const void *body, size_t size, mmq_page_query *out, mmq_why *why)
{
    struct raw raw = {0};
    memset(out, 0, sizeof *out);
    mmq_err err = mmq_fields_read(body, size, summary_fields, COUNT(summary_fields), &raw, why);
    if (err == MMQ_OK) {
        err = read_selection(&raw, &out->selection, why);
    }
    if (err == MMQ_OK) {
        err = read_buckets(&raw, out, why);
    }
    if (err != MMQ_OK) {
        return err;
    }
    out->binding = bind_summary(out);
    return read_paging(&raw, out, why);
}

mmq_err mmq_query_read_model(const void *body, size_t size, char uid[MMQ_UID_MAX + 1],
                             mmq_slice *unless, mmq_why *why)
{
    struct raw raw = {0};
    mmq_err err = mmq_fields_read(body, size, model_fields, COUNT(model_fields), &raw, why);
    *unless = raw.unless;
    return err != MMQ_OK ? err : read_uid(&raw.uid, uid, why);
}

mmq_err mmq_query_read_none(const void *body, size_t size, mmq_why *why)
{
    return mmq_fields_read(body, size, NULL, 0, NULL, why);
}
