/* The `metricmq` program: one command a function, one table of options (options.c). */
#ifndef MMQ_COMMANDS_H
#define MMQ_COMMANDS_H

#include "lib/config.h"
#include "metricmq/client.h"

/* Exit status of the program (docs/architecture.md). */
enum { MMQ_EXIT_DONE = 0, MMQ_EXIT_FAILED = 1, MMQ_EXIT_USAGE = 2 };

/* Runs the command of argv[1]; returns the exit status. */
int mmq_main(int argc, char **argv);

/* The commands: each gets its configuration and returns the exit status. */
int mmq_command_up(const mmq_config *config);
int mmq_command_broker(const mmq_config *config);
int mmq_command_worker(const mmq_config *config);
int mmq_command_http(const mmq_config *config);
int mmq_command_key(const mmq_config *config);
int mmq_command_import(const mmq_config *config);
int mmq_command_demo(const mmq_config *config);
int mmq_command_models(const mmq_config *config);
int mmq_command_query(const mmq_config *config);
int mmq_command_watch(const mmq_config *config);
int mmq_command_feedback(const mmq_config *config);
int mmq_command_status(const mmq_config *config);
int mmq_command_keygen(const mmq_config *config);
int mmq_command_spool(const mmq_config *config);
int mmq_command_load(const mmq_config *config);
int mmq_command_check(const mmq_config *config);
int mmq_command_migrate(const mmq_config *config);
int mmq_command_check_config(const mmq_config *config);
int mmq_command_backup(const mmq_config *config);
int mmq_command_restore(const mmq_config *config);
int mmq_command_prune(const mmq_config *config);

/* The keys of --curve-key and --curve-server: *out and a pointer to it in *curve, or NULL there if
 * neither was given. Both must be, or MMQ_EINVAL. The caller wipes *out. */
mmq_err mmq_read_curve(const mmq_config *config, mmq_curve *out, const mmq_curve **curve,
                       mmq_why *why) MMQ_MUST_USE;

/* Imports CSV files over the client with the options of `import`; prints a line a file to stdout
 * unless quiet. stopped (may be NULL): asked now and then, true breaks off. */
int mmq_import_files(mmq_client *client, const mmq_config *config, const char *const *files,
                     size_t count, bool (*stopped)(void), bool quiet);

/* Prints "metricmq: ..." on stderr and returns the exit status, so that `return mmq_usage(...)`
 * serves. */
int mmq_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int mmq_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A client of --connect whose broker answers (asked within 5 s); NULL after printing why not, with
 * the exit status in *status. */
mmq_client *mmq_connect(const mmq_config *config, int *status);
enum { MMQ_PING_MS = 5000 }; /* a broker answers by then */
/* Waits until the broker has a worker for the service. MMQ_ENOTFOUND after timeout_ms; another
 * error if the broker does not answer within ping_ms. */
mmq_err mmq_wait_service(mmq_client *client, const char *service, unsigned ping_ms,
                         unsigned timeout_ms, mmq_why *why) MMQ_MUST_USE;

#endif
