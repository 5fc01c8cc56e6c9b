/* libzmq's event message: first frame the event's number (16 bits) and a value, in the host's byte
 * order; second frame the endpoint. */
#include "lib/monitor.h"

#include <czmq.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/message.h"

enum { EVENT_SIZE_MAX = 4096 };

zsock_t *mmq_monitor_new(zsock_t *socket, int events)
{
    static atomic_uint_fast64_t serial;
    char name[64];
    snprintf(name, sizeof name, "inproc://metricmq-monitor-%llu",
             (unsigned long long)atomic_fetch_add(&serial, 1));
    zsock_t *monitor = zsock_new(ZMQ_PAIR);
    if (monitor == NULL) {
        return NULL;
    }
    zsock_set_rcvhwm(monitor, 0); /* else libzmq's I/O thread would wait for us */
    zsock_set_linger(monitor, 0); /* nobody reads what is left at the end */
    if (zmq_socket_monitor(zsock_resolve(socket), name, events) != 0 ||
        zsock_connect(monitor, "%s", name) != 0) {
        zsock_destroy(&monitor);
    }
    return monitor;
}

void mmq_monitor_destroy(zsock_t **monitor, zsock_t *socket)
{
    if (*monitor != NULL) {
        (void)zmq_socket_monitor(zsock_resolve(socket), NULL, 0);
        zsock_destroy(monitor);
    }
}

int mmq_monitor_next(zsock_t *monitor)
{
    uint16_t event = 0;
    mmq_message message;
    mmq_message_init(&message);
    if (mmq_message_receive(&message, zsock_resolve(monitor), EVENT_SIZE_MAX) == MMQ_OK &&
        mmq_frame_size(&message.frames[0]) >= sizeof event) {
        memcpy(&event, mmq_frame_data(&message.frames[0]), sizeof event);
    }
    mmq_message_clear(&message);
    return event;
}

int mmq_socket_descriptor(zsock_t *socket)
{
    int descriptor = -1;
    size_t size = sizeof descriptor;
    CHECK(zmq_getsockopt(zsock_resolve(socket), ZMQ_FD, &descriptor, &size) == 0);
    return descriptor;
}
