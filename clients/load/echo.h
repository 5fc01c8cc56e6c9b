/* Echo requests: `--size` bytes that a worker sends back as the payload of its FINAL. They begin
 * with the request's number, so that an answer to another request is found out; the rest are
 * letters that come from the seed. */
#ifndef MMQ_ECHO_H
#define MMQ_ECHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/pack.h"
#include "metricmq/frame.h"

typedef struct mmq_echo {
    mmq_args args; /* of the request that was stamped last */
    size_t at;     /* where in args.pairs the bytes are */
    size_t size;
} mmq_echo;

/* MMQ_ETOOBIG if no request holds that many bytes. */
mmq_err mmq_echo_init(mmq_echo *echo, size_t size, uint64_t seed, mmq_why *why) MMQ_MUST_USE;
void mmq_echo_clear(mmq_echo *echo);
/* Makes args those of request `number`. */
void mmq_echo_stamp(mmq_echo *echo, uint64_t number);
/* True if payload (may be NULL) is what request `number` sent, byte for byte. */
bool mmq_echo_matches(mmq_echo *echo, uint64_t number, const mmq_frame *payload);

/* The worker's side: the bytes of a request's body that are to be sent back; false if it holds
 * none. */
bool mmq_echo_find(const void *body, size_t body_size, const char **data, size_t *size);

#endif
