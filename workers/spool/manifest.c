/* JSON by way of msgpack, so that reading is the same table of arguments as a request's. What is
 * read is trusted no more than a request: the key becomes a path. */
#include "workers/spool/manifest.h"

#include <string.h>

#include "lib/fields.h"
#include "lib/json.h"
#include "lib/pack.h"
#include "lib/uid.h"

enum { VERSION = 1, PACKED_MAX = 4096 };

struct fields {
    mmq_slice key, uid, server_id, digest, sha256;
    int64_t version, created, size_bytes, attempts;
};

#define FIELD(name_) offsetof(struct fields, name_), MMQ_NO_GIVEN

static const mmq_field_spec specs[] = {
    {"version", MMQ_KIND_INT, true, FIELD(version)},
    {"key", MMQ_KIND_TEXT, true, FIELD(key)},
    {"uid", MMQ_KIND_TEXT, true, FIELD(uid)},
    {"created", MMQ_KIND_INT, true, FIELD(created)},
    {"digest", MMQ_KIND_TEXT, true, FIELD(digest)},
    {"size", MMQ_KIND_INT, true, FIELD(size_bytes)},
    {"sha256", MMQ_KIND_TEXT, true, FIELD(sha256)},
    {"attempts", MMQ_KIND_INT, true, FIELD(attempts)},
    {"server_id", MMQ_KIND_TEXT, true, FIELD(server_id)},
};

mmq_err mmq_manifest_print(const mmq_manifest *manifest, mmq_buffer *out, mmq_why *why)
{
    mmq_args pairs;
    mmq_args_init(&pairs);
    mmq_args_cstr(&pairs, "op", "dump"); /* which a table of arguments wants */
    mmq_args_int(&pairs, "version", VERSION);
    mmq_args_cstr(&pairs, "key", manifest->key);
    mmq_args_cstr(&pairs, "uid", manifest->uid);
    mmq_args_int(&pairs, "created", manifest->created);
    mmq_args_cstr(&pairs, "digest", manifest->digest);
    mmq_args_int(&pairs, "size", manifest->sums.size_bytes);
    mmq_args_cstr(&pairs, "sha256", manifest->sums.whole.sha256);
    mmq_args_int(&pairs, "attempts", manifest->attempts);
    mmq_args_cstr(&pairs, "server_id", manifest->server_id);
    mmq_buffer packed;
    mmq_buffer_init(&packed, PACKED_MAX);
    mmq_pack_map(&packed, pairs.count);
    mmq_buffer_add(&packed, pairs.pairs.data, pairs.pairs.size);
    mmq_err err = packed.failed || pairs.pairs.failed
                      ? mmq_fail(why, MMQ_ENOMEM, "no memory for a manifest")
                      : mmq_json_from_msgpack(packed.data, packed.size, out, why);
    mmq_buffer_text(out, "\n");
    mmq_buffer_clear(&packed);
    mmq_args_clear(&pairs);
    return err == MMQ_OK && out->failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for a manifest")
                                        : err;
}

/* The text if it fits and, where `digits` is set, is that long and all lower-case hex. */
static bool take_text(const mmq_slice *text, char *out, size_t size_max, bool digits)
{
    if (text->size > size_max || (digits && text->size != size_max)) {
        return false;
    }
    memcpy(out, text->data, text->size);
    out[text->size] = '\0';
    return !digits || strspn(out, "0123456789abcdef") == size_max;
}

static bool take_fields(const struct fields *fields, mmq_manifest *out)
{
    out->created = fields->created;
    out->sums = (mmq_sums){.size_bytes = fields->size_bytes};
    out->attempts = fields->attempts;
    return fields->version == VERSION && fields->size_bytes > 0 && fields->attempts >= 0 &&
           mmq_object_key_valid(fields->key.data, fields->key.size) &&
           mmq_uid_valid(fields->uid.data, fields->uid.size) &&
           take_text(&fields->key, out->key, MMQ_OBJECT_KEY_MAX, false) &&
           take_text(&fields->uid, out->uid, MMQ_UID_MAX, false) &&
           take_text(&fields->server_id, out->server_id, MMQ_SERVER_ID_MAX, false) &&
           take_text(&fields->digest, out->digest, MMQ_DIGEST_HEX, true) &&
           take_text(&fields->sha256, out->sums.whole.sha256, MMQ_DIGEST_HEX, true);
}

mmq_err mmq_manifest_parse(const char *text, size_t size, mmq_manifest *out, mmq_why *why)
{
    mmq_buffer packed;
    struct fields fields = {.version = 0};
    mmq_why reason = {""};
    mmq_buffer_init(&packed, PACKED_MAX);
    mmq_err err = mmq_json_to_msgpack(text, size, &packed, &reason);
    if (err == MMQ_OK) {
        err = mmq_fields_read(packed.data, packed.size, specs, sizeof specs / sizeof *specs,
                              &fields, &reason);
    }
    if (err == MMQ_ENOMEM) {
        (void)mmq_fail(why, err, "no memory for a manifest");
    } else if (err != MMQ_OK) {
        err = mmq_fail(why, MMQ_ECORRUPT, "a manifest cannot be read: %.180s", reason.text);
    } else if (!take_fields(&fields, out)) {
        err = mmq_fail(why, MMQ_ECORRUPT, "a manifest is of another version or out of range");
    }
    mmq_buffer_clear(&packed);
    return err;
}
