/* The adapter's socket is made here and handed to libmicrohttpd, which would neither say why an
 * address cannot be had nor take a name. */
#include "clients/http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOST_MAX = 256, PORT_MAX = 6 };

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

static int bind_socket(const struct addrinfo *info)
{
    const int on = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    bool v6 = info->ai_family == AF_INET6;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)) ||
        bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, SOMAXCONN)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static bool print_url(int fd, char url[MMQ_HTTP_URL_MAX])
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    char host[64], port[PORT_MAX];
    if (getsockname(fd, (struct sockaddr *)&bound, &size) ||
        getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        return false;
    }
    bool v6 = bound.ss_family == AF_INET6;
    return snprintf(url, MMQ_HTTP_URL_MAX, "http://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "",
                    port) < MMQ_HTTP_URL_MAX;
}

int mmq_listen(const char *address, char url[MMQ_HTTP_URL_MAX], mmq_why *why)
{
    char host[HOST_MAX], port[PORT_MAX];
    if (!split_address(address, host, port)) {
        (void)mmq_fail(why, MMQ_EINVAL, "cannot listen on %s: not HOST:PORT or [IPv6]:PORT",
                       address);
        return -1;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error) {
        (void)mmq_fail(why, MMQ_EINVAL, "cannot listen on %s: %s", address, gai_strerror(error));
        return -1;
    }
    int fd = bind_socket(found);
    if (fd < 0 || !print_url(fd, url)) {
        (void)mmq_fail(why, MMQ_EIO, "cannot listen on %s: %s", address, strerror(errno));
        if (fd >= 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}
