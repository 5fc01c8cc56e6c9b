/* What answers of a store mean: who has to do what (F59, F62, F63, F64, F66), how long to wait, and
 * the sentences that say so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "workers/targets/s3_verdict.h"

enum { NOW_S = 1700000000 };

static mmq_s3_address address;
static mmq_s3_verdict verdict;

static int begin(void **state)
{
    const mmq_s3_settings settings = {.endpoint = "https://127.0.0.1:9", .region = "us-east-1"};
    mmq_why why;
    (void)state;
    return mmq_s3_address_make("my-bucket", &settings, &address, &why) == MMQ_OK ? 0 : -1;
}

static mmq_s3_reply answer(int status)
{
    mmq_s3_reply reply = {.end = MMQ_S3_ANSWERED, .status = status};
    mmq_buffer_init(&reply.body, MMQ_S3_REPLY_MAX);
    return reply;
}

static void judge(mmq_s3_reply *reply)
{
    mmq_s3_judge(&address, reply, NOW_S, &verdict);
    mmq_buffer_clear(&reply->body);
}

static void judge_code(int status, const char *code)
{
    mmq_s3_reply reply = answer(status);
    if (code != NULL) {
        mmq_buffer_format(&reply.body, "<Error><Code>%s</Code><Message>m</Message></Error>", code);
    }
    judge(&reply);
    if (verdict.err != MMQ_OK) {
        assert_true(strlen(verdict.why.text) > 0);
        assert_true(code == NULL || strstr(verdict.why.text, code) != NULL ||
                    strcmp(code, "NoSuchBucket") == 0);
    }
}

static void answers_have_classes(void **state)
{
    static const struct {
        int status;
        const char *code;
        mmq_setback_kind kind;
        mmq_s3_remedy remedy;
    } cases[] = {
        {500, NULL, MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {500, "InternalError", MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {502, NULL, MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {503, "SlowDown", MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {504, NULL, MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {507, "XMinioStorageFull", MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {408, NULL, MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {409, "OperationAborted", MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {429, NULL, MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {400, "RequestTimeout", MMQ_SETBACK_PASSING, MMQ_S3_TIME},
        {400, "BadDigest", MMQ_SETBACK_PASSING, MMQ_S3_RESUM},
        {400, "XAmzContentSHA256Mismatch", MMQ_SETBACK_PASSING, MMQ_S3_RESUM},
        {404, "NoSuchUpload", MMQ_SETBACK_PASSING, MMQ_S3_GONE},
        {400, "InvalidPart", MMQ_SETBACK_PASSING, MMQ_S3_NO_REMEDY},
        {401, NULL, MMQ_SETBACK_SETTINGS, MMQ_S3_KEYS},
        {403, NULL, MMQ_SETBACK_SETTINGS, MMQ_S3_KEYS},
        {403, "AccessDenied", MMQ_SETBACK_SETTINGS, MMQ_S3_KEYS},
        {403, "InvalidAccessKeyId", MMQ_SETBACK_SETTINGS, MMQ_S3_KEYS},
        {403, "SignatureDoesNotMatch", MMQ_SETBACK_SETTINGS, MMQ_S3_KEYS},
        {400, "ExpiredToken", MMQ_SETBACK_SETTINGS, MMQ_S3_KEYS},
        {400, "InvalidToken", MMQ_SETBACK_SETTINGS, MMQ_S3_KEYS},
        {404, "NoSuchBucket", MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY},
        {301, "PermanentRedirect", MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY},
        {307, "TemporaryRedirect", MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY},
        {302, NULL, MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY},
        {304, NULL, MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY},
        {404, NULL, MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY},
        {405, NULL, MMQ_SETBACK_SETTINGS, MMQ_S3_NOT_OFFERED},
        {400, NULL, MMQ_SETBACK_SETTINGS, MMQ_S3_NO_REMEDY},
        {501, NULL, MMQ_SETBACK_PASSING, MMQ_S3_NOT_OFFERED},
        {501, "NotImplemented", MMQ_SETBACK_REFUSED, MMQ_S3_NOT_OFFERED},
        {405, "MethodNotAllowed", MMQ_SETBACK_REFUSED, MMQ_S3_NOT_OFFERED},
        {400, "EntityTooLarge", MMQ_SETBACK_REFUSED, MMQ_S3_NO_REMEDY},
        {400, "KeyTooLongError", MMQ_SETBACK_REFUSED, MMQ_S3_NO_REMEDY},
        {412, "PreconditionFailed", MMQ_SETBACK_REFUSED, MMQ_S3_NO_REMEDY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        judge_code(cases[i].status, cases[i].code);
        assert_int_not_equal(verdict.err, MMQ_OK);
        assert_int_not_equal(verdict.err, MMQ_ECORRUPT);
        assert_int_equal(verdict.setback.kind, cases[i].kind);
        assert_int_equal(verdict.remedy, cases[i].remedy);
    }
}

static void only_2xx_without_an_error_is_good(void **state)
{
    (void)state;
    judge_code(200, NULL);
    assert_int_equal(verdict.err, MMQ_OK);
    judge_code(204, NULL);
    assert_int_equal(verdict.err, MMQ_OK);
    judge_code(100, NULL);
    assert_int_not_equal(verdict.err, MMQ_OK);
    judge_code(200, "InternalError"); /* F64 */
    assert_int_equal(verdict.setback.kind, MMQ_SETBACK_PASSING);
    assert_int_equal(verdict.remedy, MMQ_S3_TIME);
    judge_code(200, "NeverHeardOf");
    assert_int_equal(verdict.setback.kind, MMQ_SETBACK_PASSING);
    judge_code(200, "AccessDenied");
    assert_int_equal(verdict.setback.kind, MMQ_SETBACK_SETTINGS);
}

