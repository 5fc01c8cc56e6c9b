/* The rows of one metric, or of all, as CSV:
 *
 *     rows_csv ENDPOINT [UID [FROM [TO]]]
 *
 *     rows_csv tcp://127.0.0.1:5750 b2f2... "2026-01-01 00:00:00" > rows.csv
 *
 * Times are UTC. The exit status is 0 only if the file is whole: pages, lost brokers and workers
 * are the library's business, but a stream that cannot be brought to its end is an error. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include <metricmq/metricmq.h>

static int fail(const char *sentence)
{
    fprintf(stderr, "rows_csv: %s\n", sentence);
    return 1;
}

/* Uids need no quotes; 17 digits are enough for a double to be read back as it was. */
static void print_row(const mmq_row *row)
{
    printf("%.*s,%" PRId64 ",%.17g,", (int)row->uid_size, row->uid, row->timestamp, row->value);
    if (!isnan(row->anomaly_score)) {
        printf("%.17g", row->anomaly_score);
    }
    printf(",%" PRId64 "\n", row->rowid);
}

/* MMQ_EEND: all rows were printed. */
static mmq_err print_rows(mmq_query *query, mmq_why *why)
{
    mmq_row row;
    mmq_err err;
    puts("uid,timestamp,value,anomaly_score,rowid");
    while ((err = mmq_query_next(query, &row, why)) == MMQ_OK) {
        print_row(&row);
        if (ferror(stdout)) {
            mmq_why_set(why, "stdout cannot be written");
            return MMQ_EIO;
        }
    }
    return err;
}

static mmq_query *ask(mmq_client *client, int argc, char **argv, mmq_why *why)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", argc > 2 ? argv[2] : NULL); /* NULL: left out, that is all */
    mmq_args_cstr(&args, "from", argc > 3 ? argv[3] : NULL);
    mmq_args_cstr(&args, "to", argc > 4 ? argv[4] : NULL);
    mmq_args_double(&args, "anomaly", -1); /* rows without a score, too */
    mmq_query *query = mmq_query_new(client, &args, 0, why);
    mmq_args_clear(&args);
    return query;
}

int main(int argc, char **argv)
{
    mmq_why why = {""};
    if (argc < 2 || argc > 5) {
        fputs("usage: rows_csv ENDPOINT [UID [FROM [TO]]]\n", stderr);
        return 2;
    }
    mmq_client *client = mmq_client_new(argv[1], &why);
    mmq_query *query = client != NULL ? ask(client, argc, argv, &why) : NULL;
    mmq_err err = query != NULL ? print_rows(query, &why) : MMQ_EINVAL;
    mmq_query_destroy(&query); /* before its client */
    mmq_client_destroy(&client);
    if (err != MMQ_EEND) {
        return fail(why.text);
    }
    return fflush(stdout) == 0 ? 0 : fail("stdout cannot be written");
}
