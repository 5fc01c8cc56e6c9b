/* What a process of roles owes whoever started it: it takes their signals, and tells a service
 * manager how it is (lib/notify.h). The main thread's alone. */
#ifndef MMQ_KEEPER_H
#define MMQ_KEEPER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/broker.h"
#include "clients/http/http.h"
#include "lib/notify.h"
#include "workers/workers.h"

enum { MMQ_KEEPER_ROLES = 3, MMQ_KEEPER_PARTS = MMQ_KEEPER_ROLES + 2 };

typedef struct mmq_keeper {
    /* What is kept: filled in by the caller before mmq_keeper_wait, borrowed; NULL: not here. */
    mmq_broker *broker;
    mmq_http *http;
    mmq_role *roles[MMQ_KEEPER_ROLES];
    bool broker_lists, http_lists; /* they have lists of keys, which SIGHUP has read again */
    /* The keeper's own. */
    mmq_notify notify;
    sigset_t signals;
    mmq_vitals vitals[MMQ_KEEPER_PARTS]; /* as of the last look */
    int64_t passed_ns[MMQ_KEEPER_PARTS]; /* when each was first seen after so many passes */
    size_t count;
    int64_t alone_ns; /* since when all is ready but that no broker is there; 0: it is not so */
    int64_t pinged_ns, told_ns;
    bool complained;                                /* that a part does not live */
    mmq_why reload_why;                             /* why the last reload failed; "": it did not */
    char state[MMQ_KEEPER_PARTS * MMQ_VITALS_TEXT]; /* that was told last */
} mmq_keeper;

/* Blocks the signals that mmq_keeper_wait takes, and finds the service manager: to be called before
 * the first thread. SIGHUP is ours if there are lists, or a manager, to whom it means "read your
 * configuration again"; else it ends the process, as it does when a terminal closes. */
void mmq_keeper_begin(mmq_keeper *keeper, bool has_lists);
/* Says STOPPING, if mmq_keeper_wait did not. */
void mmq_keeper_end(mmq_keeper *keeper);
/* True once SIGTERM or SIGINT waits to be taken. */
bool mmq_keeper_told_to_stop(void);
/* Waits for SIGTERM or SIGINT, or until a role gives up; returns the exit status. Says READY when
 * all parts are. */
int mmq_keeper_wait(mmq_keeper *keeper);

#endif
