/* Multipart uploads that a crash left, found by listing. Pages are asked for one after the other,
 * as many as a bound allows, as long as each goes on behind the one before, and for a minute at
 * most: whatever a store lists, a delivery may wait behind this. */
#include <string.h>

#include "lib/clock.h"
#include "workers/targets/s3_upload.h"
#include "workers/targets/s3_xml.h"

enum {
    PAGES_MAX = 100,
    PAGE_BYTES = 1024 * 1024,
    TEXT_MAX = 1024, /* bytes of a key or an id */
    TRIES = 3,
    TIME_S = 60,
};

#define PAGE_UPLOADS "500" /* so that a page of long keys has room */

struct listing {
    mmq_s3_session *session;
    const char *prefix;
    bool (*is_left)(void *context, const char *key);
    void *context;
    int64_t end_ns;                                         /* no more is asked after that */
    char key_marker[TEXT_MAX + 1], id_marker[TEXT_MAX + 1]; /* where the next page begins */
};

mmq_err mmq_s3_multipart_abort(mmq_s3_session *session, const char *key, const char *id)
{
    mmq_s3_call call = {
        .method = "DELETE",
        .key = key,
        .query = {{"uploadId", id}},
        .query_count = 1,
        .tries = TRIES,
    };
    mmq_err err = mmq_s3_call_run(session, &call);
    const bool is_gone = session->stopped == MMQ_OK && call.verdict.remedy == MMQ_S3_GONE;
    mmq_s3_call_end(&call);
    return is_gone ? MMQ_OK : err;
}

/* Keys and ids that are too long or no text are none of ours. */
static mmq_err abort_page(struct listing *listing, const char *xml, size_t size)
{
    char key[TEXT_MAX + 1], id[TEXT_MAX + 1];
    mmq_slice one;
    mmq_err err = MMQ_OK;
    for (size_t at = 0; err == MMQ_OK && mmq_now_ns() < listing->end_ns &&
                        mmq_s3_xml_next(xml, size, &at, "Upload", &one);) {
        if (mmq_s3_xml_text(one.data, one.size, "Key", key, sizeof key) &&
            mmq_s3_xml_text(one.data, one.size, "UploadId", id, sizeof id) && id[0] != '\0' &&
            strncmp(key, listing->prefix, strlen(listing->prefix)) == 0 &&
            listing->is_left(listing->context, key)) {
            err = mmq_s3_multipart_abort(listing->session, key, id);
        }
    }
    return err;
}

/* True if there is another page, whose markers are then set. */
static bool find_next(struct listing *listing, const char *xml, size_t size)
{
    char truncated[8], key[TEXT_MAX + 1];
    if (!mmq_s3_xml_text(xml, size, "IsTruncated", truncated, sizeof truncated) ||
        strcmp(truncated, "true") != 0 ||
        !mmq_s3_xml_text(xml, size, "NextKeyMarker", key, sizeof key) ||
        strcmp(key, listing->key_marker) < 0) {
        return false;
    }
    const bool is_same_key = strcmp(key, listing->key_marker) == 0;
    char before[TEXT_MAX + 1];
    memcpy(before, listing->id_marker, sizeof before);
    memcpy(listing->key_marker, key, sizeof key);
    (void)mmq_s3_xml_text(xml, size, "NextUploadIdMarker", listing->id_marker,
                          sizeof listing->id_marker);
    return !is_same_key || strcmp(before, listing->id_marker) != 0;
}

/* One page; *has_next: there is another. */
static mmq_err run_page(struct listing *listing, bool *has_next)
{
    mmq_s3_call call = {
        .method = "GET",
        .query = {{"uploads", ""},
                  {"prefix", listing->prefix},
                  {"max-uploads", PAGE_UPLOADS},
                  {"key-marker", listing->key_marker},
                  {"upload-id-marker", listing->id_marker}},
        .query_count = listing->key_marker[0] == '\0'  ? 3
                       : listing->id_marker[0] == '\0' ? 4
                                                       : 5,
        .reply_max = PAGE_BYTES,
        .tries = TRIES,
    };
    *has_next = false;
    mmq_err err = mmq_s3_call_run(listing->session, &call);
    if (err == MMQ_OK) {
        const mmq_buffer *body = &mmq_s3_call_reply(&call)->body;
        const char *xml = (const char *)body->data;
        err = abort_page(listing, xml, body->size);
        *has_next = err == MMQ_OK && find_next(listing, xml, body->size);
    } else if (listing->session->stopped == MMQ_OK && call.verdict.remedy == MMQ_S3_NOT_OFFERED) {
        err = MMQ_OK;
    }
    mmq_s3_call_end(&call);
    return err;
}

mmq_err mmq_s3_leftovers_abort(mmq_s3_session *session, const char *prefix,
                               bool (*is_left)(void *context, const char *key), void *context)
{
    struct listing listing = {
        .session = session,
        .prefix = prefix,
        .is_left = is_left,
        .context = context,
        .end_ns = mmq_now_ns() + TIME_S * MMQ_NS_PER_S,
    };
    bool has_next = true;
    mmq_err err = MMQ_OK;
    for (int page = 0;
         err == MMQ_OK && has_next && page < PAGES_MAX && mmq_now_ns() < listing.end_ns; page++) {
        err = run_page(&listing, &has_next);
    }
    return err;
}
