/* The tables of commands, of options and of the manual agree. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/commands/help.h"
#include "clients/commands/manual.h"
#include "clients/commands/options.h"
#include "clients/commands/table.h"

static bool is_command(const char *name)
{
    size_t i = 0;
    while (i < mmq_commands_count && strcmp(mmq_commands[i].name, name) != 0) {
        i++;
    }
    return i < mmq_commands_count;
}

static bool is_option(const char *name)
{
    size_t i = 0;
    while (i < mmq_options_count && strcmp(mmq_options[i].name, name) != 0) {
        i++;
    }
    return i < mmq_options_count;
}

static void every_command_has_its_text_and_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmq_commands_count; i++) {
        const mmq_manual *manual = mmq_manual_find(mmq_commands[i].name);
        if (!manual) {
            fail_msg("manual.c says nothing of `%s`", mmq_commands[i].name);
        }
        assert_non_null(manual->examples[0].line);
        assert_null(manual->examples[MMQ_EXAMPLES_MAX].line);
        for (const mmq_example *example = manual->examples; example->line; example++) {
            char begin[64];
            snprintf(begin, sizeof begin, "metricmq %s", manual->command);
            assert_ptr_equal(strstr(example->line, begin), example->line);
            assert_non_null(example->what);
            if (strlen(example->line) > 71) {
                fail_msg("too long for a page: %s", example->line);
            }
        }
    }
    assert_int_equal(mmq_manuals_count, mmq_commands_count);
}

static void others_that_are_named_are_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmq_manuals_count; i++) {
        char *names = strdup(mmq_manuals[i].see), *rest = NULL;
        assert_true(is_command(mmq_manuals[i].command));
        for (char *at = strtok_r(names, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) {
            if (!is_command(at)) {
                fail_msg("`%s` names `%s`", mmq_manuals[i].command, at);
            }
        }
        free(names);
    }
}

static bool is_taken_by_one(const char *option)
{
    for (size_t i = 0; i < mmq_commands_count; i++) {
        if (mmq_option_taken(mmq_commands[i].options, option)) {
            return true;
        }
    }
    return false;
}

static void options_are_those_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmq_commands_count; i++) {
        for (const char *const *name = mmq_commands[i].options; *name; name++) {
            if (!is_option(*name)) {
                fail_msg("`%s` takes --%s, which there is not", mmq_commands[i].name, *name);
            }
        }
    }
    for (size_t i = 0; i < mmq_options_count; i++) {
        if (!is_taken_by_one(mmq_options[i].name)) {
            fail_msg("no command takes --%s", mmq_options[i].name);
        }
    }
}

static void help_has_every_option_within_80_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < mmq_commands_count; i++) {
        char *text = NULL, *rest = NULL, flag[80];
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        assert_non_null(out);
        mmq_help_commands(out);
        mmq_help_command(&mmq_commands[i], out);
        assert_int_equal(fclose(out), 0);
        for (const char *const *name = mmq_commands[i].options; *name; name++) {
            snprintf(flag, sizeof flag, "--%s", *name);
            assert_true(strcmp(*name, "api-key") == 0 || strstr(text, flag));
        }
        for (char *at = strtok_r(text, "\n", &rest); at; at = strtok_r(NULL, "\n", &rest)) {
            if (strlen(at) > 79) {
                fail_msg("too long: %s", at);
            }
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_has_its_text_and_examples),
        cmocka_unit_test(others_that_are_named_are_commands),
        cmocka_unit_test(options_are_those_of_the_table),
        cmocka_unit_test(help_has_every_option_within_80_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
