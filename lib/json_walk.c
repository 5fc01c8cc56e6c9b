/* The text is sound, so a comma needs no thought: it is skipped like a space. */
#include "lib/json_walk.h"

static void skip_spaces(mmq_json_walk *walk)
{
    while (walk->at < walk->end && (*walk->at == ' ' || *walk->at == ',' || *walk->at == '\n' ||
                                    *walk->at == '\r' || *walk->at == '\t')) {
        walk->at++;
    }
}

void mmq_json_walk_init(mmq_json_walk *walk, const char *text, size_t size)
{
    *walk = (mmq_json_walk){text, text + size};
}

mmq_json_type mmq_json_walk_type(mmq_json_walk *walk)
{
    skip_spaces(walk);
    switch (walk->at < walk->end ? *walk->at : 'n') {
    case '{':
        return MMQ_JSON_OBJECT;
    case '[':
        return MMQ_JSON_ARRAY;
    case '"':
        return MMQ_JSON_STRING;
    case 't':
    case 'f':
        return MMQ_JSON_BOOL;
    case 'n':
        return MMQ_JSON_NULL;
    default:
        return MMQ_JSON_NUMBER;
    }
}

void mmq_json_walk_enter(mmq_json_walk *walk)
{
    skip_spaces(walk);
    walk->at++;
}

bool mmq_json_walk_more(mmq_json_walk *walk)
{
    skip_spaces(walk);
    if (walk->at == walk->end) {
        return false;
    }
    if (*walk->at == ']' || *walk->at == '}') {
        walk->at++;
        return false;
    }
    return true;
}

/* From its opening quote to behind the closing one. */
static void skip_string(mmq_json_walk *walk)
{
    for (walk->at++; walk->at < walk->end && *walk->at != '"'; walk->at++) {
        walk->at += *walk->at == '\\';
    }
    walk->at++;
}

mmq_slice mmq_json_walk_key(mmq_json_walk *walk)
{
    skip_spaces(walk);
    const char *start = walk->at + 1;
    skip_string(walk);
    const mmq_slice key = {start, (size_t)(walk->at - 1 - start)};
    skip_spaces(walk);
    walk->at++; /* the colon */
    return key;
}

static bool ends_scalar(char c)
{
    return c <= ' ' || c == ',' || c == ']' || c == '}';
}

static void skip_scalar(mmq_json_walk *walk)
{
    while (walk->at < walk->end && !ends_scalar(*walk->at)) {
        walk->at++;
    }
}

static void skip_container(mmq_json_walk *walk)
{
    size_t depth = 0;
    do {
        const char c = *walk->at;
        if (c == '"') {
            skip_string(walk);
            continue;
        }
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
        walk->at++;
    } while (depth > 0 && walk->at < walk->end);
}

mmq_slice mmq_json_walk_value(mmq_json_walk *walk)
{
    skip_spaces(walk);
    const char *start = walk->at;
    if (start < walk->end) {
        if (*start == '"') {
            skip_string(walk);
        } else if (*start == '[' || *start == '{') {
            skip_container(walk);
        } else {
            skip_scalar(walk);
        }
    }
    return (mmq_slice){start, (size_t)(walk->at - start)};
}
