/* `metricmq migrate --from URL --to URL [--finish]` (docs/migration.md). Opens both stores itself,
 * without the bus; what it does is workers/store/copy.c's. The last line says what is to be done
 * next. */
#include "clients/commands/migrate_between.h"

#include <inttypes.h>
#include <stdio.h>

#include "clients/commands/attend.h"
#include "clients/commands/commands.h"
#include "lib/clock.h"
#include "workers/store/copy.h"

static void print_whole(const char *what, const mmq_copied *copied)
{
    printf("%s %" PRId64 " metrics, %" PRId64 " blocks, %" PRId64 " rows, sum %016" PRIx64
           ", as of commit %" PRId64 "\n",
           what, copied->sums.metrics, copied->sums.blocks, copied->sums.rows, copied->sum,
           copied->commit);
}

static void print_copied(const mmq_copied *copied, double seconds)
{
    printf("copied %" PRId64 " rows in %" PRId64 " blocks, %" PRId64 " new metrics, in %.1f s",
           copied->rows, copied->blocks, copied->metrics, seconds);
    if (copied->removed > 0) {
        printf("; removed %" PRId64 " metrics that are gone", copied->removed);
    }
    putchar('\n');
}

static void print_next(const mmq_copied *copied)
{
    if (copied->changed > 0) {
        printf("not finished: as of commit %" PRId64 "; %" PRId64 " metrics were changed since. ",
               copied->commit, copied->changed);
    } else {
        printf("not finished: the copy has all up to commit %" PRId64 ". ", copied->commit);
    }
    puts("Next: stop the source's write workers, and run it again with --finish");
}

static int print_outcome(const mmq_copied *copied, double seconds)
{
    if (copied->was_store) {
        print_whole("nothing to do: both stores hold the same:", copied);
        return MMQ_EXIT_DONE;
    }
    print_copied(copied, seconds);
    if (copied->finished) {
        print_whole("finished: whole, and the same as the source:", copied);
        puts("next: start the workers with --store of the copy, which is a store from here on");
    } else {
        print_next(copied);
    }
    return MMQ_EXIT_DONE;
}

static int copy(const char *from, const char *to, bool finish)
{
    mmq_attend attend;
    mmq_copied copied;
    mmq_why why = {""};
    const int64_t start_ns = mmq_now_ns();
    mmq_attend_begin(&attend);
    mmq_err err = mmq_store_copy(from, to, finish, &attend.watch, &copied, &why);
    mmq_attend_end(&attend);
    if (err == MMQ_ECLOSED) {
        return mmq_failed("stopped: the copy is not finished; the same command goes on");
    }
    return err == MMQ_OK
               ? print_outcome(&copied, (double)(mmq_now_ns() - start_ns) / (double)MMQ_NS_PER_S)
               : mmq_failed("%s", why.text);
}

int mmq_migrate_between(const mmq_config *config)
{
    static const char *const names[] = {"from", "to"};
    const char *urls[2];
    mmq_why why = {""};
    for (size_t i = 0; i < 2; i++) {
        urls[i] = mmq_config_text(config, names[i]);
        if (urls[i] == NULL) {
            return mmq_usage("`migrate` between stores wants --from URL and --to URL");
        }
        if (mmq_store_url_check(urls[i], &why) != MMQ_OK) {
            return mmq_usage("--%s: %s", names[i], why.text);
        }
    }
    return copy(urls[0], urls[1], mmq_config_flag(config, "finish"));
}
