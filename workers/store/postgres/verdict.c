/* Which error an SQLSTATE is: by one table, whose first line that matches decides. A state of five
 * characters is one condition, one of two is a class.
 *
 * What only an operator can mend (rights, passwords, a server that is full of connections) is
 * MMQ_EUNAVAILABLE, because it is no fault of the request; what no statement of ours can cause with
 * tables that are ours is MMQ_ECORRUPT. */
#include "workers/store/postgres/verdict.h"

#include <stdio.h>
#include <string.h>

#include "metricmq/unpack.h"

static const struct {
    const char *state;
    mmq_err err;
    const char *meaning; /* stands before what the server says */
} verdicts[] = {
    {"40001", MMQ_EBUSY, "another transaction was faster"},
    {"40P01", MMQ_EBUSY, "two transactions waited for each other"},
    {"55P03", MMQ_EBUSY, "locked by another transaction"},
    {"57014", MMQ_EBUSY, "it took too long"},
    {"23505", MMQ_EBUSY, "another transaction has made the same"},
    {"40", MMQ_EBUSY, "another transaction stood in the way"},
    {"53100", MMQ_ENOSPC, "no space left on the server's disk"},
    {"53200", MMQ_ENOMEM, "no memory left on the server"},
    {"53300", MMQ_EUNAVAILABLE, "too many connections"},
    {"53", MMQ_EUNAVAILABLE, "it is short of something"},
    {"25006", MMQ_EUNAVAILABLE, "it takes no writes, because it is a standby or set so"},
    {"25P03", MMQ_EUNAVAILABLE, "the transaction was idle for too long"},
    {"08P01", MMQ_EIO, "it did not understand"},
    {"08", MMQ_EUNAVAILABLE, "the connection is lost"},
    {"57P", MMQ_EUNAVAILABLE, "it is shut down or starts"},
    {"26000", MMQ_EUNAVAILABLE,
     "it has forgotten a statement: there may be a pooler before it that gives each transaction"
     " another connection"},
    {"0A000", MMQ_EUNAVAILABLE, "its tables have changed, or it cannot do something"},
    {"28", MMQ_EUNAVAILABLE, "it does not let us in"},
    {"3D000", MMQ_EUNAVAILABLE, "there is no such database"},
    {"42501", MMQ_EUNAVAILABLE, "the user has not all rights on the tables"},
    {"58", MMQ_EIO, "its disk failed"},
    {"XX001", MMQ_ECORRUPT, "its data are damaged"},
    {"XX002", MMQ_ECORRUPT, "an index is damaged"},
    {"XX", MMQ_EIO, "it failed"},
    {"54", MMQ_ETOOBIG, "over one of its bounds"},
    {"25", MMQ_EIO, "the transaction is not what it should be"},
    {"21", MMQ_ECORRUPT, "not a store of metricmq, or damaged"},
    {"22", MMQ_ECORRUPT, "not a store of metricmq, or damaged"},
    {"23", MMQ_ECORRUPT, "not a store of metricmq, or damaged"},
    {"3F", MMQ_ECORRUPT, "not a store of metricmq"},
    {"42", MMQ_ECORRUPT, "not a store of metricmq, or damaged"},
};

void mmq_pg_clean(const char *said, char *out, size_t size)
{
    size_t length = strnlen(said, size - 1);
    memcpy(out, said, length);
    if (said[length] != '\0') { /* cut: not within a character */
        for (; length > 0 && ((unsigned char)said[length] & 0xc0) == 0x80; length--) {
        }
    }
    while (length > 0 && (unsigned char)out[length - 1] <= ' ') {
        length--;
    }
    out[length] = '\0';
    bool valid = mmq_utf8_valid(out, length);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)out[i];
        out[i] = c < ' ' || c == 0x7f ? ' ' : c >= 0x80 && !valid ? '?' : out[i];
    }
}

mmq_err mmq_pg_verdict(const char *state, const char *said, mmq_why *why)
{
    char text[160] = "", code[6] = "";
    if (said != NULL) {
        mmq_pg_clean(said, text, sizeof text);
    }
    if (state == NULL || *state == '\0') {
        return mmq_fail(why, MMQ_EUNAVAILABLE, "PostgreSQL: the connection is lost: %s", text);
    }
    mmq_pg_clean(state, code, sizeof code);
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        if (strncmp(code, verdicts[i].state, strlen(verdicts[i].state)) == 0) {
            return mmq_fail(why, verdicts[i].err, "PostgreSQL: %s: %s (%s)", verdicts[i].meaning,
                            text, code);
        }
    }
    return mmq_fail(why, MMQ_EIO, "PostgreSQL: %s (%s)", text, code);
}
