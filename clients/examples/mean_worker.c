/* A service of one's own: `example.mean` answers the mean of numbers.
 *
 *     mean_worker WORKERS        a broker's endpoint for workers, or several, separated by commas
 *
 * A request is {"values": [NUMBER, ...], ...}, an answer one number. Brokers that are lost and
 * return, heartbeats and requests that wait are the library's business. */
#include <signal.h>
#include <stdio.h>

#include <metricmq/metricmq.h>

/* The body may be anybody's: it is anything, until it was looked at. */
static mmq_err find_mean(const mmq_request *request, double *mean, mmq_why *why)
{
    size_t size;
    const void *body = mmq_request_body(request, &size);
    mmq_reader reader, values;
    mmq_value array, item;
    mmq_reader_init(&reader, body, size);
    if (!mmq_map_find(reader, "values", &array, &values) || array.type != MMQ_ARRAY ||
        array.count == 0 || mmq_unpack(&values, &array) != MMQ_OK) {
        return mmq_fail(why, MMQ_EINVAL, "values must be an array of numbers");
    }
    *mean = 0;
    while (mmq_unpack(&values, &item) == MMQ_OK) {
        if (item.type != MMQ_FLOAT && item.type != MMQ_INT) {
            return mmq_fail(why, MMQ_EINVAL, "values must be an array of numbers");
        }
        *mean += item.type == MMQ_FLOAT ? item.number : (double)item.integer;
    }
    *mean /= array.count;
    return MMQ_OK;
}

/* In a work thread, which may take its time. Each request ends in one FINAL. */
static void answer(void *context, mmq_request **requests, size_t count)
{
    (void)context;
    (void)count; /* 1, as batch_max is not set */
    mmq_why why = {""};
    double mean;
    mmq_buffer out;
    mmq_frame payload;
    mmq_buffer_init(&out, 64);
    mmq_frame_init(&payload);
    mmq_err err = find_mean(*requests, &mean, &why);
    if (err == MMQ_OK) {
        mmq_pack_double(&out, mean);
        err = mmq_buffer_to_frame(&out, &payload);
    }
    if (err == MMQ_OK) {
        mmq_request_final(requests, &(mmq_final){.status = 200, .rows = -1}, &payload);
    } else {
        mmq_request_refuse(requests, err, &why);
    }
    mmq_buffer_clear(&out);
    mmq_frame_close(&payload);
}

int main(int argc, char **argv)
{
    mmq_why why = {""};
    mmq_worker_options options = {.service = "example.mean", .threads = 2, .capacity = 8};
    sigset_t stop;
    int number;
    if (argc != 2) {
        fputs("usage: mean_worker WORKERS\n", stderr);
        return 2;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL); /* before there are threads, which inherit it */
    options.endpoint = argv[1];
    options.handle = answer;
    options.drain_ms = 5000;
    mmq_worker *worker = mmq_worker_new(&options, &why);
    if (worker == NULL) {
        fprintf(stderr, "mean_worker: %s\n", why.text);
        return 1;
    }
    sigwait(&stop, &number);
    mmq_worker_destroy(&worker); /* finishes what is under way */
    return 0;
}
