/* A target that does what a test says, and counts. To be included behind spool_world.h. */
#ifndef MMQ_TEST_TARGET_SCRIPT_H
#define MMQ_TEST_TARGET_SCRIPT_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/clock.h"
#include "workers/targets/target.h"

enum { SCRIPT_KEYS = 256 };

static struct {
    pthread_mutex_t mutex; /* guards keys and their counts */
    char keys[SCRIPT_KEYS][MMQ_OBJECT_KEY_MAX + 1];
    unsigned delivered[SCRIPT_KEYS];
    unsigned count;                 /* of keys */
    atomic_uint puts, sweeps;       /* that were begun */
    atomic_uint under_way, most;    /* puts at once */
    atomic_uint good_from;          /* puts from this one on succeed; 0: as `failing` says */
    atomic_int failing;             /* a mmq_setback_kind + 1; 0: puts succeed */
    _Atomic int64_t retry_after_ns; /* of failures */
    atomic_bool stuck;              /* puts go on until the watch ends them, or this is false */
    atomic_bool sweep_fails;
    _Atomic(const char *) stuck_key; /* if set: only puts of a key that ends so are stuck */
    char wanted[MMQ_OBJECT_KEY_MAX + 1];
    atomic_bool was_wanted, other_was_wanted; /* what a sweep was told of `wanted` and of another */
    char swept[MMQ_OBJECT_KEY_MAX + 1];       /* the prefix */
} script = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void script_reset(void)
{
    script.count = 0;
    script.wanted[0] = script.swept[0] = '\0';
    atomic_store(&script.puts, 0);
    atomic_store(&script.sweeps, 0);
    atomic_store(&script.most, 0);
    atomic_store(&script.good_from, 0);
    atomic_store(&script.failing, 0);
    atomic_store(&script.retry_after_ns, 0);
    atomic_store(&script.stuck, false);
    atomic_store(&script.sweep_fails, false);
    atomic_store(&script.stuck_key, NULL);
}

static void script_count(const char *key)
{
    unsigned i = 0;
    pthread_mutex_lock(&script.mutex);
    while (i < script.count && strcmp(script.keys[i], key) != 0) {
        i++;
    }
    assert_true(i < SCRIPT_KEYS);
    if (i == script.count) {
        (void)snprintf(script.keys[i], sizeof script.keys[i], "%s", key);
        script.delivered[i] = 0;
        script.count++;
    }
    script.delivered[i]++;
    pthread_mutex_unlock(&script.mutex);
}

static unsigned script_delivered(void)
{
    pthread_mutex_lock(&script.mutex);
    const unsigned count = script.count;
    pthread_mutex_unlock(&script.mutex);
    return count;
}

static bool script_is_stuck(const char *key)
{
    const char *end = atomic_load(&script.stuck_key);
    return atomic_load(&script.stuck) && (end == NULL || strstr(key, end) != NULL);
}

static mmq_err script_work(const mmq_object *object, const mmq_watch *watch, mmq_setback *setback,
                           mmq_why *reason)
{
    mmq_err err = watch->tick(watch->context, "upload", 0, object->sums->size_bytes, reason);
    while (err == MMQ_OK && script_is_stuck(object->key)) {
        (void)poll(NULL, 0, 2);
        err = watch->tick(watch->context, "upload", 1, object->sums->size_bytes, reason);
    }
    const unsigned good_from = atomic_load(&script.good_from);
    const bool good = good_from > 0 && atomic_load(&script.puts) >= good_from;
    const int failing = good ? 0 : atomic_load(&script.failing);
    if (err != MMQ_OK) {
        return err;
    }
    if (failing > 0) {
        *setback =
            (mmq_setback){(mmq_setback_kind)(failing - 1), atomic_load(&script.retry_after_ns)};
        return mmq_fail(reason, MMQ_EUNAVAILABLE, "the store says no: \xff\n");
    }
    script_count(object->key);
    return MMQ_OK;
}

static mmq_err script_put(mmq_target *target, const mmq_object *object, const mmq_watch *watch,
                          mmq_setback *setback, mmq_why *reason)
{
    (void)target;
    atomic_fetch_add(&script.puts, 1);
    const unsigned now = atomic_fetch_add(&script.under_way, 1) + 1;
    unsigned most = atomic_load(&script.most);
    while (now > most && !atomic_compare_exchange_weak(&script.most, &most, now)) {
    }
    mmq_err err = script_work(object, watch, setback, reason);
    atomic_fetch_sub(&script.under_way, 1);
    return err;
}

static mmq_err script_sweep(mmq_target *target, const char *prefix,
                            bool (*is_wanted)(void *asker, const char *key), void *asker,
                            const mmq_watch *watch, mmq_why *reason)
{
    (void)target;
    mmq_err err = watch->tick(watch->context, "sweep", 0, 0, reason);
    if (err == MMQ_OK && atomic_load(&script.sweep_fails)) {
        err = mmq_fail(reason, MMQ_EUNAVAILABLE, "no list today");
    }
    if (err == MMQ_OK) {
        (void)snprintf(script.swept, sizeof script.swept, "%s", prefix);
        atomic_store(&script.was_wanted, is_wanted(asker, script.wanted));
        atomic_store(&script.other_was_wanted, is_wanted(asker, "metric_dumps/another"));
    }
    atomic_fetch_add(&script.sweeps, 1);
    return err;
}

static void script_destroy(mmq_target **target)
{
    *target = NULL;
}

static const mmq_target_kind script_kind = {
    .scheme = "script:", .put = script_put, .sweep = script_sweep, .destroy = script_destroy};
static mmq_target script_target = {&script_kind, ""};

#endif
