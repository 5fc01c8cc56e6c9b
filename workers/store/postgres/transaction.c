/* Transactions.
 *
 * Several writers commit side by side, and yet the numbers of commits are in the order in which
 * readers get to see them: a writer draws its number at the end, by updating the one row of
 * `store`, whose lock it then holds until its commit is done. What bears the number is written
 * behind that, and all of it goes out with the commit in one round trip.
 *
 * Nobody waits for one lock while another waits for one of its: a metric's lock is waited for only
 * by who has none (statement.c), and who has the row of `store` waits for nothing.
 *
 * A commit whose connection is lost may be done, or not, or be yet to come: the server may have it
 * all and not have got to it. A transaction S sets that serial number in a row of this writer's
 * own, if what is there is less; else it fails. Who comes back makes S + 1 of S, which says that it
 * was done, and S + 2 of anything else: it was not, and will fail. Both may be asked again. */
#include "workers/store/postgres/engine.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/buffer.h"
#include "lib/clock.h"

enum { LIST_MAX = 32 * 1024 * 1024 }; /* bytes of a list of metrics */

#define RESOLVE_NS (15 * MMQ_NS_PER_S)

mmq_err mmq_postgres_begin(mmq_store *store, bool writes, mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    if (mmq_pg_queued(postgres->link) > 0 && mmq_pg_finish(postgres->link, why) != MMQ_OK) {
        mmq_pg_drop(postgres->link); /* how the last transaction ended is nobody's concern now */
    }
    mmq_err err = mmq_pg_connect(postgres->link, why);
    postgres->locks = 0;
    postgres->touched_count = 0;
    mmq_buffer_reset(&postgres->news);
    if (err == MMQ_OK && writes && !store->fills) {
        err = mmq_postgres_listen(postgres, why);
    }
    if (err == MMQ_OK) {
        err =
            mmq_pg_queue(postgres->link, writes ? MMQ_P_BEGIN_WRITE : MMQ_P_BEGIN_READ, NULL, why);
    }
    postgres->open = err == MMQ_OK;
    return err;
}

/* Sent and not waited for: so the server lets go of the snapshot while we do something else. */
void mmq_postgres_undo(mmq_store *store)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    mmq_why why;
    mmq_postgres_forget_ahead(postgres);
    if (!postgres->open) {
        return;
    }
    postgres->open = false;
    if (mmq_pg_connected(postgres->link) &&
        (mmq_postgres_settle(postgres, &why) != MMQ_OK ||
         mmq_pg_queue(postgres->link, MMQ_P_ROLLBACK, NULL, &why) != MMQ_OK ||
         mmq_pg_send(postgres->link, &why) != MMQ_OK)) {
        mmq_pg_drop(postgres->link); /* and with the connection goes the transaction */
    }
}

mmq_err mmq_postgres_alone(mmq_store *store, mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    int64_t commit = 0;
    bool found;
    mmq_err err = mmq_postgres_ask(postgres, MMQ_P_ALONE, NULL, &found, &commit, why);
    if (err == MMQ_OK && (!found || commit < 0 || commit == INT64_MAX)) {
        return mmq_damaged(store, "its commit number", why);
    }
    postgres->locks++;
    store->commit = commit + 1;
    return err;
}

mmq_err mmq_postgres_tidies(mmq_store *store, bool *ours, mmq_why *why)
{
    int64_t got = 0;
    bool found;
    mmq_err err = mmq_postgres_ask(mmq_postgres_of(store), MMQ_P_TIDIES, NULL, &found, &got, why);
    *ours = err == MMQ_OK && got != 0;
    return err;
}

/* ---- what was changed ------------------------------------------------------------------- */

mmq_err mmq_postgres_touch(mmq_postgres *postgres, int64_t key, int64_t before_rowid, mmq_why *why)
{
    for (size_t i = postgres->touched_count; i > 0; i--) {
        mmq_pg_touched *at = &postgres->touched[i - 1];
        if (at->key == key) {
            at->before_rowid = at->before_rowid < 0 ? before_rowid : at->before_rowid;
            return MMQ_OK;
        }
    }
    if (postgres->touched_count == postgres->touched_room) {
        const size_t room = postgres->touched_room * 2 + 16;
        mmq_pg_touched *more = reallocarray(postgres->touched, room, sizeof *more);
        if (more == NULL) {
            return mmq_fail(why, MMQ_ENOMEM, "no memory for a list of metrics");
        }
        postgres->touched = more;
        postgres->touched_room = room;
    }
    postgres->touched[postgres->touched_count++] = (mmq_pg_touched){key, before_rowid};
    return MMQ_OK;
}

void mmq_postgres_add_number(mmq_buffer *list, int64_t number)
{
    char text[24];
    const int size = snprintf(text, sizeof text, "%s%" PRId64, list->size > 0 ? "," : "", number);
    mmq_buffer_add(list, text, (size_t)size);
}

static mmq_err queue_lists(mmq_postgres *postgres, const mmq_buffer *all, const mmq_buffer *grown,
                           const mmq_buffer *before, mmq_why *why)
{
    mmq_pg_values values = {0};
    mmq_pg_bind_bytes(&values, 1, all->data, all->size);
    mmq_err err = mmq_pg_queue(postgres->link, MMQ_P_SET_CHANGED, &values, why);
    if (err == MMQ_OK && grown->size > 0) {
        mmq_pg_bind_bytes(&values, 1, grown->data, grown->size);
        mmq_pg_bind_bytes(&values, 2, before->data, before->size);
        mmq_pg_bind_int(&values, 3, mmq_wall_s());
        err = mmq_pg_queue(postgres->link, MMQ_P_ADD_GROWTH, &values, why);
    }
    return err;
}

