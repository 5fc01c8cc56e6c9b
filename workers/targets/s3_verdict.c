/* The store's <Code> decides, and where it has none that is known, the status. What is refused for
 * good must have been refused by a store: a 4xx without a code is of something else that stands in
 * the endpoint's place, for somebody to mend. Texts of peers are tamed before they get into
 * sentences. */
#include "workers/targets/s3_verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/clock.h"
#include "lib/number.h"
#include "workers/targets/s3_xml.h"

enum {
    WAIT_MAX_S = 5 * 60,
    CODE_MAX = 64,
    MESSAGE_MAX = 100,
    DATE_TEXT = 29, /* of an IMF-fixdate */
};

/* ---- headers ---------------------------------------------------------------------------- */

bool mmq_s3_http_date(const char *text, int64_t *out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char month[4];
    if (strlen(text) != DATE_TEXT || strcmp(text + 25, " GMT") != 0 || text[3] != ',' ||
        text[4] != ' ' || text[7] != ' ' || text[11] != ' ' || text[16] != ' ') {
        return false;
    }
    memcpy(month, text + 8, 3);
    month[3] = '\0';
    const char *found = strstr(months, month);
    if (found == NULL || (found - months) % 3 != 0) {
        return false;
    }
    const unsigned number = (unsigned)(found - months) / 3 + 1;
    const char strict[MMQ_TIME_TEXT] = {text[12],
                                        text[13],
                                        text[14],
                                        text[15],
                                        '-',
                                        (char)('0' + number / 10),
                                        (char)('0' + number % 10),
                                        '-',
                                        text[5],
                                        text[6],
                                        ' ',
                                        text[17],
                                        text[18],
                                        text[19],
                                        text[20],
                                        text[21],
                                        text[22],
                                        text[23],
                                        text[24]};
    return mmq_time_parse(strict, sizeof strict, out);
}

int64_t mmq_s3_retry_after_ns(const char *text, int64_t now_s)
{
    int64_t wait_s = 0;
    if (!mmq_integer_parse(text, strlen(text), &wait_s)) {
        wait_s = mmq_s3_http_date(text, &wait_s) ? wait_s - now_s : 0;
    }
    wait_s = wait_s < 0 ? 0 : wait_s > WAIT_MAX_S ? WAIT_MAX_S : wait_s;
    return wait_s * MMQ_NS_PER_S;
}

void mmq_s3_etag(const char *header, char out[MMQ_S3_ETAG_MAX + 1])
{
    const char *at = strncmp(header, "W/", 2) == 0 ? header + 2 : header;
    size_t size = strlen(at);
    out[0] = '\0';
    if (size >= 2 && at[0] == '"' && at[size - 1] == '"') {
        at++;
        size -= 2;
    }
    for (size_t i = 0; i < size; i++) {
        if (at[i] <= ' ' || at[i] >= 0x7F || strchr("\"<>&'", at[i]) != NULL) {
            return;
        }
    }
    if (size <= MMQ_S3_ETAG_MAX) {
        memcpy(out, at, size);
        out[size] = '\0';
    }
}

static bool is_md5(const char *etag)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    if (strspn(etag, hex) != MMQ_MD5_HEX) {
        return false;
    }
    const char *tail = etag + MMQ_MD5_HEX;
    return *tail == '\0' || (tail[0] == '-' && tail[1] != '\0' &&
                             strspn(tail + 1, "0123456789") == strlen(tail + 1));
}

/* Encrypted under other keys than the store's own an object's ETag is 32 digits, but no MD5. */
mmq_s3_agreement mmq_s3_etag_compare(const mmq_s3_reply *reply, const char *etag, const char *md5)
{
    if (etag[0] == '\0') {
        return MMQ_S3_NO_ETAG;
    }
    if (strncmp(reply->encryption, "aws:kms", strlen("aws:kms")) == 0 ||
        reply->customer[0] != '\0' || !is_md5(etag)) {
        return MMQ_S3_NO_MD5;
    }
    return strcasecmp(etag, md5) == 0 ? MMQ_S3_SAME : MMQ_S3_OTHER;
}

