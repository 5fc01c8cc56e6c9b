/* The distance of two names is the number of edits (insertions, deletions, replacements) that lead
 * from one to the other; a name of n letters may be off by n / 3 + 1 of them. Of an abbreviation
 * all that is missing counts as one. */
#include "lib/nearest.h"

#include <string.h>

enum { NAME_MAX_BYTES = 64, LETTERS_AN_EDIT = 3 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* a_size and b_size are less than NAME_MAX_BYTES. */
static size_t edit_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t row[NAME_MAX_BYTES];
    for (size_t j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

void mmq_nearest_begin(mmq_nearest *search, const char *wanted, size_t size)
{
    *search = (mmq_nearest){.wanted = wanted, .size = size, .distance = size / LETTERS_AN_EDIT + 2};
}

void mmq_nearest_offer(mmq_nearest *search, const char *name)
{
    enum { ABBREVIATION_MIN = 3 };
    const size_t name_size = strlen(name);
    if (search->size == 0 || search->size >= NAME_MAX_BYTES || name_size >= NAME_MAX_BYTES) {
        return;
    }
    size_t distance = edit_distance(search->wanted, search->size, name, name_size);
    if (search->size >= ABBREVIATION_MIN && strncmp(search->wanted, name, search->size) == 0) {
        distance = least(distance, 1);
    }
    if (distance < search->distance) {
        search->distance = distance;
        search->nearest = name;
    }
}
