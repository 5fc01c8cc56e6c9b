/* The digest covers what the request says and nothing of the data: asked again, it names the same
 * job and the same object. */
#include "workers/dump.h"

#include <stdio.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/fields.h"
#include "lib/number.h"
#include "lib/uid.h"
#include "metricmq/protocol.h"

enum {
    EXTRA_MAX = 2 * MMQ_BODY_MAX, /* float32 and str8 grow when they are packed anew */
    DIGITS_IN_FILE_NAME = 8,
};

struct arguments {
    mmq_slice uid, extra;
    int64_t created;
    bool progress;
};

static const mmq_field_spec specs[] = {
    {"uid", MMQ_KIND_TEXT, true, offsetof(struct arguments, uid), MMQ_NO_GIVEN},
    {"extra", MMQ_KIND_MAP, true, offsetof(struct arguments, extra), MMQ_NO_GIVEN},
    {"created", MMQ_KIND_INT, true, offsetof(struct arguments, created), MMQ_NO_GIVEN},
    {"progress", MMQ_KIND_BOOL, false, offsetof(struct arguments, progress), MMQ_NO_GIVEN},
};

static void set_digest(mmq_dump *dump)
{
    char created[MMQ_INTEGER_MAX];
    const mmq_part parts[] = {
        {dump->uid, strlen(dump->uid)},
        {created, mmq_integer_print(dump->created, created)},
        {dump->extra.data, dump->extra.size},
    };
    mmq_digest_parts(parts, sizeof parts / sizeof *parts, dump->digest);
    memcpy(dump->name, dump->digest, MMQ_JOB_NAME);
    dump->name[MMQ_JOB_NAME] = '\0';
}

mmq_err mmq_dump_read(const void *body, size_t size, mmq_dump *out, mmq_why *why)
{
    struct arguments arguments = {.progress = false};
    *out = (mmq_dump){.progress = false};
    mmq_buffer_init(&out->extra, EXTRA_MAX);
    mmq_err err = mmq_fields_read(body, size, specs, sizeof specs / sizeof *specs, &arguments, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (!mmq_uid_valid(arguments.uid.data, arguments.uid.size)) {
        return mmq_fail(why, MMQ_EINVAL, MMQ_UID_RULE);
    }
    if (arguments.created < 0 || arguments.created > MMQ_TIME_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "created must be seconds since 1970, up to the year 9999");
    }
    err = mmq_canonical_map(arguments.extra.data, arguments.extra.size, &out->extra, why);
    if (err != MMQ_OK) {
        return err;
    }
    memcpy(out->uid, arguments.uid.data, arguments.uid.size);
    out->created = arguments.created;
    out->progress = arguments.progress;
    set_digest(out);
    return MMQ_OK;
}

void mmq_dump_clear(mmq_dump *dump)
{
    mmq_buffer_clear(&dump->extra);
}

void mmq_dump_key_prefix(const char *prefix, const char *server_id,
                         char out[MMQ_OBJECT_KEY_MAX + 1])
{
    snprintf(out, MMQ_OBJECT_KEY_MAX + 1, "%smetric_dumps/%s-", prefix, server_id);
}

void mmq_dump_key(const mmq_dump *dump, const char *prefix, const char *server_id,
                  char out[MMQ_OBJECT_KEY_MAX + 1])
{
    char t[MMQ_TIME_TEXT];
    mmq_time_print(dump->created, t); /* YYYY-MM-DD HH:MM:SS */
    mmq_dump_key_prefix(prefix, server_id, out);
    const size_t size = strlen(out);
    snprintf(out + size, MMQ_OBJECT_KEY_MAX + 1 - size,
             "metric_dump_%s_%.4s%.2s%.2s-%.2s%.2s%.2s-%.*s.tar.gz", dump->uid, t, t + 5, t + 8,
             t + 11, t + 14, t + 17, DIGITS_IN_FILE_NAME, dump->digest);
}
