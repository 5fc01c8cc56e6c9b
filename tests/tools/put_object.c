/* put_object FILE URL KEY: delivers a file to a target as the spool does, and prints what came of
 * it as a line of JSON for each try. Environment:
 *
 *   S3_ENDPOINT S3_REGION S3_CA_FILE S3_STALL_MS, S3_PATH_STYLE=1 S3_INSECURE=1   settings
 *   PUT_TIMES=N     so many puts, one after the other
 *   PUT_THREADS=N   so many threads, each with its puts, of keys KEY-0, KEY-1, ...
 *   PUT_STOP_AT=N   the watch stops it when N bytes or more are told to be done
 *   PUT_STOP_MS=N   ... when it lasts so long
 *   PUT_SUMS_OF=F   another file's sums
 *   PUT_SWEEP=P     no put but a sweep of the prefix P; keys that hold the text PUT_WANTED stay
 *   PUT_NAMES_MS=N  to look up a host's name takes so long, and then fails
 *   PUT_READ=1      a line of input is waited for before each put but the first; the number that it
 *                   holds is how many seconds later it is by then
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "workers/targets/target.h"

/* One thread's puts. */
struct putting {
    pthread_t thread;
    mmq_target *target;
    const char *path, *key;
    const mmq_sums *sums;
    long index; /* -1: the only one */
    bool has_failed;
    /* of the put that is under way */
    int64_t began_ns, ticks, done, total;
    bool went_back; /* done became less */
};

static long number_of(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtol(text, NULL, 10) : otherwise;
}

