/* Which metrics changed lately, and at which commit: what the write worker remembers for those who
 * watch. In memory only, bounded. Used by one thread. */
#ifndef MMQ_CHANGES_H
#define MMQ_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buffer.h"

enum {
    MMQ_CHANGES_KEPT = 4096, /* metrics that are remembered */
    MMQ_CHANGES_TOLD = 1000, /* of one answer */
};

typedef struct mmq_changes mmq_changes;

/* Nothing is known of commits up to `commit`. NULL: no memory. */
mmq_changes *mmq_changes_new(int64_t commit);
void mmq_changes_destroy(mmq_changes **changes);
/* As new. */
void mmq_changes_forget(mmq_changes *changes, int64_t commit);
/* The metric changed at `commit`, which is none before the last that was noted. last_rowid -1: it
 * is gone. */
void mmq_changes_note(mmq_changes *changes, int64_t commit, const char *uid, int64_t last_rowid);
/* The last commit that was noted, or that new or forget was given. */
int64_t mmq_changes_newest(const mmq_changes *changes);
/* Packs an array of [uid, last_rowid | nil], of what changed after `since`. False, and nothing is
 * packed: it is too much, or no longer known. */
bool mmq_changes_pack(const mmq_changes *changes, int64_t since, mmq_buffer *out);

#endif
