/* The store: metrics and their rows. What workers see of it, whatever engine is underneath; SQLite
 * is the first (docs/storage.md has its schema).
 *
 * A store handle is one connection and belongs to one thread. Reads happen between
 * mmq_store_begin_read and mmq_store_end_read and see one commit. Rows are handed over in batches
 * by column; a batch read is stateless (it seeks from a position), so that any number of metrics
 * may be read side by side with one prepared statement.
 *
 * Commits are numbered. The store remembers for at least an hour how long each metric was at which
 * commit, so that a stream may go on as of its first page.
 *
 * Errors: MMQ_EBUSY (locked for longer than 5 s), MMQ_EIO, MMQ_ENOSPC, MMQ_ECORRUPT (damaged),
 * MMQ_ENOMEM, each with a sentence in why. After an error in a transaction only end/rollback is
 * allowed. */
#ifndef MMQ_STORE_H
#define MMQ_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"
#include "lib/bucket.h"
#include "lib/columns.h"

typedef struct mmq_store mmq_store;

typedef enum mmq_store_mode {
    MMQ_STORE_READ,  /* must exist; never written */
    MMQ_STORE_WRITE, /* made if there is none; needs the writer's lock */
} mmq_store_mode;

/* What work that may take long tells of itself, in its own thread. */
typedef struct mmq_store_watch {
    void *context;
    /* At the start, now and then, and at the end; total may be 0. False: break off, which is
     * MMQ_ECLOSED. `doing` is a constant. */
    bool (*at)(void *context, const char *doing, int64_t done, int64_t total);
    /* mmq_store_check only: a fault that was found, a line without an end. */
    void (*fault)(void *context, const char *what);
} mmq_store_watch;

/* url: "sqlite:PATH". MMQ_ENOTFOUND: no such file (READ); MMQ_ECORRUPT: empty, foreign, of a newer
 * version or damaged; MMQ_EINVAL: a url that is not understood. NULL in *out on failure.
 *
 * A store of version 1, or on the way from it, is MMQ_EBUSY (READ), and is brought to the current
 * one before it is open (WRITE), which may take minutes; broken off or failed, it goes on with the
 * next WRITE. From version 2 on that takes a moment, and READ takes it as it is; what heads of
 * before version 4 do not say is added by mmq_store_tidy. */
mmq_err mmq_store_open(const char *url, mmq_store_mode mode, mmq_store **out,
                       mmq_why *why) MMQ_MUST_USE;
/* For MMQ_STORE_WRITE, with somebody who watches if the store is of an earlier version. */
mmq_err mmq_store_open_writer(const char *url, const mmq_store_watch *watch, mmq_store **out,
                              mmq_why *why) MMQ_MUST_USE;
/* MMQ_EINVAL: a url that is not understood; the disk is not looked at. */
mmq_err mmq_store_url_check(const char *url, mmq_why *why) MMQ_MUST_USE;
/* Whether this process may use the files that the url names, which stay as they are: reading the
 * file, and with `writes` making it and what stands beside it. MMQ_ENOTFOUND: there is none to
 * read. Not whether it is a store. */
mmq_err mmq_store_place_check(const char *url, bool writes, mmq_why *why) MMQ_MUST_USE;
/* False: a reader's store of an earlier version. */
bool mmq_store_is_current(const mmq_store *store);
/* For who answers clients: a server that is silent for so long is given up (MMQ_EUNAVAILABLE), and
 * the next read may be another's. Otherwise it is waited for as long as a statement may take. */
void mmq_store_hurry(mmq_store *store, unsigned silence_ms);
void mmq_store_close(mmq_store **store);

/* The writer's lock: one write worker owns a store. MMQ_EBUSY if another process or thread has it.
 * Released by mmq_store_unlock or when the process dies. */
typedef struct mmq_store_lock mmq_store_lock;
mmq_err mmq_store_lock_try(const char *url, mmq_store_lock **out, mmq_why *why) MMQ_MUST_USE;
void mmq_store_unlock(mmq_store_lock **lock);

/* ---- reading ---------------------------------------------------------------------------- */

typedef struct mmq_snapshot {
    uint64_t store; /* random, drawn when the store was made */
    int64_t commit; /* number of the last commit */
    int64_t behind; /* by how many commits it may be behind what another handle has seen; 0: none */
} mmq_snapshot;

