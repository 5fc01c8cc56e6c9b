/* Certificates: a CURVE key pair, or its public half, and what its bearer may do, in a file of
 * czmq's zcert format:
 *
 *     #   any comment
 *     metadata
 *         name = "grafana"
 *         rights = "read"
 *     curve
 *         public-key = "40 characters of Z85"
 *         secret-key = "40 characters of Z85"
 *
 * Any thread. */
#ifndef MMQ_CERTIFICATE_H
#define MMQ_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buffer.h"
#include "metricmq/curve.h"

enum {
    MMQ_CERTIFICATE_MAX = 8 * 1024, /* bytes of a file */
    MMQ_RIGHTS_MAX = 100,           /* characters of a list of rights */
    MMQ_SERVICES_MAX = 4000,        /* of a list of services */
};

typedef struct mmq_certificate {
    char public_key[MMQ_KEY_TEXT + 1];
    char secret_key[MMQ_KEY_TEXT + 1];   /* "": a public certificate */
    char name[MMQ_RIGHTS_MAX + 1];       /* metadata; "" where the file says nothing */
    char rights[MMQ_RIGHTS_MAX + 1];     /* "read,write": not looked at here */
    char services[MMQ_SERVICES_MAX + 1]; /* "metric.query": not looked at here */
} mmq_certificate;

/* A new pair, without metadata. */
mmq_err mmq_certificate_make(mmq_certificate *out, mmq_why *why) MMQ_MUST_USE;
/* Reads the text of a file. MMQ_EINVAL with a sentence that names the line. What failed holds
 * nothing. */
mmq_err mmq_certificate_parse(const char *text, size_t size, mmq_certificate *out,
                              mmq_why *why) MMQ_MUST_USE;
/* Reads a file; folder as openat takes it. `secret`: it must hold a secret key that belongs to its
 * public one, in a file that is nobody's but its owner's and group's. MMQ_EINVAL with a sentence
 * that names the file. */
mmq_err mmq_certificate_read(int folder, const char *path, bool secret, mmq_certificate *out,
                             mmq_why *why) MMQ_MUST_USE;
/* Appends the file's text; the secret key only if `secret`. */
void mmq_certificate_write(const mmq_certificate *certificate, bool secret, mmq_buffer *out);
/* Overwrites the keys, all of it. */
void mmq_certificate_wipe(mmq_certificate *certificate);

#endif
