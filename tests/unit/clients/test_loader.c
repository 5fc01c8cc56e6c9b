/* The loader against a broker and a write worker that keeps count: what arrives, in which pieces,
 * and what does not arrive behind a batch that was refused. */
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "clients/commands/loader.h"
#include "lib/clock.h"
#include "metricmq/pack.h"
#include "metricmq/unpack.h"
#include "metricmq/worker.h"
#include "workers/write_rows.h"

enum { ROWS = 100000, WAIT_MS = 60000, BODY_LEAST = 1000000, BODY_MOST = 1100000 };

/* The worker's; read when it is gone. */
static struct {
    int64_t rows;        /* of all batches that were taken */
    int64_t refuse_from; /* the batch with this row is refused; 0: none */
    size_t appends;      /* requests */
    size_t beside;       /* that came together with others */
    size_t small;        /* of less than BODY_LEAST */
    size_t refused;      /* of appends */
    size_t behind;       /* appends that came later than a refused one */
    bool refuse_create;
} seen;

static mmq_broker *broker;
static mmq_worker *worker;
static mmq_client *client;
static char clients[128], workers[128];
static mmq_why why;

/* ---- the worker ---------------------------------------------------------------------------- */

static mmq_value find(mmq_request *request, const char *key)
{
    size_t size;
    const void *body = mmq_request_body(request, &size);
    mmq_reader reader, whole;
    mmq_value value = {.type = MMQ_NIL};
    mmq_reader_init(&reader, body, size);
    assert_true(size < BODY_MOST);
    (void)mmq_map_find(reader, key, &value, &whole);
    return value;
}

/* Row i, from 0: times of both lengths, scores that are absent. */
static int64_t time_of(int64_t i)
{
    return i % 1000 == 7 ? -i : i % 1000 == 8 ? INT64_C(100000000000) + i : 1400000000 + 60 * i;
}

static double score_of(int64_t i)
{
    return i % 3 == 0 ? (double)NAN : (double)i / 7;
}

static void check_rows(const mmq_write_rows *rows, int64_t first)
{
    for (size_t i = 0; i < rows->count; i++) {
        const int64_t number = first + (int64_t)i;
        const double score = score_of(number), raw = score_of(number + 1);
        assert_true(rows->timestamp[i] == time_of(number));
        assert_true(rows->value[i] == (double)number / 3);
        assert_memory_equal(&rows->anomaly_score[i], &score, sizeof score);
        assert_memory_equal(&rows->raw_score[i], &raw, sizeof raw);
    }
}

static void answer_map(mmq_request **request, const char *key, const char *text, int64_t number)
{
    mmq_buffer map;
    mmq_frame payload;
    mmq_buffer_init(&map, 1000);
    mmq_pack_map(&map, 1);
    mmq_pack_cstr(&map, key);
    if (text) {
        mmq_pack_cstr(&map, text);
    } else {
        mmq_pack_int(&map, number);
    }
    mmq_frame_init(&payload);
    assert_int_equal(mmq_buffer_to_frame(&map, &payload), MMQ_OK);
    const mmq_final final = {.status = 200, .rows = -1};
    mmq_request_final(request, &final, &payload);
    mmq_frame_close(&payload);
}

static void refuse(mmq_request **request, const char *sentence)
{
    mmq_why reason;
    mmq_err err = mmq_fail(&reason, MMQ_ECONFLICT, "%s", sentence);
    mmq_request_refuse(request, err, &reason);
}

