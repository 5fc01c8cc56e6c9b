/* One object's way into a store of S3, within a session. Failures are in the session's verdict,
 * unless the watch stopped it. */
#ifndef MMQ_S3_UPLOAD_H
#define MMQ_S3_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/error.h"
#include "workers/targets/s3_store.h"
#include "workers/targets/target.h"

/* MMQ_OK when the store has the object, whole, and what it answered agrees with the sums.
 * MMQ_ECORRUPT if the file is not what the sums say. */
mmq_err mmq_s3_upload(mmq_s3_session *session, const mmq_object *object) MMQ_MUST_USE;

/* Sends it by one PUT. */
mmq_err mmq_s3_upload_whole(mmq_s3_session *session, const mmq_object *object) MMQ_MUST_USE;
/* Sends it by a multipart upload, which is aborted if it fails. */
mmq_err mmq_s3_upload_parts(mmq_s3_session *session, const mmq_object *object) MMQ_MUST_USE;

/* The store says that bytes from `at` on are not those of the digest, or they cannot be read: reads
 * them. MMQ_ECORRUPT, with its verdict, if they are not indeed; MMQ_EIO; else the session's verdict
 * stands and its error is returned. */
mmq_err mmq_s3_upload_doubt(mmq_s3_session *session, const mmq_object *object, int64_t at,
                            int64_t size, const char *sha256) MMQ_MUST_USE;
/* Asks the store whether it has the object after all. etag: its MD5, "..." or "...-N"; NULL: its
 * ETag is known to be none. */
mmq_err mmq_s3_upload_check(mmq_s3_session *session, const mmq_object *object,
                            const char *etag) MMQ_MUST_USE;

/* Aborts the multipart uploads of keys that begin with prefix, and that is_left says are nobody's.
 * Stores that do not offer to list them have none for us. */
mmq_err mmq_s3_leftovers_abort(mmq_s3_session *session, const char *prefix,
                               bool (*is_left)(void *context, const char *key),
                               void *context) MMQ_MUST_USE;
/* Aborts one; that it is gone already is fine. */
mmq_err mmq_s3_multipart_abort(mmq_s3_session *session, const char *key, const char *id);

#endif
