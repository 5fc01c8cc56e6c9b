/* What errors of PostgreSQL mean to us, with their sentences. */
#ifndef MMQ_POSTGRES_VERDICT_H
#define MMQ_POSTGRES_VERDICT_H

#include <stddef.h>

#include "metricmq/error.h"

/* The error for an SQLSTATE (five characters; NULL: libpq made the error up, because the connection
 * is lost). `said` is what the server or libpq has to say, hostile; NULL: nothing. */
mmq_err mmq_pg_verdict(const char *state, const char *said, mmq_why *why) MMQ_MUST_USE;

/* Copies a text of the server's for people, cut to fit: a line, UTF-8, without control characters.
 * `out` has at least 4 bytes. */
void mmq_pg_clean(const char *said, char *out, size_t size);

#endif
