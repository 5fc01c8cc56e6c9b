/* A cursor is a fixed binary record (a version byte, nine little-endian words, of a stream of
 * buckets ten more, then the uid) in base64url without padding. There is no checksum: a cursor is
 * not a secret and grants nothing, so one that a client made up must merely be harmless. Each field
 * is checked against its range, and a text counts only if printing what was read gives that very
 * text; so there is one text for one place, and stray bits cannot hide in it. */
#include "lib/cursor.h"

#include <math.h>
#include <string.h>

#include "lib/bits.h"
#include "lib/calendar.h"
#include "lib/uid.h"

#define COUNT_MAX (INT64_C(1) << 53) /* rowids go no further */

enum {
    CURSOR_VERSION = 1,
    CURSOR_VERSION_BUCKETS = 2,
    CURSOR_WORDS = 9,
    CURSOR_HEAD = 1 + 8 * CURSOR_WORDS,
    BUCKET_WORDS = 10,
    CURSOR_HEAD_BUCKETS = CURSOR_HEAD + 8 * BUCKET_WORDS,
    CURSOR_BYTES = CURSOR_HEAD_BUCKETS + MMQ_UID_MAX,
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put_word(uint8_t *at, uint64_t word)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(word >> (8 * i));
    }
}

static uint64_t get_word(const uint8_t *at)
{
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) {
        word |= (uint64_t)at[i] << (8 * i);
    }
    return word;
}

static size_t encode_base64(const uint8_t *data, size_t size, char *out)
{
    uint32_t bits = 0;
    unsigned held = 0;
    char *at = out;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | data[i];
        for (held += 8; held >= 6; held -= 6) {
            *at++ = alphabet[bits >> (held - 6) & 63];
        }
    }
    if (held > 0) {
        *at++ = alphabet[bits << (6 - held) & 63];
    }
    *at = '\0';
    return (size_t)(at - out);
}

/* Returns the bytes decoded; 0 if the text is not base64url or gives more than capacity. */
static size_t decode_base64(const char *text, size_t size, uint8_t *out, size_t capacity)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        const char *digit = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!digit || used == capacity) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[used++] = (uint8_t)(bits >> held);
        }
    }
    return used;
}

/* An absent score is all ones. */
static void put_buckets(uint8_t *at, const mmq_cursor_buckets *buckets)
{
    const mmq_bucket *bucket = &buckets->bucket;
    const bool some = bucket->rows > 0;
    const uint64_t words[BUCKET_WORDS] = {
        (uint64_t)buckets->from,
        (uint64_t)buckets->to,
        some ? (uint64_t)bucket->rows : 0,
        some ? (uint64_t)bucket->unscored : 0,
        some ? mmq_bits_of(bucket->least) : 0,
        some ? mmq_bits_of(bucket->greatest) : 0,
        some ? mmq_bits_of(bucket->first) : 0,
        some ? mmq_bits_of(bucket->last) : 0,
        some ? mmq_bits_of(bucket->mean) : 0,
        !some                           ? 0
        : isnan(bucket->greatest_score) ? UINT64_MAX
                                        : mmq_bits_of(bucket->greatest_score),
    };
    for (size_t i = 0; i < BUCKET_WORDS; i++) {
        put_word(at + 8 * i, words[i]);
    }
}

static size_t head_size(bool has_buckets)
{
    return has_buckets ? CURSOR_HEAD_BUCKETS : CURSOR_HEAD;
}

static size_t print_cursor(const mmq_cursor *cursor, char *out)
{
    const bool positioned = cursor->positioned;
    const uint64_t words[CURSOR_WORDS] = {
        cursor->binding,
        cursor->store,
        (uint64_t)cursor->commit,
        (uint64_t)cursor->metric,
        (uint64_t)cursor->bound,
        (uint64_t)cursor->shown,
        positioned,
        positioned ? (uint64_t)cursor->timestamp : 0,
        positioned ? (uint64_t)cursor->rowid : 0,
    };
    uint8_t record[CURSOR_BYTES] = {cursor->has_buckets ? CURSOR_VERSION_BUCKETS : CURSOR_VERSION};
    for (size_t i = 0; i < CURSOR_WORDS; i++) {
        put_word(record + 1 + 8 * i, words[i]);
    }
    if (cursor->has_buckets) {
        put_buckets(record + CURSOR_HEAD, &cursor->buckets);
    }
    const size_t head = head_size(cursor->has_buckets);
    size_t uid_size = strnlen(cursor->uid, MMQ_UID_MAX);
    memcpy(record + head, cursor->uid, uid_size);
    return encode_base64(record, head + uid_size, out);
}

