/* Tells the service manager that started us how we are, by the protocol of sd_notify(3): datagrams
 * of NAME=VALUE lines to the unix socket that NOTIFY_SOCKET names. Without a manager nothing
 * happens. Nothing here blocks: what the manager does not take now stays owed. One thread. */
#ifndef MMQ_NOTIFY_H
#define MMQ_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MMQ_NOTIFY_TEXT_MAX = 256 }; /* bytes of a status, with its NUL */

/* What the manager is to know of our life. */
typedef enum mmq_life {
    MMQ_LIFE_STARTING, /* what it takes for granted: not told */
    MMQ_LIFE_READY,
    MMQ_LIFE_RELOADING,
    MMQ_LIFE_STOPPING,
} mmq_life;

typedef struct mmq_notify {
    int socket; /* -1: there is no manager */
    struct sockaddr_un address;
    socklen_t address_size;
    int64_t watchdog_ns; /* we are killed when no ping comes for so long; 0: it does not wait */
    mmq_life life;
    bool owes_life, owes_status;
    int64_t reload_us; /* when the reload began */
    char status[MMQ_NOTIFY_TEXT_MAX];
} mmq_notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them from the environment, so
 * that no program that we might start speaks for us: to be called before the first thread. What is
 * not as sd_notify(3) has it is logged and counts as absent. */
void mmq_notify_init(mmq_notify *notify);
void mmq_notify_clear(mmq_notify *notify);
bool mmq_notify_has_manager(const mmq_notify *notify);

/* Each keeps what it says, and sends it with all else that is owed. */
void mmq_notify_life(mmq_notify *notify, mmq_life life);
/* One line for people; sent if it differs from the last. Control characters become '?'. */
void mmq_notify_status(mmq_notify *notify, const char *text);
/* Sends again what was not taken; to be called now and then. */
void mmq_notify_flush(mmq_notify *notify);
/* WATCHDOG=1. False if it was not taken: it is not owed, the next one will do. */
bool mmq_notify_ping(mmq_notify *notify);

#endif
