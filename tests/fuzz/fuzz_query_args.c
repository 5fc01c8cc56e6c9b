/* Bodies of requests to metric.query: whatever the bytes are, they are refused with a reason, or
 * what was read of them keeps its promises. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "lib/fields.h"
#include "lib/uid.h"
#include "workers/query_args.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_paging(const mmq_page_query *query)
{
    CHECK(query->max_bytes >= MMQ_PAGE_LEAST && query->max_bytes <= MMQ_PAGE_MOST);
    if (query->has_cursor) {
        char text[MMQ_CURSOR_MAX];
        mmq_cursor again;
        CHECK(query->cursor.binding == query->binding);
        mmq_cursor_print(&query->cursor, text);
        CHECK(mmq_cursor_parse(text, strlen(text), &again) == MMQ_OK);
    }
}

static void check_selection(const mmq_selection *selection)
{
    CHECK(selection->limit >= 0 && isfinite(selection->anomaly));
    CHECK(selection->ascending || selection->from == INT64_MIN);
    CHECK(selection->uid[0] == '\0' || mmq_uid_valid(selection->uid, strlen(selection->uid)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mmq_page_query query;
    mmq_slice op, unless;
    mmq_why why = {""};
    char uid[MMQ_UID_MAX + 1];
    mmq_err err = mmq_fields_op(data, size, &op, &why);
    CHECK(err == MMQ_OK || why.text[0] != '\0');
    if (mmq_query_read_data(data, size, &query, &why) == MMQ_OK) {
        check_paging(&query);
        check_selection(&query.selection);
    }
    if (mmq_query_read_models(data, size, &query, &why) == MMQ_OK) {
        check_paging(&query);
    }
    if (mmq_query_read_export(data, size, &query, &why) == MMQ_OK) {
        check_paging(&query);
        CHECK(query.selection.uid[0] == '\0' ||
              mmq_uid_valid(query.selection.uid, strlen(query.selection.uid)));
    }
    if (mmq_query_read_summary(data, size, &query, &why) == MMQ_OK) {
        check_paging(&query);
        check_selection(&query.selection);
        CHECK(query.buckets >= 1 && query.buckets <= MMQ_BUCKETS_MOST);
        CHECK(!query.has_cursor || query.cursor.has_buckets);
    }
    if (mmq_query_read_model(data, size, uid, &unless, &why) == MMQ_OK) {
        CHECK(mmq_uid_valid(uid, strlen(uid)));
    }
    err = mmq_query_read_none(data, size, &why);
    CHECK(err == MMQ_OK || why.text[0] != '\0');
    return 0;
}
