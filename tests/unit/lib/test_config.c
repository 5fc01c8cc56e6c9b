/* Options: where they come from, which source wins, and what the sentences of failure say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/config.h"
#include "lib/digest.h"

static const mmq_option table[] = {
    {.name = "data", .kind = MMQ_OPTION_TEXT, .fallback = "./data", .argument = "DIR", .help = "d"},
    {.name = "bind-workers", .kind = MMQ_OPTION_TEXT, .help = "b"},
    {.name = "limit", .kind = MMQ_OPTION_INT, .fallback = "5", .help = "l", .least = 1, .most = 9},
    {.name = "any", .kind = MMQ_OPTION_INT, .help = "a", .least = INT64_MIN, .most = INT64_MAX},
    {.name = "anomaly", .kind = MMQ_OPTION_NUMBER, .help = "n"},
    {.name = "timeout", .kind = MMQ_OPTION_MS, .fallback = "30s", .help = "t", .most = 300000},
    {.name = "bytes", .kind = MMQ_OPTION_BYTES, .help = "y", .most = INT64_MAX},
    {.name = "watch", .kind = MMQ_OPTION_FLAG, .fallback = "false", .help = "w"},
    {.name = "import", .kind = MMQ_OPTION_LIST, .help = "i"},
    {.name = "format", .kind = MMQ_OPTION_CHOICE, .help = "f", .choices = "table|csv|json"},
    {.name = "api-key", .kind = MMQ_OPTION_TEXT, .help = "k", .secret = true},
    {.name = "pin", .kind = MMQ_OPTION_INT, .help = "p", .most = 9999, .secret = true},
    {.name = "other", .kind = MMQ_OPTION_INT, .help = "o", .most = 10},
};
enum { COUNT = sizeof table / sizeof *table };

static const char *const names[] = {"data",    "bind-workers", "limit", "any",    "anomaly",
                                    "timeout", "bytes",        "watch", "import", "format",
                                    "api-key", "pin",          NULL};

static char path[] = "/tmp/metricmq-config-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_bytes(const char *data, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *text)
{
    write_bytes(text, strlen(text));
}

enum { ARGUMENTS_MAX = 32 };

/* arguments are separated by '|'; they live until the next call */
static mmq_config *make_all(const char *arguments, mmq_faults *faults, mmq_why *why)
{
    static char copy[1024], *argv[ARGUMENTS_MAX + 1];
    char *rest = copy, *at;
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", arguments);
    while (argc < ARGUMENTS_MAX && *arguments && (at = strsep(&rest, "|"))) {
        argv[argc++] = at;
    }
    memset(why, 0, sizeof *why);
    return mmq_config_new_faults(table, COUNT, names, argc, argv, faults, why);
}

static mmq_config *make(const char *arguments, mmq_why *why)
{
    return make_all(arguments, NULL, why);
}

static mmq_config *make_well(const char *arguments)
{
    mmq_why why;
    mmq_config *config = make(arguments, &why);
    if (!config) {
        fail_msg("%s: %s", arguments, why.text);
    }
    return config;
}

/* Fails with a sentence of one line that holds both parts. */
static void assert_refused(const char *arguments, const char *part, const char *other_part)
{
    mmq_why why;
    mmq_config *config = make(arguments, &why);
    if (config) {
        fail_msg("taken: %s", arguments);
    }
    if (!strstr(why.text, part) || !strstr(why.text, other_part) || strchr(why.text, '\n')) {
        fail_msg("%s: %s", arguments, why.text);
    }
}

static void defaults(void **state)
{
    mmq_config *config = make_well("");
    (void)state;
    assert_string_equal(mmq_config_text(config, "data"), "./data");
    assert_null(mmq_config_text(config, "bind-workers"));
    assert_int_equal(mmq_config_int(config, "limit"), 5);
    assert_int_equal(mmq_config_int(config, "timeout"), 30000);
    assert_false(mmq_config_flag(config, "watch"));
    assert_false(mmq_config_given(config, "data"));
    mmq_config_destroy(&config);
    assert_null(config);
    mmq_config_destroy(&config);
}