/* In libc's place, for libcurl too: that of a program comes before a library's. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    const long wait_ms = number_of("PUT_NAMES_MS", 0);
    if (wait_ms > 0) {
        (void)poll(NULL, 0, (int)wait_ms);
        return EAI_AGAIN;
    }
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&next, &found, sizeof next);
    return next(node, service, hints, out);
}

static mmq_err tick(void *context, const char *stage, int64_t done, int64_t total, mmq_why *why)
{
    struct putting *putting = context;
    const int64_t now_ns = mmq_now_ns();
    const long stop_at = number_of("PUT_STOP_AT", -1), stop_ms = number_of("PUT_STOP_MS", -1);
    putting->ticks++;
    putting->went_back = putting->went_back || done < putting->done;
    putting->done = done;
    putting->total = total;
    if (strcmp(stage, "upload") != 0 || (stop_at >= 0 && done >= stop_at) ||
        (stop_ms >= 0 && now_ns - putting->began_ns >= stop_ms * MMQ_NS_PER_MS)) {
        return mmq_fail(why, MMQ_ECLOSED, "stopped by the test");
    }
    return MMQ_OK;
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Not of getrusage: that counts what this process was before exec, too. */
static long peak_kb(void)
{
    char line[256];
    long peak = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            peak = strtol(line + 6, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return peak;
}

static void print_outcome(struct putting *putting, mmq_err err, const mmq_setback *setback,
                          const mmq_why *why, double cpu_before_s)
{
    static const char *const kinds[] = {"passing", "settings", "refused"};
    const int64_t now_ns = mmq_now_ns();
    mmq_buffer line;
    mmq_buffer_init(&line, 16384);
    mmq_buffer_format(&line,
                      "{\"result\":\"%s\",\"class\":\"%s\",\"wait_s\":%.3f,\"seconds\":%.3f,"
                      "\"ticks\":%" PRId64 ",\"done\":%" PRId64 ",\"total\":%" PRId64
                      ",\"went_back\":%s,\"cpu_s\":%.3f,\"peak_kb\":%ld,\"index\":%ld,\"why\":",
                      mmq_err_name(err), err == MMQ_OK ? "" : kinds[setback->kind],
                      (double)setback->wait_ns / 1e9, (double)(now_ns - putting->began_ns) / 1e9,
                      putting->ticks, putting->done, putting->total,
                      putting->went_back ? "true" : "false", cpu_s() - cpu_before_s, peak_kb(),
                      putting->index);
    mmq_json_string(&line, why->text, strlen(why->text));
    mmq_buffer_text(&line, "}\n");
    const char *text = mmq_buffer_cstr(&line);
    if (text != NULL) {
        fputs(text, stdout);
        fflush(stdout);
    }
    mmq_buffer_clear(&line);
}

static bool is_wanted(void *context, const char *key)
{
    const char *wanted = getenv("PUT_WANTED");
    (void)context;
    return wanted != NULL && strstr(key, wanted) != NULL;
}

static void put_once(struct putting *putting, int fd)
{
    char key[MMQ_OBJECT_KEY_MAX + 1];
    mmq_why why = {""};
    mmq_setback setback = {MMQ_SETBACK_PASSING, 0};
    const mmq_watch watch = {tick, putting};
    const double before_s = cpu_s();
    const char *sweep = getenv("PUT_SWEEP");
    snprintf(key, sizeof key, putting->index < 0 ? "%s" : "%s-%ld", putting->key, putting->index);
    const mmq_object object = {.key = key, .uid = "a-uid", .fd = fd, .sums = putting->sums};
    putting->began_ns = mmq_now_ns();
    putting->ticks = putting->done = putting->total = 0;
    putting->went_back = false;
    mmq_err err = sweep != NULL
                      ? mmq_target_sweep(putting->target, sweep, is_wanted, NULL, &watch, &why)
                      : mmq_target_put(putting->target, &object, &watch, &setback, &why);
    print_outcome(putting, err, &setback, &why, before_s);
    putting->has_failed = err != MMQ_OK;
}

static void *put_all(void *context)
{
    struct putting *putting = context;
    const long times = number_of("PUT_TIMES", 1);
    char line[64];
    int64_t later_s = 0;
    for (long i = 0; i < times; i++) {
        if (i > 0 && getenv("PUT_READ") != NULL) {
            if (fgets(line, sizeof line, stdin) == NULL) {
                break;
            }
            later_s += strtol(line, NULL, 10);
            mmq_clock_shift(later_s * MMQ_NS_PER_S);
        }
        const int fd = open(putting->path, O_RDONLY | O_CLOEXEC);
        put_once(putting, fd);
        (void)close(fd);
    }
    return NULL;
}

static bool put_in_threads(const struct putting *first)
{
    enum { THREADS_MAX = 16 };
    static struct putting all[THREADS_MAX];
    const long threads = number_of("PUT_THREADS", 1);
    bool has_failed = false;
    for (long i = 0; i < threads && i < THREADS_MAX; i++) {
        all[i] = *first;
        all[i].index = threads > 1 ? i : -1;
        if (pthread_create(&all[i].thread, NULL, put_all, &all[i]) != 0) {
            abort();
        }
    }
    for (long i = 0; i < threads && i < THREADS_MAX; i++) {
        (void)pthread_join(all[i].thread, NULL);
        has_failed = has_failed || all[i].has_failed;
    }
    return has_failed;
}

int main(int argc, char **argv)
{
    const mmq_s3_settings settings = {
        .endpoint = getenv("S3_ENDPOINT"),
        .region = getenv("S3_REGION"),
        .ca_file = getenv("S3_CA_FILE"),
        .path_style = getenv("S3_PATH_STYLE") != NULL,
        .insecure = getenv("S3_INSECURE") != NULL,
        .stall_ms = (unsigned)number_of("S3_STALL_MS", 0),
    };
    mmq_why why = {""};
    mmq_sums sums;
    if (argc != 4) {
        fprintf(stderr, "usage: put_object FILE URL KEY\n");
        return 2;
    }
    const char *summed = getenv("PUT_SUMS_OF");
    const int fd = open(summed != NULL ? summed : argv[1], O_RDONLY | O_CLOEXEC);
    mmq_target *target = mmq_target_new(argv[2], &settings, &why);
    bool has_failed = target == NULL || fd < 0 || mmq_sums_of_file(fd, &sums, &why) != MMQ_OK;
    if (has_failed) {
        fprintf(stderr, "put_object: %s\n", why.text);
        return 2;
    }
    (void)close(fd);
    const struct putting first = {.target = target, .path = argv[1], .key = argv[3], .sums = &sums};
    has_failed = put_in_threads(&first);
    mmq_target_destroy(&target);
    mmq_sums_clear(&sums);
    return has_failed ? 1 : 0;
}
