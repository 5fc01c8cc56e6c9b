/* Any bytes as requests to metric.write, one after the other in one transaction on a real store:
 * each is done or refused with a sentence, no refusal spoils the transaction, and what was written
 * is what the store's own check finds good. Each is read as one to metric.watch, too. Input: a byte
 * whose lowest bit says whether to commit, then requests, each two bytes of size (big-endian) and
 * that many bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/store_world.h"
#include "metricmq/unpack.h"
#include "metricmq/protocol.h"
#include "workers/watchers.h"
#include "workers/write_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WRITE_ANSWER_MAX = 1024 * 1024 };

static mmq_store *write_store; /* open between inputs, for as long as it is as it was made */

static void open_fresh(void)
{
    mmq_why why = {""};
    fuzz_world_put(fuzz_world.image, fuzz_world.size);
    CHECK(mmq_store_open(fuzz_world.url, MMQ_STORE_WRITE, &write_store, &why) == MMQ_OK);
}

/* What may be the matter with a request; all else would be the store's fault, or ours. */
static bool is_verdict(mmq_err err)
{
    return err == MMQ_OK || err == MMQ_EINVAL || err == MMQ_ENOTFOUND || err == MMQ_ECONFLICT ||
           err == MMQ_ETOOBIG;
}

static void run_request(const uint8_t *body, size_t size)
{
    mmq_buffer answer;
    mmq_why why = {""};
    uint8_t *exact = malloc(size > 0 ? size : 1); /* so that ASan sees a byte too far */
    CHECK(exact != NULL);
    memcpy(exact, body, size);
    mmq_buffer_init(&answer, WRITE_ANSWER_MAX);
    mmq_err err = mmq_write_op_run(write_store, exact, size, &answer, &why);
    CHECK(is_verdict(err) && (err == MMQ_OK || why.text[0] != '\0') && !answer.failed);
    if (err == MMQ_OK && answer.size > 0) {
        mmq_reader reader;
        mmq_reader_init(&reader, answer.data, answer.size);
        CHECK(mmq_unpack_skip(&reader) == MMQ_OK && mmq_reader_done(&reader));
    }
    mmq_watch_args watch;
    err = mmq_watch_args_read(exact, size, &watch, &why);
    CHECK((err == MMQ_OK || err == MMQ_EINVAL) && (!watch.has_since || err || watch.since >= 0));
    mmq_buffer_clear(&answer);
    free(exact);
}

static void tell_fault(void *context, const char *what)
{
    (void)context;
    fprintf(stderr, "%s\n", what);
}

/* The check takes a few milliseconds, so not every input commits. */
static void commit_and_check(void)
{
    mmq_why why = {""};
    mmq_store_sums sums;
    const mmq_store_watch watch = {.at = fuzz_go_on, .fault = tell_fault};
    bool more;
    CHECK(mmq_store_commit(write_store, &why) == MMQ_OK);
    CHECK(mmq_store_tidy(write_store, &more, &why) == MMQ_OK);
    CHECK(mmq_store_check(write_store, &watch, &sums, &why) == MMQ_OK && sums.faults == 0);
    mmq_store_close(&write_store);
    open_fresh();
}

static void end_store(void)
{
    mmq_store_close(&write_store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mmq_why why = {""};
    if (size == 0) {
        return 0;
    }
    if (write_store == NULL) {
        fuzz_world_begin();
        open_fresh();
        (void)atexit(end_store);
    }
    CHECK(mmq_store_begin_write(write_store, &why) == MMQ_OK);
    const bool commits = (data[0] & 1) != 0;
    for (data++, size--; size >= 2;) {
        size_t request = (size_t)data[0] << 8 | data[1];
        request = request < size - 2 ? request : size - 2;
        run_request(data + 2, request);
        data += 2 + request;
        size -= 2 + request;
    }
    if (commits) {
        commit_and_check();
    } else {
        mmq_store_rollback(write_store);
    }
    return 0;
}