/* What was sent again after a loss is known already, and harmless. */
static void take_append(mmq_request **request)
{
    const mmq_value data = find(*request, "rows"), first = find(*request, "first_rowid");
    const mmq_value uid = find(*request, "uid");
    mmq_write_rows rows;
    assert_int_equal(first.type, MMQ_INT);
    assert_true(mmq_value_is(&uid, "the-uid"));
    assert_int_equal(
        mmq_write_rows_read(MMQ_ROWS_APPEND, data.text.data, data.text.size, &rows, NULL), MMQ_OK);
    check_rows(&rows, first.integer - 1);
    const int64_t end = first.integer + (int64_t)rows.count - 1, before = seen.rows;
    seen.appends++;
    seen.behind += seen.refused > 0;
    seen.small += data.text.size < BODY_LEAST;
    if (seen.refuse_from > 0 && end >= seen.refuse_from) {
        seen.refused++;
        refuse(request, "row so and so differs");
    } else {
        assert_true(first.integer <= seen.rows + 1);
        seen.rows = end > seen.rows ? end : seen.rows;
        answer_map(request, "added", NULL, seen.rows - before);
    }
    mmq_write_rows_clear(&rows);
}

static void handle(void *context, mmq_request **requests, size_t count)
{
    (void)context;
    for (size_t i = 0; i < count; i++) {
        const mmq_value op = find(requests[i], "op");
        if (mmq_value_is(&op, "append")) {
            seen.beside += count > 1;
            take_append(&requests[i]);
        } else if (seen.refuse_create) {
            refuse(&requests[i], "exists under another uid");
        } else {
            answer_map(&requests[i], "uid", "the-uid", 0);
        }
    }
}

/* ---- the bus ------------------------------------------------------------------------------- */

static void start_broker(void)
{
    const mmq_broker_settings settings = {.bind = clients,
                                          .bind_workers = workers,
                                          .queue_max = 1000,
                                          .queue_bytes_max = 64 * 1024 * 1024,
                                          .stray_bytes_max = 1 << 30,
                                          .local = true,
                                          .drain_ms = 5000};
    const int64_t end_ns = mmq_now_ns() + WAIT_MS * MMQ_NS_PER_MS;
    while ((broker = mmq_broker_new(&settings, &why)) == NULL) {
        if (mmq_now_ns() > end_ns) { /* the names of the last one are free again soon */
            fail_msg("%s", why.text);
        }
        (void)poll(NULL, 0, 5);
    }
    snprintf(clients, sizeof clients, "%s", mmq_broker_endpoint(broker));
    snprintf(workers, sizeof workers, "%s", mmq_broker_worker_endpoint(broker));
}

static int begin(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    strcpy(clients, "tcp://127.0.0.1:*");
    strcpy(workers, "tcp://127.0.0.1:*");
    start_broker();
    const mmq_worker_options options = {.endpoint = workers,
                                        .service = MMQ_SERVICE_WRITE,
                                        .threads = 1,
                                        .capacity = 64,
                                        .batch_max = 16,
                                        .drain_ms = 5000,
                                        .handle = handle};
    worker = mmq_worker_new(&options, &why);
    client = mmq_client_new(clients, &why);
    assert_true(worker && client);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_client_destroy(&client);
    mmq_worker_destroy(&worker);
    mmq_broker_destroy(&broker);
    return 0;
}

static mmq_loader *start_loader(void)
{
    const mmq_new_metric metric = {.name = "n"};
    mmq_loader *loader = mmq_loader_new(client, &metric, WAIT_MS, &why);
    assert_non_null(loader);
    return loader;
}

