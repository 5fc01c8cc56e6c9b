/* Writing a manual page in roff's man macros: text with a little markup goes in, nothing in it can
 * be taken for a request of roff's. Errors of the stream show when it is closed. */
#ifndef MMQ_ROFF_H
#define MMQ_ROFF_H

#include <stdbool.h>
#include <stdio.h>

#include "metricmq/error.h"

typedef struct mmq_page {
    const char *name; /* "metricmq-query" */
    int section;
    const char *description; /* of the NAME section: one line, without a full stop */
} mmq_page;

/* A page being written. */
typedef struct mmq_roff {
    FILE *out;  /* borrowed */
    bool fresh; /* a heading stands before us: a paragraph need not begin */
} mmq_roff;

/* The title line and the section NAME. */
void mmq_roff_begin(mmq_roff *roff, const mmq_page *page);
/* level 1: a section; 2: one within it. Titles may have markup. */
mmq_err mmq_roff_heading(mmq_roff *roff, int level, const char *title, mmq_why *why) MMQ_MUST_USE;
/* Running text: `code`, **strong**, *emphasis*, [words](address); a backslash takes the markup from
 * the sign behind it. Any white space is a space. MMQ_EINVAL: markup that is not closed. */
mmq_err mmq_roff_text(mmq_roff *roff, const char *text, mmq_why *why) MMQ_MUST_USE;
/* A new paragraph begins. */
void mmq_roff_paragraph(mmq_roff *roff);
/* What follows begins a line. */
void mmq_roff_break(mmq_roff *roff);
/* An item of a list: with `tag` (markup as above) before its text, which follows; NULL: a dot. */
mmq_err mmq_roff_item(mmq_roff *roff, const char *tag, mmq_why *why) MMQ_MUST_USE;
/* Lines that stay as they are, between begin and end. `text` is one, without its line break. */
void mmq_roff_verbatim_begin(mmq_roff *roff);
void mmq_roff_verbatim(mmq_roff *roff, const char *text);
void mmq_roff_verbatim_end(mmq_roff *roff);

#endif
