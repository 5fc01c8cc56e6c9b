/* What `metricmq status` draws with: numbers, text of strangers, tables, samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "clients/commands/canvas.h"
#include "clients/commands/grid.h"
#include "clients/commands/sample.h"
#include "lib/buffer.h"
#include "metricmq/pack.h"
#include "lib/splitmix.h"

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        void (*print)(double value, char out[MMQ_CELL_MAX]);
        double value;
        const char *text;
    } cases[] = {
        {mmq_print_count, NAN, "-"},
        {mmq_print_count, -1, "-"},
        {mmq_print_count, 0, "0"},
        {mmq_print_count, 999, "999"},
        {mmq_print_count, 1000, "1,000"},
        {mmq_print_count, 999999, "999,999"},
        {mmq_print_count, 999999.9, "1.00M"},
        {mmq_print_count, 12345678, "12.3M"},
        {mmq_print_count, 1e18, "1.00E"},
        {mmq_print_count, INFINITY, "-"},
        {mmq_print_rate, 0, "0"},
        {mmq_print_rate, 0.04, "0.0"},
        {mmq_print_rate, 9.94, "9.9"},
        {mmq_print_rate, 9.96, "10"},
        {mmq_print_bytes, 0, "0 B"},
        {mmq_print_bytes, 999, "999 B"},
        {mmq_print_bytes, 1000, "0.98 KiB"},
        {mmq_print_bytes, 1023.9 * 1024, "1.00 MiB"},
        {mmq_print_bytes, 1536, "1.50 KiB"},
        {mmq_print_bytes, 9.2e18, "7.98 EiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[MMQ_CELL_MAX];
        cases[i].print(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "0us"},        {0.00012, "120us"}, {0.0009994, "999us"},
                 {0.001, "1.00ms"}, {0.0345, "34.5ms"}, {0.9994, "999ms"},
                 {1, "1.0s"},       {59.6, "60s"},      {119, "119s"},
                 {120, "2m"},       {7199, "119m"},     {7200, "2h"},
                 {1e6, "11d"},      {-1, "-"},          {NAN, "-"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[MMQ_CELL_MAX];
        mmq_print_time(cases[i].seconds, false, text);
        assert_string_equal(text, cases[i].text);
    }
}

/* Whatever a name holds, of what is drawn nothing steers a terminal and the width is kept. */
static void test_text_of_strangers(void **state)
{
    (void)state;
    mmq_splitmix seed = {7};
    for (int round = 0; round < 20000; round++) {
        char name[24];
        size_t size = mmq_splitmix_next(&seed) % sizeof name;
        bool utf8 = mmq_splitmix_next(&seed) % 2 == 0;
        for (size_t i = 0; i < size; i++) {
            static const char some[] = "\033\x9b\xc2\x80\xc3\xbc\xe2\x80\xae\n\r\x07";
            uint64_t random = mmq_splitmix_next(&seed);
            name[i] = random % 2 ? (char)(random >> 8) : some[(random >> 8) % (sizeof some - 1)];
        }
        mmq_buffer out;
        mmq_buffer_init(&out, 1000);
        mmq_canvas canvas = {.out = &out, .utf8 = utf8};
        mmq_canvas_foreign(&canvas, MMQ_STYLE_BAD, name, size, 10);
        unsigned columns = 0;
        for (size_t i = 0; i < out.size; i++) {
            unsigned char byte = out.data[i];
            columns += (byte & 0xC0) != 0x80;
            assert_true(byte >= 0x20 && byte != 0x7f);
            assert_true(utf8 || byte < 0x80);
            assert_false(byte == 0xC2 && out.data[i + 1] < 0xA0);
        }
        assert_int_equal(columns, 10);
        mmq_buffer_clear(&out);
    }
}

static void expect_drawn(mmq_grid *grid, unsigned columns, size_t lines, const char *text)
{
    mmq_buffer out;
    mmq_buffer_init(&out, 1000);
    mmq_canvas canvas = {.out = &out, .columns = columns};
    mmq_grid_sort(grid);
    mmq_grid_draw(grid, &canvas, lines);
    assert_string_equal(mmq_buffer_cstr(&out), text);
    mmq_buffer_clear(&out);
}

