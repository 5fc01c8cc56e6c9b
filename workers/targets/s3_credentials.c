/* A chain of three: environment, shared file, instance. What is there but wrong ends it, since
 * going on would sign with keys that the operator did not mean; what is not there does not.
 *
 * The mutex is held while credentials are looked up, so that one thread asks and the others have
 * its answer; those wait by trying again, in order to ask their own watch. Failures are kept, too:
 * a look-up may take seconds where no metadata service answers. */
#include "workers/targets/s3_credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/files.h"
#include "workers/targets/s3_address.h"

enum { TRY_MS = 20, PATH_ROOM = 4096 };

struct mmq_s3_credentials {
    pthread_mutex_t mutex; /* of all that follows */
    mmq_s3_keys keys;
    uint64_t serial; /* of the keys; 0: none yet */
    bool has_asked;
    int64_t asked_ns; /* the instance's service, when last */
    mmq_why why;      /* of the last look-up, if it failed */
};

mmq_s3_credentials *mmq_s3_credentials_new(void)
{
    mmq_s3_credentials *credentials = calloc(1, sizeof *credentials);
    if (credentials != NULL) {
        CHECK(pthread_mutex_init(&credentials->mutex, NULL) == 0);
    }
    return credentials;
}

void mmq_s3_credentials_destroy(mmq_s3_credentials **credentials)
{
    if (*credentials != NULL) {
        CHECK(pthread_mutex_destroy(&(*credentials)->mutex) == 0);
        mmq_s3_keys_clear(&(*credentials)->keys);
        free(*credentials);
        *credentials = NULL;
    }
}

/* ---- the chain -------------------------------------------------------------------------- */

static mmq_err look_in_environment(mmq_s3_keys *out, mmq_why *why)
{
    const char *access = mmq_s3_env("AWS_ACCESS_KEY_ID", NULL);
    const char *secret = mmq_s3_env("AWS_SECRET_ACCESS_KEY", NULL);
    if (access == NULL && secret == NULL) {
        return MMQ_ENOTFOUND;
    }
    if (access == NULL || secret == NULL) {
        return mmq_fail(why, MMQ_EINVAL,
                        "of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one "
                        "is set");
    }
    return mmq_s3_keys_take(out, access, secret, mmq_s3_env("AWS_SESSION_TOKEN", NULL))
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL,
                          "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN cannot be "
                          "right");
}

/* Reads the file whole into room for MMQ_S3_PROFILES_MAX bytes and one more. Its path is the
 * operator's, symlinks with it: secrets are often mounted so. */
static mmq_err read_file(const char *path, char *room, size_t *size, mmq_why *why)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? MMQ_ENOTFOUND
                   : mmq_files_fail(why, errno, "open", "the shared file of credentials");
    }
    mmq_err err = fstat(fd, &status) == 0 && S_ISREG(status.st_mode)
                      ? MMQ_OK
                      : mmq_fail(why, MMQ_EINVAL, "the shared file of credentials is no file");
    ssize_t got = 1;
    for (*size = 0; err == MMQ_OK && got > 0; *size += got > 0 ? (size_t)got : 0) {
        got = read(fd, room + *size, MMQ_S3_PROFILES_MAX + 1 - *size);
        if (got < 0) {
            err = mmq_files_fail(why, errno, "read", "the shared file of credentials");
        }
    }
    mmq_fd_close(&fd);
    return err == MMQ_OK && *size > MMQ_S3_PROFILES_MAX
               ? mmq_fail(why, MMQ_EINVAL, "the shared file of credentials is too long")
               : err;
}

static bool find_file(char path[PATH_ROOM])
{
    const char *given = mmq_s3_env("AWS_SHARED_CREDENTIALS_FILE", NULL);
    const char *home = mmq_s3_env("HOME", NULL);
    const bool in_home = given == NULL || strncmp(given, "~/", 2) == 0;
    const char *rest = given == NULL ? "/.aws/credentials" : in_home ? given + 1 : given;
    return (!in_home || home != NULL) &&
           snprintf(path, PATH_ROOM, "%s%s", in_home ? home : "", rest) < PATH_ROOM;
}

/* A profile that was named must be there; that of the name "default" need not. */
static mmq_err look_in_file(mmq_s3_keys *out, mmq_why *why)
{
    const char *profile = mmq_s3_env("AWS_PROFILE", NULL);
    char path[PATH_ROOM];
    size_t size = 0;
    mmq_err err = MMQ_ENOTFOUND;
    mmq_why_set(why, "there is no shared file of credentials");
    if (find_file(path)) {
        char *room = malloc(MMQ_S3_PROFILES_MAX + 1);
        if (room == NULL) {
            return mmq_fail(why, MMQ_ENOMEM, "no memory for credentials");
        }
        err = read_file(path, room, &size, why);
        if (err == MMQ_OK) {
            err = mmq_s3_profile_parse(room, size, profile != NULL ? profile : "default", out, why);
        }
        explicit_bzero(room, size);
        free(room);
    }
    return err == MMQ_ENOTFOUND && profile != NULL ? MMQ_EINVAL : err;
}

