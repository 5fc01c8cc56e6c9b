/* A library for LD_PRELOAD that counts the calls of a process by which it changes something outside
 * of itself, and brings about a fault at the nth: the process is killed, or the call fails. What is
 * counted: making, writing, fsyncing, renaming, removing and locking files; connecting and sending.
 * Writes to pipes, eventfds and stderr are not.
 *
 *     KILL_AT        n: the fault comes at the nth call; 0 or unset: never
 *     KILL_AT_DO     "kill" (default): SIGKILL before the call; a call that writes writes half of
 *                    its bytes before, so that torn files and messages come about;
 *                    else the errno that the call fails with, as a number
 *     KILL_AT_ON     set: all calls from the nth on fail, not it alone
 *     KILL_AT_CALLS  only these count, e.g. "write,pwrite"
 *     KILL_AT_PATH   only calls on paths (or socket addresses) in which this is found count
 *     KILL_AT_WHEN   only calls count which come while this file exists
 *     KILL_AT_LOG    a file: with KILL_AT the call at which the fault came is added to it as a line
 *                    "CALL PATH", without it every call that counts
 *
 * Calls are counted over all threads. glibc's own calls (stdio) do not come by here. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2 * PATH_MAX };

/* What the environment says; read once. */
static struct {
    long nth;
    int error; /* 0: kill */
    bool on;
    const char *calls, *path, *when, *log;
} settings;

static atomic_long counted;
static atomic_bool is_read;

/* The function that this one stands before. */
static void *next_function(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) {
        abort();
    }
    return function;
}

