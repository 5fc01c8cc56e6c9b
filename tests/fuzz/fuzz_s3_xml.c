/* Any bytes as a store's answer: what is found lies within them, the search comes to an end, and
 * text is UTF-8 that fits. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "metricmq/unpack.h"
#include "workers/targets/s3_verdict.h"
#include "workers/targets/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *xml, size_t size, const char *name)
{
    char out[40];
    memset(out, 'x', sizeof out);
    const bool found = mmq_s3_xml_text(xml, size, name, out, sizeof out);
    CHECK(memchr(out, '\0', sizeof out) != NULL);
    CHECK(found || out[0] == '\0');
    CHECK(mmq_utf8_valid(out, strlen(out)));
}

static void check_verdict(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 301, 400, 403, 404, 500};
    mmq_s3_address address = {.bucket = "bucket", .host = "host", .region = "us-east-1"};
    mmq_s3_reply reply = {.end = MMQ_S3_ANSWERED, .status = statuses[size % 6]};
    mmq_s3_verdict verdict;
    mmq_buffer_init(&reply.body, MMQ_S3_REPLY_MAX);
    mmq_buffer_add(&reply.body, data, size);
    mmq_s3_judge(&address, &reply, 0, &verdict);
    CHECK(verdict.err == MMQ_OK || verdict.why.text[0] != '\0');
    CHECK(reply.status == 200 || verdict.err != MMQ_OK);
    for (const char *at = verdict.why.text; *at != '\0'; at++) {
        CHECK(*at >= ' ' && *at < 0x7F);
    }
    mmq_buffer_clear(&reply.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"Code", "Message", "Upload", "Key", "a"};
    const char *xml = (const char *)data;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        mmq_slice inner;
        size_t before = 0;
        for (size_t at = 0; mmq_s3_xml_next(xml, size, &at, names[i], &inner); before = at) {
            CHECK(at > before && at <= size);
            CHECK(inner.data >= xml && inner.data + inner.size <= xml + size);
        }
        check_text(xml, size, names[i]);
        (void)mmq_s3_xml_root(xml, size, names[i]);
    }
    check_verdict(data, size);
    return 0;
}
