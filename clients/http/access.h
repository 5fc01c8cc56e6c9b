/* Who may ask: Host and Origin, the key, its rights; and answers to wrong keys, which may wait.
 * Private to this room; the adapter's thread. */
#ifndef MMQ_HTTP_ACCESS_H
#define MMQ_HTTP_ACCESS_H

#include "clients/http/exchange.h"

/* Refuses a request that a page of a stranger's may have made its reader's browser send (hosts.h).
 * Before anything is done for it. */
void mmq_access_check_source(mmq_exchange *exchange);
/* May it ask without a key, or has it one of ours? Refuses it, 401, or notes whose it is; rights:
 * those of the key. The url is parsed, the route (it may be NULL) is found. */
void mmq_access_check_key(mmq_exchange *exchange, const char *method, unsigned *rights);
/* Has the key one of the rights that the route wants? Refuses it, 403. */
void mmq_access_check_right(mmq_exchange *exchange, unsigned rights);

/* Its answer, which is made, must wait: it was put down to be woken, and the caller suspends it. */
bool mmq_access_holds(mmq_exchange *exchange);
/* It waits no longer. */
void mmq_access_leave(mmq_exchange *exchange);
/* Wakes those whose time has come, or all; nanoseconds until there is more to do, -1: nothing. */
int64_t mmq_access_tick(mmq_adapter *adapter, bool all);

#endif
