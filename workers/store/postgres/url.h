/* Where a database of PostgreSQL is: its URL, checked, and what is said of it to people.
 *
 *     postgresql://[user[:password]@][host[:port][,...]]/database[?parameter=value[&...]]
 *
 * as libpq has it, but a URL is refused
 *  - without a database, which libpq would guess from the user,
 *  - with a parameter that would change what metricmq relies on (options, client_encoding, ...),
 *  - with a password, which others can read: a process's arguments, a unit's file,
 *  - with a host beyond this machine and no word on how it is to be trusted: libpq's own default
 *    (sslmode=prefer) is encrypted for those who could listen, and not for those who can answer.
 * What libpq takes from elsewhere holds: PGPASSFILE, ~/.pgpass, PGSSLMODE, a service file. */
#ifndef MMQ_POSTGRES_URL_H
#define MMQ_POSTGRES_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/error.h"

enum {
    MMQ_PG_HOSTS_MAX = 16,
    MMQ_PG_PARAMETERS_MAX = 64, /* that libpq knows: 15 has 45 */
};

typedef struct mmq_pg_url mmq_pg_url;

/* Is it one of PostgreSQL's, right or wrong? */
bool mmq_pg_url_is(const char *text);
/* MMQ_EINVAL with a sentence that never holds what could be a password. Caller owns the result. */
mmq_err mmq_pg_url_parse(const char *text, mmq_pg_url **out, mmq_why *why) MMQ_MUST_USE;
/* Overwrites what it knew. NULL is nothing. */
void mmq_pg_url_free(mmq_pg_url **url);

/* For logs and errors: postgresql://HOSTS/DATABASE, without user and password. */
const char *mmq_pg_url_shown(const mmq_pg_url *url);
/* How many hosts there are to be tried; at least 1. */
size_t mmq_pg_url_hosts(const mmq_pg_url *url);
/* The parameter target_session_attrs; "any" if it is not given. */
const char *mmq_pg_url_wanted(const mmq_pg_url *url);
/* What libpq is told to connect to one of the hosts, which must be as `wanted` says: two arrays
 * that end with NULL, for PQconnectStartParams without expand_dbname, borrowed from url until it is
 * asked again. */
void mmq_pg_url_parameters(mmq_pg_url *url, size_t host, const char *wanted,
                           const char *const **keywords, const char *const **values);

#endif
