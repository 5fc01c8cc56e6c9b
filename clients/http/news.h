/* What has changed in the store, as told by metric.watch: asked for once however many viewers there
 * are, and kept as texts that all of them are sent from. One thread. */
#ifndef MMQ_HTTP_NEWS_H
#define MMQ_HTTP_NEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metricmq/client.h"

enum {
    MMQ_NEWS_KEPT = 32,               /* events that are remembered */
    MMQ_NEWS_BYTES = 2 * 1024 * 1024, /* of all of them */
    MMQ_NEWS_HELD = 16 * 1024 * 1024, /* of these and of those that viewers are still sending */
    MMQ_NEWS_SHORT = 512,             /* bytes of a text that is not an event's own, at most */
    MMQ_NEWS_STORE_MAX = 64,          /* bytes of a store's name */
    MMQ_NEWS_ID_MAX = MMQ_NEWS_STORE_MAX + 1 + 20, /* bytes of an event's id */
};

typedef struct mmq_news mmq_news;

/* A text/event-stream event that several may be sending. */
typedef struct mmq_event mmq_event;

/* told: called when there is something new to look at. NULL: no memory. */
mmq_news *mmq_news_new(mmq_client *client, void (*told)(void *context), void *context);
void mmq_news_destroy(mmq_news **news);
/* Asks the bus, if it is time for that and `wanted`; else stops asking. Nanoseconds until it wants
 * to be called again, -1: none. The client is to be stepped behind it. */
int64_t mmq_news_step(mmq_news *news, bool wanted);

/* The present commit is known, so that from here on nothing is missed. */
bool mmq_news_fresh(const mmq_news *news);
/* Prints the id of who has seen all up to now: the store's name and its commit, whose number is of
 * no other store. */
void mmq_news_print_id(const mmq_news *news, char out[MMQ_NEWS_ID_MAX + 1]);
/* Number of the last event: events are numbered from 2, so that 1 is before all of them. */
uint64_t mmq_news_last(const mmq_news *news);
/* Number of the last event that tells of nothing after what this id stands for, or 0: what came
 * after it is not known, so that everything is to be loaded again. Any text may be given. */
uint64_t mmq_news_at(const mmq_news *news, const char *id);
/* An event, to be given back; NULL: it is forgotten. */
mmq_event *mmq_news_take(const mmq_news *news, uint64_t number);
void mmq_event_give(mmq_event **event);
/* So much is held by those who are slow that nobody may hold more. */
bool mmq_news_crowded(const mmq_news *news);
const char *mmq_event_text(const mmq_event *event, size_t *size);
/* It tells of this metric, or of all. out: its text for who wants to hear of that one only; *size
 * 0: nothing of it. */
void mmq_event_print(const mmq_event *event, const char *uid, char out[MMQ_NEWS_SHORT],
                     size_t *size);
bool mmq_event_concerns(const mmq_event *event, const char *uid);
/* Prints what tells a viewer to load everything again. */
size_t mmq_news_print_reload(const mmq_news *news, char out[MMQ_NEWS_SHORT]);

#endif
