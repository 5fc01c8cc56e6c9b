/* JSON by way of msgpack, so that reading is the same table of arguments as a request's. What is
 * read is trusted no more than a request: the key becomes a path.
 *
 * The text begins with the checksum of all that is behind it, so that no byte of a manifest can
 * change without being noticed. Without a checksum it is of version 1. */
#include "workers/spool/manifest.h"

#include <string.h>

#include "lib/check.h"
#include "lib/fields.h"
#include "lib/json.h"
#include "metricmq/pack.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"

enum {
    VERSION = 2,
    FIRST_VERSION = 1,
    PART_HEX = MMQ_DIGEST_HEX + MMQ_MD5_HEX, /* of one part in `parts` */
};

static const char checksum_head[] = "{\"checksum\":\"";
static const char *const state_names[] = {
    [MMQ_JOB_WAITING] = "waiting",
    [MMQ_JOB_SETTINGS] = "settings",
    [MMQ_JOB_HELD] = "held",
};

/* Absent texts have no data, absent numbers are negative. */
struct fields {
    mmq_slice checksum, key, uid, server_id, digest, sha256, md5, parts, state, error;
    int64_t version, created, size_bytes, attempts, next_attempt_ms;
};

#define FIELD(name_) offsetof(struct fields, name_), MMQ_NO_GIVEN

static const mmq_field_spec specs[] = {
    {"checksum", MMQ_KIND_TEXT, false, FIELD(checksum)},
    {"version", MMQ_KIND_INT, true, FIELD(version)},
    {"key", MMQ_KIND_TEXT, true, FIELD(key)},
    {"uid", MMQ_KIND_TEXT, true, FIELD(uid)},
    {"created", MMQ_KIND_INT, true, FIELD(created)},
    {"digest", MMQ_KIND_TEXT, true, FIELD(digest)},
    {"server_id", MMQ_KIND_TEXT, true, FIELD(server_id)},
    {"size", MMQ_KIND_INT, true, FIELD(size_bytes)},
    {"sha256", MMQ_KIND_TEXT, true, FIELD(sha256)},
    {"md5", MMQ_KIND_TEXT, false, FIELD(md5)},
    {"parts", MMQ_KIND_TEXT, false, FIELD(parts)},
    {"attempts", MMQ_KIND_INT, true, FIELD(attempts)},
    {"next_attempt", MMQ_KIND_INT, false, FIELD(next_attempt_ms)},
    {"state", MMQ_KIND_TEXT, false, FIELD(state)},
    {"error", MMQ_KIND_TEXT, false, FIELD(error)},
};

const char *mmq_job_state_name(mmq_job_state state)
{
    CHECK((unsigned)state < sizeof state_names / sizeof *state_names);
    return state_names[state];
}

bool mmq_manifest_is_summed(const mmq_manifest *manifest)
{
    return manifest->sums.size_bytes > MMQ_WHOLE_BYTES ? manifest->sums.count > 0
                                                       : manifest->sums.whole.md5[0] != '\0';
}

void mmq_manifest_clear(mmq_manifest *manifest)
{
    mmq_sums_clear(&manifest->sums);
    *manifest = (mmq_manifest){.created = 0};
}

/* ---- printing --------------------------------------------------------------------------- */

void mmq_error_clean(mmq_why *error)
{
    const size_t size = strnlen(error->text, sizeof error->text - 1);
    const bool readable = mmq_utf8_valid(error->text, size);
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)error->text[i];
        if (byte < ' ' || byte == 0x7f || (byte > 0x7f && !readable)) {
            error->text[i] = '?';
        }
    }
    error->text[size] = '\0';
}

static mmq_err print_parts(const mmq_sums *sums, mmq_args *pairs, mmq_why *why)
{
    mmq_buffer text;
    mmq_buffer_init(&text, MMQ_MANIFEST_MAX);
    for (size_t i = 0; i < sums->count; i++) {
        mmq_buffer_text(&text, sums->parts[i].sha256);
        mmq_buffer_text(&text, sums->parts[i].md5);
    }
    mmq_args_text(pairs, "parts", text.size > 0 ? (const char *)text.data : "", text.size);
    const bool failed = text.failed;
    mmq_buffer_clear(&text);
    return failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for a manifest") : MMQ_OK;
}

