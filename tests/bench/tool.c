/* See the header. Failure is the end: a benchmark that goes on after one measures nothing. */
#include "tests/bench/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void bench_must(mmq_err err, const mmq_why *why)
{
    if (err != MMQ_OK) {
        bench_die("%s: %s", mmq_err_name(err), why->text);
    }
}

void *bench_alloc(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) {
        bench_die("no memory for %zu bytes", size);
    }
    return memory;
}

int64_t bench_number(const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < 0) {
        bench_die("\"%s\" is no whole number", text);
    }
    return number;
}

static int64_t read_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

bench_clock bench_start(void)
{
    return (bench_clock){read_ns(CLOCK_PROCESS_CPUTIME_ID), read_ns(CLOCK_MONOTONIC)};
}

bench_clock bench_since(bench_clock start)
{
    bench_clock now = bench_start();
    return (bench_clock){now.cpu_ns - start.cpu_ns, now.wall_ns - start.wall_ns};
}

void bench_report(bench_clock passed, const bench_figure *figures)
{
    printf("{\"cpu\": %.9f, \"wall\": %.9f", (double)passed.cpu_ns / 1e9,
           (double)passed.wall_ns / 1e9);
    for (size_t i = 0; figures[i].name != NULL; i++) {
        printf(", \"%s\": %.17g", figures[i].name, figures[i].value);
    }
    puts("}");
}

void bench_times_init(bench_times *times, int64_t capacity)
{
    *times = (bench_times){.capacity = (size_t)capacity};
    times->took_ns = bench_alloc((times->capacity + 1) * sizeof *times->took_ns);
}

void bench_times_clear(bench_times *times)
{
    free(times->took_ns);
    *times = (bench_times){0};
}

void bench_times_add(bench_times *times, bench_clock passed)
{
    if (times->count == times->capacity) {
        bench_die("more requests than were planned");
    }
    times->took_ns[times->count++] = passed.wall_ns;
}

static int compare_times(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double bench_times_us(bench_times *times, double share)
{
    if (times->count == 0) {
        return 0;
    }
    qsort(times->took_ns, times->count, sizeof *times->took_ns, compare_times);
    return (double)times->took_ns[(size_t)((double)(times->count - 1) * share)] / 1e3;
}
