/* What it costs to write a row, and to read it back, beside what others would pay for the same
 * bytes. Measurement and reference take turns, so that a noisy moment hits both; CPU time, not wall
 * time. The rows are seeded, of four shapes, and stand in batches as the store gives them.
 *
 *     bench_encoders [--json] [--repeats N] [--rows N]
 *
 * A sample takes N rows, or as many more as give it MIN_SAMPLE_NS. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <msgpack.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clients/render/render.h"
#include "lib/calendar.h"
#include "lib/check.h"
#include "lib/splitmix.h"
#include "lib/columns.h"

enum {
    BATCHES = 16,
    ROWS = BATCHES * MMQ_BATCH_ROWS,
    ROWIDS_SUM = ROWS * (ROWS + 1) / 2,
    METRICS = 100,            /* of which the mixed rows are */
    FRAME_BYTES = 256 * 1024, /* the worker's */
    TEXT_BYTES = 64 * 1024,
    SAMPLES_MAX = 1000,
    MIN_SAMPLE_NS = 20000000,
    STEP_S = 300,
};

typedef struct packed {
    uint8_t *data;
    size_t size;
} packed;

/* The rows of one shape in all the forms that the runs start from. */
static struct rows {
    mmq_columns batches[BATCHES];
    char uid[METRICS][MMQ_UID_MAX + 1];
    mmq_row_prefix prefix[METRICS];
    const mmq_row_prefix *mixed[ROWS]; /* one a row */
    uint16_t metric[ROWS];             /* its index */
    char time[ROWS][MMQ_TIME_TEXT + 1];
    packed one, many; /* rows of metric 0; rows of all */
} rows;

static uint8_t frame[FRAME_BYTES];
static char text[TEXT_BYTES];

/* ---- shapes ----------------------------------------------------------------------------- */

