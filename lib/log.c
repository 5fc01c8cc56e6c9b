/* A line is put together in a buffer on the stack and leaves in one write. It is at most PIPE_BUF
 * long, so that lines of several threads or processes on one pipe never mix; no lock is needed. A
 * value is cut at 1 KiB and a field that finds no room is left out whole, so that a line is always
 * well-formed. Values come from peers: control characters (those that steer terminals too), quotes
 * and bytes that are no UTF-8 are escaped. */
#include "lib/log.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/calendar.h"
#include "lib/number.h"
#include "metricmq/unpack.h"

enum {
    LINE_MAX_BYTES = PIPE_BUF,
    VALUE_MAX_BYTES = 1024,
    TAIL_BYTES = 2, /* "}\n" always finds room */
};

static mmq_level least_level = MMQ_INFO;
static bool as_json;
static _Thread_local const char *thread_role;

typedef struct line {
    size_t size;
    bool full; /* something did not fit */
    char text[LINE_MAX_BYTES];
} line;

void mmq_log_setup(mmq_level least, bool json)
{
    least_level = least;
    as_json = json;
}

void mmq_log_role(const char *role)
{
    thread_role = role;
    if (role != NULL && gettid() != getpid()) { /* not the program's own name */
        (void)pthread_setname_np(pthread_self(), role);
    }
}

bool mmq_log_wants(mmq_level level)
{
    return level >= least_level;
}

int64_t mmq_log_due(mmq_log_pace *pace, int64_t now_ns, int64_t period_ns)
{
    const int64_t count = ++pace->count;
    if (pace->told && now_ns - pace->told_ns < period_ns) {
        return 0;
    }
    *pace = (mmq_log_pace){.told = true, .told_ns = now_ns};
    return count;
}

static void add_bytes(line *out, const char *data, size_t size)
{
    if (size > LINE_MAX_BYTES - TAIL_BYTES - out->size) {
        out->full = true;
        return;
    }
    memcpy(out->text + out->size, data, size);
    out->size += size;
}

static void add_text(line *out, const char *text)
{
    add_bytes(out, text, strlen(text));
}

/* Length of the valid UTF-8 character at data that may be shown as it is; 0: escape its byte. */
static size_t shown_length(const char *data, size_t size)
{
    unsigned char first = (unsigned char)data[0];
    if (first < 0x80) {
        return first >= 0x20 && first != 0x7f && first != '"' && first != '\\';
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    bool c1_control = first == 0xc2 && size > 1 && (unsigned char)data[1] < 0xa0;
    return length <= size && !c1_control && mmq_utf8_valid(data, length) ? length : 0;
}

static void add_escaped_byte(line *out, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    const char quoted[] = {'\\', (char)byte};
    const char coded[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    if (byte == '"' || byte == '\\') {
        add_bytes(out, quoted, sizeof quoted);
    } else if (byte == '\n') {
        add_bytes(out, "\\n", 2);
    } else {
        add_bytes(out, coded, sizeof coded);
    }
}

static void add_quoted(line *out, const char *data, size_t size)
{
    add_bytes(out, "\"", 1);
    size_t start = out->size;
    for (size_t i = 0; i < size && out->size - start < VALUE_MAX_BYTES;) {
        size_t shown = shown_length(data + i, size - i);
        if (shown > 0) {
            add_bytes(out, data + i, shown);
        } else {
            add_escaped_byte(out, (unsigned char)data[i]);
        }
        i += shown > 0 ? shown : 1;
    }
    add_bytes(out, "\"", 1);
}

static bool is_bare_word(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] <= ' ' || data[i] >= 0x7f || strchr("\"\\=", data[i])) {
            return false;
        }
    }
    return size > 0 && size <= VALUE_MAX_BYTES;
}

static void add_value(line *out, const char *data, size_t size)
{
    if (!as_json && is_bare_word(data, size)) {
        add_bytes(out, data, size);
    } else {
        add_quoted(out, data, size);
    }
}

static void add_key(line *out, const char *key)
{
    if (out->size > 0) {
        add_text(out, as_json ? "," : " ");
    }
    add_text(out, as_json ? (out->size > 0 ? "\"" : "{\"") : "");
    add_text(out, key);
    add_text(out, as_json ? "\":" : "=");
}

static void add_field(line *out, const mmq_field *field)
{
    const size_t start = out->size;
    add_key(out, field->key);
    if (field->text) {
        size_t size = field->size == SIZE_MAX ? strlen(field->text) : field->size;
        add_value(out, field->text, size);
    } else {
        char digits[MMQ_INTEGER_MAX];
        add_bytes(out, digits, mmq_integer_print(field->number, digits));
    }
    if (out->full) {
        out->size = start;
        out->full = false;
    }
}

static void add_time(line *out)
{
    struct timespec now;
    char text[MMQ_TIME_TEXT + sizeof ".000Z"];
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t seconds = now.tv_sec;
    if (seconds < MMQ_TIME_MIN || seconds > MMQ_TIME_MAX) { /* a clock may be set to anything */
        seconds = 0;
    }
    long ms = now.tv_nsec / 1000000;
    mmq_time_print(seconds, text);
    text[10] = 'T';
    const char fraction[] = {
        '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', '\0'};
    memcpy(text + MMQ_TIME_TEXT, fraction, sizeof fraction);
    add_field(out, &MMQ_S("ts", text));
}

static void write_line(const line *out)
{
    const char *at = out->text;
    size_t left = out->size;
    while (left > 0) {
        ssize_t wrote = write(STDERR_FILENO, at, left);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) { /* nobody reads our log: there is no one to tell */
            return;
        }
        at += wrote;
        left -= (size_t)wrote;
    }
}

void mmq_log_fields(mmq_level level, const char *message, const mmq_field *fields, size_t count)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const int saved_errno = errno;
    line out = {.size = 0};
    add_time(&out);
    add_field(&out, &MMQ_S("level", levels[level]));
    if (thread_role) {
        add_field(&out, &MMQ_S("role", thread_role));
    }
    add_field(&out, &MMQ_S("msg", message));
    for (size_t i = 0; i < count; i++) {
        add_field(&out, &fields[i]);
    }
    if (as_json) {
        out.text[out.size++] = '}';
    }
    out.text[out.size++] = '\n';
    write_line(&out);
    errno = saved_errno;
}
