/* What the store takes, and keeping it: PostgreSQL's own tools make its backups. */
#include "workers/store/check.h"

#include "lib/clock.h"
#include "workers/store/postgres/engine.h"

#define WRITER_KEPT_S                                                                              \
    (7 * INT64_C(86400)) /* a writer that was not heard of for so long is gone                     \
                          */

static mmq_err read_bytes(mmq_store *store, int64_t *out, mmq_why *why)
{
    bool found;
    return mmq_postgres_ask(mmq_postgres_of(store), MMQ_P_SIZE, NULL, &found, out, why);
}

mmq_err mmq_postgres_size(mmq_store *store, mmq_store_bytes *out, mmq_why *why)
{
    *out = (mmq_store_bytes){
        .log = MMQ_BYTES_UNKNOWN, .file_free = MMQ_BYTES_UNKNOWN, .disk_free = MMQ_BYTES_UNKNOWN};
    return read_bytes(store, &out->file, why);
}

mmq_err mmq_postgres_check(mmq_checker *checker, mmq_why *why)
{
    return read_bytes(checker->store, &checker->sums->bytes, why);
}

mmq_err mmq_postgres_has_work(mmq_store *store, bool *work, mmq_why *why)
{
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, mmq_wall_s() - WRITER_KEPT_S);
    return mmq_postgres_ask(mmq_postgres_of(store), MMQ_P_OLD_WRITERS, &values, work, NULL, why);
}

mmq_err mmq_postgres_do_work(mmq_store *store, bool *done, mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    mmq_pg_values values = {0};
    bool found;
    mmq_pg_bind_int(&values, 1, mmq_wall_s() - WRITER_KEPT_S);
    mmq_err err = mmq_postgres_ask(postgres, MMQ_P_DROP_WRITERS, &values, &found, NULL, why);
    *done = err == MMQ_OK && postgres->changes > 0;
    return err;
}

mmq_err mmq_postgres_shows_all(mmq_store *store, bool *all, mmq_why *why)
{
    int64_t standby = 0;
    bool found;
    mmq_err err =
        mmq_postgres_ask(mmq_postgres_of(store), MMQ_P_IS_STANDBY, NULL, &found, &standby, why);
    *all = err == MMQ_OK && found && standby == 0;
    return err;
}

mmq_err mmq_postgres_adopt(mmq_store *store, uint64_t id, mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    mmq_pg_values values = {0};
    bool found;
    mmq_pg_bind_int(&values, 1, (int64_t)id);
    mmq_pg_bind_int(&values, 2, MMQ_POSTGRES_VERSION);
    mmq_err err = mmq_postgres_ask(postgres, MMQ_P_ADOPT, &values, &found, NULL, why);
    return err == MMQ_OK && postgres->changes != 1 ? mmq_damaged(store, "its id", why) : err;
}

mmq_err mmq_postgres_backup(const char *url, const char *file, const mmq_store_watch *watch,
                            mmq_kept *out, mmq_why *why)
{
    (void)url, (void)file, (void)watch;
    *out = (mmq_kept){.commit = 0};
    return mmq_fail(why, MMQ_EINVAL,
                    "a store in PostgreSQL is backed up by its own tools (pg_basebackup, pg_dump),"
                    " or copied by `metricmq migrate --to sqlite:FILE`");
}

mmq_err mmq_postgres_restore(const char *url, const char *file, bool aside,
                             const mmq_store_watch *watch, mmq_kept *out, mmq_why *why)
{
    (void)url, (void)file, (void)aside, (void)watch;
    *out = (mmq_kept){.commit = 0};
    return mmq_fail(why, MMQ_EINVAL,
                    "a store in PostgreSQL is restored by its own tools (pg_restore), or filled by"
                    " `metricmq migrate --from sqlite:FILE`");
}
