/* Multipart messages: how frames come from sockets and go there. frame.c is the only place that
 * touches zmq_msg_t.
 *
 * Debian's libzmq is not built for ThreadSanitizer, so a message that passes from thread to thread
 * over a socket looks like a race. Every send, receive and free goes through frame.c, which tells
 * the sanitizer of the hand-over; the rest of the code needs no suppressions. */
#ifndef MMQ_MESSAGE_H
#define MMQ_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <zmq.h>

#include "metricmq/frame.h"

enum {
    MMQ_FRAMES_MAX = 64, /* frames of one message; what comes beyond is thrown away */
    MMQ_MESSAGE_INLINE = 8,
};

/* A multipart message. frames points at the inline array or, past 8 frames, at the heap. */
typedef struct mmq_message {
    size_t count;
    size_t capacity;
    mmq_frame *frames;
    mmq_frame inline_frames[MMQ_MESSAGE_INLINE];
} mmq_message;

/* Another reference to the same bytes: both must be closed. */
mmq_err mmq_frame_share(mmq_frame *to, mmq_frame *from) MMQ_MUST_USE;
/* Who sent a frame that came over CURVE: the User-Id that the ZAP handler gave its connection; NULL
 * if it came in another way. Borrowed as long as the frame is as it came. Not to be believed on
 * sockets without ZAP, whose peers can say what they like. */
const char *mmq_frame_user(const mmq_frame *frame);

/* An empty message. A message must not be copied by assignment: use mmq_message_move. */
void mmq_message_init(mmq_message *message);
/* Frees all frames; the message is empty and may be used again. */
void mmq_message_clear(mmq_message *message);
/* Moves from into to (cleared first); from becomes empty. */
void mmq_message_move(mmq_message *to, mmq_message *from);
/* Appends a frame, moved: frame becomes empty. MMQ_ETOOBIG past MMQ_FRAMES_MAX. */
mmq_err mmq_message_append(mmq_message *message, mmq_frame *frame) MMQ_MUST_USE;
mmq_err mmq_message_append_copy(mmq_message *message, const void *data, size_t size) MMQ_MUST_USE;
/* Appends another reference to the frame's bytes. */
mmq_err mmq_message_append_share(mmq_message *message, mmq_frame *frame) MMQ_MUST_USE;
/* Bytes of all frames. */
size_t mmq_message_size(const mmq_message *message);

/* Sends all frames without waiting. On success the message is empty. On failure it is whole and
 * the caller's: MMQ_EAGAIN (would block), MMQ_EUNREACHABLE (ROUTER: that peer is gone),
 * MMQ_ECLOSED (context ended; no longer whole then: clear it). A peer that leaves while it is sent
 * is a success, as if it had left just after. */
mmq_err mmq_message_send(mmq_message *message, void *zmq_socket) MMQ_MUST_USE;
/* As mmq_message_send, but waits; for inproc pipes between our own threads only. */
mmq_err mmq_message_send_wait(mmq_message *message, void *zmq_socket) MMQ_MUST_USE;
/* Receives one whole message without waiting into an initialised message (cleared first).
 * MMQ_EAGAIN if there is none; MMQ_ETOOBIG if it had more than MMQ_FRAMES_MAX frames or more than
 * size_max bytes, MMQ_ENOMEM if there was no memory for its frames: it was read to its end and
 * thrown away (the message then holds its first frame only, so that a ROUTER's user knows the
 * peer). */
mmq_err mmq_message_receive(mmq_message *message, void *zmq_socket, size_t size_max) MMQ_MUST_USE;
/* As mmq_message_receive, but waits as long as the socket's ZMQ_RCVTIMEO says. */
mmq_err mmq_message_receive_wait(mmq_message *message, void *zmq_socket,
                                 size_t size_max) MMQ_MUST_USE;

#endif
