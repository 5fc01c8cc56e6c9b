/* Any bytes as a payload: what decodes as a row encodes to a row that decodes the same. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "lib/columns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const mmq_row *row)
{
    static mmq_columns columns;
    char uid[MMQ_UID_MAX + 1] = "";
    memcpy(uid, row->uid, row->uid_size);
    if (strlen(uid) != row->uid_size) {
        return; /* a NUL: no metric of ours */
    }
    columns.count = 1;
    columns.timestamp[0] = row->timestamp;
    columns.value[0] = row->value;
    columns.anomaly_score[0] = row->anomaly_score;
    columns.rowid[0] = row->rowid;
    mmq_row_prefix prefix;
    mmq_row_prefix_init(&prefix, uid);
    uint8_t out[MMQ_ROW_MAX];
    size_t next, offset = 0;
    size_t size = mmq_rows_encode(&prefix, &columns, 0, out, sizeof out, &next);
    mmq_row again;
    CHECK(next == 1 && mmq_rows_decode(out, size, &offset, &again) == MMQ_OK && offset == size);
    CHECK(again.timestamp == row->timestamp && again.rowid == row->rowid);
    CHECK(memcmp(&again.value, &row->value, sizeof again.value) == 0);
    CHECK(isnan(again.anomaly_score) == isnan(row->anomaly_score));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t offset = 0;
    mmq_err err;
    do {
        mmq_row row;
        size_t before = offset;
        err = mmq_rows_decode(data, size, &offset, &row);
        CHECK(offset <= size && (offset > before) == (err == MMQ_OK || err == MMQ_EAGAIN));
        if (err == MMQ_OK) {
            check_again(&row);
        }
    } while (err == MMQ_OK || err == MMQ_EAGAIN);
    return 0;
}
