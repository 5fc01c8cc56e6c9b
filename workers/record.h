/* A metric's record on the wire: a msgpack map with these keys in this order: uid, datasource,
 * name, description, server, location, parameters (a map), status, message, last_timestamp (text or
 * nil), poll_interval, tag_name, last_rowid, display_name. */
#ifndef MMQ_RECORD_H
#define MMQ_RECORD_H

#include <stddef.h>

#include "lib/buffer.h"
#include "workers/store/store.h"

/* Appends the record. MMQ_ECORRUPT if the stored parameters are not JSON. */
mmq_err mmq_record_pack(mmq_buffer *out, const mmq_metric *metric, mmq_why *why) MMQ_MUST_USE;
/* Reads a record that a client sent to be created: needs datasource and name, fills in what else
 * creation makes (uid, identity, server, location, description, status 1, poll_interval 300, and of
 * a custom metric parameters, which a cloudwatch metric needs: cloudwatch.h), takes and ignores
 * last_timestamp, last_rowid and display_name; unknown keys are MMQ_EINVAL. *out is zeroed first
 * and the caller's to clear. */
mmq_err mmq_record_read(const void *packed, size_t size, mmq_metric *out,
                        mmq_why *why) MMQ_MUST_USE;

#endif
