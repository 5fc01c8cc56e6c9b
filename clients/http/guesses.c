/* Buckets that leak at a fixed rate, one an address and one for all, each kept as the time when it
 * will have run dry. A guess fills it by one interval; what is in it beyond the free ones is how
 * long the answer waits, and it is filled no further than that.
 *
 * Addresses are remembered in sets; in a full set the one that guessed longest ago is forgotten.
 * Who has more addresses than there is room for has the bound of all before him. */
#include "clients/http/guesses.h"

#include "lib/clock.h"
#include "lib/digest.h"

void mmq_guesses_init(mmq_guesses *guesses)
{
    *guesses = (mmq_guesses){0};
    mmq_random(&guesses->salt, sizeof guesses->salt);
}

/* Nanoseconds to wait. */
static int64_t fill(int64_t *due_ns, int64_t free, int64_t rate, int64_t now_ns)
{
    const int64_t interval_ns = MMQ_NS_PER_S / rate;
    const int64_t most_ns = MMQ_GUESSES_HOLD_MS * MMQ_NS_PER_MS;
    int64_t due = (*due_ns > now_ns ? *due_ns : now_ns) + interval_ns;
    int64_t wait_ns = due - now_ns - free * interval_ns;
    if (wait_ns > most_ns) {
        due -= wait_ns - most_ns;
        wait_ns = most_ns;
    }
    *due_ns = due;
    return wait_ns > 0 ? wait_ns : 0;
}

/* That party's place, which may be another's that it takes. */
static mmq_guesser *find_place(mmq_guesses *guesses, uint64_t party)
{
    const uint64_t hash = (party ^ guesses->salt) * UINT64_C(0x9E3779B97F4A7C15);
    mmq_guesser *set = guesses->sets[(hash >> 32) % MMQ_GUESSES_SETS];
    mmq_guesser *place = &set[0];
    for (size_t i = 0; i < MMQ_GUESSES_WAYS; i++) {
        if (set[i].party == party) {
            return &set[i];
        }
        place = set[i].due_ns < place->due_ns ? &set[i] : place;
    }
    *place = (mmq_guesser){.party = party};
    return place;
}

int64_t mmq_guesses_note(mmq_guesses *guesses, uint64_t party, bool shared, int64_t now_ns)
{
    int64_t wait_ns = fill(&guesses->due_ns, MMQ_GUESSES_ALL, MMQ_GUESSES_ALL, now_ns);
    if (!shared) {
        int64_t *due_ns = &find_place(guesses, party)->due_ns;
        const int64_t own_ns = fill(due_ns, MMQ_GUESSES_FREE, MMQ_GUESSES_RATE, now_ns);
        wait_ns = own_ns > wait_ns ? own_ns : wait_ns;
    }
    guesses->total++;
    guesses->held += wait_ns > 0;
    guesses->unsaid += wait_ns > 0;
    return wait_ns;
}

uint64_t mmq_guesses_say(mmq_guesses *guesses, int64_t now_ns, int64_t *left_ns)
{
    const uint64_t count = guesses->unsaid;
    *left_ns = -1;
    if (count == 0) {
        return 0;
    }
    if (now_ns < guesses->say_ns) {
        *left_ns = guesses->say_ns - now_ns;
        return 0;
    }
    guesses->unsaid = 0;
    guesses->say_ns = now_ns + MMQ_GUESSES_SAY_MS * MMQ_NS_PER_MS;
    return count;
}
