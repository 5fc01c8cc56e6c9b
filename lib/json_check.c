/* RFC 8259 to the letter, by recursive descent that is at most MMQ_JSON_DEPTH deep.
 *
 * UTF-8 is checked first, over the whole text, so that strings need to look at escapes only. The
 * keys of the objects that are open lie on one stack, an object's own on top when it ends: there
 * they are sorted by what they decode to, and equal neighbours are found. Comparing decodes on
 * the fly; so the memory is that of the stack, in proportion to the text. */
#include "lib/json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/number.h"
#include "metricmq/unpack.h"

enum {
    NUMBER_MAX_BYTES = 63,  /* cJSON reads no more of one */
    KEYS_MAX = 1024 * 1024, /* of open objects: they take memory, and time to be sorted */
};

/* What stands between the quotes of a key; borrowed from the text. */
typedef struct key {
    const char *data;
    size_t size;
} key;

typedef struct checker {
    const char *text, *at, *end;
    unsigned depth;
    key *keys; /* of all open objects */
    size_t key_count, key_capacity;
    mmq_why *why;
} checker;

static mmq_err refuse_at(const checker *self, const char *at, const char *what)
{
    return mmq_fail(self->why, MMQ_EINVAL, "JSON: %s at byte %td", what, at - self->text);
}

static mmq_err refuse(const checker *self, const char *what)
{
    return refuse_at(self, self->at, what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char peek(const checker *self)
{
    return self->at < self->end ? *self->at : '\0';
}

static void skip_spaces(checker *self)
{
    while (self->at < self->end &&
           (*self->at == ' ' || *self->at == '\n' || *self->at == '\r' || *self->at == '\t')) {
        self->at++;
    }
}

/* ---- scalars ---------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Four hex digits; -1 if there are not. */
static int read_hex4(const char *at, const char *end)
{
    int code = 0;
    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0) {
            return -1;
        }
        code = code << 4 | digit;
    }
    return code;
}

/* Reads the escape at *at, which stands on its backslash, moves *at behind it and returns the
 * character; -1 if it is none or stands for what we do not take: NUL and half a pair. */
static int read_escape(const char **at, const char *end)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *from = *at + 1;
    const char *name = from < end && *from ? strchr(names, *from) : NULL;
    if (name) {
        *at = from + 1;
        return values[name - names];
    }
    int code = from < end && *from == 'u' ? read_hex4(from + 1, end) : -1;
    if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff)) {
        return -1;
    }
    *at = from + 5;
    if (code < 0xd800 || code > 0xdfff) {
        return code;
    }
    int low = end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' ? read_hex4(*at + 2, end) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        return -1;
    }
    *at += 6;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* at stands on the opening quote; out (may be NULL) gets what is between the quotes */
static mmq_err check_string(checker *self, key *out)
{
    const char *start = ++self->at;
    for (;;) {
        char c = peek(self);
        if (self->at == self->end) {
            return refuse_at(self, start - 1, "a string without an end");
        }
        if ((unsigned char)c < 0x20) {
            return refuse(self, "a control character");
        }
        if (c == '"') {
            break;
        }
        if (c != '\\') {
            self->at++;
        } else if (read_escape(&self->at, self->end) < 0) {
            return refuse(self, "a bad escape");
        }
    }
    if (out) {
        *out = (key){start, (size_t)(self->at - start)};
    }
    self->at++;
    return MMQ_OK;
}

static bool skip_digits(checker *self)
{
    const char *start = self->at;
    while (is_digit(peek(self))) {
        self->at++;
    }
    return self->at > start;
}

static bool skip_number(checker *self)
{
    if (peek(self) == '-') {
        self->at++;
    }
    if (peek(self) == '0') {
        self->at++;
    } else if (!skip_digits(self)) {
        return false;
    }
    if (peek(self) == '.') {
        self->at++;
        if (!skip_digits(self)) {
            return false;
        }
    }
    if (peek(self) == 'e' || peek(self) == 'E') {
        self->at++;
        if (peek(self) == '+' || peek(self) == '-') {
            self->at++;
        }
        return skip_digits(self);
    }
    return true;
}

static mmq_err check_number(checker *self)
{
    const char *start = self->at;
    double value;
    if (!skip_number(self)) {
        return refuse_at(self, start, "a bad value");
    }
    size_t size = (size_t)(self->at - start);
    if (size > NUMBER_MAX_BYTES) {
        return refuse_at(self, start, "a number of more than 63 bytes");
    }
    if (!mmq_number_parse(start, size, &value)) {
        return refuse_at(self, start, "a number too great for a double");
    }
    return MMQ_OK;
}

static bool skip_word(checker *self, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(self->end - self->at) < size || memcmp(self->at, word, size) != 0) {
        return false;
    }
    self->at += size;
    return true;
}

/* ---- keys ------------------------------------------------------------------------------- */

/* The next byte of what a key decodes to. */
typedef struct decoder {
    const char *at, *end;
    unsigned char rest[3]; /* bytes of the character that have still to come, the last one first */
    unsigned count;
} decoder;

