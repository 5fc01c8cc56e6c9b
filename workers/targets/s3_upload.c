/* What both ways into a store have in common, and the short one: a PUT that names its digests,
 * whose ETag must be the object's MD5. */
#include "workers/targets/s3_upload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/files.h"
#include "lib/number.h"

enum { READ_BYTES = 256 * 1024 };

/* ---- doubts ----------------------------------------------------------------------------- */

static mmq_err read_range(mmq_s3_session *session, int fd, int64_t at, int64_t size, char *room,
                          mmq_checksum *sum)
{
    for (int64_t done = 0; done < size;) {
        mmq_err err = mmq_s3_session_tick(session);
        if (err != MMQ_OK) {
            return err;
        }
        const int64_t left = size - done;
        const ssize_t got =
            pread(fd, room, left < READ_BYTES ? (size_t)left : READ_BYTES, at + done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return mmq_s3_fail(session, MMQ_EIO, MMQ_SETBACK_PASSING,
                               "an archive cannot be read from the spool");
        }
        if (got == 0) {
            return mmq_s3_fail(session, MMQ_ECORRUPT, MMQ_SETBACK_REFUSED,
                               "an archive was cut off in the spool");
        }
        mmq_checksum_add(sum, room, (size_t)got);
        done += got;
    }
    return MMQ_OK;
}

mmq_err mmq_s3_upload_doubt(mmq_s3_session *session, const mmq_object *object, int64_t at,
                            int64_t size, const char *sha256)
{
    char hex[MMQ_DIGEST_HEX + 1];
    mmq_checksum *sum = mmq_checksum_new(MMQ_SHA256);
    char *room = malloc(READ_BYTES);
    mmq_err err =
        sum != NULL && room != NULL
            ? read_range(session, object->fd, at, size, room, sum)
            : mmq_s3_fail(session, MMQ_ENOMEM, MMQ_SETBACK_PASSING, "no memory for an upload");
    if (err == MMQ_OK) {
        mmq_checksum_hex(sum, hex);
        err = strcmp(hex, sha256) == 0 ? session->verdict.err
                                       : mmq_s3_fail(session, MMQ_ECORRUPT, MMQ_SETBACK_REFUSED,
                                                     "an archive's bytes changed in the spool");
    }
    free(room);
    mmq_checksum_destroy(&sum);
    return err;
}

static mmq_err compare(mmq_s3_session *session, const mmq_object *object, const char *expected,
                       const mmq_s3_reply *reply)
{
    char etag[MMQ_S3_ETAG_MAX + 1];
    int64_t size_bytes = -1;
    mmq_s3_etag(reply->etag, etag);
    const mmq_s3_agreement agreement =
        expected == NULL ? MMQ_S3_NO_MD5 : mmq_s3_etag_compare(reply, etag, expected);
    const bool has_size = mmq_integer_parse(reply->length, strlen(reply->length), &size_bytes);
    const bool has_sum = strcmp(reply->meta_sha256, object->sums->whole.sha256) == 0;
    return has_size && size_bytes == object->sums->size_bytes && agreement != MMQ_S3_OTHER &&
                   (agreement == MMQ_S3_SAME || has_sum)
               ? MMQ_OK
               : mmq_s3_fail(session, MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING,
                             "what the store at %.80s has under the object's key is not what was "
                             "sent",
                             session->store->address.host);
}

mmq_err mmq_s3_upload_check(mmq_s3_session *session, const mmq_object *object, const char *etag)
{
    mmq_s3_call call = {.method = "HEAD", .key = object->key, .tries = 3};
    mmq_err err = mmq_s3_call_run(session, &call);
    const mmq_s3_reply *reply = mmq_s3_call_reply(&call);
    if (err == MMQ_OK) {
        err = compare(session, object, etag, reply);
    } else if (session->stopped == MMQ_OK && reply != NULL && reply->status == 404) {
        err = mmq_s3_fail(session, MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING,
                          "the store at %.80s does not have the object that it was sent",
                          session->store->address.host);
    }
    mmq_s3_call_end(&call);
    return err;
}

/* ---- one PUT ---------------------------------------------------------------------------- */

/* Takes the call to its end, telling how far it is. */
static mmq_err run_put(mmq_s3_session *session, mmq_s3_call *call)
{
    mmq_err err = MMQ_OK;
    mmq_s3_call_step(session, call);
    while (err == MMQ_OK && !call->is_done) {
        err = mmq_s3_session_wait(session);
        session->done = call->exchange != NULL ? mmq_s3_exchange_sent(call->exchange) : 0;
        mmq_s3_call_step(session, call);
    }
    return mmq_s3_call_run(session, call);
}

static mmq_err take_put(mmq_s3_session *session, const mmq_object *object,
                        const mmq_s3_reply *reply)
{
    const mmq_sums *sums = object->sums;
    const char *host = session->store->address.host;
    char etag[MMQ_S3_ETAG_MAX + 1];
    mmq_s3_etag(reply->etag, etag);
    switch (mmq_s3_etag_compare(reply, etag, sums->whole.md5)) {
    case MMQ_S3_NO_ETAG:
        return mmq_s3_fail(session, MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING,
                           "the store at %.80s took the object, but answered no ETag", host);
    case MMQ_S3_OTHER:
        (void)mmq_s3_fail(session, MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING,
                          "the store at %.80s answered another ETag than the object's", host);
        return mmq_s3_upload_doubt(session, object, 0, sums->size_bytes, sums->whole.sha256);
    case MMQ_S3_NO_MD5:
    case MMQ_S3_SAME:
        break;
    }
    session->done = sums->size_bytes;
    return MMQ_OK;
}

mmq_err mmq_s3_upload_whole(mmq_s3_session *session, const mmq_object *object)
{
    const mmq_sums *sums = object->sums;
    mmq_s3_call call = {
        .method = "PUT",
        .key = object->key,
        .headers = {{"content-type", "application/gzip"},
                    {"x-amz-meta-uid", object->uid},
                    {"x-amz-meta-sha256", sums->whole.sha256}},
        .header_count = 3,
        .sha256 = sums->whole.sha256,
        .body = {.fd = object->fd, .size = sums->size_bytes},
    };
    mmq_err err = run_put(session, &call);
    if (err == MMQ_OK) {
        err = take_put(session, object, mmq_s3_call_reply(&call));
    } else if (session->stopped == MMQ_OK && call.verdict.remedy == MMQ_S3_RESUM) {
        err = mmq_s3_upload_doubt(session, object, 0, sums->size_bytes, sums->whole.sha256);
    }
    mmq_s3_call_end(&call);
    return err;
}

mmq_err mmq_s3_upload(mmq_s3_session *session, const mmq_object *object)
{
    struct stat status;
    session->total = object->sums->size_bytes;
    if (fstat(object->fd, &status) != 0) {
        return mmq_s3_fail(session, MMQ_EIO, MMQ_SETBACK_PASSING,
                           "an archive cannot be looked at in the spool");
    }
    if (status.st_size != object->sums->size_bytes) {
        return mmq_s3_fail(session, MMQ_ECORRUPT, MMQ_SETBACK_REFUSED,
                           "an archive has another size than its manifest says");
    }
    mmq_err err = mmq_s3_session_tick(session);
    if (err == MMQ_OK) {
        err = object->sums->count > 0 ? mmq_s3_upload_parts(session, object)
                                      : mmq_s3_upload_whole(session, object);
    }
    return err;
}
