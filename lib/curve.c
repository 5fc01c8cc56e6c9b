/* Both files are read at once and kept as text: a client connects again and again. */
#include "metricmq/curve.h"

#include <fcntl.h>
#include <string.h>

#include "lib/certificate.h"

mmq_err mmq_curve_load(const char *key_file, const char *server_file, mmq_curve *out, mmq_why *why)
{
    mmq_certificate own, server;
    *out = (mmq_curve){0};
    mmq_err err = mmq_certificate_read(AT_FDCWD, key_file, true, &own, why);
    if (err == MMQ_OK) {
        err = mmq_certificate_read(AT_FDCWD, server_file, false, &server, why);
    }
    if (err == MMQ_OK) {
        memcpy(out->public_key, own.public_key, sizeof out->public_key);
        memcpy(out->secret_key, own.secret_key, sizeof out->secret_key);
        memcpy(out->server_key, server.public_key, sizeof out->server_key);
    }
    mmq_certificate_wipe(&own);
    return err;
}

void mmq_curve_wipe(mmq_curve *curve)
{
    explicit_bzero(curve, sizeof *curve);
}
