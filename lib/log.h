/* Log lines on stderr, logfmt or JSON, one write each:
 *
 *     ts=2026-11-23T19:30:01.123Z level=info role=broker msg="worker ready" service=metric.query
 *
 *     mmq_log(MMQ_INFO, "worker ready", MMQ_S("service", name), MMQ_I("capacity", 8));
 */
#ifndef MMQ_LOG_H
#define MMQ_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mmq_level { MMQ_DEBUG, MMQ_INFO, MMQ_WARN, MMQ_ERROR } mmq_level;

typedef struct mmq_field {
    const char *key;
    const char *text; /* NULL: number counts */
    size_t size;      /* SIZE_MAX: text ends with NUL */
    int64_t number;
} mmq_field;

#define MMQ_S(key_, text_)         ((mmq_field){.key = (key_), .text = (text_), .size = SIZE_MAX})
#define MMQ_SN(key_, data_, size_) ((mmq_field){.key = (key_), .text = (data_), .size = (size_)})
#define MMQ_I(key_, number_)       ((mmq_field){.key = (key_), .number = (int64_t)(number_)})

/* Settings of the process; set before threads start. */
void mmq_log_setup(mmq_level least, bool json);
/* The role that this thread's lines bear, e.g. "broker"; static storage. Tools see it as the name
 * of the thread, if that is not the program's first. */
void mmq_log_role(const char *role);
bool mmq_log_wants(mmq_level level);
/* Values are escaped (control bytes and quotes included) and cut at 1 KiB. */
void mmq_log_fields(mmq_level level, const char *message, const mmq_field *fields, size_t count);

/* Of events that may come often one a period has a line, which says how many it stands for. Zeroed,
 * it is ready. */
typedef struct mmq_log_pace {
    bool told;
    int64_t told_ns;
    int64_t count; /* events since */
} mmq_log_pace;
/* One more event. 0: it has no line; else how many its line stands for. */
int64_t mmq_log_due(mmq_log_pace *pace, int64_t now_ns, int64_t period_ns);

#define mmq_log(level, message, ...)                                                               \
    do {                                                                                           \
        if (mmq_log_wants(level)) {                                                                \
            const mmq_field mmq_fields_[] = {__VA_ARGS__};                                         \
            mmq_log_fields(level, message, mmq_fields_, sizeof mmq_fields_ / sizeof *mmq_fields_); \
        }                                                                                          \
    } while (0)

#endif