mmq_err mmq_store_begin_read(mmq_store *store, mmq_snapshot *out, mmq_why *why) MMQ_MUST_USE;
void mmq_store_end_read(mmq_store *store);

/* What a scan needs of a metric. */
typedef struct mmq_metric_head {
    int64_t key;        /* never used again in this store, also after a delete */
    int64_t made;       /* commit that made it */
    int64_t changed;    /* last commit that changed it or its rows */
    int64_t last_rowid; /* 0: no rows */
    bool monitored;     /* its status is not 0; of mmq_store_heads only */
    char uid[MMQ_UID_MAX + 1];
} mmq_metric_head;

/* MMQ_ENOTFOUND if there is no such uid. In a write transaction no other writer changes the metric
 * from then on; MMQ_EBUSY and mmq_store_contended: one does, and we had locked others before. */
mmq_err mmq_store_find(mmq_store *store, const char *uid, mmq_metric_head *out,
                       mmq_why *why) MMQ_MUST_USE;
/* Up to `capacity` heads with uid > after ("": from the start), ascending by bytes. */
mmq_err mmq_store_heads(mmq_store *store, const char *after, mmq_metric_head *out, size_t capacity,
                        size_t *count, mmq_why *why) MMQ_MUST_USE;
/* The last rowid that the metric had at `commit` (<= the snapshot's). MMQ_EGONE if forgotten. */
mmq_err mmq_store_length_at(mmq_store *store, const mmq_metric_head *metric, int64_t commit,
                            int64_t *last_rowid, mmq_why *why) MMQ_MUST_USE;

typedef enum mmq_score_filter {
    MMQ_SCORES_ANY,
    MMQ_SCORES_PRESENT, /* rows that have a score */
    MMQ_SCORES_LEAST,   /* rows with least_score or more */
} mmq_score_filter;

/* A range of one metric's rows by time, what is wanted of it, and how far it was read. */
typedef struct mmq_range {
    int64_t metric;   /* key */
    int64_t from, to; /* inclusive */
    bool ascending;   /* by (timestamp, rowid), or both descending */
    mmq_score_filter scores;
    double least_score;
    int64_t rowid_most; /* rows up to this rowid; 0: all */
    bool ended;         /* nothing of it is left */
    bool positioned;    /* only rows behind (timestamp, rowid), in the range's direction */
    int64_t timestamp, rowid;
    uint64_t
        block_read_in; /* the transaction that read a block up to the position; of any handle */
} mmq_range;

/* Reads the next rows of the range that are wanted, at most `capacity` (<= MMQ_BATCH_ROWS), and
 * moves the range's position behind all rows that it looked at, which are of a bounded number of
 * blocks: maybe none of them is wanted, and fewer than capacity do not mean that the range has
 * ended. raw_score is not filled. */
mmq_err mmq_store_read_time(mmq_store *store, mmq_range *range, mmq_columns *out, size_t capacity,
                            mmq_why *why) MMQ_MUST_USE;
/* Ranges of one direction that are read by turns. An engine that is far away fetches the blocks of
 * those that are read next together, if it is told which those are: mmq_store_wants says, before a
 * range is read, whether telling is of use, since it does not expect that one. */
enum { MMQ_STORE_EXPECT_MAX = 64 };
bool mmq_store_wants(mmq_store *store, const mmq_range *range);
mmq_err mmq_store_expect(mmq_store *store, const mmq_range *const ranges[], size_t count,
                         mmq_why *why) MMQ_MUST_USE;
/* Rows with first <= rowid <= last, ascending by rowid, at most `capacity`; those past the last row
 * of the metric, and those that were pruned, are left out: none means that there are none from
 * first to last. raw_score is filled. */
mmq_err mmq_store_read_rowids(mmq_store *store, int64_t metric, int64_t first, int64_t last,
                              mmq_columns *out, size_t capacity, mmq_why *why) MMQ_MUST_USE;

/* Rows of a metric by time, in buckets of equal width: bucket i has those from from + i * width on,
 * before from + (i + 1) * width. How far it was read, and what that makes of the bucket it is in.
 */
