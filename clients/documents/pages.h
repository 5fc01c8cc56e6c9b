/* The manual pages that are made of the tables. */
#ifndef MMQ_PAGES_H
#define MMQ_PAGES_H

#include "clients/documents/roff.h"

/* metricmq(1) */
mmq_err mmq_page_program(mmq_roff *roff, mmq_why *why) MMQ_MUST_USE;
/* metricmq-NAME(1) of command number `index` of the table. */
mmq_err mmq_page_command(mmq_roff *roff, size_t index, mmq_why *why) MMQ_MUST_USE;
/* metricmq.conf(5) */
mmq_err mmq_page_file(mmq_roff *roff, mmq_why *why) MMQ_MUST_USE;

#endif
