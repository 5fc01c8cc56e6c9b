/* How much one statement may do. A file may have been made so that a walk over a small table never
 * ends: pages that lead to the same page hundreds of times over, twenty levels deep, each as SQLite
 * wants it. A sound file's walk takes a number of SQLite's steps that its size bounds, since every
 * record has bytes of its own, so that is the bound. It is far above what our statements take, and
 * no deadline: how busy the machine is does not matter. */
#include "workers/store/sqlite/sqlite.h"

#include <sys/stat.h>

#include "lib/check.h"

enum {
    PAGE = 4096,        /* what watches hear of */
    STRIDE = 10000,     /* steps between two looks */
    STEPS_PER_BYTE = 4, /* the check takes 0.2 of 20,000 metrics, 0.7 of heads of blocks */
};

/* Half a second or so; also for what is in the log and not in the file yet. */
#define STEPS_FREE INT64_C(50000000)

static int64_t file_size(sqlite3 *db)
{
    sqlite3_file *file = NULL;
    sqlite3_int64 size = 0;
    return sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK &&
                   file->pMethods != NULL && file->pMethods->xFileSize(file, &size) == SQLITE_OK
               ? size
               : 0;
}

static bool tell(mmq_onlooker *onlooker)
{
    struct stat about = {0};
    if (onlooker->fd >= 0) {
        (void)fstat(onlooker->fd, &about);
    }
    const mmq_store_watch *watch = onlooker->watch;
    onlooker->broken_off |=
        !watch->at(watch->context, onlooker->doing, about.st_size / PAGE, onlooker->total);
    return !onlooker->broken_off;
}

/* Not 0: SQLite breaks off, with SQLITE_INTERRUPT. */
static int count_steps(void *context)
{
    mmq_sqlite *sqlite = context;
    sqlite->steps += STRIDE;
    if (sqlite->onlooker != NULL && !tell(sqlite->onlooker)) {
        return 1;
    }
    return sqlite->steps > STEPS_FREE &&
           (sqlite->steps - STEPS_FREE) / STEPS_PER_BYTE > file_size(sqlite->db);
}

void mmq_steps_bound(mmq_store *store)
{
    mmq_sqlite *sqlite = mmq_sqlite_of(store);
    sqlite3_progress_handler(sqlite->db, STRIDE, count_steps, sqlite);
}

void mmq_steps_anew(mmq_store *store)
{
    mmq_sqlite_of(store)->steps = 0;
}

mmq_err mmq_steps_watched(mmq_store *store, mmq_prepared *statement, mmq_onlooker *onlooker,
                          void (*each)(void *context, mmq_prepared *statement), void *context,
                          mmq_why *why)
{
    mmq_sqlite *sqlite = mmq_sqlite_of(store);
    CHECK(sqlite->onlooker == NULL);
    bool row = true;
    mmq_err err =
        tell(onlooker) ? MMQ_OK : mmq_fail(why, MMQ_ECLOSED, "%s: broken off", onlooker->doing);
    sqlite->onlooker = onlooker;
    while (err == MMQ_OK && row) {
        err = mmq_step(store, statement, &row, why);
        if (err == MMQ_OK && row && each != NULL) {
            each(context, statement);
        }
    }
    sqlite->onlooker = NULL;
    return err != MMQ_OK && onlooker->broken_off
               ? mmq_fail(why, MMQ_ECLOSED, "%s: broken off", onlooker->doing)
               : err;
}
