/* The record's text is unquoted in place as it is read: the fields point into one buffer. */
#include "clients/commands/csv.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Spreadsheets put one before UTF-8. */
static void skip_mark(FILE *file)
{
    static const char mark[3] = "\xef\xbb\xbf";
    char start[sizeof mark];
    if (fread(start, 1, sizeof start, file) != sizeof start ||
        memcmp(start, mark, sizeof mark) != 0) {
        rewind(file);
    }
}

void mmq_csv_init(mmq_csv *csv, FILE *file)
{
    skip_mark(file);
    csv->file = file;
    csv->line = 0;
    csv->next_line = 1;
    csv->count = 0;
}

/* One record being read. */
struct record {
    mmq_csv *csv;
    size_t used;  /* bytes of text */
    size_t start; /* of the current field */
    bool quoted;  /* inside quotes */
    bool closed;  /* behind a closing quote */
};

static mmq_err keep(struct record *record, int byte, mmq_why *why)
{
    if (record->used == MMQ_CSV_RECORD) {
        return mmq_fail(why, MMQ_EINVAL, "the line is longer than %d bytes", MMQ_CSV_RECORD);
    }
    record->csv->text[record->used++] = (char)byte;
    return MMQ_OK;
}

static mmq_err end_field(struct record *record, mmq_why *why)
{
    mmq_csv *csv = record->csv;
    if (csv->count == MMQ_CSV_FIELDS) {
        return mmq_fail(why, MMQ_EINVAL, "the line has more than %d columns", MMQ_CSV_FIELDS);
    }
    csv->fields[csv->count++] =
        (mmq_csv_field){csv->text + record->start, record->used - record->start};
    record->start = record->used;
    record->closed = false;
    return MMQ_OK;
}

/* A byte inside quotes: two quotes are one, a single one closes. */
static mmq_err take_quoted(struct record *record, int byte, mmq_why *why)
{
    if (byte == EOF) {
        return mmq_fail(why, MMQ_EINVAL, "a quoted value is not closed");
    }
    if (byte == '\n') {
        record->csv->next_line++;
    }
    if (byte != '"') {
        return keep(record, byte, why);
    }
    int next = getc(record->csv->file);
    if (next == '"') {
        return keep(record, '"', why);
    }
    ungetc(next, record->csv->file);
    record->quoted = false;
    record->closed = true;
    return MMQ_OK;
}

static mmq_err take_plain(struct record *record, int byte, mmq_why *why)
{
    if (byte == ',') {
        return end_field(record, why);
    }
    if (record->closed) {
        return mmq_fail(why, MMQ_EINVAL, "text follows a closing quote");
    }
    if (byte == '"') {
        if (record->used != record->start) {
            return mmq_fail(why, MMQ_EINVAL, "a quote stands in the middle of a value");
        }
        record->quoted = true;
        return MMQ_OK;
    }
    return keep(record, byte, why);
}

/* True if byte (and, for CR, the one after it) ends the record. */
static bool ends_line(FILE *file, int byte)
{
    if (byte == '\r') {
        int next = getc(file);
        if (next != '\n') {
            ungetc(next, file);
        }
        return next == '\n' || next == EOF;
    }
    return byte == '\n' || byte == EOF;
}

mmq_err mmq_csv_next(mmq_csv *csv, mmq_why *why)
{
    struct record record = {.csv = csv};
    csv->count = 0;
    csv->line = csv->next_line;
    int byte = getc(csv->file);
    if (byte == EOF) {
        return ferror(csv->file) ? mmq_fail(why, MMQ_EIO, "%s", strerror(errno)) : MMQ_EEND;
    }
    while (record.quoted || !ends_line(csv->file, byte)) {
        mmq_err err =
            record.quoted ? take_quoted(&record, byte, why) : take_plain(&record, byte, why);
        if (err) {
            return err;
        }
        byte = getc(csv->file);
    }
    csv->next_line++;
    return end_field(&record, why);
}
