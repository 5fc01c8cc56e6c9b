/* The keys of HTTP clients: which there are, and what each may do (docs/http.md, "Keys").
 *
 * A key of the file is "mmq_" and 64 hex digits of 256 random bits; the file holds its SHA-256, one
 * line a key:
 *
 *     # name rights hash
 *     grafana read sha256:9f86d081884c7d659a2feaa0c55ad015...
 *     phones read,feedback sha256:...
 *
 * A hash without salt or stretching is right for such keys alone, so a text of another form is no
 * key of the file's, whatever its hash. The one key of api-key may be any text; it has all rights.
 *
 * A table does not change: a new one takes its place. Any thread, one at a time. */
#ifndef MMQ_HTTP_KEYS_H
#define MMQ_HTTP_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/digest.h"
#include "lib/rights.h"
#include "metricmq/error.h"

enum {
    MMQ_KEY_RANDOM = 32,           /* bytes of a key that we make */
    MMQ_KEY_SIZE = 4 + 64,         /* ... as text, without its NUL */
    MMQ_KEY_NAME_MAX = 64,         /* bytes */
    MMQ_KEYS_MAX = 256,            /* of a file */
    MMQ_KEYS_FILE_MAX = 64 * 1024, /* bytes */
    MMQ_KEY_LINE_MAX = 256,        /* of a line that we write */
    MMQ_API_KEY_MAX = 4096,        /* bytes of api-key, less one */
};

typedef struct mmq_key {
    char name[MMQ_KEY_NAME_MAX + 1]; /* for the log */
    unsigned rights;                 /* set of mmq_right, not empty */
    bool made;                       /* it is of the form that we make */
    char digest[MMQ_DIGEST_HEX + 1]; /* SHA-256 of the key */
} mmq_key;

typedef struct mmq_keys {
    size_t count;
    mmq_key list[MMQ_KEYS_MAX + 1];
} mmq_keys;

/* The keys of the file (NULL: none) and of api-key (NULL or "": none). NULL with a sentence that
 * names file and line; it never quotes what may be a key. */
mmq_keys *mmq_keys_new(const char *api_key, const char *path, mmq_why *why);
void mmq_keys_destroy(mmq_keys **keys);
/* The key of `Authorization: Basic base64(KEY:)`; NULL: it is none of ours. The time that it takes
 * says nothing of how much of a key is right, or which one. value may be NULL. */
const mmq_key *mmq_keys_find(const mmq_keys *keys, const char *value);

/* Adds the keys of a file's text; path is for the sentence only. Pure. */
mmq_err mmq_keys_parse(mmq_keys *keys, const char *path, const char *text, size_t size,
                       mmq_why *why) MMQ_MUST_USE;
/* [-A-Za-z0-9_.], 1 to 64 of them; "api-key" is taken. */
bool mmq_key_name_valid(const char *name, size_t size);

/* A key of 256 random bits with that name; its text in out. The caller wipes out. */
mmq_key mmq_key_make(const char *name, unsigned rights, char out[MMQ_KEY_SIZE + 1]);
/* Its line of the file, with the line's end. */
void mmq_key_print(const mmq_key *key, char out[MMQ_KEY_LINE_MAX]);
/* Appends it to the file, which is made for its owner alone where it is missing. MMQ_EINVAL if the
 * file cannot be trusted or read; MMQ_ECONFLICT if the name is taken; MMQ_EIO. Durable, and whole
 * or not at all; safe beside others that do the same. */
mmq_err mmq_key_append(const char *path, const mmq_key *key, mmq_why *why) MMQ_MUST_USE;

#endif
