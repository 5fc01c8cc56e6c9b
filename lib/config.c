/* Each option of the table has one setting, which remembers the strongest source that has spoken:
 * default, file, environment, flag. A weaker source's values give way, so the sources may be read
 * in any order (flags first, since one of them names the file).
 *
 * The first fault ends the reading, unless somebody wants all of them (`faults`): then what is
 * wrong is told and passed over, as if it had not been given.
 *
 * Sentences of failure are made of what people and files gave us; control characters are taken out
 * so that they stay one line, and a secret's value is never quoted. */
#include "lib/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/config_file.h"
#include "lib/config_value.h"
#include "lib/faults.h"
#include "lib/nearest.h"

enum { NAME_MAX_BYTES = MMQ_OPTION_NAME_MAX };

typedef enum source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_FLAG } source;

typedef struct setting {
    source source;
    bool refused; /* one of its values was none */
    mmq_option_value value;
    char **texts; /* one, or any number of a LIST; owned */
    size_t count;
} setting;

struct mmq_config {
    const mmq_option *table;
    size_t count;             /* of the table and of settings */
    const char *const *names; /* options the command takes */
    const char *path;         /* of the file; NULL: none. Borrowed from argv or environment */
    mmq_faults *faults;       /* NULL: the first one is the last. While sources are read */
    setting *settings;
    const char **operands; /* borrowed from argv */
    size_t operand_count;
    bool help, version;
    int argc; /* what it was made of */
    char **argv;
};

/* What comes of a fault in one place of a source. */
static mmq_err bear(const mmq_config *config, mmq_err err, const mmq_why *why)
{
    if (err != MMQ_EINVAL || !config->faults) {
        return err;
    }
    mmq_faults_add(config->faults, "%s", why->text);
    return MMQ_OK;
}

static size_t find_option(const mmq_config *config, const char *name, size_t size)
{
    size_t i = 0;
    while (i < config->count && (strncmp(config->table[i].name, name, size) != 0 ||
                                 config->table[i].name[size] != '\0')) {
        i++;
    }
    return i;
}

/* ---- settings --------------------------------------------------------------------------- */

static void drop_texts(setting *entry)
{
    for (size_t i = 0; i < entry->count; i++) {
        free(entry->texts[i]);
    }
    entry->count = 0;
}

static bool keep_text(setting *entry, const char *text)
{
    char **texts = realloc(entry->texts, (entry->count + 1) * sizeof *texts);
    if (!texts) {
        return false;
    }
    entry->texts = texts;
    texts[entry->count] = strdup(text);
    return texts[entry->count++] != NULL;
}

/* where: how the sentence of failure begins, e.g. "--limit". */
static mmq_err set_value(mmq_config *config, size_t index, source from, const char *text,
                         const char *where, mmq_why *why)
{
    const mmq_option *option = &config->table[index];
    setting *entry = &config->settings[index];
    mmq_option_value value;
    if (!mmq_option_value_read(option, text, &value)) {
        char wanted[128];
        entry->refused = true;
        mmq_option_value_wanted(option, wanted, sizeof wanted);
        return mmq_fail(why, MMQ_EINVAL, "%s%s%.40s: want %s", where, option->secret ? "" : "=",
                        option->secret ? "" : text, wanted);
    }
    if (from < entry->source) {
        return MMQ_OK;
    }
    if (from > entry->source || option->kind != MMQ_OPTION_LIST) {
        drop_texts(entry);
    }
    entry->source = from;
    entry->value = value;
    return keep_text(entry, text) ? MMQ_OK : mmq_fail(why, MMQ_ENOMEM, "%s: no memory", where);
}

static mmq_err set_defaults(mmq_config *config, mmq_why *why)
{
    for (size_t i = 0; i < config->count; i++) {
        const mmq_option *option = &config->table[i];
        CHECK(strlen(option->name) < NAME_MAX_BYTES);
        if (!option->fallback) {
            continue;
        }
        mmq_err err = set_value(config, i, FROM_DEFAULT, option->fallback, option->name, why);
        CHECK(err != MMQ_EINVAL);
        if (err) {
            return err;
        }
    }
    return MMQ_OK;
}

