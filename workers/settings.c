/* Mistakes in settings, found before anything is started. */
#include <string.h>

#include "lib/dealer.h"
#include "workers/delivery.h"
#include "workers/server_id.h"
#include "workers/store/store.h"
#include "workers/workers.h"

static mmq_err check_upload(const char *url, mmq_why *why)
{
    mmq_target *target = mmq_target_new(url, why);
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

mmq_err mmq_worker_settings_check(const mmq_worker_settings *settings, mmq_why *why)
{
    const bool own = strncmp(settings->endpoint, "inproc:", 7) == 0; /* not anybody's choice */
    mmq_err err = own ? MMQ_OK : mmq_endpoint_check(settings->endpoint, why);
    if (err == MMQ_OK) {
        err = mmq_store_url_check(settings->store, why);
    }
    if (err == MMQ_OK && settings->upload != NULL) {
        err = check_upload(settings->upload, why);
    }
    if (err == MMQ_OK && settings->server_id != NULL) {
        err = check_server_id(settings->server_id, why);
    }
    return err;
}
