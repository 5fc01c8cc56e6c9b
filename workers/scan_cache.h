/* Merges that pages left off, kept for the next page: finding the place of 100,000 metrics again
 * takes longer than the page. Any thread may use it. */
#ifndef MMQ_SCAN_CACHE_H
#define MMQ_SCAN_CACHE_H

#include "lib/cursor.h"
#include "workers/scan.h"

typedef struct mmq_scan_cache mmq_scan_cache;

mmq_scan_cache *mmq_scan_cache_new(void); /* NULL: no memory */
void mmq_scan_cache_destroy(mmq_scan_cache **cache);
/* The scan that stands at the cursor, the caller's from now on; NULL: there is none. cache may be
 * NULL. */
mmq_scan *mmq_scan_cache_take(mmq_scan_cache *cache, const mmq_cursor *cursor);
/* Takes ownership of the scan that stands at the cursor, if it is worth keeping, and nulls *scan
 * then. cache may be NULL. */
void mmq_scan_cache_put(mmq_scan_cache *cache, const char *cursor, mmq_scan **scan);
/* Frees what is too old. */
void mmq_scan_cache_expire(mmq_scan_cache *cache);

#endif
