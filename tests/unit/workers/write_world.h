/* The write worker behind a stand-in for the broker: a ROUTER that sends requests, reads FINALs. */
#ifndef MMQ_TEST_WRITE_WORLD_H
#define MMQ_TEST_WRITE_WORLD_H

#include "store_world.h"
#include "stand_in.h"

#include <signal.h>
#include <sys/resource.h>

#include "lib/buffer.h"
#include "lib/envelope.h"
#include "metricmq/unpack.h"
#include "workers/workers.h"

static mmq_role *role;

/* What a FINAL said. */
typedef struct answer {
    int64_t status;
    char error[256];
    mmq_frame payload;
} answer;

static inline void start_worker(bool wait)
{
    mmq_worker_settings settings = {.endpoint = endpoint, .store = world_url, .drain_ms = 5000};
    role = mmq_write_worker_new(&settings, wait, &why);
}

static inline int begin(void **state)
{
    (void)state;
    world_begin();
    stand_in_begin();
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    mmq_role_destroy(&role);
    stand_in_end();
    world_end();
    return 0;
}

static inline void receive_answer(answer *out)
{
    mmq_message message;
    mmq_header header;
    mmq_message_init(&message);
    const mmq_envelope envelope = receive(&message);
    assert_int_equal(envelope.command, MMQ_WORKER_FINAL);
    mmq_frame *frame = &message.frames[envelope.body];
    assert_ok(mmq_header_parse(mmq_frame_data(frame), mmq_frame_size(frame), &header));
    out->status = header.status;
    (void)snprintf(out->error, sizeof out->error, "%.*s", (int)header.error.size,
                   header.error.size > 0 ? header.error.data : "");
    mmq_frame_init(&out->payload);
    if (envelope.body + 1 < message.count) {
        mmq_frame_move(&out->payload, &message.frames[envelope.body + 1]);
    }
    mmq_message_clear(&message);
}

static inline void expect(int64_t status, const char *says)
{
    answer got;
    receive_answer(&got);
    if (got.status != status || strstr(got.error, says) == NULL) {
        fail_msg("%d, wanted %d: %s (wanted \"%s\")", (int)got.status, (int)status, got.error,
                 says);
    }
    mmq_frame_close(&got.payload);
}

static inline void send_create(const char *uid, const char *name)
{
    mmq_args args, record;
    mmq_buffer map;
    mmq_args_init(&args);
    mmq_args_init(&record);
    mmq_args_cstr(&record, "uid", uid);
    mmq_args_cstr(&record, "datasource", "custom");
    mmq_args_cstr(&record, "name", name);
    mmq_buffer_init(&map, MMQ_BODY_MAX);
    mmq_pack_map(&map, record.count);
    mmq_buffer_add(&map, record.pairs.data, record.pairs.size);
    mmq_args_packed(&args, "metric", map.data, map.size);
    send_request("create", &args);
    mmq_args_clear(&record);
    mmq_buffer_clear(&map);
}

static inline void send_rows(const char *op, const char *uid, int64_t first_rowid,
                             const char *bytes, size_t size)
{
    mmq_args args;
    mmq_args_init(&args);
    mmq_args_cstr(&args, "uid", uid);
    mmq_args_text(&args, "rows", bytes, size);
    if (first_rowid != 0) {
        mmq_args_int(&args, "first_rowid", first_rowid);
    }
    send_request(op, &args);
}

#define TWO_ROWS "\x94\x05\x07\xc0\xc0\x94\x06\x08\x01\xc0", 10

static inline int64_t rows_of(const char *uid)
{
    mmq_snapshot snapshot;
    mmq_metric_head head;
    mmq_store *store = world_open(MMQ_STORE_READ);
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    mmq_err err = mmq_store_find(store, uid, &head, &why);
    mmq_store_end_read(store);
    mmq_store_close(&store);
    return err == MMQ_OK ? head.last_rowid : -1;
}

static inline void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* From here on every commit fails for want of room, in the moment in which it is made. */
static inline void fill_disk(void)
{
    if (store_server() == NULL) {
        limit_files(0);
        return;
    }
    (void)world_sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    " RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$;"
                    "CREATE CONSTRAINT TRIGGER refused AFTER UPDATE ON store"
                    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()");
}

static inline void empty_disk(void)
{
    if (store_server() == NULL) {
        limit_files(RLIM_INFINITY);
    } else {
        (void)world_sql("DROP FUNCTION refuse CASCADE");
    }
}

#endif
