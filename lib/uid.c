/* Uids stand in URLs, file names and object keys: hence the narrow alphabet, and the names that
 * mean something else there. */
#include "lib/uid.h"

#include <string.h>

#include "lib/digest.h"

static bool is_plain_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

bool mmq_text_plain(const char *text, size_t size)
{
    size_t i = 0;
    while (i < size && is_plain_byte(text[i])) {
        i++;
    }
    return size > 0 && i == size;
}

static bool is_reserved(const char *uid, size_t size)
{
    static const char *const names[] = {".", "..", "data", "export", "summary"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (size == strlen(names[i]) && memcmp(uid, names[i], size) == 0) {
            return true;
        }
    }
    return false;
}

bool mmq_uid_valid(const char *uid, size_t size)
{
    return size <= MMQ_UID_MAX && mmq_text_plain(uid, size) && !is_reserved(uid, size);
}

void mmq_uid_derive(const char *datasource, const char *identity, char out[MMQ_UID_MAX + 1])
{
    enum { UID_HEX = 32 };
    const mmq_part parts[] = {{datasource, strlen(datasource)}, {identity, strlen(identity)}};
    char hex[MMQ_DIGEST_HEX + 1];
    mmq_digest_parts(parts, sizeof parts / sizeof *parts, hex);
    memcpy(out, hex, UID_HEX);
    out[UID_HEX] = '\0';
}
