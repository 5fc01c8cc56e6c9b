/* The tables: made by the first writer, checked by everybody. Every primary key begins with the
 * metric's key, so that an engine which distributes tables can do it by that. Data lies outside of
 * its row as it is (EXTERNAL): our columns are as small as they get, and PostgreSQL's compression
 * would only cost. */
#include "workers/store/postgres/postgres.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/clock.h"
#include "lib/digest.h"

/* The schema may be there, for a user who may not make one. */
static const char tables[] =
    "DO $$ BEGIN IF to_regnamespace('" MMQ_POSTGRES_SCHEMA "') IS NULL THEN"
    " CREATE SCHEMA " MMQ_POSTGRES_SCHEMA "; END IF; END $$;"
    "SET LOCAL search_path = " MMQ_POSTGRES_SCHEMA ";"
    "CREATE TABLE store ("
    " one integer PRIMARY KEY CHECK (one = 1),"
    " id bigint NOT NULL,"
    " commit_no bigint NOT NULL,"
    " created bigint NOT NULL,"
    " version bigint NOT NULL) WITH (fillfactor = 10);"
    "CREATE TABLE metric ("
    " key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " uid text COLLATE \"C\" NOT NULL UNIQUE,"
    " made bigint NOT NULL,"
    " changed bigint NOT NULL,"
    " last_rowid bigint NOT NULL DEFAULT 0,"
    " last_timestamp bigint,"
    " unscored bigint NOT NULL DEFAULT 0,"
    " forgotten bigint NOT NULL DEFAULT 0,"
    " status bigint NOT NULL,"
    " poll_interval bigint NOT NULL,"
    " datasource text COLLATE \"C\" NOT NULL,"
    " identity text COLLATE \"C\" NOT NULL,"
    " name text COLLATE \"C\" NOT NULL,"
    " description text COLLATE \"C\" NOT NULL,"
    " server text COLLATE \"C\" NOT NULL,"
    " location text COLLATE \"C\" NOT NULL,"
    " parameters text COLLATE \"C\" NOT NULL,"
    " message text COLLATE \"C\","
    " tag_name text COLLATE \"C\","
    " UNIQUE (datasource, identity)) WITH (fillfactor = 50);"
    "CREATE TABLE block ("
    " metric bigint NOT NULL,"
    " first_timestamp bigint NOT NULL,"
    " first_rowid bigint NOT NULL,"
    " last_timestamp bigint NOT NULL,"
    " last_rowid bigint NOT NULL,"
    " least_rowid bigint NOT NULL,"
    " greatest_rowid bigint NOT NULL,"
    " rows bigint NOT NULL,"
    " unscored bigint NOT NULL,"
    " greatest_score double precision,"
    " data bigint NOT NULL,"
    " data_check bigint NOT NULL,"
    " head_check bigint NOT NULL,"
    " value_summary bytea,"
    " PRIMARY KEY (metric, first_timestamp, first_rowid)) WITH (fillfactor = 90);"
    "CREATE INDEX block_by_rowid ON block (metric, least_rowid);"
    "CREATE INDEX block_incomplete ON block (metric) WHERE value_summary IS NULL;"
    "CREATE TABLE block_data ("
    " metric bigint NOT NULL,"
    " key bigint NOT NULL,"
    " data bytea NOT NULL,"
    " PRIMARY KEY (metric, key));"
    "ALTER TABLE block_data ALTER COLUMN data SET STORAGE EXTERNAL;"
    "CREATE SEQUENCE block_data_key;"
    "CREATE TABLE growth ("
    " metric bigint NOT NULL,"
    " commit_no bigint NOT NULL,"
    " before_rowid bigint NOT NULL,"
    " at bigint NOT NULL,"
    " PRIMARY KEY (metric, commit_no));"
    "CREATE INDEX growth_at ON growth (at);"
    "CREATE TABLE doomed (metric bigint PRIMARY KEY);"
    "CREATE TABLE pruned ("
    " metric bigint PRIMARY KEY,"
    " before_timestamp bigint NOT NULL,"
    " commit_no bigint NOT NULL);"
    "CREATE INDEX pruned_by_commit ON pruned (commit_no);"
    "CREATE TABLE gap ("
    " metric bigint NOT NULL,"
    " first_rowid bigint NOT NULL,"
    " last_rowid bigint NOT NULL,"
    " PRIMARY KEY (metric, first_rowid));"
    "CREATE TABLE writer (id bigint PRIMARY KEY, serial bigint NOT NULL, at bigint NOT NULL)"
    " WITH (fillfactor = 10);";

