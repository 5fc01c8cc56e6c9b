/* Frames, messages and the hand-over that ThreadSanitizer cannot see.
 *
 * Half-sent messages. What libzmq 4.3.4 guarantees of a multipart send that does not wait:
 *   - ROUTER with ROUTER_MANDATORY decides at the first frame, the identity: EAGAIN (that peer's
 *     pipe is full) or EHOSTUNREACH (no such peer) leave the socket between messages. Once it took
 *     the identity, each later frame returns 0; if the pipe dies meanwhile it drops them.
 *   - DEALER and PAIR count the high-water mark in whole messages, so only the first frame can find
 *     a full pipe. A later frame fails only if the pipe died; DEALER then rolled back the frames
 *     before and, if the failing frame had more to follow, drops all up to the next last frame.
 * So a failing first frame leaves the message whole, and a failing later frame means that the peer
 * left while we were sending: the same to everyone as a peer that left just after. The message
 * counts as sent, and one empty last frame ends the socket's dropping.
 *
 * ThreadSanitizer. Debian's libzmq is not instrumented, so we tell of each hand-over ourselves:
 * the sender releases and the receiver acquires one address that both can name. That is the
 * content's, which inproc does not change. Content of up to 33 bytes lies inside zmq_msg_t and
 * changes address; the address of a slot chosen by the content serves, so that a pointer sent in a
 * frame orders what it points to. References count as closed one after the other. */
#include "lib/message.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#ifdef WITH_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
const char *__tsan_default_options(void);

/* What the sanitizer sees of libzmq are its calls of malloc, memcpy and recv, but not the atomic
 * queues between them: it must not judge by those. */
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}

static void *handover_address(const mmq_frame *frame)
{
    static char slots[4096];
    uintptr_t data = (uintptr_t)mmq_frame_data(frame);
    if (data - (uintptr_t)frame >= sizeof *frame) {
        return (void *)data;
    }
    const uint8_t *bytes = (const uint8_t *)data;
    size_t hash = 5381;
    for (size_t i = 0; i < mmq_frame_size(frame); i++) {
        hash = hash * 33 + bytes[i];
    }
    return &slots[hash % sizeof slots];
}

static void release_frame(const mmq_frame *frame)
{
    __tsan_release(handover_address(frame));
}

static void acquire_frame(const mmq_frame *frame)
{
    __tsan_acquire(handover_address(frame));
}

static void acquire_adopted(void *data)
{
    __tsan_acquire(data);
}
#else
static void release_frame(const mmq_frame *frame)
{
    (void)frame;
}

static void acquire_frame(const mmq_frame *frame)
{
    (void)frame;
}

static void acquire_adopted(void *data)
{
    (void)data;
}
#endif

_Static_assert(sizeof(mmq_frame) == sizeof(zmq_msg_t), "a frame is a zmq_msg_t");
_Static_assert(_Alignof(mmq_frame) >= _Alignof(zmq_msg_t), "a frame is a zmq_msg_t");

/* libzmq's getters want a pointer to non-const but change nothing. */
static zmq_msg_t *get_msg(const mmq_frame *frame)
{
    union {
        const mmq_frame *in;
        zmq_msg_t *out;
    } msg = {.in = frame};
    return msg.out;
}

void mmq_frame_init(mmq_frame *frame)
{
    zmq_msg_init(get_msg(frame));
}

mmq_err mmq_frame_copy(mmq_frame *frame, const void *data, size_t size)
{
    if (zmq_msg_init_size(get_msg(frame), size) != 0) {
        mmq_frame_init(frame);
        return MMQ_ENOMEM;
    }
    if (size > 0) {
        memcpy(zmq_msg_data(get_msg(frame)), data, size);
    }
    return MMQ_OK;
}

/* Runs in whichever thread drops the last reference, libzmq's own included. */
static void free_adopted(void *data, void *hint)
{
    (void)hint;
    acquire_adopted(data);
    free(data);
}

mmq_err mmq_frame_adopt(mmq_frame *frame, void *data, size_t size)
{
    if (zmq_msg_init_data(get_msg(frame), data, size, free_adopted, NULL) != 0) {
        mmq_frame_init(frame);
        return MMQ_ENOMEM;
    }
    return MMQ_OK;
}

