/* The objects of the broker's core, shared by its files only.
 *
 * `mmq_client`, `mmq_worker` and `mmq_request` are types of the library; the broker's view of them
 * is a caller, a hand and a job. A caller's jobs that wait for one service stand in a lane.
 *
 * An object's state is the list it is on; one setter an object checks the transition and moves it.
 * Handlers may bring about any object's end while others hold pointers to it, so ended objects go
 * to `dead` lists and are freed when the entry point is through (mmq_core_settle). Services that
 * may have something to hand out are marked dirty and served at the same place, so no handler calls
 * another in circles. */
#ifndef MMQ_BROKER_STATE_H
#define MMQ_BROKER_STATE_H

#include "broker/allow.h"
#include "broker/core.h"
#include "broker/list.h"
#include "broker/table.h"
#include "lib/clock.h"
#include "lib/heap.h"
#include "lib/intrusive.h"
#include "lib/log.h"
#include "lib/envelope.h"

enum {
    MMQ_PEER_MAX = 255,  /* bytes of a routing id */
    MMQ_TOKEN_SIZE = 16, /* the hand's serial, then its count of dispatches */
    MMQ_TRIES_MAX = 3,   /* workers that a request is given to */
    MMQ_SHARES = 4,      /* one of so many is what a client may hold of shared workers */
    MMQ_TIMING_BUCKETS = 20,
    MMQ_OUTBOX_MAX = 8 * 1024 * 1024, /* bytes that wait for a slow client */
    MMQ_OUTBOX_KEPT = 32 * 1024,      /* error answers kept for it: more than one queue holds */
};

#define MMQ_RETRY_NS       (5 * MMQ_NS_PER_MS)   /* between tries of what would block */
#define MMQ_RETRY_LEAST_NS (MMQ_NS_PER_MS / 4)   /* the same when a client may have read */
#define MMQ_OUTBOX_NS      (30 * MMQ_NS_PER_S)   /* that answers wait for a slow client */
#define MMQ_FORGET_NS      (30 * MMQ_NS_PER_S)   /* that a worker may take to answer too late */
#define MMQ_PACE_NS        (100 * MMQ_NS_PER_MS) /* over which the pace of a service is measured */
#define MMQ_SHARED_NS      MMQ_NS_PER_S /* that a service counts as shared by several clients */
#define MMQ_PROBE_NS       (100 * MMQ_NS_PER_MS) /* between probes of all workers */
#define MMQ_BEAT_NS        (1 * MMQ_NS_PER_S)
#define MMQ_LIVENESS_NS    (3 * MMQ_NS_PER_S)
/* Of workers that sent the plain READY of RFC 18. */
#define MMQ_PLAIN_BEAT_NS     (2500 * MMQ_NS_PER_MS)
#define MMQ_PLAIN_LIVENESS_NS (10 * MMQ_NS_PER_S)

/* A peer is its key and its routing id: who connects with another's id and a key of its own is
 * somebody else. */
typedef struct mmq_peer {
    size_t size;                                  /* of its routing id */
    size_t user_size;                             /* MMQ_KEY_TEXT; 0: there are no keys */
    uint8_t key[1 + MMQ_KEY_TEXT + MMQ_PEER_MAX]; /* its side, its public key, the id: unique */
} mmq_peer;

static inline mmq_side mmq_peer_side(const mmq_peer *peer)
{
    return (mmq_side)peer->key[0];
}

static inline size_t mmq_peer_key_size(const mmq_peer *peer)
{
    return 1 + peer->user_size + peer->size;
}

/* Its public key, without a NUL; NULL: none. */
static inline const char *mmq_peer_user(const mmq_peer *peer)
{
    return peer->user_size > 0 ? (const char *)peer->key + 1 : NULL;
}

/* Begins a message to it. */
static inline mmq_err mmq_peer_address(mmq_message *message, const mmq_peer *peer)
{
    return mmq_message_append_copy(message, peer->key + 1 + peer->user_size, peer->size);
}

