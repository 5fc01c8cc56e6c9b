/* What the pages of metric.query hold. */
#ifndef MMQ_QUERY_PAGES_H
#define MMQ_QUERY_PAGES_H

#include "metricmq/error.h"
#include "workers/page.h"

/* Fill a page that has begun: rows of `data`, buckets of `summary`, records of `models`, records
 * and rows of `export`. On success page->buffer is the payload of FINAL (empty: none), and state,
 * rows, unchanged, more and next are what goes with it.
 */
mmq_err mmq_page_fill_data(mmq_page *page, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_page_fill_summary(mmq_page *page, mmq_why *why) MMQ_MUST_USE;
mmq_err mmq_page_fill_models(mmq_page *page, mmq_why *why) MMQ_MUST_USE;
/* MMQ_ENOTFOUND: there is no such uid. */
mmq_err mmq_page_fill_export(mmq_page *page, mmq_why *why) MMQ_MUST_USE;

#endif
