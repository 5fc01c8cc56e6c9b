/* One table gives each error its name and its status, so that the two cannot drift apart. Several
 * errors share a status; the way back picks the one a client can act on. */
#include "metricmq/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/check.h"

static const struct {
    const char *name;
    int status;
} errors[] = {
    [MMQ_OK] = {"MMQ_OK", 200},
    [MMQ_EINVAL] = {"MMQ_EINVAL", 400},
    [MMQ_EDENIED] = {"MMQ_EDENIED", 403},
    [MMQ_ENOTFOUND] = {"MMQ_ENOTFOUND", 404},
    [MMQ_ECONFLICT] = {"MMQ_ECONFLICT", 409},
    [MMQ_EGONE] = {"MMQ_EGONE", 410},
    [MMQ_ETOOBIG] = {"MMQ_ETOOBIG", 413},
    [MMQ_EBUSY] = {"MMQ_EBUSY", 503},
    [MMQ_EUNAVAILABLE] = {"MMQ_EUNAVAILABLE", 503},
    [MMQ_ETIMEOUT] = {"MMQ_ETIMEOUT", 504},
    [MMQ_EPROTO] = {"MMQ_EPROTO", 400},
    [MMQ_EIO] = {"MMQ_EIO", 500},
    [MMQ_ECORRUPT] = {"MMQ_ECORRUPT", 500},
    [MMQ_ENOSPC] = {"MMQ_ENOSPC", 503},
    [MMQ_ENOMEM] = {"MMQ_ENOMEM", 503},
    [MMQ_EAGAIN] = {"MMQ_EAGAIN", 503},
    [MMQ_EUNREACHABLE] = {"MMQ_EUNREACHABLE", 503},
    [MMQ_EEND] = {"MMQ_EEND", 500},
    [MMQ_ECLOSED] = {"MMQ_ECLOSED", 503},
};

/* A sentence that is cut must not end in half a UTF-8 character: it goes into msgpack and JSON. */
static void trim_partial_character(char *text, size_t size)
{
    size_t start = size - 1;
    while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80) {
        start--;
    }
    unsigned char head = (unsigned char)text[start];
    size_t whole = head < 0xc0 ? 1 : head < 0xe0 ? 2 : head < 0xf0 ? 3 : 4;
    if (start + whole > size) {
        text[start] = '\0';
    }
}

void mmq_why_set(mmq_why *why, const char *format, ...)
{
    if (why == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    int size = vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    if (size >= (int)sizeof why->text) {
        trim_partial_character(why->text, sizeof why->text - 1);
    }
}

const char *mmq_err_name(mmq_err err)
{
    CHECK((unsigned)err < sizeof errors / sizeof *errors);
    return errors[err].name;
}

int mmq_err_status(mmq_err err)
{
    CHECK((unsigned)err < sizeof errors / sizeof *errors);
    return errors[err].status;
}

mmq_err mmq_err_from_status(int status)
{
    switch (status) {
    case 401:
    case 403:
        return MMQ_EDENIED;
    case 404:
        return MMQ_ENOTFOUND;
    case 409:
        return MMQ_ECONFLICT;
    case 410:
        return MMQ_EGONE;
    case 413:
        return MMQ_ETOOBIG;
    case 429:
        return MMQ_EBUSY;
    case 503:
        return MMQ_EUNAVAILABLE;
    case 504:
        return MMQ_ETIMEOUT;
    default:
        return status < 400 ? MMQ_OK : status < 500 ? MMQ_EINVAL : MMQ_EIO;
    }
}
