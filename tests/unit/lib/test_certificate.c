/* Certificates: what is read, what is not, and that czmq reads ours as we read its. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <czmq.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/certificate.h"
#include "lib/endpoints.h"

#define KEY   "]cby8*$mA.Q@{[l.V6W.H2KnzMjQ1}pgi*ejDPQD"
#define OTHER "q*3MhNoUc&T3/ino^T>!g[jzDmAl+fCv:Q3H!)O?"
#define PAIR  "curve\n    public-key = \"" KEY "\"\n"

static void expect_fault(const char *text, size_t size, const char *fault)
{
    mmq_certificate certificate;
    mmq_why why = {""};
    assert_int_equal(mmq_certificate_parse(text, size, &certificate, &why), MMQ_EINVAL);
    if (strstr(why.text, fault) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why.text, fault);
    }
    assert_string_equal(certificate.public_key, "");
    assert_string_equal(certificate.secret_key, "");
}

static void test_what_is_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        PAIR,
        "# x\n\nmetadata\n    name = 'n'\n    rights = \"read\"\n" PAIR,
        "metadata\r\n\trights = read\r\n\tunknown = \"x = y\"\r\ncurve\r\n\tpublic-key = " KEY,
        PAIR "    # a comment\nmetadata\n    services = \"\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mmq_certificate certificate;
        mmq_why why = {""};
        if (mmq_certificate_parse(texts[i], strlen(texts[i]), &certificate, &why) != MMQ_OK) {
            fail_msg("%zu: %s", i, why.text);
        }
        assert_string_equal(certificate.public_key, KEY);
        assert_string_equal(certificate.secret_key, "");
        assert_string_equal(certificate.rights, i == 1 || i == 2 ? "read" : "");
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"", "no public-key"},
        {"curve\n", "no public-key"},
        {"curve\n    secret-key = \"" KEY "\"\n", "no public-key"},
        {"public-key = \"" KEY "\"\n", "section"},
        {"    public-key = \"" KEY "\"\n", "line 1: a pair stands in no section"},
        {"curves\n", "line 1: a section"},
        {PAIR "    public-key = \"" OTHER "\"\n", "line 3: a value is there twice"},
        {PAIR "    other = \"x\"\n", "something else than keys"},
        {"curve\n    public-key\n", "line 2: want"},
        {"curve\n    public-key = \"" KEY "\n", "line 2: want"},
        {"curve\n    public-key = \"" KEY "\" x\n", "line 2: want"},
        {"curve\n    public-key = \"short\"\n", "line 2: a key is not"},
        {"curve\n    public-key = \"" KEY "0\"\n", "line 2: a key is not"},
        {"curve\n    public-key = \"~cby8*$mA.Q@{[l.V6W.H2KnzMjQ1}pgi*ejDPQD\"\n", "a key is not"},
        {"curve\n    public-key = \"#####*$mA.Q@{[l.V6W.H2KnzMjQ1}pgi*ejDPQD\"\n", "a key is not"},
        {"metadata\n    rights = \"a\x01\"\n" PAIR, "line 2: a control byte"},
        {"metadata\n    rights = \"read\"\n    rights = \"admin\"\n" PAIR, "there twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_fault(cases[i].text, strlen(cases[i].text), cases[i].fault);
    }
    static const char nul[] = "metadata\n    rights = \"re\0ad\"\n" PAIR;
    expect_fault(nul, sizeof nul - 1, "a control byte");
    char longer[MMQ_RIGHTS_MAX + 200];
    char rights[MMQ_RIGHTS_MAX + 2];
    memset(rights, 'r', sizeof rights - 1);
    rights[sizeof rights - 1] = '\0';
    snprintf(longer, sizeof longer, "metadata\n    rights = \"%s\"\n" PAIR, rights);
    expect_fault(longer, strlen(longer), "too long");
}

/* Any prefix, and any byte changed: read or refused, never more than that. */
static void test_damage(void **state)
{
    (void)state;
    const char *good = "metadata\n    rights = \"read\"\n" PAIR;
    const size_t size = strlen(good);
    mmq_certificate certificate;
    mmq_why why;
    for (size_t i = 0; i < size; i++) {
        char *part = malloc(i + 1); /* sanitizers see its end */
        memcpy(part, good, i);
        mmq_err err = mmq_certificate_parse(part, i, &certificate, &why);
        assert_true(err == MMQ_EINVAL || i >= size - 2);
        free(part);
    }
    for (size_t i = 0; i < size; i++) {
        for (int byte = 0; byte < 256; byte++) {
            char *copy = malloc(size);
            memcpy(copy, good, size);
            copy[i] = (char)byte;
            if (mmq_certificate_parse(copy, size, &certificate, &why) == MMQ_OK) {
                assert_int_equal(strlen(certificate.public_key), MMQ_KEY_TEXT);
            }
            free(copy);
        }
    }
}

