/* Rows in strict order cannot repeat, but rows of one rowid at two times could: so of a dump the
 * sums of its rowids and of their squares must be those of 1 to n, too. */
#include "clients/load/rows_check.h"

#include <string.h>

#include "metricmq/rows.h"

void mmq_rows_check_init(mmq_rows_check *check, const mmq_rows_wanted *wanted)
{
    *check = (mmq_rows_check){.wanted = *wanted, .uid_size = strlen(wanted->uid)};
}

static void find_fault(mmq_rows_check *check, mmq_fault fault)
{
    if (!check->fault) {
        check->fault = fault;
    }
}

static bool is_foreign(const mmq_rows_check *check, const mmq_row *row)
{
    return row->uid_size != check->uid_size ||
           memcmp(row->uid, check->wanted.uid, check->uid_size) != 0 ||
           row->timestamp < check->wanted.from || row->timestamp > check->wanted.to;
}

/* Less than 0: a comes before b in time, then by rowid. */
static int compare(int64_t a_timestamp, int64_t a_rowid, int64_t b_timestamp, int64_t b_rowid)
{
    if (a_timestamp != b_timestamp) {
        return a_timestamp < b_timestamp ? -1 : 1;
    }
    return (a_rowid > b_rowid) - (a_rowid < b_rowid);
}

static void check_row(mmq_rows_check *check, const mmq_row *row)
{
    if (!check->named) {
        find_fault(check, MMQ_FAULT_WRONG_NAMES);
    }
    if (is_foreign(check, row)) {
        find_fault(check, MMQ_FAULT_FOREIGN_ROWS);
    }
    int order = compare(check->timestamp, check->rowid, row->timestamp, row->rowid);
    order = check->wanted.ascending ? order : -order;
    if (check->rows > 0 && order >= 0) {
        find_fault(check, order == 0 ? MMQ_FAULT_REPEATED_ROWS : MMQ_FAULT_WRONG_ORDER);
    }
    check->timestamp = row->timestamp;
    check->rowid = row->rowid;
    check->rows++;
    check->sum += (uint64_t)row->rowid;
    check->squares += (uint64_t)row->rowid * (uint64_t)row->rowid;
}

static void check_names(mmq_rows_check *check)
{
    if (check->named || check->rows > 0) {
        find_fault(check, MMQ_FAULT_WRONG_NAMES);
    }
    check->named = true;
}

void mmq_rows_check_payload(mmq_rows_check *check, const void *payload, size_t size)
{
    size_t offset = 0;
    for (;;) {
        mmq_row row;
        mmq_err err = mmq_rows_decode(payload, size, &offset, &row);
        if (!err) {
            check_row(check, &row);
        } else if (err == MMQ_EAGAIN) {
            check_names(check);
        } else if (err == MMQ_EEND) {
            return;
        } else {
            find_fault(check, MMQ_FAULT_MALFORMED);
            return;
        }
    }
}

/* 1 + 2 + ... + n and 1 + 4 + ... + n * n modulo 2^64: divided before they are multiplied. */
static uint64_t sum_to(uint64_t n)
{
    return n % 2 == 0 ? n / 2 * (n + 1) : (n + 1) / 2 * n;
}

static uint64_t squares_to(uint64_t n)
{
    uint64_t a = n % 2 == 0 ? n / 2 : n, b = n % 2 == 0 ? n + 1 : (n + 1) / 2, c = 2 * n + 1;
    if (a % 3 == 0) {
        a /= 3;
    } else if (b % 3 == 0) {
        b /= 3;
    } else {
        c /= 3;
    }
    return a * b * c;
}

mmq_fault mmq_rows_check_end(mmq_rows_check *check)
{
    if (!check->named) {
        find_fault(check, MMQ_FAULT_WRONG_NAMES);
    }
    if (check->rows < check->wanted.least_rows) {
        find_fault(check, MMQ_FAULT_MISSING_ROWS);
    } else if (check->rows > check->wanted.most_rows) {
        find_fault(check, MMQ_FAULT_EXTRA_ROWS);
    }
    bool all = check->sum == sum_to(check->rows) && check->squares == squares_to(check->rows);
    if (check->wanted.all && !all) {
        find_fault(check, check->sum > sum_to(check->rows) ? MMQ_FAULT_MISSING_ROWS
                                                           : MMQ_FAULT_REPEATED_ROWS);
    }
    return check->fault;
}
