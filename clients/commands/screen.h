/* The terminal as a screen of our own: the alternate one, without echo and cursor, which is given
 * back as it was however the process ends (SIGKILL apart): at the end, on signals, when it is
 * stopped (Ctrl-Z) and when it crashes.
 *
 * One screen a process, used by one thread. */
#ifndef MMQ_SCREEN_H
#define MMQ_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "metricmq/error.h"

typedef enum mmq_key {
    MMQ_KEY_NONE, /* nothing (more) to read */
    MMQ_KEY_UP = 256,
    MMQ_KEY_DOWN,
    MMQ_KEY_LEFT,
    MMQ_KEY_RIGHT,
    MMQ_KEY_OTHER, /* one that we have no name for */
} mmq_key;

/* What has happened to us. */
typedef enum mmq_screen_event {
    MMQ_SCREEN_QUIET,
    MMQ_SCREEN_REDRAW, /* another size, or we are back */
    MMQ_SCREEN_END,    /* somebody wants us to end */
} mmq_screen_event;

/* True if standard output is a terminal that can move its cursor. */
bool mmq_screen_possible(void);
/* The terminal shows UTF-8, as far as the locale's variables tell; colours are wanted (NO_COLOR).
 */
bool mmq_screen_has_utf8(void);
bool mmq_screen_has_colours(void);
/* Columns and rows of standard output; 80 and 24 where they are not known. */
void mmq_screen_size(unsigned *columns, unsigned *rows);

/* Takes the terminal, and the signals that have to do with it; threads that there are must block
 * these, as libzmq's do. */
mmq_err mmq_screen_open(mmq_why *why) MMQ_MUST_USE;
/* Gives it back; nothing if it is not open. */
void mmq_screen_close(void);

/* Descriptors to poll for input; keys: -1 if standard input is no terminal. */
int mmq_screen_signals(void);
int mmq_screen_keys(void);
/* Handles the signals that have come; a stop returns when we go on. */
mmq_screen_event mmq_screen_step(void);
/* The next key that has come: a mmq_key, or its character. Never waits. */
int mmq_screen_key(void);
/* A picture begins with this, and has all lines of the screen. */
#define MMQ_SCREEN_HOME "\033[H"
/* Shows it, in one write. False: the terminal is gone. */
bool mmq_screen_show(const char *text, size_t size);

#endif
