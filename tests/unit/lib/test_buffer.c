/* The buffer: growth, the limit, sticky failure, the way into a frame; errors' sentences too. */
#include "lib/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void test_growth(void **state)
{
    (void)state;
    mmq_buffer buffer;
    mmq_buffer_init(&buffer, 100000);
    for (int i = 0; i < 10000; i++) {
        mmq_buffer_format(&buffer, "%04d ", i);
    }
    mmq_buffer_text(&buffer, "end");
    assert_false(buffer.failed);
    assert_int_equal(buffer.size, 50003);
    const char *text = mmq_buffer_cstr(&buffer);
    assert_int_equal(strlen(text), 50003);
    assert_memory_equal(text + 5 * 1234, "1234 1235", 9);
    mmq_buffer_clear(&buffer);
    assert_int_equal(buffer.size, 0);
    assert_string_equal(mmq_buffer_cstr(&buffer), "");
    mmq_buffer_clear(&buffer);
}

/* A frame is reserved whole, and held for long: it takes what was asked for. */
static void test_large_reserve(void **state)
{
    (void)state;
    mmq_buffer buffer;
    mmq_buffer_init(&buffer, 1 << 20);
    assert_non_null(mmq_buffer_reserve(&buffer, 64 * 1024));
    assert_int_equal(buffer.capacity, 64 * 1024 + 1);
    buffer.size = 64 * 1024;
    mmq_buffer_text(&buffer, "x");
    assert_int_equal(buffer.capacity, 128 * 1024 + 2);
    mmq_buffer_clear(&buffer);
}

static void test_limit(void **state)
{
    (void)state;
    mmq_buffer buffer;
    mmq_buffer_init(&buffer, 10);
    mmq_buffer_text(&buffer, "0123456789");
    assert_false(buffer.failed);
    assert_string_equal(mmq_buffer_cstr(&buffer), "0123456789");
    mmq_buffer_text(&buffer, "");
    assert_false(buffer.failed);
    mmq_buffer_text(&buffer, "x");
    assert_true(buffer.failed);
    assert_int_equal(buffer.size, 10);
    assert_null(mmq_buffer_reserve(&buffer, 0));
    assert_null(mmq_buffer_cstr(&buffer));
    mmq_frame frame;
    mmq_frame_init(&frame);
    assert_int_equal(mmq_buffer_to_frame(&buffer, &frame), MMQ_ENOMEM);
    mmq_buffer_reset(&buffer);
    mmq_buffer_format(&buffer, "%s", "01234567890");
    assert_true(buffer.failed);
    mmq_buffer_reset(&buffer);
    assert_null(mmq_buffer_reserve(&buffer, SIZE_MAX));
    mmq_buffer_reset(&buffer);
    assert_non_null(mmq_buffer_reserve(&buffer, 10));
    mmq_buffer_clear(&buffer);
    mmq_frame_close(&frame);
}

static void test_to_frame(void **state)
{
    (void)state;
    mmq_buffer buffer;
    mmq_buffer_init(&buffer, 1000);
    mmq_frame frame;
    mmq_frame_init(&frame);
    assert_int_equal(mmq_buffer_to_frame(&buffer, &frame), MMQ_OK);
    assert_int_equal(mmq_frame_size(&frame), 0);
    mmq_buffer_text(&buffer, "moved");
    const void *data = buffer.data;
    assert_int_equal(mmq_buffer_to_frame(&buffer, &frame), MMQ_OK);
    assert_null(buffer.data);
    assert_int_equal(mmq_frame_size(&frame), 5);
    assert_ptr_equal(mmq_frame_data(&frame), data);
    mmq_buffer_text(&buffer, "again");
    assert_int_equal(mmq_buffer_to_frame(&buffer, &frame), MMQ_OK);
    assert_memory_equal(mmq_frame_data(&frame), "again", 5);
    mmq_frame_close(&frame);
    mmq_buffer_clear(&buffer);
}

static void test_sentences(void **state)
{
    (void)state;
    mmq_why why;
    assert_int_equal(mmq_fail(NULL, MMQ_EIO, "nobody listens"), MMQ_EIO);
    assert_int_equal(mmq_fail(&why, MMQ_EBUSY, "%d of %d", 1, 2), MMQ_EBUSY);
    assert_string_equal(why.text, "1 of 2");
    char text[302];
    memset(text, 'x', sizeof text);
    text[301] = '\0';
    memcpy(text + 254, "\xe2\x82\xac", 3); /* cut in its middle */
    assert_int_equal(mmq_fail(&why, MMQ_EIO, "%s", text), MMQ_EIO);
    assert_int_equal(strlen(why.text), 254);
    memcpy(text + 252, "\xe2\x82\xacxx", 5); /* just fits */
    assert_int_equal(mmq_fail(&why, MMQ_EIO, "%s", text), MMQ_EIO);
    assert_int_equal(strlen(why.text), 255);
}

static void test_statuses(void **state)
{
    (void)state;
    for (int err = MMQ_OK; err <= MMQ_ECLOSED; err++) {
        const char *name = mmq_err_name((mmq_err)err);
        int status = mmq_err_status((mmq_err)err);
        assert_memory_equal(name, "MMQ_", 4);
        mmq_err back = mmq_err_from_status(status);
        assert_int_equal(mmq_err_status(back), status);
        assert_int_equal(back == MMQ_OK, err == MMQ_OK);
    }
    assert_int_equal(mmq_err_from_status(202), MMQ_OK);
    assert_int_equal(mmq_err_from_status(304), MMQ_OK);
    assert_int_equal(mmq_err_from_status(418), MMQ_EINVAL);
    assert_int_equal(mmq_err_from_status(599), MMQ_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),    cmocka_unit_test(test_large_reserve),
        cmocka_unit_test(test_limit),     cmocka_unit_test(test_to_frame),
        cmocka_unit_test(test_sentences), cmocka_unit_test(test_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
