/* `metricmq backup` and `metricmq restore` (docs/keeping.md). Both work on files; neither needs the
 * bus. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/commands/attend.h"
#include "clients/commands/commands.h"
#include "clients/commands/options.h"
#include "lib/clock.h"
#include "workers/store/store.h"

/* One run of either. */
struct run {
    char *url;
    const char *file;
    mmq_attend attend;
    mmq_kept kept;
    mmq_why why;
};

/* False after a complaint. */
static bool read_settings(const mmq_config *config, const char *command, struct run *run)
{
    const char *const *files;
    if (mmq_config_operands(config, &files) != 1 || files[0][0] == '\0') {
        mmq_usage("`%s` wants one file", command);
        return false;
    }
    run->file = files[0];
    if (mmq_store_url_check(run->url, &run->why) != MMQ_OK) {
        mmq_usage("%s", run->why.text);
        return false;
    }
    return true;
}

static double seconds_since(int64_t start_ns)
{
    return (double)(mmq_now_ns() - start_ns) / (double)MMQ_NS_PER_S;
}

static void print_kept(const char *what, const char *where, const struct run *run, double seconds)
{
    const mmq_kept *kept = &run->kept;
    printf("%s %s: whole: %" PRId64 " metrics, %" PRId64 " rows, %.1f MiB, as of commit %" PRId64
           ", in %.1f s\n",
           what, where, kept->sums.metrics, kept->sums.rows,
           (double)kept->bytes / (double)(1 << 20), kept->commit, seconds);
}

/* ---- backup ----------------------------------------------------------------------------- */

static int run_backup(const mmq_config *config, struct run *run)
{
    if (!read_settings(config, "backup", run)) {
        return MMQ_EXIT_USAGE;
    }
    const int64_t start_ns = mmq_now_ns();
    mmq_attend_begin(&run->attend);
    mmq_err err = mmq_store_backup(run->url, run->file, &run->attend.watch, &run->kept, &run->why);
    mmq_attend_end(&run->attend);
    if (err != MMQ_OK) {
        return err == MMQ_ECLOSED ? mmq_failed("stopped: there is no backup %s", run->file)
                                  : mmq_failed("%s", run->why.text);
    }
    print_kept("backup", run->file, run, seconds_since(start_ns));
    return MMQ_EXIT_DONE;
}

int mmq_command_backup(const mmq_config *config)
{
    struct run run = {.url = mmq_store_url(config)};
    const int status = run_backup(config, &run);
    free(run.url);
    return status;
}

/* ---- restore ---------------------------------------------------------------------------- */

/* On a new machine there is no data directory yet. */
static bool make_data(const mmq_config *config)
{
    const char *data = mmq_config_text(config, "data");
    if (mmq_config_given(config, "store") || mkdir(data, 0700) == 0 || errno == EEXIST) {
        return true;
    }
    mmq_usage("--data %s: cannot be made: %s", data, strerror(errno));
    return false;
}

static void print_next_steps(const mmq_config *config, const mmq_kept *kept)
{
    if (kept->old[0] != '\0') {
        printf("the store that was there is kept as %s\n", kept->old);
    }
    printf("next: start the write worker (or `metricmq up`), then the others; rows that were"
           " written after the backup are to be sent again\n"
           "archives that wait in %s/spool are none of the store's: they are still uploaded, see"
           " `metricmq spool list`\n",
           mmq_config_text(config, "data"));
}

static int run_restore(const mmq_config *config, struct run *run)
{
    if (!read_settings(config, "restore", run) || !make_data(config)) {
        return MMQ_EXIT_USAGE;
    }
    const int64_t start_ns = mmq_now_ns();
    mmq_attend_begin(&run->attend);
    mmq_err err = mmq_store_restore(run->url, run->file, mmq_config_flag(config, "keep-old"),
                                    &run->attend.watch, &run->kept, &run->why);
    mmq_attend_end(&run->attend);
    if (err != MMQ_OK) {
        return err == MMQ_ECLOSED ? mmq_failed("stopped: nothing was restored")
                                  : mmq_failed("%s", run->why.text);
    }
    print_kept("restored", run->file, run, seconds_since(start_ns));
    print_next_steps(config, &run->kept);
    return MMQ_EXIT_DONE;
}

int mmq_command_restore(const mmq_config *config)
{
    struct run run = {.url = mmq_store_url(config)};
    const int status = run_restore(config, &run);
    free(run.url);
    return status;
}
