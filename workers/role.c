/* A role owns two things: the worker, whose threads use the shared part, and the shared part,
 * which therefore is freed last. It is used by the one thread that made it. */
#include "workers/role.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/check.h"

struct mmq_role {
    mmq_worker *worker;
    void *shared; /* what the worker's threads share; may be NULL */
    void (*stop)(void *shared);
    const char *(*waits)(const void *shared);
    void (*shared_destroy)(void **shared);
};

mmq_role *mmq_role_new(const mmq_role_parts *parts, void **shared, mmq_why *why)
{
    mmq_role *role = calloc(1, sizeof *role);
    if (role == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a worker");
        return NULL;
    }
    mmq_worker_options options = parts->worker;
    options.shared = *shared;
    role->worker =
        parts->standby ? mmq_worker_new_standby(&options, why) : mmq_worker_new(&options, why);
    if (role->worker == NULL) {
        free(role);
        return NULL;
    }
    role->shared = *shared;
    role->stop = parts->stop;
    role->waits = parts->waits;
    role->shared_destroy = parts->shared_destroy;
    *shared = NULL;
    return role;
}

bool mmq_role_healthy(mmq_role *role, mmq_why *why)
{
    CHECK(role != NULL);
    return !mmq_worker_failed(role->worker, why);
}

void mmq_role_vitals(const mmq_role *role, int64_t now_ns, mmq_vitals *out)
{
    mmq_worker_vitals(role->worker, now_ns, out);
    const char *what = role->waits != NULL ? role->waits(role->shared) : NULL;
    if (out->readiness == MMQ_UNREADY && what != NULL) {
        out->readiness = MMQ_READY; /* to take over: that is what it is for */
        snprintf(out->state, sizeof out->state, "%s", what);
    }
}

void mmq_role_destroy(mmq_role **role_p)
{
    mmq_role *role = *role_p;
    if (role == NULL) {
        return;
    }
    if (role->stop != NULL) {
        role->stop(role->shared);
    }
    mmq_worker_destroy(&role->worker);
    if (role->shared_destroy != NULL) {
        role->shared_destroy(&role->shared);
    }
    free(role);
    *role_p = NULL;
}
