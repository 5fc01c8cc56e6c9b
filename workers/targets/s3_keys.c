/* The shared file is read line by line, in place; only the values of three names are copied, into
 * rooms of fixed size that are wiped. A line that begins with a space goes on with the value before
 * it, which is never one of ours, since ours have one line. */
#include "workers/targets/s3_keys.h"

#include <string.h>
#include <strings.h>

#include "lib/fields.h"

/* The longest value, and a NUL. */
enum { VALUE_ROOM = MMQ_S3_TOKEN_MAX + 1 };

void mmq_s3_keys_clear(mmq_s3_keys *keys)
{
    explicit_bzero(keys, sizeof *keys);
}

/* Printable, without spaces: it goes into a header, or is no key. */
static bool take(char *out, size_t room, const char *value)
{
    const size_t size = strlen(value);
    for (size_t i = 0; i < size; i++) {
        if (value[i] <= ' ' || value[i] >= 0x7F) {
            return false;
        }
    }
    if (size >= room) {
        return false;
    }
    memcpy(out, value, size + 1);
    return true;
}

bool mmq_s3_keys_take(mmq_s3_keys *keys, const char *access, const char *secret, const char *token)
{
    mmq_s3_keys_clear(keys);
    if (access[0] != '\0' && secret[0] != '\0' && strpbrk(access, ",/") == NULL &&
        take(keys->access, sizeof keys->access, access) &&
        take(keys->secret, sizeof keys->secret, secret) &&
        take(keys->token, sizeof keys->token, token != NULL ? token : "")) {
        return true;
    }
    mmq_s3_keys_clear(keys);
    return false;
}

/* ---- a shared file ---------------------------------------------------------------------- */

/* The values of a profile so far; an empty text: none. */
struct found {
    bool has_profile;
    bool is_bad; /* a value that is too long or holds a NUL */
    char access[MMQ_S3_ACCESS_MAX + 1];
    char secret[MMQ_S3_SECRET_MAX + 1];
    char token[VALUE_ROOM];
};

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\v' || byte == '\f';
}

static mmq_slice trim(const char *begin, const char *end)
{
    while (begin < end && is_space(*begin)) {
        begin++;
    }
    while (end > begin && is_space(end[-1])) {
        end--;
    }
    return (mmq_slice){begin, (size_t)(end - begin)};
}

static void take_value(struct found *found, const mmq_slice *name, const mmq_slice *value)
{
    const struct {
        const char *name;
        char *out;
        size_t room;
    } known[] = {
        {"aws_access_key_id", found->access, sizeof found->access},
        {"aws_secret_access_key", found->secret, sizeof found->secret},
        {"aws_session_token", found->token, sizeof found->token},
        {"aws_security_token", found->token, sizeof found->token},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (name->size != strlen(known[i].name) ||
            strncasecmp(name->data, known[i].name, name->size) != 0) {
            continue;
        }
        if (value->size >= known[i].room || memchr(value->data, '\0', value->size) != NULL) {
            found->is_bad = true;
            continue;
        }
        memcpy(known[i].out, value->data, value->size);
        known[i].out[value->size] = '\0';
    }
}

/* One line; *is_ours: it is within the profile. */
static void take_line(struct found *found, const mmq_slice *line, const char *profile,
                      bool *is_ours)
{
    const char *end = line->data + line->size;
    const mmq_slice text = trim(line->data, end);
    if (text.size == 0 || text.data[0] == '#' || text.data[0] == ';' || is_space(line->data[0])) {
        return;
    }
    if (text.data[0] == '[') {
        const char *close = memchr(text.data, ']', text.size);
        const mmq_slice name = trim(text.data + 1, close != NULL ? close : text.data + 1);
        *is_ours = mmq_slice_is(&name, profile);
        found->has_profile = found->has_profile || *is_ours;
        return;
    }
    const char *mark = text.data;
    while (mark < end && *mark != '=' && *mark != ':') {
        mark++;
    }
    if (*is_ours && mark < end) {
        const mmq_slice name = trim(text.data, mark), value = trim(mark + 1, end);
        take_value(found, &name, &value);
    }
}

static void read_lines(struct found *found, const char *text, size_t size, const char *profile)
{
    static const char mark[] = "\xEF\xBB\xBF"; /* some editors begin UTF-8 with it */
    bool is_ours = false;
    const size_t skipped = size >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    const char *at = text + skipped, *end = text + size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const mmq_slice line = {at, (size_t)((newline != NULL ? newline : end) - at)};
        take_line(found, &line, profile, &is_ours);
        at = newline != NULL ? newline + 1 : end;
    }
}

mmq_err mmq_s3_profile_parse(const char *text, size_t size, const char *profile, mmq_s3_keys *out,
                             mmq_why *why)
{
    struct found found = {.has_profile = false};
    mmq_err err = MMQ_OK;
    read_lines(&found, text, size, profile);
    if (!found.has_profile) {
        err = mmq_fail(why, MMQ_ENOTFOUND, "there is no profile \"%.60s\"", profile);
    } else if (found.access[0] == '\0' && found.secret[0] == '\0' && !found.is_bad) {
        err = mmq_fail(why, MMQ_ENOTFOUND, "the profile \"%.60s\" has no keys", profile);
    } else if (found.is_bad || !mmq_s3_keys_take(out, found.access, found.secret, found.token)) {
        err = mmq_fail(why, MMQ_EINVAL, "the keys of profile \"%.60s\" cannot be right", profile);
    }
    explicit_bzero(&found, sizeof found);
    return err;
}
