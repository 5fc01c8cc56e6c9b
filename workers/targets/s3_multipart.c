/* A multipart upload: leftovers of the key's are aborted, then it is begun, its parts are sent,
 * four at a time and in any order, and it is completed. A part is a call on bytes of the file, so
 * that nothing of it is in memory; what is kept of each is its ETag. An upload that fails is
 * aborted: stores keep parts, and charge for them, until then.
 *
 * A failure of Complete may come after the object was made: by a lost answer, or as NoSuchUpload
 * when it is asked again. So the store is asked for the object before that counts as one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "workers/targets/s3_upload.h"
#include "workers/targets/s3_xml.h"

enum {
    ID_MAX = 1024,
    TRIES = 3,
    COMPLETE_PATIENCE = 15, /* stores may put parts together for minutes, silent but for spaces */
    ABORT_S = 3,
    XML_A_PART = 160 + MMQ_S3_ETAG_MAX, /* bytes of a part in the list of parts, at most */
};

struct etag {
    char text[MMQ_S3_ETAG_MAX + 1];
};

/* A part on its way. */
struct slot {
    bool is_used;
    size_t part;
    char number[8]; /* from 1 on */
    mmq_s3_call call;
};

struct upload {
    mmq_s3_session *session;
    const mmq_object *object;
    char id[ID_MAX + 1];
    struct etag *etags; /* of the parts */
    size_t next;        /* part that has not begun */
    size_t done;        /* parts that are there */
    int64_t bytes;      /* of those */
    bool has_no_md5;    /* of a part the ETag is no MD5, so that of the whole cannot be foretold */
    char md5[MMQ_MD5_HEX + sizeof "-10000"]; /* what the object's ETag should be */
    struct slot slots[MMQ_S3_AT_ONCE];
};

/* ---- beginning -------------------------------------------------------------------------- */

static mmq_err create(struct upload *upload)
{
    mmq_s3_session *session = upload->session;
    const mmq_object *object = upload->object;
    mmq_s3_call call = {
        .method = "POST",
        .key = object->key,
        .query = {{"uploads", ""}},
        .query_count = 1,
        .headers = {{"content-type", "application/gzip"},
                    {"x-amz-meta-uid", object->uid},
                    {"x-amz-meta-sha256", object->sums->whole.sha256}},
        .header_count = 3,
    };
    mmq_err err = mmq_s3_call_run(session, &call);
    if (err == MMQ_OK) {
        const mmq_buffer *body = &mmq_s3_call_reply(&call)->body;
        if (!mmq_s3_xml_text((const char *)body->data, body->size, "UploadId", upload->id,
                             sizeof upload->id) ||
            upload->id[0] == '\0') {
            err = mmq_s3_fail(session, MMQ_EPROTO, MMQ_SETBACK_PASSING,
                              "the store at %.80s began an upload without telling its id",
                              session->store->address.host);
        }
    }
    mmq_s3_call_end(&call);
    return err;
}

/* ---- parts ------------------------------------------------------------------------------ */

static int64_t part_size(const struct upload *upload, size_t part)
{
    const int64_t left = upload->object->sums->size_bytes - (int64_t)part * MMQ_PART_BYTES;
    return left < MMQ_PART_BYTES ? left : MMQ_PART_BYTES;
}

static void begin_part(struct upload *upload, struct slot *slot)
{
    const size_t part = upload->next++;
    *slot = (struct slot){.is_used = true, .part = part};
    snprintf(slot->number, sizeof slot->number, "%zu", part + 1);
    slot->call = (mmq_s3_call){
        .method = "PUT",
        .key = upload->object->key,
        .query = {{"partNumber", slot->number}, {"uploadId", upload->id}},
        .query_count = 2,
        .sha256 = upload->object->sums->parts[part].sha256,
        .body = {.fd = upload->object->fd,
                 .at = (int64_t)part * MMQ_PART_BYTES,
                 .size = part_size(upload, part)},
        .tries = TRIES,
    };
}

/* The part's bytes are doubted: by the store or by us. */
static mmq_err doubt_part(struct upload *upload, const struct slot *slot)
{
    const mmq_s3_body *body = &slot->call.body;
    return mmq_s3_upload_doubt(upload->session, upload->object, body->at, body->size,
                               slot->call.sha256);
}

