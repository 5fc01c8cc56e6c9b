/* Credentials as they are found: a shared file read as the AWS CLI reads it, an instance's answer,
 * and the order in which they are looked for. F62, F74. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "workers/targets/s3_credentials.h"

static mmq_s3_keys keys;
static mmq_why why;
static char folder[] = "/tmp/mmq-keys-XXXXXX", path[64];

static mmq_err go_on(void *context, const char *stage, int64_t done, int64_t total, mmq_why *reason)
{
    (void)context, (void)stage, (void)done, (void)total, (void)reason;
    return MMQ_OK;
}

static const mmq_watch watch = {go_on, NULL};

static mmq_err parse(const char *text, const char *profile)
{
    return mmq_s3_profile_parse(text, strlen(text), profile, &keys, &why);
}

static void expect_keys(const char *access, const char *secret, const char *token)
{
    assert_string_equal(keys.access, access);
    assert_string_equal(keys.secret, secret);
    assert_string_equal(keys.token, token);
}

/* ---- the shared file -------------------------------------------------------------------- */

static void profiles_are_read(void **state)
{
    static const char text[] = "\xEF\xBB\xBF# comment\n"
                               "[default]\r\n"
                               "aws_access_key_id = AKID\r\n"
                               "AWS_Secret_Access_Key=se/cr+et=#;x\n"
                               "; another = comment\n"
                               "region = nowhere\n"
                               "s3 =\n"
                               "  aws_session_token = nested, not ours\n"
                               "\n"
                               "[ other ] ; what follows is not looked at\n"
                               "\taws_access_key_id = goes on with nothing\n"
                               "aws_access_key_id : AK2\n"
                               "aws_secret_access_key : S:2\n"
                               "aws_session_token = T2==\n"
                               "[empty]\n"
                               "[half]\naws_access_key_id = AK\n"
                               "[default]\naws_access_key_id = LATER";
    (void)state;
    assert_int_equal(parse(text, "default"), MMQ_OK);
    expect_keys("LATER", "se/cr+et=#;x", "");
    assert_int_equal(parse(text, "other"), MMQ_OK);
    expect_keys("AK2", "S:2", "T2==");
    assert_int_equal(parse(text, "empty"), MMQ_ENOTFOUND);
    assert_int_equal(parse(text, "none"), MMQ_ENOTFOUND);
    assert_int_equal(parse(text, "half"), MMQ_EINVAL);
    assert_int_equal(parse("", "default"), MMQ_ENOTFOUND);
    assert_int_equal(parse("[default", "default"), MMQ_ENOTFOUND);
}

#define SECRET "canary-secret"

static void hostile_values_are_refused(void **state)
{
    static const char *const bad[] = {
        "aws_access_key_id = a b\naws_secret_access_key = " SECRET,
        "aws_access_key_id = a/b\naws_secret_access_key = " SECRET,
        "aws_access_key_id = a\naws_secret_access_key = " SECRET "\x01",
        "aws_access_key_id = a\naws_secret_access_key = " SECRET "\xFF",
        "aws_access_key_id = a\naws_secret_access_key =",
        "aws_access_key_id =\naws_secret_access_key = " SECRET,
        "aws_access_key_id = a\naws_secret_access_key = " SECRET "\naws_session_token = a\rX: y",
    };
    static char text[64 * 1024];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "[default]\n%s\n", bad[i]);
        assert_int_equal(parse(text, "default"), MMQ_EINVAL);
        assert_null(strstr(why.text, SECRET));
        expect_keys("", "", "");
    }
    const size_t size = (size_t)snprintf(
        text, sizeof text, "[default]\naws_access_key_id = a\naws_secret_access_key = ");
    memset(text + size, 's', sizeof text - size);
    assert_int_equal(mmq_s3_profile_parse(text, sizeof text, "default", &keys, &why), MMQ_EINVAL);
    static const char with_nul[] = "[default]\naws_access_key_id = a\0b\naws_secret_access_key = c";
    assert_int_equal(mmq_s3_profile_parse(with_nul, sizeof with_nul, "default", &keys, &why),
                     MMQ_EINVAL);
}

/* ---- the instance ----------------------------------------------------------------------- */

static mmq_err read_instance(const char *json)
{
    mmq_s3_keys_clear(&keys);
    return mmq_s3_instance_parse(json, strlen(json), &keys, &why);
}

static void instances_answers_are_read(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "null",
        "{}",
        "{\"Code\":\"Failed\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"" SECRET
        "\",\"Token\":\"t\",\"Expiration\":\"2030-01-02T03:04:05Z\"}",
        "{\"Code\":\"Success\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"" SECRET
        "\",\"Token\":\"t\",\"Expiration\":\"never\"}",
        "{\"Code\":\"Success\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"" SECRET
        "\",\"Token\":\"t\\r\\nX: y\",\"Expiration\":\"2030-01-02T03:04:05Z\"}",
        "{\"Code\":\"Success\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"" SECRET
        "\",\"Expiration\":\"2030-01-02T03:04:05Z\"}",
        "{\"Code\":\"Success\",\"AccessKeyId\":1,\"SecretAccessKey\":\"" SECRET
        "\",\"Token\":\"t\",\"Expiration\":\"2030-01-02T03:04:05Z\"}",
        "{\"Code\":\"Success\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"" SECRET,
    };
    (void)state;
    assert_int_equal(read_instance("{\"Code\":\"Success\",\"LastUpdated\":\"x\",\"Type\":\"AWS-HMAC"
                                   "\",\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":\"s\\/x\","
                                   "\"Token\":\"t==\",\"Expiration\":\"2030-01-02T03:04:05Z\"}"),
                     MMQ_OK);
    expect_keys("ASIA", "s/x", "t==");
    assert_int_equal(keys.expires_s, 1893553445);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(read_instance(bad[i]), MMQ_EINVAL);
        assert_null(strstr(why.text, SECRET));
        expect_keys("", "", "");
    }
}

