/* Any bytes as a spool's manifest: what is taken is in its ranges, and what is printed of it is
 * read as the same. A checksum that is wrong is made right, so that what is behind it is reached.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/uid.h"
#include "metricmq/unpack.h"
#include "workers/spool/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char manifest_head[] = "{\"checksum\":\"";

static void check_again(const mmq_manifest *manifest)
{
    mmq_buffer text;
    mmq_manifest again;
    mmq_why why = {""};
    mmq_buffer_init(&text, MMQ_MANIFEST_MAX);
    CHECK(mmq_manifest_print(manifest, &text, &why) == MMQ_OK);
    CHECK(mmq_manifest_parse((const char *)text.data, text.size, &again, &why) == MMQ_OK);
    CHECK(strcmp(again.key, manifest->key) == 0 && strcmp(again.uid, manifest->uid) == 0);
    CHECK(strcmp(again.digest, manifest->digest) == 0 && again.created == manifest->created);
    CHECK(again.state == manifest->state && again.attempts == manifest->attempts);
    CHECK(again.sums.count == manifest->sums.count);
    CHECK(again.sums.size_bytes == manifest->sums.size_bytes);
    CHECK(strcmp(again.sums.whole.sha256, manifest->sums.whole.sha256) == 0);
    mmq_manifest_clear(&again);
    mmq_buffer_clear(&text);
}

static void try_manifest(const char *text, size_t size)
{
    mmq_manifest manifest;
    mmq_why why = {""};
    mmq_err err = mmq_manifest_parse(text, size, &manifest, &why);
    CHECK(err == MMQ_OK || (err == MMQ_ECORRUPT && why.text[0] != '\0'));
    if (err != MMQ_OK) {
        return;
    }
    CHECK(mmq_uid_valid(manifest.uid, strlen(manifest.uid)));
    CHECK(mmq_object_key_valid(manifest.key, strlen(manifest.key)));
    CHECK(manifest.sums.size_bytes > 0 && manifest.attempts >= 0);
    if (mmq_manifest_is_summed(&manifest)) {
        check_again(&manifest);
    }
    mmq_manifest_clear(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t head = sizeof manifest_head - 1, behind = head + MMQ_DIGEST_HEX + 1;
    char *copy = malloc(size + 1);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    try_manifest(copy, size);
    if (size > behind && memcmp(copy, manifest_head, head) == 0) {
        char sum[MMQ_DIGEST_HEX + 1];
        mmq_digest(copy + behind, size - behind, sum);
        memcpy(copy + head, sum, MMQ_DIGEST_HEX);
        copy[behind - 1] = '"';
        try_manifest(copy, size);
    }
    free(copy);
    return 0;
}
