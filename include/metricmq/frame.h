/* Frames: the bytes of an answer or a payload, which move between threads and sockets and are never
 * copied on their way.
 *
 * A function that takes a `mmq_frame *` to send it leaves it empty. A frame is a value, but must
 * not be copied by assignment: use mmq_frame_move. One thread at a time. */
#ifndef METRICMQ_FRAME_H
#define METRICMQ_FRAME_H

#include <stddef.h>

#include "metricmq/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A libzmq message (zmq_msg_t), which small content lies inside of. Only this library looks in. */
typedef struct mmq_frame {
    union {
        unsigned char bytes[64];
        void *align;
    } opaque;
} mmq_frame;

/* An empty frame. Every frame must be initialised by this, copy or adopt before anything else; what
 * was in it is forgotten, not freed. */
void mmq_frame_init(mmq_frame *frame);
/* A frame with a copy of size bytes. MMQ_ENOMEM: the frame is empty. */
mmq_err mmq_frame_copy(mmq_frame *frame, const void *data, size_t size) MMQ_MUST_USE;
/* Takes ownership of data, which malloc made; it is freed when libzmq has sent it, in a thread of
 * libzmq. MMQ_ENOMEM: data is still the caller's. */
mmq_err mmq_frame_adopt(mmq_frame *frame, void *data, size_t size) MMQ_MUST_USE;
/* Moves from into to (which must be initialised; its content is freed); from becomes empty. */
void mmq_frame_move(mmq_frame *to, mmq_frame *from);
/* Frees the content; the frame must be initialised again before its next use. */
void mmq_frame_close(mmq_frame *frame);
/* The bytes, borrowed until the frame is moved or closed; not aligned to anything. */
const void *mmq_frame_data(const mmq_frame *frame);
/* How many there are. */
size_t mmq_frame_size(const mmq_frame *frame);

#ifdef __cplusplus
}
#endif

#endif
