/* Headers, read in one pass. libmicrohttpd takes the first of several, ignores a Content-Length
 * beside a Transfer-Encoding and reads an unknown coding until the connection closes; a proxy in
 * front may read them otherwise, so all of these are refused.
 *
 * It also takes `Content-Length :` for a header of another name than Content-Length. Where a header
 * goes on in the next line (which HTTP has given up) it adds that line to the header's name: so a
 * Content-Length can be hidden from it, or a Transfer-Encoding made of something else. The name has
 * then moved away from its value. And a line that begins with a colon or a NUL ends the headers:
 * the lines behind it would be the next request. What was read stands in memory as it came, but for
 * NULs in place of colons and line ends, so it can be seen whether the empty line follows the last
 * value. Two of such lines cannot be told from it: `:` that ends in a bare LF, and one with NULs at
 * its end; a proxy that sends those on would be needed. */
#include "clients/http/headers.h"

#include <string.h>
#include <strings.h>

#include "lib/number.h"

/* May it stand in logs, on the bus and in our answer? */
static bool is_safe_id(const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char byte = value[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        if (!letter && (byte < '0' || byte > '9') && strchr("-_.:+/=", byte) == NULL) {
            return false;
        }
    }
    return size > 0 && size <= MMQ_REQUEST_ID_MAX;
}

static void take_host(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    out->hosts++;
    out->host = value;
}

static void take_length(mmq_headers *out, const char *value, size_t size)
{
    int64_t length;
    bool good = mmq_integer_parse(value, size, &length) && length >= 0;
    out->lengths++;
    out->length = good ? (uint64_t)length : UINT64_MAX;
}

static void take_coding(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    out->codings++;
    out->chunked = strcasecmp(value, "chunked") == 0;
}

static void take_accept(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    mmq_accept_add(&out->accept, value);
}

static void take_accepted(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    mmq_codings_add(&out->accepted, value);
}

static void take_expect(mmq_headers *out, const char *value, size_t size)
{
    (void)value, (void)size;
    out->expects = true;
}

static void take_authorization(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    out->authorizations++;
    out->authorization = value;
}

static void take_none_match(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    if (out->none_matches < MMQ_NONE_MATCH_FIELDS) {
        out->none_match[out->none_matches] = value;
    }
    out->none_matches++;
}

static void take_origin(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    out->origins++;
    out->origin = value;
}

static void take_wanted_method(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    out->wanted_method = value;
}

static void take_agent(mmq_headers *out, const char *value, size_t size)
{
    (void)size;
    out->agent = value;
}

static void take_request_id(mmq_headers *out, const char *value, size_t size)
{
    out->request_id = is_safe_id(value, size) ? value : out->request_id;
}

static const struct {
    const char *name;
    size_t size;
    void (*take)(mmq_headers *out, const char *value, size_t size);
} takers[] = {
#define TAKER(name_, take_)                                                                        \
    {                                                                                              \
        name_, sizeof(name_) - 1, take_                                                            \
    }
    TAKER(MHD_HTTP_HEADER_HOST, take_host),
    TAKER(MHD_HTTP_HEADER_ACCEPT, take_accept),
    TAKER(MHD_HTTP_HEADER_USER_AGENT, take_agent),
    TAKER(MHD_HTTP_HEADER_ACCEPT_ENCODING, take_accepted),
    TAKER(MHD_HTTP_HEADER_IF_NONE_MATCH, take_none_match),
    TAKER(MHD_HTTP_HEADER_AUTHORIZATION, take_authorization),
    TAKER(MHD_HTTP_HEADER_CONTENT_LENGTH, take_length),
    TAKER(MHD_HTTP_HEADER_TRANSFER_ENCODING, take_coding),
    TAKER(MHD_HTTP_HEADER_EXPECT, take_expect),
    TAKER(MHD_HTTP_HEADER_ORIGIN, take_origin),
    TAKER("X-Request-Id", take_request_id),
    TAKER("Access-Control-Request-Method", take_wanted_method),
#undef TAKER
};