void mmq_cursor_print(const mmq_cursor *cursor, char out[MMQ_CURSOR_MAX])
{
    _Static_assert(CURSOR_BYTES * 4 / 3 + 2 <= MMQ_CURSOR_MAX, "the longest cursor must fit");
    (void)print_cursor(cursor, out);
}

static bool is_time(int64_t time)
{
    return time >= MMQ_TIME_MIN && time <= MMQ_TIME_MAX;
}

/* The bucket under way has rows up to the cursor's. */
static bool buckets_in_ranges(const mmq_cursor *cursor)
{
    const mmq_cursor_buckets *buckets = &cursor->buckets;
    const mmq_bucket *bucket = &buckets->bucket;
    if (!is_time(buckets->from) || !is_time(buckets->to) || buckets->from > buckets->to) {
        return false;
    }
    return bucket->rows == 0 ||
           (bucket->rows <= COUNT_MAX && mmq_bucket_is_sane(bucket) && cursor->positioned &&
            cursor->timestamp >= buckets->from && cursor->timestamp <= buckets->to);
}

static bool in_ranges(const mmq_cursor *cursor)
{
    size_t uid_size = strlen(cursor->uid);
    if (cursor->commit < 0 || cursor->metric < 0 || cursor->bound < 0 ||
        cursor->bound > COUNT_MAX || cursor->shown < 0 || cursor->shown > COUNT_MAX) {
        return false;
    }
    if (cursor->metric == 0 && (cursor->bound != 0 || cursor->shown != 0)) {
        return false;
    }
    if (cursor->positioned && (!is_time(cursor->timestamp) || cursor->rowid < 0)) {
        return false;
    }
    if (cursor->has_buckets && !buckets_in_ranges(cursor)) {
        return false;
    }
    return uid_size == 0 || mmq_uid_valid(cursor->uid, uid_size);
}

static void get_buckets(const uint8_t *at, mmq_cursor_buckets *out)
{
    uint64_t words[BUCKET_WORDS];
    for (size_t i = 0; i < BUCKET_WORDS; i++) {
        words[i] = get_word(at + 8 * i);
    }
    *out = (mmq_cursor_buckets){
        .from = (int64_t)words[0],
        .to = (int64_t)words[1],
        .bucket =
            {
                .rows = (int64_t)words[2],
                .unscored = (int64_t)words[3],
                .least = mmq_double_of(words[4]),
                .greatest = mmq_double_of(words[5]),
                .first = mmq_double_of(words[6]),
                .last = mmq_double_of(words[7]),
                .mean = mmq_double_of(words[8]),
                .greatest_score = mmq_double_of(words[9]),
            },
    };
}

static void read_record(const uint8_t *record, size_t size, mmq_cursor *out)
{
    uint64_t words[CURSOR_WORDS];
    for (size_t i = 0; i < CURSOR_WORDS; i++) {
        words[i] = get_word(record + 1 + 8 * i);
    }
    *out = (mmq_cursor){
        .binding = words[0],
        .store = words[1],
        .commit = (int64_t)words[2],
        .metric = (int64_t)words[3],
        .bound = (int64_t)words[4],
        .shown = (int64_t)words[5],
        .positioned = words[6] != 0,
        .timestamp = (int64_t)words[7],
        .rowid = (int64_t)words[8],
    };
    if (record[0] == CURSOR_VERSION_BUCKETS) {
        out->has_buckets = true;
        get_buckets(record + CURSOR_HEAD, &out->buckets);
    }
    const size_t head = head_size(out->has_buckets);
    memcpy(out->uid, record + head, size - head);
}

mmq_err mmq_cursor_parse(const char *text, size_t size, mmq_cursor *out)
{
    uint8_t record[CURSOR_BYTES];
    char again[MMQ_CURSOR_MAX];
    mmq_cursor read;
    if (size >= MMQ_CURSOR_MAX) {
        return MMQ_EINVAL;
    }
    size_t bytes = decode_base64(text, size, record, sizeof record);
    const size_t head = bytes > 0 ? head_size(record[0] == CURSOR_VERSION_BUCKETS) : CURSOR_HEAD;
    if (bytes < head || bytes > head + MMQ_UID_MAX) {
        return MMQ_EINVAL;
    }
    read_record(record, bytes, &read);
    if (!in_ranges(&read) || print_cursor(&read, again) != size || memcmp(again, text, size) != 0) {
        return MMQ_EINVAL;
    }
    *out = read;
    return MMQ_OK;
}
