/* CURVE keys (RFC 26): who talks to a broker over the network, and how it knows the broker.
 *
 * Text in Z85, 40 characters a key. Read from certificates as czmq's zcert writes them
 * (docs/security.md); `metricmq keygen` makes them. */
#ifndef METRICMQ_CURVE_H
#define METRICMQ_CURVE_H

#include "metricmq/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MMQ_KEY_TEXT = 40 }; /* characters of a key */

/* The keys of one peer. A value: whoever keeps a copy wipes it with mmq_curve_wipe. */
typedef struct mmq_curve {
    char public_key[MMQ_KEY_TEXT + 1]; /* its own pair */
    char secret_key[MMQ_KEY_TEXT + 1];
    char server_key[MMQ_KEY_TEXT + 1]; /* the broker's public key; "" in the broker itself */
} mmq_curve;

/* Reads the peer's own secret certificate and the broker's public one. MMQ_EINVAL with a sentence
 * that names the file: it is missing, damaged, no certificate, or others may read the secret. */
mmq_err mmq_curve_load(const char *key_file, const char *server_file, mmq_curve *out,
                       mmq_why *why) MMQ_MUST_USE;
/* Overwrites the keys. */
void mmq_curve_wipe(mmq_curve *curve);

#ifdef __cplusplus
}
#endif

#endif