static void flags_and_operands(void **state)
{
    const char *const *values;
    mmq_config *config =
        make_well("one|--data|/x|--limit=7|--watch|two|--anomaly|-1.5|--timeout=5m|"
                  "--bytes|8M|--import=a|--import|b|--format=csv|--|--data");
    (void)state;
    assert_string_equal(mmq_config_text(config, "data"), "/x");
    assert_int_equal(mmq_config_int(config, "limit"), 7);
    assert_true(mmq_config_flag(config, "watch"));
    assert_true(mmq_config_number(config, "anomaly") == -1.5);
    assert_int_equal(mmq_config_int(config, "timeout"), 300000);
    assert_int_equal(mmq_config_int(config, "bytes"), 8 * 1024 * 1024);
    assert_int_equal(mmq_config_list(config, "import", &values), 2);
    assert_string_equal(values[0], "a");
    assert_string_equal(values[1], "b");
    assert_string_equal(mmq_config_text(config, "format"), "csv");
    assert_true(mmq_config_given(config, "data"));
    assert_int_equal(mmq_config_operands(config, &values), 3);
    assert_string_equal(values[0], "one");
    assert_string_equal(values[1], "two");
    assert_string_equal(values[2], "--data");
    mmq_config_destroy(&config);
    config = make_well("--data=|--watch=false|-|--limit|1|--limit|2");
    assert_string_equal(mmq_config_text(config, "data"), "");
    assert_false(mmq_config_flag(config, "watch"));
    assert_int_equal(mmq_config_int(config, "limit"), 2);
    assert_int_equal(mmq_config_operands(config, &values), 1);
    mmq_config_destroy(&config);
}

static void bad_flags(void **state)
{
    (void)state;
    assert_refused("--limt=3", "--limt", "--limit");
    assert_refused("--bind-worker=x", "--bind-worker:", "--bind-workers");
    assert_refused("--zzzzzzzzz=secret", "--zzzzzzzzz", "unknown");
    assert_refused("-x", "-x", "unknown");
    assert_refused("--limit", "--limit", "needs a value");
    assert_refused("--limit|--data", "--limit", "needs a value");
    assert_refused("--limit=0", "--limit=0", "from 1 to 9");
    assert_refused("--limit=10", "--limit=10", "from 1 to 9");
    assert_refused("--limit=2x", "--limit=2x", "whole number");
    assert_refused("--limit=", "--limit=", "whole number");
    assert_refused("--any=99999999999999999999", "--any=", "whole number");
    assert_refused("--anomaly=nan", "--anomaly=nan", "a number");
    assert_refused("--timeout=5x", "--timeout=5x", "time");
    assert_refused("--timeout=1h", "--timeout=1h", "300000");
    assert_refused("--bytes=9999999999G", "--bytes=", "size");
    assert_refused("--watch=yes", "--watch=yes", "true or false");
    assert_refused("--format=xml", "--format=xml", "table|csv|json");
    assert_refused("--format=table|x|--format=", "--format=", "one of");
    assert_refused("--other=1", "--other", "no such option");
    assert_refused("--data\nx=1", "--data?x", "unknown");
    assert_refused("--limit=\x1b[31m\n", "--limit=?[31m?", "whole");
}

static void help_and_version_come_first(void **state)
{
    mmq_config *config = make_well("--nonsense|--help");
    (void)state;
    assert_true(mmq_config_wants_help(config));
    mmq_config_destroy(&config);
    config = make_well("--version");
    assert_true(mmq_config_wants_version(config));
    assert_false(mmq_config_wants_help(config));
    mmq_config_destroy(&config);
    config = make_well("--|--help");
    assert_false(mmq_config_wants_help(config));
    mmq_config_destroy(&config);
}

static void sources_have_their_rank(void **state)
{
    const char *const *values;
    char arguments[256];
    (void)state;
    write_text("# a comment\n\nlimit = 2\ndata = \"/from file\" # why\nimport = f\nimport = g\n"
               "api-key = 'canary #1'\nbytes = 1K\r\nother = nonsense\n");
    setenv("METRICMQ_LIMIT", "3", 1);
    setenv("METRICMQ_BIND_WORKERS", "tcp://env", 1);
    setenv("METRICMQ_NO_SUCH_THING", "1", 1);
    setenv("METRICMQ_OTHER", "nonsense", 1);
    setenv("METRICMQ_BYTES", "", 1);
    snprintf(arguments, sizeof arguments, "--limit=4|--config|%s", path);
    mmq_config *config = make_well(arguments);
    assert_int_equal(mmq_config_int(config, "limit"), 4);
    assert_string_equal(mmq_config_text(config, "data"), "/from file");
    assert_string_equal(mmq_config_text(config, "bind-workers"), "tcp://env");
    assert_string_equal(mmq_config_text(config, "api-key"), "canary #1");
    assert_int_equal(mmq_config_int(config, "bytes"), 1024);
    assert_int_equal(mmq_config_list(config, "import", &values), 2);
    mmq_config_destroy(&config);

    setenv("METRICMQ_CONFIG", path, 1);
    config = make_well("--import=x");
    assert_int_equal(mmq_config_int(config, "limit"), 3);
    assert_int_equal(mmq_config_list(config, "import", &values), 1);
    assert_string_equal(values[0], "x");
    mmq_config_destroy(&config);

    setenv("METRICMQ_LIMIT", "many", 1);
    assert_refused("", "METRICMQ_LIMIT=many", "whole number");
    unsetenv("METRICMQ_LIMIT");
    unsetenv("METRICMQ_BIND_WORKERS");
    unsetenv("METRICMQ_OTHER");
    unsetenv("METRICMQ_BYTES");
    unsetenv("METRICMQ_CONFIG");
}

