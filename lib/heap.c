/* Invariant: items[i]->index == i, and no item's key is less than its parent's. */
#include "lib/heap.h"

#include <stdlib.h>

#include "lib/check.h"

void mmq_heap_init(mmq_heap *heap)
{
    *heap = (mmq_heap){0};
}

void mmq_heap_clear(mmq_heap *heap)
{
    free(heap->items);
    mmq_heap_init(heap);
}

mmq_err mmq_heap_reserve(mmq_heap *heap, size_t count)
{
    if (count <= heap->capacity) {
        return MMQ_OK;
    }
    size_t capacity = heap->capacity < 8 ? 8 : heap->capacity;
    while (capacity < count) {
        capacity *= 2;
    }
    mmq_heap_item **items = reallocarray(heap->items, capacity, sizeof(mmq_heap_item *));
    if (items == NULL) {
        return MMQ_ENOMEM;
    }
    heap->items = items;
    heap->capacity = capacity;
    return MMQ_OK;
}

void mmq_heap_item_init(mmq_heap_item *item)
{
    *item = (mmq_heap_item){.index = SIZE_MAX};
}

bool mmq_heap_has(const mmq_heap_item *item)
{
    return item->index != SIZE_MAX;
}

static void place_item(mmq_heap *heap, size_t index, mmq_heap_item *item)
{
    heap->items[index] = item;
    item->index = index;
}

static void rise_item(mmq_heap *heap, mmq_heap_item *item)
{
    size_t index = item->index;
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (heap->items[parent]->key <= item->key) {
            break;
        }
        place_item(heap, index, heap->items[parent]);
        index = parent;
    }
    place_item(heap, index, item);
}

static void sink_item(mmq_heap *heap, mmq_heap_item *item)
{
    size_t index = item->index;
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && heap->items[child + 1]->key < heap->items[child]->key) {
            child++;
        }
        if (heap->items[child]->key >= item->key) {
            break;
        }
        place_item(heap, index, heap->items[child]);
        index = child;
    }
    place_item(heap, index, item);
}

void mmq_heap_put(mmq_heap *heap, mmq_heap_item *item, int64_t key)
{
    if (!mmq_heap_has(item)) {
        CHECK(heap->count < heap->capacity);
        place_item(heap, heap->count++, item);
    }
    CHECK(heap->items[item->index] == item);
    item->key = key;
    rise_item(heap, item);
    sink_item(heap, item);
}

void mmq_heap_remove(mmq_heap *heap, mmq_heap_item *item)
{
    if (!mmq_heap_has(item)) {
        return;
    }
    CHECK(heap->items[item->index] == item);
    mmq_heap_item *last = heap->items[--heap->count];
    if (last != item) {
        place_item(heap, item->index, last);
        rise_item(heap, last);
        sink_item(heap, last);
    }
    item->index = SIZE_MAX;
}

mmq_heap_item *mmq_heap_first(const mmq_heap *heap)
{
    return heap->count > 0 ? heap->items[0] : NULL;
}
