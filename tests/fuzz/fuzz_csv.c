/* Any bytes as a CSV file: each record keeps within its bounds, each row is finite, and what is
 * wrong is said in one printable sentence. Read again behind so much text that the end of a piece
 * falls into it, the records are the same. Input: a byte that says where the piece ends, then the
 * file. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "clients/commands/csv_rows.h"
#include "lib/check.h"
#include "metricmq/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CSV_INPUT_MAX = 8192, CSV_LINE = 60000, CSV_LINES = MMQ_CSV_PIECE / CSV_LINE + 1 };

/* What came of a file, without line numbers. */
typedef struct csv_outcome {
    uint64_t records, hash;
    mmq_err err;
    mmq_why why;
} csv_outcome;

static FILE *open_text(const void *data, size_t size)
{
    static char nothing[1];
    union {
        const void *given;
        void *opened; /* for reading only */
    } text = {size > 0 ? data : nothing};
    FILE *file = fmemopen(text.opened, size, "r");
    CHECK(file != NULL);
    return file;
}

static void check_sentence(mmq_err err, const mmq_why *why)
{
    const size_t size = strnlen(why->text, sizeof why->text);
    CHECK((err == MMQ_EEND) == (size == 0) && size < sizeof why->text);
    for (size_t i = 0; i < size; i++) {
        CHECK((unsigned char)why->text[i] >= ' ' && why->text[i] != 0x7f);
    }
    CHECK(mmq_utf8_valid(why->text, size));
}

static void read_rows(const uint8_t *data, size_t size)
{
    static mmq_csv_rows rows;
    mmq_csv_row row;
    mmq_why why = {""};
    FILE *file = open_text(data, size);
    mmq_err err = mmq_csv_rows_begin(&rows, file, &why);
    while (err == MMQ_OK) {
        err = mmq_csv_rows_next(&rows, &row, &why);
        CHECK(err != MMQ_OK || (row.timestamp >= MMQ_TIME_MIN && row.timestamp <= MMQ_TIME_MAX));
        CHECK(err != MMQ_OK || (isfinite(row.value) && !isinf(row.anomaly_score)));
        CHECK(err != MMQ_OK || !isinf(row.raw_score));
        CHECK(rows.csv.line >= 1 && rows.csv.offset <= (int64_t)size);
    }
    fclose(file);
    check_sentence(err, &why);
}

/* All records but the first `skipped`. */
static csv_outcome read_records(FILE *file, uint64_t skipped)
{
    static mmq_csv csv;
    csv_outcome out = {.err = MMQ_OK};
    mmq_csv_init(&csv, file);
    while ((out.err = mmq_csv_next(&csv, &out.why)) == MMQ_OK) {
        size_t bytes = 0;
        if (skipped > 0) {
            skipped--;
            continue;
        }
        CHECK(csv.count >= 1 && csv.count <= MMQ_CSV_FIELDS);
        for (size_t i = 0; i < csv.count; i++) {
            bytes += csv.fields[i].size;
            out.hash = XXH3_64bits_withSeed(csv.fields[i].data, csv.fields[i].size,
                                            out.hash + csv.fields[i].size);
        }
        CHECK(bytes <= MMQ_CSV_RECORD);
        out.records++;
    }
    return out;
}

/* The same text behind long lines; the piece ends `within` bytes behind its beginning. */
static csv_outcome read_behind(const uint8_t *data, size_t size, size_t within)
{
    static char text[MMQ_CSV_PIECE + CSV_INPUT_MAX];
    const size_t begin = MMQ_CSV_PIECE - within;
    memset(text, 'a', begin);
    uint64_t lines = 0;
    for (size_t at = begin; at > 0; at = at > CSV_LINE ? at - CSV_LINE : 0) {
        text[at - 1] = '\n';
        lines++;
    }
    memcpy(text + begin, data, size);
    FILE *file = open_text(text, begin + size);
    const csv_outcome out = read_records(file, lines);
    fclose(file);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > CSV_INPUT_MAX) {
        return 0;
    }
    const size_t within = (size_t)data[0] * size / 256;
    data++;
    size--;
    read_rows(data, size);
    FILE *file = open_text(data, size);
    const csv_outcome alone = read_records(file, 0);
    fclose(file);
    check_sentence(alone.err, &alone.why);
    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
        return 0; /* a mark counts at the beginning only */
    }
    const csv_outcome behind = read_behind(data, size, within);
    CHECK(alone.records == behind.records && alone.hash == behind.hash);
    CHECK(alone.err == behind.err && strcmp(alone.why.text, behind.why.text) == 0);
    return 0;
}
