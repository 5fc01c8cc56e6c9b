/* Descriptors: libzmq keeps one a socket and one a connection. A client of the library has its
 * DEALER, the monitor's two ends and an epoll; a worker has the first two. */
#include <czmq.h>

#include "clients/load/load.h"
#include "lib/process.h"

enum {
    CLIENT_SOCKETS = 3, /* DEALER, both ends of its monitor */
    WORKER_SOCKETS = 3,
    CLIENT_DESCRIPTORS = 5, /* those, the connection, epoll */
    WORKER_DESCRIPTORS = 4,
    OTHERS = 64,
};

mmq_err mmq_load_reserve(size_t clients, size_t workers, mmq_why *why)
{
    size_t wanted = clients * CLIENT_DESCRIPTORS + workers * WORKER_DESCRIPTORS + OTHERS;
    size_t most = mmq_descriptors_raise(wanted);
    if (most < wanted) {
        return mmq_fail(why, MMQ_ETOOBIG,
                        "%zu clients and %zu workers need %zu descriptors, and this process may "
                        "have %zu: raise `ulimit -Hn` or ask for fewer",
                        clients, workers, wanted, most);
    }
    zsys_set_max_sockets(clients * CLIENT_SOCKETS + workers * WORKER_SOCKETS + OTHERS);
    return MMQ_OK;
}
