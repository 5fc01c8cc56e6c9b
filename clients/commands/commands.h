/* The `metricmq` program: one command a file, one table of options (options.c). */
#ifndef MMQ_COMMANDS_H
#define MMQ_COMMANDS_H

/* Runs the command of argv[1]. Exit status: 0 done, 1 the work failed, 2 wrong usage. */
int mmq_main(int argc, char **argv);

#endif
