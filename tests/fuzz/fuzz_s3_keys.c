/* Any bytes as a shared file of credentials, and as the answer of an instance's metadata service:
 * what is taken could stand in a header, and what is refused leaves nothing behind. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "workers/targets/s3_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const char *value, size_t most)
{
    CHECK(strlen(value) <= most);
    for (; *value != '\0'; value++) {
        CHECK(*value > ' ' && *value < 0x7F);
    }
}

static void check_keys(mmq_err err, const mmq_s3_keys *keys)
{
    check_value(keys->access, MMQ_S3_ACCESS_MAX);
    check_value(keys->secret, MMQ_S3_SECRET_MAX);
    check_value(keys->token, MMQ_S3_TOKEN_MAX);
    CHECK((err == MMQ_OK) == (keys->access[0] != '\0'));
    CHECK((err == MMQ_OK) == (keys->secret[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const profiles[] = {"default", "work", ""};
    mmq_s3_keys keys;
    mmq_why why = {""};
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        mmq_s3_keys_clear(&keys);
        check_keys(mmq_s3_profile_parse((const char *)data, size, profiles[i], &keys, &why), &keys);
    }
    mmq_s3_keys_clear(&keys);
    check_keys(mmq_s3_instance_parse((const char *)data, size, &keys, &why), &keys);
    return 0;
}
