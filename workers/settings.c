/* Mistakes in settings, found before anything is started. */
#include "lib/endpoints.h"
#include "workers/targets/target.h"
#include "workers/spool/server_id.h"
#include "workers/store/store.h"
#include "workers/workers.h"

static mmq_err check_upload(const mmq_worker_settings *settings, mmq_why *why)
{
    mmq_target *target = mmq_target_new(settings->upload, &settings->s3, why);
    if (target == NULL) {
        return MMQ_EINVAL;
    }
    mmq_target_destroy(&target);
    return MMQ_OK;
}

static mmq_err check_server_id(const char *given, mmq_why *why)
{
    enum { NO_FOLDER = -1 }; /* one that is given is not looked up */
    char id[MMQ_SERVER_ID_MAX + 1];
    return mmq_server_id_read(NO_FOLDER, given, id, why);
}

static mmq_err check_endpoints(const char *list, mmq_why *why)
{
    mmq_endpoints endpoints;
    mmq_err err = mmq_endpoints_split(list, &endpoints, why);
    if (err == MMQ_OK) {
        err = mmq_endpoints_check(&endpoints, why);
        mmq_endpoints_clear(&endpoints);
    }
    return err;
}

mmq_err mmq_worker_settings_check(const mmq_worker_settings *settings, mmq_why *why)
{
    mmq_err err = check_endpoints(settings->endpoint, why);
    if (err == MMQ_OK) {
        err = mmq_store_url_check(settings->store, why);
    }
    if (err == MMQ_OK && settings->upload != NULL) {
        err = check_upload(settings, why);
    }
    if (err == MMQ_OK && settings->server_id != NULL) {
        err = check_server_id(settings->server_id, why);
    }
    return err;
}
