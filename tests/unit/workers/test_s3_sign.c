/* Signature Version 4: the four examples of S3's API reference ("Authenticating Requests: Using the
 * Authorization Header"), and what stores and signers are known to disagree on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "workers/targets/s3_sign.h"

#define NO_BYTES "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HOST     "examplebucket.s3.amazonaws.com"
#define DATE     "20130524T000000Z"

enum { TIME_S = 1369353600 }; /* 2013-05-24 00:00:00 */

static mmq_s3_request example(const char *method, const char *path)
{
    return (mmq_s3_request){
        .method = method,
        .path = path,
        .sha256 = NO_BYTES,
        .time_s = TIME_S,
        .region = "us-east-1",
        .access_key = "AKIAIOSFODNN7EXAMPLE",
        .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    };
}

static void expect_signature(const mmq_s3_request *request, const char *names,
                             const char *signature)
{
    mmq_buffer got, wanted;
    mmq_why why;
    mmq_buffer_init(&got, 4096);
    mmq_buffer_init(&wanted, 4096);
    assert_int_equal(mmq_s3_sign(&got, request, &why), MMQ_OK);
    mmq_buffer_format(&wanted,
                      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
                      "aws4_request,SignedHeaders=%s,Signature=%s",
                      names, signature);
    assert_string_equal(mmq_buffer_cstr(&got), mmq_buffer_cstr(&wanted));
    mmq_buffer_clear(&got);
    mmq_buffer_clear(&wanted);
}

