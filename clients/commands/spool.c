/* `metricmq spool`: what is not uploaded yet, looked at, made due, thrown away. It works on the
 * data directory itself, beside running workers or without any. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clients/commands/commands.h"
#include "lib/clock.h"
#include "lib/files.h"
#include "lib/json.h"
#include "metricmq/pack.h"
#include "workers/spool/spool.h"

enum { SHORT_TEXT = 24, TEXT_MAX = 1 << 30 };

struct work {
    mmq_spool *spool;
    char form;            /* of the list: the first letter of --format */
    mmq_buffer rows;      /* msgpack */
    uint32_t count;       /* of rows */
    const char *wanted;   /* a name or its beginning; NULL: all */
    bool exact;           /* a whole name was found */
    unsigned found;       /* entries that `wanted` may be */
    mmq_spool_entry last; /* the one that was found last; its manifest is not kept */
    int status;
};

/* ---- list ------------------------------------------------------------------------------- */

/* Text that may be anything, with nothing in it that moves a cursor. */
static void clean(const char *text, char *out, size_t size)
{
    mmq_why line;
    mmq_why_set(&line, "%s", text);
    mmq_error_clean(&line);
    snprintf(out, size, "%s", line.text);
}

static const char *state_of(const mmq_spool_entry *entry)
{
    if (entry->quarantined) {
        return "quarantine";
    }
    if (entry->owned) {
        return "uploading";
    }
    return entry->known ? mmq_job_state_name(entry->manifest.state) : "torn";
}

static const char *error_of(const mmq_spool_entry *entry)
{
    return entry->reason.text[0] != '\0' ? entry->reason.text : entry->manifest.error.text;
}

/* -1: not known */
static int64_t age_of(const mmq_spool_entry *entry)
{
    const int64_t age_s = mmq_wall_s() - entry->made_s;
    return entry->made_s == 0 ? -1 : age_s > 0 ? age_s : 0;
}

/* Seconds until it is tried; -1: only when somebody says so. */
static int64_t next_of(const mmq_spool_entry *entry)
{
    if (entry->quarantined || !entry->known || entry->manifest.state == MMQ_JOB_HELD) {
        return -1;
    }
    const int64_t left_ms = entry->manifest.next_attempt_ms - mmq_wall_ms();
    return left_ms > 0 ? (left_ms + 999) / 1000 : 0;
}

static void print_time(int64_t seconds, char out[SHORT_TEXT])
{
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;
    while (i < 3 && seconds < 2 * units[i].seconds) {
        i++;
    }
    if (seconds < 0) {
        snprintf(out, SHORT_TEXT, "-");
    } else {
        snprintf(out, SHORT_TEXT, "%" PRId64 "%c", seconds / units[i].seconds, units[i].unit);
    }
}

static void print_size(const mmq_spool_entry *entry, char out[SHORT_TEXT])
{
    static const char units[] = "KMGTPE";
    double size = (double)entry->manifest.sums.size_bytes;
    int unit = -1;
    while (size >= 1024 && unit < 5) {
        size /= 1024;
        unit++;
    }
    if (!entry->known) {
        snprintf(out, SHORT_TEXT, "-");
    } else if (unit < 0) {
        snprintf(out, SHORT_TEXT, "%.0f", size);
    } else {
        snprintf(out, SHORT_TEXT, "%.1f%c", size, units[unit]);
    }
}

static void print_row(const mmq_spool_entry *entry)
{
    char name[sizeof entry->name], error[sizeof entry->reason.text];
    char age[SHORT_TEXT], size[SHORT_TEXT], next[SHORT_TEXT], attempts[SHORT_TEXT] = "-";
    clean(entry->name, name, sizeof name);
    clean(error_of(entry), error, sizeof error);
    print_time(age_of(entry), age);
    print_time(next_of(entry), next);
    print_size(entry, size);
    if (entry->known) {
        snprintf(attempts, sizeof attempts, "%" PRId64, entry->manifest.attempts);
    }
    printf("%-*s %-10s %5s %7s %8s %5s  %s  %s\n", MMQ_JOB_NAME, name, state_of(entry), age, size,
           attempts, next, entry->known ? entry->manifest.key : "-", error);
}

static void pack_number(mmq_buffer *out, const char *key, int64_t value, bool known)
{
    mmq_pack_cstr(out, key);
    if (known) {
        mmq_pack_int(out, value);
    } else {
        mmq_pack_nil(out);
    }
}

static void pack_text(mmq_buffer *out, const char *key, const char *text)
{
    mmq_pack_cstr(out, key);
    mmq_pack_cstr(out, text);
}

