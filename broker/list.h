/* Intrusive doubly linked lists: a list is a link that stands for both its ends. */
#ifndef MMQ_BROKER_LIST_H
#define MMQ_BROKER_LIST_H

#include <stdbool.h>

typedef struct mmq_link {
    struct mmq_link *next;
    struct mmq_link *prev;
} mmq_link;

/* Visits each link; the visited one may be removed meanwhile, others may not. */
#define MMQ_LIST_EACH(at_, list_)                                                                  \
    for (mmq_link *at_ = (list_)->next, *at_##_next = at_->next; at_ != (list_);                   \
         at_ = at_##_next, at_##_next = at_->next)

/* Makes an empty list, or a link that is on none. */
static inline void mmq_list_init(mmq_link *link)
{
    link->next = link;
    link->prev = link;
}

static inline bool mmq_list_empty(const mmq_link *list)
{
    return list->next == list;
}

static inline void mmq_list_push_back(mmq_link *list, mmq_link *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

static inline void mmq_list_push_front(mmq_link *list, mmq_link *link)
{
    mmq_list_push_back(list->next, link);
}

/* Harmless for a link that is on no list. */
static inline void mmq_list_remove(mmq_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    mmq_list_init(link);
}

#endif
