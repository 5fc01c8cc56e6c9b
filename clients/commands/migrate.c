/* `metricmq migrate` without --from and --to (those: migrate_between.c): brings a store of an
 * earlier form to the current one by hand, as the write worker does when it starts. May be killed
 * at any time; whoever comes next goes on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clients/commands/commands.h"
#include "clients/commands/migrate_between.h"
#include "clients/commands/options.h"
#include "clients/commands/progress.h"
#include "lib/clock.h"
#include "workers/store/store.h"

struct work {
    mmq_progress progress;
    bool begun;
    int64_t first, last; /* rows that had moved at the beginning, and have now */
};

static bool show(void *context, const char *doing, int64_t done, int64_t total)
{
    struct work *work = context;
    if (!work->begun) {
        mmq_progress_init(&work->progress, doing, "rows", total);
        work->begun = true;
        work->first = done;
    }
    work->last = done;
    mmq_progress_at(&work->progress, done);
    return true;
}

/* MMQ_OK: there is nothing to do; MMQ_EBUSY: there is. */
static mmq_err look(const char *url, mmq_why *why)
{
    mmq_store *store;
    mmq_err err = mmq_store_open(url, MMQ_STORE_READ, &store, why);
    if (err == MMQ_OK && !mmq_store_is_current(store)) {
        err = MMQ_EBUSY;
    }
    mmq_store_close(&store);
    return err;
}

static mmq_err give_back_pages(mmq_store *store, mmq_why *why)
{
    bool more = true;
    mmq_err err = MMQ_OK;
    while (err == MMQ_OK && more) {
        err = mmq_store_tidy(store, &more, why);
    }
    return err;
}

static mmq_err migrate(const char *url, struct work *work, mmq_why *why)
{
    mmq_store_lock *lock;
    mmq_store *store = NULL;
    const mmq_store_watch watch = {.context = work, .at = show};
    mmq_err err = mmq_store_lock_try(url, &lock, why);
    if (err == MMQ_OK) {
        err = mmq_store_open_writer(url, &watch, &store, why);
    }
    if (work->begun) {
        mmq_progress_end(&work->progress);
    }
    if (err == MMQ_OK) {
        err = give_back_pages(store, why);
    }
    mmq_store_close(&store);
    mmq_store_unlock(&lock);
    return err;
}

static int run_migrate(const char *url)
{
    mmq_why why = {""};
    mmq_err err = mmq_store_url_check(url, &why);
    if (err != MMQ_OK) {
        return mmq_usage("%s", why.text);
    }
    err = look(url, &why);
    if (err == MMQ_OK) {
        printf("nothing to do: the store is of the current form\n");
        return MMQ_EXIT_DONE;
    }
    struct work work = {.begun = false};
    const int64_t start_ns = mmq_now_ns();
    if (err == MMQ_EBUSY) {
        err = migrate(url, &work, &why);
    }
    if (err != MMQ_OK) {
        return mmq_failed("%s", why.text);
    }
    printf("brought to the current form: %" PRId64 " rows moved in %.1f s\n",
           work.last - work.first, (double)(mmq_now_ns() - start_ns) / (double)MMQ_NS_PER_S);
    return MMQ_EXIT_DONE;
}

int mmq_command_migrate(const mmq_config *config)
{
    if (mmq_config_given(config, "from") || mmq_config_given(config, "to") ||
        mmq_config_flag(config, "finish")) {
        return mmq_migrate_between(config);
    }
    char *url = mmq_store_url(config);
    const int status = run_migrate(url);
    free(url);
    return status;
}
