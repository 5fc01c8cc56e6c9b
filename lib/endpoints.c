/* A broker that is named twice would be given twice a worker's capacity: hence no duplicates. Only
 * spelling is compared. */
#include "lib/endpoints.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lib/dealer.h"

/* Read as an address: "127.0.0.1.example.org" is a name. */
static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    return strcmp(host, "localhost") == 0 ||
           (inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
}

bool mmq_endpoint_is_local(const char *endpoint)
{
    char host[64];
    if (strncmp(endpoint, "inproc:", 7) == 0 || strncmp(endpoint, "ipc:", 4) == 0) {
        return true;
    }
    const char *start = endpoint + strlen("tcp://");
    const char *colon = strncmp(endpoint, "tcp://", 6) == 0 ? strrchr(start, ':') : NULL;
    if (colon == NULL || (size_t)(colon - start) >= sizeof host) {
        return false;
    }
    size_t size = (size_t)(colon - start);
    const bool bracketed = size >= 2 && start[0] == '[' && start[size - 1] == ']';
    memcpy(host, start + bracketed, size - 2 * bracketed);
    host[size - 2 * bracketed] = '\0';
    return is_loopback(host);
}

static mmq_err check_item(const mmq_endpoints *endpoints, const char *item, size_t size,
                          mmq_why *why)
{
    size_t count = endpoints->count;
    if (count == MMQ_ENDPOINTS_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "%.*s is one endpoint too many: at most %d", (int)size,
                        item, MMQ_ENDPOINTS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (strlen(endpoints->items[i]) == size && memcmp(endpoints->items[i], item, size) == 0) {
            return mmq_fail(why, MMQ_EINVAL, "%s is twice in the list of endpoints",
                            endpoints->items[i]);
        }
    }
    return MMQ_OK;
}

static mmq_err add_item(mmq_endpoints *endpoints, const char *item, size_t size, mmq_why *why)
{
    mmq_err err = check_item(endpoints, item, size, why);
    if (err != MMQ_OK) {
        return err;
    }
    char *copy = strndup(item, size);
    if (copy == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a list of endpoints");
    }
    endpoints->items[endpoints->count++] = copy;
    return MMQ_OK;
}

mmq_err mmq_endpoints_split(const char *list, mmq_endpoints *endpoints, mmq_why *why)
{
    endpoints->count = 0;
    mmq_err err = MMQ_OK;
    for (const char *item = list; err == MMQ_OK && item != NULL;) {
        size_t size = strcspn(item, ",");
        err = size > 0 ? add_item(endpoints, item, size, why)
                       : mmq_fail(why, MMQ_EINVAL, "endpoint %zu of \"%s\" is empty",
                                  endpoints->count + 1, list);
        item = item[size] == ',' ? item + size + 1 : NULL;
    }
    if (err != MMQ_OK) {
        mmq_endpoints_clear(endpoints);
    }
    return err;
}

void mmq_endpoints_clear(mmq_endpoints *endpoints)
{
    while (endpoints->count > 0) {
        free(endpoints->items[--endpoints->count]);
    }
}

mmq_err mmq_endpoints_check(const mmq_endpoints *endpoints, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    for (size_t i = 0; err == MMQ_OK && i < endpoints->count; i++) {
        const char *item = endpoints->items[i];
        const bool own = strncmp(item, "inproc:", 7) == 0; /* not anybody's choice */
        err = own ? MMQ_OK : mmq_endpoint_check(item, why);
    }
    return err;
}

mmq_err mmq_endpoints_list_check(const char *list, mmq_why *why)
{
    mmq_endpoints endpoints;
    mmq_err err = mmq_endpoints_split(list, &endpoints, why);
    if (err == MMQ_OK) {
        err = mmq_endpoints_check(&endpoints, why);
        mmq_endpoints_clear(&endpoints);
    }
    return err;
}
