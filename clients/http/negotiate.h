/* What a client says that it would like: Accept and Accept-Encoding (RFC 9110, 12.5), and
 * If-None-Match (13.1.2). Pure and bounded; text is borrowed for the call. */
#ifndef MMQ_NEGOTIATE_H
#define MMQ_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/fields.h"

/* Forms of rows, in the order in which they are given to a client that does not mind. */
typedef enum mmq_media {
    MMQ_MEDIA_JSON,
    MMQ_MEDIA_CSV,
    MMQ_MEDIA_NDJSON,
    MMQ_MEDIA_OCTETS,
    MMQ_MEDIA_COUNT,
} mmq_media;

/* Weights are 0 to 1000; -1: not mentioned. */
typedef struct mmq_accept {
    int named[MMQ_MEDIA_COUNT]; /* by its full name */
    int application, text;      /* application/..., text/... of any subtype */
    int any;
} mmq_accept;

void mmq_accept_init(mmq_accept *accept);
/* Takes in one Accept field; the greatest weight of a name counts. */
void mmq_accept_add(mmq_accept *accept, const char *field);
/* The form of the greatest weight; a name goes before a range, and application/octet-stream, where
 * it is named at all, is left only for another name of greater weight: its readers have always
 * had it by naming it. JSON where nothing that we have is acceptable: clients that say so took
 * what came for ever, and an error would help nobody. */
mmq_media mmq_accept_choose(const mmq_accept *accept);

typedef struct mmq_codings {
    int gzip, identity, any; /* as above */
} mmq_codings;

void mmq_codings_init(mmq_codings *codings);
/* Takes in one Accept-Encoding field. */
void mmq_codings_add(mmq_codings *codings, const char *field);
/* gzip is welcome, and not less so than no coding at all. */
bool mmq_codings_gzip(const mmq_codings *codings);

/* The next entity tag of an If-None-Match field, without quotes and weakness (which makes no
 * difference there), or "*". False: there is none (any more); what follows garbage is not read.
 * *at moves. */
bool mmq_etag_next(const char **at, mmq_slice *tag);

#endif
