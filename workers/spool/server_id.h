/* The name of this server in archives and object keys. */
#ifndef MMQ_SERVER_ID_H
#define MMQ_SERVER_ID_H

#include "metricmq/error.h"

enum { MMQ_SERVER_ID_MAX = 64 };

/* `given` if it is not NULL (MMQ_EINVAL unless 1 to 64 letters, digits, '-', '_' or '.', the first
 * no dot); else the data folder's file server_id, made once at random. */
mmq_err mmq_server_id_read(int data_folder, const char *given, char out[MMQ_SERVER_ID_MAX + 1],
                           mmq_why *why) MMQ_MUST_USE;

#endif
