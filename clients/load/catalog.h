/* The metrics of a store, read once before the load begins, and what is known of their rows. */
#ifndef MMQ_CATALOG_H
#define MMQ_CATALOG_H

#include "metricmq/client.h"
#include "metricmq/rows.h"

enum { MMQ_CATALOG_DAYS_MAX = 366, MMQ_DAY_S = 86400 };

typedef struct mmq_catalog_metric {
    char uid[MMQ_UID_MAX + 1];
    int64_t rows;        /* when it was read; there are never fewer again */
    int64_t first_day_s; /* the midnight that begins the first of `days` */
    uint32_t days;       /* that its newest rows take, as far as its interval tells; > 0 */
    uint32_t *day_rows;  /* the most rows ever seen of each day; NULL: none of any */
} mmq_catalog_metric;

typedef struct mmq_catalog {
    mmq_catalog_metric *metrics;
    size_t count;
    size_t capacity;
} mmq_catalog;

/* Reads `models` over the client, a million at most. MMQ_ENOTFOUND: there are none. */
mmq_err mmq_catalog_read(mmq_catalog *catalog, mmq_client *client, unsigned timeout_ms,
                         mmq_why *why) MMQ_MUST_USE;
void mmq_catalog_clear(mmq_catalog *catalog);
/* Adds the metric that the packed record (as in the answer to `models`) describes. */
mmq_err mmq_catalog_add(mmq_catalog *catalog, const void *record, size_t size,
                        mmq_why *why) MMQ_MUST_USE;
/* Rows of a day that were seen before, 0 at first. */
uint32_t mmq_catalog_day_rows(const mmq_catalog_metric *metric, uint32_t day);
/* Takes note of rows seen. Without memory it forgets. */
void mmq_catalog_note_day(mmq_catalog_metric *metric, uint32_t day, uint64_t rows);

#endif