static void pack_row(mmq_buffer *out, const mmq_spool_entry *entry)
{
    char name[sizeof entry->name], error[sizeof entry->reason.text];
    const mmq_manifest *manifest = &entry->manifest;
    const bool known = entry->known;
    clean(entry->name, name, sizeof name);
    clean(error_of(entry), error, sizeof error);
    mmq_pack_map(out, 9);
    pack_text(out, "name", name);
    pack_text(out, "state", state_of(entry));
    pack_number(out, "age_s", age_of(entry), age_of(entry) >= 0);
    pack_number(out, "size", manifest->sums.size_bytes, known);
    pack_number(out, "attempts", manifest->attempts, known);
    pack_number(out, "next_s", next_of(entry), next_of(entry) >= 0);
    pack_text(out, "uid", known ? manifest->uid : NULL);
    pack_text(out, "key", known ? manifest->key : NULL);
    pack_text(out, "error", error[0] != '\0' ? error : NULL);
}

static void print_number(int64_t value, bool known)
{
    if (known) {
        printf("%" PRId64, value);
    }
    putchar(',');
}

/* RFC 4180: in quotes, for it may hold anything. */
static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            putchar('"');
        }
        putchar(*text);
    }
    putchar('"');
}

static void print_csv(const mmq_spool_entry *entry)
{
    char name[sizeof entry->name], error[sizeof entry->reason.text];
    const mmq_manifest *manifest = &entry->manifest;
    clean(entry->name, name, sizeof name);
    clean(error_of(entry), error, sizeof error);
    print_quoted(name);
    printf(",%s,", state_of(entry));
    print_number(age_of(entry), age_of(entry) >= 0);
    print_number(manifest->sums.size_bytes, entry->known);
    print_number(manifest->attempts, entry->known);
    print_number(next_of(entry), next_of(entry) >= 0);
    printf("%s,%s,", manifest->uid, manifest->key);
    print_quoted(error);
    fputs("\r\n", stdout);
}

static mmq_err list_entry(void *context, const mmq_spool_entry *entry)
{
    struct work *work = context;
    switch (work->form) {
    case 't':
        print_row(entry);
        break;
    case 'c':
        print_csv(entry);
        break;
    default:
        pack_row(&work->rows, entry);
        work->count++;
        break;
    }
    return MMQ_OK;
}

/* The rows as one array: of msgpack, or of JSON. */
static int print_rows(const struct work *work)
{
    mmq_buffer array, text;
    mmq_why why = {"no memory for the list"};
    mmq_buffer_init(&array, TEXT_MAX);
    mmq_buffer_init(&text, TEXT_MAX);
    mmq_pack_array(&array, work->count);
    mmq_buffer_add(&array, work->rows.data, work->rows.size);
    mmq_err err = array.failed || work->rows.failed ? MMQ_ENOMEM : MMQ_OK;
    if (err == MMQ_OK && work->form == 'm') {
        fwrite(array.data, 1, array.size, stdout);
    } else if (err == MMQ_OK) {
        err = mmq_json_from_msgpack(array.data, array.size, &text, &why);
        mmq_buffer_text(&text, "\n");
        fwrite(text.data, 1, text.failed ? 0 : text.size, stdout);
    }
    const bool failed = err != MMQ_OK || text.failed;
    mmq_buffer_clear(&text);
    mmq_buffer_clear(&array);
    return failed ? mmq_failed("%s", why.text) : MMQ_EXIT_DONE;
}

static int list(struct work *work)
{
    mmq_why why = {""};
    if (work->form == 't') {
        printf("%-*s %-10s %5s %7s %8s %5s  %s  %s\n", MMQ_JOB_NAME, "NAME", "STATE", "AGE", "SIZE",
               "ATTEMPTS", "NEXT", "KEY", "ERROR");
    } else if (work->form == 'c') {
        fputs("name,state,age_s,size,attempts,next_s,uid,key,error\r\n", stdout);
    }
    if (mmq_spool_each(work->spool, list_entry, work, &why) != MMQ_OK) {
        return mmq_failed("%s", why.text);
    }
    return work->form == 'j' || work->form == 'm' ? print_rows(work) : MMQ_EXIT_DONE;
}

/* ---- retry and drop --------------------------------------------------------------------- */

