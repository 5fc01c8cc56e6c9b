/* A tournament of lanes: which of them has the least key. A lane whose key grows is sorted in again
 * by as many comparisons as the tree is high, without a branch that could be guessed wrong (Knuth,
 * The Art of Computer Programming 3, 5.4.1: a tree of losers).
 *
 * A key is a word that holds the lane's number in its low bits, so that keys are never equal and
 * the least one tells whose it is. */
#ifndef MMQ_TOURNAMENT_H
#define MMQ_TOURNAMENT_H

#include <stddef.h>
#include <stdint.h>

enum {
    MMQ_TOURNAMENT_LANE_BITS = 24,
    MMQ_TOURNAMENT_LANES_MAX = 1 << MMQ_TOURNAMENT_LANE_BITS,
};

#define MMQ_TOURNAMENT_OUT UINT64_MAX /* the key of a lane that takes no part any more */

typedef struct mmq_tournament {
    size_t lanes;
    uint64_t *keys; /* [0]: the winner's; [1] to [lanes - 1]: of the loser of each match */
} mmq_tournament;

static inline uint64_t mmq_tournament_key(uint64_t order, size_t lane)
{
    return order << MMQ_TOURNAMENT_LANE_BITS | lane;
}

static inline size_t mmq_tournament_lane(uint64_t key)
{
    return key & (MMQ_TOURNAMENT_LANES_MAX - 1);
}

/* keys: memory for 2 * lanes words, the second half of which has each lane's key. lanes > 0. */
static inline void mmq_tournament_begin(mmq_tournament *tournament, uint64_t *keys, size_t lanes)
{
    tournament->lanes = lanes;
    tournament->keys = keys;
    for (size_t match = lanes - 1; match > 0; match--) {
        const uint64_t a = keys[2 * match], b = keys[2 * match + 1];
        keys[match] = a < b ? a : b; /* for now the winner's */
    }
    keys[0] = keys[1];
    for (size_t match = 1; match < lanes; match++) {
        const uint64_t a = keys[2 * match], b = keys[2 * match + 1];
        keys[match] = a < b ? b : a;
    }
}

static inline uint64_t mmq_tournament_winner(const mmq_tournament *tournament)
{
    return tournament->keys[0];
}

/* The winning lane has the key now. */
static inline void mmq_tournament_replay(mmq_tournament *tournament, size_t lane, uint64_t key)
{
    for (size_t match = (tournament->lanes + lane) / 2; match > 0; match /= 2) {
        const uint64_t other = tournament->keys[match];
        tournament->keys[match] = key < other ? other : key;
        key = key < other ? key : other;
    }
    tournament->keys[0] = key;
}

#endif
