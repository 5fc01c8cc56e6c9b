/* Opening, closing and keeping: what a url names says which engine does it. */
#include "workers/store/handle.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "workers/store/block.h"
#include "workers/store/room.h"

static const mmq_engine *const engines[] = {&mmq_engine_sqlite, &mmq_engine_postgres};

/* NULL: why says that there is none. */
static const mmq_engine *find_engine(const char *url, mmq_why *why)
{
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        if (strncmp(url, engines[i]->scheme, strlen(engines[i]->scheme)) == 0) {
            return engines[i];
        }
    }
    (void)mmq_fail(why, MMQ_EINVAL,
                   "a store is named sqlite:PATH or postgresql://HOST/DATABASE, and not \"%.100s\"",
                   url);
    return NULL;
}

mmq_err mmq_store_url_check(const char *url, mmq_why *why)
{
    const mmq_engine *engine = find_engine(url, why);
    return engine != NULL ? engine->url_check(url, why) : MMQ_EINVAL;
}

mmq_err mmq_store_place_check(const char *url, bool writes, mmq_why *why)
{
    const mmq_engine *engine = find_engine(url, why);
    return engine != NULL ? engine->place_check(url, writes, why) : MMQ_EINVAL;
}

/* ---- the writer's lock ------------------------------------------------------------------ */

struct mmq_store_lock {
    int fd;
};

mmq_err mmq_store_lock_try(const char *url, mmq_store_lock **out, mmq_why *why)
{
    *out = NULL;
    const mmq_engine *engine = find_engine(url, why);
    if (engine == NULL) {
        return MMQ_EINVAL;
    }
    mmq_store_lock *lock = malloc(sizeof *lock);
    mmq_err err = lock != NULL ? engine->lock(url, &lock->fd, why)
                               : mmq_fail(why, MMQ_ENOMEM, "no memory for a lock");
    if (err != MMQ_OK) {
        free(lock);
        return err;
    }
    *out = lock;
    return MMQ_OK;
}

void mmq_store_unlock(mmq_store_lock **lock)
{
    if (*lock == NULL) {
        return;
    }
    if ((*lock)->fd >= 0) {
        (void)close((*lock)->fd);
    }
    free(*lock);
    *lock = NULL;
}

/* ---- handles ---------------------------------------------------------------------------- */

static bool has_rooms(const mmq_store *store)
{
    return store->block != NULL &&
           (store->mode == MMQ_STORE_READ || (store->existing != NULL && store->encoded != NULL &&
                                              store->fresh != NULL && store->old != NULL));
}

static mmq_store *new_store(const mmq_engine *engine, mmq_store_mode mode)
{
    mmq_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return NULL;
    }
    store->engine = engine;
    store->mode = mode;
    store->block = malloc(sizeof *store->block);
    if (mode == MMQ_STORE_WRITE) {
        store->existing = malloc(sizeof *store->existing);
        store->encoded = malloc(MMQ_BLOCK_MAX);
        store->fresh = mmq_room_new();
        store->old = mmq_room_new();
    }
    if (!has_rooms(store)) {
        mmq_store_close(&store);
    }
    return store;
}

/* fill_of: NULL, or as mmq_store_open_to_fill has it. */
static mmq_err open_store(const char *url, mmq_store_mode mode, const uint64_t *fill_of,
                          const mmq_store_watch *watch, mmq_store **out, mmq_why *why)
{
    *out = NULL;
    const mmq_engine *engine = find_engine(url, why);
    if (engine == NULL) {
        return MMQ_EINVAL;
    }
    mmq_store *store = new_store(engine, mode);
    if (store == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a store");
    }
    store->fills = fill_of != NULL;
    store->fill_of = fill_of != NULL ? *fill_of : 0;
    mmq_err err = engine->open(store, url, watch, why);
    if (err != MMQ_OK) {
        mmq_store_close(&store);
    }
    *out = store;
    return err;
}

mmq_err mmq_store_open(const char *url, mmq_store_mode mode, mmq_store **out, mmq_why *why)
{
    return open_store(url, mode, NULL, NULL, out, why);
}

mmq_err mmq_store_open_writer(const char *url, const mmq_store_watch *watch, mmq_store **out,
                              mmq_why *why)
{
    return open_store(url, MMQ_STORE_WRITE, NULL, watch, out, why);
}

mmq_err mmq_store_open_to_fill(const char *url, uint64_t id, mmq_store **out, mmq_why *why)
{
    return open_store(url, MMQ_STORE_WRITE, &id, NULL, out, why);
}

bool mmq_store_is_current(const mmq_store *store)
{
    return !store->is_earlier;
}

void mmq_store_hurry(mmq_store *store, unsigned silence_ms)
{
    if (store->engine->hurry != NULL) {
        store->engine->hurry(store, silence_ms);
    }
}

void mmq_store_close(mmq_store **store_p)
{
    mmq_store *store = *store_p;
    if (store == NULL) {
        return;
    }
    mmq_statements_finalize(store);
    store->engine->close(store);
    mmq_room_destroy(&store->old);
    mmq_room_destroy(&store->fresh);
    free(store->encoded);
    free(store->existing);
    free(store->block);
    free(store);
    *store_p = NULL;
}

/* ---- keeping ---------------------------------------------------------------------------- */

mmq_err mmq_store_size(mmq_store *store, mmq_store_bytes *out, mmq_why *why)
{
    CHECK(store->phase != MMQ_PHASE_IDLE);
    return store->engine->size(store, out, why);
}

mmq_err mmq_store_backup(const char *url, const char *file, const mmq_store_watch *watch,
                         mmq_kept *out, mmq_why *why)
{
    const mmq_engine *engine = find_engine(url, why);
    return engine != NULL ? engine->backup(url, file, watch, out, why) : MMQ_EINVAL;
}

mmq_err mmq_store_restore(const char *url, const char *file, bool aside,
                          const mmq_store_watch *watch, mmq_kept *out, mmq_why *why)
{
    const mmq_engine *engine = find_engine(url, why);
    return engine != NULL ? engine->restore(url, file, aside, watch, out, why) : MMQ_EINVAL;
}
