/* A kind is picked by a number below the sum of the weights: the same seed picks the same kinds. */
#include "clients/load/mix.h"

#include <string.h>

#include "lib/check.h"
#include "lib/number.h"

enum { WEIGHT_MAX = 1000000 };

#define WANTED "--mix wants kinds and weights, such as small=90,day=9,dump=1"

mmq_mix mmq_mix_only(mmq_load_kind kind)
{
    mmq_mix mix = {.total = 1};
    mix.weights[kind] = 1;
    return mix;
}

/* MMQ_LOAD_KINDS if it is none that reads metrics. */
static mmq_load_kind kind_of(const char *name, size_t size)
{
    for (size_t i = MMQ_LOAD_SMALL; i < MMQ_LOAD_KINDS; i++) {
        const char *known = mmq_load_kind_name((mmq_load_kind)i);
        if (strlen(known) == size && memcmp(known, name, size) == 0) {
            return (mmq_load_kind)i;
        }
    }
    return MMQ_LOAD_KINDS;
}

/* One "kind=weight". */
static mmq_err parse_share(const char *text, size_t size, mmq_mix *mix, bool seen[MMQ_LOAD_KINDS],
                           mmq_why *why)
{
    const char *equals = memchr(text, '=', size);
    size_t name_size = equals ? (size_t)(equals - text) : size;
    mmq_load_kind kind = kind_of(text, name_size);
    if (!equals || kind == MMQ_LOAD_KINDS) {
        return mmq_fail(why, MMQ_EINVAL, WANTED ", not \"%.*s\"", (int)(size < 40 ? size : 40),
                        text);
    }
    int64_t weight;
    if (!mmq_integer_parse(equals + 1, size - name_size - 1, &weight) || weight < 0 ||
        weight > WEIGHT_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "--mix: the weight of %s must be 0 to %d",
                        mmq_load_kind_name(kind), WEIGHT_MAX);
    }
    if (seen[kind]) {
        return mmq_fail(why, MMQ_EINVAL, "--mix: %s is there twice", mmq_load_kind_name(kind));
    }
    seen[kind] = true;
    mix->weights[kind] = (uint64_t)weight;
    mix->total += (uint64_t)weight;
    return MMQ_OK;
}

mmq_err mmq_mix_parse(const char *text, mmq_mix *mix, mmq_why *why)
{
    bool seen[MMQ_LOAD_KINDS] = {false};
    *mix = (mmq_mix){0};
    for (;;) {
        size_t size = strcspn(text, ",");
        mmq_err err = parse_share(text, size, mix, seen, why);
        if (err) {
            return err;
        }
        if (text[size] == '\0') {
            break;
        }
        text += size + 1;
    }
    return mix->total > 0 ? MMQ_OK : mmq_fail(why, MMQ_EINVAL, "--mix: all weights are 0");
}

mmq_load_kind mmq_mix_pick(const mmq_mix *mix, mmq_splitmix *random)
{
    uint64_t at = mmq_splitmix_below(random, mix->total);
    size_t kind = 0;
    while (at >= mix->weights[kind]) {
        at -= mix->weights[kind++];
    }
    CHECK(kind < MMQ_LOAD_KINDS);
    return (mmq_load_kind)kind;
}
