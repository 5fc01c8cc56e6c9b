/* A document in Markdown becomes a manual page. */
#ifndef MMQ_MARKDOWN_H
#define MMQ_MARKDOWN_H

#include <stdio.h>

#include "clients/documents/roff.h"

/* Reads the document from `in` and writes the page, NAME included, to `out`. `see`: text of the
 * last section, with markup. What a page cannot show as it was meant is refused: MMQ_EINVAL, the
 * sentence names the line. */
mmq_err mmq_markdown_page(FILE *in, FILE *out, const mmq_page *page, const char *see,
                          mmq_why *why) MMQ_MUST_USE;

#endif
