/* Pages of the program, of each command and of its file. What is said of options and commands is in
 * their tables; here stands what is true of all.
 *
 * A page is a list of things written one after the other; the first that fails is told of at the
 * end (struct page), since it is a mistake in our own texts. */
#include "clients/documents/pages.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "clients/commands/manual.h"
#include "clients/commands/options.h"
#include "clients/commands/table.h"
#include "lib/buffer.h"
#include "lib/check.h"
#include "lib/config_value.h"

struct page {
    mmq_roff *roff;
    mmq_err err;
    mmq_why why; /* of the first failure */
};

/* ---- parts -------------------------------------------------------------------------------- */

static void say(struct page *page, const char *text)
{
    if (page->err == MMQ_OK) {
        page->err = mmq_roff_text(page->roff, text, &page->why);
    }
}

__attribute__((format(printf, 2, 3))) static void sayf(struct page *page, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    int size = vasprintf(&text, format, list);
    va_end(list);
    CHECK(size >= 0);
    say(page, text);
    free(text);
}

static void heading(struct page *page, const char *title)
{
    if (page->err == MMQ_OK) {
        page->err = mmq_roff_heading(page->roff, 1, title, &page->why);
    }
}

static void paragraph(struct page *page, const char *text)
{
    mmq_roff_paragraph(page->roff);
    say(page, text);
}

/* tag: with markup */
static void item(struct page *page, const char *tag, const char *text)
{
    if (page->err == MMQ_OK) {
        page->err = mmq_roff_item(page->roff, tag, &page->why);
    }
    say(page, text);
}

static void paragraphs(struct page *page, const char *text)
{
    char *copy = strdup(text), *end;
    CHECK(copy);
    for (char *at = copy; at; at = end ? end + 2 : NULL) {
        end = strstr(at, "\n\n");
        if (end) {
            *end = '\0';
        }
        paragraph(page, at);
    }
    free(copy);
}

static void verbatim(struct page *page, const char *const *lines)
{
    mmq_roff_verbatim_begin(page->roff);
    for (; *lines; lines++) {
        mmq_roff_verbatim(page->roff, *lines);
    }
    mmq_roff_verbatim_end(page->roff);
}

static mmq_err end_page(struct page *page, mmq_why *why)
{
    return page->err == MMQ_OK ? MMQ_OK : mmq_fail(why, page->err, "%s", page->why.text);
}

/* ---- options ------------------------------------------------------------------------------ */

/* "--format table|csv", with markup: choices as they are typed, other values by their names. */
static char *option_tag(const mmq_option *option, const char *before, const char *between)
{
    char *tag = NULL;
    const char *argument = mmq_option_argument(option);
    const char *mark = option->kind == MMQ_OPTION_CHOICE ? "`" : "*";
    int size = argument ? asprintf(&tag, "`%s%s`%s%s%s%s", before, option->name, between, mark,
                                   argument, mark)
                        : asprintf(&tag, "`%s%s`", before, option->name);
    CHECK(size >= 0);
    return tag;
}

static bool shows_default(const mmq_option *option)
{
    return option->fallback && option->kind != MMQ_OPTION_FLAG;
}

/* Help has words like <data>, `metricmq keygen` and *: an asterisk is no markup there. */
static char *help_text(const mmq_option *option)
{
    char *text = malloc(2 * strlen(option->help) + 2), *out = text;
    CHECK(text);
    for (const char *at = option->help; *at; at++) {
        if (*at == '*' || *at == '[') {
            *out++ = '\\';
        }
        *out++ = *at;
    }
    *out = '\0';
    return text;
}

static void option_item(struct page *page, const mmq_option *option)
{
    char variable[MMQ_VARIABLE_MAX];
    char *tag = option_tag(option, "--", " "), *help = help_text(option);
    mmq_option_variable(option->name, variable);
    if (option->secret) {
        free(tag);
        CHECK(asprintf(&tag, "`%s` (environment or file only)", variable) > 0);
    }
    item(page, tag, help);
    if (shows_default(option)) {
        sayf(page, "(default `%s`)", option->fallback);
    }
    free(help);
    free(tag);
}

static void command_options(struct page *page, const mmq_command *command)
{
    heading(page, "OPTIONS");
    for (size_t i = 0; i < mmq_options_count; i++) {
        if (mmq_option_taken(command->options, mmq_options[i].name)) {
            option_item(page, &mmq_options[i]);
        }
    }
    item(page, "`--config` *FILE*",
         "Take what neither flags nor the environment say from this file: "
         "*metricmq.conf*(5).");
    item(page, "`--help`, `-h`", "Print a summary of this page.");
    item(page, "`--version`", "Print the version.");
    paragraph(page, "A value may also stand behind an equals sign (`--name=value`); `--` ends the "
                    "options. Flags win over the environment, the environment over the file.");
}

/* ---- sections that many pages have ---------------------------------------------------------- */

static void exit_status(struct page *page)
{
    heading(page, "EXIT STATUS");
    item(page, "0", "Done; of a service: it was told to stop, and did.");
    item(page, "1", "The work failed; a sentence on standard error says why.");
    item(page, "2", "Wrong usage or configuration: nothing was begun.");
}

