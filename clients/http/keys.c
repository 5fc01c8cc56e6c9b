/* All keys are compared, each in the same time, and the result is put together without a branch:
 * what differs between a wrong key and a right one is the answer alone.
 *
 * What a key's text says is never printed; nor is the third field of a line that cannot be read,
 * since that is where somebody would put a key by mistake. */
#include "clients/http/keys.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "clients/http/key_file.h"
#include "lib/fields.h"
#include "lib/uid.h"

#define PREFIX   "mmq_"
#define SCHEME   "sha256:"
#define API_NAME "api-key"

enum {
    PLAIN_MAX = MMQ_API_KEY_MAX + 4,         /* of a header, decoded */
    CODED_MAX = (PLAIN_MAX + 2) / 3 * 4 + 1, /* with a NUL */
};

static bool is_hex(const char *text, size_t size)
{
    size_t i = 0;
    while (i < size && ((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f'))) {
        i++;
    }
    return i == size;
}

static bool is_made(const char *key, size_t size)
{
    const size_t prefix = sizeof PREFIX - 1;
    return size == MMQ_KEY_SIZE && memcmp(key, PREFIX, prefix) == 0 &&
           is_hex(key + prefix, size - prefix);
}

/* ---- names ------------------------------------------------------------------------------ */

bool mmq_key_name_valid(const char *name, size_t size)
{
    const mmq_slice slice = {name, size};
    return size <= MMQ_KEY_NAME_MAX && mmq_text_plain(name, size) &&
           !mmq_slice_is(&slice, API_NAME);
}

/* ---- the file's text -------------------------------------------------------------------- */

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The next word of the line; false: there is none. */
static bool next_word(const char **at, const char *end, mmq_slice *word)
{
    while (*at < end && is_space(**at)) {
        (*at)++;
    }
    const char *start = *at;
    while (*at < end && !is_space(**at)) {
        (*at)++;
    }
    *word = (mmq_slice){start, (size_t)(*at - start)};
    return word->size > 0;
}

static bool take_digest(mmq_key *key, const mmq_slice *word)
{
    const size_t scheme = sizeof SCHEME - 1;
    if (word->size != scheme + MMQ_DIGEST_HEX || memcmp(word->data, SCHEME, scheme) != 0 ||
        !is_hex(word->data + scheme, MMQ_DIGEST_HEX)) {
        return false;
    }
    memcpy(key->digest, word->data + scheme, MMQ_DIGEST_HEX);
    return true;
}

static const mmq_key *find_alike(const mmq_keys *keys, const mmq_key *key)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->list[i].name, key->name) == 0 ||
            strcmp(keys->list[i].digest, key->digest) == 0) {
            return &keys->list[i];
        }
    }
    return NULL;
}

/* Keys have names and hashes of their own: a line that repeats one was meant to be another. */
static mmq_err add_key(mmq_keys *keys, const mmq_key *key, mmq_why *why)
{
    const mmq_key *alike = find_alike(keys, key);
    if (alike && strcmp(alike->name, key->name) == 0) {
        return mmq_fail(why, MMQ_EINVAL, "the name %s is there twice", key->name);
    }
    if (alike) {
        return mmq_fail(why, MMQ_EINVAL, "this key is that of %s, too", alike->name);
    }
    if (keys->count == MMQ_KEYS_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "there are more than %d keys", MMQ_KEYS_MAX);
    }
    keys->list[keys->count++] = *key;
    return MMQ_OK;
}

/* words: of a line that is not empty; the last one is there only if the line has too many. */
static mmq_err read_words(mmq_keys *keys, const mmq_slice words[4], mmq_why *why)
{
    mmq_key key = {.made = true};
    if (words[2].size == 0 || words[3].size > 0) {
        return mmq_fail(why, MMQ_EINVAL, "want `name rights hash`, as `metricmq key` prints it");
    }
    if (!mmq_key_name_valid(words[0].data, words[0].size)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "a name has 1 to %d letters, digits, `-`, `_`, `.`, and is not " API_NAME,
                        MMQ_KEY_NAME_MAX);
    }
    memcpy(key.name, words[0].data, words[0].size);
    mmq_err err = mmq_rights_parse(words[1].data, words[1].size, &key.rights, why);
    if (err != MMQ_OK) {
        return err;
    }
    if (!take_digest(&key, &words[2])) {
        return mmq_fail(why, MMQ_EINVAL,
                        "the hash must be " SCHEME " and 64 lower-case hex digits, as `metricmq "
                        "key` prints it");
    }
    return add_key(keys, &key, why);
}

static mmq_err read_line(mmq_keys *keys, const char *line, size_t size, mmq_why *why)
{
    const char *at = line, *end = line + size;
    mmq_slice words[4] = {{0}};
    for (size_t i = 0; i < 4 && next_word(&at, end, &words[i]); i++) {
    }
    if (words[0].size == 0 || words[0].data[0] == '#') {
        return MMQ_OK;
    }
    return read_words(keys, words, why);
}

mmq_err mmq_keys_parse(mmq_keys *keys, const char *path, const char *text, size_t size,
                       mmq_why *why)
{
    size_t number = 0;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t length = end ? (size_t)(end - text) - at : size - at;
        mmq_why fault = {""};
        number++;
        mmq_err err = read_line(keys, text + at, length, &fault);
        if (err != MMQ_OK) {
            return mmq_fail(why, err, "%.96s:%zu: %s", path, number, fault.text);
        }
        at += length + 1;
    }
    return MMQ_OK;
}

