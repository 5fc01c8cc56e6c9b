/* Copying a store into another one, of any engine, while the first is served and written
 * (docs/migration.md). */
#ifndef MMQ_STORE_COPY_H
#define MMQ_STORE_COPY_H

#include "workers/store/store.h"

typedef struct mmq_copied {
    int64_t metrics, blocks, rows; /* that were made, or written */
    int64_t removed;               /* metrics that are not in the source any more */
    int64_t commit;                /* of the source, up to which the copy has all */
    int64_t changed;               /* metrics of the source that were changed behind it */
    bool was_store;                /* the target is no copy of ours to be filled: both are equal */
    bool finished;                 /* it is a store from here on */
    mmq_store_sums sums;           /* was_store or finished: what both hold */
    uint64_t sum;                  /* and the sum (XXH3) over all of it */
} mmq_copied;

/* Makes the store `to` a copy of `from`, or goes on with one. It is a store for others only when it
 * was finished: `finish` ends it, with all that is in the source, compared and checked.
 *
 * MMQ_EBUSY: somebody else fills the copy, or with `finish`, somebody writes to the source.
 * MMQ_ECONFLICT: the target is a store of its own that holds other things, or is the copy of
 * another store; nothing was changed. MMQ_EINVAL: both are the same store. MMQ_ECORRUPT: a block of
 * the source is damaged, and was not copied. MMQ_ECLOSED: the watch broke it off. Whatever the
 * error, and after a crash, the next call goes on. */
mmq_err mmq_store_copy(const char *from, const char *to, bool finish, const mmq_store_watch *watch,
                       mmq_copied *out, mmq_why *why) MMQ_MUST_USE;

#endif
