/* A look at settings must not take a port or a file from a broker that runs with them. So TCP
 * addresses are bound with a port of the kernel's choice, which tells whether the address is this
 * machine's; the port itself only needs the right to it, which bind without listen shows: a socket
 * that does not listen keeps none from it that asks with SO_REUSEADDR, as libzmq does. Of a path
 * only the folder is looked at, since binding removes what is there. */
#include "broker/settings.h"

#include <czmq.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/keys.h"
#include "lib/dealer.h"
#include "lib/endpoints.h"
#include "lib/files.h"
#include "lib/places.h"
#include "lib/process.h"

enum { ENDPOINT_MAX = 256 };

/* libzmq would only say that an argument is wrong. */
static bool has_form(const char *endpoint)
{
    const char *address = strstr(endpoint, "://");
    return address && (strncmp(endpoint, "tcp://", 6) != 0 || strchr(address + 3, ':'));
}

mmq_err mmq_broker_endpoint_check(const mmq_broker_settings *settings, const char *endpoint,
                                  mmq_why *why)
{
    if (!has_form(endpoint)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "cannot bind %.100s: want tcp://ADDRESS:PORT or ipc://PATH", endpoint);
    }
    if (settings->curve != NULL || settings->insecure || mmq_endpoint_is_local(endpoint)) {
        return MMQ_OK;
    }
    return mmq_fail(why, MMQ_EINVAL,
                    "%.100s can be reached from other machines: want --curve DIR (keys, see "
                    "`metricmq keygen --help`), or --insecure",
                    endpoint);
}

/* ---- a look from outside ----------------------------------------------------------------- */

static mmq_err try_bind(const char *endpoint, mmq_why *why)
{
    const sigset_t before = mmq_signals_block();
    zsock_t *socket = zsock_new(ZMQ_ROUTER);
    mmq_signals_restore(&before);
    if (socket == NULL) {
        return MMQ_OK; /* nothing can be said against the endpoint */
    }
    zsock_set_linger(socket, 0);
    zsock_set_ipv6(socket, strchr(endpoint, '[') != NULL);
    mmq_err err = zmq_bind(zsock_resolve(socket), endpoint) == 0
                      ? MMQ_OK
                      : mmq_fail(why, MMQ_EINVAL, "%s", zmq_strerror(errno));
    zsock_destroy(&socket);
    return err;
}

/* Whether we may have ports of that number at all. */
static mmq_err try_port(const char *text, mmq_why *why)
{
    char *end;
    const int on = 1;
    const unsigned long port = strtoul(text, &end, 10);
    if (strcmp(text, "*") == 0) {
        return MMQ_OK;
    }
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || port > UINT16_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "a port is a number up to 65535, or *");
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool denied =
        fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (const struct sockaddr *)(const void *)&address, sizeof address) != 0 &&
        errno == EACCES;
    mmq_fd_close(&fd);
    return denied ? mmq_fail(why, MMQ_EINVAL, "no right to port %lu", port) : MMQ_OK;
}

static mmq_err try_tcp(const char *endpoint, mmq_why *why)
{
    char other[ENDPOINT_MAX];
    const char *port = strrchr(endpoint, ':') + 1;
    const int size = (int)(port - endpoint);
    if (strlen(endpoint) >= sizeof other) {
        return mmq_fail(why, MMQ_EINVAL, "the endpoint is too long");
    }
    snprintf(other, sizeof other, "%.*s*", size, endpoint);
    mmq_err err = try_port(port, why);
    return err != MMQ_OK ? err : try_bind(other, why);
}

static mmq_err try_endpoint(const char *endpoint, mmq_why *why)
{
    if (strncmp(endpoint, "tcp://", 6) == 0) {
        return try_tcp(endpoint, why);
    }
    const char *path = strncmp(endpoint, "ipc://", 6) == 0 ? endpoint + 6 : NULL;
    if (path != NULL && *path != '\0' && *path != '@' && *path != '*') {
        return mmq_place_beside(path, why);
    }
    return try_bind(endpoint, why);
}

static void look_at_endpoint(const mmq_broker_settings *settings, const char *option,
                             const char *endpoint, mmq_faults *faults)
{
    mmq_why why = {""};
    if (mmq_faults_none(faults, mmq_broker_endpoint_check(settings, endpoint, &why), &why) &&
        try_endpoint(endpoint, &why) != MMQ_OK) {
        mmq_faults_add(faults, "--%s %.100s cannot be bound: %s", option, endpoint, why.text);
    }
}

void mmq_broker_settings_check(const mmq_broker_settings *settings, mmq_faults *faults)
{
    mmq_why why = {""};
    look_at_endpoint(settings, "bind", settings->bind, faults);
    look_at_endpoint(settings, "bind-workers", settings->bind_workers, faults);
    if (strcmp(settings->bind, settings->bind_workers) == 0 &&
        strchr(settings->bind, '*') == NULL) {
        mmq_faults_add(faults, "--bind and --bind-workers are the same endpoint");
    }
    if (settings->curve != NULL) {
        mmq_faults_none(faults, mmq_bus_keys_check(settings->curve, &why), &why);
    }
}
