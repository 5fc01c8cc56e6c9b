/* `check-config`: the configuration of a role, looked at without starting it. The rooms tell what
 * is wrong with their settings; here is what concerns the whole process, and what holds is shown.
 *
 * Nothing that a role which runs meanwhile has or does may be changed by it: no folder is made, no
 * address listened on, the store not opened. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/commands/commands.h"
#include "clients/commands/help.h"
#include "clients/commands/options.h"
#include "clients/commands/settings.h"
#include "lib/check.h"
#include "lib/places.h"

static void tell(void *context, bool grave, const char *text)
{
    (void)context;
    fprintf(stderr, "metricmq: %s%s\n", grave ? "" : "warning: ", text);
}

/* ---- what is wrong ------------------------------------------------------------------------- */

/* A secret in a file that others may read is one no more. */
static void look_at_secret(const mmq_config *config, const char *name, mmq_faults *faults)
{
    char source[MMQ_SOURCE_MAX];
    struct stat status;
    mmq_config_source(config, name, source);
    if (mmq_config_text(config, name) && stat(source, &status) == 0 &&
        status.st_mode & (S_IROTH | S_IWOTH)) {
        mmq_faults_warn(faults, "--config %.160s holds %s, and others may read it", source, name);
    }
}

/* True if the folder is there, for others to be looked at in it. */
static bool look_at_data(const mmq_config *config, mmq_faults *faults)
{
    const char *data = mmq_config_text(config, "data");
    struct stat status;
    mmq_why why = {""};
    if (mmq_place_folder(data, false, &why) != MMQ_OK) {
        mmq_faults_add(faults, "--data %.80s: %s", data, why.text);
        return false;
    }
    return stat(data, &status) == 0;
}

/* kind: of a worker; NULL: all of them in one process. */
static void look_at_places(const mmq_config *config, const char *kind, const char *store,
                           const char *upload, mmq_faults *faults)
{
    const bool reads_only = kind && strcmp(kind, "query") == 0;
    const bool uploads = !kind || strcmp(kind, "feedback") == 0;
    const bool writes = !kind || strcmp(kind, "write") == 0;
    const bool is_there = !reads_only && look_at_data(config, faults);
    if (!writes || is_there || mmq_config_given(config, "store")) {
        mmq_worker_store_look(store, writes, faults);
    }
    if (uploads && (is_there || mmq_config_given(config, "upload"))) {
        mmq_worker_upload_look(upload, faults);
    }
}

static void look_at_workers(const mmq_config *config, const char *kind, const char *endpoint,
                            mmq_faults *faults)
{
    char *store = mmq_store_url(config), *upload = mmq_upload_url(config);
    const mmq_worker_settings settings = mmq_worker_settings_of(config, endpoint, store, upload);
    mmq_worker_settings_look(&settings, faults);
    look_at_places(config, kind, store, upload, faults);
    free(store);
    free(upload);
}

static void look_at_curve(const mmq_config *config, mmq_faults *faults)
{
    mmq_why why = {""};
    mmq_curve keys;
    const mmq_curve *curve;
    mmq_faults_none(faults, mmq_read_curve(config, &keys, &curve, &why), &why);
    mmq_curve_wipe(&keys);
}

static const char *connect_of(const mmq_config *config, const char *fallback)
{
    const char *given = mmq_config_text(config, "connect");
    return given ? given : fallback;
}

static void look_at_http(const mmq_config *config, const char *connect, mmq_faults *faults)
{
    const mmq_http_settings settings = mmq_http_settings_of(config, connect, NULL);
    mmq_http_settings_check(&settings, faults);
    look_at_secret(config, "api-key", faults);
}

static void look_at_imports(const mmq_config *config, mmq_faults *faults)
{
    const char *const *files;
    const size_t count = mmq_config_list(config, "import", &files);
    for (size_t i = 0; i < count; i++) {
        mmq_why why = {""};
        if (mmq_place_file(files[i], &why) != MMQ_OK) {
            mmq_faults_add(faults, "--import %s", why.text);
        }
    }
}

