/* Answers libzmq's questions about who may connect (ZAP, RFC 27): a key passes the handshake if the
 * list of its side has it. There is one in a process. */
#ifndef MMQ_BROKER_ZAP_H
#define MMQ_BROKER_ZAP_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/allow.h"
#include "metricmq/error.h"

#define MMQ_ZAP_CLIENTS "metricmq.clients" /* the domains of the two sides */
#define MMQ_ZAP_WORKERS "metricmq.workers"

typedef struct mmq_zap mmq_zap;

/* Binds libzmq's fixed inproc endpoint. NULL: it is taken (another broker with keys in this
 * process), or there are no descriptors left. */
mmq_zap *mmq_zap_new(mmq_why *why);
void mmq_zap_destroy(mmq_zap **zap);
/* To poll for input; edge-triggered, as ZMQ_FD is: read it by mmq_zap_serve until that says false.
 */
int mmq_zap_descriptor(const mmq_zap *zap);
/* Answers what has come, at most a burst; true if there may be more. */
bool mmq_zap_serve(mmq_zap *zap, const mmq_allow *allow, int64_t now_ns);

#endif