static void environment(struct page *page, const mmq_command *command)
{
    heading(page, "ENVIRONMENT");
    paragraph(page, "Each option is also a variable: `--log-level` is `METRICMQ_LOG_LEVEL`. An "
                    "empty variable counts as none.");
    item(page, "`METRICMQ_CONFIG`", "The file, where `--config` names none.");
    if (!command || mmq_option_taken(command->options, "upload")) {
        item(page,
             "`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_PROFILE`, "
             "`AWS_SHARED_CREDENTIALS_FILE`",
             "Credentials for an object store. They have no options, and are in no log.");
        item(page,
             "`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_DEFAULT_REGION`, "
             "`AWS_CA_BUNDLE`",
             "Where it is, if no option says it.");
        item(page, "`https_proxy`, `no_proxy`", "The way there.");
    }
}

static void files(struct page *page, const mmq_command *command)
{
    if (command && !mmq_option_taken(command->options, "data")) {
        return;
    }
    heading(page, "FILES");
    item(page, "*DIR*`/metricmq.db`, *DIR*`/metricmq.db-wal`, *DIR*`/metricmq.db-shm`",
         "The store below the data directory `--data` *DIR*. They belong together: copy none of "
         "them alone while a write worker runs.");
    item(page, "*DIR*`/metricmq.db.lock`", "Held by the write worker; leave it alone.");
    item(page, "*DIR*`/spool`", "Feedback archives that are not uploaded yet.");
    item(page, "*DIR*`/uploads`", "Where they go, unless `--upload` says otherwise.");
    item(page, "*DIR*`/server_id`", "This server's name in feedback archives.");
}

static void examples(struct page *page, const mmq_manual *manual)
{
    heading(page, "EXAMPLES");
    for (const mmq_example *example = manual->examples; example->line; example++) {
        const char *const lines[] = {example->line, NULL};
        char *what = NULL;
        CHECK(asprintf(&what, "%s:", example->what) > 0);
        paragraph(page, what);
        verbatim(page, lines);
        free(what);
    }
}

