/* SHA-256 and MD5 (libcrypto), as lower-case hex, at once or of bytes that come piece by piece; and
 * random bytes. */
#ifndef MMQ_DIGEST_H
#define MMQ_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

enum { MMQ_DIGEST_HEX = 64, MMQ_MD5_HEX = 32 };

typedef struct mmq_part {
    const void *data;
    size_t size;
} mmq_part;

/* Digest of the parts, each preceded by its size (8 bytes, little endian), so that ("ab", "c") and
 * ("a", "bc") differ. NUL-terminated. */
void mmq_digest_parts(const mmq_part *parts, size_t count, char out[MMQ_DIGEST_HEX + 1]);
/* Digest of the bytes as they are. */
void mmq_digest(const void *data, size_t size, char out[MMQ_DIGEST_HEX + 1]);

/* MD5, which protects against nothing but accidents: S3's ETags are made of it (RFC 1321). */
void mmq_md5(const void *data, size_t size, char out[MMQ_MD5_HEX + 1]);

typedef struct mmq_checksum mmq_checksum;

typedef enum mmq_checksum_kind { MMQ_SHA256, MMQ_MD5 } mmq_checksum_kind;

/* NULL: no memory. */
mmq_checksum *mmq_checksum_new(mmq_checksum_kind kind);
void mmq_checksum_destroy(mmq_checksum **checksum);
void mmq_checksum_add(mmq_checksum *checksum, const void *data, size_t size);
/* The digest of all that was added: MMQ_DIGEST_HEX or MMQ_MD5_HEX digits and a NUL. It begins anew
 * after that. */
void mmq_checksum_hex(mmq_checksum *checksum, char *out);

/* Bytes from the kernel's generator. */
void mmq_random(void *out, size_t size);

#endif