typedef struct mmq_bucket_range {
    int64_t metric;     /* key */
    int64_t from, to;   /* inclusive, times that rows may have */
    int64_t width;      /* seconds, > 0 */
    int64_t rowid_most; /* only rows up to this rowid */
    bool ended;         /* nothing of it is left */
    bool positioned;    /* rows up to (timestamp, rowid) were read, and only they */
    int64_t timestamp, rowid;
    mmq_bucket bucket; /* of the bucket that `timestamp` is in, so far; rows 0: there are none */
    long double sum;   /* of its values; 0: what its mean says */
} mmq_bucket_range;

typedef struct mmq_dated_bucket {
    int64_t start; /* the first second of it */
    mmq_bucket bucket;
} mmq_dated_bucket;

enum { MMQ_BUCKETS_LEAST = MMQ_BATCH_ROWS + 2 }; /* what mmq_store_read_buckets wants room for */

/* Reads on and gives those of the next buckets that have rows and are read to their end, ascending;
 * of a bounded number of blocks: there may be none, and more to come. The error of a mean is below
 * 2^-50 of the greatest magnitude among the values, in a bucket of up to 10 million rows.
 * capacity >= MMQ_BUCKETS_LEAST. */
mmq_err mmq_store_read_buckets(mmq_store *store, mmq_bucket_range *range, mmq_dated_bucket *out,
                               size_t capacity, size_t *count, mmq_why *why) MMQ_MUST_USE;
/* The times of the metric's first and last row in that order. *found false: it has none. */
mmq_err mmq_store_span(mmq_store *store, int64_t metric, bool *found, int64_t *first, int64_t *last,
                       mmq_why *why) MMQ_MUST_USE;

/* As many neighbouring rows as the caller has room for, by column; that of first + i is at i. */
typedef struct mmq_rowid_window {
    size_t capacity;
    int64_t *timestamp;
    double *value, *anomaly_score, *raw_score;
    bool *there;   /* false: the row was pruned, and its place holds nothing */
    size_t count;  /* of places that were read */
    size_t blocks; /* that were opened for them: each costs the same, however few of its rows it
                      gave. Rows that did not come in the order of time lie in many. */
} mmq_rowid_window;

/* As mmq_store_read_rowids, from first (>= 1) on, for a reader of many rows. */
mmq_err mmq_store_read_window(mmq_store *store, int64_t metric, int64_t first, int64_t last,
                              mmq_rowid_window *out, mmq_why *why) MMQ_MUST_USE;

/* Whether rows from `from` on were pruned by a commit later than `commit`: of the metric with that
 * key; or if it is 0, of any that still exists and whose uid is `uid` or comes behind it. True also
 * where that cannot be told from rows before `from`. What is left of a stream that began with
 * `commit` may then lack rows that it was to show. */
mmq_err mmq_store_pruned_since(mmq_store *store, int64_t commit, int64_t from, int64_t metric,
                               const char *uid, bool *pruned, mmq_why *why) MMQ_MUST_USE;

/* A metric's record. Strings are owned by it; free with mmq_metric_clear. */
typedef struct mmq_metric {
    mmq_metric_head head;
    char *datasource, *name, *description, *server, *location;
    char *parameters; /* JSON text */
    char *message;    /* NULL: none */
    char *tag_name;   /* NULL: none */
    char *identity;   /* what makes it the same metric: custom: the name */
    int64_t status, poll_interval;
    bool has_rows;          /* or had: they may have been pruned */
    int64_t last_timestamp; /* the greatest that it ever had, if it has rows */
} mmq_metric;

void mmq_metric_clear(mmq_metric *metric);
mmq_err mmq_store_metric(mmq_store *store, const char *uid, mmq_metric *out,
                         mmq_why *why) MMQ_MUST_USE;
/* The first record with uid > after; MMQ_ENOTFOUND: none. */
mmq_err mmq_store_metric_after(mmq_store *store, const char *after, mmq_metric *out,
                               mmq_why *why) MMQ_MUST_USE;
/* A walk through all records from there on, one at a time, within a transaction; ended by whoever
 * began it. It must not move. */
typedef struct mmq_metric_walk {
    int64_t taken;               /* of the piece that was asked for */
    char asked[MMQ_UID_MAX + 1]; /* from there on; bound */
    char uid[MMQ_UID_MAX + 1];   /* of the last record */
} mmq_metric_walk;
void mmq_store_metrics_begin(mmq_store *store, const char *after, mmq_metric_walk *out);
mmq_err mmq_store_metrics_next(mmq_store *store, mmq_metric_walk *walk, mmq_metric *out,
                               mmq_why *why) MMQ_MUST_USE;
