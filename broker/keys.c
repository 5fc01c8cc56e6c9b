/* Lists that are read again are read whole by the thread that asks for it, and left in `offered`;
 * the broker's thread puts them in force between two messages, so that the core and the ZAP handler
 * always judge by the same lists. A folder that cannot be read whole changes nothing: half a list
 * would lock out the other half, and an operator's slip must not.
 *
 * The broker's own pair is read once: its peers know its public key. */
#include "broker/keys.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/zap.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/files.h"
#include "lib/log.h"

struct mmq_bus_keys {
    char *folder;
    mmq_zap *zap;
    mmq_allow *allow;             /* in force */
    _Atomic(mmq_allow *) offered; /* is to take its place; NULL: nothing is */
    int offer;                    /* eventfd: there is an offer */
};

static mmq_err read_pair(const char *folder, mmq_curve *out, mmq_why *why)
{
    mmq_certificate own = {0};
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mmq_err err = fd >= 0 ? mmq_certificate_read(fd, MMQ_SERVER_SECRET, true, &own, why)
                          : mmq_fail(why, MMQ_EINVAL, "there is no such folder");
    mmq_fd_close(&fd);
    if (err == MMQ_OK) {
        memcpy(out->public_key, own.public_key, sizeof out->public_key);
        memcpy(out->secret_key, own.secret_key, sizeof out->secret_key);
    }
    mmq_certificate_wipe(&own);
    return err;
}

static bool init_keys(mmq_bus_keys *keys, const char *folder, mmq_curve *pair, mmq_why *why)
{
    keys->offer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    keys->folder = strdup(folder);
    if (keys->offer < 0 || keys->folder == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory or descriptors left");
        return false;
    }
    return read_pair(folder, pair, why) == MMQ_OK &&
           (keys->allow = mmq_allow_load(folder, why)) != NULL &&
           (keys->zap = mmq_zap_new(why)) != NULL;
}

mmq_bus_keys *mmq_bus_keys_new(const char *folder, mmq_curve *pair, mmq_why *why)
{
    mmq_why reason = {"no memory"};
    mmq_bus_keys *keys = calloc(1, sizeof *keys);
    *pair = (mmq_curve){0};
    if (keys == NULL || !init_keys(keys, folder, pair, &reason)) {
        (void)mmq_fail(why, MMQ_EINVAL, "--curve %.80s: %.160s", folder, reason.text);
        mmq_curve_wipe(pair);
        mmq_bus_keys_destroy(&keys);
    }
    return keys;
}

mmq_err mmq_bus_keys_check(const char *folder, mmq_why *why)
{
    mmq_why reason = {"no memory"};
    mmq_curve pair = {0};
    mmq_err err = read_pair(folder, &pair, &reason);
    mmq_curve_wipe(&pair);
    mmq_allow *allow = err == MMQ_OK ? mmq_allow_load(folder, &reason) : NULL;
    const bool good = allow != NULL;
    mmq_allow_destroy(&allow);
    return good ? MMQ_OK : mmq_fail(why, MMQ_EINVAL, "--curve %.80s: %.160s", folder, reason.text);
}

void mmq_bus_keys_destroy(mmq_bus_keys **keys_p)
{
    mmq_bus_keys *keys = *keys_p;
    if (keys == NULL) {
        return;
    }
    mmq_allow *offered = atomic_exchange(&keys->offered, NULL);
    mmq_allow_destroy(&offered);
    mmq_allow_destroy(&keys->allow);
    mmq_zap_destroy(&keys->zap);
    mmq_fd_close(&keys->offer);
    free(keys->folder);
    free(keys);
    *keys_p = NULL;
}

const mmq_allow *mmq_bus_keys_allow(const mmq_bus_keys *keys)
{
    return keys->allow;
}

void mmq_bus_keys_descriptors(const mmq_bus_keys *keys, int out[MMQ_KEYS_DESCRIPTORS])
{
    out[0] = keys->offer;
    out[1] = mmq_zap_descriptor(keys->zap);
}

static void take_offer(mmq_bus_keys *keys, mmq_core *core)
{
    uint64_t count;
    (void)!read(keys->offer, &count, sizeof count); /* before the offer is taken: none is missed */
    mmq_allow *old = keys->allow;
    mmq_allow *offered = atomic_exchange(&keys->offered, NULL);
    if (offered == NULL) {
        return;
    }
    keys->allow = offered;
    mmq_core_set_allow(core, offered, mmq_now_ns());
    mmq_allow_destroy(&old);
    mmq_log(MMQ_INFO, "the lists of keys were read again",
            MMQ_I("clients", mmq_allow_count(offered, false)),
            MMQ_I("workers", mmq_allow_count(offered, true)));
}

bool mmq_bus_keys_serve(mmq_bus_keys *keys, mmq_core *core)
{
    take_offer(keys, core);
    return mmq_zap_serve(keys->zap, keys->allow, mmq_now_ns());
}

mmq_err mmq_bus_keys_reload(mmq_bus_keys *keys, mmq_why *why)
{
    const uint64_t one = 1;
    mmq_allow *allow = mmq_allow_load(keys->folder, why);
    if (allow == NULL) {
        return MMQ_EINVAL;
    }
    mmq_allow *unseen = atomic_exchange(&keys->offered, allow);
    mmq_allow_destroy(&unseen);
    CHECK(write(keys->offer, &one, sizeof one) == sizeof one);
    return MMQ_OK;
}
