/* The picture of `metricmq status`: head lines, services, workers. Once, with counts since the
 * broker's start, or again and again, with rates between two samples. */
#ifndef MMQ_VIEW_H
#define MMQ_VIEW_H

#include "clients/commands/canvas.h"
#include "clients/commands/grid.h"
#include "clients/commands/sample.h"

/* Of the op `spool`; NaN: not known. */
typedef struct mmq_spool_sample {
    bool known;  /* a feedback worker told it */
    bool denied; /* this key may not ask for it */
    double jobs, bytes, oldest_s, quarantined, waiting, settings, held;
    char error[160]; /* any bytes */
    size_t error_size;
} mmq_spool_sample;

/* Of the op `store`. */
typedef struct mmq_store_sample {
    bool known;  /* a query worker told it */
    bool denied; /* this key may not ask for it */
    double bytes, log_bytes, free_bytes, disk_free_bytes;
} mmq_store_sample;

void mmq_spool_sample_read(mmq_reader map, mmq_spool_sample *out);
void mmq_store_sample_read(mmq_reader map, mmq_store_sample *out);

enum { MMQ_VIEW_SERVICES, MMQ_VIEW_WORKERS, MMQ_VIEW_TABLES };

/* How one table is shown; keys change it. */
typedef struct mmq_view_table {
    size_t sorted_by;
    bool ascending;
    size_t offset;
} mmq_view_table;

typedef struct mmq_view {
    const char *endpoint;     /* borrowed */
    const mmq_sample *now;    /* borrowed; NULL: none came yet */
    const mmq_sample *before; /* borrowed; NULL: there is none */
    const mmq_spool_sample *spool;
    const mmq_store_sample *store;
    bool watching;   /* rates, and a line about keys */
    bool help;       /* what the keys do, in place of the tables */
    double silent_s; /* the broker has not answered for so long; 0: it does */
    size_t focus;
    mmq_view_table tables[MMQ_VIEW_TABLES];
} mmq_view;

/* Everything borrowed is set by the caller; tables sort by name. */
void mmq_view_init(mmq_view *view, bool watching);
/* Columns of a table. */
size_t mmq_view_columns(size_t table);
/* Draws; offsets of tables are brought into range. MMQ_ENOMEM. */
mmq_err mmq_view_draw(mmq_view *view, mmq_canvas *canvas) MMQ_MUST_USE;

#endif
