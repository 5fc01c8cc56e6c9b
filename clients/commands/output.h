/* A stream of the bus, rendered to stdout. */
#ifndef MMQ_OUTPUT_H
#define MMQ_OUTPUT_H

#include "clients/render/render.h"
#include "metricmq/pack.h"
#include "metricmq/client.h"

/* The form that --format names, among those of rows or of records. json_form is the form that
 * "json" stands for here. */
mmq_form mmq_output_form(const char *format, mmq_form json_form, mmq_form csv_form,
                         mmq_form table_form);
/* Asks metric.query, writes the whole answer to stdout; returns the exit status. Takes ownership of
 * the content of args (cleared). */
int mmq_output_stream(mmq_client *client, mmq_args *args, unsigned timeout_ms, mmq_form form);

#endif