/* ---- flags ------------------------------------------------------------------------------ */

/* option: NULL if there is none of that name. */
static mmq_err refuse_flag(const mmq_config *config, const mmq_option *option, const char *name,
                           size_t size, mmq_why *why)
{
    int shown = size < NAME_MAX_BYTES ? (int)size : NAME_MAX_BYTES;
    if (option && option->secret) {
        return mmq_fail(why, MMQ_EINVAL,
                        "--%.*s: a secret has no flag: give it by environment or file", shown,
                        name);
    }
    if (option) {
        return mmq_fail(why, MMQ_EINVAL, "--%.*s: this command has no such option; see --help",
                        shown, name);
    }
    mmq_nearest search;
    mmq_nearest_begin(&search, name, size);
    for (const char *const *names = config->names; *names; names++) {
        mmq_nearest_offer(&search, *names);
    }
    if (search.nearest) {
        return mmq_fail(why, MMQ_EINVAL, "--%.*s: unknown option; did you mean --%s?", shown, name,
                        search.nearest);
    }
    return mmq_fail(why, MMQ_EINVAL, "--%.*s: unknown option; see --help", shown, name);
}

/* Reads the flag at argv[*at], and its value at argv[*at + 1] if it stands there; moves *at to
 * the last one used. */
static mmq_err read_flag(mmq_config *config, int argc, char **argv, int *at, mmq_why *why)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchrnul(name, '=');
    const char *value = *equals ? equals + 1 : NULL;
    const size_t size = (size_t)(equals - name);
    const bool is_config = size == 6 && memcmp(name, "config", size) == 0;
    const size_t index = find_option(config, name, size);
    const mmq_option *option = index < config->count ? &config->table[index] : NULL;
    if (!is_config &&
        (!option || option->secret || !mmq_option_taken(config->names, option->name))) {
        /* Who goes on takes what follows for its value. */
        *at += config->faults && !value && *at + 1 < argc && argv[*at + 1][0] != '-';
        return refuse_flag(config, option, name, size, why);
    }
    if (!value && option && option->kind == MMQ_OPTION_FLAG) {
        value = "true";
    } else if (!value && *at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0) {
        value = argv[++*at];
    }
    char where[NAME_MAX_BYTES + 8];
    snprintf(where, sizeof where, "--%.*s", (int)size, name);
    if (!value) {
        const char *argument = option ? mmq_option_argument(option) : "FILE";
        return mmq_fail(why, MMQ_EINVAL, "%s: needs a value: %.96s", where, argument);
    }
    if (!is_config) {
        return set_value(config, index, FROM_FLAG, value, where, why);
    }
    config->path = value;
    return MMQ_OK;
}

static mmq_err read_arguments(mmq_config *config, int argc, char **argv, mmq_why *why)
{
    bool flags = true;
    mmq_err err = MMQ_OK;
    for (int i = 0; i < argc && !err; i++) {
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (flags && strncmp(argv[i], "--", 2) == 0) {
            err = bear(config, read_flag(config, argc, argv, &i, why), why);
        } else if (flags && argv[i][0] == '-' && argv[i][1] != '\0') {
            err = mmq_fail(why, MMQ_EINVAL, "%.64s: unknown option; see --help", argv[i]);
            err = bear(config, err, why);
        } else {
            config->operands[config->operand_count++] = argv[i];
        }
    }
    return err;
}

static bool has_flag(int argc, char **argv, const char *flag)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], flag) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- environment and file --------------------------------------------------------------- */