static void test_tables(void **state)
{
    (void)state;
    static const mmq_column columns[] = {
        {"NAME", MMQ_CELL_TEXT, 6, 0}, {"A", MMQ_CELL_COUNT, 3, 2}, {"B", MMQ_CELL_SHARE, 4, 1}};
    mmq_row rows[] = {
        {.cells = {{.text = "x", .size = 1}, {.value = NAN}, {.value = 1, .of = 2}}},
        {.cells = {{.text = "longer than", .size = 11}, {.value = 5}, {.value = 1, .of = 4}},
         .marked = true},
        {.cells = {{.text = "y", .size = 1}, {.value = 7}, {.value = 0, .of = 9}}}};
    mmq_grid grid = {columns, 3, rows, 3, .sorted_by = 1};
    expect_drawn(&grid, 0, 0,
                 "  NAME     Av     B\n  y         7   0/9\n! longe~    5   1/4\n"
                 "  x         -   1/2\n");
    grid.sorted_by = 2;
    expect_drawn(&grid, 14, 3, "  NAME      Bv\n  x        1/2\n  1 of 3\n");
    grid.sorted_by = 0;
    grid.ascending = true;
    grid.offset = 9;
    expect_drawn(&grid, 8, 0, "  NAME^\n  y     \n  x     \n! longe~\n");
    grid.ascending = false;
    grid.offset = 9;
    expect_drawn(&grid, 5, 3, "  NAM\n  y  \n  1 o\n");
}

static void test_spreads(void **state)
{
    (void)state;
    mmq_spread before = {2, {0.001, 0.01}, {5, 5}}, now = {2, {0.001, 0.01}, {15, 105}};
    mmq_spread since = mmq_spread_since(&before, &now);
    assert_true(since.buckets == 2 && since.counts[0] == 10 && since.counts[1] == 100);
    assert_true(fabs(mmq_spread_quantile(&since, 1) - 0.01) < 1e-12);
    assert_true(fabs(mmq_spread_quantile(&since, 5.0 / 110) - 0.0005) < 1e-12);
    assert_true(fabs(mmq_spread_quantile(&since, 60.0 / 110) - 0.0055) < 1e-12);
    since = mmq_spread_since(&now, &before); /* another broker's */
    assert_true(since.buckets == 0 && isnan(mmq_spread_quantile(&since, 0.5)));
    since = mmq_spread_since(&now, &now);
    assert_true(isnan(mmq_spread_quantile(&since, 0.5)));
}

/* Samples of whatever bytes a peer sends: none is read past its end, nothing is kept twice. */
static void test_samples_of_anything(void **state)
{
    (void)state;
    mmq_buffer good;
    mmq_buffer_init(&good, 10000);
    mmq_pack_map(&good, 2);
    mmq_pack_cstr(&good, "services");
    mmq_pack_map(&good, 3);
    for (int i = 0; i < 3; i++) {
        char name[] = {(char)('c' - i), '\0'};
        mmq_pack_cstr(&good, name);
        mmq_pack_map(&good, 1);
        mmq_pack_cstr(&good, "requests");
        mmq_pack_int(&good, i);
    }
    mmq_pack_cstr(&good, "workers");
    mmq_pack_array(&good, 1);
    mmq_pack_map(&good, 1);
    mmq_pack_cstr(&good, "number");
    mmq_pack_int(&good, 9);
    mmq_splitmix seed = {11};
    for (int round = 0; round < 20000; round++) {
        mmq_sample sample;
        mmq_why why;
        uint8_t *bytes = malloc(good.size);
        assert_non_null(bytes);
        memcpy(bytes, good.data, good.size);
        for (int n = round == 0 ? 0 : 3; n > 0; n--) {
            bytes[mmq_splitmix_next(&seed) % good.size] = (uint8_t)mmq_splitmix_next(&seed);
        }
        mmq_reader reader;
        mmq_reader_init(&reader, bytes, good.size);
        if (mmq_sample_read(reader, &sample, &why) == MMQ_OK) {
            const mmq_service_sample b = {.name = "b", .name_size = 1};
            const mmq_service_sample *found = mmq_sample_service(&sample, &b);
            assert_true(round > 0 || (found != NULL && found->requests == 1));
            assert_true(round > 0 || sample.workers[0].number == 9);
            mmq_sample_clear(&sample);
        }
        free(bytes);
    }
    mmq_buffer_clear(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),           cmocka_unit_test(test_times),
        cmocka_unit_test(test_text_of_strangers), cmocka_unit_test(test_tables),
        cmocka_unit_test(test_spreads),           cmocka_unit_test(test_samples_of_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
