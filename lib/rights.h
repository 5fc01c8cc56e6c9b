/* What those who ask may do, over the bus (certificates) and over HTTP (keys). */
#ifndef MMQ_RIGHTS_H
#define MMQ_RIGHTS_H

#include <stddef.h>

#include "metricmq/error.h"

typedef enum mmq_right {
    MMQ_RIGHT_READ = 1,     /* metric.query */
    MMQ_RIGHT_WRITE = 2,    /* metric.write */
    MMQ_RIGHT_FEEDBACK = 4, /* metric.feedback */
    MMQ_RIGHT_ADMIN = 8,    /* to see the insides; services that are none of ours */
    MMQ_RIGHTS_ALL = 15,
} mmq_right;

enum { MMQ_RIGHTS_TEXT = 32 }; /* "read,write,feedback,admin" */

/* "read,write" as a set. MMQ_EINVAL with a sentence if the text holds anything else, or nothing. */
mmq_err mmq_rights_parse(const char *text, size_t size, unsigned *rights,
                         mmq_why *why) MMQ_MUST_USE;
/* The set as text; "" if it is empty. */
void mmq_rights_print(unsigned rights, char out[MMQ_RIGHTS_TEXT]);

#endif