static int next_byte(decoder *self)
{
    if (self->count > 0) {
        return self->rest[--self->count];
    }
    if (self->at == self->end) {
        return -1;
    }
    if (*self->at != '\\') {
        return (unsigned char)*self->at++;
    }
    int code = read_escape(&self->at, self->end);
    if (code < 0x80) {
        return code;
    }
    unsigned following = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    for (; self->count < following; code >>= 6) {
        self->rest[self->count++] = (unsigned char)(0x80 | (code & 0x3f));
    }
    return (0xff00 >> (following + 1) & 0xff) | code;
}

static int compare_decoded(const key *a, const key *b)
{
    decoder left = {.at = a->data, .end = a->data + a->size};
    decoder right = {.at = b->data, .end = b->data + b->size};
    for (;;) {
        int x = next_byte(&left), y = next_byte(&right);
        if (x != y) {
            return x < y ? -1 : 1;
        }
        if (x < 0) {
            return 0;
        }
    }
}

static int compare_keys(const void *left, const void *right)
{
    const key *a = left, *b = right;
    if (memchr(a->data, '\\', a->size) || memchr(b->data, '\\', b->size)) {
        return compare_decoded(a, b);
    }
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static mmq_err push_key(checker *self, key found)
{
    if (self->key_count == KEYS_MAX) {
        return refuse_at(self, found.data, "too many keys");
    }
    if (self->key_count == self->key_capacity) {
        size_t capacity = self->key_capacity ? 2 * self->key_capacity : 16;
        key *keys = realloc(self->keys, capacity * sizeof *keys);
        if (!keys) {
            return mmq_fail(self->why, MMQ_ENOMEM, "JSON: no memory");
        }
        self->keys = keys;
        self->key_capacity = capacity;
    }
    self->keys[self->key_count++] = found;
    return MMQ_OK;
}

/* Ends an object whose keys lie on the stack from `first` on. */
static mmq_err pop_keys(checker *self, size_t first)
{
    size_t count = self->key_count - first;
    self->key_count = first;
    if (count < 2) {
        return MMQ_OK;
    }
    key *keys = self->keys + first;
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(&keys[i - 1], &keys[i]) == 0) {
            return refuse_at(self, keys[i].data - 1, "a key that was there before");
        }
    }
    return MMQ_OK;
}

/* ---- values ----------------------------------------------------------------------------- */

static mmq_err check_value(checker *self);

/* at stands behind the opening bracket; each element ends at a comma or the closing one */
static mmq_err check_elements(checker *self, char closing, mmq_err (*check)(checker *))
{
    skip_spaces(self);
    if (peek(self) == closing) {
        self->at++;
        return MMQ_OK;
    }
    for (;;) {
        mmq_err err = check(self);
        if (err) {
            return err;
        }
        skip_spaces(self);
        char c = peek(self);
        if (c != ',' && c != closing) {
            return refuse(self, closing == ']' ? "no ',' or ']'" : "no ',' or '}'");
        }
        self->at++;
        if (c == closing) {
            return MMQ_OK;
        }
    }
}

static mmq_err check_member(checker *self)
{
    key found;
    skip_spaces(self);
    if (peek(self) != '"') {
        return refuse(self, "no key");
    }
    mmq_err err = check_string(self, &found);
    if (!err) {
        err = push_key(self, found);
    }
    if (err) {
        return err;
    }
    skip_spaces(self);
    if (peek(self) != ':') {
        return refuse(self, "no ':'");
    }
    self->at++;
    return check_value(self);
}

static mmq_err check_container(checker *self)
{
    const bool object = *self->at == '{';
    const size_t first_key = self->key_count;
    if (self->depth == MMQ_JSON_DEPTH) {
        return refuse(self, "nested too deep");
    }
    self->depth++;
    self->at++;
    mmq_err err =
        object ? check_elements(self, '}', check_member) : check_elements(self, ']', check_value);
    if (!err && object) {
        err = pop_keys(self, first_key);
    }
    self->depth--;
    return err;
}

static mmq_err check_value(checker *self)
{
    skip_spaces(self);
    switch (peek(self)) {
    case '{':
    case '[':
        return check_container(self);
    case '"':
        return check_string(self, NULL);
    case 't':
        return skip_word(self, "true") ? MMQ_OK : refuse(self, "a bad value");
    case 'f':
        return skip_word(self, "false") ? MMQ_OK : refuse(self, "a bad value");
    case 'n':
        return skip_word(self, "null") ? MMQ_OK : refuse(self, "a bad value");
    default:
        return self->at < self->end ? check_number(self) : refuse(self, "no value");
    }
}

mmq_err mmq_json_check(const char *text, size_t size, mmq_why *why)
{
    checker self = {.text = text, .at = text, .end = text + size, .why = why};
    if (!mmq_utf8_valid(text, size)) {
        return mmq_fail(why, MMQ_EINVAL, "JSON: not UTF-8");
    }
    mmq_err err = check_value(&self);
    skip_spaces(&self);
    if (!err && self.at < self.end) {
        err = refuse(&self, "something follows the value");
    }
    free(self.keys);
    return err;
}