static mmq_err retry_entry(void *context, const mmq_spool_entry *entry)
{
    struct work *work = context;
    char name[sizeof entry->name];
    mmq_why why = {""};
    clean(entry->name, name, sizeof name);
    mmq_err err = mmq_spool_retry(work->spool, entry, &why);
    if (err == MMQ_OK) {
        printf("%s: %s\n", name, entry->quarantined ? "put back, due now" : "due now");
    } else if (err == MMQ_EBUSY) {
        printf("%s: is being uploaded right now\n", name);
    } else if (err == MMQ_ENOTFOUND) {
        printf("%s: has just been uploaded\n", name);
    } else if (err != MMQ_EINVAL || work->wanted != NULL) { /* what is no job was not meant */
        work->status = mmq_failed("%s: %s", name, why.text);
    }
    return MMQ_OK;
}

static mmq_err drop_entry(void *context, const mmq_spool_entry *entry)
{
    struct work *work = context;
    char name[sizeof entry->name];
    mmq_why why = {""};
    clean(entry->name, name, sizeof name);
    mmq_err err = mmq_spool_drop(work->spool, entry, &why);
    if (err == MMQ_OK) {
        printf("%s: dropped\n", name);
    } else if (err == MMQ_EBUSY) {
        work->status = mmq_failed("%s is being uploaded right now; nothing was dropped", name);
    } else {
        work->status = mmq_failed("%s: %s", name, why.text);
    }
    return MMQ_OK;
}

static mmq_err match_entry(void *context, const mmq_spool_entry *entry)
{
    struct work *work = context;
    const bool exact = strcmp(entry->name, work->wanted) == 0;
    if (work->exact || strncmp(entry->name, work->wanted, strlen(work->wanted)) != 0) {
        return MMQ_OK;
    }
    work->exact = exact;
    work->found = exact ? 1 : work->found + 1;
    work->last = *entry;
    work->last.manifest.sums = (mmq_sums){.size_bytes = 0};
    return MMQ_OK;
}

/* Does it to the one entry that the name, or its beginning, means. */
static void act_on(struct work *work, const char *name,
                   mmq_err (*act)(void *context, const mmq_spool_entry *entry))
{
    mmq_why why = {""};
    work->wanted = name;
    work->exact = false;
    work->found = 0;
    if (mmq_spool_each(work->spool, match_entry, work, &why) != MMQ_OK) {
        work->status = mmq_failed("%s", why.text);
    } else if (work->found == 0 || name[0] == '\0') {
        work->status = mmq_failed("the spool holds no \"%s\"", name);
    } else if (work->found > 1) {
        work->status =
            mmq_failed("\"%s\" may be any of %u; give more of its name", name, work->found);
    } else {
        (void)act(work, &work->last);
    }
}

static int retry_all(struct work *work)
{
    mmq_why why = {""};
    work->wanted = NULL;
    return mmq_spool_each(work->spool, retry_entry, work, &why) == MMQ_OK
               ? work->status
               : mmq_failed("%s", why.text);
}

static int act(struct work *work, const char *verb, const char *const *names, size_t count)
{
    const bool retries = strcmp(verb, "retry") == 0;
    if (strcmp(verb, "list") == 0) {
        return list(work);
    }
    if (retries && count == 0) {
        return retry_all(work);
    }
    for (size_t i = 0; i < count; i++) {
        act_on(work, names[i], retries ? retry_entry : drop_entry);
    }
    return work->status;
}

/* ---- the command ------------------------------------------------------------------------ */

/* NULL after printing why. Nothing is made: a spool that is not there holds nothing. */
static mmq_spool *open_spool(const char *data)
{
    mmq_why why = {""};
    int folder = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        (void)mmq_failed("--data %s: %s", data, strerror(errno));
        return NULL;
    }
    mmq_spool *spool = mmq_spool_find(folder, &why);
    if (spool == NULL) {
        (void)mmq_failed("there is no spool in %s: %s", data, why.text);
    }
    mmq_fd_close(&folder);
    return spool;
}

int mmq_command_spool(const mmq_config *config)
{
    const char *const *operands;
    const size_t count = mmq_config_operands(config, &operands);
    const char *verb = operands[0]; /* one of the table's, mmq_main has seen to that */
    if (strcmp(verb, "list") == 0 && count > 1) {
        return mmq_usage("`spool list` takes no names: it lists all");
    }
    if (strcmp(verb, "drop") == 0 && count == 1) {
        return mmq_usage("`spool drop` wants the names of what is to be thrown away");
    }
    struct work work = {.form = mmq_config_text(config, "format")[0], .status = MMQ_EXIT_DONE};
    work.spool = open_spool(mmq_config_text(config, "data"));
    if (work.spool == NULL) {
        return MMQ_EXIT_FAILED;
    }
    mmq_buffer_init(&work.rows, TEXT_MAX);
    const int status = act(&work, verb, operands + 1, count - 1);
    mmq_buffer_clear(&work.rows);
    mmq_spool_destroy(&work.spool);
    return status;
}
