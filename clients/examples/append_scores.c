/* Appends rows to a metric by their number, and scores them:
 *
 *     append_scores ENDPOINT UID FIRST_ROWID < rows        a row a line: TIMESTAMP VALUE
 *
 * Both requests may be sent again, by the library after a loss or by who starts this twice: rows
 * that are there already are skipped. The score of this example is how far a value is from the
 * first. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <metricmq/metricmq.h>

enum { ROWS_MAX = 10000, BYTES_MAX = 32 * ROWS_MAX };

static struct {
    int64_t timestamp;
    double value;
} rows[ROWS_MAX];

/* How many rows stdin has; 0 with a sentence in why if one is none: nothing is written then. */
static int read_rows(mmq_why *why)
{
    char line[256], more;
    int count = 0;
    for (; fgets(line, sizeof line, stdin) != NULL; count++) {
        if (count == ROWS_MAX || sscanf(line, "%" SCNd64 " %lf %c", &rows[count].timestamp,
                                        &rows[count].value, &more) != 2) {
            mmq_why_set(why, "line %d is no TIMESTAMP VALUE", count + 1);
            return 0;
        }
    }
    return count;
}

/* [timestamp, value, anomaly_score, raw_score]; the scores come later. */
static void pack_appended(mmq_buffer *out, int at)
{
    mmq_pack_array(out, 4);
    mmq_pack_int(out, rows[at].timestamp);
    mmq_pack_double(out, rows[at].value);
    mmq_pack_nil(out);
    mmq_pack_nil(out);
}

/* [rowid, anomaly_score, raw_score] */
static void pack_scored(mmq_buffer *out, int at, int64_t first_rowid)
{
    const double distance = fabs(rows[at].value - rows[0].value);
    mmq_pack_array(out, 3);
    mmq_pack_int(out, first_rowid + at);
    mmq_pack_double(out, tanh(distance));
    mmq_pack_double(out, distance);
}

static mmq_err write_rows(mmq_client *client, const char *op, const char *uid, int64_t first_rowid,
                          int count, mmq_why *why)
{
    const bool append = op[0] == 'a';
    mmq_buffer packed;
    mmq_args args;
    mmq_result result; /* of `append` it holds {first_rowid, last_rowid, added} */
    mmq_buffer_init(&packed, BYTES_MAX);
    for (int i = 0; i < count; i++) {
        append ? pack_appended(&packed, i) : pack_scored(&packed, i, first_rowid);
    }
    mmq_args_init(&args);
    mmq_args_cstr(&args, "op", op);
    mmq_args_cstr(&args, "uid", uid);
    mmq_args_text(&args, "rows", (const char *)packed.data, packed.size);
    if (append) {
        mmq_args_int(&args, "first_rowid", first_rowid); /* this is what makes a resend harmless */
    }
    mmq_call call = mmq_args_call(&args, MMQ_SERVICE_WRITE);
    call.retry = true;
    mmq_err err = mmq_client_ask(client, &call, &result, why);
    mmq_result_clear(&result);
    mmq_args_clear(&args);
    mmq_buffer_clear(&packed);
    return err;
}

int main(int argc, char **argv)
{
    mmq_why why = {"usage: append_scores ENDPOINT UID FIRST_ROWID < ROWS"};
    const int count = argc == 4 ? read_rows(&why) : 0;
    mmq_client *client = count > 0 ? mmq_client_new(argv[1], &why) : NULL;
    mmq_err err = client != NULL ? MMQ_OK : MMQ_EINVAL;
    for (int i = 0; err == MMQ_OK && i < 2; i++) {
        err = write_rows(client, i ? "score" : "append", argv[2], atoll(argv[3]), count, &why);
    }
    mmq_client_destroy(&client);
    if (err != MMQ_OK) {
        fprintf(stderr, "append_scores: %s\n", why.text);
    }
    return err == MMQ_OK ? 0 : 1;
}
