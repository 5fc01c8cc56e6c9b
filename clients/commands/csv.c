/* The file is read in big pieces; fields point into the piece. A record that the piece cuts off is
 * moved to its beginning, more is read behind it, and it is scanned again: so a scan changes no
 * byte. Doubled quotes, which are rare, are made single when the record is whole. */
#include "clients/commands/csv.h"

#include <errno.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

void mmq_csv_init(mmq_csv *csv, FILE *file)
{
    csv->file = file;
    csv->line = 0;
    csv->next_line = 1;
    csv->offset = 0;
    csv->count = 0;
    csv->at = csv->end = csv->text;
    csv->last = false;
}

/* Reads more behind what is left. */
static mmq_err read_piece(mmq_csv *csv, mmq_why *why)
{
    const size_t left = (size_t)(csv->end - csv->at), room = MMQ_CSV_PIECE - left;
    if (room == 0) {
        return mmq_fail(why, MMQ_EINVAL, "the line is longer than %d bytes", MMQ_CSV_RECORD);
    }
    memmove(csv->text, csv->at, left);
    const size_t size = fread(csv->text + left, 1, room, csv->file);
    csv->at = csv->text;
    csv->end = csv->text + left + size;
    *csv->end = '\n';
    csv->last = size < room;
    return ferror(csv->file) ? mmq_fail(why, MMQ_EIO, "%s", strerror(errno)) : MMQ_OK;
}

/* The first piece; spreadsheets put a mark before UTF-8. */
static mmq_err begin(mmq_csv *csv, mmq_why *why)
{
    static const char mark[3] = "\xef\xbb\xbf";
    mmq_err err = read_piece(csv, why);
    if (!err && csv->end - csv->at >= (ptrdiff_t)sizeof mark &&
        memcmp(csv->at, mark, sizeof mark) == 0) {
        csv->at += sizeof mark;
        csv->offset = sizeof mark;
    }
    return err;
}

/* One record being scanned. */
struct scan {
    mmq_csv *csv;
    char *at;
    size_t kept;    /* bytes of the fields so far */
    size_t doubled; /* quotes that will be dropped */
    int64_t breaks; /* line breaks within quotes */
};

static mmq_err keep(struct scan *scan, size_t size, mmq_why *why)
{
    scan->kept += size;
    return scan->kept - scan->doubled <= MMQ_CSV_RECORD
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL, "the line is longer than %d bytes", MMQ_CSV_RECORD);
}

/* MMQ_EAGAIN: the record goes on behind what was read. */
static mmq_err end_field(struct scan *scan, char *data, size_t size, mmq_why *why)
{
    mmq_csv *csv = scan->csv;
    mmq_err err = keep(scan, size, why);
    if (err) {
        return err;
    }
    if (scan->at == csv->end && !csv->last) {
        return MMQ_EAGAIN;
    }
    if (csv->count == MMQ_CSV_FIELDS) {
        return mmq_fail(why, MMQ_EINVAL, "the line has more than %d columns", MMQ_CSV_FIELDS);
    }
    csv->fields[csv->count++] = (mmq_csv_field){data, size};
    return MMQ_OK;
}

/* True if a CR at `at` belongs to the end of the line; false as long as that is not known. */
static bool is_break(const struct scan *scan, const char *at)
{
    return *at == '\r' && at[1] == '\n' && (at + 1 < scan->csv->end || scan->csv->last);
}

/* The LF behind all text ends it; up to 15 bytes behind that are looked at. */
static char *find_special(char *at)
{
#ifdef __SSE2__
    const __m128i comma = _mm_set1_epi8(','), lf = _mm_set1_epi8('\n'), quote = _mm_set1_epi8('"');
    for (;; at += sizeof(__m128i)) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        const __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(bytes, comma), _mm_cmpeq_epi8(bytes, lf));
        const int found = _mm_movemask_epi8(_mm_or_si128(ends, _mm_cmpeq_epi8(bytes, quote)));
        if (found != 0) {
            return at + __builtin_ctz((unsigned)found);
        }
    }
#else
    while (*at != ',' && *at != '\n' && *at != '"') {
        at++;
    }
    return at;
#endif
}

