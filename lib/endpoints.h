/* Lists of endpoints: "tcp://a:5750,tcp://b:5750" names two brokers. */
#ifndef MMQ_ENDPOINTS_H
#define MMQ_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/error.h"

enum { MMQ_ENDPOINTS_MAX = 8 };

typedef struct mmq_endpoints {
    size_t count;
    char *items[MMQ_ENDPOINTS_MAX];
} mmq_endpoints;

/* True if nobody on another machine can reach what is bound to that endpoint: inproc, ipc, and TCP
 * on an address of the loopback (a name that is not "localhost" may stand for anything). */
bool mmq_endpoint_is_local(const char *endpoint);
/* Splits a list at its commas. MMQ_EINVAL with a sentence that names the element that is empty,
 * there twice or one too many. What failed holds nothing. */
mmq_err mmq_endpoints_split(const char *list, mmq_endpoints *endpoints, mmq_why *why) MMQ_MUST_USE;
/* Frees the elements; the list is empty. */
void mmq_endpoints_clear(mmq_endpoints *endpoints);
/* MMQ_EINVAL if the list has an element that could never be connected to. Whether anybody is there
 * is not looked at. */
mmq_err mmq_endpoints_check(const mmq_endpoints *endpoints, mmq_why *why) MMQ_MUST_USE;
/* Both for a list that is of no further use. */
mmq_err mmq_endpoints_list_check(const char *list, mmq_why *why) MMQ_MUST_USE;

#endif
