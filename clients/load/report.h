/* A run's result, for people and for programs (docs/load.md lists the keys of the JSON). */
#ifndef MMQ_LOAD_REPORT_H
#define MMQ_LOAD_REPORT_H

#include "clients/load/load.h"
#include "lib/buffer.h"

typedef struct mmq_load_report {
    const mmq_load_options *options;
    const mmq_load_result *result;
    const char *mix; /* as text; NULL: echo */
    size_t workers;  /* our own */
    unsigned capacity;
    int64_t service_ms;
    uint64_t served; /* by our own workers, warm-up included */
} mmq_load_report;

/* True if every request was answered and every answer was right. */
bool mmq_load_report_good(const mmq_load_report *report);
void mmq_load_report_text(const mmq_load_report *report, mmq_buffer *out);
void mmq_load_report_json(const mmq_load_report *report, mmq_buffer *out);
/* "closed loop, 64 under way, 8 clients, 4 workers" */
void mmq_load_report_settings(const mmq_load_report *report, mmq_buffer *out);
/* A time in the unit that suits it, of three significant digits: "12.3 ms". */
void mmq_load_report_time(mmq_buffer *out, int64_t time_ns);

#endif
