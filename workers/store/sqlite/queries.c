/* The store's statements in SQLite's words, and steps, parameters and columns of SQLite's. Of block
 * data the key alone says which it is: the parameter ?1, whose metric, is not asked for. */
#include "workers/store/sqlite/sqlite.h"

#define HEAD "key, uid, made, changed, last_rowid"
#define RECORD                                                                                     \
    HEAD ", datasource, identity, name, description, server, location, parameters, message,"       \
         " tag_name, status, poll_interval, last_timestamp"
/* Metrics that an index finds, but their columns from the table: where the two disagree, the uid is
 * another one, or NULL. From a plain SELECT SQLite takes the uid of the index with the rest of
 * whatever record it leads to. */
#define FOUND_BY(condition)                                                                        \
    " FROM (SELECT key AS found FROM metric WHERE " condition ") LEFT JOIN metric ON key = found"
#define BLOCK_HEAD                                                                                 \
    "SELECT first_timestamp, first_rowid, last_timestamp, last_rowid, least_rowid,"                \
    " greatest_rowid, rows, unscored, greatest_score, data, data_check, head_check"
#define BLOCK BLOCK_HEAD " FROM block WHERE metric = ?1 AND "
#define BLOCK_AT                                                                                   \
    BLOCK "(first_timestamp, first_rowid) <= (?2, ?3)"                                             \
          " ORDER BY first_timestamp DESC, first_rowid DESC LIMIT 1"
#define BLOCK_AFTER                                                                                \
    BLOCK "(first_timestamp, first_rowid) > (?2, ?3)"                                              \
          " ORDER BY first_timestamp, first_rowid LIMIT 1"
#define BLOCKS_FROM                                                                                \
    " FROM block WHERE metric = ?1 AND (first_timestamp, first_rowid) >= (?2, ?3)"                 \
    " ORDER BY first_timestamp, first_rowid LIMIT ?4"
#define OF_NONE                                                                                    \
    " WHERE metric NOT IN (SELECT key FROM metric) AND metric NOT IN (SELECT metric FROM doomed)"
#define INCOMPLETE    " FROM block INDEXED BY block_incomplete WHERE value_summary IS NULL"
#define DOOMED_BLOCKS "block WHERE metric = ?1 ORDER BY first_timestamp, first_rowid LIMIT ?2"

