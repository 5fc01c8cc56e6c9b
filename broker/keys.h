/* The broker's keys: its own pair, the lists in force, and who is let in by them. */
#ifndef MMQ_BROKER_KEYS_H
#define MMQ_BROKER_KEYS_H

#include <stdbool.h>

#include "broker/allow.h"
#include "broker/core.h"
#include "metricmq/curve.h"
#include "metricmq/error.h"

typedef struct mmq_bus_keys mmq_bus_keys;

/* The broker's own pair in the folder of keys; the public one is for the peers. */
#define MMQ_SERVER_PUBLIC "server.cert"
#define MMQ_SERVER_SECRET "server.cert_secret"

enum { MMQ_KEYS_DESCRIPTORS = 2 };

/* Reads the folder: the lists, and the pair into *pair (the caller wipes it). From now on libzmq's
 * questions are answered, once somebody serves. NULL with a sentence in why that names the file. */
mmq_bus_keys *mmq_bus_keys_new(const char *folder, mmq_curve *pair, mmq_why *why);
/* Whether the folder can be read, all of it; nothing is kept. */
mmq_err mmq_bus_keys_check(const char *folder, mmq_why *why) MMQ_MUST_USE;
void mmq_bus_keys_destroy(mmq_bus_keys **keys);
/* The lists in force. Borrowed until the next mmq_bus_keys_serve. */
const mmq_allow *mmq_bus_keys_allow(const mmq_bus_keys *keys);
/* To poll for input; edge-triggered. */
void mmq_bus_keys_descriptors(const mmq_bus_keys *keys, int out[MMQ_KEYS_DESCRIPTORS]);
/* Puts lists that were read again in force, in the core too, and says who may connect. True if
 * there may be more to do. The broker's thread. */
bool mmq_bus_keys_serve(mmq_bus_keys *keys, mmq_core *core);
/* Reads the lists again, for mmq_bus_keys_serve to put in force; blocks on the disk. After an error
 * they stay what they are. Any one thread. */
mmq_err mmq_bus_keys_reload(mmq_bus_keys *keys, mmq_why *why) MMQ_MUST_USE;

#endif