typedef enum mmq_drop {
    MMQ_DROP_MALFORMED, /* clients' messages that are no requests */
    MMQ_DROP_TOO_BIG,   /* over the bounds: never seen whole */
    MMQ_DROP_LATE,      /* answers to requests that were given up */
    MMQ_DROP_FOREIGN,   /* answers with a token never given to that worker */
    MMQ_DROP_PROTOCOL,  /* other faults of workers */
    MMQ_DROP_GONE,      /* answers to clients that are gone */
    MMQ_DROP_SLOW,      /* answers to clients that do not read */
    MMQ_DROP_DENIED,    /* messages of peers that have no right to them */
    MMQ_DROP_COUNT,
} mmq_drop;

typedef struct mmq_caller mmq_caller;

/* How long something took, of many. */
typedef struct mmq_timing {
    uint64_t
        counts[MMQ_TIMING_BUCKETS]; /* up to mmq_timing_bounds_us; the last takes what is above */
    uint64_t sum_us;
} mmq_timing;

typedef struct mmq_service {
    mmq_core *core;
    mmq_table_item item; /* in core->services */
    mmq_link link;       /* in core->service_list */
    mmq_link dirty;      /* in core->dirty */
    char name[MMQ_SERVICE_MAX + 1];
    size_t name_size;
    bool redispatch; /* a request may be given to another worker */
    bool gathers;    /* its workers do many requests in one transaction: fill one, then the next */
    mmq_link turn;   /* lanes in the order in which they are served */
    mmq_link parked; /* lanes of clients that do not read */
    size_t lane_count; /* in both */
    size_t queued;     /* jobs in lanes */
    size_t queued_bytes;
    mmq_link hands; /* all its workers */
    size_t hand_count;
    mmq_heap ready; /* hands with room: least loaded, then least recently used first; or the other
                     * way, if it gathers; those that failed behind all others */
    size_t held;    /* jobs at its workers */
    uint64_t last_caller;   /* hash of who asked last */
    int64_t shared_ns;      /* when two callers asked one after the other */
    int64_t pace_ns;        /* between two jobs given out while others waited; 0: not known */
    int64_t pace_since_ns;  /* of the window that is measured; 0: none */
    int64_t pace_window_ns; /* the pace in the window before it; 0: none */
    int64_t pace_count;     /* jobs given out in it */
    int64_t hold_ns;        /* that a worker takes to answer: a moving average */
    size_t capacity;        /* sum over its workers */
    uint64_t requests, errors, redispatched, partials, bytes_in, bytes_out;
    mmq_timing took;   /* requests that a worker answered: from receipt to FINAL */
    mmq_timing waited; /* requests that were queued: until a worker had them, or to their end */
} mmq_service;

typedef enum mmq_caller_state {
    MMQ_CALLER_IDLE,    /* nothing under way: freed when the entry point is through */
    MMQ_CALLER_BUSY,    /* has jobs */
    MMQ_CALLER_BLOCKED, /* answers wait for it; its jobs are not dispatched */
    MMQ_CALLER_DEAD,
    MMQ_CALLER_STATES,
} mmq_caller_state;

struct mmq_caller {
    mmq_core *core;
    mmq_table_item item; /* in core->callers */
    mmq_link link;       /* in core->callers_in[state] */
    mmq_caller_state state;
    mmq_peer peer;
    mmq_link jobs;   /* QUEUED and HELD */
    mmq_link lanes;  /* one a service that it has jobs of */
    mmq_link outbox; /* answers that would block, oldest first */
    size_t outbox_bytes;
    size_t outbox_kept; /* error answers among them */
    bool dropping;      /* parts of streams go: there will be room for what ends these */
    int64_t blocked_ns; /* since when */
    size_t sent_bytes;  /* given to libzmq */
};

typedef struct mmq_lane {
    mmq_caller *caller;
    mmq_service *service;
    mmq_link link;        /* in service->turn or parked while it has jobs QUEUED */
    mmq_link caller_link; /* in caller->lanes */
    mmq_link jobs;        /* QUEUED, oldest first */
    size_t count;         /* their number */
    size_t held;          /* jobs at workers; a lane without either is freed */
    size_t bytes;
} mmq_lane;