/* Declares `real`, the function that this one stands before, found at the first call. */
#define REAL(name)                                                                                 \
    static _Atomic(void *) found_##name;                                                           \
    void *address_##name = atomic_load(&found_##name);                                             \
    if (address_##name == NULL) {                                                                  \
        address_##name = next_function(#name);                                                     \
        atomic_store(&found_##name, address_##name);                                               \
    }                                                                                              \
    __typeof__(name) *real;                                                                        \
    memcpy(&real, &address_##name, sizeof real)

/* ---- what is counted -------------------------------------------------------------------- */

static void read_settings(void)
{
    if (atomic_load(&is_read)) {
        return;
    }
    const char *nth = getenv("KILL_AT");
    const char *what = getenv("KILL_AT_DO");
    settings.nth = nth != NULL ? strtol(nth, NULL, 10) : 0;
    settings.error = what != NULL ? (int)strtol(what, NULL, 10) : 0; /* "kill" is 0 */
    settings.on = getenv("KILL_AT_ON") != NULL;
    settings.calls = getenv("KILL_AT_CALLS");
    settings.path = getenv("KILL_AT_PATH");
    settings.when = getenv("KILL_AT_WHEN");
    settings.log = getenv("KILL_AT_LOG");
    atomic_store(&is_read, true); /* threads that come here at once read the same */
}

/* True if `name` is one of the list, or there is no list. */
static bool is_listed(const char *list, const char *name)
{
    const size_t size = strlen(name);
    for (const char *at = list; at != NULL && *at != '\0';) {
        const size_t length = strcspn(at, ",");
        if (length == size && strncmp(at, name, size) == 0) {
            return true;
        }
        at += length + (at[length] == ',');
    }
    return list == NULL;
}

static void print_address(const struct sockaddr *address, char out[PATH_MAX])
{
    struct sockaddr_in inet;
    snprintf(out, PATH_MAX, "socket");
    if (address->sa_family == AF_INET) {
        char host[INET_ADDRSTRLEN];
        memcpy(&inet, address, sizeof inet);
        inet_ntop(AF_INET, &inet.sin_addr, host, sizeof host);
        snprintf(out, PATH_MAX, "socket %s:%d", host, ntohs(inet.sin_port));
    }
}

/* What the descriptor is open on; false if calls on it do not count. */
static bool describe(int fd, char out[PATH_MAX])
{
    struct stat status;
    if (fd == STDERR_FILENO || fstat(fd, &status) != 0) {
        return false;
    }
    if (S_ISSOCK(status.st_mode)) {
        struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
        socklen_t size = sizeof peer;
        (void)getpeername(fd, (struct sockaddr *)&peer, &size);
        print_address((const struct sockaddr *)&peer, out);
        return true;
    }
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t length = readlink(link, out, PATH_MAX - 1);
    out[length > 0 ? length : 0] = '\0';
    return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
}

/* As describe, for a name within a folder. */
static void describe_name(int folder, const char *name, char out[PATH_MAX])
{
    char base[PATH_MAX] = "";
    if (name[0] == '/' || folder == AT_FDCWD || !describe(folder, base)) {
        snprintf(out, PATH_MAX, "%s", name);
    } else if (snprintf(out, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) {
        out[PATH_MAX - 1] = '\0';
    }
}

static void write_log(const char *call, const char *path)
{
    char line[LINE_MAX_BYTES];
    const int size = snprintf(line, sizeof line, "%s %s\n", call, path);
    const long fd = syscall(SYS_openat, AT_FDCWD, settings.log,
                            O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0) {
        (void)!syscall(SYS_write, fd, line, (size_t)size);
        (void)syscall(SYS_close, fd);
    }
}

static _Noreturn void die(void)
{
    for (;;) {
        (void)kill(getpid(), SIGKILL);
    }
}

enum verdict { GO_ON, FAIL, DIE };

/* Counts the call. GO_ON: nothing happens; FAIL: errno is set; DIE: the caller may do half its
 * work, then it dies. */
static enum verdict count_call(const char *call, const char *path)
{
    read_settings();
    if ((settings.nth == 0 && settings.log == NULL) || !is_listed(settings.calls, call) ||
        (settings.path != NULL && strstr(path, settings.path) == NULL) ||
        (settings.when != NULL && syscall(SYS_access, settings.when, F_OK) != 0)) {
        return GO_ON;
    }
    const long number = atomic_fetch_add(&counted, 1) + 1;
    const bool faulty =
        settings.nth > 0 && (number == settings.nth || (settings.on && number > settings.nth));
    if (settings.log != NULL && (faulty || settings.nth == 0)) {
        write_log(call, path);
    }
    if (!faulty) {
        return GO_ON;
    }
    errno = settings.error;
    return settings.error != 0 ? FAIL : DIE;
}

/* For calls that do not write: true if the call is not to be made. */
static bool is_refused(const char *call, const char *path)
{
    const int saved = errno;
    switch (count_call(call, path)) {
    case DIE:
        die();
    case FAIL:
        return true;
    case GO_ON:
    default:
        errno = saved;
        return false;
    }
}

static bool is_refused_on(const char *call, int fd)
{
    char path[PATH_MAX];
    const int saved = errno;
    const bool counts = describe(fd, path);
    errno = saved;
    return counts && is_refused(call, path);
}

static bool is_refused_in(const char *call, int folder, const char *name)
{
    char path[PATH_MAX];
    const int saved = errno;
    describe_name(folder, name, path);
    errno = saved;
    return is_refused(call, path);
}

/* For calls that write: as count_call. */
static enum verdict judge_write(const char *call, int fd)
{
    char path[PATH_MAX];
    const int saved = errno;
    const enum verdict verdict = describe(fd, path) ? count_call(call, path) : GO_ON;
    if (verdict != FAIL) {
        errno = saved;
    }
    return verdict;
}

/* ---- files ------------------------------------------------------------------------------ */

#define MAKES(flags) (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE)

#define MODE_OF(flags, mode)                                                                       \
    mode_t mode = 0;                                                                               \
    if (MAKES(flags)) {                                                                            \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = (mode_t)va_arg(rest, int);                                                          \
        va_end(rest);                                                                              \
    }

int openat(int folder, const char *name, int flags, ...)
{
    REAL(openat);
    MODE_OF(flags, mode)
    return (flags & O_CREAT) != 0 && is_refused_in("open", folder, name)
               ? -1
               : real(folder, name, flags, mode);
}

int openat64(int folder, const char *name, int flags, ...)
{
    REAL(openat64);
    MODE_OF(flags, mode)
    return (flags & O_CREAT) != 0 && is_refused_in("open", folder, name)
               ? -1
               : real(folder, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
    REAL(open);
    MODE_OF(flags, mode)
    return (flags & O_CREAT) != 0 && is_refused_in("open", AT_FDCWD, name)
               ? -1
               : real(name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
    REAL(open64);
    MODE_OF(flags, mode)
    return (flags & O_CREAT) != 0 && is_refused_in("open", AT_FDCWD, name)
               ? -1
               : real(name, flags, mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    switch (judge_write("write", fd)) {
    case FAIL:
        return -1;
    case DIE:
        (void)!real(fd, data, size / 2);
        die();
    case GO_ON:
    default:
        return real(fd, data, size);
    }
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    REAL(pwrite64);
    switch (judge_write("pwrite", fd)) {
    case FAIL:
        return -1;
    case DIE:
        (void)!real(fd, data, size / 2, offset);
        die();
    case GO_ON:
    default:
        return real(fd, data, size, offset);
    }
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite64(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(writev);
    switch (judge_write("writev", fd)) {
    case FAIL:
        return -1;
    case DIE:
        (void)!real(fd, parts, count / 2);
        die();
    case GO_ON:
    default:
        return real(fd, parts, count);
    }
}

int ftruncate(int fd, off_t size)
{
    REAL(ftruncate);
    return is_refused_on("ftruncate", fd) ? -1 : real(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    REAL(fallocate);
    return is_refused_on("fallocate", fd) ? -1 : real(fd, mode, offset, size);
}

int fsync(int fd)
{
    REAL(fsync);
    return is_refused_on("fsync", fd) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return is_refused_on("fsync", fd) ? -1 : real(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags)
{
    REAL(sync_file_range);
    return is_refused_on("sync_file_range", fd) ? -1 : real(fd, offset, size, flags);
}

int flock(int fd, int operation)
{
    REAL(flock);
    return is_refused_on("flock", fd) ? -1 : real(fd, operation);
}

int renameat(int from, const char *old, int to, const char *name)
{
    REAL(renameat);
    return is_refused_in("rename", to, name) ? -1 : real(from, old, to, name);
}

int renameat2(int from, const char *old, int to, const char *name, unsigned flags)
{
    REAL(renameat2);
    return is_refused_in("rename", to, name) ? -1 : real(from, old, to, name, flags);
}

int rename(const char *old, const char *name)
{
    REAL(rename);
    return is_refused_in("rename", AT_FDCWD, name) ? -1 : real(old, name);
}

int linkat(int from, const char *old, int to, const char *name, int flags)
{
    REAL(linkat);
    return is_refused_in("link", to, name) ? -1 : real(from, old, to, name, flags);
}

int link(const char *old, const char *name)
{
    REAL(link);
    return is_refused_in("link", AT_FDCWD, name) ? -1 : real(old, name);
}

int unlink(const char *name)
{
    REAL(unlink);
    return is_refused_in("unlink", AT_FDCWD, name) ? -1 : real(name);
}

int unlinkat(int folder, const char *name, int flags)
{
    REAL(unlinkat);
    return is_refused_in("unlink", folder, name) ? -1 : real(folder, name, flags);
}

int mkdirat(int folder, const char *name, mode_t mode)
{
    REAL(mkdirat);
    return is_refused_in("mkdir", folder, name) ? -1 : real(folder, name, mode);
}

/* ---- sockets ---------------------------------------------------------------------------- */

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    REAL(connect);
    char path[PATH_MAX];
    print_address(address, path);
    return is_refused("connect", path) ? -1 : real(fd, address, size);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    REAL(send);
    switch (judge_write("send", fd)) {
    case FAIL:
        return -1;
    case DIE:
        (void)!real(fd, data, size / 2, flags);
        die();
    case GO_ON:
    default:
        return real(fd, data, size, flags);
    }
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address,
               socklen_t address_size)
{
    REAL(sendto);
    switch (judge_write("send", fd)) {
    case FAIL:
        return -1;
    case DIE:
        (void)!real(fd, data, size / 2, flags, address, address_size);
        die();
    case GO_ON:
    default:
        return real(fd, data, size, flags, address, address_size);
    }
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg);
    return is_refused_on("send", fd) ? -1 : real(fd, message, flags);
}