static mmq_err add_rows(mmq_loader *loader, int64_t from, int64_t to)
{
    mmq_err err = MMQ_OK;
    for (int64_t i = from; i < to && !err; i++) {
        err = mmq_loader_add(loader, time_of(i), (double)i / 3, score_of(i), score_of(i + 1), &why);
    }
    return err;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_rows_arrive_in_big_batches(void **state)
{
    int64_t rows = 0, added = 0;
    mmq_loader *loader = start_loader();
    assert_int_equal(add_rows(loader, 0, ROWS), MMQ_OK);
    assert_int_equal(mmq_loader_finish(loader, &rows, &added, &why), MMQ_OK);
    assert_string_equal(mmq_loader_uid(loader), "the-uid");
    assert_int_equal(rows, ROWS);
    assert_int_equal(added, ROWS);
    mmq_loader_destroy(&loader);
    end(state);
    assert_int_equal(seen.rows, ROWS);
    assert_true(seen.appends > 1 && seen.small == 1);
    assert_int_equal(seen.beside, 0);
}

static void test_no_rows(void **state)
{
    int64_t rows = 7, added = 7;
    mmq_loader *loader = start_loader();
    assert_int_equal(mmq_loader_finish(loader, &rows, &added, &why), MMQ_OK);
    assert_string_equal(mmq_loader_uid(loader), "the-uid");
    assert_true(rows == 0 && added == 0);
    mmq_loader_destroy(&loader);
    end(state);
    assert_int_equal(seen.appends, 0);
}

/* One that followed it could be taken, if it began where the other rows end. */
static void test_nothing_follows_a_refused_batch(void **state)
{
    seen.refuse_from = ROWS / 2;
    int64_t rows, added;
    mmq_loader *loader = start_loader();
    mmq_err err = add_rows(loader, 0, ROWS);
    if (!err) {
        err = mmq_loader_finish(loader, &rows, &added, &why);
    }
    assert_int_equal(err, MMQ_ECONFLICT);
    assert_string_equal(why.text, "row so and so differs");
    mmq_loader_destroy(&loader);
    end(state);
    assert_true(seen.rows < ROWS / 2);
    assert_int_equal(seen.refused, 1);
    assert_int_equal(seen.behind, 0);
}

static void test_a_refused_metric_is_told(void **state)
{
    (void)state;
    seen.refuse_create = true;
    int64_t rows, added;
    mmq_loader *loader = start_loader();
    assert_int_equal(add_rows(loader, 0, 10), MMQ_OK);
    assert_int_equal(mmq_loader_finish(loader, &rows, &added, &why), MMQ_ECONFLICT);
    assert_string_equal(why.text, "exists under another uid");
    mmq_loader_destroy(&loader);
    assert_int_equal(seen.appends, 0);
}

/* A loader that is given up leaves nothing behind that would call it. */
static void test_given_up_half_way(void **state)
{
    (void)state;
    mmq_loader *loader = start_loader();
    assert_int_equal(add_rows(loader, 0, ROWS / 2), MMQ_OK);
    mmq_loader_destroy(&loader);
    int64_t rows, added;
    loader = start_loader();
    assert_int_equal(add_rows(loader, 0, 10), MMQ_OK);
    assert_int_equal(mmq_loader_finish(loader, &rows, &added, &why), MMQ_OK);
    assert_int_equal(rows, 10);
    mmq_loader_destroy(&loader);
}

/* The broker is gone for a while, again and again: every row arrives, in order. */
static void test_broker_restarts(void **state)
{
    int64_t rows = 0, added = 0;
    mmq_loader *loader = start_loader();
    for (int64_t part = 0; part < 4; part++) {
        assert_int_equal(add_rows(loader, part * ROWS / 4, (part + 1) * ROWS / 4), MMQ_OK);
        assert_int_equal(mmq_loader_flush(loader, &why), MMQ_OK);
        mmq_broker_destroy(&broker);
        start_broker();
    }
    assert_int_equal(mmq_loader_finish(loader, &rows, &added, &why), MMQ_OK);
    assert_int_equal(rows, ROWS);
    mmq_loader_destroy(&loader);
    end(state);
    assert_int_equal(seen.rows, ROWS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_arrive_in_big_batches, begin, end),
        cmocka_unit_test_setup_teardown(test_no_rows, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing_follows_a_refused_batch, begin, end),
        cmocka_unit_test_setup_teardown(test_a_refused_metric_is_told, begin, end),
        cmocka_unit_test_setup_teardown(test_given_up_half_way, begin, end),
        cmocka_unit_test_setup_teardown(test_broker_restarts, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