/* ---- files -------------------------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/metricmq-certificate-XXXXXX");
    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"ours", "theirs", "theirs_secret", "long", "pipe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)unlink(names[i]);
    }
    return chdir("/") != 0 || rmdir(folder) != 0;
}

static void write_text(const char *name, const char *text, size_t size, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), size);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void write_certificate(const mmq_certificate *certificate, bool secret, mode_t mode)
{
    mmq_buffer text;
    mmq_buffer_init(&text, MMQ_CERTIFICATE_MAX);
    mmq_certificate_write(certificate, secret, &text);
    assert_false(text.failed);
    write_text("ours", (const char *)text.data, text.size, mode);
    mmq_buffer_clear(&text);
}

static mmq_err read_ours(bool secret, mmq_certificate *out, const char *fault)
{
    mmq_why why = {""};
    mmq_err err = mmq_certificate_read(AT_FDCWD, "ours", secret, out, &why);
    if (fault != NULL && strstr(why.text, fault) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why.text, fault);
    }
    return err;
}

static void test_czmq_reads_ours_and_we_read_its(void **state)
{
    (void)state;
    mmq_certificate made, got;
    mmq_why why;
    assert_int_equal(mmq_certificate_make(&made, &why), MMQ_OK);
    strcpy(made.name, "n");
    strcpy(made.rights, "read,write");
    write_certificate(&made, true, 0600);
    zcert_t *cert = zcert_load("ours");
    assert_non_null(cert);
    assert_string_equal(zcert_public_txt(cert), made.public_key);
    assert_string_equal(zcert_secret_txt(cert), made.secret_key);
    assert_string_equal(zcert_meta(cert, "rights"), "read,write");
    assert_int_equal(zcert_save(cert, "theirs"), 0);
    zcert_destroy(&cert);
    assert_int_equal(mmq_certificate_read(AT_FDCWD, "theirs_secret", true, &got, &why), MMQ_OK);
    assert_memory_equal(&got, &made, sizeof got);
    assert_int_equal(mmq_certificate_read(AT_FDCWD, "theirs", false, &got, &why), MMQ_OK);
    assert_string_equal(got.public_key, made.public_key);
    assert_string_equal(got.secret_key, "");
}

static void test_files_that_are_no_secrets(void **state)
{
    (void)state;
    mmq_certificate made, other, got;
    mmq_why why;
    assert_int_equal(mmq_certificate_make(&made, &why), MMQ_OK);
    assert_int_equal(mmq_certificate_make(&other, &why), MMQ_OK);
    static const mode_t private_modes[] = {0600, 0400, 0440, 0640};
    static const mode_t open_modes[] = {0644, 0604, 0660, 0601, 0666};
    for (size_t i = 0; i < sizeof private_modes / sizeof *private_modes; i++) {
        (void)unlink("ours");
        write_certificate(&made, true, private_modes[i]);
        assert_int_equal(read_ours(true, &got, NULL), MMQ_OK);
    }
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        (void)unlink("ours");
        write_certificate(&made, true, open_modes[i]);
        assert_int_equal(read_ours(true, &got, "chmod 600"), MMQ_EINVAL);
        assert_string_equal(got.secret_key, "");
        assert_int_equal(read_ours(false, &got, NULL), MMQ_OK);
    }
    (void)unlink("ours");
    write_certificate(&made, false, 0600);
    assert_int_equal(read_ours(true, &got, "no secret key"), MMQ_EINVAL);
    memcpy(made.public_key, other.public_key, sizeof made.public_key);
    write_certificate(&made, true, 0600);
    assert_int_equal(read_ours(true, &got, "not of one pair"), MMQ_EINVAL);
}

static void test_files_that_are_no_files(void **state)
{
    (void)state;
    mmq_certificate got;
    mmq_why why;
    static char text[MMQ_CERTIFICATE_MAX + 1];
    memset(text, '\n', sizeof text);
    write_text("long", text, sizeof text, 0600);
    assert_int_equal(mmq_certificate_read(AT_FDCWD, "long", false, &got, &why), MMQ_EINVAL);
    assert_non_null(strstr(why.text, "too long"));
    assert_int_equal(mkfifo("pipe", 0600), 0); /* nobody writes to it */
    assert_int_equal(mmq_certificate_read(AT_FDCWD, "pipe", false, &got, &why), MMQ_EINVAL);
    assert_int_equal(mmq_certificate_read(AT_FDCWD, ".", false, &got, &why), MMQ_EINVAL);
    assert_int_equal(mmq_certificate_read(AT_FDCWD, "none", false, &got, &why), MMQ_EINVAL);
    assert_non_null(strstr(why.text, "none: No such file"));
}

static void test_endpoints_that_others_can_reach(void **state)
{
    (void)state;
    static const char *const local[] = {
        "inproc://x",           "ipc:///run/x",      "ipc://@x",
        "tcp://127.0.0.1:5750", "tcp://127.1.2.3:*", "tcp://[::1]:1",
        "tcp://localhost:5750"};
    static const char *const others[] = {"tcp://0.0.0.0:1",
                                         "tcp://*:1",
                                         "tcp://[::]:1",
                                         "tcp://10.0.0.1:1",
                                         "tcp://eth0:1",
                                         "tcp://lo:1",
                                         "tcp://[fe80::1]:1",
                                         "tcp://127.0.0.1.example.org:1",
                                         "tcp://127.1:1",
                                         "tcp://0127.0.0.1:1",
                                         "tcp://localhost.example.org:1",
                                         "tcp://2130706433:1",
                                         "tcp://[::ffff:10.0.0.1]:1",
                                         "tipc://{1,2,3}",
                                         "tcp://",
                                         "",
                                         "127.0.0.1:1",
                                         "tcp://127.0.0.1"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        if (!mmq_endpoint_is_local(local[i])) {
            fail_msg("%s is local", local[i]);
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (mmq_endpoint_is_local(others[i])) {
            fail_msg("%s is not local", others[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_damage),
        cmocka_unit_test_setup_teardown(test_czmq_reads_ours_and_we_read_its, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_files_that_are_no_secrets, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_files_that_are_no_files, make_folder, remove_folder),
        cmocka_unit_test(test_endpoints_that_others_can_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
