/* SHA-256 of bytes that come piece by piece. */
#ifndef MMQ_CHECKSUM_H
#define MMQ_CHECKSUM_H

#include <stddef.h>

#include "lib/digest.h"

typedef struct mmq_checksum mmq_checksum;

/* NULL: no memory. */
mmq_checksum *mmq_checksum_new(void);
void mmq_checksum_destroy(mmq_checksum **checksum);
void mmq_checksum_add(mmq_checksum *checksum, const void *data, size_t size);
/* The digest of all that was added; nothing may be added after it. */
void mmq_checksum_hex(mmq_checksum *checksum, char out[MMQ_DIGEST_HEX + 1]);

#endif
