/* What the client offers to this library only. */
#ifndef MMQ_CLIENT_LATER_H
#define MMQ_CLIENT_LATER_H

#include "metricmq/client.h"

/* Between tries. */
enum { MMQ_RETRY_LEAST_MS = 50, MMQ_RETRY_MOST_MS = 2000 };

/* MMQ_EINVAL or MMQ_ETOOBIG if no client would take the call. */
mmq_err mmq_call_check(const mmq_call *call, mmq_why *why) MMQ_MUST_USE;
/* As mmq_client_send, but the request goes out delay_ns from now; its timeout counts from then. */
uint64_t mmq_client_send_later(mmq_client *client, const mmq_call *call, int64_t delay_ns,
                               mmq_why *why);
/* Waits until the client has something to do, at most wait_ns (-1: no bound). */
void mmq_client_wait(const mmq_client *client, int64_t wait_ns);
/* Copies a peer's text, cut to fit at a whole character; "" if it is not UTF-8. */
void mmq_text_copy(char *out, size_t out_size, const char *data, size_t size);

#endif
