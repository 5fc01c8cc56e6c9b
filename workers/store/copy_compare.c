/* Do two stores hold the same? Each metric is read from both, in the order of uids, and what is
 * read goes into a sum of its side, so that the sums say it once more. Data is not read: heads have
 * its checks. A transaction is of several metrics, or of one that is long. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "lib/bits.h"
#include "workers/store/bytes.h"
#include "workers/store/copying.h"
#include "workers/store/gaps.h"
#include "workers/store/raw.h"

enum { GAPS = 64, NUMBERS = 10 };

/* One of the two stores, and its metric. */
typedef struct side {
    mmq_store *store;
    XXH3_state_t *sum;
    bool there;
    mmq_metric record;
    int64_t numbers[6]; /* what its rows come to, and whether it was pruned */
    mmq_raw_walk blocks;
} side;

typedef struct comparing {
    mmq_copying *copying;
    side sides[2];
    mmq_why *difference;
    mmq_store_sums *sums;
    char after[MMQ_UID_MAX + 1];
} comparing;

static bool differs(const comparing *c)
{
    return c->difference->text[0] != '\0';
}

static void say(comparing *c, const char *what)
{
    const side *s = &c->sides[c->sides[0].there ? 0 : 1];
    (void)mmq_fail(c->difference, MMQ_ECONFLICT, "metric %s: %s", s->record.head.uid, what);
}

/* ---- sums ------------------------------------------------------------------------------- */

static void add_numbers(side *s, const int64_t *numbers, size_t count)
{
    uint8_t bytes[NUMBERS * 8], *at = bytes;
    for (size_t i = 0; i < count; i++) {
        at = store_64(at, (uint64_t)numbers[i]);
    }
    (void)XXH3_64bits_update(s->sum, bytes, (size_t)(at - bytes));
}

static void add_text(side *s, const char *text)
{
    const int64_t size = text != NULL ? (int64_t)strlen(text) : -1;
    add_numbers(s, &size, 1);
    if (text != NULL) {
        (void)XXH3_64bits_update(s->sum, text, (size_t)size);
    }
}

static void add_record(side *s)
{
    const mmq_metric *record = &s->record;
    const char *const texts[] = {record->head.uid, record->datasource,  record->identity,
                                 record->name,     record->description, record->server,
                                 record->location, record->parameters,  record->message,
                                 record->tag_name};
    const int64_t numbers[] = {record->status, record->poll_interval};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        add_text(s, texts[i]);
    }
    add_numbers(s, numbers, 2);
    add_numbers(s, s->numbers, sizeof s->numbers / sizeof *s->numbers);
}

static void add_head(side *s, const mmq_block_head *head)
{
    const int64_t numbers[NUMBERS] = {
        head->first.timestamp,
        head->first.rowid,
        head->last.timestamp,
        head->last.rowid,
        head->least_rowid,
        head->greatest_rowid,
        head->rows,
        head->unscored,
        isnan(head->greatest_score) ? -1 : (int64_t)mmq_bits_of(head->greatest_score),
        (int64_t)head->data_check,
    };
    add_numbers(s, numbers, NUMBERS);
}

/* ---- one metric ------------------------------------------------------------------------- */

static mmq_err read_record(side *s, const char *after, mmq_why *why)
{
    mmq_err err = mmq_store_metric_after(s->store, after, &s->record, why);
    s->there = err == MMQ_OK;
    return err == MMQ_ENOTFOUND ? MMQ_OK : err;
}

static mmq_err read_state(side *s, mmq_why *why)
{
    mmq_metric_state state = {0};
    bool pruned = false;
    int64_t before = 0;
    mmq_err err = mmq_statement_prepare(s->store, MMQ_Q_STATE, why);
    if (err == MMQ_OK) {
        err = mmq_state_read(s->store, s->record.head.key, &state, why);
    }
    if (err == MMQ_OK) {
        err = mmq_pruned_find(s->store, s->record.head.key, &pruned, &before, why);
    }
    s->numbers[0] = s->record.head.last_rowid;
    s->numbers[1] = state.has_rows;
    s->numbers[2] = state.last_timestamp;
    s->numbers[3] = state.unscored;
    s->numbers[4] = pruned;
    s->numbers[5] = before;
    return err;
}

