/* Not czmq's zauth, for three reasons. It does not look at the domain: there would be one list for
 * clients and workers, and a client's key would get through the handshake of the workers' port. Its
 * store cannot be replaced but by ending the actor: handshakes fail until there is another one. It
 * asserts where there is no memory. This one asks the list that the broker has just then, in the
 * broker's own thread, so that the first handshake after a reload is judged by the new list.
 *
 * A request: version, request id, domain, address, identity, mechanism, credentials (for CURVE the
 * public key, 32 bytes). The answer: version, request id, status, text, User-Id, metadata. The
 * User-Id, 40 characters of Z85, is what the broker then finds with each message. libzmq lets
 * nobody in whom we did not answer with 200 (ZMQ_ZAP_ENFORCE_DOMAIN). */
#include "broker/zap.h"

#include <czmq.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/monitor.h"
#include "lib/message.h"

#define COMPLAIN_NS (10 * MMQ_NS_PER_S)

enum {
    BURST = 64,
    REQUEST_MAX = 4096,
    KEY_BYTES = 32,
    ADDRESS_MAX = 64,
    /* Frames of a request: the ROUTER's identity, REQ's empty one, then those of RFC 27. */
    FRAME_VERSION = 2,
    FRAME_REQUEST,
    FRAME_DOMAIN,
    FRAME_ADDRESS,
    FRAME_IDENTITY,
    FRAME_MECHANISM,
    FRAME_KEY,
    FRAMES,
};

struct mmq_zap {
    zsock_t *socket;
    mmq_log_pace refusals;
};

mmq_zap *mmq_zap_new(mmq_why *why)
{
    mmq_zap *zap = calloc(1, sizeof *zap);
    if (zap == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for a socket");
        return NULL;
    }
    zap->socket = zsock_new(ZMQ_ROUTER);
    if (zap->socket != NULL) {
        /* One question a handshake, which is libzmq's own thread's: it must never wait for us, and
         * an answer nobody waits for is dropped at once. HANDSHAKE_IVL bounds how many there are.
         */
        zsock_set_rcvhwm(zap->socket, 0);
        zsock_set_sndhwm(zap->socket, 0);
        zsock_set_linger(zap->socket, 0);
    }
    if (zap->socket == NULL ||
        zmq_bind(zsock_resolve(zap->socket), "inproc://zeromq.zap.01") != 0) {
        (void)mmq_fail(why, MMQ_EUNAVAILABLE, "no socket to check keys with: %s",
                       zmq_strerror(errno));
        mmq_zap_destroy(&zap);
    }
    return zap;
}

void mmq_zap_destroy(mmq_zap **zap_p)
{
    mmq_zap *zap = *zap_p;
    if (zap == NULL) {
        return;
    }
    if (zap->socket != NULL) { /* the name is given back at once, not when libzmq's reaper comes */
        (void)zmq_unbind(zsock_resolve(zap->socket), "inproc://zeromq.zap.01");
    }
    zsock_destroy(&zap->socket);
    free(zap);
    *zap_p = NULL;
}

int mmq_zap_descriptor(const mmq_zap *zap)
{
    return mmq_socket_descriptor(zap->socket);
}

static bool frame_is(const mmq_frame *frame, const char *text)
{
    return mmq_frame_size(frame) == strlen(text) &&
           memcmp(mmq_frame_data(frame), text, strlen(text)) == 0;
}

/* What the lists say; NULL: no. The key's text is set in any case. */
static const mmq_grant *judge(const mmq_message *request, const mmq_allow *allow,
                              char key[MMQ_KEY_TEXT + 1])
{
    const mmq_frame *frames = request->frames;
    const bool works = frame_is(&frames[FRAME_DOMAIN], MMQ_ZAP_WORKERS);
    if (mmq_frame_size(&frames[FRAME_KEY]) != KEY_BYTES ||
        zmq_z85_encode(key, mmq_frame_data(&frames[FRAME_KEY]), KEY_BYTES) == NULL) {
        key[0] = '\0';
        return NULL;
    }
    bool known = frame_is(&frames[FRAME_VERSION], "1.0") &&
                 frame_is(&frames[FRAME_MECHANISM], "CURVE") &&
                 (works || frame_is(&frames[FRAME_DOMAIN], MMQ_ZAP_CLIENTS));
    return known ? mmq_allow_find(allow, works, key) : NULL;
}

/* Rarely: anybody can bring it about, and a peer with a wrong key does so several times a second.
 */
static void complain(mmq_zap *zap, const mmq_message *request, const char *key, int64_t now_ns)
{
    const int64_t count = mmq_log_due(&zap->refusals, now_ns, COMPLAIN_NS);
    if (count == 0) {
        return;
    }
    const mmq_frame *domain = &request->frames[FRAME_DOMAIN];
    const mmq_frame *address = &request->frames[FRAME_ADDRESS];
    mmq_log(MMQ_WARN, "a connection was refused: its key is not in the list",
            MMQ_S("list", frame_is(domain, MMQ_ZAP_WORKERS) ? "workers" : "clients"),
            MMQ_S("key", key),
            MMQ_SN("address", mmq_frame_data(address),
                   mmq_frame_size(address) < ADDRESS_MAX ? mmq_frame_size(address) : ADDRESS_MAX),
            MMQ_I("count", count));
}

static mmq_err append_text(mmq_message *message, const char *text)
{
    return mmq_message_append_copy(message, text, strlen(text));
}

/* An answer that cannot be made is none: the handshake times out. */
static void answer(mmq_zap *zap, mmq_message *request, bool granted, const char *key)
{
    const char *const texts[] = {granted ? "200" : "400", granted ? "OK" : "No access",
                                 granted ? key : "", ""};
    mmq_message message;
    mmq_message_init(&message);
    mmq_err err = MMQ_OK;
    for (size_t i = 0; err == MMQ_OK && i <= FRAME_REQUEST; i++) {
        err = mmq_message_append(&message, &request->frames[i]);
    }
    for (size_t i = 0; err == MMQ_OK && i < sizeof texts / sizeof *texts; i++) {
        err = append_text(&message, texts[i]);
    }
    if (err == MMQ_OK) {
        (void)!mmq_message_send(&message, zsock_resolve(zap->socket)); /* who is gone, is gone */
    }
    mmq_message_clear(&message);
}

static void take_request(mmq_zap *zap, mmq_message *request, const mmq_allow *allow, int64_t now_ns)
{
    char key[MMQ_KEY_TEXT + 1];
    if (request->count != FRAMES) { /* no question about a CURVE key */
        return;
    }
    const mmq_grant *grant = judge(request, allow, key);
    if (grant == NULL) {
        complain(zap, request, key, now_ns);
    } else {
        mmq_log(MMQ_DEBUG, "a connection was accepted", MMQ_S("name", mmq_grant_name(grant)));
    }
    answer(zap, request, grant != NULL, key);
}

bool mmq_zap_serve(mmq_zap *zap, const mmq_allow *allow, int64_t now_ns)
{
    mmq_message request;
    mmq_message_init(&request);
    size_t count = 0;
    for (; count < BURST; count++) {
        mmq_err err = mmq_message_receive(&request, zsock_resolve(zap->socket), REQUEST_MAX);
        if (err == MMQ_OK) {
            take_request(zap, &request, allow, now_ns);
        } else if (err == MMQ_EAGAIN || err == MMQ_ECLOSED) {
            break;
        }
    }
    mmq_message_clear(&request);
    return count == BURST;
}
