/* `metricmq check`: is the store whole? Faults and the sum go to stdout, a line each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clients/commands/commands.h"
#include "clients/commands/options.h"
#include "clients/commands/progress.h"
#include "workers/store/store.h"

struct view {
    const char *doing; /* NULL: nothing was drawn yet */
    mmq_progress progress;
};

static bool show(void *context, const char *doing, int64_t done, int64_t total)
{
    struct view *view = context;
    if (view->doing != doing) {
        view->doing = doing;
        mmq_progress_init(&view->progress, doing, "rows", total);
    }
    mmq_progress_at(&view->progress, done);
    return true;
}

static void print_fault(void *context, const char *what)
{
    struct view *view = context;
    if (view->doing != NULL) {
        mmq_progress_end(&view->progress);
    }
    puts(what);
}

static int print_sums(const mmq_store_sums *sums)
{
    if (sums->faults > 0) {
        printf("damaged: %" PRId64 " fault%s in ", sums->faults, sums->faults > 1 ? "s" : "");
    } else {
        fputs("whole: ", stdout);
    }
    printf("%" PRId64 " metrics, %" PRId64 " blocks, %" PRId64 " rows, %.2f bytes a row\n",
           sums->metrics, sums->blocks, sums->rows,
           sums->rows > 0 ? (double)sums->bytes / (double)sums->rows : 0);
    return sums->faults > 0 ? MMQ_EXIT_FAILED : MMQ_EXIT_DONE;
}

/* A store that is too damaged to be opened is a fault like others. */
static int give_up(mmq_err err, const mmq_why *why)
{
    if (err != MMQ_ECORRUPT) {
        return mmq_failed("%s", why->text);
    }
    puts(why->text);
    return MMQ_EXIT_FAILED;
}

static int run_check(const char *url)
{
    mmq_why why = {""};
    mmq_err err = mmq_store_url_check(url, &why);
    if (err != MMQ_OK) {
        return mmq_usage("%s", why.text);
    }
    mmq_store *store;
    err = mmq_store_open(url, MMQ_STORE_READ, &store, &why);
    if (err != MMQ_OK) {
        return give_up(err, &why);
    }
    struct view view = {.doing = NULL};
    const mmq_store_watch watch = {.context = &view, .at = show, .fault = print_fault};
    mmq_store_sums sums;
    err = mmq_store_check(store, &watch, &sums, &why);
    if (view.doing != NULL) {
        mmq_progress_end(&view.progress);
    }
    mmq_store_close(&store);
    return err == MMQ_OK ? print_sums(&sums) : give_up(err, &why);
}

int mmq_command_check(const mmq_config *config)
{
    char *url = mmq_store_url(config);
    const int status = run_check(url);
    free(url);
    return status;
}