static void look(const mmq_config *config, const char *role, const char *kind, mmq_faults *faults)
{
    const bool all = strcmp(role, "up") == 0;
    if (all || strcmp(role, "broker") == 0) {
        const mmq_broker_settings settings = mmq_broker_settings_of(config, all);
        mmq_broker_settings_check(&settings, faults);
    }
    if (all) {
        look_at_workers(config, NULL, MMQ_INPROC_WORKERS, faults);
        look_at_http(config, MMQ_INPROC_CLIENTS, faults);
        look_at_imports(config, faults);
    } else if (strcmp(role, "worker") == 0) {
        look_at_curve(config, faults);
        look_at_workers(config, kind, connect_of(config, MMQ_DEFAULT_WORKERS), faults);
    } else if (strcmp(role, "http") == 0) {
        look_at_curve(config, faults);
        look_at_http(config, connect_of(config, MMQ_DEFAULT_CLIENTS), faults);
    }
}

/* ---- what holds ---------------------------------------------------------------------------- */

/* As the file has it (lib/config_file.h), which can be made of what is printed. */
static void show_value(const char *name, const char *value, const char *source)
{
    char *text = strdup(value);
    CHECK(text);
    mmq_one_line(text);
    const size_t size = strlen(text);
    const bool bare = size > 0 && !strpbrk(text, "#\"'") && text[0] != ' ' && text[size - 1] != ' ';
    const char quote = strchr(text, '"') ? '\'' : '"';
    if (!bare && strchr(text, quote)) {
        printf("# %s: %s (%s; no file can hold it)\n", name, text, source);
    } else if (bare) {
        printf("%s = %s # %s\n", name, text, source);
    } else {
        printf("%s = %c%s%c # %s\n", name, quote, text, quote, source);
    }
    free(text);
}

static bool is_secret(const char *name)
{
    size_t i = 0;
    while (strcmp(mmq_options[i].name, name) != 0) {
        i++;
    }
    return mmq_options[i].secret;
}

/* Defaults that follow from others. Caller frees; NULL: it has none. */
static char *derive(const mmq_config *config, const char *role, const char *name)
{
    if (strcmp(name, "store") == 0) {
        return mmq_store_url(config);
    }
    if (strcmp(name, "upload") == 0) {
        return mmq_upload_url(config);
    }
    if (strcmp(name, "connect") == 0) {
        return strdup(strcmp(role, "worker") == 0 ? MMQ_DEFAULT_WORKERS : MMQ_DEFAULT_CLIENTS);
    }
    return NULL;
}

static void show_option(const mmq_config *config, const char *role, const char *name)
{
    const char *const *values;
    char source[MMQ_SOURCE_MAX];
    const size_t count = mmq_config_list(config, name, &values);
    char *derived = count == 0 ? derive(config, role, name) : NULL;
    mmq_config_source(config, name, source);
    if (derived) {
        printf("# "); /* in a file it would hold on to what it follows from */
        show_value(name, derived, source);
    } else if (count > 0 && is_secret(name)) {
        printf("# %s: set, not shown (%s)\n", name, source);
    }
    for (size_t i = 0; i < count && !is_secret(name); i++) {
        show_value(name, values[i], source);
    }
    free(derived);
}

static void show(const mmq_config *config, const char *role, const char *const *names)
{
    for (; *names; names++) {
        if (!mmq_config_refused(config, *names)) {
            show_option(config, role, *names);
        }
    }
}

/* ---- the command --------------------------------------------------------------------------- */

/* The role's own operands; *kind: of a worker, else NULL. */
static bool read_operands(const mmq_config *config, const char **role, const char **kind)
{
    static const char *const kinds[] = {"query", "write", "feedback", NULL};
    const char *const *operands;
    const size_t count = mmq_config_operands(config, &operands);
    *role = operands[0];
    *kind = strcmp(*role, "worker") == 0 && count == 2 ? operands[1] : NULL;
    if (strcmp(*role, "worker") == 0) {
        return *kind && mmq_option_taken(kinds, *kind);
    }
    return count == 1;
}

int mmq_command_check_config(const mmq_config *config)
{
    const char *role, *kind;
    if (!read_operands(config, &role, &kind)) {
        return mmq_usage(strcmp(role, "worker") == 0
                             ? "`check-config worker` wants one of query, write, feedback"
                             : "`check-config` takes one role, and its options");
    }
    const mmq_command *command = mmq_command_find(role);
    CHECK(command);
    mmq_why why = {""};
    mmq_faults faults = {.tell = tell};
    mmq_config *own = mmq_config_again(config, command->options, &faults, &why);
    if (!own) {
        return mmq_failed("%s", why.text);
    }
    look(own, role, kind, &faults);
    show(own, role, command->options);
    mmq_config_destroy(&own);
    return faults.count > 0 ? MMQ_EXIT_USAGE : MMQ_EXIT_DONE;
}
