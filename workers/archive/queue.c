/* See the header. */
#include "workers/archive/queue.h"

#include "lib/check.h"

enum { PLACES = MMQ_PIECES + 1 };

void mmq_queue_init(mmq_queue *queue)
{
    *queue = (mmq_queue){.count = 0};
    CHECK(pthread_mutex_init(&queue->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&queue->filled, NULL) == 0);
}

void mmq_queue_clear(mmq_queue *queue)
{
    (void)pthread_cond_destroy(&queue->filled);
    (void)pthread_mutex_destroy(&queue->mutex);
}

void mmq_queue_put(mmq_queue *queue, mmq_piece *piece)
{
    pthread_mutex_lock(&queue->mutex);
    CHECK(queue->count < PLACES);
    queue->pieces[(queue->first + queue->count++) % PLACES] = piece;
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->mutex);
}

mmq_piece *mmq_queue_take(mmq_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    while (queue->count == 0) {
        pthread_cond_wait(&queue->filled, &queue->mutex);
    }
    mmq_piece *piece = queue->pieces[queue->first];
    queue->first = (queue->first + 1) % PLACES;
    queue->count--;
    pthread_mutex_unlock(&queue->mutex);
    return piece;
}
