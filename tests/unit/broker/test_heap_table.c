/* The heap against a plain search, the table against an array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/table.h"
#include "lib/heap.h"

enum { ITEMS = 500, STEPS = 20000 };

static int64_t least_key(const mmq_heap_item *items)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < ITEMS; i++) {
        if (mmq_heap_has(&items[i]) && items[i].key < least) {
            least = items[i].key;
        }
    }
    return least;
}

static void test_heap(void **state)
{
    (void)state;
    static mmq_heap_item items[ITEMS];
    mmq_heap heap;
    mmq_heap_init(&heap);
    assert_int_equal(mmq_heap_reserve(&heap, ITEMS), MMQ_OK);
    for (size_t i = 0; i < ITEMS; i++) {
        mmq_heap_item_init(&items[i]);
    }
    srand(1);
    for (int step = 0; step < STEPS; step++) {
        mmq_heap_item *item = &items[rand() % ITEMS];
        if (rand() % 3 == 0) {
            mmq_heap_remove(&heap, item);
        } else {
            mmq_heap_put(&heap, item, rand() % 1000);
        }
        const mmq_heap_item *first = mmq_heap_first(&heap);
        assert_true(first == NULL ? heap.count == 0 : first->key == least_key(items));
    }
    mmq_heap_clear(&heap);
}

static void test_table(void **state)
{
    (void)state;
    static mmq_table_item items[ITEMS];
    static char keys[ITEMS][16];
    bool in[ITEMS] = {false};
    mmq_table table;
    assert_int_equal(mmq_table_init(&table), MMQ_OK);
    srand(2);
    for (int step = 0; step < STEPS; step++) {
        size_t i = (size_t)rand() % ITEMS;
        int size = snprintf(keys[i], sizeof keys[i], "key%zu", i);
        mmq_table_item *found = mmq_table_find(&table, keys[i], (size_t)size);
        assert_ptr_equal(found, in[i] ? &items[i] : NULL);
        if (in[i]) {
            mmq_table_remove(&table, &items[i]);
        } else {
            mmq_table_add(&table, &items[i], keys[i], (size_t)size);
        }
        in[i] = !in[i];
    }
    assert_null(mmq_table_find(&table, "key", 3));
    mmq_table_clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