void mmq_store_metrics_end(mmq_store *store);
/* Rows of active metrics (status 1) without a score. */
mmq_err mmq_store_unscored(mmq_store *store, int64_t *rows, mmq_why *why) MMQ_MUST_USE;

enum { MMQ_BYTES_UNKNOWN = -1 }; /* or there is nothing like it */

typedef struct mmq_store_bytes {
    int64_t file;      /* of the store's file or tables, free pages too */
    int64_t log;       /* of SQLite's log beside it; this and those below: or MMQ_BYTES_UNKNOWN */
    int64_t file_free; /* of pages in the file that hold nothing now */
    int64_t disk_free; /* that the file system has left for us */
} mmq_store_bytes;

/* What the store takes and may still take: cheap, whatever its size. */
mmq_err mmq_store_size(mmq_store *store, mmq_store_bytes *out, mmq_why *why) MMQ_MUST_USE;

/* ---- checking --------------------------------------------------------------------------- */

typedef struct mmq_store_sums {
    int64_t metrics, blocks, rows;
    int64_t bytes;  /* of the file, without free pages */
    int64_t faults; /* 0: the store is whole */
} mmq_store_sums;

/* Reads all of the store, a transaction a metric so that no writer waits for long, and tells the
 * watch each fault: SQLite's own check of the file, every block, each metric's rows against its
 * record. Memory is bounded. MMQ_OK, whatever was found; else the check is not complete. */
mmq_err mmq_store_check(mmq_store *store, const mmq_store_watch *watch, mmq_store_sums *out,
                        mmq_why *why) MMQ_MUST_USE;

/* ---- keeping ---------------------------------------------------------------------------- */

typedef struct mmq_kept {
    mmq_store_sums sums; /* of the copy, which is whole */
    int64_t commit;      /* that it shows */
    int64_t bytes;       /* of the file */
    char old[4096];      /* restore: where the store that was there is now; "": there was none */
} mmq_kept;

/* Writes a copy of the store, as of one commit, into a new file, beside workers too. The file comes
 * to be when it is whole, checked and on disk: until then it has the name FILE.partial, which is
 * gone if this fails. MMQ_ECONFLICT: FILE exists, and stays; MMQ_EBUSY: somebody is writing it, or
 * the store is of an earlier form; MMQ_ECLOSED: the watch broke it off. One read transaction, which
 * lasts as long as the copying: the writer's log cannot begin anew meanwhile. */
mmq_err mmq_store_backup(const char *url, const char *file, const mmq_store_watch *watch,
                         mmq_kept *out, mmq_why *why) MMQ_MUST_USE;

/* Makes a copy of FILE, a backup or another store that nobody writes, the store. It is brought to
 * the current form and checked wholly before anything of the old store is touched, and gets an id
 * of its own, so that states and cursors of before do not count. `aside`: a store that is there is
 * kept under another name (out->old); else it is MMQ_ECONFLICT. MMQ_EBUSY: a process has the store
 * open. Killed at any point, it leaves the old store, or the new one, or what the next call ends
 * (the store is then missing, and a writer refuses to make a new one). */
mmq_err mmq_store_restore(const char *url, const char *file, bool aside,
                          const mmq_store_watch *watch, mmq_kept *out, mmq_why *why) MMQ_MUST_USE;

/* ---- writing ---------------------------------------------------------------------------- */

/* One transaction, several steps; each step below is atomic by itself: after MMQ_ENOTFOUND,
 * MMQ_ECONFLICT or MMQ_EINVAL it has changed nothing and the transaction goes on. */
mmq_err mmq_store_begin_write(mmq_store *store, mmq_why *why) MMQ_MUST_USE;
/* Durable when it returns MMQ_OK; else nothing of the transaction happened. */
mmq_err mmq_store_commit(mmq_store *store, mmq_why *why) MMQ_MUST_USE;
void mmq_store_rollback(mmq_store *store);

/* A step was MMQ_EBUSY since another write worker is at its metric: it has changed nothing, and
 * what was done before it is to be committed before it is tried again. */
bool mmq_store_contended(const mmq_store *store);

