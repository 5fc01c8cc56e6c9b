/* The adapter's socket is made here and handed to libmicrohttpd, which would neither say why an
 * address cannot be had nor take a name. */
#include "clients/http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/places.h"

enum {
    HOST_MAX = 256,
    PORT_MAX = 6,
    /* Bytes of an answer that the kernel takes before the network wants them. It would take 4 MiB
     * for each reader that does not read. */
    UNSENT_MAX = 64 * 1024,
};

static bool split_address(const char *address, char host[HOST_MAX], char port[PORT_MAX])
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address) {
        return false;
    }
    size_t size = (size_t)(colon - address);
    const char *start = address;
    if (address[0] == '[' && size >= 2 && colon[-1] == ']') {
        start++;
        size -= 2;
    } else if (memchr(address, ':', size)) {
        return false; /* IPv6 wants its brackets: which colon is the port's? */
    }
    if (size == 0 || size >= HOST_MAX) {
        return false;
    }
    memcpy(host, start, size);
    host[size] = '\0';
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits >= PORT_MAX || colon[1 + digits] != '\0') {
        return false;
    }
    memcpy(port, colon + 1, digits + 1);
    return strtoul(port, NULL, 10) <= UINT16_MAX; /* getaddrinfo would take its low 16 bits */
}

/* `listens`: with SO_REUSEADDR a socket that does not listen keeps the address from nobody. */
static int bind_socket(const struct addrinfo *info, bool listens)
{
    const int on = 1, unsent = UNSENT_MAX; /* what is accepted inherits it */
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    bool v6 = info->ai_family == AF_INET6;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent) ||
        bind(fd, info->ai_addr, info->ai_addrlen) || (listens && listen(fd, SOMAXCONN))) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static bool print_url(mmq_listener *listener, bool tls)
{
    struct sockaddr_storage *bound = &listener->bound;
    socklen_t size = sizeof *bound;
    char host[64], port[PORT_MAX];
    if (getsockname(listener->descriptor, (struct sockaddr *)bound, &size) ||
        getnameinfo((struct sockaddr *)bound, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        return false;
    }
    bool v6 = bound->ss_family == AF_INET6;
    return snprintf(listener->url, MMQ_HTTP_URL_MAX, "http%s://%s%s%s:%s", tls ? "s" : "",
                    v6 ? "[" : "", host, v6 ? "]" : "", port) < MMQ_HTTP_URL_MAX;
}

/* The caller frees *found. */
static mmq_err resolve(const char *address, struct addrinfo **found, mmq_why *why)
{
    char host[HOST_MAX], port[PORT_MAX];
    if (!split_address(address, host, port)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "cannot listen on %s: not HOST:PORT, [IPv6]:PORT or unix:PATH", address);
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int error = getaddrinfo(host, port, &hints, found);
    return error
               ? mmq_fail(why, MMQ_EINVAL, "cannot listen on %s: %s", address, gai_strerror(error))
               : MMQ_OK;
}

static mmq_err listen_tcp(mmq_listener *listener, const char *address, bool tls, mmq_why *why)
{
    struct addrinfo *found = NULL;
    mmq_err err = resolve(address, &found, why);
    if (err != MMQ_OK) {
        return err;
    }
    listener->descriptor = bind_socket(found, true);
    freeaddrinfo(found);
    return listener->descriptor >= 0 && print_url(listener, tls)
               ? MMQ_OK
               : mmq_fail(why, MMQ_EIO, "cannot listen on %s: %s", address, strerror(errno));
}

/* ---- unix sockets ----------------------------------------------------------------------- */

/* A socket file that refuses connections was left behind by who has ended. */
static bool is_stale(const struct sockaddr_un *name)
{
    struct stat status;
    if (lstat(name->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale = probe >= 0 &&
                 connect(probe, (const struct sockaddr *)(const void *)name, sizeof *name) != 0 &&
                 errno == ECONNREFUSED;
    if (probe >= 0) {
        close(probe);
    }
    return stale;
}

/* The file is made with no more rights than it is to have. */
static bool bind_file(int fd, const struct sockaddr_un *name)
{
    const struct sockaddr *address = (const struct sockaddr *)(const void *)name;
    const mode_t mode = S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP;
    if (fchmod(fd, mode) != 0) {
        return false;
    }
    int rc = bind(fd, address, sizeof *name);
    if (rc != 0 && errno == EADDRINUSE && is_stale(name) && unlink(name->sun_path) == 0) {
        rc = bind(fd, address, sizeof *name);
    }
    return rc == 0 && chmod(name->sun_path, mode) == 0 && listen(fd, SOMAXCONN) == 0;
}

static mmq_err listen_unix(mmq_listener *listener, const char *path, mmq_why *why)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct stat status;
    if (*path == '\0' || strlen(path) >= sizeof name.sun_path) {
        return mmq_fail(why, MMQ_EINVAL, "cannot listen on unix:%s: a path has 1 to %zu bytes",
                        path, sizeof name.sun_path - 1);
    }
    memcpy(name.sun_path, path, strlen(path) + 1);
    snprintf(listener->url, sizeof listener->url, "unix:%s", path);
    listener->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->descriptor < 0 || !bind_file(listener->descriptor, &name) ||
        stat(path, &status) != 0) {
        return mmq_fail(why, MMQ_EIO, "cannot listen on unix:%s: %s", path, strerror(errno));
    }
    listener->bound.ss_family = AF_UNIX;
    listener->device = status.st_dev;
    listener->inode = status.st_ino;
    return MMQ_OK;
}

static mmq_err check_tcp(const char *address, struct sockaddr_storage *bound, mmq_why *why)
{
    struct addrinfo *found = NULL;
    mmq_err err = resolve(address, &found, why);
    if (err != MMQ_OK) {
        return err;
    }
    memcpy(bound, found->ai_addr, found->ai_addrlen);
    const int fd = bind_socket(found, false);
    const int error = fd < 0 && errno != EADDRINUSE ? errno : 0;
    freeaddrinfo(found);
    if (fd >= 0) {
        close(fd);
    }
    return error ? mmq_fail(why, MMQ_EINVAL, "cannot listen on %s: %s", address, strerror(error))
                 : MMQ_OK;
}

static mmq_err check_unix(const char *path, struct sockaddr_storage *bound, mmq_why *why)
{
    struct stat status;
    mmq_why reason = {""};
    if (*path == '\0' || strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        return mmq_fail(why, MMQ_EINVAL, "cannot listen on unix:%s: a path has 1 to %zu bytes",
                        path, sizeof((struct sockaddr_un *)0)->sun_path - 1);
    }
    mmq_err err = mmq_place_beside(path, &reason);
    if (err == MMQ_OK && lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
        err = mmq_fail(&reason, MMQ_EINVAL, "something that is no socket stands there");
    }
    bound->ss_family = AF_UNIX;
    return err ? mmq_fail(why, err, "cannot listen on unix:%.100s: %.120s", path, reason.text)
               : MMQ_OK;
}

mmq_err mmq_listen_check(const char *address, struct sockaddr_storage *bound, mmq_why *why)
{
    *bound = (struct sockaddr_storage){0};
    return strncmp(address, "unix:", 5) == 0 ? check_unix(address + 5, bound, why)
                                             : check_tcp(address, bound, why);
}

mmq_err mmq_listen(mmq_listener *listener, const char *address, bool tls, mmq_why *why)
{
    static const char scheme[] = "unix:";
    const size_t size = sizeof scheme - 1;
    *listener = (mmq_listener){.descriptor = -1};
    mmq_err err = strncmp(address, scheme, size) == 0 ? listen_unix(listener, address + size, why)
                                                      : listen_tcp(listener, address, tls, why);
    if (err != MMQ_OK) {
        mmq_listener_close(listener);
    }
    return err;
}

void mmq_listener_close(mmq_listener *listener)
{
    struct stat status;
    const char *path = strncmp(listener->url, "unix:", 5) == 0 ? listener->url + 5 : NULL;
    if (listener->descriptor < 0) {
        return;
    }
    if (listener->inode != 0 && path != NULL && lstat(path, &status) == 0 &&
        status.st_dev == listener->device && status.st_ino == listener->inode) {
        (void)unlink(path);
    }
    close(listener->descriptor);
    listener->descriptor = -1;
}
