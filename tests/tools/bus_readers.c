/* Streams read by the client library, many at once over one client, each compared byte for byte
 * with what it must be:
 *
 *     bus_readers [--each] ENDPOINT IN_FLIGHT TIMEOUT_MS PAUSE_MS PLAN
 *
 * A line of the file PLAN is an entry: COUNT HEX MAX_BYTES PATH, the packed arguments of a query
 * (COUNT pairs), the page size (0: the default) and the file that holds the whole answer. Streams
 * take entries in turn, PAUSE_MS after the one before, until standard input ends; those under way
 * are then read to their end.
 *
 * METRICMQ_CURVE_KEY and METRICMQ_CURVE_SERVER name certificates, as they do for commands; without
 * them it speaks plain text.
 *
 * Prints `bad ENTRY OFFSET` for bytes that are wrong or too many, `short ENTRY OFFSET` for an end
 * too early, `failed ENTRY STATUS SENTENCE`, with --each `end READER BEGIN_NS END_NS` for each good
 * one, and last `streams N bytes B longest_ms M`. Exit status 1 if one was not good. */
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "metricmq/client.h"

enum { ENTRIES_MAX = 256, STREAMS_MAX = 1024, TURN_MS = 20 };

typedef struct plan_entry {
    uint8_t *args; /* packed pairs */
    size_t args_size;
    uint32_t args_count;
    size_t max_bytes;
    uint8_t *wanted; /* the whole answer */
    size_t wanted_size;
} plan_entry;

typedef struct bus_reader {
    mmq_stream *stream; /* NULL: none under way */
    size_t entry;
    size_t offset;    /* bytes read so far */
    int64_t begin_ns; /* of the stream; the next one does not begin before */
} bus_reader;

static plan_entry entries[ENTRIES_MAX];
static size_t entry_count;
static bus_reader readers[STREAMS_MAX];
static bool each;
static unsigned timeout_ms, pause_ms;
static size_t next_entry;
static uint64_t stream_count, byte_count, fault_count;
static int64_t longest_ns;

static void die(const char *what)
{
    fprintf(stderr, "bus_readers: %s\n", what);
    exit(2);
}

static void *must(void *memory)
{
    if (memory == NULL) {
        die("no memory");
    }
    return memory;
}

static void read_wanted(plan_entry *out, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        die("an entry's file cannot be read");
    }
    out->wanted_size = (size_t)ftell(file);
    rewind(file);
    out->wanted = must(malloc(out->wanted_size + 1));
    if (fread(out->wanted, 1, out->wanted_size, file) != out->wanted_size) {
        die("an entry's file cannot be read");
    }
    fclose(file);
}