typedef enum mmq_hand_state {
    MMQ_HAND_NEW,
    MMQ_HAND_FREE,    /* in service->ready */
    MMQ_HAND_FULL,    /* holds as many jobs as it can */
    MMQ_HAND_BLOCKED, /* would block: tried again after a while */
    MMQ_HAND_DEAD,
    MMQ_HAND_STATES,
} mmq_hand_state;

typedef struct mmq_hand {
    mmq_core *core;
    mmq_table_item item; /* in core->hands */
    mmq_link all;        /* in service->hands */
    mmq_link link;       /* in core->blocked_hands or dead_hands */
    mmq_heap_item ready; /* in service->ready */
    mmq_heap_item timer; /* in core->timers: next heartbeat or end of patience */
    mmq_hand_state state;
    mmq_peer peer;
    mmq_service *service;
    unsigned capacity;
    bool plain;          /* three-frame READY */
    mmq_link jobs;       /* HELD and FORGOTTEN, oldest first */
    unsigned held;       /* their number */
    uint64_t serial;     /* random: first half of its tokens */
    uint64_t number;     /* counts workers since the broker's start: a name for people */
    uint64_t dispatches; /* jobs given to it so far */
    uint64_t used;       /* core->uses at the last of them */
    unsigned failures;   /* 0: it is well; else how often it was tried since it failed */
    bool tried;          /* the next job is its, to see whether it is well again */
    int64_t try_ns;      /* when it is tried again */
    int64_t ready_ns;    /* when it registered */
    int64_t heard_ns;
    int64_t beat_ns; /* when the next heartbeat is due */
} mmq_hand;

typedef enum mmq_job_state {
    MMQ_JOB_NEW,
    MMQ_JOB_QUEUED,    /* in its lane */
    MMQ_JOB_HELD,      /* at a worker */
    MMQ_JOB_FORGOTTEN, /* at a worker, and nobody waits for the answer */
    MMQ_JOB_DONE,
    MMQ_JOB_STATES,
} mmq_job_state;

typedef struct mmq_job {
    mmq_core *core;
    mmq_link link;             /* in lane->jobs, hand->jobs or core->dead_jobs */
    mmq_link caller_link;      /* in caller->jobs */
    mmq_heap_item deadline;    /* in core->deadlines */
    mmq_table_item token_item; /* in core->tokens while at a worker */
    mmq_job_state state;
    mmq_service *service;
    mmq_caller *caller; /* NULL when FORGOTTEN or DONE */
    mmq_lane *lane;     /* QUEUED, HELD */
    mmq_hand *hand;     /* HELD, FORGOTTEN */
    mmq_message body;   /* kept while it may be dispatched again */
    size_t bytes;       /* of the body */
    int64_t received_ns;
    int64_t given_ns;       /* to the worker that has it */
    unsigned tries;         /* workers it was given to */
    uint64_t partials;      /* forwarded */
    uint64_t partial_bytes; /* that came, forwarded or not */
    uint8_t token[MMQ_TOKEN_SIZE];
    uint8_t id[MMQ_ID_MAX]; /* packed */
    size_t id_size;
} mmq_job;

struct mmq_core {
    mmq_core_settings settings;
    int64_t now_ns; /* of the entry point */
    int64_t started_ns;
    int64_t due_ns; /* when tick is due, as it said */
    bool draining;
    mmq_table services, callers, hands, tokens;
    mmq_link service_list;
    mmq_link dirty; /* services to be served */
    mmq_link callers_in[MMQ_CALLER_STATES];
    mmq_link blocked_hands;
    mmq_link dead_hands;
    mmq_link dead_jobs;
    mmq_heap deadlines; /* jobs */
    mmq_heap timers;    /* hands */
    size_t jobs_in[MMQ_JOB_STATES];
    size_t bytes;     /* against settings.bytes_max */
    int64_t retry_ns; /* when the blocked are tried again */
    int64_t retried_ns;
    int64_t probe_ns; /* when all workers are sent a heartbeat, since one may be gone */
    int64_t probed_ns;
    unsigned probes;     /* still to come: the first may be taken for a connection just lost */
    int64_t unshared_ns; /* when a service may count as shared no longer, and be served again */
    mmq_core_gauges gauges;
    uint64_t registered; /* workers so far */
    uint64_t uses;       /* counts dispatches: who was used least recently */
    uint64_t dropped[MMQ_DROP_COUNT];
    mmq_log_pace complaints; /* of faults of peers */
    const mmq_allow *allow;  /* borrowed; NULL: everybody may do everything */
    mmq_log_pace denials;
};

