/* libcrypto's plain functions, as in lib/digest.c: their state is a struct, which cannot fail. */
#define OPENSSL_API_COMPAT 0x10101000L /* before OpenSSL 3.0 deprecated them */

#include "workers/checksum.h"

#include <openssl/sha.h>
#include <stdlib.h>

#include "lib/check.h"

struct mmq_checksum {
    SHA256_CTX state;
};

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
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[SHA256_DIGEST_LENGTH];
    CHECK(SHA256_Final(sum, &checksum->state) == 1);
    for (size_t i = 0; i < sizeof sum; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    out[MMQ_DIGEST_HEX] = '\0';
}
