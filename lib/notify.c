/* sd_notify(3) has the protocol. libsystemd, which has a function for it, would be one more library
 * for a dozen lines.
 *
 * The manager must hear READY, but a socket that nobody reads must not hold us up: so a datagram is
 * sent without waiting, and what it held is owed until one is taken. Of the stages of our life only
 * the last one counts; a manager that has missed RELOADING need not know of it. */
#include "lib/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/number.h"

enum { DATAGRAM_MAX = MMQ_NOTIFY_TEXT_MAX + 128 };

static const char *const life_lines[] = {
    [MMQ_LIFE_READY] = "READY=1\n",
    [MMQ_LIFE_RELOADING] = "RELOADING=1\n",
    [MMQ_LIFE_STOPPING] = "STOPPING=1\n",
};

/* "/path", or "@name" in the abstract namespace, which has no NUL at its end. */
static bool read_address(mmq_notify *notify, const char *text)
{
    const size_t size = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || text[1] == '\0' ||
        size >= sizeof notify->address.sun_path) {
        return false;
    }
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, text, size);
    notify->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    if (text[0] == '@') {
        notify->address.sun_path[0] = '\0';
    } else {
        notify->address_size++;
    }
    return true;
}

static bool read_number(const char *text, int64_t most, int64_t *out)
{
    return mmq_integer_parse(text, strlen(text), out) && *out > 0 && *out <= most;
}

/* 0: nobody waits for our pings. */
static int64_t read_watchdog(const char *period, const char *pid)
{
    int64_t us, number;
    if (!period || (pid && !read_number(pid, INT32_MAX, &number))) {
        if (pid && period) {
            mmq_log(MMQ_WARN, "WATCHDOG_PID is no process: nobody is pinged");
        }
        return 0;
    }
    if (pid && number != getpid()) {
        return 0; /* it was for another process */
    }
    if (!read_number(period, INT64_MAX / 1000, &us)) {
        mmq_log(MMQ_WARN, "WATCHDOG_USEC is no time: nobody is pinged");
        return 0;
    }
    return us * 1000;
}

static void open_socket(mmq_notify *notify, const char *address)
{
    if (!read_address(notify, address)) {
        mmq_log(MMQ_WARN, "NOTIFY_SOCKET is neither /PATH nor @NAME: nobody is told how we are");
        return;
    }
    notify->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->socket < 0) {
        mmq_log(MMQ_WARN, "no socket for the service manager", MMQ_S("reason", strerror(errno)));
    }
}

void mmq_notify_init(mmq_notify *notify)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    *notify = (mmq_notify){.socket = -1};
    const char *address = getenv(names[0]);
    if (address && *address) {
        open_socket(notify, address);
    }
    if (notify->socket >= 0) {
        notify->watchdog_ns = read_watchdog(getenv(names[1]), getenv(names[2]));
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)unsetenv(names[i]);
    }
}

void mmq_notify_clear(mmq_notify *notify)
{
    if (notify->socket >= 0) {
        close(notify->socket);
    }
    *notify = (mmq_notify){.socket = -1};
}

bool mmq_notify_has_manager(const mmq_notify *notify)
{
    return notify->socket >= 0;
}

static bool send_text(const mmq_notify *notify, const char *text, size_t size)
{
    return sendto(notify->socket, text, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (const struct sockaddr *)&notify->address, notify->address_size) == (ssize_t)size;
}

void mmq_notify_flush(mmq_notify *notify)
{
    if (notify->socket < 0 || (!notify->owes_life && !notify->owes_status)) {
        return;
    }
    char text[DATAGRAM_MAX];
    int size = 0;
    if (notify->owes_life) {
        size += snprintf(text, sizeof text, "%s", life_lines[notify->life]);
    }
    if (notify->owes_life && notify->life == MMQ_LIFE_RELOADING) {
        size += snprintf(text + size, sizeof text - (size_t)size, "MONOTONIC_USEC=%" PRId64 "\n",
                         notify->reload_us);
    }
    if (notify->owes_status) {
        size += snprintf(text + size, sizeof text - (size_t)size, "STATUS=%s\n", notify->status);
    }
    if (send_text(notify, text, (size_t)size)) {
        notify->owes_life = notify->owes_status = false;
    }
}

void mmq_notify_life(mmq_notify *notify, mmq_life life)
{
    notify->life = life;
    notify->owes_life = life != MMQ_LIFE_STARTING;
    if (life == MMQ_LIFE_RELOADING) {
        notify->reload_us = mmq_now_ns() / 1000; /* of CLOCK_MONOTONIC, which the manager has too */
    }
    mmq_notify_flush(notify);
}

void mmq_notify_status(mmq_notify *notify, const char *text)
{
    char line[MMQ_NOTIFY_TEXT_MAX];
    snprintf(line, sizeof line, "%s", text);
    for (char *at = line; *at; at++) {
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f) {
            *at = '?'; /* what is no UTF-8 would be thrown away whole */
        }
    }
    if (strcmp(line, notify->status) != 0) {
        memcpy(notify->status, line, sizeof line);
        notify->owes_status = true;
    }
    mmq_notify_flush(notify);
}

bool mmq_notify_ping(mmq_notify *notify)
{
    static const char text[] = "WATCHDOG=1\n";
    return notify->socket >= 0 && send_text(notify, text, sizeof text - 1);
}