void mmq_s3_tame(char *out, size_t room, const char *text)
{
    size_t to = 0;
    for (; *text != '\0' && to + 1 < room; text++) {
        out[to++] = (char)(*text >= ' ' && *text < 0x7F ? *text : '?');
    }
    out[to] = '\0';
}

/* ---- the store's code ------------------------------------------------------------------- */

struct rule {
    const char *code;
    mmq_err err;
    mmq_setback_kind kind;
    mmq_s3_remedy remedy;
    const char *advice; /* NULL: the store's message */
};

#define PASSING  MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING
#define SETTINGS MMQ_EDENIED, MMQ_SETBACK_SETTINGS

static const char check_secret[] = "check the secret key";
static const char renew[] = "the credentials are no longer good: renew them";
static const char elsewhere[] = "the bucket is elsewhere: set --s3-endpoint or --s3-region";
static const char busy[] = "it is busy";

static const struct rule rules[] = {
    {"InternalError", PASSING, MMQ_S3_TIME, "it failed"},
    {"SlowDown", PASSING, MMQ_S3_TIME, busy},
    {"ServiceUnavailable", PASSING, MMQ_S3_TIME, busy},
    {"TooManyRequests", PASSING, MMQ_S3_TIME, busy},
    {"RequestTimeout", PASSING, MMQ_S3_TIME, "the body came too slowly"},
    {"OperationAborted", PASSING, MMQ_S3_TIME, "another request was in the way"},
    {"ConditionalRequestConflict", PASSING, MMQ_S3_TIME, "another request was in the way"},
    {"IncompleteBody", PASSING, MMQ_S3_TIME, "the body was cut off"},
    {"BadDigest", PASSING, MMQ_S3_RESUM, "the body's digest is another there"},
    {"XAmzContentSHA256Mismatch", PASSING, MMQ_S3_RESUM, "the body's digest is another there"},
    {"NoSuchUpload", PASSING, MMQ_S3_GONE, "the multipart upload is gone"},
    {"InvalidPart", PASSING, MMQ_S3_NO_REMEDY, "a part was lost there"},
    {"InvalidAccessKeyId", SETTINGS, MMQ_S3_KEYS, "it does not know the access key"},
    {"SignatureDoesNotMatch", SETTINGS, MMQ_S3_KEYS, check_secret},
    {"ExpiredToken", SETTINGS, MMQ_S3_KEYS, renew},
    {"InvalidToken", SETTINGS, MMQ_S3_KEYS, renew},
    {"TokenRefreshRequired", SETTINGS, MMQ_S3_KEYS, renew},
    {"AccessDenied", SETTINGS, MMQ_S3_KEYS, "the credentials lack the right to do this"},
    {"RequestTimeTooSkewed", SETTINGS, MMQ_S3_CLOCK, "the clocks differ: set ours"},
    {"NoSuchBucket", MMQ_ENOTFOUND, MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY, "no such bucket"},
    {"PermanentRedirect", SETTINGS, MMQ_S3_NO_REMEDY, elsewhere},
    {"TemporaryRedirect", SETTINGS, MMQ_S3_NO_REMEDY, elsewhere},
    {"AuthorizationHeaderMalformed", SETTINGS, MMQ_S3_NO_REMEDY, "check --s3-region"},
    {"IllegalLocationConstraintException", SETTINGS, MMQ_S3_NO_REMEDY, "check --s3-region"},
    {"InvalidBucketName", SETTINGS, MMQ_S3_NO_REMEDY, "correct the bucket's name in --upload"},
    {"QuotaExceeded", SETTINGS, MMQ_S3_NO_REMEDY, "the bucket or the account is full"},
    {"AllAccessDisabled", SETTINGS, MMQ_S3_NO_REMEDY, "the account is closed to all"},
    {"NotImplemented", MMQ_EINVAL, MMQ_SETBACK_REFUSED, MMQ_S3_NOT_OFFERED, NULL},
    {"MethodNotAllowed", MMQ_EINVAL, MMQ_SETBACK_REFUSED, MMQ_S3_NOT_OFFERED, NULL},
};