/* What MMQ_P_IS_STORE answers. */
enum { NO_STORE, A_STORE, A_STORE_OF_OTHERS };

static mmq_err is_store(mmq_postgres *postgres, bool *is, mmq_why *why)
{
    bool found;
    int64_t what = NO_STORE;
    mmq_err err = mmq_postgres_ask(postgres, MMQ_P_IS_STORE, NULL, &found, &what, why);
    *is = err == MMQ_OK && what != NO_STORE;
    return err == MMQ_OK && what == A_STORE_OF_OTHERS
               ? mmq_fail(why, MMQ_EUNAVAILABLE,
                          "the user of %s may not use its schema " MMQ_POSTGRES_SCHEMA
                          ": grant it USAGE",
                          mmq_pg_shown(postgres->link))
               : err;
}

/* Of two writers that find no tables the second fails, and finds those of the first. */
static mmq_err make_tables(const mmq_store *store, mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    uint64_t id = store->fill_of;
    char script[sizeof tables + 256];
    if (!store->fills) {
        mmq_random(&id, sizeof id);
    }
    (void)snprintf(script, sizeof script,
                   "%sINSERT INTO store (one, id, commit_no, created, version)"
                   " VALUES (1, %" PRId64 ", 0, %" PRId64 ", %d);",
                   tables, (int64_t)id, mmq_wall_s(),
                   store->fills ? MMQ_POSTGRES_COPY : MMQ_POSTGRES_VERSION);
    mmq_err err = mmq_pg_script(postgres->link, script, why);
    if (err != MMQ_OK && mmq_pg_connected(postgres->link)) {
        mmq_why other;
        bool is;
        return is_store(postgres, &is, &other) == MMQ_OK && is ? MMQ_OK : err;
    }
    return err;
}

static mmq_err check_version(const mmq_store *store, int64_t version, mmq_why *why)
{
    const char *shown = mmq_pg_shown(mmq_postgres_of(store)->link);
    if (version == (store->fills ? MMQ_POSTGRES_COPY : MMQ_POSTGRES_VERSION)) {
        return MMQ_OK;
    }
    if (version == MMQ_POSTGRES_COPY) {
        return mmq_fail(why, MMQ_EBUSY,
                        "the store in %s is a copy that is not finished: `metricmq migrate"
                        " --finish` makes it a store",
                        shown);
    }
    return version == MMQ_POSTGRES_VERSION
               ? mmq_fail(why, MMQ_ECONFLICT, "the store in %s is one like others", shown)
               : mmq_fail(why, MMQ_ECORRUPT,
                          "the store in %s has schema version %" PRId64
                          " and this program knows %d: use the metricmq that made it",
                          shown, version, MMQ_POSTGRES_VERSION);
}

mmq_err mmq_postgres_schema(mmq_store *store, mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    const char *shown = mmq_pg_shown(postgres->link);
    bool is, found;
    int64_t version = 0;
    mmq_err err = is_store(postgres, &is, why);
    if (err == MMQ_OK && !is) {
        err = store->mode == MMQ_STORE_WRITE
                  ? make_tables(store, why)
                  : mmq_fail(why, MMQ_ENOTFOUND,
                             "there is no store in %s yet: start the write worker, which makes it",
                             shown);
    }
    if (err == MMQ_OK) {
        err = mmq_postgres_ask(postgres, MMQ_P_VERSION, NULL, &found, &version, why);
    }
    return err == MMQ_OK ? check_version(store, version, why) : err;
}
