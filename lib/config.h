/* Configuration: one table of options, each with its flag, environment variable, file key,
 * default and help. Flags win over the environment, the environment over the file. */
#ifndef MMQ_CONFIG_H
#define MMQ_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/faults.h"
#include "metricmq/error.h"

typedef enum mmq_option_kind {
    MMQ_OPTION_TEXT,
    MMQ_OPTION_INT,    /* within [least, most] */
    MMQ_OPTION_NUMBER, /* a finite double */
    MMQ_OPTION_MS,     /* "500ms", "10s", "5m" or plain milliseconds; stored in ms */
    MMQ_OPTION_BYTES,  /* "64K", "8M", "1G" or plain bytes */
    MMQ_OPTION_FLAG,   /* true or false; --name alone means true */
    MMQ_OPTION_LIST,   /* may be repeated; values in order */
    MMQ_OPTION_CHOICE, /* one of `choices`, separated by '|' */
} mmq_option_kind;

typedef struct mmq_option {
    const char *name; /* "bind-workers": flag --bind-workers, METRICMQ_BIND_WORKERS, bind-workers */
    mmq_option_kind kind;
    const char *fallback; /* as text; NULL: not set */
    const char *argument; /* how help names the value, e.g. "DIR" */
    const char *help;
    const char *choices;
    int64_t least, most; /* INT, MS, BYTES */
    bool secret;         /* has no flag, is never printed */
} mmq_option;

enum {
    MMQ_OPTION_NAME_MAX = 64, /* bytes of an option's name, with its NUL */
    MMQ_VARIABLE_MAX = MMQ_OPTION_NAME_MAX + 16,
    MMQ_SOURCE_MAX = 256, /* bytes of the name of a source; MMQ_VARIABLE_MAX at least */
};

typedef struct mmq_config mmq_config;

/* Reads argv (without program and command name), the environment (an empty variable counts as
 * none) and the ZPL file of --config or METRICMQ_CONFIG (at most 64 KiB, no nesting; a key of a
 * LIST may be repeated).
 * `names` lists the options this command takes (NULL-ended); the file may hold any option of the
 * table. NULL with a one-line reason that names the option and where it was given. */
mmq_config *mmq_config_new(const mmq_option *table, size_t count, const char *const *names,
                           int argc, char **argv, mmq_why *why);
/* As mmq_config_new, but what is wrong is told to `faults` (NULL: the first fault fails) and passed
 * over; so are variables that look like an option's and are none, as warnings. NULL: no memory. */
mmq_config *mmq_config_new_faults(const mmq_option *table, size_t count, const char *const *names,
                                  int argc, char **argv, mmq_faults *faults, mmq_why *why);
/* From the same sources, as they are now, for a command that takes other options. */
mmq_config *mmq_config_again(const mmq_config *config, const char *const *names, mmq_faults *faults,
                             mmq_why *why);
void mmq_config_destroy(mmq_config **config);

/* --help or --version was there: nothing else was checked. */
bool mmq_config_wants_help(const mmq_config *config);
bool mmq_config_wants_version(const mmq_config *config);
/* NULL if not set. Asking for an option that the table does not have is our bug. Borrowed. */
const char *mmq_config_text(const mmq_config *config, const char *name);
int64_t mmq_config_int(const mmq_config *config, const char *name); /* INT, MS, BYTES */
double mmq_config_number(const mmq_config *config, const char *name);
bool mmq_config_flag(const mmq_config *config, const char *name);
bool mmq_config_given(const mmq_config *config, const char *name); /* not the default */
/* A value of it was wrong, and passed over. */
bool mmq_config_refused(const mmq_config *config, const char *name);
/* Where its value is from: "--threads", "METRICMQ_THREADS", the file's path, "default". */
void mmq_config_source(const mmq_config *config, const char *name, char out[MMQ_SOURCE_MAX]);
size_t mmq_config_list(const mmq_config *config, const char *name, const char *const **values);
/* Arguments that are no flags ("--" ends flags), borrowed. */
size_t mmq_config_operands(const mmq_config *config, const char *const **operands);
/* The environment variable of an option: METRICMQ_BIND_WORKERS of "bind-workers". */
void mmq_option_variable(const char *name, char out[MMQ_VARIABLE_MAX]);
/* How its value is named, e.g. "DIR" or "table|csv"; NULL: it has none. Borrowed. */
const char *mmq_option_argument(const mmq_option *option);
/* Is it one of the names (NULL-ended)? */
bool mmq_option_taken(const char *const *names, const char *name);
/* Prints the help lines of the named options, for 80 columns. */
void mmq_config_help(const mmq_option *table, size_t count, const char *const *names, FILE *out);

#endif
