/* A hash table of intrusive items by bytes. */
#ifndef MMQ_BROKER_TABLE_H
#define MMQ_BROKER_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "metricmq/error.h"

typedef struct mmq_table_item {
    struct mmq_table_item *next; /* in its bucket */
    uint64_t hash;
    const void *key; /* lives as long as the item is in the table */
    size_t key_size;
} mmq_table_item;

typedef struct mmq_table {
    mmq_table_item **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    uint64_t seed;
} mmq_table;

mmq_err mmq_table_init(mmq_table *table) MMQ_MUST_USE;
/* Frees the buckets, not the items. */
void mmq_table_clear(mmq_table *table);
/* NULL if there is none. */
mmq_table_item *mmq_table_find(const mmq_table *table, const void *key, size_t key_size);
/* No item with that key may be there. */
void mmq_table_add(mmq_table *table, mmq_table_item *item, const void *key, size_t key_size);
/* The item must be there. */
void mmq_table_remove(mmq_table *table, mmq_table_item *item);

#endif
