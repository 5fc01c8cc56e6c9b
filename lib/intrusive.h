/* From a member back to the object that it is a member of: intrusive lists, tables and heaps. */
#ifndef MMQ_INTRUSIVE_H
#define MMQ_INTRUSIVE_H

#include <stddef.h>

#define MMQ_OF(member_, type_, name_) ((type_ *)(void *)((char *)(member_)-offsetof(type_, name_)))

#endif
