/* SHA-256 by libcrypto's plain functions: unlike EVP they keep their state on the stack, so that
 * no digest can fail for want of memory. */
#define OPENSSL_API_COMPAT 0x10101000L /* before OpenSSL 3.0 deprecated them */

#include "lib/digest.h"

#include <errno.h>
#include <openssl/sha.h>
#include <sys/random.h>

#include "lib/check.h"

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
