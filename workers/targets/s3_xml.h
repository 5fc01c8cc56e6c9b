/* The little of XML that stores answer with: elements found by name, and their text. Input is
 * hostile; nothing is allocated. Any thread. */
#ifndef MMQ_S3_XML_H
#define MMQ_S3_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/fields.h"

/* True if the document's outermost element has that name. */
bool mmq_s3_xml_root(const char *xml, size_t size, const char *name);
/* Finds the next element of that name, at any depth, from *at on, and moves *at behind it. *inner
 * is what is between its tags. Starts with *at = 0; false when there is no other, whole one. */
bool mmq_s3_xml_next(const char *xml, size_t size, size_t *at, const char *name, mmq_slice *inner);
/* The text of the first element of that name, its references decoded, with a NUL. False, and "",
 * if there is none, if it does not fit, or if it holds anything but text. */
bool mmq_s3_xml_text(const char *xml, size_t size, const char *name, char *out, size_t room);

#endif
