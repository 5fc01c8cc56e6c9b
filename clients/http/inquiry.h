/* A set of questions to the bus whose answers many may want at the same time: /health/ready and
 * /metrics. However many ask, one set of calls is under way at most, and its answers serve whoever
 * asks within MMQ_INQUIRY_FRESH_MS. Belongs to the loop's thread. */
#ifndef MMQ_INQUIRY_H
#define MMQ_INQUIRY_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/unpack.h"
#include "metricmq/client.h"

typedef struct mmq_inquiry mmq_inquiry;
typedef struct mmq_exchange mmq_exchange;

enum {
    MMQ_INQUIRY_QUESTIONS = 3,     /* of one inquiry, at most */
    MMQ_INQUIRY_TIMEOUT_MS = 1000, /* of each */
    MMQ_INQUIRY_FRESH_MS = 250,
};

typedef struct mmq_question {
    const char *service;
    const char *text; /* `mmi.*`: the body, "" for none; else the op, without arguments */
} mmq_question;

typedef void mmq_inquiry_fn(mmq_exchange *exchange, const mmq_inquiry *inquiry);

/* questions: static. `answer` answers an exchange from the replies. NULL without memory. */
mmq_inquiry *mmq_inquiry_new(mmq_client *client, const mmq_question *questions, size_t count,
                             mmq_inquiry_fn *answer);
/* Cancels what is under way. No exchange may wait any more. */
void mmq_inquiry_destroy(mmq_inquiry **inquiry);
/* Answers the exchange now, or when the replies have come. */
void mmq_inquiry_ask(mmq_inquiry *inquiry, mmq_exchange *exchange);
/* The exchange wants no answer any more; nothing if it does not wait for one. */
void mmq_inquiry_leave(mmq_exchange *exchange);
/* The status of the reply to a question, 504 if there was none in time. */
int mmq_inquiry_status(const mmq_inquiry *inquiry, size_t index);
/* The payload of a 200; false: it has none. Borrowed. */
bool mmq_inquiry_payload(const mmq_inquiry *inquiry, size_t index, mmq_reader *out);

#endif
