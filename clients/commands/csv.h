/* CSV reader (RFC 4180; LF and CRLF), a record at a time, in bounded memory. */
#ifndef MMQ_CSV_H
#define MMQ_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "metricmq/error.h"

enum {
    MMQ_CSV_FIELDS = 256,       /* of a record */
    MMQ_CSV_RECORD = 64 * 1024, /* bytes of its fields */
    MMQ_CSV_PIECE = 256 * 1024, /* bytes read at once; holds any record, also if all is quotes */
};

typedef struct mmq_csv_field {
    const char *data; /* unquoted; not NUL-terminated */
    size_t size;
} mmq_csv_field;

typedef struct mmq_csv {
    FILE *file;        /* borrowed */
    int64_t line;      /* where the current record begins, from 1 */
    int64_t next_line; /* where the next one begins */
    int64_t offset;    /* bytes of the file before the next record */
    size_t count;      /* fields of the current record */
    mmq_csv_field fields[MMQ_CSV_FIELDS];
    char *at;  /* the next record, in text */
    char *end; /* of what was read; an LF stands there, so that every search ends */
    bool last; /* nothing is behind it */
    char text[MMQ_CSV_PIECE + 16]; /* with room for the LF and for searches by 16 bytes */
} mmq_csv;

/* file: at its start. A byte order mark there is passed over. */
void mmq_csv_init(mmq_csv *csv, FILE *file);
/* Reads the next record into csv->fields, which last until the next call. MMQ_EEND at the end of
 * the file (an empty last line is none); MMQ_EINVAL: bad quoting, too many fields, too long;
 * MMQ_EIO. The sentence names no file: the caller knows it. */
mmq_err mmq_csv_next(mmq_csv *csv, mmq_why *why) MMQ_MUST_USE;

#endif
