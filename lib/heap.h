/* A binary min-heap of intrusive items that know their index, so that any of them can leave. */
#ifndef MMQ_HEAP_H
#define MMQ_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

typedef struct mmq_heap_item {
    int64_t key;
    size_t index; /* SIZE_MAX: in no heap */
} mmq_heap_item;

typedef struct mmq_heap {
    mmq_heap_item **items;
    size_t count;
    size_t capacity;
} mmq_heap;

void mmq_heap_init(mmq_heap *heap);
/* Frees the array, not the items. */
void mmq_heap_clear(mmq_heap *heap);
/* Room for `count` items in all, so that putting them in cannot fail. */
mmq_err mmq_heap_reserve(mmq_heap *heap, size_t count) MMQ_MUST_USE;

void mmq_heap_item_init(mmq_heap_item *item);
bool mmq_heap_has(const mmq_heap_item *item);
/* Puts the item in, or moves it to another key. There must be room (mmq_heap_reserve). */
void mmq_heap_put(mmq_heap *heap, mmq_heap_item *item, int64_t key);
/* Harmless for an item that is in no heap. */
void mmq_heap_remove(mmq_heap *heap, mmq_heap_item *item);
/* The item with the least key, NULL if there is none. */
mmq_heap_item *mmq_heap_first(const mmq_heap *heap);

#endif
