/* Each message is judged by the list that is in force when it comes, so that a key that has left
 * the list is refused at once, whatever its connection. The judgement is a table's look-up: the key
 * is the User-Id of the message's first frame, and stands in the peer. A peer may name a User-Id of
 * its own in its handshake; libzmq takes the one that the ZAP handler gave.
 *
 * Peers of this process, and all peers of a broker without lists, may do everything. */
#include "broker/state.h"

#include "lib/log.h"

#define COMPLAIN_NS MMQ_NS_PER_S

static bool is_judged(const mmq_core *core, const mmq_peer *peer)
{
    const mmq_side side = mmq_peer_side(peer);
    return core->allow != NULL && (side == MMQ_SIDE_CLIENTS || side == MMQ_SIDE_WORKERS);
}

static const mmq_grant *find_grant(const mmq_core *core, const mmq_peer *peer)
{
    const char *key = mmq_peer_user(peer);
    return key != NULL ? mmq_allow_find(core->allow, mmq_side_works(mmq_peer_side(peer)), key)
                       : NULL;
}

bool mmq_core_may_ask(const mmq_core *core, const mmq_peer *peer, const char *service, size_t size)
{
    if (!is_judged(core, peer)) {
        return true;
    }
    const mmq_grant *grant = find_grant(core, peer);
    return grant != NULL && mmq_grant_asks(grant, service, size);
}

bool mmq_core_may_serve(const mmq_core *core, const mmq_peer *peer, const char *service,
                        size_t size)
{
    if (!is_judged(core, peer)) {
        return true;
    }
    const mmq_grant *grant = find_grant(core, peer);
    return grant != NULL && mmq_grant_serves(grant, service, size);
}

bool mmq_core_is_known(const mmq_core *core, const mmq_peer *peer)
{
    return !is_judged(core, peer) || find_grant(core, peer) != NULL;
}

void mmq_core_deny(mmq_core *core, const mmq_peer *peer, const char *service, size_t size)
{
    core->dropped[MMQ_DROP_DENIED]++;
    const int64_t count = mmq_log_due(&core->denials, core->now_ns, COMPLAIN_NS);
    if (count == 0) {
        return;
    }
    const mmq_grant *grant = find_grant(core, peer);
    const char *key = mmq_peer_user(peer);
    mmq_log(MMQ_WARN, grant != NULL ? "no right to that" : "a key that is in the list no more",
            MMQ_S("side", mmq_side_works(mmq_peer_side(peer)) ? "workers" : "clients"),
            MMQ_S("name", grant != NULL ? mmq_grant_name(grant) : ""),
            MMQ_SN("key", key != NULL ? key : "", key != NULL ? MMQ_KEY_TEXT : 0),
            MMQ_SN("service", service, size), MMQ_I("count", count));
}

/* Workers that may serve their service no more leave now; what they hold goes to others. */
static void judge_hands(mmq_core *core)
{
    MMQ_LIST_EACH(at, &core->service_list)
    {
        const mmq_service *service = MMQ_OF(at, mmq_service, link);
        MMQ_LIST_EACH(hand_at, &MMQ_OF(at, mmq_service, link)->hands)
        {
            mmq_hand *hand = MMQ_OF(hand_at, mmq_hand, all);
            if (!mmq_core_may_serve(core, &hand->peer, service->name, service->name_size)) {
                mmq_core_deny(core, &hand->peer, service->name, service->name_size);
                mmq_hand_dismiss(hand, "its key has no right to the service");
            }
        }
    }
}

void mmq_core_set_allow(mmq_core *core, const mmq_allow *allow, int64_t now_ns)
{
    core->now_ns = now_ns;
    core->allow = allow;
    judge_hands(core);
    mmq_core_settle(core);
}