static mmq_err print_pairs(const mmq_manifest *manifest, mmq_args *pairs, mmq_why *why)
{
    mmq_why error = manifest->error;
    mmq_error_clean(&error);
    mmq_args_cstr(pairs, "op", "dump"); /* which a table of arguments wants */
    mmq_args_int(pairs, "version", VERSION);
    mmq_args_cstr(pairs, "digest", manifest->digest);
    mmq_args_cstr(pairs, "uid", manifest->uid);
    mmq_args_int(pairs, "created", manifest->created);
    mmq_args_cstr(pairs, "key", manifest->key);
    mmq_args_cstr(pairs, "server_id", manifest->server_id);
    mmq_args_int(pairs, "size", manifest->sums.size_bytes);
    mmq_args_cstr(pairs, "sha256", manifest->sums.whole.sha256);
    mmq_args_cstr(pairs, "md5", manifest->sums.whole.md5);
    mmq_args_int(pairs, "attempts", manifest->attempts);
    mmq_args_int(pairs, "next_attempt", manifest->next_attempt_ms);
    mmq_args_cstr(pairs, "state", mmq_job_state_name(manifest->state));
    mmq_args_cstr(pairs, "error", error.text);
    return print_parts(&manifest->sums, pairs, why);
}

/* All that is behind the checksum, whose first byte is the comma in front of the first pair. */
static mmq_err print_rest(const mmq_manifest *manifest, mmq_buffer *out, mmq_why *why)
{
    mmq_args pairs;
    mmq_buffer packed;
    mmq_args_init(&pairs);
    mmq_buffer_init(&packed, MMQ_MANIFEST_MAX);
    mmq_err err = print_pairs(manifest, &pairs, why);
    mmq_pack_map(&packed, pairs.count);
    mmq_buffer_add(&packed, pairs.pairs.data, pairs.pairs.size);
    if (err == MMQ_OK) {
        err = packed.failed || pairs.pairs.failed
                  ? mmq_fail(why, MMQ_ENOMEM, "no memory for a manifest")
                  : mmq_json_from_msgpack(packed.data, packed.size, out, why);
    }
    mmq_buffer_clear(&packed);
    mmq_args_clear(&pairs);
    mmq_buffer_text(out, "\n");
    if (err == MMQ_OK && out->failed) {
        err = mmq_fail(why, MMQ_ENOMEM, "no memory for a manifest");
    }
    if (err == MMQ_OK) {
        out->data[0] = ','; /* in place of the brace, which is in front of the checksum */
    }
    return err;
}

mmq_err mmq_manifest_print(const mmq_manifest *manifest, mmq_buffer *out, mmq_why *why)
{
    CHECK(mmq_manifest_is_summed(manifest));
    mmq_buffer rest;
    mmq_buffer_init(&rest, MMQ_MANIFEST_MAX);
    mmq_err err = print_rest(manifest, &rest, why);
    if (err == MMQ_OK) {
        char checksum[MMQ_DIGEST_HEX + 1];
        mmq_digest(rest.data, rest.size, checksum);
        mmq_buffer_text(out, checksum_head);
        mmq_buffer_text(out, checksum);
        mmq_buffer_text(out, "\"");
        mmq_buffer_add(out, rest.data, rest.size);
        err = out->failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for a manifest") : MMQ_OK;
    }
    mmq_buffer_clear(&rest);
    return err;
}

/* ---- reading ---------------------------------------------------------------------------- */

static bool is_hex(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\0' || strchr("0123456789abcdef", data[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static bool take_text(const mmq_slice *text, char *out, size_t size_max)
{
    if (text->size > size_max) {
        return false;
    }
    memcpy(out, text->data, text->size);
    out[text->size] = '\0';
    return true;
}

static bool take_hex(const mmq_slice *text, char *out, size_t size)
{
    return text->size == size && is_hex(text->data, size) && take_text(text, out, size);
}

/* What both versions have. */
static bool take_request(const struct fields *fields, mmq_manifest *out)
{
    out->created = fields->created;
    out->attempts = fields->attempts;
    out->sums.size_bytes = fields->size_bytes;
    return fields->size_bytes > 0 && fields->attempts >= 0 && fields->attempts < INT32_MAX &&
           mmq_object_key_valid(fields->key.data, fields->key.size) &&
           mmq_uid_valid(fields->uid.data, fields->uid.size) &&
           take_text(&fields->key, out->key, MMQ_OBJECT_KEY_MAX) &&
           take_text(&fields->uid, out->uid, MMQ_UID_MAX) &&
           take_text(&fields->server_id, out->server_id, MMQ_SERVER_ID_MAX) &&
           take_hex(&fields->digest, out->digest, MMQ_DIGEST_HEX) &&
           take_hex(&fields->sha256, out->sums.whole.sha256, MMQ_DIGEST_HEX);
}

static bool take_state(const struct fields *fields, mmq_manifest *out)
{
    out->next_attempt_ms = fields->next_attempt_ms;
    if (fields->next_attempt_ms < 0 || fields->state.data == NULL || fields->error.data == NULL ||
        !take_text(&fields->error, out->error.text, sizeof out->error.text - 1)) {
        return false;
    }
    for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++) {
        if (mmq_slice_is(&fields->state, state_names[i])) {
            out->state = (mmq_job_state)i;
            return true;
        }
    }
    return false;
}

