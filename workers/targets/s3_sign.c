/* The steps of "Authenticating Requests: Using the Authorization Header" of S3's API reference: the
 * request in its canonical form, its digest in a text with time and scope, and that text's HMAC
 * under a key made of the secret, the day, the region and the service. What is sorted is sorted by
 * encoded name alone, since a name may begin with another. Keys are wiped when they were used. */
#include "workers/targets/s3_sign.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/calendar.h"
#include "lib/check.h"

enum {
    DAY = 8, /* YYYYMMDD, what a date begins with */
    KEY_BYTES = 32,
    TEXT_MAX = 64 * 1024, /* of all that is put together here: over any header that a store takes */
};

void mmq_s3_date(int64_t time_s, char out[MMQ_S3_DATE + 1])
{
    char t[MMQ_TIME_TEXT]; /* YYYY-MM-DD HH:MM:SS */
    time_s = time_s < MMQ_TIME_MIN ? MMQ_TIME_MIN : time_s;
    mmq_time_print(time_s > MMQ_TIME_MAX ? MMQ_TIME_MAX : time_s, t);
    const char text[MMQ_S3_DATE + 1] = {t[0], t[1],  t[2],  t[3],  t[5],  t[6],  t[8],  t[9],
                                        'T',  t[11], t[12], t[14], t[15], t[17], t[18], 'Z'};
    memcpy(out, text, sizeof text);
}

void mmq_s3_encode(mmq_buffer *out, const char *text, bool is_path)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL || (is_path && *text == '/')) {
            mmq_buffer_add(out, text, 1);
        } else {
            mmq_buffer_format(out, "%%%02X", (unsigned char)*text);
        }
    }
}

static int by_encoded_name(const void *a, const void *b)
{
    const mmq_s3_pair *left = a, *right = b;
    const int order = strcmp(left->name, right->name);
    return order != 0 ? order : strcmp(left->value, right->value);
}

/* Encoded names and values lie in one buffer, each with its NUL; pairs point into it once it no
 * longer grows. */
void mmq_s3_query(mmq_buffer *out, const mmq_s3_pair *query, size_t count)
{
    mmq_s3_pair sorted[MMQ_S3_QUERY_MAX];
    mmq_buffer encoded;
    CHECK(count <= MMQ_S3_QUERY_MAX);
    mmq_buffer_init(&encoded, TEXT_MAX);
    for (size_t i = 0; i < count; i++) {
        mmq_s3_encode(&encoded, query[i].name, false);
        mmq_buffer_add(&encoded, "", 1);
        mmq_s3_encode(&encoded, query[i].value, false);
        mmq_buffer_add(&encoded, "", 1);
    }
    const char *at = (const char *)encoded.data;
    for (size_t i = 0; i < count && !encoded.failed; i++) {
        sorted[i].name = at;
        sorted[i].value = at + strlen(at) + 1;
        at = sorted[i].value + strlen(sorted[i].value) + 1;
    }
    if (encoded.failed) {
        out->failed = true;
    } else if (count > 0) {
        qsort(sorted, count, sizeof *sorted, by_encoded_name);
        for (size_t i = 0; i < count; i++) {
            mmq_buffer_format(out, "%s%s=%s", i > 0 ? "&" : "", sorted[i].name, sorted[i].value);
        }
    }
    mmq_buffer_clear(&encoded);
}

/* The value without spaces at its ends, and with one where several are together. */
static void add_collapsed(mmq_buffer *out, const char *value)
{
    bool gap = false, any = false;
    for (; *value != '\0'; value++) {
        if (*value == ' ' || *value == '\t') {
            gap = any;
            continue;
        }
        if (gap) {
            mmq_buffer_text(out, " ");
        }
        mmq_buffer_add(out, value, 1);
        any = true;
        gap = false;
    }
}

static void add_lower(mmq_buffer *out, const char *name)
{
    for (; *name != '\0'; name++) {
        const char lower = (char)(*name >= 'A' && *name <= 'Z' ? *name | 0x20 : *name);
        mmq_buffer_add(out, &lower, 1);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcasecmp(((const mmq_s3_pair *)a)->name, ((const mmq_s3_pair *)b)->name);
}

static void sort_headers(const mmq_s3_request *request, mmq_s3_pair out[MMQ_S3_HEADERS_MAX])
{
    CHECK(request->header_count > 0 && request->header_count <= MMQ_S3_HEADERS_MAX);
    memcpy(out, request->headers, request->header_count * sizeof *out);
    qsort(out, request->header_count, sizeof *out, by_name);
}

static void add_names(mmq_buffer *out, const mmq_s3_pair *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mmq_buffer_text(out, i > 0 ? ";" : "");
        add_lower(out, headers[i].name);
    }
}

