/* The functions that --wrap puts in place of libc's and libzmq's. */
#include "fail_alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zmq.h>

enum { SMALL_MAX = 33 }; /* libzmq 4.3.4: msg_t::max_vsm_size */

static atomic_size_t calls, failing, failed; /* failing: the number of the call; 0: none */
static atomic_bool failing_on;
static _Thread_local bool spared;

void fail_alloc_arm(size_t nth, bool on)
{
    atomic_store(&failing, 0);
    atomic_store(&failed, 0);
    atomic_store(&calls, 0);
    atomic_store(&failing_on, on);
    atomic_store(&failing, nth);
}

size_t fail_alloc_disarm(void)
{
    atomic_store(&failing, 0);
    return atomic_load(&failed);
}

size_t fail_alloc_failed(void)
{
    return atomic_load(&failed);
}

void fail_alloc_spare(bool spare)
{
    spared = spare;
}

static bool fails(void)
{
    size_t nth = atomic_load(&failing);
    if (nth == 0 || spared) {
        return false;
    }
    size_t call = atomic_fetch_add(&calls, 1) + 1;
    if (call != nth && !(call > nth && atomic_load(&failing_on))) {
        return false;
    }
    atomic_fetch_add(&failed, 1);
    errno = ENOMEM;
    return true;
}

static size_t run_all(size_t stride, bool on, fail_alloc_scenario *scenario)
{
    size_t runs = 0;
    for (size_t nth = 1;; nth += stride, runs++) {
        scenario(nth, on);
        if (fail_alloc_disarm() == 0) {
            return runs;
        }
    }
}

size_t fail_alloc_each(const char *name, size_t stride, fail_alloc_scenario *scenario)
{
    size_t runs = run_all(stride, false, scenario);
    runs += run_all(stride, true, scenario);
    printf("%s: %zu runs in which an allocation failed\n", name, runs);
    return runs;
}

size_t fail_alloc_stride(void)
{
    const char *text = getenv("METRICMQ_ALLOC_STRIDE");
    size_t stride = text != NULL ? strtoul(text, NULL, 10) : 1;
    return stride > 0 ? stride : 1;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
int __real_zmq_msg_init_size(zmq_msg_t *message, size_t size);
int __real_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t size, zmq_free_fn *free_data,
                             void *hint);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_zmq_msg_init_size(zmq_msg_t *message, size_t size);
int __wrap_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t size, zmq_free_fn *free_data,
                             void *hint);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(memory, count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return fails() ? NULL : __real_strndup(text, size);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    if (fails()) {
        return -1;
    }
    va_list args;
    va_start(args, format);
    int size = vasprintf(out, format, args);
    va_end(args);
    return size;
}

/* Small messages live in the zmq_msg_t itself. */
int __wrap_zmq_msg_init_size(zmq_msg_t *message, size_t size)
{
    return size > SMALL_MAX && fails() ? -1 : __real_zmq_msg_init_size(message, size);
}

int __wrap_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t size, zmq_free_fn *free_data,
                             void *hint)
{
    return fails() ? -1 : __real_zmq_msg_init_data(message, data, size, free_data, hint);
}
