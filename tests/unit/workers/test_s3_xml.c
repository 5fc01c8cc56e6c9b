/* The XML of stores' answers: what is found, and what is not taken for what it looks like. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "workers/targets/s3_xml.h"

static const char *text_of(const char *xml, const char *name)
{
    static char out[64];
    return mmq_s3_xml_text(xml, strlen(xml), name, out, sizeof out) ? out : NULL;
}

static bool has_root(const char *xml, const char *name)
{
    return mmq_s3_xml_root(xml, strlen(xml), name);
}

static void errors_are_read(void **state)
{
    (void)state;
    static const char xml[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchBucket</Code>"
        "<Message>a &lt;b&gt; &amp;amp; &quot;c&quot; &apos;d&apos; &#65;&#x42;&#xfc;</Message>"
        "<Empty/><Blank></Blank></Error>";
    assert_true(has_root(xml, "Error"));
    assert_string_equal(text_of(xml, "Code"), "NoSuchBucket");
    assert_string_equal(text_of(xml, "Message"), "a <b> &amp; \"c\" 'd' AB\xC3\xBC");
    assert_string_equal(text_of(xml, "Empty"), "");
    assert_string_equal(text_of(xml, "Blank"), "");
    assert_null(text_of(xml, "Cod"));
    assert_null(text_of(xml, "Error")); /* holds elements */
}

/* As S3 answers Complete: spaces first, while it is at work. */
static void roots_are_found(void **state)
{
    (void)state;
    assert_true(has_root(" \n\n <?xml version='1.0'?><!-- <Error> --><!DOCTYPE x>"
                         "<Result xmlns=\"http://x/>\" a='>'><Error/></Result>",
                         "Result"));
    assert_true(has_root("<Error/>", "Error"));
    assert_false(has_root("<Errors></Errors>", "Error"));
    assert_false(has_root("</Error>", "Error"));
    assert_false(has_root("", "Error"));
    assert_false(has_root("plain text", "Error"));
    assert_false(has_root("<Error", "Error"));
    assert_false(has_root("<!-- <Error></Error>", "Error"));
}

static void what_is_quoted_is_no_tag(void **state)
{
    (void)state;
    assert_null(text_of("<a><!-- <Code>x</Code> --></a>", "Code"));
    assert_null(text_of("<a><![CDATA[<Code>x</Code>]]></a>", "Code"));
    assert_null(text_of("<a b='<Code>x</Code>'></a>", "Code"));
    assert_string_equal(text_of("<a><!-- > --><Code b=\"</Code>\">x</Code></a>", "Code"), "x");
    assert_null(text_of("<Code><![CDATA[x]]></Code>", "Code"));
}

static void broken_text_is_refused(void **state)
{
    (void)state;
    assert_null(text_of("<Code>x", "Code"));
    assert_null(text_of("<Code>&unknown;</Code>", "Code"));
    assert_null(text_of("<Code>&amp</Code>", "Code"));
    assert_null(text_of("<Code>&#0;</Code>", "Code"));
    assert_null(text_of("<Code>&#xD800;</Code>", "Code"));
    assert_null(text_of("<Code>&#x110000;</Code>", "Code"));
    assert_null(text_of("<Code>&#99999999999999999999;</Code>", "Code"));
    assert_null(text_of("<Code>&#;</Code>", "Code"));
    assert_null(text_of("<Code>\xFF</Code>", "Code"));
    assert_null(text_of("<Code>0123456789012345678901234567890123456789012345678901234567890123"
                        "</Code>",
                        "Code")); /* a byte too long */
    assert_int_equal(strlen(text_of("<Code>01234567890123456789012345678901234567890123456789"
                                    "0123456789012</Code>",
                                    "Code")),
                     63);
    assert_false(mmq_s3_xml_text("<Code>a\0b</Code>", 16, "Code", (char[8]){0}, 8));
}

static void elements_are_listed(void **state)
{
    (void)state;
    static const char xml[] = "<List><Upload><Key>a</Key></Upload><Upload/>"
                              "<Upload><Upload>inner</Upload><Key>b</Key></Upload>"
                              "<Uploads></Uploads><Upload>open";
    mmq_slice inner;
    size_t at = 0;
    assert_true(mmq_s3_xml_next(xml, strlen(xml), &at, "Upload", &inner));
    assert_true(mmq_slice_is(&inner, "<Key>a</Key>"));
    assert_true(mmq_s3_xml_next(xml, strlen(xml), &at, "Upload", &inner));
    assert_int_equal(inner.size, 0);
    assert_true(mmq_s3_xml_next(xml, strlen(xml), &at, "Upload", &inner));
    assert_true(mmq_slice_is(&inner, "<Upload>inner</Upload><Key>b</Key>"));
    assert_false(mmq_s3_xml_next(xml, strlen(xml), &at, "Upload", &inner));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_read),          cmocka_unit_test(roots_are_found),
        cmocka_unit_test(what_is_quoted_is_no_tag), cmocka_unit_test(broken_text_is_refused),
        cmocka_unit_test(elements_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
