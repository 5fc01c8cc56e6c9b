/* Columns of rows that a server sent. libpq has seen to it that a row is as long as it says; that
 * it is what was asked for is seen to here, by the type, format and length of each column. */
#include "workers/store/postgres/values.h"

#include <libpq-fe.h>
#include <math.h>
#include <string.h>

#include "workers/store/postgres/types.h"

void mmq_pg_bind_text(mmq_pg_values *values, int index, const char *text)
{
    mmq_pg_bind_bytes(values, index, text, text != NULL ? strlen(text) : 0);
}

static bool is_there(const mmq_pg_row *row, int column)
{
    return PQntuples(row) == 1 && column < PQnfields(row);
}

/* The column's bytes, if it is of the type and not null. */
static const char *bytes_of(const mmq_pg_row *row, int column, Oid type, size_t *size)
{
    if (!is_there(row, column) || PQftype(row, column) != type || PQfformat(row, column) != 1 ||
        PQgetisnull(row, 0, column)) {
        return NULL;
    }
    *size = (size_t)PQgetlength(row, 0, column);
    return PQgetvalue(row, 0, column);
}

static bool bits_of(const mmq_pg_row *row, int column, Oid type, uint64_t *out)
{
    size_t size;
    const char *bytes = bytes_of(row, column, type, &size);
    if (bytes == NULL || size != sizeof *out) {
        return false;
    }
    memcpy(out, bytes, sizeof *out);
    *out = be64toh(*out);
    return true;
}

bool mmq_pg_column_int(const mmq_pg_row *row, int column, int64_t least, int64_t most, int64_t *out)
{
    uint64_t bits;
    if (!bits_of(row, column, MMQ_PG_BIGINT, &bits)) {
        return false;
    }
    *out = (int64_t)bits;
    return *out >= least && *out <= most;
}

bool mmq_pg_column_value(const mmq_pg_row *row, int column, double *out)
{
    uint64_t bits;
    if (!bits_of(row, column, MMQ_PG_DOUBLE, &bits)) {
        return false;
    }
    *out = mmq_double_of(bits);
    return isfinite(*out);
}

bool mmq_pg_column_score(const mmq_pg_row *row, int column, double *out)
{
    if (mmq_pg_column_null(row, column)) {
        *out = NAN;
        return PQftype(row, column) == MMQ_PG_DOUBLE;
    }
    return mmq_pg_column_value(row, column, out);
}

const char *mmq_pg_column_text(const mmq_pg_row *row, int column, size_t *size)
{
    const char *text = bytes_of(row, column, MMQ_PG_TEXT, size);
    return text != NULL && memchr(text, '\0', *size) == NULL ? text : NULL;
}

const void *mmq_pg_column_bytes(const mmq_pg_row *row, int column, size_t *size)
{
    return bytes_of(row, column, MMQ_PG_BYTEA, size);
}

bool mmq_pg_column_null(const mmq_pg_row *row, int column)
{
    return is_there(row, column) && PQgetisnull(row, 0, column);
}

int mmq_pg_columns(const mmq_pg_row *row)
{
    return PQnfields(row);
}

void mmq_pg_row_free(mmq_pg_row **row)
{
    PQclear(*row);
    *row = NULL;
}
