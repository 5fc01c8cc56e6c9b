/* What the threads of a worker share. The owner's calls are in worker.c, the loop thread in
 * worker_loop.c and (its connections) worker_link.c, the work threads in worker_thread.c, requests
 * in worker_request.c.
 *
 * Loop to work thread: one frame with the pointers of a batch, whose requests then belong to the
 * work thread; an empty frame tells it to end. Work thread to loop: a note, and after PARTIAL and
 * FINAL the token, header and payload. */
#ifndef MMQ_WORKER_PARTS_H
#define MMQ_WORKER_PARTS_H

#include <czmq.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "lib/endpoints.h"
#include "metricmq/protocol.h"
#include "metricmq/worker.h"
#include "lib/message.h"

enum {
    MMQ_WORK_THREADS_MAX = 64,
    MMQ_LINKS_MAX = 2 * MMQ_ENDPOINTS_MAX, /* one a broker for each of two services */
};

struct mmq_worker {
    mmq_worker_options options; /* with the strings below */
    mmq_endpoints endpoints;
    char *service, *second; /* second: NULL if there is none */
    mmq_curve curve;        /* options.curve points here, if there are keys */
    zsock_t *control;       /* the owner's end: wakes the loop; hears whether it started */
    zsock_t *loop_control;
    pthread_t loop;
    atomic_bool stopping;
    /* Of each link's connection; written by the loop. */
    atomic_uint_fast64_t generations[MMQ_LINKS_MAX];
    atomic_bool failed;
    mmq_why why; /* written before failed is set */
    /* For who keeps an eye on the worker (vitals.h); written by the loop. */
    atomic_uint_fast64_t passes, answered;
    atomic_bool serving;
    atomic_uint registered; /* brokers that were told READY */
    /* Of each work thread, written by it: when the last of the requests that it works on is due; 0:
     * it works on none. */
    atomic_int_fast64_t due_ns[MMQ_WORK_THREADS_MAX];
};

/* The connection that a request came over. */
typedef struct mmq_origin {
    size_t link; /* its index: those of the first service come first, in the order of the brokers */
    uint64_t generation;
} mmq_origin;

typedef enum mmq_note_kind {
    MMQ_NOTE_READY,  /* the thread has its context */
    MMQ_NOTE_FAILED, /* it has none; a frame with the reason follows */
    MMQ_NOTE_PARTIAL,
    MMQ_NOTE_FINAL,
    MMQ_NOTE_KEPT,  /* a request has left its batch; its answer comes later */
    MMQ_NOTE_LOST,  /* a request ended, and there is no memory to say so */
    MMQ_NOTE_ENDED, /* the thread's last note */
} mmq_note_kind;

typedef struct mmq_note {
    mmq_note_kind kind;
    bool kept;         /* an answer to a request that has left its batch */
    mmq_origin origin; /* of the request */
} mmq_note;

typedef struct mmq_work_thread {
    mmq_worker *worker;
    size_t index;
    /* the loop's */
    pthread_t pthread;
    zsock_t *loop_pipe;
    size_t outstanding; /* requests handed over and not ended */
    bool awake;         /* there may be notes in the pipe */
    mmq_message stuck;  /* waits until the broker takes it; the pipe is not read meanwhile */
    mmq_origin stuck_origin;
    /* the work thread's */
    zsock_t *pipe;
    size_t open; /* requests of the batch that have not ended */
    mmq_request **batch;
} mmq_work_thread;

struct mmq_request {
    TAILQ_ENTRY(mmq_request) link; /* on the loop's queue */
    mmq_work_thread *thread;       /* once a work thread has it */
    mmq_message message;           /* as it came */
    size_t body;                   /* index of the body's first frame */
    mmq_origin origin;
    int64_t deadline_ns;
    int64_t seq; /* of the next PARTIAL */
    bool kept;   /* it has left its batch */
    const void *id;
    size_t id_size;
    char *trace;       /* NULL: none */
    const char *state; /* of PARTIALs; borrowed; NULL: none */
};

TAILQ_HEAD(mmq_request_queue, mmq_request);
typedef struct mmq_request_queue mmq_request_queue;

/* A request of the message, moved on success; body is its body's index. NULL: no memory. */
mmq_request *mmq_request_new(mmq_message *message, size_t body, mmq_origin origin);
/* Frees without an answer. */
void mmq_request_destroy(mmq_request **request);

/* Sends an empty frame: the loop looks at `stopping`, the owner at `failed`, a work thread ends. */
void mmq_pipe_signal(zsock_t *pipe);

/* Sends a note; frames (may be NULL) are sent after it. False if there is no memory. */
bool mmq_note_send(mmq_work_thread *thread, mmq_note note, mmq_message *frames);

/* How many links the worker has, and the service of one of them. */
size_t mmq_worker_links(const mmq_worker *worker);
const char *mmq_worker_link_service(const mmq_worker *worker, size_t link);

/* False once the connection has ended: nobody waits for the answer. */
bool mmq_worker_awaits(const mmq_worker *worker, mmq_origin origin);
/* What is not begun when the worker stops: answered with 503 if true, else left to the broker,
 * which gives it to another worker. */
bool mmq_worker_refuses(const mmq_worker *worker);

void *mmq_worker_run_loop(void *worker);
void *mmq_worker_run_thread(void *work_thread);

#endif
