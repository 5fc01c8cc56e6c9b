/* The door alone, so that tests can link all that is behind it. */
#include "clients/commands/commands.h"

#include <malloc.h>

enum {
    MAPPED_BYTES = 1024 * 1024,
    TRIM_BYTES = 8 * 1024 * 1024,
};

/* A page of rows is a few frames of 256 KiB, made in one thread and freed in another. By default
 * glibc asks the kernel for each and gives it back, and its pages are cleared each time: a fifth of
 * what a page costs. */
static void keep_frames(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
}

int main(int argc, char **argv)
{
    keep_frames();
    return mmq_main(argc, argv);
}
