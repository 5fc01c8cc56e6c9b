/* s3://BUCKET[/PREFIX]: an object is one of a store of S3. All that is kept between deliveries is
 * in the store: connections, credentials and what was learnt of its clock. */
#include <stdlib.h>
#include <string.h>

#include "workers/targets/s3_store.h"
#include "workers/targets/s3_upload.h"
#include "workers/targets/target.h"

struct s3_target {
    mmq_target base;
    mmq_s3_store *store;
};

static mmq_target *s3_target_new(const char *rest, const mmq_s3_settings *settings, mmq_why *why)
{
    struct s3_target *target = calloc(1, sizeof *target);
    if (target == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for an upload target");
        return NULL;
    }
    target->store = mmq_s3_store_new(rest, settings, why);
    if (target->store == NULL) {
        free(target);
        return NULL;
    }
    target->base = (mmq_target){&mmq_s3_target, target->store->address.prefix};
    return &target->base;
}

static void s3_target_destroy(mmq_target **target)
{
    struct s3_target *gone = (struct s3_target *)*target;
    mmq_s3_store_destroy(&gone->store);
    free(gone);
    *target = NULL;
}

/* What the session's failure is to the caller. */
static mmq_err say(const mmq_s3_session *session, mmq_err err, mmq_setback *setback, mmq_why *why)
{
    if (err == MMQ_OK) {
        return MMQ_OK;
    }
    if (session->stopped != MMQ_OK) {
        return mmq_fail(why, session->stopped, "%s", session->stopped_why.text);
    }
    *setback = session->verdict.setback;
    return mmq_fail(why, err, "%s", session->verdict.why.text);
}

static mmq_err s3_target_put(mmq_target *target, const mmq_object *object, const mmq_watch *watch,
                             mmq_setback *setback, mmq_why *why)
{
    mmq_s3_session session;
    mmq_err err =
        mmq_s3_session_begin(&session, ((const struct s3_target *)target)->store, watch, why);
    if (err == MMQ_OK) {
        err = say(&session, mmq_s3_upload(&session, object), setback, why);
    }
    mmq_s3_session_end(&session);
    return err;
}

struct sweeping {
    bool (*is_wanted)(void *context, const char *key);
    void *context;
};

static bool is_not_wanted(void *context, const char *key)
{
    const struct sweeping *sweeping = context;
    return !sweeping->is_wanted(sweeping->context, key);
}

static mmq_err s3_target_sweep(mmq_target *target, const char *prefix,
                               bool (*is_wanted)(void *context, const char *key), void *context,
                               const mmq_watch *watch, mmq_why *why)
{
    struct sweeping sweeping = {is_wanted, context};
    mmq_s3_session session;
    mmq_setback setback;
    mmq_err err =
        mmq_s3_session_begin(&session, ((const struct s3_target *)target)->store, watch, why);
    if (err == MMQ_OK) {
        err = mmq_s3_leftovers_abort(&session, prefix, is_not_wanted, &sweeping);
        err = say(&session, err, &setback, why);
    }
    mmq_s3_session_end(&session);
    return err;
}

const mmq_target_kind mmq_s3_target = {
    .scheme = "s3://",
    .make = s3_target_new,
    .put = s3_target_put,
    .sweep = s3_target_sweep,
    .destroy = s3_target_destroy,
};
