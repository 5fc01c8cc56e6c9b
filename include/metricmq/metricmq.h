/* All of metricmq's library: ask a broker, or serve through one.
 *
 * | header | |
 * |---|---|
 * | client.h | requests and streams, blocking or on an event loop |
 * | query.h | the rows of a query |
 * | worker.h | serve a service |
 * | pack.h, unpack.h, buffer.h | arguments and payloads in msgpack |
 * | frame.h, rows.h, protocol.h | payloads, rows in them, headers of answers, bounds |
 * | curve.h | keys |
 * | error.h, version.h | what went wrong; which version this is |
 *
 * docs/clients.md is the guide, docs/protocol.md the reference. An object belongs to one thread at
 * a time unless its header says otherwise; different objects do not disturb each other. No function
 * ends the program or writes to stdout; but an argument that breaks what its header says (a bug of
 * the caller's) ends in abort(). */
#ifndef METRICMQ_METRICMQ_H
#define METRICMQ_METRICMQ_H

#include "metricmq/buffer.h"
#include "metricmq/client.h"
#include "metricmq/curve.h"
#include "metricmq/error.h"
#include "metricmq/frame.h"
#include "metricmq/pack.h"
#include "metricmq/protocol.h"
#include "metricmq/query.h"
#include "metricmq/rows.h"
#include "metricmq/unpack.h"
#include "metricmq/version.h"
#include "metricmq/worker.h"

#endif