mmq_err mmq_frame_share(mmq_frame *to, mmq_frame *from)
{
    mmq_frame_init(to);
    return zmq_msg_copy(get_msg(to), get_msg(from)) == 0 ? MMQ_OK : MMQ_ENOMEM;
}

void mmq_frame_move(mmq_frame *to, mmq_frame *from)
{
    release_frame(to); /* its content is freed here */
    acquire_frame(to);
    CHECK(zmq_msg_move(get_msg(to), get_msg(from)) == 0);
}

void mmq_frame_close(mmq_frame *frame)
{
    release_frame(frame);
    acquire_frame(frame);
    CHECK(zmq_msg_close(get_msg(frame)) == 0);
}

const void *mmq_frame_data(const mmq_frame *frame)
{
    return zmq_msg_data(get_msg(frame));
}

size_t mmq_frame_size(const mmq_frame *frame)
{
    return zmq_msg_size(get_msg(frame));
}

const char *mmq_frame_user(const mmq_frame *frame)
{
    return zmq_msg_gets(get_msg(frame), "User-Id");
}

void mmq_message_init(mmq_message *message)
{
    message->count = 0;
    message->capacity = MMQ_MESSAGE_INLINE;
    message->frames = message->inline_frames;
}

/* Forgets frames that are closed or moved away. */
static void reset_message(mmq_message *message)
{
    if (message->frames != message->inline_frames) {
        free(message->frames);
    }
    mmq_message_init(message);
}

void mmq_message_clear(mmq_message *message)
{
    for (size_t i = 0; i < message->count; i++) {
        mmq_frame_close(&message->frames[i]);
    }
    reset_message(message);
}

static void move_frames(mmq_frame *to, mmq_frame *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mmq_frame_init(&to[i]);
        mmq_frame_move(&to[i], &from[i]);
        mmq_frame_close(&from[i]);
    }
}

void mmq_message_move(mmq_message *to, mmq_message *from)
{
    mmq_message_clear(to);
    if (from->frames == from->inline_frames) {
        move_frames(to->inline_frames, from->inline_frames, from->count);
    } else {
        to->frames = from->frames;
        to->capacity = from->capacity;
    }
    to->count = from->count;
    mmq_message_init(from);
}

static mmq_err grow_message(mmq_message *message)
{
    if (message->count >= MMQ_FRAMES_MAX) {
        return MMQ_ETOOBIG;
    }
    size_t capacity = message->capacity * 2;
    mmq_frame *frames = calloc(capacity, sizeof *frames);
    if (frames == NULL) {
        return MMQ_ENOMEM;
    }
    size_t count = message->count;
    move_frames(frames, message->frames, count);
    reset_message(message);
    message->frames = frames;
    message->capacity = capacity;
    message->count = count;
    return MMQ_OK;
}

/* The place of the next frame, which counts once it is filled. */
static mmq_err next_slot(mmq_message *message, mmq_frame **slot)
{
    mmq_err err = message->count < message->capacity ? MMQ_OK : grow_message(message);
    *slot = &message->frames[message->count];
    return err;
}

mmq_err mmq_message_append(mmq_message *message, mmq_frame *frame)
{
    mmq_frame *slot;
    mmq_err err = next_slot(message, &slot);
    if (err == MMQ_OK) {
        mmq_frame_init(slot);
        mmq_frame_move(slot, frame);
        message->count++;
    }
    return err;
}

mmq_err mmq_message_append_copy(mmq_message *message, const void *data, size_t size)
{
    mmq_frame *slot;
    mmq_err err = next_slot(message, &slot);
    if (err == MMQ_OK) {
        err = mmq_frame_copy(slot, data, size);
        message->count += err == MMQ_OK;
    }
    return err;
}

mmq_err mmq_message_append_share(mmq_message *message, mmq_frame *frame)
{
    mmq_frame *slot;
    mmq_err err = next_slot(message, &slot);
    if (err == MMQ_OK) {
        err = mmq_frame_share(slot, frame);
        message->count += err == MMQ_OK;
    }
    return err;
}

size_t mmq_message_size(const mmq_message *message)
{
    size_t size = 0;
    for (size_t i = 0; i < message->count; i++) {
        size += mmq_frame_size(&message->frames[i]);
    }
    return size;
}