/* The parts' sums, as many as an archive of that size has. */
static mmq_err take_parts(const mmq_slice *text, mmq_manifest *out, mmq_why *why)
{
    mmq_sums sums;
    mmq_err err = mmq_sums_init(&sums, out->sums.size_bytes, why);
    if (err != MMQ_OK) {
        return err == MMQ_ETOOBIG ? MMQ_ECORRUPT : err;
    }
    sums.whole = out->sums.whole;
    out->sums = sums;
    if (text->size != sums.count * PART_HEX || !is_hex(text->data, text->size)) {
        return mmq_fail(why, MMQ_ECORRUPT, "a manifest's parts are not those of its archive");
    }
    for (size_t i = 0; i < sums.count; i++) {
        const char *at = text->data + i * PART_HEX;
        memcpy(sums.parts[i].sha256, at, MMQ_DIGEST_HEX);
        memcpy(sums.parts[i].md5, at + MMQ_DIGEST_HEX, MMQ_MD5_HEX);
    }
    return MMQ_OK;
}

static mmq_err take_sums(const struct fields *fields, mmq_manifest *out, mmq_why *why)
{
    const size_t md5_size = fields->size_bytes <= MMQ_WHOLE_BYTES ? MMQ_MD5_HEX : 0;
    if (fields->md5.data == NULL || fields->parts.data == NULL ||
        !take_hex(&fields->md5, out->sums.whole.md5, md5_size)) {
        return mmq_fail(why, MMQ_ECORRUPT, "a manifest lacks its archive's sums");
    }
    return take_parts(&fields->parts, out, why);
}

/* True if nothing is there that came with version 2. */
static bool is_first_version(const struct fields *fields)
{
    return fields->version == FIRST_VERSION && fields->checksum.data == NULL &&
           fields->md5.data == NULL && fields->parts.data == NULL && fields->state.data == NULL &&
           fields->error.data == NULL && fields->next_attempt_ms < 0;
}

static mmq_err take_fields(const struct fields *fields, mmq_manifest *out, mmq_why *why)
{
    const bool first = is_first_version(fields);
    if (!first && (fields->version != VERSION || fields->checksum.data == NULL)) {
        return mmq_fail(why, MMQ_ECORRUPT,
                        "a manifest is of version %lld, and this metricmq knows 1 and %d",
                        (long long)fields->version, VERSION);
    }
    if (!take_request(fields, out) || (!first && !take_state(fields, out))) {
        return mmq_fail(why, MMQ_ECORRUPT, "a manifest is out of range");
    }
    return first ? MMQ_OK : take_sums(fields, out, why);
}

/* One that bears no checksum is left to its version. */
static mmq_err check_sum(const char *text, size_t size, mmq_why *why)
{
    const size_t head = sizeof checksum_head - 1;
    const size_t behind = head + MMQ_DIGEST_HEX + 1; /* the quote is no part of what is summed */
    if (size < head || memcmp(text, checksum_head, head) != 0) {
        return MMQ_OK;
    }
    char sum[MMQ_DIGEST_HEX + 1] = "";
    if (size > behind) {
        mmq_digest(text + behind, size - behind, sum);
    }
    return sum[0] != '\0' && memcmp(text + head, sum, MMQ_DIGEST_HEX) == 0 &&
                   text[behind - 1] == '"'
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECORRUPT,
                          "a manifest's checksum is wrong: it was cut or changed");
}

static mmq_err read_text(const char *text, size_t size, mmq_buffer *packed, struct fields *out,
                         mmq_why *why)
{
    mmq_why reason = {""};
    mmq_err err = mmq_json_to_msgpack(text, size, packed, &reason);
    if (err == MMQ_OK) {
        err = mmq_fields_read(packed->data, packed->size, specs, sizeof specs / sizeof *specs, out,
                              &reason);
    }
    if (err == MMQ_ENOMEM) {
        return mmq_fail(why, err, "no memory for a manifest");
    }
    return err == MMQ_OK
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECORRUPT, "a manifest cannot be read: %.180s", reason.text);
}

mmq_err mmq_manifest_parse(const char *text, size_t size, mmq_manifest *out, mmq_why *why)
{
    mmq_buffer packed;
    struct fields fields = {.next_attempt_ms = -1};
    *out = (mmq_manifest){.created = 0};
    mmq_buffer_init(&packed, MMQ_MANIFEST_MAX);
    mmq_err err = check_sum(text, size, why);
    if (err == MMQ_OK) {
        err = read_text(text, size, &packed, &fields, why);
    }
    if (err == MMQ_OK) {
        err = take_fields(&fields, out, why);
    }
    if (err != MMQ_OK) {
        mmq_manifest_clear(out);
    }
    mmq_buffer_clear(&packed);
    return err;
}
