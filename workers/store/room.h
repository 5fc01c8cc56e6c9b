/* Rows in memory, by column, of any number. */
#ifndef MMQ_STORE_ROOM_H
#define MMQ_STORE_ROOM_H

#include "workers/store/block.h"

typedef struct mmq_room {
    mmq_write_rows rows;
    size_t capacity;
} mmq_room;

mmq_room *mmq_room_new(void); /* NULL: no memory */
void mmq_room_destroy(mmq_room **room);
/* Gives back the memory of a room that was made for a great many rows, and forgets them. */
void mmq_room_shrink(mmq_room *room);
/* Room for `count` rows in all. */
mmq_err mmq_room_reserve(mmq_room *room, size_t count, mmq_why *why) MMQ_MUST_USE;
/* Appends row i of from; reserved. */
void mmq_room_add(mmq_room *room, const mmq_write_rows *from, size_t i);
/* Appends rows [from, to) of source; reserved. */
void mmq_room_add_rows(mmq_room *room, const mmq_write_rows *source, size_t from, size_t to);
/* Appends all rows of a block; reserved. False: it is damaged. */
bool mmq_room_add_block(mmq_room *room, const mmq_block *block);
/* Sorts by (timestamp, rowid). */
mmq_err mmq_room_sort(mmq_room *room, mmq_why *why) MMQ_MUST_USE;

static inline mmq_row_key mmq_row_key_of(const mmq_write_rows *rows, size_t i)
{
    return (mmq_row_key){rows->timestamp[i], rows->rowid[i]};
}

#endif
