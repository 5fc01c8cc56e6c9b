/* What the adapter's creations share; private to this room. */
#ifndef MMQ_CREATE_H
#define MMQ_CREATE_H

#include <stddef.h>
#include <sys/queue.h>

struct mmq_adapter;
typedef struct mmq_creation mmq_creation;
TAILQ_HEAD(mmq_creation_list, mmq_creation);

/* Ends what an exchange had begun: its calls are forgotten, its memory is freed, at once or when
 * the helper is done with it. */
void mmq_creation_destroy(mmq_creation **creation);
/* Sends the calls that there is room for: also what ended without a word has made some. */
void mmq_creations_step(struct mmq_adapter *adapter);

#endif