static const struct rule *find_rule(const char *code)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(rules[i].code, code) == 0) {
            return &rules[i];
        }
    }
    return NULL;
}

/* For a code that is not known, or none. */
static struct rule rule_of_status(int status, bool has_code)
{
    const bool is_busy = status == 408 || status == 409 || status == 429;
    if (status >= 500 || is_busy) {
        const mmq_s3_remedy remedy = status == 501 ? MMQ_S3_NOT_OFFERED : MMQ_S3_TIME;
        return (struct rule){"", PASSING, remedy, has_code ? NULL : is_busy ? busy : "it failed"};
    }
    if (status == 401 || status == 403) {
        return (struct rule){"", SETTINGS, MMQ_S3_KEYS, has_code ? NULL : "check the credentials"};
    }
    if (status >= 300 && status < 400) {
        return (struct rule){"", SETTINGS, MMQ_S3_NO_REMEDY, elsewhere};
    }
    if (status < 400 || !has_code) {
        return (struct rule){"", MMQ_EPROTO, MMQ_SETBACK_SETTINGS,
                             status == 405 ? MMQ_S3_NOT_OFFERED : MMQ_S3_NO_REMEDY,
                             "not how a store of S3 answers: check the endpoint"};
    }
    return (struct rule){"", MMQ_EINVAL, MMQ_SETBACK_REFUSED, MMQ_S3_NO_REMEDY, NULL};
}

/* ---- sentences -------------------------------------------------------------------------- */

static bool is_label(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    return *text != '\0' && strspn(text, allowed) == strlen(text);
}

/* The element's text if it is one word; else "". */
static void read_label(const mmq_s3_reply *reply, const char *name, char *out, size_t room)
{
    const char *xml = (const char *)reply->body.data;
    if (!mmq_s3_xml_text(xml, reply->body.size, name, out, room) || !is_label(out)) {
        out[0] = '\0';
    }
}

/* The region that the store says the bucket is in, if it is not ours. */
static bool find_region(const mmq_s3_address *address, const mmq_s3_reply *reply, char *out,
                        size_t room)
{
    read_label(reply, "Region", out, room);
    if (out[0] == '\0' && is_label(reply->region)) {
        snprintf(out, room, "%s", reply->region);
    }
    return out[0] != '\0' && strcmp(out, address->region) != 0;
}

static void say_answer(const mmq_s3_address *address, const mmq_s3_reply *reply, const char *code,
                       const struct rule *rule, mmq_s3_verdict *out)
{
    char detail[MESSAGE_MAX + 1] = "", message[512];
    if (out->remedy == MMQ_S3_CLOCK) {
        mmq_why_set(
            &out->why,
            "the store at %.80s answered %d %s: our clock is %" PRId64 " s %s its own, set it",
            address->host, reply->status, code, out->skew_s < 0 ? -out->skew_s : out->skew_s,
            out->skew_s < 0 ? "ahead of" : "behind");
    } else if (strcmp(code, "NoSuchBucket") == 0) {
        mmq_why_set(&out->why,
                    "the bucket \"%s\" does not exist at %.80s: make it, or correct --upload",
                    address->bucket, address->endpoint.host);
    } else if (out->setback.kind == MMQ_SETBACK_SETTINGS &&
               find_region(address, reply, detail, sizeof detail)) {
        mmq_why_set(&out->why,
                    "the store at %.80s answered %d %s: it is in region %.63s: set "
                    "--s3-region",
                    address->host, reply->status, code, detail);
    } else {
        if (rule->advice == NULL &&
            mmq_s3_xml_text((const char *)reply->body.data, reply->body.size, "Message", message,
                            sizeof message)) {
            mmq_s3_tame(detail, sizeof detail, message);
        }
        const char *advice = rule->advice != NULL ? rule->advice : detail;
        mmq_why_set(&out->why, "the store at %.80s answered %d%s%s%s%s", address->host,
                    reply->status, *code != '\0' ? " " : "", code, *advice != '\0' ? ": " : "",
                    advice);
    }
}