static mmq_err queue_touched(mmq_postgres *postgres, mmq_why *why)
{
    mmq_buffer all, grown, before;
    mmq_buffer_init(&all, LIST_MAX);
    mmq_buffer_init(&grown, LIST_MAX);
    mmq_buffer_init(&before, LIST_MAX);
    for (size_t i = 0; i < postgres->touched_count; i++) {
        const mmq_pg_touched *at = &postgres->touched[i];
        mmq_postgres_add_number(&all, at->key);
        if (at->before_rowid >= 0) {
            mmq_postgres_add_number(&grown, at->key);
            mmq_postgres_add_number(&before, at->before_rowid);
        }
    }
    mmq_err err = all.failed || grown.failed || before.failed
                      ? mmq_fail(why, MMQ_ENOMEM, "no memory for a list of metrics")
                      : MMQ_OK;
    if (err == MMQ_OK && postgres->touched_count > 0) {
        err = queue_lists(postgres, &all, &grown, &before, why);
    }
    mmq_buffer_clear(&all);
    mmq_buffer_clear(&grown);
    mmq_buffer_clear(&before);
    return err;
}

/* ---- committing ------------------------------------------------------------------------- */

static mmq_err queue_writer(mmq_postgres *postgres, mmq_why *why)
{
    mmq_pg_values values = {0};
    mmq_pg_bind_int(&values, 1, postgres->writer);
    mmq_pg_bind_int(&values, 2, ++postgres->serial);
    mmq_pg_bind_int(&values, 3, mmq_wall_s());
    return mmq_pg_queue(postgres->link, MMQ_P_SET_WRITER, &values, why);
}

/* What bears the commit's number, behind the number itself. */
static mmq_err queue_numbered(mmq_postgres *postgres, mmq_why *why)
{
    mmq_err err = mmq_pg_queue(postgres->link, MMQ_P_DRAW, NULL, why);
    if (err == MMQ_OK) {
        err = queue_touched(postgres, why);
    }
    if (err == MMQ_OK) {
        err = mmq_postgres_queue_news(postgres, why);
    }
    return err == MMQ_OK ? queue_writer(postgres, why) : err;
}

/* All that a commit is, in one round trip. *sent: it may be done. */
static mmq_err send_commit(mmq_postgres *postgres, bool dirty, bool *sent, mmq_why *why)
{
    mmq_err err = mmq_postgres_settle(postgres, why);
    if (err == MMQ_OK && dirty) {
        err = queue_numbered(postgres, why);
    }
    if (err == MMQ_OK) {
        err = mmq_pg_queue(postgres->link, MMQ_P_COMMIT, NULL, why);
    }
    *sent = err == MMQ_OK;
    return err == MMQ_OK ? mmq_pg_finish(postgres->link, why) : err;
}

/* Until there is a connection again, within bounds. */
static mmq_err reconnect(mmq_postgres *postgres, int64_t until_ns, mmq_why *why)
{
    mmq_err err = mmq_pg_connect(postgres->link, why);
    while (err != MMQ_OK && mmq_now_ns() < until_ns) {
        const int64_t wait_ns = mmq_pg_retry_ns(postgres->link) - mmq_now_ns();
        (void)poll(NULL, 0, wait_ns > 0 ? (int)(wait_ns / MMQ_NS_PER_MS) + 1 : 0);
        err = mmq_pg_connect(postgres->link, why);
    }
    return err;
}

/* The connection was lost when the commit was on its way. */
static mmq_err resolve(mmq_postgres *postgres, mmq_why *why)
{
    const int64_t until_ns = mmq_now_ns() + RESOLVE_NS, sent = postgres->serial;
    const mmq_why lost = *why;
    mmq_pg_values values = {0};
    int64_t serial = 0;
    bool found = false;
    mmq_pg_bind_int(&values, 1, postgres->writer);
    mmq_pg_bind_int(&values, 2, sent);
    mmq_pg_bind_int(&values, 3, mmq_wall_s());
    postgres->serial = sent + 2;
    mmq_err err = MMQ_EUNAVAILABLE;
    while (err != MMQ_OK && mmq_now_ns() < until_ns) {
        err = reconnect(postgres, until_ns, why);
        if (err == MMQ_OK) {
            err = mmq_postgres_ask(postgres, MMQ_P_END_WRITER, &values, &found, &serial, why);
        }
    }
    if (err != MMQ_OK || !found) {
        return mmq_fail(why, MMQ_EUNAVAILABLE, "whether it was written cannot be told: %.200s",
                        lost.text);
    }
    *why = lost;
    return serial == sent + 1 ? MMQ_OK : MMQ_EUNAVAILABLE;
}

mmq_err mmq_postgres_commit(mmq_store *store, mmq_why *why)
{
    mmq_postgres *postgres = mmq_postgres_of(store);
    bool sent = false;
    mmq_err err = send_commit(postgres, store->dirty, &sent, why);
    const bool lost = err != MMQ_OK && !mmq_pg_connected(postgres->link);
    postgres->open = err != MMQ_OK && !lost;
    return lost && sent && store->dirty ? resolve(postgres, why) : err;
}
