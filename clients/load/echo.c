/* The arguments are packed once; a request only overwrites the number, for the client library
 * copies them. */
#include "clients/load/echo.h"

#include <stdlib.h>
#include <string.h>

#include "lib/splitmix.h"
#include "metricmq/unpack.h"
#include "metricmq/protocol.h"

enum { NUMBER_DIGITS = 16 };

/* Letters, so that people who look at a message see where the bytes are. */
static void fill(char *data, size_t size, uint64_t seed)
{
    mmq_splitmix random = {seed};
    for (size_t i = 0; i < size; i++) {
        data[i] = (char)('a' + mmq_splitmix_below(&random, 26));
    }
}

mmq_err mmq_echo_init(mmq_echo *echo, size_t size, uint64_t seed, mmq_why *why)
{
    mmq_args_init(&echo->args);
    echo->size = size;
    char *data = malloc(size + 1);
    if (!data) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for %zu bytes", size);
    }
    fill(data, size, seed);
    mmq_args_cstr(&echo->args, "op", "echo");
    mmq_args_text(&echo->args, "data", data, size);
    free(data);
    if (echo->args.pairs.failed) {
        return mmq_fail(why, MMQ_ETOOBIG, "--size: a request holds at most %d bytes", MMQ_BODY_MAX);
    }
    echo->at = echo->args.pairs.size - size;
    return MMQ_OK;
}

void mmq_echo_clear(mmq_echo *echo)
{
    mmq_args_clear(&echo->args);
}

/* Hexadecimal digits, the last one first: it is there, however few bytes are sent. */
void mmq_echo_stamp(mmq_echo *echo, uint64_t number)
{
    uint8_t *data = echo->args.pairs.data + echo->at;
    for (size_t i = 0; i < NUMBER_DIGITS && i < echo->size; i++) {
        data[i] = (uint8_t) "0123456789abcdef"[number & 15];
        number >>= 4;
    }
}

bool mmq_echo_matches(mmq_echo *echo, uint64_t number, const mmq_frame *payload)
{
    if (!payload || mmq_frame_size(payload) != echo->size) {
        return echo->size == 0 && !payload;
    }
    mmq_echo_stamp(echo, number);
    return memcmp(mmq_frame_data(payload), echo->args.pairs.data + echo->at, echo->size) == 0;
}

bool mmq_echo_find(const void *body, size_t body_size, const char **data, size_t *size)
{
    mmq_reader reader, whole;
    mmq_value value;
    mmq_reader_init(&reader, body, body_size);
    if (!mmq_map_find(reader, "data", &value, &whole) || value.type != MMQ_STR) {
        return false;
    }
    *data = value.text.data;
    *size = value.text.size;
    return true;
}
