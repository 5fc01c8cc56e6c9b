/* A store in a folder of its own, for the fuzzers that want one: it is made once, kept as an image,
 * and put back as often as it is spoilt. In memory, where there is a folder for that. */
#ifndef MMQ_FUZZ_STORE_WORLD_H
#define MMQ_FUZZ_STORE_WORLD_H

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/log.h"
#include "workers/store/store.h"

enum { FUZZ_ROWS = 3000 };

static struct {
    char folder[64], path[96], url[112];
    uint8_t *image;
    size_t size;
} fuzz_world;

static inline void fuzz_unlink(const char *ending)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s%s", fuzz_world.path, ending);
    (void)unlink(name);
}

static inline void fuzz_world_remove(void)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal", ".lock", ".making"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        fuzz_unlink(endings[i]);
    }
}

static inline void fuzz_world_end(void)
{
    fuzz_world_remove();
    (void)rmdir(fuzz_world.folder);
    free(fuzz_world.image);
}

static inline void fuzz_world_put(const uint8_t *data, size_t size)
{
    fuzz_world_remove();
    const int fd = open(fuzz_world.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
}

static inline void fuzz_create(mmq_store *store, const char *uid)
{
    mmq_why why = {""};
    mmq_metric metric = {.status = 1, .poll_interval = 300};
    char **const texts[] = {&metric.datasource,  &metric.identity, &metric.name,
                            &metric.description, &metric.server,   &metric.location};
    (void)snprintf(metric.head.uid, sizeof metric.head.uid, "%s", uid);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        *texts[i] = strdup(i == 0 ? "custom" : uid);
    }
    metric.parameters = strdup("{}");
    CHECK(mmq_store_create(store, &metric, &why) == MMQ_OK);
    mmq_metric_clear(&metric);
}

static inline void fuzz_append(mmq_store *store, const char *uid, size_t count)
{
    static int64_t timestamp[FUZZ_ROWS];
    static double value[FUZZ_ROWS], score[FUZZ_ROWS];
    mmq_why why = {""};
    mmq_appended out;
    for (size_t i = 0; i < count; i++) {
        timestamp[i] = 1400000000 + 300 * (int64_t)i;
        value[i] = (double)(i % 97) / 4;
        score[i] = i % 5 == 0 ? NAN : (double)(i % 11) / 10;
    }
    const mmq_write_rows rows = {count, timestamp, NULL, value, score, score};
    CHECK(mmq_store_append(store, uid, 0, &rows, &out, &why) == MMQ_OK);
}

static inline void fuzz_fill(void)
{
    mmq_store *store;
    mmq_why why = {""};
    CHECK(mmq_store_open(fuzz_world.url, MMQ_STORE_WRITE, &store, &why) == MMQ_OK);
    CHECK(mmq_store_begin_write(store, &why) == MMQ_OK);
    fuzz_create(store, "a");
    fuzz_create(store, "u");
    fuzz_create(store, "zz");
    fuzz_append(store, "a", 3);
    fuzz_append(store, "u", FUZZ_ROWS);
    CHECK(mmq_store_commit(store, &why) == MMQ_OK);
    mmq_store_close(&store);
}

static inline bool fuzz_go_on(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context, (void)doing, (void)done, (void)total;
    return true;
}

static inline void fuzz_tell(void *context, const char *what)
{
    (void)context, (void)what;
}

/* Makes the store, the first time: metrics a (3 rows), u (FUZZ_ROWS) and zz (none). */
static inline void fuzz_world_begin(void)
{
    struct stat about;
    if (fuzz_world.image != NULL) {
        return;
    }
    mmq_log_setup(MMQ_ERROR, false);
    const bool memory = access("/dev/shm", W_OK) == 0;
    (void)snprintf(fuzz_world.folder, sizeof fuzz_world.folder, "%s/mmq-fuzz-XXXXXX",
                   memory ? "/dev/shm" : "/tmp");
    CHECK(mkdtemp(fuzz_world.folder) != NULL);
    (void)snprintf(fuzz_world.path, sizeof fuzz_world.path, "%s/m.db", fuzz_world.folder);
    (void)snprintf(fuzz_world.url, sizeof fuzz_world.url, "sqlite:%s", fuzz_world.path);
    fuzz_fill();
    const int fd = open(fuzz_world.path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &about) == 0);
    fuzz_world.size = (size_t)about.st_size;
    fuzz_world.image = malloc(fuzz_world.size);
    CHECK(fuzz_world.image != NULL);
    CHECK(read(fd, fuzz_world.image, fuzz_world.size) == (ssize_t)fuzz_world.size);
    (void)close(fd);
    (void)atexit(fuzz_world_end);
}

#endif
