/* SHA-256 by libcrypto's plain functions: unlike EVP they keep their state on the stack, so that
 * no digest can fail for want of memory. */
#define OPENSSL_API_COMPAT 0x10101000L /* before OpenSSL 3.0 deprecated them */

#include "lib/digest.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/random.h>

#include "lib/check.h"

struct mmq_checksum {
    SHA256_CTX state;
};

static void finish_hex(SHA256_CTX *state, char out[MMQ_DIGEST_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[SHA256_DIGEST_LENGTH];
    CHECK(SHA256_Final(sum, state) == 1);
    for (size_t i = 0; i < sizeof sum; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    out[MMQ_DIGEST_HEX] = '\0';
}

void mmq_digest_parts(const mmq_part *parts, size_t count, char out[MMQ_DIGEST_HEX + 1])
{
    SHA256_CTX state;
    CHECK(SHA256_Init(&state) == 1);
    for (size_t i = 0; i < count; i++) {
        uint8_t size[8];
        for (size_t byte = 0; byte < sizeof size; byte++) {
            size[byte] = (uint8_t)((uint64_t)parts[i].size >> (8 * byte));
        }
        SHA256_Update(&state, size, sizeof size);
        SHA256_Update(&state, parts[i].data, parts[i].size);
    }
    finish_hex(&state, out);
}

void mmq_digest(const void *data, size_t size, char out[MMQ_DIGEST_HEX + 1])
{
    SHA256_CTX state;
    CHECK(SHA256_Init(&state) == 1);
    SHA256_Update(&state, data, size);
    finish_hex(&state, out);
}

mmq_checksum *mmq_checksum_new(void)
{
    mmq_checksum *checksum = calloc(1, sizeof *checksum);
    if (checksum != NULL) {
        CHECK(SHA256_Init(&checksum->state) == 1);
    }
    return checksum;
}

void mmq_checksum_destroy(mmq_checksum **checksum)
{
    free(*checksum);
    *checksum = NULL;
}

void mmq_checksum_add(mmq_checksum *checksum, const void *data, size_t size)
{
    CHECK(SHA256_Update(&checksum->state, data, size) == 1);
}

void mmq_checksum_hex(mmq_checksum *checksum, char out[MMQ_DIGEST_HEX + 1])
{
    finish_hex(&checksum->state, out);
}

void mmq_random(void *out, size_t size)
{
    uint8_t *at = out;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        CHECK(got > 0 || (got < 0 && errno == EINTR));
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}
