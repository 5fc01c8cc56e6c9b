/* Chained buckets. The hash starts from a random seed, since peers choose keys. Where there is no
 * memory for more buckets the chains grow longer, so adding never fails. */
#include "broker/table.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/digest.h"

enum { BUCKETS_MIN = 64 };

mmq_err mmq_table_init(mmq_table *table)
{
    *table = (mmq_table){.bucket_count = BUCKETS_MIN};
    mmq_random(&table->seed, sizeof table->seed);
    table->buckets = calloc(table->bucket_count, sizeof(mmq_table_item *));
    return table->buckets != NULL ? MMQ_OK : MMQ_ENOMEM;
}

void mmq_table_clear(mmq_table *table)
{
    free(table->buckets);
    *table = (mmq_table){0};
}

static uint64_t mix(uint64_t hash)
{
    hash = (hash ^ (hash >> 32)) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ (hash >> 29);
}

/* Eight bytes at a time; the rest with its length, so that zeros at the end count. */
static uint64_t hash_bytes(uint64_t seed, const void *key, size_t size)
{
    const uint8_t *bytes = key;
    uint64_t hash = seed ^ size, word;
    for (; size >= sizeof word; size -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = mix(hash ^ word);
    }
    word = 0;
    memcpy(&word, bytes, size);
    return mix(mix(hash ^ word));
}

static mmq_table_item **bucket_of(const mmq_table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->bucket_count - 1)];
}

mmq_table_item *mmq_table_find(const mmq_table *table, const void *key, size_t key_size)
{
    uint64_t hash = hash_bytes(table->seed, key, key_size);
    mmq_table_item *item = *bucket_of(table, hash);
    while (item != NULL && !(item->hash == hash && item->key_size == key_size &&
                             memcmp(item->key, key, key_size) == 0)) {
        item = item->next;
    }
    return item;
}

static void insert_item(mmq_table *table, mmq_table_item *item)
{
    mmq_table_item **bucket = bucket_of(table, item->hash);
    item->next = *bucket;
    *bucket = item;
}

static void grow_table(mmq_table *table)
{
    mmq_table old = *table;
    table->buckets = calloc(old.bucket_count * 2, sizeof(mmq_table_item *));
    if (table->buckets == NULL) {
        table->buckets = old.buckets;
        return;
    }
    table->bucket_count = old.bucket_count * 2;
    for (size_t i = 0; i < old.bucket_count; i++) {
        mmq_table_item *item = old.buckets[i];
        while (item != NULL) {
            mmq_table_item *next = item->next;
            insert_item(table, item);
            item = next;
        }
    }
    free(old.buckets);
}

void mmq_table_add(mmq_table *table, mmq_table_item *item, const void *key, size_t key_size)
{
    if (table->count >= table->bucket_count) {
        grow_table(table);
    }
    item->key = key;
    item->key_size = key_size;
    item->hash = hash_bytes(table->seed, key, key_size);
    insert_item(table, item);
    table->count++;
}

void mmq_table_remove(mmq_table *table, mmq_table_item *item)
{
    mmq_table_item **at = bucket_of(table, item->hash);
    while (*at != item) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = item->next;
    item->next = NULL;
    table->count--;
}
