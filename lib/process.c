/* A thread inherits its maker's signal mask: there is no moment in which it could take a signal. */
#include "lib/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

sigset_t mmq_signals_block(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    return before;
}

void mmq_signals_restore(const sigset_t *before)
{
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

bool mmq_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    const sigset_t before = mmq_signals_block();
    int code = pthread_create(thread, NULL, run, argument);
    mmq_signals_restore(&before);
    return code == 0;
}

/* To the kernel one byte is too little for a file, and a word not to call the program that
 * core_pattern may name: it calls that with 0. PR_SET_DUMPABLE would do it too, but hide from the
 * process's own user what /proc knows of it. */
static bool forbid_core(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) != 0) {
        return false;
    }
    limit.rlim_cur = limit.rlim_max < 1 ? limit.rlim_max : 1;
    return setrlimit(RLIMIT_CORE, &limit) == 0;
}

bool mmq_process_confine(void)
{
    const bool no_core = forbid_core();
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && no_core;
}

/* The table grows as far as its highest descriptor. Where threads share it, the kernel waits for
 * all of them then (20 ms and more, at each power of two). */
static void reserve_descriptors(size_t count)
{
    int highest = open("/", O_PATH | O_CLOEXEC);
    int fd = highest >= 0 ? fcntl(highest, F_DUPFD_CLOEXEC, (int)count - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    if (highest >= 0) {
        close(highest);
    }
}

size_t mmq_descriptors_raise(size_t wanted)
{
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    const struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    const size_t most = (size_t)(setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised : limit).rlim_cur;
    reserve_descriptors(wanted < most ? wanted : most);
    return most;
}

/* The file's beginning as text; "" if it cannot be read. */
static void read_text(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, out, room - 1) : -1;
    out[size > 0 ? size : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now = {0};
    return clock_gettime(clock, &now) == 0 ? now.tv_sec * MMQ_NS_PER_S + now.tv_nsec : 0;
}

/* New kernels say how many there are as the folder's size. */
static uint64_t count_descriptors(void)
{
    static const char folder[] = "/proc/self/fd";
    struct stat status;
    if (stat(folder, &status) == 0 && status.st_size > 0) {
        return (uint64_t)status.st_size;
    }
    DIR *entries = opendir(folder);
    uint64_t count = 0;
    while (entries && readdir(entries)) {
        count++;
    }
    if (entries) {
        closedir(entries);
    }
    return count > 3 ? count - 3 : 0; /* ".", ".." and the folder itself */
}

mmq_process_usage mmq_process_usage_read(void)
{
    char text[256];
    uint64_t pages = 0, resident = 0;
    struct rlimit limit = {0};
    read_text("/proc/self/statm", text, sizeof text);
    (void)sscanf(text, "%" SCNu64 " %" SCNu64, &pages, &resident);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    return (mmq_process_usage){
        .resident_bytes = resident * page_bytes,
        .virtual_bytes = pages * page_bytes,
        .descriptors = count_descriptors(),
        .descriptors_max = (uint64_t)limit.rlim_cur,
        .cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
    };
}

/* Field 22 of the line, counted behind the program's name, which may hold spaces and brackets. */
int64_t mmq_process_started_ns(void)
{
    char text[1024];
    read_text("/proc/self/stat", text, sizeof text);
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    int64_t ticks;
    if (!at || sscanf(at, "%" SCNd64, &ticks) != 1) {
        return 0;
    }
    int64_t after_boot_ns = ticks * (MMQ_NS_PER_S / sysconf(_SC_CLK_TCK));
    return clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME) + after_boot_ns;
}
