/* Any text as a header of a store's answer, as an endpoint and as an s3:// url: nothing is read
 * beyond its NUL, and what is taken reads back the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "workers/targets/s3_address.h"
#include "workers/targets/s3_verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_headers(const char *text)
{
    int64_t time_s;
    char etag[MMQ_S3_ETAG_MAX + 1], tame[32];
    if (mmq_s3_http_date(text, &time_s)) {
        CHECK(time_s >= MMQ_TIME_MIN && time_s <= MMQ_TIME_MAX);
    }
    const int64_t wait_ns = mmq_s3_retry_after_ns(text, 1700000000);
    CHECK(wait_ns >= 0 && wait_ns <= 300 * MMQ_NS_PER_S);
    mmq_s3_etag(text, etag);
    CHECK(strlen(etag) <= MMQ_S3_ETAG_MAX && strpbrk(etag, "<>&\"' \r\n") == NULL);
    mmq_s3_tame(tame, sizeof tame, text);
    CHECK(strlen(tame) < sizeof tame);
}

static void fuzz_endpoint(const char *text)
{
    mmq_s3_endpoint endpoint, again;
    mmq_buffer out;
    mmq_why why;
    if (mmq_s3_endpoint_parse(text, &endpoint, &why) != MMQ_OK) {
        return;
    }
    mmq_buffer_init(&out, 1024);
    mmq_buffer_format(&out, "%s://%s", endpoint.is_tls ? "https" : "http", endpoint.host);
    if (endpoint.port != 0) {
        mmq_buffer_format(&out, ":%u", endpoint.port);
    }
    CHECK(mmq_s3_endpoint_parse(mmq_buffer_cstr(&out), &again, &why) == MMQ_OK);
    CHECK(strcmp(again.host, endpoint.host) == 0 && again.port == endpoint.port);
    CHECK(again.is_tls == endpoint.is_tls && again.is_loopback == endpoint.is_loopback);
    mmq_buffer_clear(&out);
}

static void fuzz_url(const char *text)
{
    const mmq_s3_settings settings = {.endpoint = "https://example.com", .region = "r"};
    mmq_s3_address address;
    mmq_why why;
    if (mmq_s3_address_make(text, &settings, &address, &why) == MMQ_OK) {
        const size_t size = strlen(address.prefix);
        CHECK(strncmp(text, address.bucket, strlen(address.bucket)) == 0);
        CHECK(size == 0 ||
              (address.prefix[size - 1] == '/' && mmq_object_key_valid(address.prefix, size - 1)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    fuzz_headers(text);
    fuzz_endpoint(text);
    fuzz_url(text);
    free(text);
    return 0;
}
