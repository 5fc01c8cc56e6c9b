/* Asked with the effective ids, as open would be. */
#include "lib/places.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool may(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

mmq_err mmq_place_file(const char *path, mmq_why *why)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return mmq_fail(why, errno == ENOENT ? MMQ_ENOTFOUND : MMQ_EINVAL, "%.160s: %s", path,
                        strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return mmq_fail(why, MMQ_EINVAL, "%.160s is no file", path);
    }
    return may(path, R_OK)
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL, "%.160s cannot be read: %s", path, strerror(errno));
}

/* Cuts the last part off a path, with the slashes before it. */
static void cut(char *path)
{
    char *end = path + strlen(path);
    while (end > path + 1 && end[-1] == '/') {
        end--;
    }
    while (end > path && end[-1] != '/') {
        end--;
    }
    while (end > path + 1 && end[-1] == '/') {
        end--;
    }
    *end = '\0';
    if (end == path) {
        memcpy(path, ".", 2);
    }
}

mmq_err mmq_place_folder(const char *path, bool parents, mmq_why *why)
{
    char at[PATH_MAX];
    struct stat status;
    const size_t size = strlen(path);
    if (size == 0 || size >= sizeof at) {
        return mmq_fail(why, MMQ_EINVAL, "a path has 1 to %d bytes", PATH_MAX - 1);
    }
    memcpy(at, path, size + 1);
    int rc = stat(at, &status);
    for (int depth = 0; rc != 0 && errno == ENOENT && (parents || depth == 0); depth++) {
        cut(at);
        rc = stat(at, &status);
    }
    if (rc != 0) {
        return mmq_fail(why, MMQ_EINVAL, "%.160s: %s", at, strerror(errno));
    }
    if (!S_ISDIR(status.st_mode)) {
        return mmq_fail(why, MMQ_EINVAL, "%.160s is not a folder", at);
    }
    return may(at, R_OK | W_OK | X_OK)
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL, "nothing can be made in the folder %.120s: %s", at,
                          strerror(errno));
}

mmq_err mmq_place_beside(const char *path, mmq_why *why)
{
    char at[PATH_MAX];
    struct stat status;
    const size_t size = strlen(path);
    if (size == 0 || size >= sizeof at) {
        return mmq_fail(why, MMQ_EINVAL, "a path has 1 to %d bytes", PATH_MAX - 1);
    }
    memcpy(at, path, size + 1);
    cut(at);
    return stat(at, &status) == 0 ? mmq_place_folder(at, false, why)
                                  : mmq_fail(why, MMQ_EINVAL, "%.160s: %s", at, strerror(errno));
}
