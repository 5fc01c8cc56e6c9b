/* What the broker is given by its user, before anything is made of it. */
#ifndef MMQ_BROKER_SETTINGS_H
#define MMQ_BROKER_SETTINGS_H

#include "broker/broker.h"

/* MMQ_EINVAL with a sentence for an endpoint that is none, or that other machines can reach without
 * keys. */
mmq_err mmq_broker_endpoint_check(const mmq_broker_settings *settings, const char *endpoint,
                                  mmq_why *why) MMQ_MUST_USE;

#endif