/* ---- the table -------------------------------------------------------------------------- */

static mmq_err add_api_key(mmq_keys *keys, const char *text, mmq_why *why)
{
    const size_t size = strlen(text);
    if (size >= MMQ_API_KEY_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "api-key is too long");
    }
    mmq_key key = {.name = API_NAME, .rights = MMQ_RIGHTS_ALL};
    mmq_digest(text, size, key.digest);
    const mmq_key *alike = find_alike(keys, &key);
    if (alike) { /* which rights would it have? */
        return mmq_fail(why, MMQ_EINVAL, "api-key is the key of %s in --api-keys, too",
                        alike->name);
    }
    keys->list[keys->count++] = key;
    return MMQ_OK;
}

static mmq_err fill(mmq_keys *keys, const char *api_key, const char *path, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    if (path) {
        mmq_buffer text;
        mmq_buffer_init(&text, MMQ_KEYS_FILE_MAX);
        err = mmq_key_file_read(path, &text, why);
        if (err == MMQ_OK) {
            err = mmq_keys_parse(keys, path, (const char *)text.data, text.size, why);
        }
        mmq_buffer_clear(&text);
    }
    if (err == MMQ_OK && api_key && *api_key) {
        err = add_api_key(keys, api_key, why);
    }
    return err;
}

mmq_keys *mmq_keys_new(const char *api_key, const char *path, mmq_why *why)
{
    mmq_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the keys");
    } else if (fill(keys, api_key, path, why) != MMQ_OK) {
        mmq_keys_destroy(&keys);
    }
    return keys;
}

void mmq_keys_destroy(mmq_keys **keys)
{
    free(*keys);
    *keys = NULL;
}

/* KEY of "Basic base64(KEY:)", whose base64 must be the one that an encoder writes. */
static bool decode(const char *value, char plain[PLAIN_MAX], size_t *size)
{
    static const char scheme[] = "Basic ";
    if (value == NULL || strncasecmp(value, scheme, sizeof scheme - 1) != 0) {
        return false;
    }
    value += sizeof scheme - 1;
    const size_t coded = strlen(value);
    if (coded == 0 || coded % 4 != 0 || coded >= CODED_MAX) {
        return false;
    }
    int length = EVP_DecodeBlock((unsigned char *)plain, (const unsigned char *)value, (int)coded);
    length -= length > 0 ? (value[coded - 1] == '=') + (value[coded - 2] == '=') : 0;
    unsigned char again[CODED_MAX];
    bool exact = length > 0 &&
                 EVP_EncodeBlock(again, (const unsigned char *)plain, length) == (int)coded &&
                 CRYPTO_memcmp(again, value, coded) == 0 && plain[length - 1] == ':';
    *size = exact ? (size_t)length - 1 : 0;
    OPENSSL_cleanse(again, sizeof again);
    return exact;
}

/* 1 or 0, by the same steps for all digests. */
static size_t is_same(const char a[MMQ_DIGEST_HEX], const char b[MMQ_DIGEST_HEX])
{
    uint64_t difference = 0;
    for (size_t i = 0; i < MMQ_DIGEST_HEX; i += sizeof difference) {
        uint64_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        difference |= x ^ y;
    }
    return (size_t)(1 ^ ((difference | (0 - difference)) >> 63));
}

const mmq_key *mmq_keys_find(const mmq_keys *keys, const char *value)
{
    char plain[PLAIN_MAX], digest[MMQ_DIGEST_HEX + 1];
    size_t size;
    if (!decode(value, plain, &size)) {
        return NULL;
    }
    const bool made = is_made(plain, size);
    mmq_digest(plain, size, digest);
    OPENSSL_cleanse(plain, sizeof plain);
    size_t found = 0; /* the index and 1 */
    for (size_t i = 0; i < keys->count; i++) {
        const mmq_key *key = &keys->list[i];
        const size_t same = is_same(key->digest, digest) & (size_t)(made | !key->made);
        found |= (i + 1) & (0 - same);
    }
    return found > 0 ? &keys->list[found - 1] : NULL;
}

/* ---- new keys --------------------------------------------------------------------------- */

mmq_key mmq_key_make(const char *name, unsigned rights, char out[MMQ_KEY_SIZE + 1])
{
    unsigned char random[MMQ_KEY_RANDOM];
    mmq_key key = {.rights = rights, .made = true};
    snprintf(key.name, sizeof key.name, "%s", name);
    mmq_random(random, sizeof random);
    size_t size = (size_t)snprintf(out, MMQ_KEY_SIZE + 1, PREFIX);
    for (size_t i = 0; i < sizeof random; i++, size += 2) {
        snprintf(out + size, MMQ_KEY_SIZE + 1 - size, "%02x", random[i]);
    }
    OPENSSL_cleanse(random, sizeof random);
    mmq_digest(out, MMQ_KEY_SIZE, key.digest);
    return key;
}

void mmq_key_print(const mmq_key *key, char out[MMQ_KEY_LINE_MAX])
{
    char rights[MMQ_RIGHTS_TEXT];
    mmq_rights_print(key->rights, rights);
    snprintf(out, MMQ_KEY_LINE_MAX, "%s %s " SCHEME "%s\n", key->name, rights, key->digest);
}
