/* Whether we may use the files and folders that an operator names, as this process is now. Nothing
 * is made or opened; what holds now need not hold later, so this is for telling people, never
 * instead of looking at what a call says. Symlinks are the operator's business. Any thread. */
#ifndef MMQ_PLACES_H
#define MMQ_PLACES_H

#include <stdbool.h>

#include "metricmq/error.h"

/* A file that can be read. MMQ_ENOTFOUND: it is not there; MMQ_EINVAL: it is no file, or is not to
 * be read. */
mmq_err mmq_place_file(const char *path, mmq_why *why) MMQ_MUST_USE;
/* A folder that files can be made in, or that can be made; with `parents` those are made too. */
mmq_err mmq_place_folder(const char *path, bool parents, mmq_why *why) MMQ_MUST_USE;
/* As mmq_place_folder for the folder that holds the path, which must be there. */
mmq_err mmq_place_beside(const char *path, mmq_why *why) MMQ_MUST_USE;

#endif