/* The store's id and the last commit that this handle knows of: of the last transaction that was
 * begun or committed, or, where there may be other writers, that the listener was told all of. */
mmq_snapshot mmq_store_last(const mmq_store *store);

/* Who wants to know what changes, in the order of commits. `changed` is called for each metric that
 * a commit changes, with the commit's number and the metric's last rowid, or -1 if it was deleted:
 * within the transaction, or, where there may be other writers, when the commit was heard of.
 * `undone`: the transaction came to nothing, and its number is used again. `missed`: commits up to
 * the last that the handle knows of now may not have been told. */
typedef struct mmq_store_listener {
    void *context;
    void (*changed)(void *context, int64_t commit, const char *uid, int64_t last_rowid);
    void (*undone)(void *context);
    void (*missed)(void *context);
} mmq_store_listener;
void mmq_store_listen(mmq_store *store, const mmq_store_listener *listener);
/* Hears what other writers, and we, have committed, and tells the listener; outside of a
 * transaction. False: there is no other writer, and never will be. */
bool mmq_store_heed(mmq_store *store);

/* Makes a metric of metric's fields; of head only the uid is given, the rest is filled in. If it
 * exists under the same uid and identity, *metric is replaced by the existing record.
 * MMQ_ECONFLICT: the identity exists under another uid, or the uid with another identity. */
mmq_err mmq_store_create(mmq_store *store, mmq_metric *metric, mmq_why *why) MMQ_MUST_USE;

typedef struct mmq_appended {
    int64_t first_rowid, last_rowid; /* of the rows sent; both 0 if there were none */
    int64_t added;                   /* rows that were new */
} mmq_appended;

/* Rows to write, of any number, by column; scores NaN where absent. rowid is used by score only. */
typedef struct mmq_write_rows {
    size_t count;
    int64_t *timestamp, *rowid;
    double *value, *anomaly_score, *raw_score;
} mmq_write_rows;

/* first_rowid 0: after the last row. Else rows that exist are skipped if timestamp and value are
 * equal; MMQ_ECONFLICT names the first rowid that differs, or says that it leaves a gap. */
mmq_err mmq_store_append(mmq_store *store, const char *uid, int64_t first_rowid,
                         const mmq_write_rows *rows, mmq_appended *out, mmq_why *why) MMQ_MUST_USE;
/* Sets scores by rowid. MMQ_ENOTFOUND names a uid or rowid that is not there. */
mmq_err mmq_store_score(mmq_store *store, const char *uid, const mmq_write_rows *rows,
                        mmq_why *why) MMQ_MUST_USE;
/* The metric is gone at commit; its rows are removed bit by bit by mmq_store_tidy. */
mmq_err mmq_store_delete(mmq_store *store, const char *uid, mmq_why *why) MMQ_MUST_USE;
/* What a prune has done, or would do. */
typedef struct mmq_pruned {
    int64_t rows, blocks; /* blocks: those that went whole */
} mmq_pruned;

enum { MMQ_PRUNE_WORK = 64 }; /* what a piece of a prune may cost: a millisecond or two */

/* Removes rows of a metric with a timestamp < before: as many as *work allows, which becomes less.
 * *done: there are none left. Rowids stay, last_rowid and last_timestamp, too. Adds to *out. */
mmq_err mmq_store_prune(mmq_store *store, const mmq_metric_head *metric, int64_t before, int *work,
                        bool *done, mmq_pruned *out, mmq_why *why) MMQ_MUST_USE;
/* Adds what that would remove in the end. Costs *work, and may overdraw it by one metric. */
mmq_err mmq_store_prunable(mmq_store *store, const mmq_metric_head *metric, int64_t before,
                           int *work, mmq_pruned *out, mmq_why *why) MMQ_MUST_USE;
/* A bounded piece of housekeeping, in a transaction of its own: rows of deleted metrics, lengths
 * remembered for longer than an hour, pages to give back. *more: call again soon. */
mmq_err mmq_store_tidy(mmq_store *store, bool *more, mmq_why *why) MMQ_MUST_USE;
/* In a write transaction that does housekeeping, too, before anything else. *ours false: another
 * writer does it at the moment, and this one is to be rolled back. */
mmq_err mmq_store_tidies(mmq_store *store, bool *ours, mmq_why *why) MMQ_MUST_USE;

#endif