static mmq_err compare_records(comparing *c, mmq_why *why)
{
    side *a = &c->sides[0], *b = &c->sides[1];
    if (!a->there || !b->there || strcmp(a->record.head.uid, b->record.head.uid) != 0) {
        const bool first =
            a->there && (!b->there || strcmp(a->record.head.uid, b->record.head.uid) < 0);
        (void)mmq_fail(c->difference, MMQ_ECONFLICT, "metric %s: only the %s has it",
                       c->sides[first ? 0 : 1].record.head.uid, first ? "source" : "target");
        return MMQ_OK;
    }
    if (!mmq_copy_same_record(&a->record, &b->record)) {
        say(c, "the records differ");
        return MMQ_OK;
    }
    for (size_t i = 0; i < 2; i++) {
        mmq_err err = read_state(&c->sides[i], why);
        if (err != MMQ_OK) {
            return err;
        }
        add_record(&c->sides[i]);
    }
    if (memcmp(a->numbers, b->numbers, sizeof a->numbers) != 0) {
        say(c, "the counts of rows, or their greatest times, differ");
    }
    return MMQ_OK;
}

static mmq_err compare_gaps(comparing *c, mmq_why *why)
{
    int64_t after = 0;
    size_t count[2] = {GAPS};
    while (count[0] == GAPS && !differs(c)) {
        mmq_gap gaps[2][GAPS] = {{{0}}};
        for (size_t i = 0; i < 2; i++) {
            side *s = &c->sides[i];
            mmq_err err =
                mmq_gaps_piece(s->store, s->record.head.key, after, gaps[i], GAPS, &count[i], why);
            if (err != MMQ_OK) {
                return err;
            }
            for (size_t g = 0; g < count[i]; g++) {
                add_numbers(s, (const int64_t[]){gaps[i][g].first, gaps[i][g].last}, 2);
            }
        }
        if (count[0] != count[1] || memcmp(gaps[0], gaps[1], sizeof gaps[0]) != 0) {
            say(c, "other rows were pruned");
        }
        after = count[0] > 0 ? gaps[0][count[0] - 1].first : after;
        c->copying->work -= (int)count[0];
    }
    return MMQ_OK;
}

/* Takes the next block of both. *ended: neither has one. */
static mmq_err compare_block(comparing *c, bool *ended, mmq_why *why)
{
    const mmq_stored_block *heads[2];
    for (size_t i = 0; i < 2; i++) {
        mmq_err err = mmq_raw_head(&c->sides[i].blocks, &heads[i], why);
        if (err != MMQ_OK) {
            return err;
        }
        if (heads[i] != NULL) {
            add_head(&c->sides[i], &heads[i]->head);
            mmq_raw_next(&c->sides[i].blocks);
        }
    }
    *ended = heads[0] == NULL && heads[1] == NULL;
    if (*ended) {
        return MMQ_OK;
    }
    if (heads[0] == NULL || heads[1] == NULL || !mmq_raw_same(&heads[0]->head, &heads[1]->head)) {
        say(c, "the rows differ");
        return MMQ_OK;
    }
    c->sums->blocks++;
    c->sums->rows += heads[0]->head.rows;
    c->copying->rows += heads[0]->head.rows;
    c->copying->work--;
    return mmq_copy_tell(c->copying, "comparing rows", why);
}

static mmq_err compare_blocks(comparing *c, mmq_why *why)
{
    const mmq_row_key start = {INT64_MIN, 0};
    bool ended = false;
    mmq_err err = MMQ_OK;
    for (size_t i = 0; i < 2; i++) {
        side *s = &c->sides[i];
        mmq_raw_begin(&s->blocks, s->store, s->record.head.key, start);
    }
    while (err == MMQ_OK && !ended && !differs(c)) {
        err = compare_block(c, &ended, why);
    }
    return err;
}