/* ---- core.c ---- */
/* Ends every entry point: serves services that are dirty, frees what is dead. */
void mmq_core_settle(mmq_core *core);

/* ---- rights.c ---- */
bool mmq_core_may_ask(const mmq_core *core, const mmq_peer *peer, const char *service, size_t size);
bool mmq_core_may_serve(const mmq_core *core, const mmq_peer *peer, const char *service,
                        size_t size);
/* True if the peer's key is in its side's list. */
bool mmq_core_is_known(const mmq_core *core, const mmq_peer *peer);
/* Counts and logs (at most once a second) that a peer had no right to what it wanted. */
void mmq_core_deny(mmq_core *core, const mmq_peer *peer, const char *service, size_t size);

/* ---- caller.c ---- */
typedef enum mmq_answer_kind {
    MMQ_ANSWER_PART,  /* thrown away if the client does not read */
    MMQ_ANSWER_FINAL, /* a worker's FINAL: replaced by 503 then */
    MMQ_ANSWER_OURS,  /* an error answer of the broker's: kept */
} mmq_answer_kind;

/* NULL if there is no memory. */
mmq_caller *mmq_caller_get(mmq_core *core, const mmq_peer *peer);
/* Brings the state in line with jobs and outbox. */
void mmq_caller_update(mmq_caller *caller);
/* Sends or keeps an answer; the message is left empty. job (may be NULL) is what it answers. The
 * caller may be dead afterwards. */
void mmq_caller_deliver(mmq_caller *caller, mmq_message *message, mmq_answer_kind kind,
                        mmq_job *job);
/* Makes and delivers an error answer to a request that has become no job. */
void mmq_caller_refuse(mmq_caller *caller, const mmq_envelope *envelope, const mmq_routing *routing,
                       int status, const char *error);
/* The client is gone: forgets all that it wanted. */
void mmq_caller_kill(mmq_caller *caller);
/* Sends what waits, as far as it goes; drops what has waited too long. */
void mmq_caller_retry(mmq_caller *caller);
/* Bytes that libzmq holds for it, at most. */
size_t mmq_caller_piped(const mmq_caller *caller);
void mmq_caller_free(mmq_caller *caller);

/* ---- service.c ---- */
mmq_service *mmq_service_find(mmq_core *core, const char *name, size_t size);
/* Makes it if need be; NULL if there are too many or no memory is left. */
mmq_service *mmq_service_get(mmq_core *core, const char *name, size_t size);
void mmq_service_mark(mmq_service *service);
/* True if a worker could take a job of that lane (NULL: of a client that has none there). */
bool mmq_service_has_room(const mmq_service *service, const mmq_lane *lane);
/* Hands out jobs while there are both; frees the service if nothing is left of it. */
void mmq_service_serve(mmq_service *service);
/* NULL if that caller has none there. */
mmq_lane *mmq_lane_find(const mmq_service *service, const mmq_caller *caller);
/* Finds or makes the lane; NULL without memory. */
mmq_lane *mmq_lane_get(mmq_service *service, mmq_caller *caller);
/* Puts the job in, at the back or the front. */
void mmq_lane_put(mmq_lane *lane, mmq_job *job, bool front);
/* Takes the job out of those that wait. */
void mmq_lane_take(mmq_lane *lane, mmq_job *job);
/* Frees the lane if nothing is left of it. */
void mmq_lane_settle(mmq_lane *lane);
/* To the list that the caller's state asks for. */
void mmq_lane_park(mmq_lane *lane, bool parked);