static void example_of_get(void **state)
{
    (void)state;
    const mmq_s3_pair headers[] = {{"Host", HOST},
                                   {"Range", "bytes=0-9"},
                                   {"x-amz-content-sha256", NO_BYTES},
                                   {"x-amz-date", DATE}};
    mmq_s3_request request = example("GET", "/test.txt");
    request.headers = headers;
    request.header_count = 4;
    expect_signature(&request, "host;range;x-amz-content-sha256;x-amz-date",
                     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void example_of_put(void **state)
{
    static const char sha256[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    (void)state;
    const mmq_s3_pair headers[] = {{"x-amz-storage-class", "REDUCED_REDUNDANCY"},
                                   {"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                                   {"Host", HOST},
                                   {"x-amz-date", DATE},
                                   {"x-amz-content-sha256", sha256}};
    mmq_s3_request request = example("PUT", "/test$file.text");
    request.headers = headers;
    request.header_count = 5;
    request.sha256 = sha256;
    expect_signature(&request, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void example_of_a_query(const mmq_s3_pair *query, size_t count, const char *signature)
{
    const mmq_s3_pair headers[] = {
        {"Host", HOST}, {"x-amz-content-sha256", NO_BYTES}, {"x-amz-date", DATE}};
    mmq_s3_request request = example("GET", "/");
    request.headers = headers;
    request.header_count = 3;
    request.query = query;
    request.query_count = count;
    expect_signature(&request, "host;x-amz-content-sha256;x-amz-date", signature);
}

static void examples_of_queries(void **state)
{
    (void)state;
    const mmq_s3_pair lifecycle[] = {{"lifecycle", ""}};
    const mmq_s3_pair list[] = {{"prefix", "J"}, {"max-keys", "2"}}; /* not in order */
    example_of_a_query(lifecycle, 1,
                       "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    example_of_a_query(list, 2, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void expect_encoded(const char *text, bool is_path, const char *wanted)
{
    mmq_buffer out;
    mmq_buffer_init(&out, 4096);
    mmq_s3_encode(&out, text, is_path);
    assert_string_equal(mmq_buffer_cstr(&out), wanted);
    mmq_buffer_clear(&out);
}

static void odd_characters_are_encoded(void **state)
{
    (void)state;
    expect_encoded("/a b+c=d~e-f_g.h", true, "/a%20b%2Bc%3Dd~e-f_g.h");
    expect_encoded("/\xC3\xBC/\xE2\x82\xAC/\xF0\x9F\x98\x80", true,
                   "/%C3%BC/%E2%82%AC/%F0%9F%98%80");
    expect_encoded("/&?#!'()*%20", true, "/%26%3F%23%21%27%28%29%2A%2520");
    expect_encoded("//x/./y/../z,;:@$", true, "//x/./y/../z%2C%3B%3A%40%24");
    expect_encoded("a/b\x01\x7F\"<>\\^`{|}[]", false,
                   "a%2Fb%01%7F%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D");
    expect_encoded("", true, "");
}

static void expect_query(const mmq_s3_pair *query, size_t count, const char *wanted)
{
    mmq_buffer out;
    mmq_buffer_init(&out, 4096);
    mmq_s3_query(&out, query, count);
    assert_string_equal(mmq_buffer_cstr(&out), wanted);
    mmq_buffer_clear(&out);
}

static void queries_are_sorted_and_encoded(void **state)
{
    (void)state;
    const mmq_s3_pair query[] = {{"uploadId", "a/b+c=="}, {"uploads", ""}, {"upload-id", "1"},
                                 {"partNumber", "10"},    {"key", "z"},    {"key", "a"}};
    expect_query(query, 6,
                 "key=a&key=z&partNumber=10&upload-id=1&uploadId=a%2Fb%2Bc%3D%3D&uploads=");
    expect_query(query, 0, "");
    /* Sorted as they are sent: "%C3" comes before "z". */
    const mmq_s3_pair encoded[] = {{"z", ""}, {"\xC3\xBC", ""}};
    expect_query(encoded, 2, "%C3%BC=&z=");
}

/* A name that begins with another comes behind it; spaces are collapsed; names are lowered. */
static void canonical_request_is_as_the_store_makes_it(void **state)
{
    (void)state;
    const mmq_s3_pair headers[] = {
        {"x-amz-meta-a1", "3"},
        {"x-amz-meta-a-b", "2"},
        {"X-Amz-Meta-A", " 1 \t 1  "},
        {"x-amz-date", DATE},
        {"x-amz-security-token", "tok+/="},
        {"host", "h:7480"},
    };
    const mmq_s3_pair query[] = {{"uploads", ""}};
    mmq_s3_request request = example("POST", "/b/k k");
    mmq_buffer out;
    request.headers = headers;
    request.header_count = 6;
    request.query = query;
    request.query_count = 1;
    mmq_buffer_init(&out, 4096);
    mmq_s3_canonical(&out, &request);
    assert_string_equal(mmq_buffer_cstr(&out),
                        "POST\n/b/k%20k\nuploads=\n"
                        "host:h:7480\nx-amz-date:" DATE "\nx-amz-meta-a:1 1\nx-amz-meta-a-b:2\n"
                        "x-amz-meta-a1:3\nx-amz-security-token:tok+/=\n\n"
                        "host;x-amz-date;x-amz-meta-a;x-amz-meta-a-b;x-amz-meta-a1;x-amz-security-"
                        "token\n" NO_BYTES);
    mmq_buffer_clear(&out);
}

static void dates_are_written(void **state)
{
    (void)state;
    char date[MMQ_S3_DATE + 1];
    mmq_s3_date(TIME_S + 3723, date);
    assert_string_equal(date, "20130524T010203Z");
    mmq_s3_date(INT64_MAX, date);
    assert_string_equal(date, "99991231T235959Z");
    mmq_s3_date(INT64_MIN, date);
    assert_string_equal(date, "00010101T000000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_of_get),
        cmocka_unit_test(example_of_put),
        cmocka_unit_test(examples_of_queries),
        cmocka_unit_test(odd_characters_are_encoded),
        cmocka_unit_test(queries_are_sorted_and_encoded),
        cmocka_unit_test(canonical_request_is_as_the_store_makes_it),
        cmocka_unit_test(dates_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