static int send_frame(mmq_frame *frame, void *zmq_socket, int flags)
{
    int rc;
    do {
        rc = zmq_msg_send(get_msg(frame), zmq_socket, flags);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? errno : 0;
}

static mmq_err send_error(int code)
{
    CHECK(code == EAGAIN || code == EHOSTUNREACH || code == ETERM);
    return code == EAGAIN ? MMQ_EAGAIN : code == EHOSTUNREACH ? MMQ_EUNREACHABLE : MMQ_ECLOSED;
}

/* Puts the socket between messages again after a frame other than the first and last failed. */
static void end_broken_send(void *zmq_socket)
{
    mmq_frame last;
    mmq_frame_init(&last);
    send_frame(&last, zmq_socket, ZMQ_DONTWAIT);
    mmq_frame_close(&last);
}

static mmq_err send_message(mmq_message *message, void *zmq_socket, int flags)
{
    CHECK(message->count > 0);
    for (size_t i = 0; i < message->count; i++) {
        release_frame(&message->frames[i]);
    }
    for (size_t i = 0; i < message->count; i++) {
        bool last = i + 1 == message->count;
        int code = send_frame(&message->frames[i], zmq_socket, flags | (last ? 0 : ZMQ_SNDMORE));
        if (code == 0) {
            continue;
        }
        if (i == 0 || code == ETERM) {
            return send_error(code);
        }
        if (!last) {
            end_broken_send(zmq_socket);
        }
        mmq_message_clear(message);
        return MMQ_OK;
    }
    reset_message(message); /* libzmq left every frame empty: there is nothing to close */
    return MMQ_OK;
}

mmq_err mmq_message_send(mmq_message *message, void *zmq_socket)
{
    return send_message(message, zmq_socket, ZMQ_DONTWAIT);
}

mmq_err mmq_message_send_wait(mmq_message *message, void *zmq_socket)
{
    return send_message(message, zmq_socket, 0);
}

static int receive_frame(mmq_frame *frame, void *zmq_socket, int flags)
{
    int rc;
    do {
        rc = zmq_msg_recv(get_msg(frame), zmq_socket, flags);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        return errno;
    }
    acquire_frame(frame);
    return 0;
}

/* Reads the rest of a message that cannot be kept, and keeps of it the first frame only. */
static void drop_rest(mmq_message *message, void *zmq_socket, bool more)
{
    mmq_frame frame;
    mmq_frame_init(&frame);
    while (more &&
           receive_frame(&frame, zmq_socket, ZMQ_DONTWAIT) == 0) { /* else the context ended */
        more = zmq_msg_more(get_msg(&frame)) != 0;
    }
    mmq_frame_close(&frame);
    while (message->count > 1) {
        mmq_frame_close(&message->frames[--message->count]);
    }
}

static mmq_err receive_message(mmq_message *message, void *zmq_socket, size_t size_max, int flags)
{
    mmq_message_clear(message);
    mmq_frame *slot;
    mmq_err err;
    size_t left = size_max;
    bool more = true;
    do {
        err = next_slot(message, &slot);
        if (err != MMQ_OK) {
            break;
        }
        mmq_frame_init(slot);
        int code = receive_frame(slot, zmq_socket, flags);
        if (code != 0) {
            CHECK(code == ETERM || (code == EAGAIN && message->count == 0));
            return code == EAGAIN ? MMQ_EAGAIN : MMQ_ECLOSED;
        }
        message->count++;
        more = zmq_msg_more(get_msg(slot)) != 0;
        size_t size = mmq_frame_size(slot);
        err = size <= left ? MMQ_OK : MMQ_ETOOBIG;
        left -= size;
    } while (more && err == MMQ_OK);
    if (err != MMQ_OK) {
        drop_rest(message, zmq_socket, more);
    }
    return err;
}

mmq_err mmq_message_receive(mmq_message *message, void *zmq_socket, size_t size_max)
{
    return receive_message(message, zmq_socket, size_max, ZMQ_DONTWAIT);
}

mmq_err mmq_message_receive_wait(mmq_message *message, void *zmq_socket, size_t size_max)
{
    return receive_message(message, zmq_socket, size_max, 0);
}
