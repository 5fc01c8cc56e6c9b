/* The store's statements in PostgreSQL's words. What bears the number of the commit is written with
 * it (transaction.c), so parameters that give one are not used here. */
#include "workers/store/postgres/postgres.h"

#define HEAD "key, uid, made, changed, last_rowid"
#define RECORD                                                                                     \
    HEAD ", datasource, identity, name, description, server, location, parameters, message,"       \
         " tag_name, status, poll_interval, last_timestamp"
#define BLOCK_HEAD                                                                                 \
    "SELECT first_timestamp, first_rowid, last_timestamp, last_rowid, least_rowid,"                \
    " greatest_rowid, rows, unscored, greatest_score, block.data, data_check, head_check"
/* The formatter takes a macro for a call, and the text that goes on for its argument. */
/* clang-format off */
#define BLOCK BLOCK_HEAD " FROM block WHERE metric = $1 AND "
/* With data. Not by a join: of a metric of many blocks that may go through all of its data. */
#define DATA                                                                                       \
    "(SELECT block_data.data FROM block_data WHERE block_data.metric = block.metric"               \
    " AND key = block.data)"
#define AHEAD_OF(metric, data)                                                                     \
    BLOCK_HEAD ", " data " FROM block WHERE block.metric = " metric " AND "
#define AHEAD AHEAD_OF("$1", DATA)
#define PLACE "($2, $3)"
#define BEHIND(place)                                                                              \
    "(first_timestamp, first_rowid) > " place " ORDER BY first_timestamp, first_rowid"
#define BEFORE(place)                                                                              \
    "(first_timestamp, first_rowid) <= " place " ORDER BY first_timestamp DESC, first_rowid DESC"
#define ENDS_BEHIND(place) "(last_timestamp, last_rowid) > " place
/* The block at the place and those behind it: so many, beside one that ends at the place or before,
 * which has no data here since nobody wants it. */
#define DATA_IF_BEHIND(place) "CASE WHEN " ENDS_BEHIND(place) " THEN " DATA " END"
#define UPWARDS(metric, place, count)                                                              \
    "WITH at AS MATERIALIZED ("                                                                    \
    AHEAD_OF(metric, DATA_IF_BEHIND(place)) BEFORE(place) " LIMIT 1)"                              \
    " SELECT * FROM at UNION ALL SELECT * FROM ("                                                  \
    AHEAD_OF(metric, DATA) BEHIND(place)                                                           \
    " LIMIT " count " - (SELECT count(*) FROM at WHERE " ENDS_BEHIND(place) ")) AS behind"
/* Of many metrics at once. */
#define SOUGHT "(sought_timestamp, sought_rowid)"
#define EACH(blocks)                                                                               \
    "SELECT found.*, number"                                                                       \
    " FROM unnest(" KEYS("$1") ", " KEYS("$2") ", " KEYS("$3") ") WITH ORDINALITY"                 \
    " AS sought (sought_metric, sought_timestamp, sought_rowid, number)"                           \
    " CROSS JOIN LATERAL (" blocks ") AS found"
#define AT_OR_AFTER                                                                                \
    "SELECT * FROM (" BLOCK BEFORE(PLACE) " LIMIT 1) AS at"                                        \
    " UNION ALL SELECT * FROM (" BLOCK BEHIND(PLACE) " LIMIT 1) AS behind ORDER BY 1, 2 LIMIT 1"
/* clang-format on */
#define NUMBER(of) "CAST(" of " AS bigint)"
#define COMMIT_NO  "(SELECT commit_no FROM store)"
/* Not "NOT IN": of many metrics that is a loop within a loop. */
#define OF_NONE(table)                                                                             \
    " FROM " table " WHERE NOT EXISTS (SELECT 1 FROM metric WHERE key = " table ".metric)"         \
    " AND NOT EXISTS (SELECT 1 FROM doomed WHERE doomed.metric = " table ".metric)"
#define PRUNED_SINCE  "pruned WHERE pruned.commit_no > $1 AND before_timestamp > $2"
#define DOOMED_BLOCKS "block WHERE metric = $1 ORDER BY first_timestamp, first_rowid LIMIT $2"
#define KEYS(list)    "CAST(string_to_array(" list ", ',') AS bigint[])"

