/* No ncurses: what is wanted of the terminal are ten sequences that every one has had since the
 * VT100 and xterm, the picture is drawn whole each time, and a library with a database of
 * terminals, a state of its own and a handler for each signal would be more to get right than this
 * file.
 *
 * A picture overwrites the last one, line by line in one write, so nothing flickers: no line is
 * blank in between.
 *
 * Signals come by a signalfd, but for those of a crash: their handler puts the terminal right with
 * calls that are allowed in a handler, and lets the signal have its way. */
#include "clients/commands/screen.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

/* Alternate screen, no cursor, no line wrap; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[0m\033[?7h\033[?25h\033[?1049l"

enum { COLUMNS_MAX = 1000, ROWS_MAX = 1000, KEYS_MAX = 64 };

#define COUNT_OF(array_) (sizeof(array_) / sizeof *(array_))

static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};
static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

static struct sigaction before_crash[COUNT_OF(crashes)];

static struct screen {
    volatile sig_atomic_t open; /* the terminal is ours */
    bool has_keys;
    struct termios before; /* as it was; of standard input */
    sigset_t mask;         /* the thread's, as it was */
    int signals;           /* signalfd; -1: none */
    unsigned char keys[KEYS_MAX];
    size_t key_count, key_at;
} screen = {.signals = -1};

/* ---- what the terminal is -------------------------------------------------------------------- */

bool mmq_screen_possible(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

bool mmq_screen_has_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0') {
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
        }
    }
    return false;
}

bool mmq_screen_has_colours(void)
{
    const char *none = getenv("NO_COLOR");
    return none == NULL || none[0] == '\0';
}

void mmq_screen_size(unsigned *columns, unsigned *rows)
{
    struct winsize size = {.ws_col = 0};
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    *columns = size.ws_col == 0 ? 80 : size.ws_col < COLUMNS_MAX ? size.ws_col : COLUMNS_MAX;
    *rows = size.ws_row == 0 ? 24 : size.ws_row < ROWS_MAX ? size.ws_row : ROWS_MAX;
}

/* ---- taking it, and giving it back ----------------------------------------------------------- */

static bool write_all(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(STDOUT_FILENO, text, size);
        if (wrote < 0 && errno == EAGAIN) { /* who shares the terminal made it non-blocking */
            struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
            (void)poll(&output, 1, -1);
        } else if (wrote < 0 && errno != EINTR) {
            return false;
        }
        text += wrote > 0 ? wrote : 0;
        size -= wrote > 0 ? (size_t)wrote : 0;
    }
    return true;
}

/* Allowed in a handler of signals. */
static void leave(void)
{
    if (screen.open) {
        screen.open = 0;
        (void)write_all(LEAVE, sizeof LEAVE - 1);
        if (screen.has_keys) {
            (void)tcsetattr(STDIN_FILENO, TCSANOW, &screen.before); /* output may stand still */
        }
    }
}

/* In the background this stops us until we are in the foreground: the kernel sees to it. */
static void enter(void)
{
    if (screen.has_keys) {
        struct termios raw = screen.before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    screen.open = 1;
    (void)write_all(ENTER, sizeof ENTER - 1);
}

static void crash(int number)
{
    leave();
    for (size_t i = 0; i < COUNT_OF(crashes); i++) {
        (void)sigaction(crashes[i], &before_crash[i], NULL);
    }
    (void)raise(number);
}

static void fill_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < COUNT_OF(handled); i++) {
        sigaddset(set, handled[i]);
    }
}

static void catch_crashes(void)
{
    struct sigaction action = {.sa_handler = crash};
    action.sa_flags = SA_NODEFER;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < COUNT_OF(crashes); i++) {
        (void)sigaction(crashes[i], &action, &before_crash[i]);
    }
}

mmq_err mmq_screen_open(mmq_why *why)
{
    sigset_t set;
    fill_set(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, &screen.mask);
    screen.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (screen.signals < 0) {
        return mmq_fail(why, MMQ_EIO, "cannot wait for signals: %s", strerror(errno));
    }
    screen.has_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &screen.before) == 0;
    screen.key_count = screen.key_at = 0;
    catch_crashes();
    (void)atexit(leave); /* a library that ends the process */
    enter();
    return MMQ_OK;
}

void mmq_screen_close(void)
{
    leave();
    if (screen.signals >= 0) {
        (void)close(screen.signals);
        screen.signals = -1;
        (void)pthread_sigmask(SIG_SETMASK, &screen.mask, NULL);
    }
}

/* ---- signals --------------------------------------------------------------------------------- */

int mmq_screen_signals(void)
{
    return screen.signals;
}

/* As if nobody had caught it: the shell gets its terminal back, and says that we are stopped. */
static void stop_for_a_while(void)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    leave();
    (void)raise(SIGTSTP); /* it is blocked, so it comes with the next line */
    (void)pthread_sigmask(SIG_UNBLOCK, &stop, NULL);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
    enter();
}

mmq_screen_event mmq_screen_step(void)
{
    mmq_screen_event event = MMQ_SCREEN_QUIET;
    struct signalfd_siginfo seen;
    while (read(screen.signals, &seen, sizeof seen) == (ssize_t)sizeof seen) {
        if (seen.ssi_signo == SIGWINCH) {
            event = MMQ_SCREEN_REDRAW;
        } else if (seen.ssi_signo == SIGTSTP) {
            stop_for_a_while();
            event = MMQ_SCREEN_REDRAW;
        } else if (seen.ssi_signo == SIGCONT) { /* the terminal was another's meanwhile */
            enter();
            event = MMQ_SCREEN_REDRAW;
        } else {
            return MMQ_SCREEN_END;
        }
    }
    return event;
}

/* ---- keys and pictures ----------------------------------------------------------------------- */

int mmq_screen_keys(void)
{
    return screen.has_keys ? STDIN_FILENO : -1;
}

static int next_byte(void)
{
    if (screen.key_at == screen.key_count) {
        ssize_t count = read(STDIN_FILENO, screen.keys, sizeof screen.keys);
        screen.key_at = 0;
        screen.key_count = count > 0 ? (size_t)count : 0;
    }
    return screen.key_at < screen.key_count ? screen.keys[screen.key_at++] : -1;
}

/* ESC [ A, or ESC O A. A sequence that is cut between two reads is no key of ours, which costs a
 * key press. */
static int read_sequence(void)
{
    int byte = next_byte();
    if (byte != '[' && byte != 'O') {
        return MMQ_KEY_OTHER;
    }
    do {
        byte = next_byte();
    } while (byte >= 0 && (byte < '@' || byte > '~'));
    switch (byte) {
    case 'A':
        return MMQ_KEY_UP;
    case 'B':
        return MMQ_KEY_DOWN;
    case 'C':
        return MMQ_KEY_RIGHT;
    case 'D':
        return MMQ_KEY_LEFT;
    default:
        return MMQ_KEY_OTHER;
    }
}

int mmq_screen_key(void)
{
    int byte = screen.has_keys ? next_byte() : -1;
    if (byte < 0) {
        return MMQ_KEY_NONE;
    }
    if (byte == '\033') {
        return read_sequence();
    }
    return byte != 0 ? byte : (int)MMQ_KEY_OTHER;
}

bool mmq_screen_show(const char *text, size_t size)
{
    return write_all(text, size);
}