static double from_bits(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* What people measure: a few decimals; scores of ten. */
static void fill_decimals(mmq_splitmix *random, double *value, double *score)
{
    static const double scales[] = {1, 10, 100, 1000};
    *value = (double)mmq_splitmix_below(random, 100000) / scales[mmq_splitmix_below(random, 4)];
    *score = (double)mmq_splitmix_below(random, 10000000000) / 1e10;
}

/* All digits that a double has. */
static void fill_random(mmq_splitmix *random, double *value, double *score)
{
    *value = mmq_splitmix_share(random) * 1000 - 500;
    *score = mmq_splitmix_share(random);
}

static double any_finite(mmq_splitmix *random)
{
    double number;
    do {
        number = from_bits(mmq_splitmix_next(random));
    } while (!isfinite(number));
    return number;
}

static void fill_bits(mmq_splitmix *random, double *value, double *score)
{
    *value = any_finite(random);
    *score = any_finite(random);
}

/* Stays for 50 rows on average. */
static void fill_runs(mmq_splitmix *random, double *value, double *score)
{
    static double last_value, last_score;
    if (mmq_splitmix_below(random, 50) == 0) {
        fill_decimals(random, &last_value, &last_score);
    }
    *value = last_value;
    *score = last_score;
}

struct shape {
    const char *name;
    void (*fill)(mmq_splitmix *random, double *value, double *score);
};

static const struct shape shapes[] = {
    {"decimals", fill_decimals}, {"random", fill_random}, {"bits", fill_bits}, {"runs", fill_runs}};

static void fill_columns(const struct shape *shape, mmq_splitmix *random)
{
    const int64_t first = 1376602440;
    for (size_t i = 0; i < ROWS; i++) {
        mmq_columns *batch = &rows.batches[i / MMQ_BATCH_ROWS];
        const size_t row = i % MMQ_BATCH_ROWS;
        batch->count = MMQ_BATCH_ROWS;
        batch->timestamp[row] = first + (int64_t)i * STEP_S;
        batch->rowid[row] = (int64_t)i + 1;
        shape->fill(random, &batch->value[row], &batch->anomaly_score[row]);
        mmq_time_print(batch->timestamp[row], rows.time[i]);
        rows.metric[i] = (uint16_t)mmq_splitmix_below(random, METRICS);
        rows.mixed[i] = &rows.prefix[rows.metric[i]];
    }
}

/* ---- ours ------------------------------------------------------------------------------- */

typedef size_t encode_fn(size_t batch, size_t from, uint8_t *out, size_t capacity, size_t *next);

static size_t encode_one(size_t batch, size_t from, uint8_t *out, size_t capacity, size_t *next)
{
    return mmq_rows_encode(&rows.prefix[0], &rows.batches[batch], from, out, capacity, next);
}

static size_t encode_mixed(size_t batch, size_t from, uint8_t *out, size_t capacity, size_t *next)
{
    return mmq_rows_encode_mixed(rows.mixed + batch * MMQ_BATCH_ROWS, &rows.batches[batch], from,
                                 out, capacity, next);
}

/* All rows, frame after frame; each full frame goes to the sink. */
static void encode_all(encode_fn *encode, packed *sink)
{
    size_t used = 0;
    for (size_t batch = 0; batch < BATCHES; batch++) {
        for (size_t next = 0; next < MMQ_BATCH_ROWS;) {
            const size_t from = next;
            used += encode(batch, from, frame + used, FRAME_BYTES - used, &next);
            if (next == from || (batch == BATCHES - 1 && next == MMQ_BATCH_ROWS)) {
                if (sink != NULL) {
                    memcpy(sink->data + sink->size, frame, used);
                    sink->size += used;
                }
                used = 0;
            }
        }
    }
}

static void run_one(void)
{
    encode_all(encode_one, NULL);
}

static void run_mixed(void)
{
    encode_all(encode_mixed, NULL);
}

static void run_decode(void)
{
    size_t offset = 0;
    int64_t sum = 0;
    mmq_row row;
    while (mmq_rows_decode(rows.one.data, rows.one.size, &offset, &row) == MMQ_OK) {
        sum += row.rowid;
    }
    CHECK(sum == ROWIDS_SUM);
}

static void run_render(mmq_form form)
{
    mmq_render *render = mmq_render_new(form);
    CHECK(render != NULL);
    bool failed;
    mmq_render_feed(render, rows.one.data, rows.one.size);
    while (mmq_render_read(render, text, sizeof text, &failed) > 0) {
    }
    CHECK(!failed);
    mmq_render_destroy(&render);
}

static void run_json(void)
{
    run_render(MMQ_FORM_JSON_METRIC);
}

static void run_csv(void)
{
    run_render(MMQ_FORM_CSV);
}

/* ---- references ------------------------------------------------------------------------- */

static void pack_row(msgpack_packer *packer, const char *uid, const mmq_columns *batch, size_t row)
{
    const size_t size = strlen(uid);
    msgpack_pack_array(packer, 5);
    msgpack_pack_v4raw(packer, size);
    msgpack_pack_v4raw_body(packer, uid, size);
    msgpack_pack_int64(packer, batch->timestamp[row]);
    msgpack_pack_double(packer, batch->value[row]);
    if (isnan(batch->anomaly_score[row])) {
        msgpack_pack_nil(packer);
    } else {
        msgpack_pack_double(packer, batch->anomaly_score[row]);
    }
    msgpack_pack_int64(packer, batch->rowid[row]);
}

/* By msgpack-c into a buffer of its own that is there already. */
static void pack_all(bool mixed, const packed *wanted)
{
    static msgpack_sbuffer buffer;
    msgpack_packer packer;
    size_t done = 0;
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    for (size_t i = 0; i < ROWS; i++) {
        pack_row(&packer, rows.uid[mixed ? rows.metric[i] : 0], &rows.batches[i / MMQ_BATCH_ROWS],
                 i % MMQ_BATCH_ROWS);
        if (buffer.size >= FRAME_BYTES - MMQ_ROW_MAX || i == ROWS - 1) {
            CHECK(wanted == NULL || memcmp(buffer.data, wanted->data + done, buffer.size) == 0);
            done += buffer.size;
            msgpack_sbuffer_clear(&buffer);
        }
    }
    CHECK(wanted == NULL || done == wanted->size);
}

static void pack_one(void)
{
    pack_all(false, NULL);
}

static void pack_many(void)
{
    pack_all(true, NULL);
}

/* Rows of about the size that they have are copied one by one: the least that an encoder could do
 * that had them ready. */
static void copy_rows(const packed *from)
{
    const size_t row = from->size / ROWS;
    size_t used = 0;
    for (size_t at = 0; at + row <= from->size; at += row) {
        if (used + row > FRAME_BYTES) {
            used = 0;
        }
        memcpy(frame + used, from->data + at, row);
        __asm__ volatile("" ::: "memory");
        used += row;
    }
}

static void copy_one(void)
{
    copy_rows(&rows.one);
}

static void copy_many(void)
{
    copy_rows(&rows.many);
}

static void unpack_one(void)
{
    size_t offset = 0;
    uint64_t sum = 0;
    msgpack_unpacked result;
    msgpack_unpacked_init(&result);
    while (msgpack_unpack_next(&result, (const char *)rows.one.data, rows.one.size, &offset) ==
           MSGPACK_UNPACK_SUCCESS) {
        sum += result.data.via.array.ptr[4].via.u64;
    }
    msgpack_unpacked_destroy(&result);
    CHECK(sum == ROWIDS_SUM);
}

/* Times are ready; numbers have all 17 digits. */
static void print_json(void)
{
    size_t used = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const mmq_columns *batch = &rows.batches[i / MMQ_BATCH_ROWS];
        const size_t row = i % MMQ_BATCH_ROWS;
        used += (size_t)snprintf(text + used, sizeof text - used, "[\"%s\", %.17g, %.17g, %lld]",
                                 rows.time[i], batch->value[row], batch->anomaly_score[row],
                                 (long long)batch->rowid[row]);
        used = used > sizeof text - 512 ? 0 : used;
    }
}

/* ---- measuring -------------------------------------------------------------------------- */

struct run {
    const char *name;
    const char *against;
    void (*measured)(void); /* both take all rows */
    void (*reference)(void);
};