const char *const mmq_sqlite_texts[MMQ_Q_COUNT] = {
    [MMQ_Q_SNAPSHOT] = "SELECT id, commit_no, 0 FROM store WHERE one = 1",
    [MMQ_Q_FIND] = "SELECT " HEAD FOUND_BY("uid = ?1"),
    [MMQ_Q_FIND_LOCKED] = "SELECT " HEAD FOUND_BY("uid = ?1"),
    [MMQ_Q_HEADS] = "SELECT " HEAD ", status" FOUND_BY("uid > ?1 ORDER BY uid LIMIT ?2"),
    [MMQ_Q_METRIC] = "SELECT " RECORD FOUND_BY("uid = ?1"),
    [MMQ_Q_METRICS_AFTER] = "SELECT " RECORD FOUND_BY("uid > ?1 ORDER BY uid LIMIT ?2"),
    [MMQ_Q_METRIC_BY_IDENTITY] = "SELECT " RECORD FOUND_BY("datasource = ?1 AND identity = ?2"),
    [MMQ_Q_UNSCORED] = "SELECT coalesce(sum(unscored), 0) FROM metric WHERE status = 1"
                       " AND unscored > 0",
    [MMQ_Q_FORGOTTEN] = "SELECT forgotten FROM metric WHERE key = ?1",
    [MMQ_Q_LENGTH] = "SELECT last_rowid FROM metric WHERE key = ?1",
    [MMQ_Q_LENGTH_AT] = "SELECT before_rowid FROM growth WHERE metric = ?1 AND commit_no > ?2"
                        " ORDER BY commit_no LIMIT 1",
    [MMQ_Q_BLOCK_AT] = BLOCK_AT,
    [MMQ_Q_BLOCK_AFTER] = BLOCK_AFTER,
    [MMQ_Q_BLOCK_FROM] =
        "SELECT * FROM (" BLOCK_AT ") UNION ALL SELECT * FROM (" BLOCK_AFTER ") LIMIT 1",
    [MMQ_Q_BLOCK_BY_ROWID] = BLOCK "least_rowid <= ?2 ORDER BY least_rowid DESC LIMIT ?3",
    [MMQ_Q_BLOCK_DATA] = "SELECT data FROM block_data WHERE key = ?2",
    [MMQ_Q_HAS_GAPS] = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table'"
                       " AND name = 'gap')",
    [MMQ_Q_HAS_VALUES] = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index'"
                         " AND name = 'block_incomplete')",
    [MMQ_Q_BLOCKS_EARLIER] = BLOCK_HEAD ", NULL" BLOCKS_FROM,
    [MMQ_Q_BLOCKS] = BLOCK_HEAD ", value_summary" BLOCKS_FROM,
    [MMQ_Q_GAP_AT] = "SELECT first_rowid, last_rowid FROM gap WHERE metric = ?1"
                     " AND first_rowid <= ?2 ORDER BY first_rowid DESC LIMIT 1",
    [MMQ_Q_GAPS_AFTER] = "SELECT first_rowid, last_rowid FROM gap WHERE metric = ?1"
                         " AND first_rowid > ?2 AND first_rowid <= ?3 ORDER BY first_rowid",
    [MMQ_Q_GAPS_PIECE] = "SELECT first_rowid, last_rowid FROM gap WHERE metric = ?1"
                         " AND first_rowid > ?2 ORDER BY first_rowid LIMIT ?3",
    [MMQ_Q_PRUNED_BEFORE] = "SELECT before_timestamp FROM pruned WHERE metric = ?1",
    [MMQ_Q_PRUNED_SINCE] =
        "SELECT EXISTS (SELECT 1 FROM pruned LEFT JOIN metric ON key = pruned.metric"
        " WHERE pruned.commit_no > ?1 AND before_timestamp > ?2"
        " AND (pruned.metric = ?3 OR (?3 = 0 AND uid >= ?4)))",
    [MMQ_Q_STATE] = "SELECT last_timestamp, unscored FROM metric WHERE key = ?1",
    [MMQ_Q_SET_STATE] = "UPDATE metric SET changed = ?2, last_rowid = ?3, last_timestamp = ?4,"
                        " unscored = ?5 WHERE key = ?1",
    [MMQ_Q_CREATE] = "INSERT INTO metric (uid, made, changed, datasource, identity, name,"
                     " description, server, location, parameters, message, tag_name, status,"
                     " poll_interval) VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
                     " ?12, ?13) RETURNING key",
    [MMQ_Q_GROW] = "INSERT OR IGNORE INTO growth (metric, commit_no, before_rowid, at)"
                   " VALUES (?1, ?2, ?3, ?4)",
    [MMQ_Q_ADD_BLOCK] = "INSERT INTO block (metric, first_timestamp, first_rowid, last_timestamp,"
                        " last_rowid, least_rowid, greatest_rowid, rows, unscored, greatest_score,"
                        " data, data_check, head_check, value_summary) VALUES (?1, ?2, ?3, ?4, ?5,"
                        " ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    [MMQ_Q_SET_BLOCK] = "UPDATE block SET last_timestamp = ?4, last_rowid = ?5, least_rowid = ?6,"
                        " greatest_rowid = ?7, rows = ?8, unscored = ?9, greatest_score = ?10,"
                        " data = ?11, data_check = ?12, head_check = ?13, value_summary = ?14"
                        " WHERE metric = ?1"
                        " AND first_timestamp = ?2 AND first_rowid = ?3",
    [MMQ_Q_DROP_BLOCK] = "DELETE FROM block WHERE metric = ?1 AND first_timestamp = ?2"
                         " AND first_rowid = ?3",
    [MMQ_Q_INCOMPLETE] = "SELECT metric" INCOMPLETE " LIMIT 1",
    [MMQ_Q_BLOCK_INCOMPLETE] = BLOCK_HEAD INCOMPLETE " AND metric = ?1 LIMIT 1",
    [MMQ_Q_SET_VALUES] = "UPDATE block SET value_summary = ?4 WHERE metric = ?1"
                         " AND first_timestamp = ?2 AND first_rowid = ?3"
                         " AND value_summary IS NULL",
    [MMQ_Q_ADD_BLOCK_DATA] = "INSERT INTO block_data (data) VALUES (?2) RETURNING key",
    [MMQ_Q_SET_BLOCK_DATA] = "UPDATE block_data SET data = ?3 WHERE key = ?2",
    [MMQ_Q_DROP_BLOCK_DATA] = "DELETE FROM block_data WHERE key = ?2",
    [MMQ_Q_DELETE] = "DELETE FROM metric WHERE key = ?1",
    [MMQ_Q_DOOM] = "INSERT INTO doomed (metric) VALUES (?1)",
    [MMQ_Q_DOOMED] = "SELECT metric FROM doomed LIMIT 1",
    [MMQ_Q_SET_PRUNED] = "INSERT INTO pruned (metric, before_timestamp, commit_no)"
                         " VALUES (?1, ?2, ?3) ON CONFLICT (metric) DO UPDATE SET"
                         " before_timestamp = max(before_timestamp, ?2), commit_no = ?3",
    [MMQ_Q_UNPRUNE] = "DELETE FROM pruned WHERE metric = ?1",
    [MMQ_Q_ADD_GAP] = "INSERT INTO gap (metric, first_rowid, last_rowid) VALUES (?1, ?2, ?3)",
    [MMQ_Q_SET_GAP] = "UPDATE gap SET last_rowid = ?3 WHERE metric = ?1 AND first_rowid = ?2",
    [MMQ_Q_DROP_GAP] = "DELETE FROM gap WHERE metric = ?1 AND first_rowid = ?2",
    [MMQ_Q_COUNT_BLOCKS] = "SELECT count(*), coalesce(sum(rows), 0) FROM block"
                           " WHERE metric = ?1 AND first_timestamp < ?2",
    [MMQ_Q_DELETE_GAPS] = "DELETE FROM gap WHERE (metric, first_rowid) IN"
                          " (SELECT metric, first_rowid FROM gap WHERE metric = ?1 LIMIT ?2)",
    [MMQ_Q_DELETE_DATA] =
        "DELETE FROM block_data WHERE key IN (SELECT data FROM " DOOMED_BLOCKS ")",
    [MMQ_Q_DELETE_BLOCKS] = "DELETE FROM block WHERE (metric, first_timestamp, first_rowid) IN"
                            " (SELECT metric, first_timestamp, first_rowid FROM " DOOMED_BLOCKS ")",
    [MMQ_Q_UNDOOM] = "DELETE FROM doomed WHERE metric = ?1",
    [MMQ_Q_OLD_GROWTH] = "SELECT metric, commit_no FROM growth WHERE at < ?1 ORDER BY at LIMIT ?2",
    [MMQ_Q_FORGET] = "UPDATE metric SET forgotten = max(forgotten, ?2) WHERE key = ?1",
    [MMQ_Q_DELETE_GROWTH] = "DELETE FROM growth WHERE metric = ?1 AND commit_no = ?2",
    [MMQ_Q_CHECK_TOTAL] = "SELECT coalesce(sum(last_rowid), 0) FROM metric",
    [MMQ_Q_CHECK_PRUNED] = "SELECT coalesce(sum(last_rowid - first_rowid + 1), 0) FROM gap",
    [MMQ_Q_CHECK_METRIC] = "SELECT key, uid, made, changed, last_rowid, last_timestamp, unscored,"
                           " forgotten FROM metric WHERE key > ?1 ORDER BY key LIMIT 1",
    [MMQ_Q_CHECK_GROWTH] = "SELECT commit_no, before_rowid FROM growth WHERE metric = ?1"
                           " ORDER BY commit_no",
    [MMQ_Q_CHECK_BLOCK_OF_NONE] = "SELECT DISTINCT metric FROM block" OF_NONE,
    [MMQ_Q_CHECK_BOTH] = "SELECT key FROM metric WHERE key IN (SELECT metric FROM doomed)",
    [MMQ_Q_CHECK_DATA_OF_NONE] = "SELECT key FROM block_data WHERE key NOT IN"
                                 " (SELECT data FROM block)",
    [MMQ_Q_CHECK_DATA_OF_SEVERAL] = "SELECT data FROM block GROUP BY data HAVING count(*) > 1",
    [MMQ_Q_CHECK_GAP_OF_NONE] = "SELECT DISTINCT metric FROM gap" OF_NONE,
    [MMQ_Q_CHECK_PRUNED_OF_NONE] = "SELECT metric FROM pruned WHERE metric NOT IN"
                                   " (SELECT key FROM metric)",
    [MMQ_Q_CHECK_GAP_UNPRUNED] = "SELECT DISTINCT gap.metric FROM gap JOIN metric"
                                 " ON key = gap.metric WHERE gap.metric NOT IN"
                                 " (SELECT metric FROM pruned)",
};

const char *const mmq_sqlite_own_texts[MMQ_SQLITE_COUNT] = {
    [MMQ_SQLITE_BEGIN_READ] = "BEGIN",
    [MMQ_SQLITE_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [MMQ_SQLITE_COMMIT] = "COMMIT",
    [MMQ_SQLITE_FREE_BYTES] =
        "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size",
    [MMQ_SQLITE_SET_COMMIT] = "UPDATE store SET commit_no = ?1 WHERE one = 1",
    [MMQ_SQLITE_FREE_PAGES] = "PRAGMA freelist_count",
    [MMQ_SQLITE_VACUUM] = "PRAGMA incremental_vacuum(64)",
};