mmq_err mmq_s3_credentials_look(mmq_s3_keys *out, mmq_why *why)
{
    mmq_err err = look_in_environment(out, why);
    return err == MMQ_ENOTFOUND ? look_in_file(out, why) : err;
}

static mmq_err ask_instance(mmq_s3_keys *out, const mmq_watch *watch, mmq_why *why)
{
    mmq_why reason = {""};
    mmq_err err = mmq_s3_instance_ask(out, watch, &reason);
    if (err == MMQ_ENOTFOUND) {
        return mmq_fail(why, MMQ_EDENIED,
                        "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                        "AWS_SHARED_CREDENTIALS_FILE (%.60s)",
                        reason.text);
    }
    return err == MMQ_OK ? err : mmq_fail(why, err, "%.200s", reason.text);
}

/* ---- kept ------------------------------------------------------------------------------- */

static mmq_err lock(mmq_s3_credentials *credentials, const mmq_watch *watch, mmq_why *why)
{
    while (pthread_mutex_trylock(&credentials->mutex) != 0) {
        mmq_err err = watch->tick(watch->context, "upload", 0, 0, why);
        if (err != MMQ_OK) {
            return err;
        }
        (void)poll(NULL, 0, TRY_MS);
    }
    return MMQ_OK;
}

static void unlock(mmq_s3_credentials *credentials)
{
    CHECK(pthread_mutex_unlock(&credentials->mutex) == 0);
}

static bool is_same(const mmq_s3_keys *one, const mmq_s3_keys *other)
{
    return strcmp(one->access, other->access) == 0 && strcmp(one->secret, other->secret) == 0 &&
           strcmp(one->token, other->token) == 0 && one->expires_s == other->expires_s;
}

/* Asks the instance's service unless that was done less than least_s ago. */
static mmq_err ask_again(mmq_s3_credentials *credentials, int64_t least_s, mmq_s3_keys *out,
                         const mmq_watch *watch, mmq_why *why)
{
    const int64_t since_ns = mmq_now_ns() - credentials->asked_ns;
    if (credentials->has_asked && since_ns < least_s * MMQ_NS_PER_S) {
        *out = credentials->keys;
        return credentials->serial != 0 ? MMQ_OK
                                        : mmq_fail(why, MMQ_EDENIED, "%s", credentials->why.text);
    }
    mmq_err err = ask_instance(out, watch, why);
    if (watch->tick(watch->context, "upload", 0, 0, NULL) == MMQ_OK) {
        credentials->has_asked = true;
        credentials->asked_ns = mmq_now_ns();
    }
    return err;
}

/* Keys stay until there are others. An error of the watch is no outcome to be kept. */
static mmq_err refresh(mmq_s3_credentials *credentials, int64_t least_s, const mmq_watch *watch,
                       mmq_why *why)
{
    mmq_s3_keys keys;
    mmq_why reason = {""};
    mmq_s3_keys_clear(&keys);
    mmq_err found = mmq_s3_credentials_look(&keys, &reason);
    if (found == MMQ_ENOTFOUND) {
        found = ask_again(credentials, least_s, &keys, watch, &reason);
    }
    if (found == MMQ_OK && !is_same(&keys, &credentials->keys)) {
        credentials->keys = keys;
        credentials->serial++;
    }
    mmq_s3_keys_clear(&keys);
    mmq_err err = found == MMQ_OK ? MMQ_OK : watch->tick(watch->context, "upload", 0, 0, why);
    if (err == MMQ_OK) {
        credentials->why = reason;
    }
    return err;
}

mmq_err mmq_s3_credentials_get(mmq_s3_credentials *credentials, const mmq_watch *watch,
                               mmq_s3_keys *out, uint64_t *serial, mmq_why *why)
{
    mmq_err err = lock(credentials, watch, why);
    if (err != MMQ_OK) {
        return err;
    }
    const bool is_forever = credentials->serial != 0 && credentials->keys.expires_s == 0;
    const int64_t left_s = credentials->keys.expires_s - mmq_wall_s();
    if (!is_forever && left_s <= MMQ_S3_REFRESH_S) {
        /* A look-up may hold up parts that are on their way. */
        err = refresh(credentials, left_s > 0 ? MMQ_S3_LOOK_AGAIN_S : MMQ_S3_LOOK_UP_S, watch, why);
    }
    /* Keys that have expired by our clock are for the store to judge. */
    *out = credentials->keys;
    *serial = credentials->serial;
    if (err == MMQ_OK && credentials->serial == 0) {
        err = mmq_fail(why, MMQ_EDENIED, "%s", credentials->why.text);
    }
    unlock(credentials);
    return err;
}

bool mmq_s3_credentials_renew(mmq_s3_credentials *credentials, const mmq_watch *watch,
                              uint64_t serial)
{
    mmq_why why;
    if (lock(credentials, watch, &why) != MMQ_OK) {
        return false;
    }
    if (credentials->serial == serial) {
        (void)refresh(credentials, MMQ_S3_LOOK_UP_S, watch, &why);
    }
    const bool has_others = credentials->serial != serial;
    unlock(credentials);
    return has_others;
}
