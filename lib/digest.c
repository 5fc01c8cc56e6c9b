/* By libcrypto's plain functions: unlike EVP they keep their state on the stack, so that
 * no digest can fail for want of memory. */
#define OPENSSL_API_COMPAT 0x10101000L /* before OpenSSL 3.0 deprecated them */

#include "lib/digest.h"

#include <errno.h>
#include <openssl/md5.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/random.h>

#include "lib/check.h"

struct mmq_checksum {
    mmq_checksum_kind kind;
    union {
        SHA256_CTX sha256;
        MD5_CTX md5;
    } state;
};

static void print_hex(const unsigned char *sum, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    out[2 * size] = '\0';
}

static void finish_hex(SHA256_CTX *state, char out[MMQ_DIGEST_HEX + 1])
{
    unsigned char sum[SHA256_DIGEST_LENGTH];
    CHECK(SHA256_Final(sum, state) == 1);
    print_hex(sum, sizeof sum, out);
}

static void finish_md5(MD5_CTX *state, char out[MMQ_MD5_HEX + 1])
{
    unsigned char sum[MD5_DIGEST_LENGTH];
    CHECK(MD5_Final(sum, state) == 1);
    print_hex(sum, sizeof sum, out);
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

void mmq_md5(const void *data, size_t size, char out[MMQ_MD5_HEX + 1])
{
    MD5_CTX state;
    CHECK(MD5_Init(&state) == 1);
    MD5_Update(&state, data, size);
    finish_md5(&state, out);
}

static void begin(mmq_checksum *checksum)
{
    CHECK(checksum->kind == MMQ_SHA256 ? SHA256_Init(&checksum->state.sha256)
                                       : MD5_Init(&checksum->state.md5));
}

mmq_checksum *mmq_checksum_new(mmq_checksum_kind kind)
{
    mmq_checksum *checksum = calloc(1, sizeof *checksum);
    if (checksum != NULL) {
        checksum->kind = kind;
        begin(checksum);
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
    CHECK(checksum->kind == MMQ_SHA256 ? SHA256_Update(&checksum->state.sha256, data, size)
                                       : MD5_Update(&checksum->state.md5, data, size));
}

void mmq_checksum_hex(mmq_checksum *checksum, char *out)
{
    if (checksum->kind == MMQ_SHA256) {
        finish_hex(&checksum->state.sha256, out);
    } else {
        finish_md5(&checksum->state.md5, out);
    }
    begin(checksum);
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