/* A field without quotes; leaves scan->at at the comma or LF behind it. */
static mmq_err scan_plain(struct scan *scan, mmq_why *why)
{
    char *data = scan->at;
    char *end = scan->at = find_special(data);
    if (*end == '"') {
        mmq_err err = keep(scan, (size_t)(end - data), why);
        return err ? err : mmq_fail(why, MMQ_EINVAL, "a quote stands in the middle of a value");
    }
    if (*end == '\n' && end > data && end[-1] == '\r') {
        end--;
    }
    return end_field(scan, data, (size_t)(end - data), why);
}

/* The quote that closes a field, NULL if it is not there; quotes that stand for one are counted. */
static char *find_closing(struct scan *scan, char *at)
{
    char *const end = scan->csv->end;
    while ((at = memchr(at, '"', (size_t)(end - at))) != NULL && at + 1 < end && at[1] == '"') {
        scan->doubled++;
        at += 2;
    }
    return at;
}

static int64_t count_breaks(const char *at, const char *end)
{
    int64_t count = 0;
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* The file or the piece ends within a field's quotes. */
static mmq_err miss_closing(struct scan *scan, size_t size, mmq_why *why)
{
    mmq_err err = keep(scan, size, why);
    if (!err && !scan->csv->last) {
        return MMQ_EAGAIN;
    }
    return err ? err : mmq_fail(why, MMQ_EINVAL, "a quoted value is not closed");
}

static mmq_err scan_quoted(struct scan *scan, mmq_why *why)
{
    char *data = scan->at + 1, *const end = scan->csv->end;
    char *closing = find_closing(scan, data);
    if (closing == NULL || (closing + 1 == end && !scan->csv->last)) {
        return miss_closing(scan, (size_t)((closing ? closing : end) - data), why);
    }
    scan->at = closing + 1;
    scan->breaks += count_breaks(data, closing);
    if (is_break(scan, scan->at)) {
        scan->at++;
    }
    if (*scan->at == '\r' && scan->at + 1 == end) {
        return MMQ_EAGAIN;
    }
    if (*scan->at != ',' && *scan->at != '\n') {
        mmq_err err = keep(scan, (size_t)(closing - data), why);
        return err ? err : mmq_fail(why, MMQ_EINVAL, "text follows a closing quote");
    }
    return end_field(scan, data, (size_t)(closing - data), why);
}

static mmq_err scan_record(struct scan *scan, mmq_why *why)
{
    scan->csv->count = 0;
    for (;; scan->at++) {
        mmq_err err = *scan->at == '"' ? scan_quoted(scan, why) : scan_plain(scan, why);
        if (err || *scan->at == '\n') {
            return err;
        }
    }
}

/* Two quotes are one. */
static void unquote(mmq_csv_field *field, char *data)
{
    char *out = data;
    for (size_t i = 0; i < field->size; i++) {
        *out++ = data[i];
        i += data[i] == '"';
    }
    field->size = (size_t)(out - data);
}

static void unquote_fields(mmq_csv *csv)
{
    for (size_t i = 0; i < csv->count; i++) {
        mmq_csv_field *field = &csv->fields[i];
        if (memchr(field->data, '"', field->size) != NULL) {
            unquote(field, csv->text + (field->data - csv->text)); /* ours to write to */
        }
    }
}

static void end_record(mmq_csv *csv, const struct scan *scan)
{
    char *next = scan->at < csv->end ? scan->at + 1 : csv->end;
    csv->offset += next - csv->at;
    csv->at = next;
    csv->next_line += 1 + scan->breaks;
    if (scan->doubled > 0) {
        unquote_fields(csv);
    }
}

mmq_err mmq_csv_next(mmq_csv *csv, mmq_why *why)
{
    mmq_err err = csv->line == 0 ? begin(csv, why) : MMQ_OK;
    csv->line = csv->next_line;
    while (!err) {
        struct scan scan = {.csv = csv, .at = csv->at};
        if (csv->at == csv->end && csv->last) {
            return MMQ_EEND;
        }
        err = csv->at < csv->end ? scan_record(&scan, why) : MMQ_EAGAIN;
        if (!err) {
            end_record(csv, &scan);
            break;
        }
        if (err == MMQ_EAGAIN) {
            err = read_piece(csv, why);
        }
    }
    return err;
}
