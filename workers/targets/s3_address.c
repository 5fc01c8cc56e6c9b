/* Hosts are kept in one form, lower-case and without the port that the scheme implies, since the
 * Host header that libcurl makes of it is signed. Hosts that libcurl would take for an address in
 * another guise ("127.1", "0x7f.0.0.1") are refused. */
#include "workers/targets/s3_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

enum { HTTPS_PORT = 443, HTTP_PORT = 80, PORT_MAX = 65535, PORT_DIGITS = 5 };

const char *mmq_s3_env(const char *first, const char *second)
{
    const char *value = getenv(first);
    if ((value == NULL || *value == '\0') && second != NULL) {
        value = getenv(second);
    }
    return value != NULL && *value != '\0' ? value : NULL;
}

/* ---- the endpoint ----------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    const size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static bool is_name(const char *host)
{
    const char *last = strrchr(host, '.');
    last = last == NULL ? host : last + 1;
    return *host != '\0' && strspn(host, LOWER DIGITS "-._") == strlen(host) && *host != '.' &&
           *host != '-' && strstr(host, "..") == NULL && strchr(LOWER, *last) != NULL &&
           *last != '\0';
}

/* What the host is, or false if it is nothing that can be. */
static bool classify_host(mmq_s3_endpoint *endpoint)
{
    struct in_addr four;
    struct in6_addr six;
    char bare[MMQ_S3_HOST_MAX + 1];
    const size_t size = strlen(endpoint->host);
    if (inet_pton(AF_INET, endpoint->host, &four) == 1) {
        endpoint->is_address = true;
        endpoint->is_loopback = ntohl(four.s_addr) >> 24 == 127;
        return true;
    }
    if (endpoint->host[0] == '[' && endpoint->host[size - 1] == ']') {
        snprintf(bare, sizeof bare, "%.*s", (int)(size - 2), endpoint->host + 1);
        if (inet_pton(AF_INET6, bare, &six) != 1) {
            return false;
        }
        endpoint->is_address = true;
        endpoint->is_loopback = IN6_IS_ADDR_LOOPBACK(&six);
        (void)inet_ntop(AF_INET6, &six, bare, sizeof bare);
        snprintf(endpoint->host, sizeof endpoint->host, "[%.*s]", INET6_ADDRSTRLEN, bare);
        return true;
    }
    endpoint->is_loopback =
        strcmp(endpoint->host, "localhost") == 0 || ends_with(endpoint->host, ".localhost");
    return is_name(endpoint->host);
}

static bool take_host(const char *host, size_t size, mmq_s3_endpoint *out)
{
    if (size == 0 || size > MMQ_S3_HOST_MAX) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        out->host[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] | 0x20 : host[i]);
    }
    out->host[size] = '\0';
    return strlen(out->host) == size && classify_host(out);
}

/* "" or ":PORT", then "" or "/". */
static bool take_port(const char *text, mmq_s3_endpoint *out)
{
    if (*text == ':') {
        const size_t digits = strspn(++text, DIGITS);
        if (digits == 0 || digits > PORT_DIGITS) {
            return false;
        }
        out->port = (unsigned)strtoul(text, NULL, 10);
        if (out->port == 0 || out->port > PORT_MAX) {
            return false;
        }
        text += digits;
    }
    if (out->port == (out->is_tls ? HTTPS_PORT : HTTP_PORT)) {
        out->port = 0;
    }
    return strcmp(text, "") == 0 || strcmp(text, "/") == 0;
}

mmq_err mmq_s3_endpoint_parse(const char *url, mmq_s3_endpoint *out, mmq_why *why)
{
    static const char tls[] = "https://", plain[] = "http://";
    *out = (mmq_s3_endpoint){.is_tls = strncmp(url, tls, strlen(tls)) == 0};
    if (!out->is_tls && strncmp(url, plain, strlen(plain)) != 0) {
        return mmq_fail(why, MMQ_EINVAL,
                        "the endpoint must be https://HOST[:PORT] or http://HOST[:PORT]");
    }
    const char *host = url + strlen(out->is_tls ? tls : plain);
    size_t size = strcspn(host, ":/");
    if (*host == '[') {
        size = strcspn(host, "]");
        size += host[size] == ']' ? 1 : 0;
    }
    return take_host(host, size, out) && take_port(host + size, out)
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL,
                          "the endpoint must be a scheme, a host and perhaps a port: no user, no "
                          "path, no query");
}

/* ---- the url ---------------------------------------------------------------------------- */

static bool is_bucket(const char *name, size_t size)
{
    char text[MMQ_S3_BUCKET_MAX + 1];
    struct in_addr address;
    if (size < 3 || size > MMQ_S3_BUCKET_MAX) {
        return false;
    }
    memcpy(text, name, size);
    text[size] = '\0';
    return strspn(text, LOWER DIGITS "-.") == size && strchr("-.", text[0]) == NULL &&
           strchr("-.", text[size - 1]) == NULL && strstr(text, "..") == NULL &&
           strstr(text, ".-") == NULL && strstr(text, "-.") == NULL &&
           inet_pton(AF_INET, text, &address) != 1;
}

