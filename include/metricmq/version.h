/* Which version of metricmq this is. */
#ifndef METRICMQ_VERSION_H
#define METRICMQ_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

/* The version as text, e.g. "0.1.0"; static storage. */
const char *mmq_version(void);

#ifdef __cplusplus
}
#endif

#endif