static void sentences_say_what_to_do(void **state)
{
    (void)state;
    judge_code(404, "NoSuchBucket");
    assert_string_equal(verdict.why.text, "the bucket \"my-bucket\" does not exist at 127.0.0.1: "
                                          "make it, or correct --upload");
    mmq_s3_reply reply = answer(301);
    strcpy(reply.region, "eu-west-1");
    judge(&reply);
    assert_non_null(strstr(verdict.why.text, "region eu-west-1: set --s3-region"));
    reply = answer(400);
    mmq_buffer_text(&reply.body, "<Error><Code>AuthorizationHeaderMalformed</Code>"
                                 "<Region>ap-south-1</Region></Error>");
    judge(&reply);
    assert_non_null(strstr(verdict.why.text, "region ap-south-1: set --s3-region"));
    reply = answer(400);
    mmq_buffer_text(&reply.body, "<Error><Code>Odd</Code><Message>do this\n\x1b[31m instead"
                                 "</Message></Error>");
    judge(&reply);
    assert_string_equal(verdict.why.text,
                        "the store at 127.0.0.1:9 answered 400 Odd: do this??[31m instead");
    reply = answer(403);
    mmq_buffer_text(&reply.body, "<Error><Code>not a code\n</Code></Error>");
    judge(&reply);
    assert_string_equal(verdict.why.text,
                        "the store at 127.0.0.1:9 answered 403: check the credentials");
}

static void clocks_are_compared(void **state)
{
    (void)state;
    mmq_s3_reply reply = answer(403);
    strcpy(reply.date, "Tue, 14 Nov 2023 22:10:00 GMT"); /* 200 s before NOW_S */
    mmq_buffer_text(&reply.body, "<Error><Code>RequestTimeTooSkewed</Code></Error>");
    judge(&reply);
    assert_int_equal(verdict.remedy, MMQ_S3_CLOCK);
    assert_int_equal(verdict.skew_s, -200);
    assert_int_equal(verdict.setback.kind, MMQ_SETBACK_SETTINGS);
    assert_non_null(strstr(verdict.why.text, "200 s ahead of its own"));
    reply = answer(403);
    mmq_buffer_text(&reply.body, "<Error><Code>RequestTimeTooSkewed</Code></Error>");
    judge(&reply);
    assert_int_equal(verdict.remedy, MMQ_S3_NO_REMEDY);
    assert_int_equal(verdict.setback.kind, MMQ_SETBACK_SETTINGS);
}

static void dates_are_read(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "now",
                                      "Sun, 06 Nov 1994 08:49:37 UTC",
                                      "Sun, 06 Nox 1994 08:49:37 GMT",
                                      "Sun, 06 ovD 1994 08:49:37 GMT",
                                      "Sun, 32 Jan 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 24:49:37 GMT",
                                      "Sunday, 06-Nov-94 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:37 GMT "};
    int64_t time_s = 0;
    assert_true(mmq_s3_http_date("Sun, 06 Nov 1994 08:49:37 GMT", &time_s));
    assert_int_equal(time_s, 784111777);
    assert_true(mmq_s3_http_date("Thu, 29 Feb 2024 00:00:00 GMT", &time_s));
    assert_int_equal(time_s, 1709164800);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(mmq_s3_http_date(bad[i], &time_s));
    }
}

/* F59: in seconds or as a date, and never more than 5 minutes. */
static void retry_after_is_honoured(void **state)
{
    (void)state;
    assert_int_equal(mmq_s3_retry_after_ns("7", NOW_S), 7 * MMQ_NS_PER_S);
    assert_int_equal(mmq_s3_retry_after_ns("99999", NOW_S), 300 * MMQ_NS_PER_S);
    assert_int_equal(mmq_s3_retry_after_ns("9223372036854775807", NOW_S), 300 * MMQ_NS_PER_S);
    assert_int_equal(mmq_s3_retry_after_ns("-5", NOW_S), 0);
    assert_int_equal(mmq_s3_retry_after_ns("soon", NOW_S), 0);
    assert_int_equal(mmq_s3_retry_after_ns("", NOW_S), 0);
    assert_int_equal(mmq_s3_retry_after_ns("Tue, 14 Nov 2023 22:13:30 GMT", NOW_S),
                     10 * MMQ_NS_PER_S);
    assert_int_equal(mmq_s3_retry_after_ns("Tue, 14 Nov 2023 22:13:10 GMT", NOW_S), 0);
    mmq_s3_reply reply = answer(503);
    strcpy(reply.retry_after, "12");
    judge(&reply);
    assert_int_equal(verdict.setback.wait_ns, 12 * MMQ_NS_PER_S);
}

