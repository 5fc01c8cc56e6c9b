/* The broker, as a thread of its own. */
#ifndef MMQ_BROKER_H
#define MMQ_BROKER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/faults.h"
#include "lib/vitals.h"
#include "metricmq/error.h"

#define MMQ_INPROC_CLIENTS "inproc://metricmq-clients"
#define MMQ_INPROC_WORKERS "inproc://metricmq-workers"

typedef struct mmq_broker mmq_broker;

typedef struct mmq_broker_settings {
    const char *bind;         /* endpoint for clients, e.g. "tcp://127.0.0.1:5750"; port * picks */
    const char *bind_workers; /* endpoint for workers */
    size_t queue_max;         /* requests waiting for one service, at most */
    size_t queue_bytes_max;   /* their bytes, at most */
    size_t stray_bytes_max;   /* memory over what is accounted for, at most: --stray-memory */
    const char *curve;        /* folder of keys (docs/security.md): CURVE only; NULL: plain text */
    bool insecure;            /* plain text may be reached from other machines */
    bool local;               /* serve this process too, on the inproc endpoints */
    unsigned drain_ms;        /* how long destroy waits for requests under way */
} mmq_broker_settings;

/* Tells all that would keep a broker with these settings from starting, as far as can be seen
 * without binding anything. That an endpoint is taken is no fault: the broker may be running. */
void mmq_broker_settings_check(const mmq_broker_settings *settings, mmq_faults *faults);
/* Binds the endpoints, then starts. NULL with a sentence in why that names
 * the endpoint (e.g. in use, or open to other machines without keys). */
mmq_broker *mmq_broker_new(const mmq_broker_settings *settings, mmq_why *why);
/* Reads the lists of keys again and puts them in force; from any one thread. After an error (a
 * file is damaged; there is no folder of keys) the lists are what they were. */
mmq_err mmq_broker_reload(mmq_broker *broker, mmq_why *why) MMQ_MUST_USE;
/* The endpoints as bound (ports resolved). Borrowed. */
const char *mmq_broker_endpoint(const mmq_broker *broker);
const char *mmq_broker_worker_endpoint(const mmq_broker *broker);
/* How it is. Any thread, while the broker lives. */
void mmq_broker_vitals(const mmq_broker *broker, mmq_vitals *out);
/* Refuses new requests, finishes what is under way within drain_ms, stops, frees, nulls. */
void mmq_broker_destroy(mmq_broker **broker);

#endif
