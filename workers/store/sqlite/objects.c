/* Whose schema is it? A file that says it is a store may have been made by anybody: a virtual table
 * or a generated column under one of our names would run when it is read, an index over an
 * expression or a trigger when it is written. So what bears our names, and what hangs on it, must
 * be what a metricmq makes, word for word. Objects of other names are nobody's business: no
 * statement of ours sees them. */
#include "workers/store/sqlite/sqlite.h"

#include <string.h>
#include <strings.h>

static const char *const our_tables[] = {"store",  "metric", "block",   "block_data", "growth",
                                         "doomed", "row",    "old_row", "pruned",     "gap"};

/* Version 1's table of rows, under both of its names. */
#define OLD_ROW_COLUMNS                                                                            \
    "(metric INTEGER NOT NULL, timestamp INTEGER NOT NULL, rowid INTEGER NOT NULL,"                \
    " value ANY NOT NULL, anomaly_score ANY, raw_score ANY,"                                       \
    " PRIMARY KEY (metric, timestamp, rowid)) WITHOUT ROWID, STRICT;"
static const char old_schema[] =
    "CREATE TABLE row " OLD_ROW_COLUMNS "CREATE TABLE \"old_row\" " OLD_ROW_COLUMNS
    "CREATE UNIQUE INDEX row_by_rowid ON row (metric, rowid);";

/* That name as we write it; NULL: it is none of ours. */
static const char *find_ours(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof our_tables / sizeof *our_tables; i++) {
        if (strcasecmp(name, our_tables[i]) == 0) {
            return our_tables[i];
        }
    }
    return NULL;
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* True if the statement that begins `script` is sql, whatever the blanks. */
static bool begins_with(const char *script, const char *sql)
{
    for (;;) {
        script = skip_blanks(script);
        sql = skip_blanks(sql);
        if (*script == ';') {
            return *sql == '\0';
        }
        if (*script != *sql) {
            return false;
        }
        script++;
        sql++;
    }
}

static bool is_in(const char *script, const char *sql)
{
    for (; *script != '\0'; script = strchr(script, ';') + 1) {
        if (begins_with(script, sql)) {
            return true;
        }
    }
    return false;
}

/* schemas: up to NULL. */
static bool is_known(const char *const *schemas, const char *sql)
{
    bool known = is_in(old_schema, sql);
    for (; *schemas != NULL && !known; schemas++) {
        known = is_in(*schemas, sql);
    }
    return known;
}

/* Columns of `object`: type, name, tbl_name, sql. The indexes that SQLite makes for UNIQUE have no
 * sql. */
static mmq_err check_object(sqlite3_stmt *object, const char *path, const char *const *schemas,
                            mmq_why *why)
{
    const char *type = (const char *)sqlite3_column_text(object, 0);
    const char *name = find_ours((const char *)sqlite3_column_text(object, 1));
    const char *table = find_ours((const char *)sqlite3_column_text(object, 2));
    const char *sql = (const char *)sqlite3_column_text(object, 3);
    const bool known =
        sql != NULL ? is_known(schemas, sql) : type != NULL && strcmp(type, "index") == 0;
    return known || (name == NULL && table == NULL)
               ? MMQ_OK
               : mmq_fail(why, MMQ_ECORRUPT,
                          "%s: its table %s, or what hangs on it, is not what metricmq makes:"
                          " restore a backup, or name another --store",
                          path, table != NULL ? table : name);
}

mmq_err mmq_objects_check(sqlite3 *db, const char *path, const char *const *schemas, mmq_why *why)
{
    static const char text[] = "SELECT type, name, tbl_name, sql FROM sqlite_schema";
    sqlite3_stmt *object = NULL;
    mmq_err err = MMQ_OK;
    int code = sqlite3_prepare_v2(db, text, -1, &object, NULL);
    if (code == SQLITE_OK) {
        while (err == MMQ_OK && (code = sqlite3_step(object)) == SQLITE_ROW) {
            err = check_object(object, path, schemas, why);
        }
    }
    if (err == MMQ_OK && code != SQLITE_DONE) {
        err = mmq_sqlite_error(db, code, "the store's schema", why);
    }
    (void)sqlite3_finalize(object);
    return err;
}
