/* What goes to PostgreSQL and comes from it: parameters and columns, in its binary format. */
#ifndef MMQ_POSTGRES_VALUES_H
#define MMQ_POSTGRES_VALUES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/bits.h"
#include "lib/check.h"

enum { MMQ_PG_VALUES_MAX = 24 }; /* parameters of a statement */

/* The parameters of one statement; zeroed, each is null. It must not be moved once something is
 * bound: numbers lie in it. Texts and bytes are borrowed until the statement is queued. */
typedef struct mmq_pg_values {
    const char *at[MMQ_PG_VALUES_MAX];
    int sizes[MMQ_PG_VALUES_MAX];
    uint64_t numbers[MMQ_PG_VALUES_MAX];
} mmq_pg_values;

/* Binds $index: the first is 1. */
static inline void mmq_pg_bind_bytes(mmq_pg_values *values, int index, const void *data,
                                     size_t size)
{
    CHECK(index >= 1 && index <= MMQ_PG_VALUES_MAX && size <= INT32_MAX);
    values->at[index - 1] = data;
    values->sizes[index - 1] = (int)size;
}

static inline void mmq_pg_bind_bits(mmq_pg_values *values, int index, uint64_t bits)
{
    CHECK(index >= 1 && index <= MMQ_PG_VALUES_MAX);
    values->numbers[index - 1] = htobe64(bits);
    mmq_pg_bind_bytes(values, index, &values->numbers[index - 1], sizeof bits);
}

static inline void mmq_pg_bind_int(mmq_pg_values *values, int index, int64_t value)
{
    mmq_pg_bind_bits(values, index, (uint64_t)value);
}

/* The integer that is bound as $index. */
static inline int64_t mmq_pg_bound_int(const mmq_pg_values *values, int index)
{
    return (int64_t)be64toh(values->numbers[index - 1]);
}

static inline void mmq_pg_bind_double(mmq_pg_values *values, int index, double value)
{
    mmq_pg_bind_bits(values, index, mmq_bits_of(value));
}

/* NaN: null. */
static inline void mmq_pg_bind_score(mmq_pg_values *values, int index, double score)
{
    if (score != score) {
        mmq_pg_bind_bytes(values, index, NULL, 0);
    } else {
        mmq_pg_bind_double(values, index, score);
    }
}

/* NULL: null. */
void mmq_pg_bind_text(mmq_pg_values *values, int index, const char *text);

/* A row that came, as libpq keeps it: a PGresult. */
typedef struct pg_result mmq_pg_row;

/* Columns as they must be, the first is 0: false if there is anything else, be it that the server
 * sends no such column, another type or an impossible length. */
bool mmq_pg_column_int(const mmq_pg_row *row, int column, int64_t least, int64_t most,
                       int64_t *out);
bool mmq_pg_column_value(const mmq_pg_row *row, int column, double *out); /* finite */
bool mmq_pg_column_score(const mmq_pg_row *row, int column, double *out); /* null: NaN */
/* Borrowed from the row; NULL if it is null or not a text. A NUL follows it, and none is in it. */
const char *mmq_pg_column_text(const mmq_pg_row *row, int column, size_t *size);
/* Borrowed from the row, at any address; NULL if it is null or not bytea. */
const void *mmq_pg_column_bytes(const mmq_pg_row *row, int column, size_t *size);
/* There is such a column, and it is null. */
bool mmq_pg_column_null(const mmq_pg_row *row, int column);
int mmq_pg_columns(const mmq_pg_row *row);
/* Frees a row that was taken. NULL is nothing. */
void mmq_pg_row_free(mmq_pg_row **row);

#endif