const mmq_pg_statement mmq_postgres_statements[MMQ_P_COUNT] = {
    [MMQ_Q_SNAPSHOT] = {"SELECT id, commit_no, CASE WHEN pg_is_in_recovery()"
                        " THEN 9223372036854775807 ELSE 1 END::bigint FROM store",
                        ""},
    [MMQ_Q_FIND] = {"SELECT " HEAD " FROM metric WHERE uid = $1", "t"},
    [MMQ_Q_FIND_LOCKED] = {"SELECT " HEAD " FROM metric WHERE uid = $1 FOR NO KEY UPDATE", "t"},
    [MMQ_Q_HEADS] = {"SELECT " HEAD ", status FROM metric WHERE uid > $1 ORDER BY uid LIMIT $2",
                     "ti"},
    [MMQ_Q_METRIC] = {"SELECT " RECORD " FROM metric WHERE uid = $1", "t"},
    [MMQ_Q_METRICS_AFTER] = {"SELECT " RECORD " FROM metric WHERE uid > $1 ORDER BY uid LIMIT $2",
                             "ti"},
    [MMQ_Q_METRIC_BY_IDENTITY] = {"SELECT " RECORD
                                  " FROM metric WHERE datasource = $1 AND identity = $2",
                                  "tt"},
    [MMQ_Q_UNSCORED] = {"SELECT " NUMBER(
                            "coalesce(sum(unscored), 0)") " FROM metric"
                                                          " WHERE status = 1 AND unscored > 0",
                        ""},
    [MMQ_Q_FORGOTTEN] = {"SELECT forgotten FROM metric WHERE key = $1", "i"},
    [MMQ_Q_LENGTH] = {"SELECT last_rowid FROM metric WHERE key = $1", "i"},
    [MMQ_Q_LENGTH_AT] = {"SELECT before_rowid FROM growth WHERE metric = $1 AND commit_no > $2"
                         " ORDER BY commit_no LIMIT 1",
                         "ii"},
    [MMQ_Q_BLOCK_AT] = {BLOCK BEFORE(PLACE) " LIMIT 1", "iii"},
    [MMQ_Q_BLOCK_AFTER] = {BLOCK BEHIND(PLACE) " LIMIT 1", "iii"},
    [MMQ_Q_BLOCK_FROM] = {AT_OR_AFTER, "iii"},
    [MMQ_Q_BLOCK_BY_ROWID] = {BLOCK "least_rowid <= $2 ORDER BY least_rowid DESC LIMIT $3", "iii"},
    [MMQ_Q_BLOCK_DATA] = {"SELECT data FROM block_data WHERE metric = $1 AND key = $2", "ii"},
    [MMQ_Q_HAS_GAPS] = {"SELECT " NUMBER("1"), ""},
    [MMQ_Q_HAS_VALUES] = {"SELECT " NUMBER("1"), ""},
    [MMQ_Q_BLOCKS] = {BLOCK_HEAD ", value_summary FROM block WHERE metric = $1"
                                 " AND (first_timestamp, first_rowid) >= ($2, $3)"
                                 " ORDER BY first_timestamp, first_rowid LIMIT $4",
                      "iiii"},
    [MMQ_Q_GAP_AT] = {"SELECT first_rowid, last_rowid FROM gap WHERE metric = $1"
                      " AND first_rowid <= $2 ORDER BY first_rowid DESC LIMIT 1",
                      "ii"},
    [MMQ_Q_GAPS_AFTER] = {"SELECT first_rowid, last_rowid FROM gap WHERE metric = $1"
                          " AND first_rowid > $2 AND first_rowid <= $3 ORDER BY first_rowid",
                          "iii"},
    [MMQ_Q_GAPS_PIECE] = {"SELECT first_rowid, last_rowid FROM gap WHERE metric = $1"
                          " AND first_rowid > $2 ORDER BY first_rowid LIMIT $3",
                          "iii"},
    [MMQ_Q_PRUNED_BEFORE] = {"SELECT before_timestamp FROM pruned WHERE metric = $1", "i"},
    /* each half by an index: one join of both would go through all that was ever pruned */
    [MMQ_Q_PRUNED_SINCE] = {"SELECT " NUMBER("CAST(CASE WHEN $3 = 0 THEN"
                                             " EXISTS (SELECT 1 FROM " PRUNED_SINCE
                                             " AND (SELECT uid FROM metric"
                                             " WHERE key = pruned.metric) >= $4)"
                                             " ELSE EXISTS (SELECT 1 FROM " PRUNED_SINCE
                                             " AND metric = $3) END AS integer)"),
                            "iiit"},
    [MMQ_Q_STATE] = {"SELECT last_timestamp, unscored FROM metric WHERE key = $1", "i"},
    [MMQ_Q_SET_STATE] = {"UPDATE metric SET last_rowid = $3, last_timestamp = $4, unscored = $5"
                         " WHERE key = $1",
                         "iiiii"},
    [MMQ_Q_CREATE] = {"INSERT INTO metric (uid, made, changed, datasource, identity, name,"
                      " description, server, location, parameters, message, tag_name, status,"
                      " poll_interval) VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
                      " $12, $13) RETURNING key",
                      "tittttttttt"
                      "ii"},
    [MMQ_Q_ADD_BLOCK] = {"INSERT INTO block (metric, first_timestamp, first_rowid,"
                         " last_timestamp, last_rowid, least_rowid, greatest_rowid, rows, unscored,"
                         " greatest_score, data, data_check, head_check, value_summary)"
                         " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                         "iiiiiiiii"
                         "fiiib"},
    [MMQ_Q_SET_BLOCK] = {"UPDATE block SET last_timestamp = $4, last_rowid = $5, least_rowid = $6,"
                         " greatest_rowid = $7, rows = $8, unscored = $9, greatest_score = $10,"
                         " data = $11, data_check = $12, head_check = $13, value_summary = $14"
                         " WHERE metric = $1 AND first_timestamp = $2 AND first_rowid = $3",
                         "iiiiiiiii"
                         "fiiib"},
    [MMQ_Q_DROP_BLOCK] = {"DELETE FROM block WHERE metric = $1 AND first_timestamp = $2"
                          " AND first_rowid = $3",
                          "iii"},
    [MMQ_Q_INCOMPLETE] = {"SELECT metric FROM block WHERE value_summary IS NULL LIMIT 1", ""},
    [MMQ_Q_BLOCK_INCOMPLETE] = {BLOCK "value_summary IS NULL LIMIT 1", "i"},
    [MMQ_Q_SET_VALUES] = {"UPDATE block SET value_summary = $4 WHERE metric = $1"
                          " AND first_timestamp = $2 AND first_rowid = $3"
                          " AND value_summary IS NULL",
                          "iiib"},
    [MMQ_Q_ADD_BLOCK_DATA] = {"INSERT INTO block_data (metric, key, data) VALUES ($1, $3, $2)",
                              "ibi"},
    [MMQ_Q_SET_BLOCK_DATA] = {"UPDATE block_data SET data = $3 WHERE metric = $1 AND key = $2",
                              "iib"},
    [MMQ_Q_DROP_BLOCK_DATA] = {"DELETE FROM block_data WHERE metric = $1 AND key = $2", "ii"},
    [MMQ_Q_DELETE] = {"DELETE FROM metric WHERE key = $1", "i"},
    [MMQ_Q_DOOM] = {"INSERT INTO doomed (metric) VALUES ($1)", "i"},
    [MMQ_Q_DOOMED] = {"SELECT metric FROM doomed LIMIT 1", ""},
    [MMQ_Q_SET_PRUNED] = {"INSERT INTO pruned (metric, before_timestamp, commit_no)"
                          " VALUES ($1, $2, $3) ON CONFLICT (metric) DO UPDATE SET"
                          " before_timestamp = greatest(pruned.before_timestamp, $2),"
                          " commit_no = $3",
                          "iii"},
    [MMQ_Q_UNPRUNE] = {"DELETE FROM pruned WHERE metric = $1", "i"},
    [MMQ_Q_ADD_GAP] = {"INSERT INTO gap (metric, first_rowid, last_rowid) VALUES ($1, $2, $3)",
                       "iii"},
    [MMQ_Q_SET_GAP] = {"UPDATE gap SET last_rowid = $3 WHERE metric = $1 AND first_rowid = $2",
                       "iii"},
    [MMQ_Q_DROP_GAP] = {"DELETE FROM gap WHERE metric = $1 AND first_rowid = $2", "ii"},
    [MMQ_Q_COUNT_BLOCKS] =
        {"SELECT count(*), " NUMBER(
             "coalesce(sum(rows), 0)") " FROM block"
                                       " WHERE metric = $1 AND first_timestamp < $2",
         "ii"},
    [MMQ_Q_DELETE_GAPS] = {"DELETE FROM gap WHERE metric = $1 AND first_rowid IN"
                           " (SELECT first_rowid FROM gap WHERE metric = $1 LIMIT $2)",
                           "ii"},
    [MMQ_Q_DELETE_DATA] = {"DELETE FROM block_data WHERE metric = $1 AND key IN"
                           " (SELECT data FROM " DOOMED_BLOCKS ")",
                           "ii"},
    [MMQ_Q_DELETE_BLOCKS] =
        {"DELETE FROM block WHERE metric = $1 AND (first_timestamp,"
         " first_rowid) IN (SELECT first_timestamp, first_rowid FROM " DOOMED_BLOCKS ")",
         "ii"},
    [MMQ_Q_UNDOOM] = {"DELETE FROM doomed WHERE metric = $1", "i"},
    [MMQ_Q_OLD_GROWTH] = {"SELECT metric, commit_no FROM growth WHERE at < $1 ORDER BY at LIMIT $2",
                          "ii"},
    [MMQ_Q_FORGET] = {"UPDATE metric SET forgotten = greatest(forgotten, $2) WHERE key = $1", "ii"},
    [MMQ_Q_DELETE_GROWTH] = {"DELETE FROM growth WHERE metric = $1 AND commit_no = $2", "ii"},
    [MMQ_Q_CHECK_TOTAL] = {"SELECT " NUMBER("coalesce(sum(last_rowid), 0)") " FROM metric", ""},
    [MMQ_Q_CHECK_PRUNED] = {"SELECT " NUMBER(
                                "coalesce(sum(last_rowid - first_rowid + 1), 0)") " FROM gap",
                            ""},
    [MMQ_Q_CHECK_METRIC] = {"SELECT key, uid, made, changed, last_rowid, last_timestamp, unscored,"
                            " forgotten FROM metric WHERE key > $1 ORDER BY key LIMIT 1",
                            "i"},
    [MMQ_Q_CHECK_GROWTH] = {"SELECT commit_no, before_rowid FROM growth WHERE metric = $1"
                            " ORDER BY commit_no",
                            "i"},
    [MMQ_Q_CHECK_BLOCK_OF_NONE] = {"SELECT DISTINCT block.metric" OF_NONE("block"), ""},
    [MMQ_Q_CHECK_BOTH] = {"SELECT key FROM metric WHERE key IN (SELECT metric FROM doomed)", ""},
    [MMQ_Q_CHECK_DATA_OF_NONE] = {"SELECT key FROM block_data WHERE NOT EXISTS (SELECT 1 FROM block"
                                  " WHERE metric = block_data.metric AND data = block_data.key)",
                                  ""},
    [MMQ_Q_CHECK_DATA_OF_SEVERAL] = {"SELECT data FROM block GROUP BY data HAVING count(*) > 1",
                                     ""},
    [MMQ_Q_CHECK_GAP_OF_NONE] = {"SELECT DISTINCT gap.metric" OF_NONE("gap"), ""},
    [MMQ_Q_CHECK_PRUNED_OF_NONE] = {"SELECT metric FROM pruned WHERE NOT EXISTS"
                                    " (SELECT 1 FROM metric WHERE key = pruned.metric)",
                                    ""},
    [MMQ_Q_CHECK_GAP_UNPRUNED] = {"SELECT DISTINCT gap.metric FROM gap JOIN metric"
                                  " ON key = gap.metric WHERE NOT EXISTS"
                                  " (SELECT 1 FROM pruned WHERE pruned.metric = gap.metric)",
                                  ""},

    [MMQ_P_BEGIN_READ] = {"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ""},
    [MMQ_P_BEGIN_WRITE] = {"BEGIN ISOLATION LEVEL READ COMMITTED", ""},
    [MMQ_P_COMMIT] = {"COMMIT", ""},
    [MMQ_P_ROLLBACK] = {"ROLLBACK", ""},
    [MMQ_P_IS_STORE] = {"SELECT " NUMBER(
                            "coalesce(max(CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN 1"
                            " ELSE 2 END), 0)") " FROM pg_catalog.pg_class JOIN"
                                                " pg_catalog.pg_namespace AS n"
                                                " ON n.oid = relnamespace"
                                                " WHERE nspname = '" MMQ_POSTGRES_SCHEMA
                                                "' AND relname = 'store'",
                        ""},
    [MMQ_P_VERSION] = {"SELECT version FROM store", ""},
    [MMQ_P_FIND_FREE] = {"SELECT " HEAD " FROM metric WHERE uid = $1"
                         " FOR NO KEY UPDATE SKIP LOCKED",
                         "t"},
    [MMQ_P_ALONE] = {"SELECT commit_no FROM store FOR UPDATE", ""},
    [MMQ_P_DRAW] = {"UPDATE store SET commit_no = commit_no + 1", ""},
    [MMQ_P_SET_CHANGED] = {"UPDATE metric SET changed = " COMMIT_NO
                           " WHERE key = ANY(" KEYS("$1") ")",
                           "t"},
    [MMQ_P_ADD_GROWTH] = {"INSERT INTO growth (metric, commit_no, before_rowid, at)"
                          " SELECT key, " COMMIT_NO ", before, $3"
                          " FROM unnest(" KEYS("$1") ", " KEYS("$2") ") AS grown (key, before)",
                          "tti"},
    [MMQ_P_MAKE_WRITER] = {"INSERT INTO writer (id, serial, at) VALUES ($1, 0, $2)", "ii"},
    /* transaction.c says what becomes of a serial number; NULL is refused */
    [MMQ_P_SET_WRITER] = {"INSERT INTO writer (id, serial, at) VALUES ($1, $2, $3) ON CONFLICT (id)"
                          " DO UPDATE SET serial = CASE WHEN writer.serial < $2 THEN $2 END,"
                          " at = $3",
                          "iii"},
    [MMQ_P_END_WRITER] = {"INSERT INTO writer (id, serial, at) VALUES ($1, $2 + 2, $3)"
                          " ON CONFLICT (id) DO UPDATE SET serial = CASE WHEN writer.serial"
                          " IN ($2, $2 + 1) THEN $2 + 1 ELSE $2 + 2 END RETURNING serial",
                          "iii"},
    [MMQ_P_OLD_WRITERS] = {"SELECT id FROM writer WHERE at < $1 LIMIT 1", "i"},
    [MMQ_P_DROP_WRITERS] = {"DELETE FROM writer WHERE at < $1", "i"},
    [MMQ_P_TIDIES] = {"SELECT " NUMBER("CAST(pg_try_advisory_xact_lock(1835954481, 1) AS integer)"),
                      ""},
    [MMQ_P_LISTEN] = {"LISTEN " MMQ_POSTGRES_SCHEMA, ""},
    [MMQ_P_NOTIFY] = {"SELECT pg_notify('" MMQ_POSTGRES_SCHEMA "', " COMMIT_NO " || $1)", "t"},
    [MMQ_P_DATA_KEYS] = {"SELECT nextval('block_data_key') FROM generate_series(1, $1)", "i"},
    [MMQ_P_AHEAD_AT] = {AHEAD BEFORE(PLACE) " LIMIT $4", "iiii"},
    [MMQ_P_AHEAD_AFTER] = {AHEAD BEHIND(PLACE) " LIMIT $4", "iiii"},
    [MMQ_P_AHEAD_FROM] = {UPWARDS("$1", PLACE, "$4"), "iiii"},
    [MMQ_P_EXPECT_AT] = {EACH(AHEAD_OF("sought_metric", DATA) BEFORE(SOUGHT) " LIMIT 1"), "ttt"},
    [MMQ_P_EXPECT_FROM] = {EACH(UPWARDS("sought_metric", SOUGHT, "1")), "ttt"},
    [MMQ_P_IS_STANDBY] = {"SELECT " NUMBER("CAST(pg_is_in_recovery() AS integer)"), ""},
    [MMQ_P_ADOPT] = {"UPDATE store SET id = $1, version = $2", "ii"},
    [MMQ_P_SIZE] =
        {"SELECT " NUMBER(
             "coalesce(sum(pg_total_relation_size(c.oid)), 0)") " FROM pg_catalog.pg_class AS c "
                                                                "JOIN pg_catalog.pg_namespace AS n"
                                                                " ON n.oid = relnamespace WHERE "
                                                                "nspname = '" MMQ_POSTGRES_SCHEMA
                                                                "' AND relkind = 'r'",
         ""},
};
