/* Who may do what: two lists of public keys, of clients and of workers, each with its rights. A
 * list does not change once it is made; another takes its place (mmq_core_set_allow).
 *
 * Default deny: who is in no list, and what is in no rights, is refused. */
#ifndef MMQ_BROKER_ALLOW_H
#define MMQ_BROKER_ALLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/certificate.h"
#include "lib/rights.h"
#include "metricmq/error.h"

typedef struct mmq_grant mmq_grant;
typedef struct mmq_allow mmq_allow;

/* Reads DIR/clients/NAME.cert and DIR/workers/NAME.cert of the folder; a list whose folder is
 * missing is empty. NULL if any file is damaged, a key is there twice or a right is none of ours:
 * why names the file. Blocks on the disk. */
mmq_allow *mmq_allow_load(const char *folder, mmq_why *why);
/* Empty lists. NULL: no memory. */
mmq_allow *mmq_allow_new(void);
void mmq_allow_destroy(mmq_allow **allow);
/* Takes a key into one of the lists, under that name. MMQ_EINVAL: it is there, or its metadata is
 * none of ours. */
mmq_err mmq_allow_add(mmq_allow *allow, bool works, const char *name,
                      const mmq_certificate *certificate, mmq_why *why) MMQ_MUST_USE;
/* Keys in a list. */
size_t mmq_allow_count(const mmq_allow *allow, bool works);
/* What the list has for the key (40 characters of Z85); NULL: nothing. Borrowed. */
const mmq_grant *mmq_allow_find(const mmq_allow *allow, bool works, const char *key);

/* The name in the list, for logs. */
const char *mmq_grant_name(const mmq_grant *grant);
/* May a client of that grant ask that service? */
bool mmq_grant_asks(const mmq_grant *grant, const char *service, size_t size);
/* May a worker of that grant serve it? */
bool mmq_grant_serves(const mmq_grant *grant, const char *service, size_t size);

/* A list of services, as a certificate has it: 1 to 100 names, separated by commas. */
mmq_err mmq_services_check(const char *text, mmq_why *why) MMQ_MUST_USE;

#endif
