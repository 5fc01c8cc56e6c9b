/* Waits are uniform up to their bound ("full jitter"), so that jobs that failed together do not
 * come back together, and never so short that they would be a hot loop. */
#include "workers/spool/delivery.h"

#include <stdio.h>

#include "lib/clock.h"
#include "lib/digest.h"
#include "lib/files.h"
#include "lib/log.h"

#define LEAST_NS    (20 * MMQ_NS_PER_MS)
#define FIRST_NS    (100 * MMQ_NS_PER_MS)
#define MOST_NS     (300 * MMQ_NS_PER_S)
#define SETTINGS_NS (60 * MMQ_NS_PER_S)

mmq_err mmq_job_deliver(mmq_job **job, mmq_target *target, const mmq_watch *watch,
                        mmq_setback *setback, mmq_why *why)
{
    const mmq_manifest *manifest = mmq_job_manifest(*job);
    int fd = -1;
    *setback = (mmq_setback){MMQ_SETBACK_PASSING, 0};
    mmq_err err = mmq_job_open(*job, &fd, why);
    if (err == MMQ_OK) {
        const mmq_object object = {manifest->key, manifest->uid, fd, &manifest->sums};
        err = mmq_target_put(target, &object, watch, setback, why);
        mmq_fd_close(&fd);
    }
    if (err == MMQ_OK) {
        mmq_log(MMQ_INFO, "dump delivered", MMQ_S("key", manifest->key),
                MMQ_I("bytes", manifest->sums.size_bytes));
        mmq_why left = {""};
        mmq_job_note_delivered(*job);
        if (mmq_job_remove(job, &left) != MMQ_OK) { /* it will be delivered again, to one object */
            mmq_log(MMQ_WARN, "delivered dump stays in the spool", MMQ_S("error", left.text));
        }
        return err;
    }
    mmq_error_clean(why);
    if (err == MMQ_ECORRUPT) {
        mmq_job_quarantine(job, why);
    }
    return err;
}

/* Uniform between the two. */
static int64_t random_between(int64_t least, int64_t most)
{
    uint64_t random;
    mmq_random(&random, sizeof random);
    return least + (int64_t)(random % (uint64_t)(most - least + 1));
}

static int64_t passing_ns(int64_t asked_ns, int64_t attempts)
{
    int64_t most_ns = FIRST_NS;
    for (int64_t i = 1; i < attempts && most_ns < MOST_NS; i++) {
        most_ns *= 2;
    }
    const int64_t wait_ns = random_between(LEAST_NS, most_ns < MOST_NS ? most_ns : MOST_NS);
    asked_ns = asked_ns < MOST_NS ? asked_ns : MOST_NS;
    return wait_ns > asked_ns ? wait_ns : asked_ns;
}

int64_t mmq_delivery_wait_ns(const mmq_setback *setback, int64_t attempts)
{
    switch (setback->kind) {
    case MMQ_SETBACK_SETTINGS:
        return random_between(SETTINGS_NS, MOST_NS);
    case MMQ_SETBACK_REFUSED:
        return MMQ_NEVER_NS;
    case MMQ_SETBACK_PASSING:
    default:
        return passing_ns(setback->wait_ns, attempts);
    }
}

int64_t mmq_delivery_failed(mmq_job *job, const mmq_setback *setback, const mmq_why *reason)
{
    static const mmq_job_state states[] = {
        [MMQ_SETBACK_PASSING] = MMQ_JOB_WAITING,
        [MMQ_SETBACK_SETTINGS] = MMQ_JOB_SETTINGS,
        [MMQ_SETBACK_REFUSED] = MMQ_JOB_HELD,
    };
    const mmq_manifest *manifest = mmq_job_manifest(job);
    const mmq_job_state state = states[setback->kind];
    const int64_t wait_ns = mmq_delivery_wait_ns(setback, manifest->attempts + 1);
    mmq_why saved = {""};
    if (mmq_job_failed(job, state, wait_ns, reason, &saved) != MMQ_OK) {
        mmq_log(MMQ_WARN, "cannot count a failed delivery", MMQ_S("error", saved.text));
    }
    mmq_log(MMQ_WARN, "delivery failed", MMQ_S("key", manifest->key), MMQ_S("reason", reason->text),
            MMQ_S("state", mmq_job_state_name(state)), MMQ_I("attempts", manifest->attempts),
            MMQ_I("wait_ms", wait_ns == MMQ_NEVER_NS ? -1 : wait_ns / MMQ_NS_PER_MS));
    return wait_ns;
}

int64_t mmq_delivery_due_ns(const mmq_manifest *manifest)
{
    if (manifest->state == MMQ_JOB_HELD) {
        return MMQ_NEVER_NS;
    }
    const int64_t left_ms = manifest->next_attempt_ms - mmq_wall_ms();
    if (left_ms <= 0) {
        return 0;
    }
    return left_ms < MOST_NS / MMQ_NS_PER_MS ? left_ms * MMQ_NS_PER_MS : MOST_NS;
}