static void assert_file_refused(const char *text, const char *part)
{
    char arguments[256];
    write_text(text);
    snprintf(arguments, sizeof arguments, "--config=%s", path);
    assert_refused(arguments, path, part);
}

static void bad_files(void **state)
{
    static char text[70000];
    char arguments[256];
    (void)state;
    assert_file_refused("limt = 3\n", "limt: unknown key");
    assert_file_refused("limit = many\n", "limit=many");
    assert_file_refused("limit = 3\n    data = x\n", "line 2");
    assert_file_refused("section\n", "line 1");
    assert_file_refused("a/b = 1\n", "line 1");
    assert_file_refused("/ = 1\n", "line 1");
    assert_file_refused("= 1\n", "line 1");
    assert_file_refused("data = \"x\n", "not closed");
    assert_file_refused("data = 'x' y\n", "closing quote");
    assert_file_refused("\tdata = x\n", "indented");
    assert_file_refused("\x1b[31m = x\n", "line 1");
    snprintf(arguments, sizeof arguments, "--config=%s", path);
    write_bytes("data = x\0y\n", 11);
    assert_refused(arguments, path, "NUL");
    memset(text, '#', sizeof text);
    write_bytes(text, sizeof text);
    assert_refused(arguments, path, "longer");
    assert_refused("--config=/no/such/file", "/no/such/file", "No such file");
    assert_refused("--config=/tmp", "/tmp", "directory");
    assert_refused("--config", "--config", "needs a value");
}

/* F74 */
static void secrets_are_not_told(void **state)
{
    mmq_why why;
    char arguments[256];
    (void)state;
    assert_refused("--api-key=canary", "--api-key", "secret");
    assert_null(make("--api-key=canary", &why));
    assert_null(strstr(why.text, "canary"));
    setenv("METRICMQ_PIN", "canary", 1);
    assert_null(make("", &why));
    assert_null(strstr(why.text, "canary"));
    assert_non_null(strstr(why.text, "METRICMQ_PIN"));
    unsetenv("METRICMQ_PIN");
    snprintf(arguments, sizeof arguments, "--config=%s", path);
    static const char *const texts[] = {"pin = canary\n", "pin canary\n", "api-key = \"canary\n",
                                        "api-key = 'x' canary\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(texts[i]);
        assert_null(make(arguments, &why));
        assert_null(strstr(why.text, "canary"));
    }
}

/* Files of random bytes, of those that mean something: an answer, never an abort. */
static void random_files(void **state)
{
    static const char bytes[] = "data=limit3 \n\n\"'#\t/.-\r$@+x\x80\xff";
    unsigned seed;
    char arguments[256], text[200];
    (void)state;
    mmq_random(&seed, sizeof seed);
    printf("seed: %u\n", seed);
    snprintf(arguments, sizeof arguments, "--config=%s", path);
    for (int i = 0; i < 3000; i++) {
        mmq_why why;
        size_t size = (size_t)rand_r(&seed) % sizeof text;
        for (size_t j = 0; j < size; j++) {
            text[j] = bytes[(size_t)rand_r(&seed) % (sizeof bytes - 1)];
        }
        write_bytes(text, size);
        mmq_config *config = make(arguments, &why);
        assert_true(config || why.text[0]);
        assert_null(strstr(why.text, "not a ZPL file")); /* our check came first */
        mmq_config_destroy(&config);
    }
}

static void help_lists_what_the_command_takes(void **state)
{
    char *text = NULL;
    size_t size = 0;
    (void)state;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    mmq_config_help(table, COUNT, names, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "--data DIR"));
    assert_non_null(strstr(text, "(default ./data)"));
    assert_non_null(strstr(text, "--format table|csv|json"));
    assert_non_null(strstr(text, "METRICMQ_API_KEY"));
    assert_non_null(strstr(text, "--config FILE"));
    assert_null(strstr(text, "--api-key"));
    assert_null(strstr(text, "--other"));
    free(text);
}

/* ---- all that is wrong ------------------------------------------------------------------ */

static char told[4096];

static void tell(void *context, bool grave, const char *text)
{
    (void)context;
    const size_t size = strlen(told);
    snprintf(told + size, sizeof told - size, "%s%s\n", grave ? "" : "warning: ", text);
}

static void assert_told(size_t count, const char *const *lines)
{
    size_t found = 0;
    for (const char *at = told; (at = strchr(at, '\n')); at++) {
        found++;
    }
    for (size_t i = 0; i < count; i++) {
        if (!strstr(told, lines[i])) {
            fail_msg("no \"%s\" in:\n%s", lines[i], told);
        }
    }
    if (found != count) {
        fail_msg("%zu lines, not %zu:\n%s", found, count, told);
    }
}

