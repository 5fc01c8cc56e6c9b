/* The page (docs/page.md): its files are part of the program, and open to all; what it shows, it
 * asks for with its reader's key.
 *
 * A browser keeps a file and asks with its tag, so that a page is never made of two releases. The
 * policy lets the page run and reach nothing but what comes from here: text of a metric can be no
 * script, and no other page can put this one into a frame. */
#include <stdio.h>
#include <string.h>

#include "clients/http/page_files.h"
#include "clients/http/routes.h"

enum { TAG_MAX = 64 };

static const struct {
    const char *name, *value;
} guards[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' "
     "data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
     "require-trusted-types-for 'script'; trusted-types 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

static const mmq_page_file *find_file(const mmq_slice *name)
{
    for (size_t i = 0; i < mmq_page_file_count; i++) {
        if (mmq_slice_is(name, mmq_page_files[i].name)) {
            return &mmq_page_files[i];
        }
    }
    return NULL;
}

static bool is_tag(const mmq_slice *tag, void *current)
{
    return mmq_slice_is(tag, "*") || mmq_slice_is(tag, current);
}

/* The bytes stay where they are: they are the program's. */
static struct MHD_Response *respond_bytes(const mmq_page_bytes *bytes)
{
    const union { /* libmicrohttpd changes nothing of it */
        const void *in;
        void *out;
    } data = {.in = bytes->data};
    return MHD_create_response_from_buffer(bytes->size, data.out, MHD_RESPMEM_PERSISTENT);
}

static void answer_file(mmq_exchange *exchange, const mmq_page_file *file)
{
    static const mmq_page_bytes nothing = {NULL, 0};
    char tag[TAG_MAX], quoted[TAG_MAX + 2];
    const bool packed = mmq_codings_gzip(&exchange->headers.accepted);
    const mmq_page_bytes *bytes = packed ? &file->packed : &file->plain;
    snprintf(tag, sizeof tag, "%s%s", file->tag, packed ? "-gzip" : "");
    snprintf(quoted, sizeof quoted, "\"%s\"", tag);
    const bool current = mmq_headers_have_tag(&exchange->headers, is_tag, tag);
    exchange->bytes = exchange->head || current ? 0 : bytes->size;
    mmq_exchange_respond(exchange, current ? 304 : 200, current ? NULL : file->type, "no-cache",
                         respond_bytes(current ? &nothing : bytes));
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_ETAG, quoted);
    mmq_exchange_header(exchange, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    if (packed && !current) {
        mmq_exchange_header(exchange, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    }
    for (size_t i = 0; i < sizeof guards / sizeof *guards; i++) {
        mmq_exchange_header(exchange, guards[i].name, guards[i].value);
    }
}

static void answer_name(mmq_exchange *exchange, const mmq_slice *name)
{
    const mmq_page_file *file = find_file(name);
    if (file) {
        answer_file(exchange, file);
    } else {
        mmq_exchange_refuse(exchange, 404, "the page has no file of this name");
    }
}

void mmq_handle_page(mmq_exchange *exchange)
{
    static const char index[] = "index.html";
    answer_name(exchange, &(mmq_slice){index, sizeof index - 1});
}

void mmq_handle_page_file(mmq_exchange *exchange)
{
    answer_name(exchange, &exchange->url.segments[1]);
}
