/* czmq parses the file. It prints its complaints, with the line, on stdout, where they would mix
 * with results and might show a secret; so each line is checked first, and czmq sees only what it
 * will take. The file is bounded since czmq's lists cost the square of its lines. */
#include "lib/config_file.h"

#include <czmq.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX_BYTES = 64 * 1024 };

static mmq_err read_text(const char *path, char text[FILE_MAX_BYTES + 1], mmq_why *why)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: %s", path, strerror(errno));
    }
    size_t size = fread(text, 1, FILE_MAX_BYTES, file);
    bool failed = ferror(file), longer = !failed && fgetc(file) != EOF;
    const char *reason = failed ? strerror(errno) : NULL;
    fclose(file);
    text[size] = '\0';
    if (failed) {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: %s", path, reason);
    }
    if (longer) {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: longer than %d bytes", path, FILE_MAX_BYTES);
    }
    if (strlen(text) != size) {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: holds a NUL byte", path);
    }
    return MMQ_OK;
}

static const char *skip_spaces(const char *at, const char *end)
{
    while (at < end && isspace((unsigned char)*at)) {
        at++;
    }
    return at;
}

/* NULL if czmq takes the line as a comment, a blank or a pair of the top level. */
static const char *line_fault(const char *at, const char *end)
{
    const char *first = skip_spaces(at, end);
    if (first == end || *at == '#') {
        return NULL;
    }
    if (first != at) {
        return "lines must not be indented";
    }
    const char *name = at;
    while (at < end && (isalnum((unsigned char)*at) || *at == '-' || *at == '_')) {
        at++;
    }
    if (at == name) {
        return "want: key = value";
    }
    at = skip_spaces(at, end);
    if (at == end || *at != '=') {
        return "want: key = value";
    }
    at = skip_spaces(at + 1, end);
    if (at == end || (*at != '"' && *at != '\'')) {
        return NULL;
    }
    const char *quote = memchr(at + 1, *at, (size_t)(end - at - 1));
    if (!quote) {
        return "a quote is not closed";
    }
    const char *rest = skip_spaces(quote + 1, end);
    return rest == end || *rest == '#' ? NULL : "something follows the closing quote";
}

/* A line that is passed over becomes a comment. */
static mmq_err check_lines(const char *path, char *text, mmq_faults *faults, mmq_why *why)
{
    unsigned number = 1;
    for (char *line = text; *line; number++) {
        char *end = strchrnul(line, '\n');
        const char *fault = line_fault(line, end);
        if (fault && !faults) {
            return mmq_fail(why, MMQ_EINVAL, "%.128s: line %u: %s", path, number, fault);
        }
        if (fault) {
            mmq_faults_add(faults, "--config %.128s: line %u: %s", path, number, fault);
            *line = '#';
        }
        line = *end ? end + 1 : end;
    }
    return MMQ_OK;
}

mmq_err mmq_config_file_read(const char *path, mmq_config_pair_fn *pair, void *context,
                             mmq_faults *faults, mmq_why *why)
{
    char *text = malloc(FILE_MAX_BYTES + 1);
    if (!text) {
        return mmq_fail(why, MMQ_ENOMEM, "%.128s: no memory", path);
    }
    zconfig_t *root = NULL;
    mmq_err err = read_text(path, text, why);
    if (!err) {
        err = check_lines(path, text, faults, why);
    }
    if (!err && !(root = zconfig_str_load(text))) {
        err = mmq_fail(why, MMQ_EINVAL, "%.128s: not a ZPL file", path);
    }
    zconfig_t *item = root ? zconfig_child(root) : NULL;
    for (; item && !err; item = zconfig_next(item)) {
        const char *value = zconfig_value(item);
        err = pair(context, zconfig_name(item), value ? value : "", why);
    }
    zconfig_destroy(&root);
    free(text);
    return err;
}
