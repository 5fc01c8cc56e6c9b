/* Walking JSON text value by value, without a tree and without memory. Only for text that
 * mmq_json_check has taken: nothing is checked again. */
#ifndef MMQ_JSON_WALK_H
#define MMQ_JSON_WALK_H

#include <stdbool.h>

#include "lib/fields.h"

typedef enum mmq_json_type {
    MMQ_JSON_NULL,
    MMQ_JSON_BOOL,
    MMQ_JSON_NUMBER,
    MMQ_JSON_STRING,
    MMQ_JSON_ARRAY,
    MMQ_JSON_OBJECT,
} mmq_json_type;

/* Stands before a value, or, within an array or object, before its next element. */
typedef struct mmq_json_walk {
    const char *at, *end;
} mmq_json_walk;

void mmq_json_walk_init(mmq_json_walk *walk, const char *text, size_t size);
/* Of the value that it stands before. */
mmq_json_type mmq_json_walk_type(mmq_json_walk *walk);
/* Goes into the array or object that it stands before. */
void mmq_json_walk_enter(mmq_json_walk *walk);
/* True: an element follows. False: there was none left, and it stands behind the array or object.
 */
bool mmq_json_walk_more(mmq_json_walk *walk);
/* The key of an object's element, and then it stands before the value: what is between the quotes,
 * escapes as they are. */
mmq_slice mmq_json_walk_key(mmq_json_walk *walk);
/* The text of the value that it stands before, whole; it then stands behind it. */
mmq_slice mmq_json_walk_value(mmq_json_walk *walk);

#endif
