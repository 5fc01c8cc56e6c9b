#include "workers/write_store.h"

#include "lib/clock.h"
#include "lib/log.h"

#define LOG_PERIOD_NS (10 * MMQ_NS_PER_S)

typedef struct change {
    const char *url;
    bool (*stopped)(const void *context);
    const void *context;
    bool begun;
    int64_t first, last; /* rows that had moved at the beginning, and have now */
    int64_t start_ns, logged_ns;
} change;

static void log_change(change *of, const char *message, int64_t total)
{
    of->logged_ns = mmq_now_ns();
    mmq_log(MMQ_INFO, message, MMQ_S("store", of->url), MMQ_I("rows", of->last - of->first),
            MMQ_I("left", total - of->last),
            MMQ_I("seconds", (of->logged_ns - of->start_ns) / MMQ_NS_PER_S));
}

static bool watch_change(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)doing;
    change *of = context;
    of->last = done;
    if (!of->begun) {
        of->begun = true;
        of->first = done;
        of->start_ns = mmq_now_ns();
        log_change(of, "bringing the store to schema 4", total);
    } else if (mmq_now_ns() - of->logged_ns >= LOG_PERIOD_NS) {
        log_change(of, "still bringing the store to schema 4", total);
    }
    return !of->stopped(of->context);
}

mmq_err mmq_write_store_open(const char *url, bool (*stopped)(const void *context),
                             const void *context, mmq_store **out, mmq_why *why)
{
    change of = {.url = url, .stopped = stopped, .context = context};
    const mmq_store_watch watch = {.context = &of, .at = watch_change};
    mmq_err err = mmq_store_open_writer(url, &watch, out, why);
    if (err == MMQ_OK && of.begun) {
        log_change(&of, "the store is of schema 4", of.last);
    }
    return err;
}
