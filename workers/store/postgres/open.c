/* Opening and closing. A handle outlives its connection: whoever begins a transaction gets the
 * connection that is there, or the next one. */
#include "workers/store/postgres/engine.h"

#include <stdlib.h>

#include "lib/clock.h"
#include "lib/digest.h"
#include "workers/store/postgres/url.h"

/* A writer that does nothing in the middle of a transaction has been cut off, or its machine stands
 * still: others want the metric that it has locked. */
enum { WRITER_IDLE_MS = 5000 };

mmq_err mmq_postgres_url_check(const char *url, mmq_why *why)
{
    mmq_pg_url *parsed;
    mmq_err err = mmq_pg_url_parse(url, &parsed, why);
    mmq_pg_url_free(&parsed);
    return err;
}

/* Whether it answers is for who opens it. */
mmq_err mmq_postgres_place_check(const char *url, bool writes, mmq_why *why)
{
    (void)writes;
    return mmq_postgres_url_check(url, why);
}

/* There may be several writers. */
mmq_err mmq_postgres_lock(const char *url, int *fd, mmq_why *why)
{
    *fd = -1;
    return mmq_postgres_url_check(url, why);
}

/* A row of its own, by which it knows what became of a commit. */
static mmq_err make_writer(mmq_postgres *postgres, mmq_why *why)
{
    uint64_t id;
    bool found;
    mmq_random(&id, sizeof id);
    postgres->writer = (int64_t)(id >> 1);
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, postgres->writer);
    mmq_pg_bind_int(&values, 2, mmq_wall_s());
    return mmq_postgres_ask(postgres, MMQ_P_MAKE_WRITER, &values, &found, NULL, why);
}

mmq_err mmq_postgres_open(mmq_store *store, const char *url, const mmq_store_watch *watch,
                          mmq_why *why)
{
    (void)watch;
    mmq_postgres *postgres = calloc(1, sizeof *postgres);
    store->connection = postgres;
    if (postgres == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a store");
    }
    mmq_buffer_init(&postgres->news, MMQ_PG_NEWS_MAX);
    const mmq_pg_options options = {.url = url,
                                    .statements = mmq_postgres_statements,
                                    .statement_count = MMQ_P_COUNT,
                                    .schema = MMQ_POSTGRES_SCHEMA,
                                    .writes = store->mode == MMQ_STORE_WRITE,
                                    .idle_ms = store->mode == MMQ_STORE_WRITE ? WRITER_IDLE_MS : 0};
    mmq_err err = mmq_pg_open(&options, &postgres->link, why);
    if (err == MMQ_OK) {
        err = mmq_pg_connect(postgres->link, why);
    }
    if (err == MMQ_OK) {
        err = mmq_postgres_schema(store, why);
    }
    if (err == MMQ_OK && store->mode == MMQ_STORE_WRITE) {
        err = make_writer(postgres, why);
    }
    return err == MMQ_OK ? mmq_statements_prepare(store, why) : err;
}

void mmq_postgres_hurry(mmq_store *store, unsigned silence_ms)
{
    mmq_pg_hurry(mmq_postgres_of(store)->link, silence_ms);
}

void mmq_postgres_close(mmq_store *store)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    if (postgres == NULL) {
        return;
    }
    mmq_postgres_forget_ahead(postgres);
    mmq_pg_close(&postgres->link);
    free(postgres->touched);
    mmq_buffer_clear(&postgres->news);
    free(postgres);
    store->connection = NULL;
}
