/* A data folder, a store and a dump of it, for the tests of the feedback worker's parts. */
#ifndef MMQ_TEST_SPOOL_WORLD_H
#define MMQ_TEST_SPOOL_WORLD_H

#include "store_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "metricmq/pack.h"
#include "metricmq/protocol.h"
#include "workers/dump_archive.h"
#include "lib/files.h"
#include "workers/spool/spool.h"

static inline mmq_err world_go_on(void *context, const char *stage, int64_t done, int64_t total,
                                  mmq_why *reason)
{
    (void)context, (void)stage, (void)reason;
    assert_true(done >= 0 && done <= total);
    return MMQ_OK;
}

static const mmq_watch world_watch = {world_go_on, NULL};

/* The body of a dump request; extra is packed. */
static inline void world_body(mmq_buffer *out, const char *uid, const mmq_buffer *extra,
                              int64_t created)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", "dump");
    mmq_args_cstr(&args, "uid", uid);
    mmq_args_packed(&args, "extra", extra->data, extra->size);
    mmq_args_int(&args, "created", created);
    mmq_buffer_init(out, MMQ_BODY_MAX);
    mmq_pack_map(out, args.count);
    mmq_buffer_add(out, args.pairs.data, args.pairs.size);
    mmq_args_clear(&args);
    assert_false(out->failed);
}

/* A dump with {note: text} for extra. */
static inline void world_dump(mmq_dump *dump, const char *uid, const char *text, int64_t created)
{
    mmq_buffer extra, body;
    mmq_buffer_init(&extra, MMQ_BODY_MAX);
    mmq_pack_map(&extra, 1);
    mmq_pack_cstr(&extra, "note");
    mmq_pack_cstr(&extra, text);
    world_body(&body, uid, &extra, created);
    assert_ok(mmq_dump_read(body.data, body.size, dump, &why));
    mmq_buffer_clear(&extra);
    mmq_buffer_clear(&body);
}

/* A path below the world's folder; static storage. */
static inline const char *world_at(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline const char *world_at(const char *format, ...)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    const int size = snprintf(path, sizeof paths[0], "%s/", world_folder);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path + size, sizeof paths[0] - (size_t)size, format, args);
    va_end(args);
    return path;
}

static inline void world_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* The whole file; the caller clears it. */
static inline mmq_buffer world_read(const char *path)
{
    mmq_buffer out;
    mmq_buffer_init(&out, 1 << 28);
    int folder = AT_FDCWD;
    assert_ok(mmq_file_read(folder, path, &out, &why));
    return out;
}

static inline bool world_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* Entries of a folder, "." and ".." left out. */
static inline unsigned world_entries(const char *path)
{
    struct dirent **names;
    const int count = scandir(path, &names, NULL, NULL);
    assert_true(count >= 2);
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    return (unsigned)count - 2;
}

/* A manifest as the worker makes it, for an archive of these bytes. */
static inline mmq_manifest world_manifest(const mmq_dump *dump, const char *bytes)
{
    mmq_manifest manifest = {.created = dump->created, .sums.size_bytes = (int64_t)strlen(bytes)};
    memcpy(manifest.uid, dump->uid, sizeof manifest.uid);
    memcpy(manifest.digest, dump->digest, sizeof manifest.digest);
    mmq_digest(bytes, strlen(bytes), manifest.sums.whole.sha256);
    mmq_md5(bytes, strlen(bytes), manifest.sums.whole.md5);
    (void)snprintf(manifest.server_id, sizeof manifest.server_id, "server");
    mmq_dump_key(dump, "", "server", manifest.key);
    return manifest;
}

/* Puts a job with these bytes into the spool; its name is in `dump`. */
static inline mmq_job *world_commit(mmq_spool *spool, const mmq_dump *dump, const char *bytes)
{
    mmq_job *job;
    int64_t bytes_left;
    mmq_manifest manifest = world_manifest(dump, bytes);
    assert_ok(mmq_job_begin(spool, &job, &bytes_left, &why));
    assert_ok(mmq_fd_write(mmq_job_archive(job), bytes, strlen(bytes), "archive", &why));
    assert_ok(mmq_job_commit(job, &manifest, &why));
    return job;
}

static inline mmq_spool_counts world_counts(mmq_spool *spool)
{
    mmq_spool_counts out;
    assert_ok(mmq_spool_count(spool, &out, &why));
    return out;
}

#endif
