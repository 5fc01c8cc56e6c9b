/* file:DIR: an object is a file of the folder. It is copied to .NAME.part beside its place, fsynced
 * and renamed. The part has one name, locked, so that what a crash left is taken over by the next
 * delivery of the same object and never piles up; two spools that deliver one object at once take
 * turns. */
#include "workers/targets/target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/files.h"

enum { COPY_BYTES = 256 * 1024, PART_MODE = 0644 };

struct file_target {
    mmq_target base;
    char path[]; /* of the folder */
};

/* One object on its way. */
struct copy {
    const mmq_object *object;
    int folder;       /* that holds it */
    const char *name; /* within the folder */
    char part_name[NAME_MAX + 1];
    int part;
};

static mmq_target *file_target_new(const char *rest, const mmq_s3_settings *s3, mmq_why *why)
{
    (void)s3;
    const size_t size = strlen(rest);
    if (size == 0 || size >= PATH_MAX) {
        (void)mmq_fail(why, MMQ_EINVAL, "upload file: wants the path of a folder");
        return NULL;
    }
    struct file_target *target = malloc(sizeof *target + size + 1);
    if (target == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for an upload target");
        return NULL;
    }
    target->base = (mmq_target){&mmq_file_target, ""};
    memcpy(target->path, rest, size + 1);
    return &target->base;
}

static void file_target_destroy(mmq_target **target)
{
    free(*target);
    *target = NULL;
}

/* Opens the folder of the key below `path`, made where it is missing. Symlinks below it are not
 * followed. */
static mmq_err open_folder(const char *path, struct copy *copy, mmq_why *why)
{
    mmq_err err = mmq_folder_open(path, &copy->folder, why);
    copy->name = copy->object->key;
    for (const char *slash; err == MMQ_OK && (slash = strchr(copy->name, '/')) != NULL;) {
        char part[MMQ_OBJECT_KEY_MAX + 1];
        snprintf(part, sizeof part, "%.*s", (int)(slash - copy->name), copy->name);
        int parent = copy->folder;
        err = mmq_folder_open_in(parent, part, &copy->folder, why);
        mmq_fd_close(&parent);
        copy->name = slash + 1;
    }
    return err;
}

/* Opens and locks the part, which may be another delivery's or a crashed one's. */
static mmq_err open_part(struct copy *copy, mmq_why *why)
{
    struct stat locked, named;
    const int size = snprintf(copy->part_name, sizeof copy->part_name, ".%s.part", copy->name);
    if (size >= (int)sizeof copy->part_name) {
        return mmq_fail(why, MMQ_EIO, "the object's name is too long for a file");
    }
    copy->part = openat(copy->folder, copy->part_name,
                        O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, PART_MODE);
    if (copy->part < 0) {
        return mmq_files_fail(why, errno, "make", copy->part_name);
    }
    if (flock(copy->part, LOCK_EX | LOCK_NB) != 0 || fstat(copy->part, &locked) != 0 ||
        fstatat(copy->folder, copy->part_name, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        locked.st_ino != named.st_ino) {
        mmq_fd_close(&copy->part); /* not ours to remove */
        return mmq_fail(why, MMQ_EBUSY, "another delivery of %.150s is under way", copy->name);
    }
    return S_ISREG(locked.st_mode) && ftruncate(copy->part, 0) == 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_EIO, "cannot empty %.150s", copy->part_name);
}

static mmq_err copy_bytes(const struct copy *copy, mmq_checksum *sum, char *room,
                          const mmq_watch *watch, mmq_why *why)
{
    const mmq_object *object = copy->object;
    mmq_err err = MMQ_OK;
    for (int64_t done = 0; err == MMQ_OK && done < object->sums->size_bytes;) {
        err = watch->tick(watch->context, "upload", done, object->sums->size_bytes, why);
        if (err != MMQ_OK) {
            break;
        }
        const int64_t left = object->sums->size_bytes - done;
        const ssize_t got =
            pread(object->fd, room, left < COPY_BYTES ? (size_t)left : COPY_BYTES, done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? mmq_files_fail(why, errno, "read", "an archive")
                           : mmq_fail(why, MMQ_ECORRUPT, "an archive was cut off");
        }
        mmq_checksum_add(sum, room, (size_t)got);
        err = mmq_fd_write(copy->part, room, (size_t)got, copy->part_name, why);
        done += got;
    }
    return err;
}

static mmq_err check_sum(const struct copy *copy, mmq_checksum *sum, mmq_why *why)
{
    char hex[MMQ_DIGEST_HEX + 1];
    mmq_checksum_hex(sum, hex);
    return strcmp(hex, copy->object->sums->whole.sha256) == 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECORRUPT, "an archive's bytes changed in the spool");
}

static mmq_err fill_part(const struct copy *copy, const mmq_watch *watch, mmq_why *why)
{
    mmq_checksum *sum = mmq_checksum_new(MMQ_SHA256);
    char *room = malloc(COPY_BYTES);
    mmq_err err = sum != NULL && room != NULL
                      ? copy_bytes(copy, sum, room, watch, why)
                      : mmq_fail(why, MMQ_ENOMEM, "no memory for a delivery");
    if (err == MMQ_OK) {
        err = check_sum(copy, sum, why);
    }
    free(room);
    mmq_checksum_destroy(&sum);
    return err != MMQ_OK ? err : mmq_fd_sync(copy->part, copy->part_name, why);
}

/* Fills the part and gives it its name. */
static mmq_err deliver(struct copy *copy, const mmq_watch *watch, mmq_why *why)
{
    mmq_err err = fill_part(copy, watch, why);
    if (err == MMQ_OK && renameat(copy->folder, copy->part_name, copy->folder, copy->name) != 0) {
        err = mmq_files_fail(why, errno, "rename", copy->part_name);
    }
    if (err != MMQ_OK) {
        (void)unlinkat(copy->folder, copy->part_name, 0);
    }
    return err != MMQ_OK ? err : mmq_fd_sync(copy->folder, "the upload folder", why);
}

static mmq_err file_target_put(mmq_target *target, const mmq_object *object, const mmq_watch *watch,
                               mmq_setback *setback, mmq_why *why)
{
    (void)setback; /* a disk that is full or gone may be back any time */
    struct copy copy = {.object = object, .folder = -1, .part = -1};
    mmq_err err = open_folder(((const struct file_target *)target)->path, &copy, why);
    if (err == MMQ_OK) {
        err = open_part(&copy, why);
    }
    if (err == MMQ_ECORRUPT) {
        err = MMQ_EIO; /* a symlink or a file in the way is not the object's fault */
    } else if (err == MMQ_OK) {
        err = deliver(&copy, watch, why);
    }
    mmq_fd_close(&copy.part);
    mmq_fd_close(&copy.folder);
    return err;
}

const mmq_target_kind mmq_file_target = {
    .scheme = "file:",
    .make = file_target_new,
    .put = file_target_put,
    .destroy = file_target_destroy,
};