static mmq_err take_part(struct upload *upload, const struct slot *slot)
{
    mmq_s3_session *session = upload->session;
    const char *host = session->store->address.host;
    char *etag = upload->etags[slot->part].text;
    const mmq_s3_reply *reply = mmq_s3_call_reply(&slot->call);
    mmq_s3_etag(reply->etag, etag);
    switch (mmq_s3_etag_compare(reply, etag, upload->object->sums->parts[slot->part].md5)) {
    case MMQ_S3_NO_ETAG:
        return mmq_s3_fail(session, MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING,
                           "the store at %.80s took a part, but answered no ETag", host);
    case MMQ_S3_OTHER:
        (void)mmq_s3_fail(session, MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING,
                          "the store at %.80s answered another ETag than the part's", host);
        return doubt_part(upload, slot);
    case MMQ_S3_NO_MD5:
        upload->has_no_md5 = true;
        break;
    case MMQ_S3_SAME:
        break;
    }
    upload->bytes += slot->call.body.size;
    upload->done++;
    return MMQ_OK;
}

/* Lets one slot go on. */
static mmq_err step_slot(struct upload *upload, struct slot *slot)
{
    mmq_s3_session *session = upload->session;
    if (!slot->is_used) {
        if (upload->next == upload->object->sums->count) {
            return MMQ_OK;
        }
        begin_part(upload, slot);
    }
    mmq_s3_call_step(session, &slot->call);
    if (session->stopped != MMQ_OK || !slot->call.is_done) {
        return session->stopped;
    }
    mmq_err err = slot->call.verdict.err;
    if (err == MMQ_OK) {
        err = take_part(upload, slot);
    } else {
        session->verdict = slot->call.verdict;
        err = slot->call.verdict.remedy == MMQ_S3_RESUM ? doubt_part(upload, slot) : err;
    }
    mmq_s3_call_end(&slot->call);
    slot->is_used = false;
    return err;
}

static mmq_err step_slots(struct upload *upload)
{
    mmq_err err = MMQ_OK;
    int64_t sent = 0;
    for (size_t i = 0; err == MMQ_OK && i < MMQ_S3_AT_ONCE; i++) {
        struct slot *slot = &upload->slots[i];
        err = step_slot(upload, slot);
        if (slot->is_used && slot->call.exchange != NULL) {
            sent += mmq_s3_exchange_sent(slot->call.exchange);
        }
    }
    upload->session->done = upload->bytes + sent;
    return err;
}

static mmq_err send_parts(struct upload *upload)
{
    const size_t count = upload->object->sums->count;
    mmq_err err = step_slots(upload);
    while (err == MMQ_OK && upload->done < count) {
        err = mmq_s3_session_wait(upload->session);
        if (err == MMQ_OK) {
            err = step_slots(upload);
        }
    }
    for (size_t i = 0; i < MMQ_S3_AT_ONCE; i++) {
        mmq_s3_call_end(&upload->slots[i].call);
    }
    return err;
}

/* ---- completing ------------------------------------------------------------------------- */

static unsigned char digit_of(char hex)
{
    return (unsigned char)(hex <= '9' ? hex - '0' : hex - 'a' + 10);
}

/* The MD5 of the parts' MD5s, and how many they are. */
static bool foretell_etag(struct upload *upload)
{
    const mmq_sums *sums = upload->object->sums;
    enum { MD5_BYTES = MMQ_MD5_HEX / 2 };
    unsigned char *all = malloc(sums->count * MD5_BYTES);
    if (all == NULL) {
        return false;
    }
    for (size_t part = 0; part < sums->count; part++) {
        const char *hex = sums->parts[part].md5;
        for (size_t i = 0; i < MD5_BYTES; i++) {
            all[part * MD5_BYTES + i] =
                (unsigned char)(digit_of(hex[2 * i]) << 4 | digit_of(hex[2 * i + 1]));
        }
    }
    mmq_md5(all, sums->count * MD5_BYTES, upload->md5);
    snprintf(upload->md5 + MMQ_MD5_HEX, sizeof upload->md5 - MMQ_MD5_HEX, "-%zu", sums->count);
    free(all);
    return true;
}

static void list_parts(const struct upload *upload, mmq_buffer *out)
{
    mmq_buffer_text(out, "<CompleteMultipartUpload "
                         "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t part = 0; part < upload->object->sums->count; part++) {
        mmq_buffer_format(out,
                          "<Part><PartNumber>%zu</PartNumber><ETag>&quot;%s&quot;</ETag></Part>",
                          part + 1, upload->etags[part].text);
    }
    mmq_buffer_text(out, "</CompleteMultipartUpload>");
}

