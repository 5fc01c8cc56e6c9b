/* F51: trees whose pages lead to the same page many times over. Each page is as SQLite wants it, no
 * way through leads round in a circle, and nobody would live to see the end of a walk: WAYS ^
 * LEVELS leaves. No statement may take more steps than a file of that size can need. */
#include "store_world.h"
#include "old_store.h"

enum { PAGE = 4096, LEVELS = 14, WAYS = 100, PATIENCE_S = 240 };

static uint8_t *image;
static size_t pages;

static void load_image(void)
{
    FILE *file = fopen(world_path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    pages = (size_t)ftell(file) / PAGE;
    rewind(file);
    image = calloc(pages + LEVELS + 3, PAGE);
    assert_non_null(image);
    assert_int_equal(fread(image, PAGE, pages, file), pages);
    assert_int_equal(fclose(file), 0);
}

static void save_image(void)
{
    FILE *file = fopen(world_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(image, PAGE, pages, file), pages);
    assert_int_equal(fclose(file), 0);
    free(image);
}

static uint8_t *page_at(size_t number)
{
    return image + (number - 1) * PAGE;
}

static void put16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, size_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static size_t get16(const uint8_t *at)
{
    return (size_t)at[0] << 8 | at[1];
}

/* Number of a new page behind all others. */
static size_t add_page(void)
{
    pages++;
    put32(page_at(1) + 28, pages);
    return pages;
}

/* Makes an interior page of `number`: WAYS cells, each with `rest` behind the number of the page
 * it leads to. The last way leads to the same page. */
static void put_crossing(size_t number, uint8_t kind, const uint8_t *rest, size_t size, size_t to)
{
    const size_t head = number == 1 ? 100 : 0, cell = 4 + size, content = PAGE - WAYS * cell;
    uint8_t *page = page_at(number);
    memset(page + head, 0, PAGE - head);
    page[head] = kind;
    put16(page + head + 3, WAYS);
    put16(page + head + 5, content);
    put32(page + head + 8, to);
    for (size_t i = 0; i < WAYS; i++) {
        const size_t at = content + i * cell;
        put16(page + head + 12 + 2 * i, at);
        put32(page + at, to);
        memcpy(page + at + 4, rest, size);
    }
}

/* Crossings upon the page `to`; the number of the uppermost. */
static size_t build_maze(uint8_t kind, const uint8_t *rest, size_t size, size_t to)
{
    for (size_t i = 0; i < LEVELS; i++) {
        const size_t next = add_page();
        put_crossing(next, kind, rest, size, to);
        to = next;
    }
    return to;
}

/* Number of the first page of a table or an index. */
static size_t root_of(const char *name)
{
    sqlite3 *db;
    sqlite3_stmt *at;
    static const char sql[] = "SELECT rootpage FROM sqlite_schema WHERE name = ?";
    assert_int_equal(sqlite3_open(world_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &at, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_bind_text(at, 1, name, -1, SQLITE_STATIC), SQLITE_OK);
    assert_int_equal(sqlite3_step(at), SQLITE_ROW);
    const size_t root = (size_t)sqlite3_column_int(at, 0);
    assert_int_equal(sqlite3_finalize(at), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return root;
}

enum { TABLE_LEAF = 13, TABLE_CROSSING = 5, INDEX_CROSSING = 2 };

/* The tree's only page becomes a crossing; what was there is at the end of all ways. */
static void tangle(const char *name)
{
    const size_t root = root_of(name);
    load_image();
    const size_t leaf = add_page();
    memcpy(page_at(leaf), page_at(root), PAGE);
    const uint8_t *cell = page_at(leaf) + get16(page_at(leaf) + 8);
    const bool table = page_at(leaf)[0] == TABLE_LEAF;
    const size_t size = table ? 1 : 1U + cell[0]; /* a table's key; an index's whole record */
    const uint8_t kind = table ? TABLE_CROSSING : INDEX_CROSSING;
    put_crossing(root, kind, table ? cell + 1 : cell, size,
                 build_maze(kind, table ? cell + 1 : cell, size, leaf));
    save_image();
}

/* The schema as it was comes first, and then no end of lines that name an index of it again. */
static void tangle_schema(void)
{
    static const char *const texts[] = {"index", "sqlite_autoindex_metric_1", "metric"};
    static const uint8_t key[] = {100};
    const size_t root = root_of(texts[1]);
    load_image();
    const size_t first = add_page(), leaf = add_page();
    memcpy(page_at(first), page_at(1), PAGE);
    memmove(page_at(first), page_at(1) + 100, 8 + 2 * get16(page_at(1) + 103));
    uint8_t record[64], *at = record + 2 + 6;
    record[1] = 100; /* the key; then the record's head: its size and five types */
    record[2] = 6;
    for (size_t i = 0; i < 3; i++) {
        record[3 + i] = (uint8_t)(13 + 2 * strlen(texts[i]));
        at += sprintf((char *)at, "%s", texts[i]);
    }
    record[6] = 2;
    record[7] = 0;
    put16(at, root);
    record[0] = (uint8_t)(at + 2 - (record + 2));
    const size_t size = record[0] + 2U, content = PAGE - size;
    uint8_t *page = page_at(leaf);
    page[0] = TABLE_LEAF;
    put16(page + 3, 1);
    put16(page + 5, content);
    put16(page + 8, content);
    memcpy(page + content, record, size);
    put_crossing(1, TABLE_CROSSING, key, 1, build_maze(TABLE_CROSSING, key, 1, leaf));
    put32(page_at(1) + get16(page_at(1) + 112), first);
    save_image();
}

static int begin(void **state)
{
    (void)state;
    static world_rows rows;
    mmq_appended out;
    world_begin();
    world_set(&rows, 0, 1000, 1, NAN);
    mmq_store *store = world_open(MMQ_STORE_WRITE);
    assert_ok(mmq_store_begin_write(store, &why));
    assert_ok(world_create(store, "a", "a"));
    assert_ok(mmq_store_commit(store, &why));
    assert_ok(world_append(store, "a", 0, &rows, 0, 1, &out));
    mmq_store_close(&store);
    (void)alarm(PATIENCE_S); /* a walk without an end fails the test */
    return 0;
}

static int end(void **state)
{
    (void)state;
    (void)alarm(0);
    world_end();
    return 0;
}

static void assert_maze(mmq_err err)
{
    assert_int_equal(err, MMQ_ECORRUPT);
    if (strstr(why.text, "more steps than a sound") == NULL) {
        fail_msg("%s", why.text);
    }
}

static void test_an_index(void **state)
{
    (void)state;
    mmq_snapshot snapshot;
    int64_t unscored;
    tangle("metric_unscored");
    mmq_store *store = world_open(MMQ_STORE_READ);
    assert_ok(mmq_store_begin_read(store, &snapshot, &why));
    assert_maze(mmq_store_unscored(store, &unscored, &why));
    mmq_store_end_read(store);
    mmq_store_close(&store);
}

/* An index that is dropped on the way from version 1: SQLite walks it without steps that could be
 * counted, and must end by itself, with a map of its pages (auto_vacuum) and without. */
static void test_an_index_of_an_earlier_version(void **state)
{
    (void)state;
    mmq_store *store;
    static world_rows rows;
    world_set(&rows, 0, 1000, 1, NAN);
    const mmq_write_rows view = world_view(&rows, 0, 1);
    const char *const schemas[] = {old_schema, strstr(old_schema, "BEGIN;")};
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        world_end();
        world_begin();
        old_run(schemas[i]);
        old_metric(1, "a", &view);
        tangle("row_by_rowid");
        assert_int_equal(mmq_store_open(world_url, MMQ_STORE_WRITE, &store, &why), MMQ_ECORRUPT);
    }
}

static void test_the_schema(void **state)
{
    (void)state;
    mmq_store *store;
    tangle_schema();
    assert_maze(mmq_store_open(world_url, MMQ_STORE_READ, &store, &why));
    assert_maze(mmq_store_open(world_url, MMQ_STORE_WRITE, &store, &why));
}

static bool go_on(void *context, const char *doing, int64_t done, int64_t total)
{
    (void)context, (void)doing, (void)done, (void)total;
    return true;
}

static void take_fault(void *context, const char *text)
{
    *(bool *)context |= strstr(text, "more steps than a sound") != NULL;
}

/* The check comes to its end and tells. */
static void test_a_table_in_a_check(void **state)
{
    (void)state;
    bool told = false;
    const mmq_store_watch watch = {.context = &told, .at = go_on, .fault = take_fault};
    mmq_store_sums sums;
    tangle("metric");
    mmq_store *store = world_open(MMQ_STORE_READ);
    assert_ok(mmq_store_check(store, &watch, &sums, &why));
    assert_true(told);
    mmq_store_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_index),
        TEST(test_an_index_of_an_earlier_version),
        TEST(test_the_schema),
        TEST(test_a_table_in_a_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
