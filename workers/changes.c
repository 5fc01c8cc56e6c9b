/* One entry a metric, in the order of the commit that changed it last: so what changed after a
 * commit is the list's tail, however often it did. A new metric takes a place that was never used,
 * or that of the entry which is oldest; `known` is then that one's commit: who asks for what came
 * after an earlier one cannot be told all of it. */
#include "workers/changes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/check.h"
#include "lib/columns.h"
#include "lib/digest.h"
#include "metricmq/pack.h"

enum { BUCKETS = 4096 };

typedef struct entry {
    TAILQ_ENTRY(entry) order; /* by commit */
    LIST_ENTRY(entry) same;   /* of a bucket */
    int64_t commit;
    int64_t last_rowid; /* -1: the metric is gone */
    char uid[MMQ_UID_MAX + 1];
} entry;

struct mmq_changes {
    entry entries[MMQ_CHANGES_KEPT];
    size_t used;
    TAILQ_HEAD(entry_order, entry) order;
    LIST_HEAD(entry_bucket, entry) buckets[BUCKETS];
    uint64_t seed;  /* random: nobody chooses uids of one bucket */
    int64_t known;  /* all that changed after this commit is here */
    int64_t newest; /* commit */
};

void mmq_changes_forget(mmq_changes *changes, int64_t commit)
{
    changes->used = 0;
    changes->known = changes->newest = commit;
    TAILQ_INIT(&changes->order);
    for (size_t i = 0; i < BUCKETS; i++) {
        LIST_INIT(&changes->buckets[i]);
    }
}

mmq_changes *mmq_changes_new(int64_t commit)
{
    mmq_changes *changes = malloc(sizeof *changes); /* what is not used is not touched */
    if (changes != NULL) {
        mmq_random(&changes->seed, sizeof changes->seed);
        mmq_changes_forget(changes, commit);
    }
    return changes;
}

void mmq_changes_destroy(mmq_changes **changes)
{
    free(*changes);
    *changes = NULL;
}

/* FNV-1a, from a random start. */
static size_t bucket_of(const mmq_changes *changes, const char *uid)
{
    uint64_t hash = changes->seed;
    for (; *uid != '\0'; uid++) {
        hash = (hash ^ (unsigned char)*uid) * UINT64_C(0x100000001b3);
    }
    return (size_t)(hash >> 32) % BUCKETS;
}

static entry *find(const mmq_changes *changes, size_t bucket, const char *uid)
{
    entry *at = LIST_FIRST(&changes->buckets[bucket]);
    while (at != NULL && strcmp(at->uid, uid) != 0) {
        at = LIST_NEXT(at, same);
    }
    return at;
}

/* A place for another metric; it is on no list. */
static entry *take_place(mmq_changes *changes)
{
    if (changes->used < MMQ_CHANGES_KEPT) {
        return &changes->entries[changes->used++];
    }
    entry *oldest = TAILQ_FIRST(&changes->order);
    changes->known = oldest->commit;
    TAILQ_REMOVE(&changes->order, oldest, order);
    LIST_REMOVE(oldest, same);
    return oldest;
}

void mmq_changes_note(mmq_changes *changes, int64_t commit, const char *uid, int64_t last_rowid)
{
    CHECK(commit >= changes->newest && strlen(uid) <= MMQ_UID_MAX);
    const size_t bucket = bucket_of(changes, uid);
    entry *at = find(changes, bucket, uid);
    if (at != NULL) {
        TAILQ_REMOVE(&changes->order, at, order);
    } else {
        at = take_place(changes);
        memcpy(at->uid, uid, strlen(uid) + 1);
        LIST_INSERT_HEAD(&changes->buckets[bucket], at, same);
    }
    at->commit = changes->newest = commit;
    at->last_rowid = last_rowid;
    TAILQ_INSERT_TAIL(&changes->order, at, order);
}

int64_t mmq_changes_newest(const mmq_changes *changes)
{
    return changes->newest;
}

/* The first of the entries after `since`, and how many they are; *count is not above the bound + 1.
 */
static const entry *first_after(const mmq_changes *changes, int64_t since, uint32_t *count)
{
    const entry *first = NULL, *at = TAILQ_LAST(&changes->order, entry_order);
    *count = 0;
    while (at != NULL && at->commit > since && *count <= MMQ_CHANGES_TOLD) {
        first = at;
        at = TAILQ_PREV(at, entry_order, order);
        ++*count;
    }
    return first;
}

bool mmq_changes_pack(const mmq_changes *changes, int64_t since, mmq_buffer *out)
{
    uint32_t count;
    const entry *at = first_after(changes, since, &count);
    if (since < changes->known || count > MMQ_CHANGES_TOLD) {
        return false;
    }
    mmq_pack_array(out, count);
    for (; at != NULL; at = TAILQ_NEXT(at, order)) {
        mmq_pack_array(out, 2);
        mmq_pack_cstr(out, at->uid);
        if (at->last_rowid >= 0) {
            mmq_pack_int(out, at->last_rowid);
        } else {
            mmq_pack_nil(out);
        }
    }
    return true;
}
