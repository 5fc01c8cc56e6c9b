/* A run as a picture: latency over percentile, throughput over time. One SVG file that needs
 * nothing else. */
#ifndef MMQ_LOAD_PLOT_H
#define MMQ_LOAD_PLOT_H

#include "clients/load/report.h"

void mmq_load_plot(const mmq_load_report *report, mmq_buffer *out);

#endif
