/* Headers, read in one pass. libmicrohttpd takes the first of several, ignores a Content-Length
 * beside a Transfer-Encoding and reads an unknown coding until the connection closes; a proxy in
 * front may read them otherwise, so all of these are refused. Keys are compared by digest: neither
 * the time nor the length tells anything. */
#include "clients/http/headers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "lib/number.h"

static uint64_t read_length(const char *value)
{
    int64_t length;
    return mmq_integer_parse(value, strlen(value), &length) && length >= 0 ? (uint64_t)length
                                                                           : UINT64_MAX;
}

static enum MHD_Result read_header(void *context, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    mmq_headers *out = context;
    (void)kind;
    value = value ? value : "";
    if (strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0) {
        out->hosts++;
    } else if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        out->lengths++;
        out->length = read_length(value);
    } else if (strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        out->codings++;
        out->chunked = strcasecmp(value, "chunked") == 0;
    } else if (strcasecmp(key, MHD_HTTP_HEADER_ACCEPT) == 0) {
        out->octets |= strcasestr(value, "application/octet-stream") != NULL;
    } else if (strcasecmp(key, MHD_HTTP_HEADER_EXPECT) == 0) {
        out->expects = true;
    } else if (strcasecmp(key, MHD_HTTP_HEADER_AUTHORIZATION) == 0) {
        out->authorizations++;
        out->authorization = value;
    }
    return MHD_YES;
}

void mmq_headers_read(struct MHD_Connection *connection, mmq_headers *out)
{
    *out = (mmq_headers){0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, read_header, out);
}

const char *mmq_headers_fault(const mmq_headers *headers, const char *version)
{
    if (headers->lengths > 1) {
        return "Content-Length is there more than once";
    }
    if (headers->lengths == 1 && headers->length == UINT64_MAX) {
        return "Content-Length is not a number";
    }
    if (headers->codings > 0 && headers->lengths > 0) {
        return "Content-Length and Transfer-Encoding cannot go together";
    }
    if (headers->codings > 1 || (headers->codings == 1 && !headers->chunked)) {
        return "Transfer-Encoding must be chunked";
    }
    if (headers->hosts > 1 || (headers->hosts == 0 && strcmp(version, "HTTP/1.1") == 0)) {
        return "Host must be there once";
    }
    return NULL;
}

bool mmq_key_digest_init(mmq_key_digest *out, const char *key)
{
    size_t size = strlen(key) + 1;
    char *plain = malloc(size + 1);
    unsigned char *text = malloc(4 * ((size + 2) / 3) + 1);
    bool ok = plain != NULL && text != NULL && size < 4096;
    if (ok) {
        memcpy(plain, key, size - 1);
        plain[size - 1] = ':';
        int written = EVP_EncodeBlock(text, (const unsigned char *)plain, (int)size);
        mmq_digest(text, (size_t)written, out->digest);
    }
    free(text);
    free(plain);
    return ok;
}

bool mmq_key_matches(const mmq_key_digest *key, const mmq_headers *headers)
{
    static const char scheme[] = "Basic ";
    const char *given = headers->authorization;
    if (headers->authorizations != 1 || strncasecmp(given, scheme, sizeof scheme - 1) != 0) {
        return false;
    }
    char digest[MMQ_DIGEST_HEX + 1];
    given += sizeof scheme - 1;
    mmq_digest(given, strlen(given), digest);
    unsigned char difference = 0;
    for (size_t i = 0; i < MMQ_DIGEST_HEX; i++) {
        difference |= (unsigned char)(digest[i] ^ key->digest[i]);
    }
    return difference == 0;
}
