/* A few scans by the text of their cursor, bounded in number, bytes and age. A scan is in the cache
 * or in use, never both: a cursor that comes a second time is positioned anew. What a kept scan has
 * read and not shown yet is as old as the page before: it shows rows as they were read, which a
 * stream may. */
#include "workers/scan_cache.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"

enum {
    SCANS_MAX = 8,
    BYTES_MAX = 168 * 1024 * 1024, /* as many of 10,000 metrics each */
    AGE_MAX_S = 10,
};

struct entry {
    mmq_scan *scan; /* NULL: free */
    size_t bytes;
    int64_t put_ns;
    char cursor[MMQ_CURSOR_MAX];
};

struct mmq_scan_cache {
    pthread_mutex_t mutex; /* the next page of a stream may come to another thread */
    size_t bytes;          /* of all entries */
    struct entry entries[SCANS_MAX];
};

mmq_scan_cache *mmq_scan_cache_new(void)
{
    mmq_scan_cache *cache = calloc(1, sizeof *cache);
    if (cache != NULL) {
        CHECK(pthread_mutex_init(&cache->mutex, NULL) == 0);
    }
    return cache;
}

/* The caller has the mutex, here and below. */
static mmq_scan *take_entry(mmq_scan_cache *cache, struct entry *entry)
{
    CHECK(entry != NULL);
    mmq_scan *scan = entry->scan;
    cache->bytes -= entry->bytes;
    entry->scan = NULL;
    entry->bytes = 0;
    return scan;
}

static void drop_entry(mmq_scan_cache *cache, struct entry *entry)
{
    mmq_scan *scan = take_entry(cache, entry);
    mmq_scan_close(&scan);
}

/* The entry that was put first; a free one counts as older than any. */
static struct entry *oldest_entry(mmq_scan_cache *cache, bool but_not_free)
{
    struct entry *oldest = NULL;
    for (size_t i = 0; i < SCANS_MAX; i++) {
        struct entry *entry = &cache->entries[i];
        if (entry->scan == NULL && !but_not_free) {
            return entry;
        }
        if (entry->scan != NULL && (oldest == NULL || entry->put_ns < oldest->put_ns)) {
            oldest = entry;
        }
    }
    return oldest;
}

void mmq_scan_cache_destroy(mmq_scan_cache **cache_p)
{
    mmq_scan_cache *cache = *cache_p;
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < SCANS_MAX; i++) {
        drop_entry(cache, &cache->entries[i]);
    }
    CHECK(pthread_mutex_destroy(&cache->mutex) == 0);
    free(cache);
    *cache_p = NULL;
}

mmq_scan *mmq_scan_cache_take(mmq_scan_cache *cache, const mmq_cursor *cursor)
{
    char text[MMQ_CURSOR_MAX];
    mmq_scan *scan = NULL;
    if (cache == NULL) {
        return NULL;
    }
    mmq_cursor_print(cursor, text);
    pthread_mutex_lock(&cache->mutex);
    for (size_t i = 0; i < SCANS_MAX && scan == NULL; i++) {
        struct entry *entry = &cache->entries[i];
        if (entry->scan != NULL && strcmp(entry->cursor, text) == 0) {
            scan = take_entry(cache, entry);
        }
    }
    pthread_mutex_unlock(&cache->mutex);
    return scan;
}

void mmq_scan_cache_put(mmq_scan_cache *cache, const char *cursor, mmq_scan **scan)
{
    const size_t bytes = mmq_scan_bytes(*scan);
    if (cache == NULL || !mmq_scan_is_merge(*scan) || bytes > BYTES_MAX) {
        return;
    }
    pthread_mutex_lock(&cache->mutex);
    while (cache->bytes + bytes > BYTES_MAX) {
        drop_entry(cache, oldest_entry(cache, true));
    }
    struct entry *entry = oldest_entry(cache, false);
    drop_entry(cache, entry);
    entry->scan = *scan;
    entry->bytes = bytes;
    entry->put_ns = mmq_now_ns();
    memccpy(entry->cursor, cursor, '\0', sizeof entry->cursor);
    cache->bytes += bytes;
    *scan = NULL;
    pthread_mutex_unlock(&cache->mutex);
}

void mmq_scan_cache_expire(mmq_scan_cache *cache)
{
    const int64_t oldest_ns = mmq_now_ns() - AGE_MAX_S * MMQ_NS_PER_S;
    pthread_mutex_lock(&cache->mutex);
    for (size_t i = 0; i < SCANS_MAX; i++) {
        if (cache->entries[i].scan != NULL && cache->entries[i].put_ns < oldest_ns) {
            drop_entry(cache, &cache->entries[i]);
        }
    }
    pthread_mutex_unlock(&cache->mutex);
}
