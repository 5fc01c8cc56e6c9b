/* The requests that a client has under way: found by id, and by when they are next due. */
#ifndef MMQ_CLIENT_CALLS_H
#define MMQ_CLIENT_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lib/heap.h"
#include "metricmq/client.h"

enum {
    MMQ_CALLS_MAX = 10000,
    MMQ_CALLS_SLOTS = 16384, /* a power of two above MMQ_CALLS_MAX */
    MMQ_CALLS_LANES = 256,
    MMQ_CALLS_BYTES_MAX = 64 * 1024 * 1024,
};

typedef enum mmq_call_state {
    MMQ_CALL_WAITING, /* for its next try */
    MMQ_CALL_UNSENT,  /* in its lane */
    MMQ_CALL_SENT,    /* mmi.*: on the list `mmi` */
    MMQ_CALL_LOST,    /* with its connection; its owner is about to be told */
} mmq_call_state;

typedef struct mmq_pending {
    TAILQ_ENTRY(mmq_pending) link;
    mmq_call_state state;
    uint64_t handle;     /* what its owner knows it by */
    uint64_t id;         /* of this try; the low bits, as those of the handle, are its slot */
    int64_t deadline_ns; /* no try begins after it */
    mmq_heap_item timer; /* in calls->timers, always; its key is when something is due */
    unsigned tries;
    uint64_t connection; /* SENT: over which */
    bool retry;
    bool mmi;
    uint64_t party; /* 0: none */
    bool forgotten; /* SENT mmi.* only: its answer will come, and nobody wants it */
    mmq_answer_fn *answer;
    void *context;
    const char *service; /* points into bytes */
    const uint8_t *args; /* points into bytes */
    size_t args_size;
    uint32_t args_count;
    uint8_t bytes[];
} mmq_pending;

TAILQ_HEAD(mmq_pending_list, mmq_pending);

/* UNSENT calls of the parties whose number falls into this lane, oldest first. */
typedef struct mmq_calls_lane {
    TAILQ_ENTRY(mmq_calls_lane) turn;
    struct mmq_pending_list calls;
} mmq_calls_lane;

TAILQ_HEAD(mmq_calls_turns, mmq_calls_lane);

typedef struct mmq_calls {
    /* UNSENT ones. Those without a party are in lane 0, which takes no turn. Parties share the
     * other lanes by chance (stochastic fairness queueing, McKenney 1990): bounded, whoever comes.
     */
    mmq_calls_lane lanes[MMQ_CALLS_LANES];
    struct mmq_calls_turns turns; /* lanes with calls in them, in the order of service */
    size_t window;                /* SENT calls with a party, at most */
    size_t sent;                  /* their number */
    struct mmq_pending_list mmi;  /* SENT ones, in order of sending */
    mmq_heap timers;              /* all of them */
    size_t bytes;
    uint64_t serial; /* of the last id */
    uint64_t reach;  /* slots that were ever used are below; a power of two */
    mmq_pending *slots[MMQ_CALLS_SLOTS];
} mmq_calls;

void mmq_calls_init(mmq_calls *calls);
/* Frees all; to be initialised again before its next use. */
void mmq_calls_clear(mmq_calls *calls);
/* A copy of call, WAITING and due at once, with its first id as handle. NULL with a sentence in why
 * if there are too many or too big ones. */
mmq_pending *mmq_calls_add(mmq_calls *calls, const mmq_call *call, mmq_why *why);
void mmq_calls_remove(mmq_calls *calls, mmq_pending *pending);
/* Moves it to the list that goes with the state. */
void mmq_calls_set_state(mmq_calls *calls, mmq_pending *pending, mmq_call_state state);
void mmq_calls_set_due(mmq_calls *calls, mmq_pending *pending, int64_t due_ns);
/* A new id for the next try. */
void mmq_calls_renew(mmq_calls *calls, mmq_pending *pending);
/* NULL if there is none (any more). */
mmq_pending *mmq_calls_by_id(const mmq_calls *calls, uint64_t id);
mmq_pending *mmq_calls_by_handle(const mmq_calls *calls, uint64_t handle);
mmq_pending *mmq_calls_by_mmi(const mmq_calls *calls, const char *service, size_t size);
/* The one that is to be sent next; NULL if there is none or the window is full. */
mmq_pending *mmq_calls_next(const mmq_calls *calls);
/* The one that is due first; NULL if there is none. */
mmq_pending *mmq_calls_first(const mmq_calls *calls);

#endif
