/* Mistakes in settings, found before anything is started. */
#include <string.h>

#include "lib/endpoints.h"
#include "lib/places.h"
#include "workers/targets/s3_credentials.h"
#include "workers/targets/target.h"
#include "workers/spool/server_id.h"
#include "workers/store/store.h"
#include "workers/workers.h"

static mmq_err check_upload(const mmq_worker_settings *settings, mmq_why *why)
{
    if (settings->upload == NULL) {
        return MMQ_OK;
    }
    mmq_target *target = mmq_target_new(settings->upload, &settings->s3, why);
    if (target == NULL) {
        return MMQ_EINVAL;
    }
    mmq_target_destroy(&target);
    return MMQ_OK;
}

static mmq_err check_server_id(const mmq_worker_settings *settings, mmq_why *why)
{
    enum { NO_FOLDER = -1 }; /* one that is given is not looked up */
    char id[MMQ_SERVER_ID_MAX + 1];
    return settings->server_id == NULL
               ? MMQ_OK
               : mmq_server_id_read(NO_FOLDER, settings->server_id, id, why);
}

static mmq_err check_store(const mmq_worker_settings *settings, mmq_why *why)
{
    return mmq_store_url_check(settings->store, why);
}

static mmq_err check_endpoints(const mmq_worker_settings *settings, mmq_why *why)
{
    return mmq_endpoints_list_check(settings->endpoint, why);
}

static mmq_err (*const checks[])(const mmq_worker_settings *settings, mmq_why *why) = {
    check_endpoints,
    check_store,
    check_upload,
    check_server_id,
};

mmq_err mmq_worker_settings_check(const mmq_worker_settings *settings, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    for (size_t i = 0; err == MMQ_OK && i < sizeof checks / sizeof *checks; i++) {
        err = checks[i](settings, why);
    }
    return err;
}

/* ---- a look from outside ----------------------------------------------------------------- */

void mmq_worker_settings_look(const mmq_worker_settings *settings, mmq_faults *faults)
{
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        mmq_why why = {""};
        mmq_faults_none(faults, checks[i](settings, &why), &why);
    }
}

void mmq_worker_upload_look(const char *url, mmq_faults *faults)
{
    mmq_why why = {""};
    mmq_err err = MMQ_OK;
    if (strncmp(url, "file:", 5) == 0) {
        err = mmq_place_folder(url + 5, true, &why);
    } else if (strncmp(url, "s3://", 5) == 0) {
        mmq_s3_keys keys = {0};
        err = mmq_s3_credentials_look(&keys, &why);
        mmq_s3_keys_clear(&keys);
    }
    if (err == MMQ_ENOTFOUND) {
        mmq_faults_warn(faults, "--upload: there are no AWS credentials: the machine's own service "
                                "will be asked for them");
    } else if (err != MMQ_OK) {
        mmq_faults_add(faults, "--upload: %s", why.text);
    }
}

/* The store of somebody who reads it is made by somebody else. */
void mmq_worker_store_look(const char *url, bool writes, mmq_faults *faults)
{
    mmq_why why = {""};
    mmq_err err = mmq_store_url_check(url, &why); /* else it is told by others */
    if (err == MMQ_OK) {
        err = mmq_store_place_check(url, writes, &why);
        if (err == MMQ_ENOTFOUND) {
            mmq_faults_warn(faults, "the write worker has not made the store yet: %s", why.text);
        } else if (err != MMQ_OK) {
            mmq_faults_add(faults, "the store: %s", why.text);
        }
    }
}
