/* A program of others that is linked with libmetricmq as pkg-config says:
 *
 *     cc rows.c $(pkg-config --cflags --libs metricmq) -o rows
 *     rows ENDPOINT UID
 *
 * Reads all rows of a metric and prints how many there are and the sum of their values. It sees
 * only the public headers; arguments are packed by hand to show that nothing else is needed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <metricmq/client.h>
#include <metricmq/rows.h>
#include <metricmq/version.h>

enum { PAIRS = 3 };

typedef struct total {
    uint64_t rows;
    double sum;
} total;

static int fail(const char *step, const char *sentence)
{
    fprintf(stderr, "rows: %s: %s\n", step, sentence);
    return 1;
}

/* {"op": "data", "anomaly": -1 (rows without a score too), "uid": UID} without the map's head;
 * returns its size. */
static size_t pack_args(char *out, const char *uid)
{
    static const char head[] = "\xa2op\xa4"
                               "data\xa7"
                               "anomaly\xff\xa3uid\xda";
    size_t size = sizeof head - 1, length = strlen(uid);
    memcpy(out, head, size);
    out[size++] = (char)(length >> 8);
    out[size++] = (char)(length & 0xff);
    memcpy(out + size, uid, length);
    return size + length;
}

static mmq_err add_rows(const mmq_frame *payload, total *out)
{
    size_t offset = 0;
    mmq_row row;
    mmq_err err;
    while ((err = mmq_rows_decode(mmq_frame_data(payload), mmq_frame_size(payload), &offset,
                                  &row)) == MMQ_OK ||
           err == MMQ_EAGAIN) {
        if (err == MMQ_OK) {
            out->rows++;
            out->sum += row.value;
        }
    }
    return err == MMQ_EEND ? MMQ_OK : err;
}

static mmq_err read_stream(mmq_stream *stream, total *out, mmq_why *why)
{
    mmq_err err;
    do {
        mmq_frame payload;
        mmq_frame_init(&payload);
        err = mmq_stream_next(stream, &payload, why);
        if (err == MMQ_OK) {
            err = add_rows(&payload, out);
        }
        mmq_frame_close(&payload);
    } while (err == MMQ_OK);
    return err == MMQ_EEND ? MMQ_OK : err;
}

int main(int argc, char **argv)
{
    char args[64 + MMQ_UID_MAX];
    if (argc != 3 || strlen(argv[2]) > MMQ_UID_MAX) {
        return fail("usage", "rows ENDPOINT UID");
    }
    mmq_why why = {""};
    mmq_client *client = mmq_client_new(argv[1], &why);
    if (!client) {
        return fail("connect", why.text);
    }
    mmq_stream_options options = {.call = {.service = MMQ_SERVICE_QUERY,
                                           .args = args,
                                           .args_size = pack_args(args, argv[2]),
                                           .args_count = PAIRS,
                                           .retry = true}};
    total sum = {0, 0};
    mmq_err err = MMQ_ENOMEM;
    mmq_stream *stream = mmq_stream_new(client, &options, &why);
    if (stream) {
        err = read_stream(stream, &sum, &why);
    }
    mmq_stream_destroy(&stream);
    mmq_client_destroy(&client);
    if (err != MMQ_OK) {
        return fail(mmq_err_name(err), why.text);
    }
    printf("version %s rows %" PRIu64 " sum %.1f\n", mmq_version(), sum.rows, sum.sum);
    return 0;
}
