/* The keys of HTTP clients: the file's text, what is compared, who may have written it (F45). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/evp.h>

#include "clients/http/key_file.h"
#include "clients/http/keys.h"

static mmq_why why;

/* "Basic base64(text)" in a static place. */
static const char *basic(const char *text)
{
    static char value[16384];
    strcpy(value, "Basic ");
    EVP_EncodeBlock((unsigned char *)value + 6, (const unsigned char *)text, (int)strlen(text));
    return value;
}

static const char *with_colon(const char *key)
{
    static char text[8192];
    snprintf(text, sizeof text, "%s:", key);
    return basic(text);
}

static mmq_keys *parse(const char *text, size_t size, mmq_err wanted)
{
    mmq_keys *keys = mmq_keys_new(NULL, NULL, &why);
    assert_non_null(keys);
    assert_int_equal(mmq_keys_parse(keys, "keys.txt", text, size, &why), wanted);
    return keys;
}

static void refuse(const char *text, const char *says)
{
    mmq_keys *keys = parse(text, strlen(text), MMQ_EINVAL);
    assert_non_null(strstr(why.text, says));
    mmq_keys_destroy(&keys);
}

#define HASH  "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define OTHER "sha256:0f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

static void test_lines(void **state)
{
    (void)state;
    const char text[] = "# keys\n\n  \t\r\n a read " HASH "\r\nb.B-_1\tadmin,read\t" OTHER;
    mmq_keys *keys = parse(text, sizeof text - 1, MMQ_OK);
    assert_int_equal(keys->count, 2);
    assert_string_equal(keys->list[0].name, "a");
    assert_int_equal(keys->list[0].rights, MMQ_RIGHT_READ);
    assert_int_equal(keys->list[1].rights, MMQ_RIGHT_READ | MMQ_RIGHT_ADMIN);
    assert_string_equal(keys->list[1].digest, &OTHER[7]);
    mmq_keys_destroy(&keys);
}

static void test_lines_that_are_wrong(void **state)
{
    (void)state;
    refuse("a read " HASH "\nb", "keys.txt:2: want `name rights hash`");
    refuse("a read", "keys.txt:1: want");
    refuse("a read " HASH " x", "want");
    refuse("a, read " HASH, "a name has");
    refuse("api-key read " HASH, "api-key");
    refuse("a reed " HASH, "rights are");
    refuse("a , " HASH, "rights are");
    refuse("a read, " HASH, "rights are");
    refuse("a read,,write " HASH, "rights are");
    refuse("a READ " HASH, "rights are");
    refuse("\n\na read " HASH "\na write " OTHER, "keys.txt:4: the name a is there twice");
    refuse("a read " HASH "\nb write " HASH, "this key is that of a, too");
}

/* Weaker hashes, and keys that somebody put in a hash's place: refused, and not quoted. */
static void test_hashes_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "plain:secret",
        "secret",
        "md5:5ebe2294ecd0e0f08eab7690d2a6ee69",
        "sha1:e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
        "sha256:9f86",
        "sha256:",
        "SHA256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "sha256:9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "mmq_9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[256];
        snprintf(line, sizeof line, "a read %s", bad[i]);
        refuse(line, "keys.txt:1: the hash must be sha256:");
        assert_null(strstr(why.text, "secret"));
        assert_null(strcasestr(why.text, "9f86"));
    }
    refuse("a read " HASH "0", "the hash must be");
    const char nul[] = "a read " HASH "\0\n";
    mmq_keys *keys = parse(nul, sizeof nul - 1, MMQ_EINVAL);
    mmq_keys_destroy(&keys);
}

static void test_too_many(void **state)
{
    (void)state;
    mmq_keys *keys = mmq_keys_new(NULL, NULL, &why);
    assert_non_null(keys);
    for (int i = 0; i <= MMQ_KEYS_MAX; i++) {
        char line[256];
        int size = snprintf(line, sizeof line, "k%d read sha256:%064d\n", i, i);
        mmq_err err = mmq_keys_parse(keys, "f", line, (size_t)size, &why);
        assert_int_equal(err, i < MMQ_KEYS_MAX ? MMQ_OK : MMQ_EINVAL);
    }
    assert_int_equal(keys->count, MMQ_KEYS_MAX);
    mmq_keys_destroy(&keys);
}

/* Puts a new key into the table; its text is in out. */
static void add_made(mmq_keys *keys, const char *name, unsigned rights, char out[MMQ_KEY_SIZE + 1])
{
    char line[MMQ_KEY_LINE_MAX];
    mmq_key key = mmq_key_make(name, rights, out);
    mmq_key_print(&key, line);
    assert_int_equal(mmq_keys_parse(keys, "f", line, strlen(line), &why), MMQ_OK);
}