/* names: of commands, apart by spaces */
static void see_also(struct page *page, const char *names)
{
    char *copy = strdup(names), *rest = NULL;
    CHECK(copy);
    heading(page, "SEE ALSO");
    say(page, "*metricmq*(1),");
    for (char *at = strtok_r(copy, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) {
        sayf(page, "*metricmq-%s*(1),", at);
    }
    say(page, "*metricmq.conf*(5), *metricmq-protocol*(7)");
    free(copy);
}

/* ---- pages -------------------------------------------------------------------------------- */

/* "FILE...": emphasised, but for what is typed as it stands. */
static void synopsis(struct page *page, const mmq_command *command)
{
    heading(page, "SYNOPSIS");
    sayf(page, "`metricmq %s`", command->name);
    char *copy = strdup(command->operands), *rest = NULL;
    CHECK(copy);
    for (char *at = strtok_r(copy, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) {
        const char *mark = strchr(at, '|') ? "`" : "*";
        const bool optional = at[0] == '[';
        sayf(page, "%s%s%s%s", optional ? "\\" : "", optional ? "" : mark, at,
             optional ? "" : mark);
    }
    free(copy);
    say(page, "\\[*OPTION*]...");
}

mmq_err mmq_page_command(mmq_roff *roff, size_t index, mmq_why *why)
{
    const mmq_command *command = &mmq_commands[index];
    const mmq_manual *manual = mmq_manual_find(command->name);
    struct page page = {.roff = roff};
    char name[64];
    if (!manual) {
        return mmq_fail(why, MMQ_EINVAL, "clients/commands/manual.c has no text for `%s`",
                        command->name);
    }
    snprintf(name, sizeof name, "metricmq-%s", command->name);
    mmq_roff_begin(roff, &(mmq_page){.name = name, .section = 1, .description = command->help});
    synopsis(&page, command);
    heading(&page, "DESCRIPTION");
    paragraphs(&page, manual->text);
    command_options(&page, command);
    exit_status(&page);
    environment(&page, command);
    files(&page, command);
    examples(&page, manual);
    see_also(&page, manual->see);
    return end_page(&page, why);
}

static void list_commands(struct page *page)
{
    heading(page, "COMMANDS");
    for (size_t i = 0; i < mmq_commands_count; i++) {
        char *tag = NULL;
        CHECK(asprintf(&tag, "*metricmq-%s*(1)", mmq_commands[i].name) > 0);
        item(page, tag, mmq_commands[i].help);
        free(tag);
    }
    item(page, "`metricmq help` \\[*COMMAND*]", "Print the commands, or what there is about one.");
    item(page, "`metricmq --version`", "Print the version.");
}

mmq_err mmq_page_program(mmq_roff *roff, mmq_why *why)
{
    static const mmq_manual first = {
        .examples = {{"metricmq up", "Everything on this machine's loopback"},
                     {"metricmq demo", "Metrics to try it with"},
                     {"metricmq query --anomaly 0.9 --limit 3", "Their worst moments"},
                     {"curl \"http://127.0.0.1:8080/_models\"", "The metrics by HTTP"}}};
    struct page page = {.roff = roff};
    mmq_roff_begin(roff, &(mmq_page){.name = "metricmq",
                                     .section = 1,
                                     .description = "metric time series and their anomaly scores "
                                                    "over ZeroMQ and HTTP"});
    heading(&page, "SYNOPSIS");
    say(&page, "`metricmq` *COMMAND* \\[*OPTION*]...");
    heading(&page, "DESCRIPTION");
    paragraphs(&page,
               "Serves metric time series and their anomaly scores. Rows stream out of SQLite as "
               "msgpack, JSON or CSV in constant memory; a metric with all its rows can be dumped "
               "into an archive, which is delivered to a folder or an object store.\n\n"
               "A broker hands requests of clients to workers, which own the store; an adapter "
               "speaks HTTP and is a client of the broker itself. Each is a command; `metricmq up` "
               "runs all of them in one process. Other commands are clients of the broker: they "
               "fill the store, read it, measure it. Some work on the data directory alone.");
    list_commands(&page);
    exit_status(&page);
    environment(&page, NULL);
    files(&page, NULL);
    examples(&page, &first);
    heading(&page, "SEE ALSO");
    say(&page, "*metricmq.conf*(5), *metricmq-protocol*(7)");
    return end_page(&page, why);
}

/* Which commands take it. */
static void option_users(struct page *page, const char *name)
{
    mmq_buffer users;
    mmq_buffer_init(&users, 64 * 1024);
    for (size_t i = 0; i < mmq_commands_count; i++) {
        if (mmq_option_taken(mmq_commands[i].options, name)) {
            mmq_buffer_format(&users, "%s%s", users.size > 0 ? ", " : "", mmq_commands[i].name);
        }
    }
    const char *text = mmq_buffer_cstr(&users);
    CHECK(text);
    sayf(page, "Read by: %s.", text);
    mmq_buffer_clear(&users);
}

static void key_item(struct page *page, const mmq_option *option)
{
    char variable[MMQ_VARIABLE_MAX], wanted[128];
    char *tag = option_tag(option, "", " = "), *help = help_text(option);
    mmq_option_variable(option->name, variable);
    mmq_option_value_wanted(option, wanted, sizeof wanted);
    if (option->kind == MMQ_OPTION_FLAG) {
        free(tag);
        CHECK(asprintf(&tag, "`%s` = `true|false`", option->name) > 0);
    }
    item(page, tag, help);
    mmq_roff_break(page->roff);
    sayf(page, "Value: %s%s.", wanted,
         option->kind == MMQ_OPTION_LIST ? "; the key may stand there several times" : "");
    if (option->fallback) {
        sayf(page, "Default: `%s`.", option->fallback);
    }
    sayf(page, "Environment: `%s`.", variable);
    if (option->secret) {
        say(page, "It has no flag, since others can see a process's arguments.");
    }
    option_users(page, option->name);
    free(help);
    free(tag);
}

mmq_err mmq_page_file(mmq_roff *roff, mmq_why *why)
{
    static const char *const example[] = {"# the whole service on one machine",
                                          "data = /var/lib/metricmq",
                                          "http = \"127.0.0.1:8080\"",
                                          "upload = \"s3://dumps/metrics\"",
                                          "s3-region = eu-central-1",
                                          "spool-max = 20G",
                                          "drain-timeout = 30s",
                                          "cors-origin = \"https://grafana.example\"",
                                          "cors-origin = \"https://board.example\"",
                                          NULL};
    struct page page = {.roff = roff};
    mmq_roff_begin(roff, &(mmq_page){.name = "metricmq.conf",
                                     .section = 5,
                                     .description = "the configuration file of metricmq"});
    heading(&page, "DESCRIPTION");
    paragraphs(
        &page,
        "A file that every command reads which is told to, by `--config` *FILE* or "
        "`METRICMQ_CONFIG`; there is no place where one is looked for otherwise. One file may "
        "serve all commands: a command takes what it knows and passes over what only others take, "
        "but a key that no command has is refused, as is a value that is none (exit status 2, with "
        "the file and the key).\n\n"
        "Flags win over the environment, the environment over the file.\n\n"
        "The file is ZPL, of one level: each line is `key = value`, begins at its first column and "
        "ends where the line ends. What begins with `#` is a comment. A value with `#` or spaces "
        "at its ends stands between quotes, single or double. It has 64 KiB at most.\n\n"
        "Times are numbers with `ms`, `s`, `m` or `h` behind them (without: milliseconds), sizes "
        "have `K`, `M` or `G` (without: bytes; K is 1,024).");
    heading(&page, "KEYS");
    for (size_t i = 0; i < mmq_options_count; i++) {
        key_item(&page, &mmq_options[i]);
    }
    heading(&page, "EXAMPLES");
    verbatim(&page, example);
    heading(&page, "SEE ALSO");
    say(&page, "*metricmq*(1), *metricmq-up*(1)");
    return end_page(&page, why);
}
