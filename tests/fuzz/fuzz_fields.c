/* Any bytes as a request's body: a refusal has a sentence, an acceptance values in their ranges. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/check.h"
#include "lib/fields.h"
#include "metricmq/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct fuzz_arguments {
    mmq_slice text, bytes, map;
    int64_t integer, time;
    double number;
    bool flag, has_text;
} fuzz_arguments;

static const mmq_field_spec fuzz_specs[] = {
    {"t", MMQ_KIND_TEXT, false, offsetof(fuzz_arguments, text), offsetof(fuzz_arguments, has_text)},
    {"b", MMQ_KIND_BYTES, false, offsetof(fuzz_arguments, bytes), MMQ_NO_GIVEN},
    {"m", MMQ_KIND_MAP, false, offsetof(fuzz_arguments, map), MMQ_NO_GIVEN},
    {"i", MMQ_KIND_INT, false, offsetof(fuzz_arguments, integer), MMQ_NO_GIVEN},
    {"w", MMQ_KIND_TIME, false, offsetof(fuzz_arguments, time), MMQ_NO_GIVEN},
    {"n", MMQ_KIND_NUMBER, false, offsetof(fuzz_arguments, number), MMQ_NO_GIVEN},
    {"f", MMQ_KIND_BOOL, false, offsetof(fuzz_arguments, flag), MMQ_NO_GIVEN},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mmq_slice op;
    mmq_why why = {""};
    mmq_err op_err = mmq_fields_op(data, size, &op, &why);
    CHECK(op_err == MMQ_OK ? op.size <= size : why.text[0] != '\0');
    fuzz_arguments out = {0};
    why.text[0] = '\0';
    mmq_err err =
        mmq_fields_read(data, size, fuzz_specs, sizeof fuzz_specs / sizeof *fuzz_specs, &out, &why);
    CHECK(out.time >= MMQ_TIME_MIN && out.time <= MMQ_TIME_MAX && isfinite(out.number));
    CHECK(out.has_text == (out.text.data != NULL));
    CHECK(!out.has_text || mmq_utf8_valid(out.text.data, out.text.size));
    CHECK(err == MMQ_OK ? op_err == MMQ_OK : why.text[0] != '\0' && err == MMQ_EINVAL);
    return 0;
}