static void read_args(plan_entry *out, const char *hex)
{
    out->args_size = strlen(hex) / 2;
    out->args = must(malloc(out->args_size + 1));
    for (size_t i = 0; i < out->args_size; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out->args[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
}

static void read_plan(const char *path)
{
    static char line[65536], hex[60000], file[4096];
    FILE *plan = fopen(path, "r");
    if (plan == NULL) {
        die("the plan cannot be read");
    }
    while (entry_count < ENTRIES_MAX && fgets(line, sizeof line, plan) != NULL) {
        plan_entry *out = &entries[entry_count++];
        if (sscanf(line, "%" SCNu32 " %59999s %zu %4095s", &out->args_count, hex, &out->max_bytes,
                   file) != 4) {
            die("an entry of the plan cannot be read");
        }
        read_args(out, hex);
        read_wanted(out, file);
    }
    fclose(plan);
}

static void begin_stream(mmq_client *client, bus_reader *reader)
{
    mmq_why why;
    reader->entry = next_entry++ % entry_count;
    reader->offset = 0;
    reader->begin_ns = mmq_now_ns();
    const plan_entry *entry = &entries[reader->entry];
    const mmq_stream_options options = {.call = {.service = MMQ_SERVICE_QUERY,
                                                 .args = entry->args,
                                                 .args_size = entry->args_size,
                                                 .args_count = entry->args_count,
                                                 .timeout_ms = timeout_ms,
                                                 .retry = true},
                                        .max_bytes = entry->max_bytes};
    reader->stream = mmq_stream_new(client, &options, &why);
    if (reader->stream == NULL) {
        die(why.text);
    }
}

static void compare_payload(bus_reader *reader, const mmq_frame *payload)
{
    const plan_entry *entry = &entries[reader->entry];
    size_t size = mmq_frame_size(payload);
    if (size > entry->wanted_size - reader->offset ||
        memcmp(mmq_frame_data(payload), entry->wanted + reader->offset, size) != 0) {
        printf("bad %zu %zu\n", reader->entry, reader->offset);
        fault_count++;
        mmq_stream_destroy(&reader->stream);
        return;
    }
    reader->offset += size;
    byte_count += size;
}

static void end_stream(bus_reader *reader, mmq_err err, const mmq_why *why)
{
    int64_t now_ns = mmq_now_ns();
    if (err != MMQ_EEND) {
        printf("failed %zu %d %s\n", reader->entry, mmq_stream_status(reader->stream), why->text);
        fault_count++;
    } else if (reader->offset != entries[reader->entry].wanted_size) {
        printf("short %zu %zu\n", reader->entry, reader->offset);
        fault_count++;
    } else if (each) {
        printf("end %td %" PRId64 " %" PRId64 "\n", reader - readers, reader->begin_ns, now_ns);
        fflush(stdout);
    }
    stream_count++;
    longest_ns = now_ns - reader->begin_ns > longest_ns ? now_ns - reader->begin_ns : longest_ns;
    mmq_stream_destroy(&reader->stream);
    reader->begin_ns = now_ns + pause_ms * MMQ_NS_PER_MS;
}

/* True if it took something. */
static bool read_stream(bus_reader *reader)
{
    bool any = false;
    while (reader->stream != NULL) {
        mmq_why why = {""};
        mmq_frame payload;
        mmq_frame_init(&payload);
        mmq_err err = mmq_stream_take(reader->stream, &payload, &why);
        if (err == MMQ_EAGAIN) {
            return any;
        }
        any = true;
        if (err == MMQ_OK) {
            compare_payload(reader, &payload);
        } else {
            end_stream(reader, err, &why);
        }
        mmq_frame_close(&payload);
    }
    return any;
}

/* One pass over all; false when none is under way and none may begin. */
static bool take_turn(mmq_client *client, size_t in_flight, bool going)
{
    bool any = false, open = false;
    int64_t left_ns = mmq_client_step(client);
    for (size_t i = 0; i < in_flight; i++) {
        if (readers[i].stream == NULL && going && readers[i].begin_ns <= mmq_now_ns()) {
            begin_stream(client, &readers[i]);
            any = true;
        }
        any |= readers[i].stream != NULL && read_stream(&readers[i]);
        open |= readers[i].stream != NULL;
    }
    struct pollfd client_input = {.fd = mmq_client_descriptor(client), .events = POLLIN};
    int wait_ms = left_ns < 0 || left_ns > TURN_MS * MMQ_NS_PER_MS
                      ? TURN_MS
                      : (int)(left_ns / MMQ_NS_PER_MS) + 1;
    (void)poll(&client_input, 1, any ? 0 : wait_ms);
    return going || open;
}

/* False once standard input has ended. */
static bool may_begin(void)
{
    char byte;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) == 0 || read(STDIN_FILENO, &byte, 1) > 0;
}

static void clear(mmq_client **client)
{
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        mmq_stream_destroy(&readers[i].stream);
    }
    mmq_client_destroy(client);
    for (size_t i = 0; i < entry_count; i++) {
        free(entries[i].args);
        free(entries[i].wanted);
    }
}

static mmq_client *connect_client(const char *endpoint, mmq_why *why)
{
    const char *own = getenv("METRICMQ_CURVE_KEY"), *server = getenv("METRICMQ_CURVE_SERVER");
    mmq_curve curve;
    if (own == NULL || server == NULL) {
        return mmq_client_new(endpoint, why);
    }
    if (mmq_curve_load(own, server, &curve, why) != MMQ_OK) {
        return NULL;
    }
    return mmq_client_new_curve(endpoint, &curve, why);
}

int main(int argc, char **argv)
{
    each = argc == 7 && strcmp(argv[1], "--each") == 0;
    argv += each;
    if (argc - each != 6) {
        die("usage: bus_readers [--each] ENDPOINT IN_FLIGHT TIMEOUT_MS PAUSE_MS PLAN");
    }
    size_t in_flight = strtoul(argv[2], NULL, 10);
    timeout_ms = (unsigned)strtoul(argv[3], NULL, 10);
    pause_ms = (unsigned)strtoul(argv[4], NULL, 10);
    read_plan(argv[5]);
    mmq_why why;
    mmq_client *client = connect_client(argv[1], &why);
    if (client == NULL || in_flight == 0 || in_flight > STREAMS_MAX || entry_count == 0) {
        die(client == NULL ? why.text : "nothing to do");
    }
    while (take_turn(client, in_flight, may_begin())) {
    }
    printf("streams %" PRIu64 " bytes %" PRIu64 " longest_ms %" PRId64 "\n", stream_count,
           byte_count, longest_ns / MMQ_NS_PER_MS);
    clear(&client);
    return fault_count == 0 ? 0 : 1;
}