static void ends_without_an_answer_have_classes(void **state)
{
    static const struct {
        mmq_s3_end end;
        mmq_err err;
        mmq_setback_kind kind;
    } cases[] = {
        {MMQ_S3_BROKEN, MMQ_EUNAVAILABLE, MMQ_SETBACK_PASSING},
        {MMQ_S3_STALLED, MMQ_ETIMEOUT, MMQ_SETBACK_PASSING},
        {MMQ_S3_UNTRUSTED, MMQ_EDENIED, MMQ_SETBACK_SETTINGS},
        {MMQ_S3_FLOODED, MMQ_EPROTO, MMQ_SETBACK_PASSING},
        {MMQ_S3_UNREADABLE, MMQ_EIO, MMQ_SETBACK_PASSING},
        {MMQ_S3_NO_MEMORY, MMQ_ENOMEM, MMQ_SETBACK_PASSING},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_s3_reply reply = {.end = cases[i].end, .error = "bad \n thing"};
        mmq_s3_judge(&address, &reply, NOW_S, &verdict);
        assert_int_equal(verdict.err, cases[i].err);
        assert_int_equal(verdict.setback.kind, cases[i].kind);
        assert_null(strchr(verdict.why.text, '\n'));
    }
}

static void expect_etag(const char *header, const char *wanted)
{
    char etag[MMQ_S3_ETAG_MAX + 1];
    mmq_s3_etag(header, etag);
    assert_string_equal(etag, wanted);
}

static void etags_are_read(void **state)
{
    (void)state;
    expect_etag("\"abc\"", "abc");
    expect_etag("abc", "abc");
    expect_etag("W/\"abc\"", "abc");
    expect_etag("", "");
    expect_etag("\"\"", "");
    expect_etag("\"a b\"", "");
    expect_etag("\"a\"b\"", "");
    expect_etag("a<b", "");
    expect_etag("0123456789012345678901234567890123456789012345678901234567890123",
                "0123456789012345678901234567890123456789012345678901234567890123");
    expect_etag("01234567890123456789012345678901234567890123456789012345678901234", "");
}

static mmq_s3_agreement compare(const char *etag, const char *encryption, const char *customer)
{
    mmq_s3_reply reply = {.status = 200};
    snprintf(reply.encryption, sizeof reply.encryption, "%s", encryption);
    snprintf(reply.customer, sizeof reply.customer, "%s", customer);
    return mmq_s3_etag_compare(&reply, etag, "0123456789abcdef0123456789abcdef");
}

/* F64. */
static void etags_are_compared(void **state)
{
    static const char same[] = "0123456789ABCDEF0123456789abcdef";
    static const char other[] = "1123456789abcdef0123456789abcdef";
    (void)state;
    assert_int_equal(compare(same, "", ""), MMQ_S3_SAME);
    assert_int_equal(compare(same, "AES256", ""), MMQ_S3_SAME);
    assert_int_equal(compare(other, "", ""), MMQ_S3_OTHER);
    assert_int_equal(compare(other, "AES256", ""), MMQ_S3_OTHER);
    assert_int_equal(compare("0123456789abcdef0123456789abcdef-2", "", ""), MMQ_S3_OTHER);
    assert_int_equal(compare(other, "aws:kms", ""), MMQ_S3_NO_MD5);
    assert_int_equal(compare(other, "aws:kms:dsse", ""), MMQ_S3_NO_MD5);
    assert_int_equal(compare(other, "", "AES256"), MMQ_S3_NO_MD5);
    assert_int_equal(compare("an-opaque-tag", "", ""), MMQ_S3_NO_MD5);
    assert_int_equal(compare("0123456789abcdef0123456789abcdef-", "", ""), MMQ_S3_NO_MD5);
    assert_int_equal(compare("", "", ""), MMQ_S3_NO_ETAG);
    assert_int_equal(compare("", "aws:kms", ""), MMQ_S3_NO_ETAG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_have_classes),
        cmocka_unit_test(only_2xx_without_an_error_is_good),
        cmocka_unit_test(sentences_say_what_to_do),
        cmocka_unit_test(clocks_are_compared),
        cmocka_unit_test(dates_are_read),
        cmocka_unit_test(retry_after_is_honoured),
        cmocka_unit_test(ends_without_an_answer_have_classes),
        cmocka_unit_test(etags_are_read),
        cmocka_unit_test(etags_are_compared),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
