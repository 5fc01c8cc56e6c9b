/* Pages that hold nothing any more, but for some that the rows to come will want, are given back to
 * the file system, a few at a time. */
#include "workers/store/sqlite/engine.h"

enum { PAGES_KEPT = 512 };

static mmq_err count_free_pages(mmq_store *store, int64_t *pages, mmq_why *why)
{
    bool found;
    *pages = 0;
    return mmq_read_int(store, mmq_sqlite_own(store, MMQ_SQLITE_FREE_PAGES), &found, pages,
                        "a count of pages", why);
}

mmq_err mmq_sqlite_has_work(mmq_store *store, bool *work, mmq_why *why)
{
    int64_t pages;
    mmq_err err = count_free_pages(store, &pages, why);
    *work = pages > PAGES_KEPT;
    return err;
}

mmq_err mmq_sqlite_do_work(mmq_store *store, bool *done, mmq_why *why)
{
    int64_t before, after;
    mmq_err err = count_free_pages(store, &before, why);
    *done = false;
    if (err != MMQ_OK || before <= PAGES_KEPT) {
        return err;
    }
    err = mmq_run(store, mmq_sqlite_own(store, MMQ_SQLITE_VACUUM), why);
    if (err == MMQ_OK) {
        err = count_free_pages(store, &after, why);
        *done = err == MMQ_OK && after != before;
    }
    return err;
}
