#include "workers/store/room.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"

enum { COLUMNS = 5, FIRST_CAPACITY = 2 * MMQ_BLOCK_ROWS, KEPT_CAPACITY = 64 * MMQ_BLOCK_ROWS };

mmq_room *mmq_room_new(void)
{
    return calloc(1, sizeof(mmq_room));
}

static void free_columns(mmq_room *room)
{
    free(room->rows.timestamp); /* the others are in the same piece */
}

void mmq_room_destroy(mmq_room **room_p)
{
    mmq_room *room = *room_p;
    if (room == NULL) {
        return;
    }
    free_columns(room);
    free(room);
    *room_p = NULL;
}

void mmq_room_shrink(mmq_room *room)
{
    if (room->capacity > KEPT_CAPACITY) {
        free_columns(room);
        *room = (mmq_room){.capacity = 0};
    }
}

static bool set_columns(mmq_write_rows *rows, size_t capacity)
{
    int64_t *memory = reallocarray(NULL, capacity, COLUMNS * sizeof *memory);
    if (memory == NULL) {
        return false;
    }
    rows->timestamp = memory;
    rows->rowid = memory + capacity;
    rows->value = (double *)(void *)(memory + 2 * capacity);
    rows->anomaly_score = rows->value + capacity;
    rows->raw_score = rows->value + 2 * capacity;
    rows->count = 0;
    return true;
}

mmq_err mmq_room_reserve(mmq_room *room, size_t count, mmq_why *why)
{
    if (count <= room->capacity) {
        return MMQ_OK;
    }
    size_t capacity = room->capacity > 0 ? 2 * room->capacity : FIRST_CAPACITY;
    capacity = capacity < count ? count : capacity;
    mmq_room grown = {.capacity = capacity};
    if (!set_columns(&grown.rows, capacity)) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory for %zu rows", capacity);
    }
    mmq_room_add_rows(&grown, &room->rows, 0, room->rows.count);
    free_columns(room);
    *room = grown;
    return MMQ_OK;
}

void mmq_room_add(mmq_room *room, const mmq_write_rows *from, size_t i)
{
    mmq_write_rows *to = &room->rows;
    const size_t at = to->count++;
    to->timestamp[at] = from->timestamp[i];
    to->rowid[at] = from->rowid[i];
    to->value[at] = from->value[i];
    to->anomaly_score[at] = from->anomaly_score[i];
    to->raw_score[at] = from->raw_score[i];
}

void mmq_room_add_rows(mmq_room *room, const mmq_write_rows *source, size_t from, size_t to)
{
    mmq_write_rows *out = &room->rows;
    const size_t at = out->count, count = to - from;
    CHECK(count <= room->capacity - at);
    if (count == 0) {
        return; /* of a source without memory, maybe */
    }
    memcpy(out->timestamp + at, source->timestamp + from, count * sizeof *out->timestamp);
    memcpy(out->rowid + at, source->rowid + from, count * sizeof *out->rowid);
    memcpy(out->value + at, source->value + from, count * sizeof *out->value);
    memcpy(out->anomaly_score + at, source->anomaly_score + from,
           count * sizeof *out->anomaly_score);
    memcpy(out->raw_score + at, source->raw_score + from, count * sizeof *out->raw_score);
    out->count += count;
}

bool mmq_room_add_block(mmq_room *room, const mmq_block *block)
{
    mmq_write_rows *to = &room->rows;
    const size_t at = to->count, count = block->count;
    CHECK(count <= room->capacity - at);
    memcpy(to->timestamp + at, block->timestamp, count * sizeof *to->timestamp);
    memcpy(to->rowid + at, block->rowid, count * sizeof *to->rowid);
    to->count += count;
    return mmq_doubles_decode(&block->value, 0, count, to->value + at) &&
           mmq_doubles_decode(&block->anomaly_score, 0, count, to->anomaly_score + at) &&
           mmq_doubles_decode(&block->raw_score, 0, count, to->raw_score + at);
}

/* ---- sorting ---------------------------------------------------------------------------- */

struct place {
    mmq_row_key key;
    size_t row;
};

static int compare_places(const void *a_p, const void *b_p)
{
    const mmq_row_key a = ((const struct place *)a_p)->key, b = ((const struct place *)b_p)->key;
    if (a.timestamp != b.timestamp) {
        return a.timestamp < b.timestamp ? -1 : 1;
    }
    return (a.rowid > b.rowid) - (a.rowid < b.rowid);
}

static bool is_sorted(const mmq_write_rows *rows)
{
    bool sorted = true;
    for (size_t i = 1; i < rows->count; i++) {
        sorted &= rows->timestamp[i - 1] <= rows->timestamp[i];
    }
    return sorted;
}

static mmq_err sort_places(mmq_room *room, struct place *places, mmq_why *why)
{
    const size_t count = room->rows.count;
    for (size_t i = 0; i < count; i++) {
        places[i] = (struct place){mmq_row_key_of(&room->rows, i), i};
    }
    qsort(places, count, sizeof *places, compare_places);
    mmq_room sorted = {0};
    mmq_err err = mmq_room_reserve(&sorted, count, why);
    if (err != MMQ_OK) {
        return err;
    }
    for (size_t i = 0; i < count; i++) {
        mmq_room_add(&sorted, &room->rows, places[i].row);
    }
    free_columns(room);
    *room = sorted;
    return MMQ_OK;
}

/* Rows come in the order of their rowids, so that sorted timestamps are sorted keys. */
mmq_err mmq_room_sort(mmq_room *room, mmq_why *why)
{
    if (is_sorted(&room->rows)) {
        return MMQ_OK;
    }
    struct place *places = reallocarray(NULL, room->rows.count, sizeof *places);
    if (places == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory to sort rows");
    }
    mmq_err err = sort_places(room, places, why);
    free(places);
    return err;
}
