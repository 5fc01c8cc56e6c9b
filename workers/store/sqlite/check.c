/* What SQLite's own check finds of pages, records and indexes. */
#include "workers/store/check.h"

#include <string.h>

#include "workers/store/sqlite/engine.h"

/* It gives several lines in one text. */
static void tell_lines(mmq_checker *checker, const char *text)
{
    while (*text != '\0') {
        const int size = (int)strcspn(text, "\n");
        if (size > 0 && strncmp(text, "*** ", 4) != 0 && strcmp(text, "ok") != 0) {
            mmq_check_fault(checker, "file: %.*s", size, text);
        }
        text += size;
        text += *text == '\n' ? 1 : 0;
    }
}

static void take_lines(void *context, mmq_prepared *statement)
{
    size_t size;
    const char *text = mmq_column_text(statement, 0, &size);
    if (text != NULL) {
        tell_lines(context, text);
    }
}

static mmq_err check_file(mmq_checker *checker, mmq_why *why)
{
    mmq_prepared *statement = NULL;
    mmq_onlooker onlooker = {.watch = checker->watch, .doing = "checking pages", .fd = -1};
    mmq_err err =
        mmq_sqlite_prepare_text(checker->store, "PRAGMA integrity_check", &statement, why);
    if (err == MMQ_OK) {
        err = mmq_steps_watched(checker->store, statement, &onlooker, take_lines, checker, why);
    }
    mmq_finalize(&statement);
    return mmq_check_settle(checker, "file", err, why);
}

static mmq_err read_number(mmq_checker *checker, const char *text, int64_t *out, mmq_why *why)
{
    mmq_prepared *statement = NULL;
    bool found = false;
    mmq_err err = mmq_sqlite_prepare_text(checker->store, text, &statement, why);
    if (err == MMQ_OK) {
        err = mmq_read_int(checker->store, statement, &found, out, text, why);
    }
    mmq_finalize(&statement);
    return err;
}

static mmq_err read_bytes(mmq_checker *checker, mmq_why *why)
{
    int64_t pages = 0, free_pages = 0, size = 0;
    mmq_err err = read_number(checker, "PRAGMA page_count", &pages, why);
    if (err == MMQ_OK) {
        err = read_number(checker, "PRAGMA freelist_count", &free_pages, why);
    }
    if (err == MMQ_OK) {
        err = read_number(checker, "PRAGMA page_size", &size, why);
    }
    checker->sums->bytes = (pages - free_pages) * size;
    return mmq_check_settle(checker, "file", err, why);
}

mmq_err mmq_sqlite_check(mmq_checker *checker, mmq_why *why)
{
    mmq_err err = check_file(checker, why);
    return err == MMQ_OK ? read_bytes(checker, why) : err;
}
