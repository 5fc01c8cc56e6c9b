/* Descriptors are given out lowest first, so the lowest free one tells how many are in use, without
 * counting them. */
#include "broker/pressure.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/process.h"

#define LOOK_NS   (100 * MMQ_NS_PER_MS) /* a fast stranger grows us by 100 MB meanwhile */
#define SETTLE_NS (2 * MMQ_NS_PER_S)

enum {
    FADE_SHARE = 128, /* of what is known, a look takes that share away: half in 9 s */
    RESERVE_MAX = 64, /* descriptors kept for files, and for what we open ourselves */
    TABLE = 16384,    /* descriptors that the kernel's table has room for at once */
};

/* 0 if it cannot be read. */
static size_t read_memory(const mmq_pressure *pressure)
{
    char text[128];
    ssize_t size = pread(pressure->statm, text, sizeof text - 1, 0);
    if (size <= 0) {
        return 0;
    }
    text[size] = '\0';
    char *end;
    (void)strtoull(text, &end, 10); /* the whole address space */
    return (size_t)strtoull(end, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static void count_descriptors(mmq_pressure *pressure)
{
    int lowest = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    pressure->descriptors = lowest < 0 ? pressure->descriptor_max : (size_t)lowest;
    if (lowest >= 0) {
        close(lowest);
    }
}

void mmq_pressure_init(mmq_pressure *pressure, size_t stray_max, int64_t now_ns)
{
    *pressure = (mmq_pressure){.stray_max = stray_max, .due_ns = now_ns + LOOK_NS};
    pressure->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    pressure->descriptor_max = mmq_descriptors_raise(TABLE);
    count_descriptors(pressure);
    pressure->memory = pressure->base = pressure->base_least = read_memory(pressure);
}

void mmq_pressure_clear(mmq_pressure *pressure)
{
    if (pressure->statm >= 0) {
        close(pressure->statm);
    }
}

static size_t known_bytes(const mmq_pressure *pressure, size_t accounted)
{
    size_t faded = pressure->known - pressure->known / FADE_SHARE;
    return accounted > faded ? accounted : faded;
}

static bool is_over(const mmq_pressure *pressure, size_t memory, size_t known)
{
    return memory > pressure->base + known + pressure->stray_max;
}

/* Memory that somebody else had is theirs no longer. */
static void lower_base(mmq_pressure *pressure, size_t memory, size_t accounted)
{
    size_t base = memory > accounted ? memory - accounted : 0;
    base = base > pressure->base_least ? base : pressure->base_least;
    pressure->base = base < pressure->base ? base : pressure->base;
}

static mmq_relief try_relief(mmq_pressure *pressure, mmq_relief relief, size_t memory,
                             int64_t now_ns)
{
    pressure->tried = relief;
    pressure->tried_at = memory;
    pressure->settle_ns = now_ns + SETTLE_NS;
    return relief;
}

mmq_relief mmq_pressure_judge(mmq_pressure *pressure, size_t memory, size_t accounted,
                              int64_t now_ns)
{
    bool settling = pressure->tried != MMQ_RELIEF_NONE && now_ns < pressure->settle_ns;
    bool grows = memory > pressure->tried_at + pressure->stray_max;
    pressure->known = known_bytes(pressure, accounted);
    if (!is_over(pressure, memory, pressure->known)) {
        pressure->tried = MMQ_RELIEF_NONE;
        lower_base(pressure, memory, accounted);
    } else if (settling && !grows) {
        return MMQ_RELIEF_NONE;
    } else if (pressure->tried == MMQ_RELIEF_CLIENTS) {
        return try_relief(pressure, MMQ_RELIEF_WORKERS, memory, now_ns);
    } else if (pressure->tried == MMQ_RELIEF_NONE || settling) {
        return try_relief(pressure, MMQ_RELIEF_CLIENTS, memory, now_ns);
    } else {
        pressure->base = memory - pressure->known;
        pressure->tried = MMQ_RELIEF_NONE;
    }
    return MMQ_RELIEF_NONE;
}

mmq_relief mmq_pressure_look(mmq_pressure *pressure, size_t accounted, int64_t now_ns)
{
    count_descriptors(pressure);
    if (now_ns < pressure->due_ns) {
        return MMQ_RELIEF_NONE;
    }
    pressure->due_ns = now_ns + LOOK_NS;
    pressure->memory = read_memory(pressure);
    if (is_over(pressure, pressure->memory, known_bytes(pressure, accounted))) {
        malloc_trim(0); /* what was freed is not resident any more */
        pressure->memory = read_memory(pressure);
    }
    return mmq_pressure_judge(pressure, pressure->memory, accounted, now_ns);
}

bool mmq_pressure_scarce(const mmq_pressure *pressure, bool scarce_now)
{
    size_t reserve = pressure->descriptor_max / 8;
    reserve = reserve < RESERVE_MAX ? reserve : RESERVE_MAX;
    size_t left = pressure->descriptor_max - pressure->descriptors;
    return left < (scarce_now ? 2 * reserve : reserve);
}
