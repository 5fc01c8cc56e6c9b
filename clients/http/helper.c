/* Tasks go through one pipe to the thread and through another back, as pointers, which a pipe takes
 * whole. A pipe holds more of them than may be under way, so that no write of ours ever waits. */
#include "clients/http/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/process.h"

enum { TASKS_MAX = 4096 / sizeof(mmq_task *) }; /* what the smallest pipe holds: one page */

struct mmq_helper {
    pthread_t thread;
    bool started;
    int to[2], from[2];           /* pipes: read end, write end; -1: not there */
    size_t given;                 /* tasks that have not come back */
    atomic_bool ending;           /* what has not begun is not run any more */
    atomic_int_fast64_t begun_ns; /* when the task that is running began; 0: none is */
};

static void *run_tasks(void *context)
{
    mmq_helper *helper = context;
    mmq_task *task;
    mmq_log_role("http");
    while (read(helper->to[0], &task, sizeof task) == sizeof task) {
        if (!atomic_load(&helper->ending)) {
            atomic_store(&helper->begun_ns, mmq_now_ns());
            task->run(task);
            atomic_store(&helper->begun_ns, 0);
        }
        CHECK(write(helper->from[1], &task, sizeof task) == sizeof task);
    }
    return NULL;
}

mmq_helper *mmq_helper_new(mmq_why *why)
{
    mmq_helper *helper = calloc(1, sizeof *helper);
    if (helper == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the HTTP adapter");
        return NULL;
    }
    helper->to[0] = helper->to[1] = helper->from[0] = helper->from[1] = -1;
    if (pipe2(helper->to, O_CLOEXEC) != 0 || pipe2(helper->from, O_CLOEXEC) != 0 ||
        fcntl(helper->from[0], F_SETFL, O_NONBLOCK) != 0 ||
        !mmq_thread_start(&helper->thread, run_tasks, helper)) {
        (void)mmq_fail(why, MMQ_EIO, "cannot start the HTTP adapter's second thread");
        mmq_helper_destroy(&helper);
        return NULL;
    }
    helper->started = true;
    return helper;
}

static void close_pipe(int ends[2])
{
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            (void)close(ends[i]);
            ends[i] = -1;
        }
    }
}

void mmq_helper_destroy(mmq_helper **helper_p)
{
    mmq_helper *helper = *helper_p;
    if (helper == NULL) {
        return;
    }
    if (helper->started) {
        atomic_store(&helper->ending, true);
        (void)close(helper->to[1]);
        helper->to[1] = -1;
        (void)pthread_join(helper->thread, NULL);
        mmq_helper_step(helper);
    }
    close_pipe(helper->to);
    close_pipe(helper->from);
    free(helper);
    *helper_p = NULL;
}

bool mmq_helper_give(mmq_helper *helper, mmq_task *task)
{
    if (helper->given == TASKS_MAX) {
        return false;
    }
    CHECK(write(helper->to[1], &task, sizeof task) == sizeof task);
    helper->given++;
    return true;
}

int64_t mmq_helper_begun_ns(const mmq_helper *helper)
{
    return atomic_load(&helper->begun_ns);
}

int mmq_helper_descriptor(const mmq_helper *helper)
{
    return helper->from[0];
}

void mmq_helper_step(mmq_helper *helper)
{
    mmq_task *task;
    while (helper->given > 0 && read(helper->from[0], &task, sizeof task) == sizeof task) {
        helper->given--;
        task->done(task);
    }
}