/* An empty variable counts as none. */
static const char *get_variable(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

static mmq_err read_environment(mmq_config *config, mmq_why *why)
{
    char variable[MMQ_VARIABLE_MAX];
    for (size_t i = 0; i < config->count; i++) {
        mmq_option_variable(config->table[i].name, variable);
        const char *value = get_variable(variable);
        if (!value || !mmq_option_taken(config->names, config->table[i].name)) {
            continue;
        }
        mmq_err err = set_value(config, i, FROM_ENVIRONMENT, value, variable, why);
        if (bear(config, err, why)) {
            return err;
        }
    }
    if (!config->path) {
        config->path = get_variable("METRICMQ_CONFIG");
    }
    return MMQ_OK;
}

/* name: of a variable, behind the prefix, as an option's. */
static void warn_of_variable(const mmq_config *config, const char *name)
{
    char variable[MMQ_VARIABLE_MAX];
    mmq_nearest search;
    mmq_nearest_begin(&search, name, strlen(name));
    for (size_t i = 0; i < config->count; i++) {
        mmq_nearest_offer(&search, config->table[i].name);
    }
    mmq_option_variable(search.nearest ? search.nearest : name, variable);
    if (search.nearest) {
        char given[MMQ_VARIABLE_MAX];
        mmq_option_variable(name, given);
        mmq_faults_warn(config->faults, "%s: there is no such option; did you mean %s?", given,
                        variable);
    } else {
        mmq_faults_warn(config->faults, "%s: there is no such option", variable);
    }
}

/* It may be another program's, so it is no fault of ours; but a slip of the pen looks like that. */
static void warn_of_variables(const mmq_config *config)
{
    static const char prefix[] = "METRICMQ_";
    for (char *const *at = environ; config->faults && *at; at++) {
        const char *start = *at + sizeof prefix - 1;
        const size_t size = strcspn(*at, "=") - (sizeof prefix - 1);
        char name[NAME_MAX_BYTES];
        if (strncmp(*at, prefix, sizeof prefix - 1) != 0 || size == 0 || size >= sizeof name) {
            continue;
        }
        for (size_t i = 0; i < size; i++) {
            name[i] = start[i] == '_' ? '-' : (char)tolower((unsigned char)start[i]);
        }
        name[size] = '\0';
        if (strcmp(name, "config") != 0 && find_option(config, name, size) == config->count) {
            warn_of_variable(config, name);
        }
    }
}

static mmq_err refuse_key(const mmq_config *config, const char *key, const char *where,
                          mmq_why *why)
{
    mmq_nearest search;
    mmq_nearest_begin(&search, key, strlen(key));
    for (size_t i = 0; i < config->count; i++) {
        mmq_nearest_offer(&search, config->table[i].name);
    }
    return search.nearest
               ? mmq_fail(why, MMQ_EINVAL, "%s: unknown key; did you mean %s?", where,
                          search.nearest)
               : mmq_fail(why, MMQ_EINVAL, "%s: unknown key; keys are named as the flags", where);
}

static mmq_err take_pair(void *context, const char *key, const char *value, mmq_why *why)
{
    mmq_config *config = context;
    char where[128 + NAME_MAX_BYTES + 8];
    snprintf(where, sizeof where, "%s%.96s: %.64s", config->faults ? "--config " : "", config->path,
             key);
    size_t index = find_option(config, key, strlen(key));
    mmq_err err = MMQ_OK;
    if (index == config->count) {
        err = refuse_key(config, key, where, why);
    } else if (mmq_option_taken(config->names, key)) {
        err = set_value(config, index, FROM_FILE, value, where, why);
    }
    return bear(config, err, why);
}

/* ---- the whole -------------------------------------------------------------------------- */

static mmq_err read_file(mmq_config *config, mmq_why *why)
{
    mmq_why reason = {""};
    mmq_err err = mmq_config_file_read(config->path, take_pair, config, config->faults, &reason);
    return err ? mmq_fail(why, err, "--config %.240s", reason.text) : MMQ_OK;
}

static mmq_err read_sources(mmq_config *config, int argc, char **argv, mmq_why *why)
{
    mmq_err err = set_defaults(config, why);
    if (!err) {
        err = read_arguments(config, argc, argv, why);
    }
    if (!err) {
        err = read_environment(config, why);
    }
    if (!err && config->path) {
        err = bear(config, read_file(config, why), why);
    }
    warn_of_variables(config);
    return err;
}

mmq_config *mmq_config_new(const mmq_option *table, size_t count, const char *const *names,
                           int argc, char **argv, mmq_why *why)
{
    return mmq_config_new_faults(table, count, names, argc, argv, NULL, why);
}

mmq_config *mmq_config_new_faults(const mmq_option *table, size_t count, const char *const *names,
                                  int argc, char **argv, mmq_faults *faults, mmq_why *why)
{
    mmq_why reason = {.text = "no memory"};
    mmq_config *config = calloc(1, sizeof *config);
    if (!config) {
        goto failed;
    }
    config->table = table;
    config->names = names;
    config->faults = faults;
    config->argc = argc;
    config->argv = argv;
    config->settings = calloc(count + 1, sizeof *config->settings);
    config->operands = calloc((size_t)argc + 1, sizeof *config->operands);
    if (!config->settings || !config->operands) {
        goto failed;
    }
    config->count = count;
    config->help = has_flag(argc, argv, "--help") || has_flag(argc, argv, "-h");
    config->version = has_flag(argc, argv, "--version");
    if (config->help || config->version || read_sources(config, argc, argv, &reason) == MMQ_OK) {
        return config;
    }
failed:
    mmq_config_destroy(&config);
    mmq_one_line(reason.text);
    (void)mmq_fail(why, MMQ_EINVAL, "%s", reason.text);
    return NULL;
}

mmq_config *mmq_config_again(const mmq_config *config, const char *const *names, mmq_faults *faults,
                             mmq_why *why)
{
    return mmq_config_new_faults(config->table, config->count, names, config->argc, config->argv,
                                 faults, why);
}

void mmq_config_destroy(mmq_config **config)
{
    mmq_config *self = *config;
    if (!self) {
        return;
    }
    for (size_t i = 0; i < self->count; i++) {
        drop_texts(&self->settings[i]);
        free(self->settings[i].texts);
    }
    free(self->settings);
    free(self->operands);
    free(self);
    *config = NULL;
}

bool mmq_config_wants_help(const mmq_config *config)
{
    return config->help;
}

bool mmq_config_wants_version(const mmq_config *config)
{
    return config->version;
}

static const setting *get_setting(const mmq_config *config, const char *name)
{
    size_t index = find_option(config, name, strlen(name));
    CHECK(index < config->count);
    return &config->settings[index];
}

const char *mmq_config_text(const mmq_config *config, const char *name)
{
    const setting *entry = get_setting(config, name);
    return entry->count > 0 ? entry->texts[entry->count - 1] : NULL;
}

int64_t mmq_config_int(const mmq_config *config, const char *name)
{
    return get_setting(config, name)->value.integer;
}

double mmq_config_number(const mmq_config *config, const char *name)
{
    return get_setting(config, name)->value.number;
}

bool mmq_config_flag(const mmq_config *config, const char *name)
{
    return get_setting(config, name)->value.integer != 0;
}

bool mmq_config_given(const mmq_config *config, const char *name)
{
    return get_setting(config, name)->source != FROM_DEFAULT;
}

bool mmq_config_refused(const mmq_config *config, const char *name)
{
    return get_setting(config, name)->refused;
}

void mmq_config_source(const mmq_config *config, const char *name, char out[MMQ_SOURCE_MAX])
{
    switch (get_setting(config, name)->source) {
    case FROM_DEFAULT:
        snprintf(out, MMQ_SOURCE_MAX, "default");
        break;
    case FROM_FILE:
        snprintf(out, MMQ_SOURCE_MAX, "%s", config->path);
        break;
    case FROM_ENVIRONMENT:
        mmq_option_variable(name, out);
        break;
    case FROM_FLAG:
        snprintf(out, MMQ_SOURCE_MAX, "--%s", name);
        break;
    }
    mmq_one_line(out);
}

size_t mmq_config_list(const mmq_config *config, const char *name, const char *const **values)
{
    const setting *entry = get_setting(config, name);
    *values = (const char *const *)entry->texts;
    return entry->count;
}

size_t mmq_config_operands(const mmq_config *config, const char *const **operands)
{
    *operands = config->operands;
    return config->operand_count;
}
