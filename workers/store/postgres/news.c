/* What writers tell each other of their commits, so that each of them can serve those who watch:
 * NOTIFY, which PostgreSQL hands to every listener, the sender too, in the order of commits.
 *
 *     COMMIT{+|.}[ UID ROWID]...      ROWID -1: the metric is gone
 *     COMMIT!                         more has changed than can be told
 *
 * A text is bounded, so a commit may be several of them; `+` says that another one follows. Numbers
 * have no gaps. A text that is none of these, or not of the next commit, is anybody's, or says that
 * something was missed: then we begin to listen anew, from the commit that the store has. */
#include "workers/store/postgres/engine.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/uid.h"

enum {
    TEXT_MAX = 7900,   /* PostgreSQL's bound is 7,999 bytes, with the number */
    HEARD_MAX = 65536, /* texts at a time */
};

mmq_err mmq_postgres_tell(mmq_store *store, const char *uid, int64_t last_rowid, mmq_why *why)
{
    char text[MMQ_UID_MAX + 32];
    mmq_buffer *news = &mmq_postgres_of(store)->news;
    (void)why;
    if (store->fills) {
        return MMQ_OK; /* nobody listens */
    }
    const int size = snprintf(text, sizeof text, " %s %" PRId64, uid, last_rowid);
    mmq_buffer_add(news, text, (size_t)size); /* what does not fit is told to be so */
    return MMQ_OK;
}

static mmq_err queue_text(mmq_postgres *postgres, char mark, const char *pairs, size_t size,
                          mmq_why *why)
{
    char text[TEXT_MAX + 1];
    mmq_pg_values values = {0};
    text[0] = mark;
    memcpy(text + 1, pairs, size);
    mmq_pg_bind_bytes(&values, 1, text, size + 1);
    return mmq_pg_queue(postgres->link, MMQ_P_NOTIFY, &values, why);
}

/* How much of the pairs makes one text: whole pairs. */
static size_t fit(const char *pairs, size_t size)
{
    size_t end = 0, spaces = 0;
    if (size < TEXT_MAX) {
        return size;
    }
    for (size_t i = 0; i < TEXT_MAX; i++) {
        spaces += pairs[i] == ' ' ? 1 : 0;
        if (pairs[i] == ' ' && spaces % 2 == 1) {
            end = i; /* a pair begins here */
        }
    }
    return end;
}

mmq_err mmq_postgres_queue_news(mmq_postgres *postgres, mmq_why *why)
{
    const mmq_buffer *news = &postgres->news;
    const char *pairs = news->size > 0 ? (const char *)news->data : "";
    if (news->failed) {
        return queue_text(postgres, '!', "", 0, why);
    }
    mmq_err err = MMQ_OK;
    size_t at = 0;
    do {
        const size_t size = fit(pairs + at, news->size - at);
        const bool last = at + size == news->size;
        err = queue_text(postgres, last ? '.' : '+', pairs + at, size, why);
        at += size;
    } while (err == MMQ_OK && at < news->size);
    return err;
}

/* ---- listening -------------------------------------------------------------------------- */

mmq_err mmq_postgres_listen(mmq_postgres *postgres, mmq_why *why)
{
    const uint64_t connection = mmq_pg_connection(postgres->link);
    if (postgres->listening == connection) {
        return MMQ_OK;
    }
    bool found;
    mmq_err err = mmq_postgres_ask(postgres, MMQ_P_LISTEN, NULL, &found, NULL, why);
    if (err == MMQ_OK) {
        postgres->listening = connection;
        postgres->fresh = true;
        postgres->data_keys_left = 0; /* a promoted standby may not know that they were drawn */
    }
    return err;
}

bool mmq_postgres_is_fresh(mmq_store *store)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    const bool fresh = postgres->fresh;
    postgres->fresh = false;
    return fresh;
}

/* A number at *text, which is moved behind it. */
static bool read_number(const char **text, int64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)**text) && **text != '-') {
        return false;
    }
    *out = strtoll(*text, &end, 10);
    *text = end;
    return true;
}

static bool read_pair(const char **text, char uid[MMQ_UID_MAX + 1], int64_t *rowid)
{
    if (**text != ' ') {
        return false;
    }
    const char *begin = *text + 1;
    const size_t size = strcspn(begin, " ");
    if (size > MMQ_UID_MAX || !mmq_uid_valid(begin, size) || begin[size] != ' ') {
        return false;
    }
    memcpy(uid, begin, size);
    uid[size] = '\0';
    *text = begin + size + 1;
    return read_number(text, rowid) && *rowid >= -1;
}

/* False: it is not as it must be, or says that not all can be told. */
static bool hear(const mmq_store *store, const char *text, int64_t *commit, bool *more)
{
    char uid[MMQ_UID_MAX + 1];
    int64_t rowid;
    *more = false;
    if (!read_number(&text, commit) || *commit < 1 || *commit > store->last.commit + 1 ||
        (*text != '+' && *text != '.')) {
        return false;
    }
    *more = *text++ == '+';
    while (*text != '\0') {
        if (!read_pair(&text, uid, &rowid)) {
            return false;
        }
        mmq_change_heard(store, *commit, uid, rowid);
    }
    return true;
}

bool mmq_postgres_heed(mmq_store *store)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    char text[TEXT_MAX + 64];
    mmq_why why;
    if (mmq_pg_queued(postgres->link) > 0 && mmq_pg_finish(postgres->link, &why) != MMQ_OK) {
        mmq_pg_drop(postgres->link); /* a rollback, whose answer stands before what is told */
    }
    for (int i = 0; i < HEARD_MAX && mmq_pg_heard(postgres->link, text, sizeof text); i++) {
        int64_t commit = 0;
        bool more;
        if (!hear(store, text, &commit, &more)) {
            postgres->listening = 0;
        } else if (!more) {
            mmq_commit_heard(store, commit);
        }
    }
    return mmq_pg_connected(postgres->link) &&
           postgres->listening == mmq_pg_connection(postgres->link);
}