/* The next metric of both. *ended: neither has one. */
static mmq_err compare_metric(comparing *c, bool *ended, mmq_why *why)
{
    mmq_err err = read_record(&c->sides[0], c->after, why);
    if (err == MMQ_OK) {
        err = read_record(&c->sides[1], c->after, why);
    }
    *ended = err == MMQ_OK && !c->sides[0].there && !c->sides[1].there;
    if (err == MMQ_OK && !*ended) {
        err = compare_records(c, why);
    }
    if (err == MMQ_OK && !*ended && !differs(c)) {
        err = compare_gaps(c, why);
    }
    if (err == MMQ_OK && !*ended && !differs(c)) {
        err = compare_blocks(c, why);
    }
    if (err == MMQ_OK && !*ended) {
        memcpy(c->after, c->sides[0].record.head.uid, sizeof c->after);
        c->sums->metrics++;
        c->copying->work -= MMQ_COPY_METRIC;
    }
    mmq_metric_clear(&c->sides[0].record);
    mmq_metric_clear(&c->sides[1].record);
    return err;
}

/* ---- both stores ------------------------------------------------------------------------ */

/* *commit: of the source now. */
static mmq_err begin(comparing *c, int64_t *commit, mmq_why *why)
{
    mmq_snapshot source, target;
    mmq_err err = mmq_store_begin_read(c->sides[0].store, &source, why);
    if (err != MMQ_OK) {
        return err;
    }
    *commit = source.commit;
    err = mmq_store_begin_read(c->sides[1].store, &target, why);
    if (err != MMQ_OK) {
        mmq_store_end_read(c->sides[0].store);
    }
    return err;
}

/* Some metrics, in one transaction. *commit -1: the source was written meanwhile. */
static mmq_err compare_some(comparing *c, int64_t *commit, bool *ended, mmq_why *why)
{
    int64_t now;
    mmq_err err = begin(c, &now, why);
    if (err != MMQ_OK) {
        return err;
    }
    *commit = *commit == 0 || *commit == now ? now : -1;
    c->copying->work = MMQ_COPY_WORK;
    while (err == MMQ_OK && *commit >= 0 && !*ended && !differs(c) && c->copying->work > 0) {
        err = compare_metric(c, ended, why);
    }
    mmq_store_end_read(c->sides[0].store);
    mmq_store_end_read(c->sides[1].store);
    return err;
}

static mmq_err compare_all(comparing *c, int64_t *commit, uint64_t *sum, mmq_why *why)
{
    bool ended = false;
    mmq_err err = MMQ_OK;
    *commit = 0;
    (void)XXH3_64bits_reset(c->sides[0].sum);
    (void)XXH3_64bits_reset(c->sides[1].sum);
    while (err == MMQ_OK && *commit >= 0 && !ended && !differs(c)) {
        err = compare_some(c, commit, &ended, why);
    }
    *sum = XXH3_64bits_digest(c->sides[0].sum);
    if (err == MMQ_OK && ended && !differs(c) && XXH3_64bits_digest(c->sides[1].sum) != *sum) {
        (void)mmq_fail(c->difference, MMQ_ECONFLICT, "the sums differ");
    }
    return err;
}

mmq_err mmq_copy_compare(mmq_copying *copying, int64_t *commit, uint64_t *sum, mmq_store_sums *sums,
                         mmq_why *difference, mmq_why *why)
{
    comparing c = {.copying = copying,
                   .sides = {{.store = copying->source}, {.store = copying->target}},
                   .difference = difference,
                   .sums = sums};
    *sums = (mmq_store_sums){0};
    difference->text[0] = '\0';
    copying->rows = 0;
    c.sides[0].sum = XXH3_createState();
    c.sides[1].sum = XXH3_createState();
    mmq_err err = c.sides[0].sum != NULL && c.sides[1].sum != NULL
                      ? compare_all(&c, commit, sum, why)
                      : mmq_fail(why, MMQ_ENOMEM, "no memory for a sum");
    (void)XXH3_freeState(c.sides[0].sum);
    (void)XXH3_freeState(c.sides[1].sum);
    return err;
}