/* ---- verdicts --------------------------------------------------------------------------- */

static void judge_answer(const mmq_s3_address *address, const mmq_s3_reply *reply, int64_t now_s,
                         mmq_s3_verdict *out)
{
    char code[CODE_MAX + 1];
    int64_t store_s = 0;
    const bool is_error =
        mmq_s3_xml_root((const char *)reply->body.data, reply->body.size, "Error");
    if (reply->status >= 200 && reply->status < 300 && !is_error) {
        return;
    }
    read_label(reply, "Code", code, sizeof code);
    const struct rule *known = find_rule(code);
    /* A failure that comes after 200 was said is the store's own. */
    const struct rule rule =
        known != NULL ? *known
                      : rule_of_status(reply->status < 300 ? 500 : reply->status, code[0] != '\0');
    out->err = rule.err;
    out->setback = (mmq_setback){rule.kind, mmq_s3_retry_after_ns(reply->retry_after, now_s)};
    out->remedy = rule.remedy;
    if (rule.remedy == MMQ_S3_CLOCK) {
        out->remedy = mmq_s3_http_date(reply->date, &store_s) ? MMQ_S3_CLOCK : MMQ_S3_NO_REMEDY;
        out->skew_s = store_s - now_s;
    }
    say_answer(address, reply, code, &rule, out);
}

static void fail(mmq_s3_verdict *out, mmq_err err, mmq_setback_kind kind, mmq_s3_remedy remedy)
{
    out->err = err;
    out->setback.kind = kind;
    out->remedy = remedy;
}

void mmq_s3_judge(const mmq_s3_address *address, const mmq_s3_reply *reply, int64_t now_s,
                  mmq_s3_verdict *out)
{
    char error[MESSAGE_MAX + 1];
    *out = (mmq_s3_verdict){.err = MMQ_OK};
    mmq_s3_tame(error, sizeof error, reply->error);
    switch (reply->end) {
    case MMQ_S3_ANSWERED:
        judge_answer(address, reply, now_s, out);
        break;
    case MMQ_S3_STALLED:
        fail(out, MMQ_ETIMEOUT, MMQ_SETBACK_PASSING, MMQ_S3_TIME);
        mmq_why_set(&out->why, "the transfer to %.80s stalled", address->host);
        break;
    case MMQ_S3_UNTRUSTED:
        fail(out, MMQ_EDENIED, MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY);
        mmq_why_set(&out->why,
                    "the certificate of %.80s is not trusted: %s; mend it, or set --s3-ca-file",
                    address->host, error);
        break;
    case MMQ_S3_FLOODED:
        fail(out, MMQ_EPROTO, MMQ_SETBACK_PASSING, MMQ_S3_TIME);
        mmq_why_set(&out->why, "the answer of %.80s is too long for a store's", address->host);
        break;
    case MMQ_S3_UNREADABLE:
        fail(out, MMQ_EIO, MMQ_SETBACK_PASSING, MMQ_S3_RESUM);
        mmq_why_set(&out->why, "an archive cannot be read");
        break;
    case MMQ_S3_NO_MEMORY:
        fail(out, MMQ_ENOMEM, MMQ_SETBACK_PASSING, MMQ_S3_TIME);
        mmq_why_set(&out->why, "no memory for an upload");
        break;
    case MMQ_S3_PENDING:
    case MMQ_S3_BROKEN:
        fail(out, MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING, MMQ_S3_TIME);
        mmq_why_set(&out->why, "the store at %.80s cannot be reached: %s", address->host, error);
        break;
    }
}