/* ---- the chain -------------------------------------------------------------------------- */

static mmq_s3_credentials *credentials;
static uint64_t serial;

static int begin(void **state)
{
    (void)state;
    static const char *const names[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN", "AWS_PROFILE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsetenv(names[i]);
    }
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/credentials", folder);
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    credentials = mmq_s3_credentials_new();
    assert_non_null(credentials);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_s3_credentials_destroy(&credentials);
    (void)unlink(path);
    (void)rmdir(folder);
    return 0;
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static mmq_err get(void)
{
    mmq_s3_keys_clear(&keys);
    return mmq_s3_credentials_get(credentials, &watch, &keys, &serial, &why);
}

static void environment_comes_first(void **state)
{
    (void)state;
    write_file("[default]\naws_access_key_id = F\naws_secret_access_key = FS\n");
    setenv("AWS_ACCESS_KEY_ID", "E", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "ES", 1);
    setenv("AWS_SESSION_TOKEN", "ET", 1);
    assert_int_equal(get(), MMQ_OK);
    expect_keys("E", "ES", "ET");
}

static void half_an_environment_is_told(void **state)
{
    (void)state;
    write_file("[default]\naws_access_key_id = F\naws_secret_access_key = FS\n");
    setenv("AWS_ACCESS_KEY_ID", "E", 1);
    assert_int_equal(get(), MMQ_EDENIED);
    assert_non_null(strstr(why.text, "AWS_SECRET_ACCESS_KEY"));
}

static void file_comes_second(void **state)
{
    (void)state;
    write_file("[default]\naws_access_key_id = F\naws_secret_access_key = FS\n"
               "[work]\naws_access_key_id = W\naws_secret_access_key = WS\n");
    assert_int_equal(get(), MMQ_OK);
    expect_keys("F", "FS", "");
    mmq_s3_credentials_destroy(&credentials);
    credentials = mmq_s3_credentials_new();
    setenv("AWS_PROFILE", "work", 1);
    assert_int_equal(get(), MMQ_OK);
    expect_keys("W", "WS", "");
}

static void missing_profile_is_told(void **state)
{
    (void)state;
    write_file("[default]\naws_access_key_id = F\naws_secret_access_key = FS\n");
    setenv("AWS_PROFILE", "work", 1);
    assert_int_equal(get(), MMQ_EDENIED);
    assert_non_null(strstr(why.text, "work"));
}

static void nothing_at_all_is_told(void **state)
{
    (void)state;
    assert_int_equal(get(), MMQ_EDENIED);
    assert_non_null(strstr(why.text, "AWS_ACCESS_KEY_ID"));
}

/* What stands in the file's place, or is too long for one. */
static void odd_files_are_told(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(get(), MMQ_EDENIED);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(get(), MMQ_EDENIED);
    assert_int_equal(unlink(path), 0);
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(ftruncate(fd, MMQ_S3_PROFILES_MAX + 1), 0);
    (void)close(fd);
    assert_int_equal(get(), MMQ_EDENIED);
    assert_non_null(strstr(why.text, "too long"));
}

/* F62: looked up anew when the store would not have them: a file that was mended counts at once. */
static void keys_are_renewed(void **state)
{
    (void)state;
    write_file("[default]\naws_access_key_id = A\naws_secret_access_key = S\n");
    assert_int_equal(get(), MMQ_OK);
    const uint64_t first = serial;
    write_file("[default]\naws_access_key_id = B\naws_secret_access_key = S\n");
    assert_int_equal(get(), MMQ_OK);
    expect_keys("A", "S", ""); /* kept */
    assert_true(mmq_s3_credentials_renew(credentials, &watch, serial));
    assert_int_equal(get(), MMQ_OK);
    expect_keys("B", "S", "");
    assert_true(mmq_s3_credentials_renew(credentials, &watch, first));   /* another thread's turn */
    assert_false(mmq_s3_credentials_renew(credentials, &watch, serial)); /* the same again */
    assert_int_equal(unlink(path), 0);
    assert_false(mmq_s3_credentials_renew(credentials, &watch, serial));
    assert_int_equal(get(), MMQ_OK); /* those that were good before are all there is */
    expect_keys("B", "S", "");
}

/* A file that comes later counts at once. */
static void file_may_come_late(void **state)
{
    (void)state;
    assert_int_equal(get(), MMQ_EDENIED);
    assert_int_equal(get(), MMQ_EDENIED);
    assert_non_null(strstr(why.text, "AWS_ACCESS_KEY_ID")); /* told again, though not asked again */
    write_file("[default]\naws_access_key_id = A\naws_secret_access_key = S\n");
    assert_int_equal(get(), MMQ_OK);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_are_read),
        cmocka_unit_test(hostile_values_are_refused),
        cmocka_unit_test(instances_answers_are_read),
        TEST(environment_comes_first),
        TEST(half_an_environment_is_told),
        TEST(file_comes_second),
        TEST(missing_profile_is_told),
        TEST(nothing_at_all_is_told),
        TEST(odd_files_are_told),
        TEST(keys_are_renewed),
        TEST(file_may_come_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
