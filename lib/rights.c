#include "lib/rights.h"

#include <stdio.h>
#include <string.h>

#include "lib/fields.h"

static const struct {
    const char *name;
    mmq_right right;
} known[] = {
    {"read", MMQ_RIGHT_READ},
    {"write", MMQ_RIGHT_WRITE},
    {"feedback", MMQ_RIGHT_FEEDBACK},
    {"admin", MMQ_RIGHT_ADMIN},
};

enum { KNOWN = sizeof known / sizeof *known };

static unsigned right_of(const char *name, size_t size)
{
    const mmq_slice slice = {name, size};
    for (size_t i = 0; i < KNOWN; i++) {
        if (mmq_slice_is(&slice, known[i].name)) {
            return known[i].right;
        }
    }
    return 0;
}

/* What is no right is not quoted: it may be a secret in the wrong place. */
mmq_err mmq_rights_parse(const char *text, size_t size, unsigned *rights, mmq_why *why)
{
    *rights = 0;
    for (size_t at = 0; at <= size;) {
        const char *comma = memchr(text + at, ',', size - at);
        const size_t length = comma ? (size_t)(comma - text) - at : size - at;
        const unsigned right = right_of(text + at, length);
        if (right == 0) {
            return mmq_fail(why, MMQ_EINVAL,
                            "rights are one or more of read, write, feedback, admin, with commas "
                            "between them");
        }
        *rights |= right;
        at += length + 1;
    }
    return MMQ_OK;
}

void mmq_rights_print(unsigned rights, char out[MMQ_RIGHTS_TEXT])
{
    size_t size = 0;
    out[0] = '\0';
    for (size_t i = 0; i < KNOWN; i++) {
        if (rights & known[i].right) {
            size += (size_t)snprintf(out + size, MMQ_RIGHTS_TEXT - size, "%s%s",
                                     size > 0 ? "," : "", known[i].name);
        }
    }
}
