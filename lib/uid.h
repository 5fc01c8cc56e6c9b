/* Metric uids. */
#ifndef MMQ_UID_H
#define MMQ_UID_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/rows.h"

/* One or more of [-A-Za-z0-9_.]: what means nothing else in URLs, headers, file names and lists. */
bool mmq_text_plain(const char *text, size_t size);

/* [-A-Za-z0-9_.]{1,100} and none of the reserved names: MMQ_UID_RULE tells people. */
#define MMQ_UID_RULE "uid must be 1 to 100 of [-A-Za-z0-9_.] and no reserved name"
bool mmq_uid_valid(const char *uid, size_t size);
/* The uid of a metric that was given none: first 32 hex digits of SHA-256 over datasource and
 * identity. */
void mmq_uid_derive(const char *datasource, const char *identity, char out[MMQ_UID_MAX + 1]);

#endif