static void test_keys_that_we_make(void **state)
{
    (void)state;
    char texts[3][MMQ_KEY_SIZE + 1];
    mmq_keys *keys = mmq_keys_new("sesame:1", NULL, &why);
    assert_non_null(keys);
    add_made(keys, "a", MMQ_RIGHT_READ, texts[0]);
    add_made(keys, "b", MMQ_RIGHTS_ALL, texts[1]);
    add_made(keys, "c", MMQ_RIGHT_FEEDBACK | MMQ_RIGHT_WRITE, texts[2]);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(strlen(texts[i]), MMQ_KEY_SIZE);
        const mmq_key *key = mmq_keys_find(keys, with_colon(texts[i]));
        assert_ptr_equal(key, &keys->list[i + 1]);
        for (size_t at = 0; at < MMQ_KEY_SIZE; at++) { /* one byte wrong, wherever */
            texts[i][at] ^= 1;
            assert_null(mmq_keys_find(keys, with_colon(texts[i])));
            texts[i][at] ^= 1;
        }
    }
    const mmq_key *api = mmq_keys_find(keys, with_colon("sesame:1"));
    assert_ptr_equal(api, &keys->list[0]);
    assert_string_equal(api->name, "api-key");
    assert_int_equal(api->rights, MMQ_RIGHTS_ALL);
    mmq_keys_destroy(&keys);
}

/* F45: what is no key, in every way. */
static void test_headers_that_are_wrong(void **state)
{
    (void)state;
    mmq_keys *keys = mmq_keys_new("sesame:1", NULL, &why);
    assert_non_null(keys);
    assert_non_null(mmq_keys_find(keys, "Basic c2VzYW1lOjE6"));
    assert_non_null(mmq_keys_find(keys, "bAsIc c2VzYW1lOjE6"));
    static const char *const bad[] = {"",
                                      "Basic",
                                      "Basic ",
                                      "Bearer c2VzYW1lOjE6",
                                      "Basic  c2VzYW1lOjE6",
                                      "Basic c2VzYW1lOjE6 ",
                                      "Basic c2VzYW1lOjE6=",
                                      "Basic c2VzYW1lOjE6====",
                                      "Basic c2VzYW1lOjE",
                                      "Basic c2VzYW1lOjE=",
                                      "Basic =",
                                      "Basic ====",
                                      "Basic !!!!",
                                      "Basic c2Vz\tYW1lOjE6",
                                      "Basic c2VzYW1lOjE6AA==",
                                      "Basic sesame:1:",
                                      "c2VzYW1lOjE6"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(mmq_keys_find(keys, bad[i]));
    }
    for (const char **at = (const char *[]){"sesame:1", "sesame:1::", ":sesame:1:", "sesame:1: ",
                                            "Sesame:1:", ":", "sesame:", NULL};
         *at; at++) {
        assert_null(mmq_keys_find(keys, basic(*at)));
    }
    assert_null(mmq_keys_find(keys, NULL));
    char huge[8192];
    memset(huge, 'k', sizeof huge);
    huge[sizeof huge - 1] = '\0';
    assert_null(mmq_keys_find(keys, basic(huge)));
    mmq_keys_destroy(&keys);
}

/* A hash of what somebody chose is no key of the file's: it could be found from the hash. */
static void test_a_chosen_word_is_no_key_of_the_file(void **state)
{
    (void)state;
    mmq_keys *keys = parse("test read " HASH, strlen("test read " HASH), MMQ_OK);
    assert_null(mmq_keys_find(keys, with_colon("test"))); /* whose hash it is */
    mmq_keys_destroy(&keys);
}

static void test_api_keys(void **state)
{
    (void)state;
    char text[MMQ_API_KEY_MAX + 1];
    memset(text, 'k', sizeof text);
    text[MMQ_API_KEY_MAX] = '\0';
    assert_null(mmq_keys_new(text, NULL, &why));
    assert_non_null(strstr(why.text, "too long"));
    text[MMQ_API_KEY_MAX - 1] = '\0';
    mmq_keys *keys = mmq_keys_new(text, NULL, &why);
    assert_non_null(mmq_keys_find(keys, with_colon(text)));
    mmq_keys_destroy(&keys);
    keys = mmq_keys_new("", NULL, &why);
    assert_int_equal(keys->count, 0);
    assert_null(mmq_keys_find(keys, basic(":")));
    mmq_keys_destroy(&keys);
}

/* ---- the file --------------------------------------------------------------------------- */

static char folder[] = "/tmp/metricmq-keys-XXXXXX";
static char path[sizeof folder + 16];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/keys", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)rmdir(path);
    return rmdir(folder);
}

static void write_file(const char *text, mode_t mode)
{
    (void)unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) < 0, 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void refuse_file(const char *says)
{
    assert_null(mmq_keys_new(NULL, path, &why));
    assert_non_null(strstr(why.text, says));
    assert_non_null(strstr(why.text, path));
    const mmq_key key = {.name = "new", .rights = MMQ_RIGHT_READ};
    assert_int_equal(mmq_key_append(path, &key, &why), MMQ_EINVAL);
}