static const struct run runs[] = {
    {"msgpack", "msgpack-c", run_one, pack_one},     {"msgpack", "memcpy", run_one, copy_one},
    {"mixed", "msgpack-c", run_mixed, pack_many},    {"mixed", "memcpy", run_mixed, copy_many},
    {"decode", "msgpack-c", run_decode, unpack_one}, {"json", "printf", run_json, print_json},
    {"csv", "printf", run_csv, print_json},
};

struct options {
    bool json;
    size_t repeats;
    size_t rows;
};

struct samples {
    double measured[SAMPLES_MAX], reference[SAMPLES_MAX];
};

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Rows a second. */
static double measure(void (*side)(void), size_t least_rows)
{
    size_t done = 0;
    int64_t spent;
    const int64_t start = cpu_ns();
    do {
        side();
        done += ROWS;
        spent = cpu_ns() - start;
    } while (done < least_rows || spent < MIN_SAMPLE_NS);
    return (double)done * 1e9 / (double)spent;
}

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(const double *from, size_t count)
{
    static double sorted[SAMPLES_MAX];
    memcpy(sorted, from, count * sizeof *from);
    qsort(sorted, count, sizeof *sorted, compare_doubles);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static void print_list(const char *name, const double *list, size_t count)
{
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        printf("%s%.0f", i > 0 ? ", " : "", list[i]);
    }
    printf("]");
}

static void print_run(const struct options *options, const struct run *run,
                      const struct shape *shape, const struct samples *samples)
{
    const size_t count = options->repeats;
    const double value = median(samples->measured, count);
    const double reference = median(samples->reference, count);
    if (!options->json) {
        printf("%-14s %-9s %14.0f   %-9s %14.0f   %6.2f\n", run->name, shape->name, value,
               run->against, reference, value / reference);
        fflush(stdout);
        return;
    }
    static bool more;
    printf("%s{\"name\": \"encoders.%s.%s.%s\", \"unit\": \"rows/s\"", more ? ",\n" : "", run->name,
           shape->name, run->against);
    printf(", \"value\": %.0f, \"reference\": %.0f", value, reference);
    print_list("samples", samples->measured, count);
    print_list("reference_samples", samples->reference, count);
    printf("}");
    more = true;
}

static void take_samples(const struct options *options, const struct run *run, struct samples *out)
{
    run->measured(); /* caches, branches, clock rate */
    run->reference();
    for (size_t i = 0; i < options->repeats; i++) {
        out->measured[i] = measure(run->measured, options->rows);
        out->reference[i] = measure(run->reference, options->rows);
    }
}

static void measure_shape(const struct options *options, const struct shape *shape)
{
    static struct samples samples;
    mmq_splitmix random = {.state = 1};
    fill_columns(shape, &random);
    rows.one.size = 0;
    encode_all(encode_one, &rows.one);
    pack_all(false, &rows.one);
    rows.many.size = 0;
    encode_all(encode_mixed, &rows.many);
    pack_all(true, &rows.many);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        take_samples(options, &runs[i], &samples);
        print_run(options, &runs[i], shape, &samples);
    }
}

/* ---- the command line ------------------------------------------------------------------- */

static size_t read_count(const char *argument, size_t most)
{
    char *end;
    errno = 0;
    const unsigned long long count = argument != NULL ? strtoull(argument, &end, 10) : 0;
    if (argument == NULL || errno != 0 || *end != '\0' || count < 1 || count > most) {
        fputs("usage: bench_encoders [--json] [--repeats N] [--rows N]\n", stderr);
        exit(2);
    }
    return (size_t)count;
}

static struct options read_options(char **argv)
{
    struct options options = {.repeats = 5, .rows = 500000};
    for (char **at = argv + 1; *at != NULL; at++) {
        if (strcmp(*at, "--json") == 0) {
            options.json = true;
        } else if (strcmp(*at, "--repeats") == 0) {
            options.repeats = read_count(*++at, SAMPLES_MAX);
        } else if (strcmp(*at, "--rows") == 0) {
            options.rows = read_count(*++at, UINT32_MAX);
        } else {
            read_count(NULL, 0);
        }
    }
    return options;
}

static void name_metrics(void)
{
    mmq_splitmix random = {.state = 2};
    for (size_t i = 0; i < METRICS; i++) {
        const uint64_t high = mmq_splitmix_next(&random), low = mmq_splitmix_next(&random);
        snprintf(rows.uid[i], sizeof rows.uid[i], "%016" PRIx64 "%016" PRIx64, high, low);
        mmq_row_prefix_init(&rows.prefix[i], rows.uid[i]);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    const struct options options = read_options(argv);
    name_metrics();
    rows.one.data = malloc((size_t)ROWS * MMQ_ROW_MAX);
    rows.many.data = malloc((size_t)ROWS * MMQ_ROW_MAX);
    CHECK(rows.one.data != NULL && rows.many.data != NULL);
    if (options.json) {
        printf("[");
    } else {
        printf("%-14s %-9s %14s   %-9s %14s   %6s\n", "", "SHAPE", "ROWS/S", "AGAINST", "ROWS/S",
               "RATIO");
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        measure_shape(&options, &shapes[i]);
    }
    fputs(options.json ? "]\n" : "", stdout);
    return 0;
}
