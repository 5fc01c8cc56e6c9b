/* Any bytes as a file of keys, an Authorization, a Host and an Origin. The first byte chooses the
 * kind; texts of headers end at a NUL, as libmicrohttpd's do. A file that is taken can be written
 * again and says the same; a header never matches a key that it does not hold. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/http/hosts.h"
#include "clients/http/keys.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The caller frees it. */
static char *access_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static void check_written_again(const mmq_keys *keys)
{
    mmq_why why;
    mmq_keys *again = mmq_keys_new(NULL, NULL, &why);
    CHECK(again != NULL);
    for (size_t i = 0; i < keys->count; i++) {
        char line[MMQ_KEY_LINE_MAX];
        CHECK(keys->list[i].rights != 0 &&
              mmq_key_name_valid(keys->list[i].name, strlen(keys->list[i].name)));
        mmq_key_print(&keys->list[i], line);
        CHECK(mmq_keys_parse(again, "again", line, strlen(line), &why) == MMQ_OK);
        CHECK(memcmp(&again->list[i], &keys->list[i], sizeof *again->list) == 0);
    }
    mmq_keys_destroy(&again);
}

static void try_key_file(const uint8_t *data, size_t size)
{
    mmq_why why;
    mmq_keys *keys = mmq_keys_new(NULL, NULL, &why);
    char *text = access_text(data, size);
    CHECK(keys != NULL);
    if (mmq_keys_parse(keys, "fuzz", text, size, &why) == MMQ_OK) {
        check_written_again(keys);
    } else {
        CHECK(strncmp(why.text, "fuzz:", 5) == 0);
    }
    free(text);
    mmq_keys_destroy(&keys);
}

static void try_authorization(const char *value)
{
    static mmq_keys *keys;
    mmq_why why;
    if (keys == NULL) {
        keys = mmq_keys_new("sesame:1", NULL, &why);
        CHECK(keys != NULL);
    }
    const mmq_key *key = mmq_keys_find(keys, value);
    CHECK(key == NULL || strcmp(value + 6, "c2VzYW1lOjE6") == 0);
}

static void try_host(const char *host)
{
    static const char *const names[] = {"metrics.example"};
    struct sockaddr_storage bound = {.ss_family = AF_INET};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&bound;
    mmq_hosts hosts;
    mmq_why why;
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(mmq_hosts_init(&hosts, "127.0.0.1:80", &bound, names, 1, &why) == MMQ_OK);
    if (mmq_hosts_know(&hosts, host)) { /* then it is short and of few kinds of bytes */
        CHECK(strlen(host) < 300 && strspn(host, "[]:.-0123456789abcdefghijklmnopqrstuvwxyz"
                                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(host));
    }
    if (mmq_hosts_init(&hosts, host, &bound, &host, 1, &why) != MMQ_OK) {
        CHECK(strncmp(why.text, "--http-host ", 12) == 0);
    }
}

static void try_origin(const char *origin)
{
    if (mmq_origin_is_own(origin, "localhost:8080")) {
        CHECK(strlen(origin) <= sizeof "https://localhost:8080" - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t kind = size > 0 ? data[0] : 0;
    data += size > 0;
    size -= size > 0;
    char *text = access_text(data, size);
    switch (kind) {
    case 'a':
        try_authorization(text);
        break;
    case 'h':
        try_host(text);
        break;
    case 'o':
        try_origin(text);
        break;
    default:
        try_key_file(data, size);
    }
    free(text);
    return 0;
}