void mmq_s3_canonical(mmq_buffer *out, const mmq_s3_request *request)
{
    mmq_s3_pair headers[MMQ_S3_HEADERS_MAX];
    sort_headers(request, headers);
    mmq_buffer_format(out, "%s\n", request->method);
    mmq_s3_encode(out, request->path, true);
    mmq_buffer_text(out, "\n");
    mmq_s3_query(out, request->query, request->query_count);
    mmq_buffer_text(out, "\n");
    for (size_t i = 0; i < request->header_count; i++) {
        add_lower(out, headers[i].name);
        mmq_buffer_text(out, ":");
        add_collapsed(out, headers[i].value);
        mmq_buffer_text(out, "\n");
    }
    mmq_buffer_text(out, "\n");
    add_names(out, headers, request->header_count);
    mmq_buffer_format(out, "\n%s", request->sha256);
}

/* key = HMAC(key, text). */
static bool stir(unsigned char key[KEY_BYTES], const char *text, size_t size)
{
    unsigned char made[EVP_MAX_MD_SIZE] = {0};
    unsigned made_size = 0;
    const bool ok = HMAC(EVP_sha256(), key, KEY_BYTES, (const unsigned char *)text, size, made,
                         &made_size) != NULL &&
                    made_size == KEY_BYTES;
    memcpy(key, made, KEY_BYTES);
    explicit_bzero(made, sizeof made);
    return ok;
}

/* The key of the day, for this region's S3. */
static bool make_key(const mmq_s3_request *request, const char *day, unsigned char key[KEY_BYTES])
{
    mmq_buffer secret;
    unsigned size = 0;
    unsigned char made[EVP_MAX_MD_SIZE] = {0};
    mmq_buffer_init(&secret, TEXT_MAX);
    mmq_buffer_format(&secret, "AWS4%s", request->secret_key);
    bool ok = !secret.failed && secret.size <= INT32_MAX &&
              HMAC(EVP_sha256(), secret.data, (int)secret.size, (const unsigned char *)day, DAY,
                   made, &size) != NULL &&
              size == KEY_BYTES;
    if (ok) {
        memcpy(key, made, KEY_BYTES);
        ok = stir(key, request->region, strlen(request->region)) && stir(key, "s3", 2) &&
             stir(key, "aws4_request", strlen("aws4_request"));
    }
    explicit_bzero(made, sizeof made);
    if (secret.data != NULL) {
        explicit_bzero(secret.data, secret.capacity);
    }
    mmq_buffer_clear(&secret);
    return ok;
}

/* The text that is signed. */
static void add_text_to_sign(mmq_buffer *out, const mmq_s3_request *request, const char *date)
{
    char digest[MMQ_DIGEST_HEX + 1] = "";
    mmq_buffer canonical;
    mmq_buffer_init(&canonical, TEXT_MAX);
    mmq_s3_canonical(&canonical, request);
    if (canonical.failed) {
        out->failed = true;
    } else {
        mmq_digest(canonical.data, canonical.size, digest);
    }
    if (canonical.data != NULL) {
        explicit_bzero(canonical.data, canonical.capacity); /* it may hold a token */
    }
    mmq_buffer_clear(&canonical);
    mmq_buffer_format(out, "AWS4-HMAC-SHA256\n%s\n%.*s/%s/s3/aws4_request\n%s", date, DAY, date,
                      request->region, digest);
}

static void add_authorization(mmq_buffer *out, const mmq_s3_request *request, const char *date,
                              const unsigned char signature[KEY_BYTES])
{
    mmq_s3_pair headers[MMQ_S3_HEADERS_MAX];
    sort_headers(request, headers);
    mmq_buffer_format(out, "AWS4-HMAC-SHA256 Credential=%s/%.*s/%s/s3/aws4_request,SignedHeaders=",
                      request->access_key, DAY, date, request->region);
    add_names(out, headers, request->header_count);
    mmq_buffer_text(out, ",Signature=");
    for (size_t i = 0; i < KEY_BYTES; i++) {
        mmq_buffer_format(out, "%02x", signature[i]);
    }
}

mmq_err mmq_s3_sign(mmq_buffer *out, const mmq_s3_request *request, mmq_why *why)
{
    char date[MMQ_S3_DATE + 1];
    unsigned char key[KEY_BYTES];
    mmq_buffer text;
    mmq_s3_date(request->time_s, date);
    mmq_buffer_init(&text, TEXT_MAX);
    add_text_to_sign(&text, request, date);
    const bool ok = !text.failed && make_key(request, date, key) &&
                    stir(key, (const char *)text.data, text.size);
    if (ok) {
        add_authorization(out, request, date, key);
    }
    explicit_bzero(key, sizeof key);
    mmq_buffer_clear(&text);
    return ok && !out->failed ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "no memory to sign a request");
}