/* What the answer to Complete says of the object; in doubt the store is asked. */
static mmq_err take_completion(struct upload *upload, const mmq_s3_reply *reply)
{
    static const char root[] = "CompleteMultipartUploadResult";
    const char *expected = upload->has_no_md5 ? NULL : upload->md5;
    const char *xml = (const char *)reply->body.data;
    char quoted[MMQ_S3_ETAG_MAX + sizeof "W/\"\""], etag[MMQ_S3_ETAG_MAX + 1];
    (void)mmq_s3_xml_text(xml, reply->body.size, "ETag", quoted, sizeof quoted);
    mmq_s3_etag(quoted, etag);
    if (mmq_s3_xml_root(xml, reply->body.size, root) && etag[0] != '\0') {
        const mmq_s3_agreement agreement =
            expected == NULL ? MMQ_S3_NO_MD5 : mmq_s3_etag_compare(reply, etag, expected);
        if (agreement == MMQ_S3_SAME || agreement == MMQ_S3_NO_MD5) {
            return MMQ_OK;
        }
    }
    return mmq_s3_upload_check(upload->session, upload->object, expected);
}

static mmq_err complete(struct upload *upload)
{
    mmq_s3_session *session = upload->session;
    mmq_buffer xml;
    char sha256[MMQ_DIGEST_HEX + 1];
    mmq_buffer_init(&xml, (upload->object->sums->count + 2) * XML_A_PART);
    list_parts(upload, &xml);
    mmq_err err =
        xml.failed || !foretell_etag(upload)
            ? mmq_s3_fail(session, MMQ_ENOMEM, MMQ_SETBACK_PASSING, "no memory for an upload")
            : MMQ_OK;
    if (err == MMQ_OK) {
        mmq_digest(xml.data, xml.size, sha256);
        mmq_s3_call call = {
            .method = "POST",
            .key = upload->object->key,
            .query = {{"uploadId", upload->id}},
            .query_count = 1,
            .headers = {{"content-type", "application/xml"}},
            .header_count = 1,
            .sha256 = sha256,
            .body = {.data = xml.data, .size = (int64_t)xml.size},
            .tries = TRIES,
            .patience = COMPLETE_PATIENCE,
        };
        err = mmq_s3_call_run(session, &call);
        if (err == MMQ_OK) {
            err = take_completion(upload, mmq_s3_call_reply(&call));
        } else if (session->stopped == MMQ_OK && call.verdict.remedy == MMQ_S3_GONE) {
            err = mmq_s3_upload_check(session, upload->object,
                                      upload->has_no_md5 ? NULL : upload->md5);
        }
        mmq_s3_call_end(&call);
    }
    mmq_buffer_clear(&xml);
    return err;
}

/* ---- all of it -------------------------------------------------------------------------- */

static bool is_of_key(void *context, const char *key)
{
    return strcmp(key, context) == 0;
}

/* What comes of it does not change what has failed. */
static void abort_upload(struct upload *upload)
{
    mmq_s3_session order = *upload->session;
    mmq_s3_session_limit(&order, ABORT_S * MMQ_NS_PER_S);
    (void)mmq_s3_multipart_abort(&order, upload->object->key, upload->id);
}

static mmq_err abort_leftovers(mmq_s3_session *session, const char *key)
{
    char copy[MMQ_OBJECT_KEY_MAX + 1];
    snprintf(copy, sizeof copy, "%s", key);
    mmq_err err = mmq_s3_leftovers_abort(session, key, is_of_key, copy);
    /* Who may write need not have the right to list. */
    const bool is_refused =
        session->stopped == MMQ_OK && session->verdict.setback.kind != MMQ_SETBACK_PASSING;
    return err != MMQ_OK && is_refused ? MMQ_OK : err;
}

mmq_err mmq_s3_upload_parts(mmq_s3_session *session, const mmq_object *object)
{
    struct upload upload = {.session = session, .object = object};
    mmq_err err = abort_leftovers(session, object->key);
    if (err == MMQ_OK) {
        upload.etags = calloc(object->sums->count, sizeof *upload.etags);
        err = upload.etags != NULL ? create(&upload)
                                   : mmq_s3_fail(session, MMQ_ENOMEM, MMQ_SETBACK_PASSING,
                                                 "no memory for an upload");
    }
    if (err == MMQ_OK) {
        err = send_parts(&upload);
        if (err == MMQ_OK) {
            err = complete(&upload);
        }
        if (err != MMQ_OK) {
            abort_upload(&upload);
        }
    }
    free(upload.etags);
    return err;
}
