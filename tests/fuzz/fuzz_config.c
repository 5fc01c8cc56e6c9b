/* Any bytes as a configuration file, and as arguments: either there is a configuration whose values
 * are in their ranges, or one printable line that says why not, without any secret's value. Who
 * wants all faults gets such a line for each, one at least if there was a reason, and a
 * configuration with what is good. Input:
 * a byte that picks the source, then the file's text, or arguments that end at NUL bytes. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clients/commands/options.h"
#include "lib/check.h"
#include "lib/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONFIG_ARGUMENTS = 64, CONFIG_OPTIONS = 256, CONFIG_PATH = 64 };

static const char *const *all_names(void)
{
    static const char *names[CONFIG_OPTIONS + 1];
    CHECK(mmq_options_count <= CONFIG_OPTIONS);
    for (size_t i = 0; i < mmq_options_count; i++) {
        names[i] = mmq_options[i].name;
    }
    return names;
}

static void check_option(const mmq_config *config, const mmq_option *option)
{
    const bool given = mmq_config_given(config, option->name);
    switch (option->kind) {
    case MMQ_OPTION_INT:
    case MMQ_OPTION_MS:
    case MMQ_OPTION_BYTES:
        CHECK(!given || (mmq_config_int(config, option->name) >= option->least &&
                         mmq_config_int(config, option->name) <= option->most));
        break;
    case MMQ_OPTION_NUMBER:
        CHECK(isfinite(mmq_config_number(config, option->name)));
        break;
    case MMQ_OPTION_FLAG:
        (void)mmq_config_flag(config, option->name);
        break;
    case MMQ_OPTION_TEXT:
    case MMQ_OPTION_CHOICE:
        CHECK(!given || mmq_config_text(config, option->name) != NULL);
        break;
    case MMQ_OPTION_LIST: {
        const char *const *values;
        CHECK((mmq_config_list(config, option->name, &values) > 0) == given);
        break;
    }
    }
}

static void check_text(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        CHECK((unsigned char)*at >= ' ' && *at != 0x7f);
    }
    CHECK(strstr(text, "c4n4ry") == NULL); /* what the seeds have for secrets */
}

static void check_fault(void *context, bool grave, const char *text)
{
    (void)context;
    (void)grave;
    check_text(text);
}

static void check_options(const mmq_config *config)
{
    if (!mmq_config_wants_help(config) && !mmq_config_wants_version(config)) {
        for (size_t i = 0; i < mmq_options_count; i++) {
            check_option(config, &mmq_options[i]);
        }
    }
}

static void try_all_faults(int count, char **arguments, bool is_good)
{
    mmq_why why = {""};
    mmq_faults faults = {.tell = check_fault};
    mmq_config *config = mmq_config_new_faults(mmq_options, mmq_options_count, all_names(), count,
                                               arguments, &faults, &why);
    CHECK(config != NULL && (faults.count == 0) == is_good);
    check_options(config);
    mmq_config_destroy(&config);
}

static void try_arguments(int count, char **arguments)
{
    mmq_why why = {""};
    mmq_config *config =
        mmq_config_new(mmq_options, mmq_options_count, all_names(), count, arguments, &why);
    CHECK((config != NULL) == (why.text[0] == '\0'));
    check_text(why.text);
    if (config != NULL) {
        check_options(config);
    }
    mmq_config_destroy(&config);
    try_all_faults(count, arguments, why.text[0] == '\0');
}

/* False if what is no secret's line of a file bears the canary: its value may be shown. */
static bool hides_secrets(const char *text, size_t size, bool is_file)
{
    const char *end = text + size, *at = text;
    for (; (at = memmem(at, (size_t)(end - at), "c4n4ry", 6)) != NULL; at++) {
        const char *line = at;
        while (line > text && line[-1] != '\n') {
            line--;
        }
        if (!is_file || strncmp(line, "api-key = c4n4ry", 16) != 0) {
            return false;
        }
    }
    return true;
}

static void try_file(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[CONFIG_PATH];
    if (file < 0) {
        file = memfd_create("config", MFD_CLOEXEC);
        CHECK(file >= 0);
        (void)snprintf(path, sizeof path, "--config=/proc/self/fd/%d", file);
    }
    CHECK(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
    char *arguments[] = {path};
    try_arguments(1, arguments);
}

static void split_arguments(char *text, size_t size)
{
    char *arguments[CONFIG_ARGUMENTS];
    int count = 0;
    for (char *at = text; at <= text + size && count < CONFIG_ARGUMENTS; at += strlen(at) + 1) {
        if (strncmp(at, "--config", 8) == 0) {
            return; /* the fuzzer is not to read the machine's files */
        }
        arguments[count++] = at;
    }
    try_arguments(count, arguments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    char *text = calloc(1, size);
    CHECK(text != NULL);
    memcpy(text, data + 1, size - 1);
    const bool is_file = (data[0] & 1) == 0;
    if (!hides_secrets(text, size - 1, is_file)) {
        free(text);
        return 0;
    }
    if (is_file) {
        try_file(data + 1, size - 1);
    } else {
        split_arguments(text, size - 1);
    }
    free(text);
    return 0;
}