static void test_who_may_have_written_it(void **state)
{
    (void)state;
    static const mode_t good[] = {0600, 0400, 0640, 0440, 0700};
    static const mode_t bad[] = {0644, 0660, 0620, 0604, 0602, 0601, 0666, 0777};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        write_file("a read " HASH "\n", good[i]);
        mmq_keys *keys = mmq_keys_new(NULL, path, &why);
        assert_non_null(keys);
        assert_int_equal(keys->count, 1);
        mmq_keys_destroy(&keys);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file("a read " HASH "\n", bad[i]);
        refuse_file("is open to others");
    }
    if (geteuid() == 0) {
        write_file("", 0600);
        assert_int_equal(chown(path, 1, 0), 0);
        refuse_file("belongs to another user");
    }
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    assert_null(mmq_keys_new(NULL, path, &why));
    assert_non_null(strstr(why.text, "No such file"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_null(mmq_keys_new(NULL, path, &why));
    assert_non_null(strstr(why.text, "not a regular file"));
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes: it must not be waited for */
    assert_null(mmq_keys_new(NULL, path, &why));
    assert_non_null(strstr(why.text, "not a regular file"));
}

static void test_too_big_a_file(void **state)
{
    (void)state;
    static char text[MMQ_KEYS_FILE_MAX + 2];
    memset(text, '#', sizeof text);
    text[MMQ_KEYS_FILE_MAX + 1] = '\0';
    write_file(text, 0600);
    refuse_file("is over");
    text[MMQ_KEYS_FILE_MAX] = '\0';
    write_file(text, 0600);
    mmq_keys *keys = mmq_keys_new(NULL, path, &why);
    assert_non_null(keys);
    mmq_keys_destroy(&keys);
    const mmq_key key = {.name = "new", .rights = MMQ_RIGHT_READ};
    assert_int_equal(mmq_key_append(path, &key, &why), MMQ_EINVAL);
    assert_non_null(strstr(why.text, "would be over"));
}

static void test_append(void **state)
{
    (void)state;
    char texts[3][MMQ_KEY_SIZE + 1];
    struct stat status;
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "k%d", i);
        mmq_key key = mmq_key_make(name, MMQ_RIGHT_WRITE, texts[i]);
        assert_int_equal(mmq_key_append(path, &key, &why), MMQ_OK);
        assert_int_equal(mmq_key_append(path, &key, &why), MMQ_ECONFLICT);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        if (i == 0) { /* as an editor may leave it */
            assert_int_equal(truncate(path, status.st_size - 1), 0);
        }
    }
    mmq_keys *keys = mmq_keys_new("other", path, &why);
    assert_non_null(keys);
    assert_int_equal(keys->count, 4);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(mmq_keys_find(keys, with_colon(texts[i])), &keys->list[i]);
    }
    mmq_keys_destroy(&keys);
    assert_null(mmq_keys_new(texts[1], path, &why));
    assert_non_null(strstr(why.text, "api-key is the key of k1"));
    assert_null(strstr(why.text, texts[1]));
    write_file("a", 0600);
    refuse_file("keys:1: want"); /* nothing is appended to what cannot be read */
}

/* F52: a line that the disk takes a part of only is taken back. */
static void test_append_is_whole_or_nothing(void **state)
{
    (void)state;
    const mmq_key key = {.name = "new", .rights = MMQ_RIGHT_READ, .digest = "0"};
    struct rlimit old;
    write_file("a read " HASH "\n", 0600);
    const long size = (long)strlen("a read " HASH "\n");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    for (long room = 0; room < 10; room += 5) {
        const struct rlimit low = {(rlim_t)(size + room), old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        const mmq_err err = mmq_key_append(path, &key, &why);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(err, MMQ_EIO);
        struct stat status;
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, size);
    }
}

static void test_append_to_a_full_file(void **state)
{
    (void)state;
    write_file("", 0600);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    for (int i = 0; i < MMQ_KEYS_MAX; i++) {
        assert_true(fprintf(file, "k%d read sha256:%064d\n", i, i) > 0);
    }
    assert_int_equal(fclose(file), 0);
    const mmq_key key = {.name = "new", .rights = MMQ_RIGHT_READ};
    assert_int_equal(mmq_key_append(path, &key, &why), MMQ_EINVAL);
    assert_non_null(strstr(why.text, "256 keys already"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_lines_that_are_wrong),
        cmocka_unit_test(test_hashes_that_are_none),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_keys_that_we_make),
        cmocka_unit_test(test_headers_that_are_wrong),
        cmocka_unit_test(test_a_chosen_word_is_no_key_of_the_file),
        cmocka_unit_test(test_api_keys),
        cmocka_unit_test_setup_teardown(test_who_may_have_written_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_big_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_append, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_append_is_whole_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_append_to_a_full_file, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
