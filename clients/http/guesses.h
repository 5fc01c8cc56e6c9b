/* Wrong keys: how fast their answers go out, and what the log says of them. One thread.
 *
 * A right key is always served at once, wherever it comes from: behind one address there may be
 * many people. So this does not keep keys from being guessed (their 256 bits do); it bounds what
 * guesses cost: time of the loop, and lines of the log. */
#ifndef MMQ_HTTP_GUESSES_H
#define MMQ_HTTP_GUESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MMQ_GUESSES_FREE = 20,      /* of one address are answered at once, */
    MMQ_GUESSES_RATE = 10,      /* then so many a second; */
    MMQ_GUESSES_ALL = 2000,     /* of all addresses: free, and a second */
    MMQ_GUESSES_HOLD_MS = 2000, /* that an answer waits at most */
    MMQ_GUESSES_SETS = 256,
    MMQ_GUESSES_WAYS = 4,       /* addresses of one set that are remembered */
    MMQ_GUESSES_SAY_MS = 10000, /* between two lines of the log */
};

/* A bucket: when it will be empty if nothing more comes. 0: it is. */
typedef struct mmq_guesser {
    uint64_t party; /* 0: free */
    int64_t due_ns;
} mmq_guesser;

typedef struct mmq_guesses {
    mmq_guesser sets[MMQ_GUESSES_SETS][MMQ_GUESSES_WAYS];
    int64_t due_ns;  /* of all */
    uint64_t salt;   /* nobody knows which addresses share a set */
    uint64_t total;  /* so far */
    uint64_t held;   /* of those, the ones that waited */
    uint64_t unsaid; /* held since the last line of the log */
    int64_t say_ns;  /* not before */
} mmq_guesses;

void mmq_guesses_init(mmq_guesses *guesses);
/* A wrong key came from party (seats.h); shared: it stands for many, and only the bound of all
 * holds. Nanoseconds that its answer must wait; 0: none. */
int64_t mmq_guesses_note(mmq_guesses *guesses, uint64_t party, bool shared, int64_t now_ns);
/* How many were held since it was last asked, if it is time to say so; 0: there is nothing to
 * say, and *left_ns (-1: none) until there may be. */
uint64_t mmq_guesses_say(mmq_guesses *guesses, int64_t now_ns, int64_t *left_ns);

#endif
