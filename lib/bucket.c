/* One encoder and one decoder for all who send or show buckets. What a decoder lets through has
 * finite numbers, and a bucket of rows that can be. */
#include "lib/bucket.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/put.h"
#include "metricmq/unpack.h"

enum { WIDTH = 10, FIXARRAY = 0x90, FIXRAW = 0xa0, FIXRAW_MAX = 31, RAW16 = 0xda, NIL = 0xc0 };

const uint8_t mmq_bucket_names[] = "\x9b"
                                   "\xa5names"
                                   "\xa3uid"
                                   "\xa9timestamp"
                                   "\xa4rows"
                                   "\xa5least"
                                   "\xa8greatest"
                                   "\xa5"
                                   "first"
                                   "\xa4last"
                                   "\xa4mean"
                                   "\xad"
                                   "anomaly_score"
                                   "\xa8unscored";
const size_t mmq_bucket_names_size = sizeof mmq_bucket_names - 1;

static bool lies_in(const mmq_bucket *bucket, double value)
{
    return bucket->least <= value && value <= bucket->greatest;
}

bool mmq_bucket_is_sane(const mmq_bucket *bucket)
{
    return bucket->rows > 0 && bucket->unscored >= 0 && bucket->unscored <= bucket->rows &&
           isfinite(bucket->least) && isfinite(bucket->greatest) &&
           lies_in(bucket, bucket->first) && lies_in(bucket, bucket->last) &&
           lies_in(bucket, bucket->mean) && !isinf(bucket->greatest_score) &&
           isnan(bucket->greatest_score) == (bucket->unscored == bucket->rows);
}

/* Never str8. */
static uint8_t *put_uid(uint8_t *at, const char *uid)
{
    const size_t size = strlen(uid);
    CHECK(size >= 1 && size <= MMQ_UID_MAX);
    if (size <= FIXRAW_MAX) {
        *at++ = (uint8_t)(FIXRAW | size);
    } else {
        at = mmq_put_16(at, RAW16, (uint16_t)size);
    }
    memcpy(at, uid, size);
    return at + size;
}

uint8_t *mmq_bucket_put(uint8_t *at, const char *uid, int64_t start, const mmq_bucket *bucket)
{
    *at = FIXARRAY | WIDTH;
    at = put_uid(at + 1, uid);
    at = mmq_put_integer(at, start);
    at = mmq_put_integer(at, bucket->rows);
    at = mmq_put_double(at, bucket->least);
    at = mmq_put_double(at, bucket->greatest);
    at = mmq_put_double(at, bucket->first);
    at = mmq_put_double(at, bucket->last);
    at = mmq_put_double(at, bucket->mean);
    if (isnan(bucket->greatest_score)) {
        *at++ = NIL;
    } else {
        at = mmq_put_double(at, bucket->greatest_score);
    }
    return mmq_put_integer(at, bucket->unscored);
}

static bool take_names(mmq_reader *reader)
{
    static const char *const names[] = {"uid",   "timestamp", "rows", "least",         "greatest",
                                        "first", "last",      "mean", "anomaly_score", "unscored"};
    mmq_value value;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (mmq_unpack(reader, &value) != MMQ_OK || !mmq_value_is(&value, names[i])) {
            return false;
        }
    }
    return true;
}

static bool take_integer(mmq_reader *reader, int64_t *out)
{
    mmq_value value;
    const bool good = mmq_unpack(reader, &value) == MMQ_OK && value.type == MMQ_INT;
    *out = good ? value.integer : 0;
    return good;
}

/* Nil is NaN. */
static bool take_number(mmq_reader *reader, double *out)
{
    mmq_value value;
    const bool good = mmq_unpack(reader, &value) == MMQ_OK &&
                      (value.type == MMQ_FLOAT || value.type == MMQ_NIL) &&
                      !(value.type == MMQ_FLOAT && !isfinite(value.number));
    *out = good && value.type == MMQ_FLOAT ? value.number : NAN;
    return good;
}

static bool take_bucket(mmq_reader *reader, mmq_bucket_row *out)
{
    mmq_bucket *bucket = &out->bucket;
    double *const numbers[] = {&bucket->least, &bucket->greatest, &bucket->first,
                               &bucket->last,  &bucket->mean,     &bucket->greatest_score};
    bool good = take_integer(reader, &out->start) && take_integer(reader, &bucket->rows);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && good; i++) {
        good = take_number(reader, numbers[i]);
    }
    return good && take_integer(reader, &bucket->unscored) && mmq_bucket_is_sane(bucket);
}

mmq_err mmq_bucket_take(const void *payload, size_t size, size_t *offset, mmq_bucket_row *out)
{
    mmq_reader reader;
    mmq_value array, head;
    CHECK(*offset < size);
    mmq_reader_init(&reader, (const uint8_t *)payload + *offset, size - *offset);
    if (mmq_unpack(&reader, &array) != MMQ_OK || array.type != MMQ_ARRAY || array.count == 0 ||
        mmq_unpack(&reader, &head) != MMQ_OK || head.type != MMQ_STR) {
        return MMQ_EPROTO;
    }
    mmq_err err = MMQ_EPROTO;
    if (array.count == WIDTH && head.text.size > 0 && head.text.size <= MMQ_UID_MAX) {
        out->uid = head.text.data;
        out->uid_size = head.text.size;
        err = take_bucket(&reader, out) ? MMQ_OK : MMQ_EPROTO;
    } else if (array.count == WIDTH + 1 && mmq_value_is(&head, "names")) {
        err = take_names(&reader) ? MMQ_EAGAIN : MMQ_EPROTO;
    }
    if (err != MMQ_EPROTO) {
        *offset = size - mmq_reader_left(&reader);
    }
    return err;
}