/* ---- admission.c ---- */
/* Makes room for one more job of that caller. NULL, or why it must be refused. */
const char *mmq_service_admit(mmq_service *service, const mmq_caller *caller, size_t bytes,
                              unsigned timeout_ms);
/* One more job was given out. */
void mmq_pace_count(mmq_service *service);

/* ---- hand.c ---- */
mmq_hand *mmq_hand_find(mmq_core *core, const mmq_peer *peer);
/* A new worker; the service is marked. MMQ_EBUSY, MMQ_ENOMEM. */
mmq_err mmq_hand_register(mmq_core *core, const mmq_peer *peer, const mmq_envelope *ready,
                          mmq_why *why) MMQ_MUST_USE;
/* FREE or FULL, as it holds. */
void mmq_hand_update(mmq_hand *hand);
/* It has answered what it was asked; or not (`well` false): it let the time for it pass, or said
 * 503, because what it works on (its store) is out of its reach. Then others are asked first, and
 * it is asked now and then. */
void mmq_hand_judge(mmq_hand *hand, bool well);
/* A HEARTBEAT came: a stock worker that says so is back from what it was given up on. */
void mmq_hand_beat(mmq_hand *hand);
/* Tries again to use a BLOCKED worker. */
void mmq_hand_unblock(mmq_hand *hand);
/* Sends the job to the worker. MMQ_EAGAIN: the worker is now BLOCKED; MMQ_EUNREACHABLE: dead;
 * MMQ_ENOMEM. */
mmq_err mmq_hand_give(mmq_hand *hand, mmq_job *job) MMQ_MUST_USE;
/* Heartbeat and liveness. */
void mmq_hand_tick(mmq_hand *hand);
/* Sends a heartbeat out of turn: who is gone is found out. */
void mmq_hand_probe(mmq_hand *hand);
/* The worker is no more; its jobs go to others or end. */
void mmq_hand_kill(mmq_hand *hand, const char *reason);
/* Says DISCONNECT and kills. */
void mmq_hand_dismiss(mmq_hand *hand, const char *reason);
void mmq_hand_send_disconnect(mmq_core *core, const mmq_peer *peer);
void mmq_hand_free(mmq_hand *hand);

/* ---- job.c ---- */
/* Bytes of the frames of a message from index `body` on. */
size_t mmq_job_body_bytes(const mmq_message *message, size_t body);
/* Takes the body's frames from the message. NULL without memory. */
mmq_job *mmq_job_new(mmq_service *service, mmq_caller *caller, mmq_message *message, size_t body,
                     const mmq_routing *routing);
/* lane must be set before QUEUED, hand before HELD. */
void mmq_job_set_state(mmq_job *job, mmq_job_state state);
/* Ends the job for its client, with an answer of ours. A job at a worker becomes `then`
 * (FORGOTTEN or DONE). */
void mmq_job_fail(mmq_job *job, mmq_job_state then, int status, const char *error);
/* Its worker died: to the next one, or an error. */
void mmq_job_return(mmq_job *job);
/* Its deadline has passed. */
void mmq_job_expire(mmq_job *job);
/* A PARTIAL or FINAL came for it. */
void mmq_job_answer(mmq_job *job, mmq_message *message, const mmq_envelope *envelope);
/* A FINAL of ours to a peer; false without memory. */
bool mmq_job_make_final(mmq_message *out, const mmq_peer *peer, const char *service, size_t size,
                        const mmq_header *header);
void mmq_job_free(mmq_job *job);

/* ---- mmi.c ---- */
bool mmq_mmi_is(const char *service, size_t size);
/* The key has no right to ask: 403. */
void mmq_mmi_deny(mmq_caller *caller, const mmq_envelope *envelope);
void mmq_mmi_answer(mmq_caller *caller, const mmq_message *message, const mmq_envelope *envelope);

extern const char *const mmq_drop_names[MMQ_DROP_COUNT];
/* Ascending. */
extern const unsigned mmq_timing_bounds_us[MMQ_TIMING_BUCKETS];

#endif