bool mmq_is_token(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char byte = text[i], letter = (char)(byte | 0x20);
        if ((letter < 'a' || letter > 'z') && (byte < '0' || byte > '9') &&
            (byte == '\0' || strchr("!#$%&'*+-.^_`|~", byte) == NULL)) {
            return false;
        }
    }
    return size > 0;
}

/* A name and its value stand side by side, with a colon and blanks between them. */
static bool is_folded(const char *name, size_t name_size, const char *value)
{
    const uintptr_t end = (uintptr_t)name + name_size, start = (uintptr_t)value;
    return start <= end || strspn(name + name_size + 1, " \t") < start - end - 1;
}

static enum MHD_Result read_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   size_t name_size, const char *value, size_t value_size)
{
    mmq_headers *out = context;
    (void)kind;
    out->odd |= !mmq_is_token(name, name_size);
    out->folded |= value != NULL && is_folded(name, name_size, value);
    value = value ? value : "";
    out->bytes += name_size + value_size;
    out->end = value + value_size;
    for (size_t i = 0; i < sizeof takers / sizeof *takers; i++) {
        if (takers[i].size == name_size && strcasecmp(takers[i].name, name) == 0) {
            takers[i].take(out, value, strlen(value));
            break;
        }
    }
    return MHD_YES;
}

/* Do the headers, whose last value ends at `at`, end there, by two line ends? */
static bool is_whole(const char *at, const char *end)
{
    size_t ends = 0;
    while (end - ends > at && end[-1 - (ptrdiff_t)ends] == '\0') {
        ends++;
    }
    /* Two of CR LF or LF; or, with NULs in the last value, two of CR LF. */
    return end - ends == at ? ends >= 2 && ends <= 4 : ends == 4;
}

void mmq_headers_read(struct MHD_Connection *connection, const char *method, const char *version,
                      mmq_headers *out)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    *out = (mmq_headers){.end = version + strlen(version)};
    mmq_accept_init(&out->accept);
    mmq_codings_init(&out->accepted);
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, read_header, out);
    out->cut = info == NULL || !is_whole(out->end, method + info->header_size);
}

const char *mmq_headers_fault(const mmq_headers *headers, const char *version)
{
    if (headers->odd || headers->folded) {
        return headers->odd ? "a header has a name that none may have"
                            : "a header goes on in the next line";
    }
    if (headers->cut) {
        return "a line of the headers is none that may be there";
    }
    if (headers->lengths > 1) {
        return "Content-Length is there more than once";
    }
    if (headers->lengths == 1 && headers->length == UINT64_MAX) {
        return "Content-Length is not a number";
    }
    if (headers->codings > 0 && headers->lengths > 0) {
        return "Content-Length and Transfer-Encoding cannot go together";
    }
    if (headers->codings > 0 && strcmp(version, "HTTP/1.0") == 0) {
        return "HTTP/1.0 has no Transfer-Encoding";
    }
    if (headers->codings > 1 || (headers->codings == 1 && !headers->chunked)) {
        return "Transfer-Encoding must be chunked";
    }
    if (headers->hosts > 1 || (headers->hosts == 0 && strcmp(version, "HTTP/1.1") == 0)) {
        return "Host must be there once";
    }
    return NULL;
}

bool mmq_headers_have_tag(const mmq_headers *headers,
                          bool (*is_it)(const mmq_slice *tag, void *context), void *context)
{
    mmq_slice tag;
    if (headers->none_matches > MMQ_NONE_MATCH_FIELDS) {
        return false;
    }
    for (unsigned i = 0; i < headers->none_matches; i++) {
        const char *at = headers->none_match[i];
        while (mmq_etag_next(&at, &tag)) {
            if (is_it(&tag, context)) {
                return true;
            }
        }
    }
    return false;
}