static void all_faults_are_told(void **state)
{
    static const char *const lines[] = {
        "--nope: unknown option",
        "--format=xml: want one of",
        "--pin: a secret has no flag",
        "-x: unknown option",
        "METRICMQ_ANOMALY=high: ",
        "line 2: lines must not be",
        "line 4: want: key = value",
        ": limit=0: want a whole",
        ": lmit: unknown key; did you mean limit?",
        "warning: METRICMQ_BYTS: there is no such option; did you mean METRICMQ_BYTES?",
    };
    mmq_why why;
    mmq_faults faults = {.tell = tell};
    char arguments[256];
    (void)state;
    told[0] = '\0';
    write_text("limit = 0\n data = x\nlmit = 3\nno pair\ntimeout = 7s\npin = 12\n");
    snprintf(arguments, sizeof arguments,
             "--nope|value|--format|xml|--pin|5|-x|one|--limit=7|--config|%s", path);
    unsetenv("METRICMQ_NO_SUCH_THING"); /* another test's */
    setenv("METRICMQ_ANOMALY", "high", 1);
    setenv("METRICMQ_BYTS", "1", 1);
    mmq_config *config = make_all(arguments, &faults, &why);
    unsetenv("METRICMQ_ANOMALY");
    unsetenv("METRICMQ_BYTS");
    assert_non_null(config);
    assert_told(sizeof lines / sizeof *lines, lines);
    assert_int_equal(faults.count, sizeof lines / sizeof *lines - 1);
    /* The rest holds, and what follows an unknown flag is its value. */
    const char *const *operands;
    assert_int_equal(mmq_config_operands(config, &operands), 1);
    assert_string_equal(operands[0], "one");
    assert_int_equal(mmq_config_int(config, "limit"), 7);
    assert_int_equal(mmq_config_int(config, "timeout"), 7000);
    assert_int_equal(mmq_config_int(config, "pin"), 12);
    assert_true(mmq_config_refused(config, "format"));
    assert_true(mmq_config_refused(config, "anomaly"));
    assert_false(mmq_config_refused(config, "timeout"));
    mmq_config_destroy(&config);
}

static void assert_source(const mmq_config *config, const char *name, const char *wanted)
{
    char source[MMQ_SOURCE_MAX];
    mmq_config_source(config, name, source);
    assert_string_equal(source, wanted);
}

static void sources_are_named(void **state)
{
    char arguments[256];
    (void)state;
    write_text("limit = 3\nbytes = 5\n");
    snprintf(arguments, sizeof arguments, "--limit|4|--config|%s", path);
    setenv("METRICMQ_BIND_WORKERS", "x", 1);
    mmq_config *config = make_well(arguments);
    unsetenv("METRICMQ_BIND_WORKERS");
    assert_source(config, "limit", "--limit");
    assert_source(config, "bytes", path);
    assert_source(config, "bind-workers", "METRICMQ_BIND_WORKERS");
    assert_source(config, "data", "default");
    mmq_config_destroy(&config);
}

static void again_for_other_names(void **state)
{
    static const char *const fewer[] = {"limit", NULL};
    mmq_why why;
    mmq_faults first = {.count = 0}, second = {.tell = tell};
    (void)state;
    told[0] = '\0';
    mmq_config *config = make_all("one|--data|x|--limit|2", &first, &why);
    assert_non_null(config);
    assert_int_equal(first.count, 0);
    mmq_config *other = mmq_config_again(config, fewer, &second, &why);
    assert_non_null(other);
    assert_int_equal(second.count, 1);
    assert_non_null(strstr(told, "--data: this command has no such option"));
    assert_int_equal(mmq_config_int(other, "limit"), 2);
    mmq_config_destroy(&other);
    mmq_config_destroy(&config);
}

/* What the shell happens to have is no test's. */
static void forget_environment(void)
{
    char name[64];
    for (size_t i = 0; environ[i];) {
        const size_t size = strcspn(environ[i], "=");
        if (strncmp(environ[i], "METRICMQ_", 9) == 0 && size < sizeof name) {
            snprintf(name, sizeof name, "%.*s", (int)size, environ[i]);
            unsetenv(name); /* the next one moves here */
        } else {
            i++;
        }
    }
}

int main(void)
{
    forget_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(flags_and_operands),
        cmocka_unit_test(bad_flags),
        cmocka_unit_test(help_and_version_come_first),
        cmocka_unit_test(sources_have_their_rank),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(secrets_are_not_told),
        cmocka_unit_test(random_files),
        cmocka_unit_test(help_lists_what_the_command_takes),
        cmocka_unit_test(all_faults_are_told),
        cmocka_unit_test(sources_are_named),
        cmocka_unit_test(again_for_other_names),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