static mmq_err take_url(const char *rest, mmq_s3_address *out, mmq_why *why)
{
    const size_t size = strcspn(rest, "/");
    if (!is_bucket(rest, size)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "upload s3://BUCKET: a bucket's name is 3 to 63 lower-case letters, "
                        "digits, dots and hyphens, with a letter or digit at both ends");
    }
    snprintf(out->bucket, sizeof out->bucket, "%.*s", (int)size, rest);
    const char *prefix = rest + size + (rest[size] == '/' ? 1 : 0);
    size_t length = strlen(prefix);
    length -= length > 0 && prefix[length - 1] == '/' ? 1 : 0;
    if (*prefix == '\0') {
        return MMQ_OK;
    }
    if (length >= MMQ_S3_PREFIX_MAX || !mmq_object_key_valid(prefix, length)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "upload s3://BUCKET/PREFIX: a prefix is at most %d letters, digits and "
                        "\"-_./\", no part of it empty or beginning with a dot",
                        MMQ_S3_PREFIX_MAX - 1);
    }
    snprintf(out->prefix, sizeof out->prefix, "%.*s/", (int)length, prefix);
    return MMQ_OK;
}

/* ---- both ------------------------------------------------------------------------------- */

static mmq_err take_region(const char *region, mmq_s3_address *out, mmq_why *why)
{
    region = region != NULL ? region : mmq_s3_env("AWS_REGION", "AWS_DEFAULT_REGION");
    region = region != NULL ? region : "us-east-1";
    const size_t size = strlen(region);
    if (size == 0 || size > MMQ_S3_REGION_MAX || strspn(region, LOWER UPPER DIGITS "-_") != size) {
        return mmq_fail(why, MMQ_EINVAL,
                        "the region of S3 must be 1 to %d letters, digits and \"-_\"",
                        MMQ_S3_REGION_MAX);
    }
    memcpy(out->region, region, size + 1);
    return MMQ_OK;
}

static mmq_err take_endpoint(const mmq_s3_settings *settings, mmq_s3_address *out, mmq_why *why)
{
    char usual[sizeof "https://s3..amazonaws.com" + MMQ_S3_REGION_MAX];
    const char *url = settings->endpoint;
    snprintf(usual, sizeof usual, "https://s3.%s.amazonaws.com", out->region);
    url = url != NULL ? url : mmq_s3_env("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL");
    mmq_err err = mmq_s3_endpoint_parse(url != NULL ? url : usual, &out->endpoint, why);
    if (err == MMQ_OK && !out->endpoint.is_tls && !out->endpoint.is_loopback &&
        !settings->insecure) {
        err = mmq_fail(why, MMQ_EINVAL,
                       "the endpoint must be https:// since it is not on this machine, unless "
                       "--s3-insecure allows http://");
    }
    return err;
}

/* A bucket with a dot is no name that a certificate of its parent's is good for. */
static void choose_style(const mmq_s3_settings *settings, mmq_s3_address *out)
{
    const mmq_s3_endpoint *endpoint = &out->endpoint;
    char port[sizeof ":65535"] = "";
    out->path_style = settings->path_style || endpoint->is_address ||
                      (endpoint->is_tls && strchr(out->bucket, '.') != NULL);
    if (endpoint->port != 0) {
        snprintf(port, sizeof port, ":%u", endpoint->port % (PORT_MAX + 1));
    }
    snprintf(out->host, sizeof out->host, "%s%s%s%s", out->path_style ? "" : out->bucket,
             out->path_style ? "" : ".", endpoint->host, port);
}

mmq_err mmq_s3_address_make(const char *rest, const mmq_s3_settings *settings, mmq_s3_address *out,
                            mmq_why *why)
{
    static const mmq_s3_settings none = {.endpoint = NULL};
    settings = settings != NULL ? settings : &none;
    *out = (mmq_s3_address){.path_style = false};
    mmq_err err = take_url(rest, out, why);
    if (err == MMQ_OK) {
        err = take_region(settings->region, out, why);
    }
    if (err == MMQ_OK) {
        err = take_endpoint(settings, out, why);
    }
    if (err == MMQ_OK) {
        choose_style(settings, out);
    }
    return err;
}

void mmq_s3_address_path(mmq_buffer *out, const mmq_s3_address *address, const char *key)
{
    mmq_buffer_text(out, "/");
    if (address->path_style) {
        mmq_buffer_text(out, address->bucket);
        mmq_buffer_text(out, key != NULL ? "/" : "");
    }
    mmq_buffer_text(out, key != NULL ? key : "");
}

void mmq_s3_address_origin(mmq_buffer *out, const mmq_s3_address *address)
{
    mmq_buffer_format(out, "%s://%s", address->endpoint.is_tls ? "https" : "http", address->host);
}
