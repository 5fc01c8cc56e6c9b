/* A Host is HOST or HOST:PORT; HOST is a name, an IPv4 address or an IPv6 address in brackets.
 * Names differ neither in case nor by a dot at their end. Addresses are compared as numbers, in the
 * forms that browsers send: others (127.1, 0x7f000001) are names that nobody has.
 *
 * Over a unix socket no browser comes, so there every Host is ours, unless names are configured:
 * then a proxy in front hands on what its clients send. */
#include "clients/http/hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/fields.h"
#include "lib/uid.h"

enum { NAME_MAX_BYTES = 255 };

/* ---- addresses -------------------------------------------------------------------------- */

static bool read_address(const mmq_slice *text, struct sockaddr_storage *out)
{
    char copy[INET6_ADDRSTRLEN];
    *out = (struct sockaddr_storage){0};
    if (text->size >= sizeof copy) {
        return false;
    }
    memcpy(copy, text->data, text->size);
    copy[text->size] = '\0';
    if (strlen(copy) != text->size) {
        return false;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
    if (inet_pton(AF_INET, copy, &v4->sin_addr) == 1) {
        out->ss_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, copy, &v6->sin6_addr) == 1) {
        out->ss_family = AF_INET6;
        return true;
    }
    return false;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static bool is_any(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return v4->sin_addr.s_addr == htonl(INADDR_ANY);
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

static bool is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family) {
        return false;
    }
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *a4 = (const struct sockaddr_in *)(const void *)a;
        const struct sockaddr_in *b4 = (const struct sockaddr_in *)(const void *)b;
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)(const void *)a;
    const struct sockaddr_in6 *b6 = (const struct sockaddr_in6 *)(const void *)b;
    return IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
}

bool mmq_address_is_local(const struct sockaddr_storage *bound)
{
    return bound->ss_family == AF_UNIX || is_loopback(bound);
}

/* ---- names ------------------------------------------------------------------------------ */

/* Without the dot at its end, which says that it is whole. */
static mmq_slice bare(const char *data, size_t size)
{
    return (mmq_slice){data, size > 1 && data[size - 1] == '.' ? size - 1 : size};
}

static bool is_alike(const mmq_slice *slice, const char *text)
{
    const mmq_slice other = bare(text, strlen(text));
    return slice->size == other.size && strncasecmp(slice->data, other.data, other.size) == 0;
}

static bool is_name(const mmq_slice *slice)
{
    return slice->size <= NAME_MAX_BYTES && mmq_text_plain(slice->data, slice->size);
}

static bool is_port(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits <= 5 && text[digits] == '\0';
}

/* HOST of "HOST", "HOST:PORT": without brackets and the dot at its end. */
static bool split_host(const char *text, mmq_slice *host, bool *bracketed)
{
    *bracketed = text[0] == '[';
    const char *end = text + strcspn(text, *bracketed ? "]" : ":");
    if (*bracketed) {
        *host = (mmq_slice){text + 1, (size_t)(end - text - 1)};
        end += *end == ']';
        return end[-1] == ']' && (*end == '\0' || (*end == ':' && is_port(end + 1)));
    }
    *host = bare(text, (size_t)(end - text));
    return is_name(host) && (*end == '\0' || is_port(end + 1));
}

/* ---- the whole -------------------------------------------------------------------------- */

static mmq_err check_names(const mmq_hosts *hosts, mmq_why *why)
{
    for (size_t i = 0; i < hosts->count; i++) {
        const mmq_slice name = bare(hosts->names[i], strlen(hosts->names[i]));
        struct sockaddr_storage address;
        if (strcmp(hosts->names[i], "*") != 0 && !is_name(&name) &&
            !read_address(&name, &address)) {
            return mmq_fail(why, MMQ_EINVAL,
                            "--http-host %.96s: want a name or an address, without port, or *",
                            hosts->names[i]);
        }
    }
    return MMQ_OK;
}

mmq_err mmq_hosts_init(mmq_hosts *hosts, const char *listen, const struct sockaddr_storage *bound,
                       const char *const *names, size_t count, mmq_why *why)
{
    const char *colon = strrchr(listen, ':');
    const bool tcp = bound->ss_family != AF_UNIX;
    *hosts = (mmq_hosts){.names = names, .count = count, .bound = *bound};
    hosts->any = !tcp && count == 0;
    hosts->local = tcp && (is_loopback(bound) || is_any(bound));
    if (tcp && colon && (size_t)(colon - listen) < sizeof hosts->given) {
        memcpy(hosts->given, listen, (size_t)(colon - listen));
    }
    for (size_t i = 0; i < count; i++) {
        hosts->any |= strcmp(names[i], "*") == 0;
    }
    return check_names(hosts, why);
}

static bool knows_address(const mmq_hosts *hosts, const struct sockaddr_storage *address)
{
    struct sockaddr_storage other;
    if (is_any(&hosts->bound) || (is_loopback(&hosts->bound) && is_loopback(address)) ||
        is_same(&hosts->bound, address)) {
        return true;
    }
    for (size_t i = 0; i < hosts->count; i++) {
        const mmq_slice text = {hosts->names[i], strlen(hosts->names[i])};
        if (read_address(&text, &other) && is_same(&other, address)) {
            return true;
        }
    }
    return false;
}

static bool knows_name(const mmq_hosts *hosts, const mmq_slice *name)
{
    bool known = (hosts->local && is_alike(name, "localhost")) ||
                 (hosts->given[0] != '\0' && is_alike(name, hosts->given));
    for (size_t i = 0; !known && i < hosts->count; i++) {
        known = is_alike(name, hosts->names[i]);
    }
    return known;
}

bool mmq_hosts_know(const mmq_hosts *hosts, const char *host)
{
    mmq_slice name;
    bool bracketed;
    struct sockaddr_storage address;
    if (hosts->any) {
        return true;
    }
    if (!split_host(host, &name, &bracketed)) {
        return false;
    }
    if (read_address(&name, &address)) {
        return bracketed == (address.ss_family == AF_INET6) && knows_address(hosts, &address);
    }
    return !bracketed && knows_name(hosts, &name);
}

bool mmq_origin_is_own(const char *origin, const char *host)
{
    const char *mark = strstr(origin, "://");
    const size_t size = mark ? (size_t)(mark - origin) : 0;
    return ((size == 4 && strncmp(origin, "http", size) == 0) ||
            (size == 5 && strncmp(origin, "https", size) == 0)) &&
           mark[3] != '\0' && strcasecmp(mark + 3, host) == 0;
}
