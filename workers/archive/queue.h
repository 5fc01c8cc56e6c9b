/* Pieces of bytes, and the queues in which the stages of an archive hand them to each other. There
 * are PIECES of a kind: they go from one stage to the next full and come back empty, so that a
 * queue always has room, and who takes from it waits for the other stage at most. With fewer of
 * them a stage runs dry while the scheduler lets the others of its CPU run (4: a third slower). */
#ifndef MMQ_QUEUE_H
#define MMQ_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MMQ_PIECES = 8 };

typedef enum mmq_piece_kind {
    MMQ_PIECE_BYTES,
    MMQ_PIECE_HEAD, /* room for an entry's head: these bytes are not the file's last word */
    MMQ_PIECE_END,  /* nothing follows */
} mmq_piece_kind;

typedef struct mmq_piece {
    mmq_piece_kind kind;
    bool begins, ends; /* an entry */
    size_t size;
    uint8_t *data; /* the room is as large as the kind's pieces are */
} mmq_piece;

/* The mutex guards two threads' only way to meet; it is held for some instructions at a time. */
typedef struct mmq_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    size_t first, count;
    mmq_piece *pieces[MMQ_PIECES + 1]; /* and the one that ends */
} mmq_queue;

void mmq_queue_init(mmq_queue *queue);
void mmq_queue_clear(mmq_queue *queue);
void mmq_queue_put(mmq_queue *queue, mmq_piece *piece);
/* Waits until there is one. */
mmq_piece *mmq_queue_take(mmq_queue *queue);

#endif
