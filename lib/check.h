/* CHECK: our own bugs abort, in every build. Never for what a peer, a file or the disk did. */
#ifndef MMQ_CHECK_H
#define MMQ_CHECK_H

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : mmq_check_failed(#condition, __FILE__, __LINE__, __func__))

_Noreturn void mmq_check_failed(const char *condition, const char *file, int line,
                                const char *function);

#endif
