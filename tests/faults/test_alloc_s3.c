/* F29: a delivery to s3:// when memory runs out somewhere. It fails in a way that says it will
 * pass, or succeeds all the same; nothing leaks, and the delivery after it succeeds. The store is a
 * thread of ours that says yes to everything: a leftover to abort, two parts, a completion without
 * an ETag. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "workers/targets/target.h"

enum { TAIL_BYTES = 10, HEAD_ROOM = 16 * 1024, PEERS_MAX = 4096 };

static int listener = -1, file = -1;
static char endpoint[64];
static pthread_t acceptor, peers[PEERS_MAX];
static size_t peer_count;
static mmq_sums sums;
static mmq_sum parts[2];

/* ---- the store -------------------------------------------------------------------------- */

static const char *answer_to(const char *head)
{
    if (strncmp(head, "GET ", 4) == 0) {
        return "<L><Upload><Key>key</Key><UploadId>old</UploadId></Upload></L>";
    }
    if (strncmp(head, "POST ", 5) == 0) {
        return strstr(head, "uploads=") != NULL
                   ? "<R><UploadId>id</UploadId></R>"
                   : "<CompleteMultipartUploadResult><ETag/></CompleteMultipartUploadResult>";
    }
    return "";
}

static void answer(int fd, const char *head)
{
    char text[1024];
    const char *body = answer_to(head);
    const bool is_head = strncmp(head, "HEAD ", 5) == 0;
    const int size = snprintf(
        text, sizeof text,
        "HTTP/1.1 200 OK\r\nETag: \"opaque\"\r\nx-amz-meta-sha256: %s\r\nContent-Length: %lld\r\n"
        "\r\n%s",
        sums.whole.sha256, is_head ? (long long)sums.size_bytes : (long long)strlen(body), body);
    (void)!write(fd, text, (size_t)size);
}

/* Reads a request's head and its body. False at the end of the connection. */
static bool read_request(int fd, char head[HEAD_ROOM])
{
    static _Thread_local char room[1 << 16];
    size_t size = 0;
    while (size < 4 || memcmp(head + size - 4, "\r\n\r\n", 4) != 0) {
        if (size + 1 >= HEAD_ROOM || read(fd, head + size, 1) != 1) {
            return false;
        }
        size++;
    }
    head[size] = '\0';
    const char *length = strcasestr(head, "\r\ncontent-length: ");
    long long left = length != NULL ? strtoll(length + 18, NULL, 10) : 0;
    if (strcasestr(head, "\r\nexpect: 100-continue") != NULL) {
        (void)!write(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
    while (left > 0) {
        const ssize_t got =
            read(fd, room, left < (long long)sizeof room ? (size_t)left : sizeof room);
        if (got <= 0) {
            return false;
        }
        left -= got;
    }
    return true;
}

static void *run_peer(void *context)
{
    static _Thread_local char head[HEAD_ROOM];
    const int fd = (int)(intptr_t)context;
    fail_alloc_spare(true);
    while (read_request(fd, head)) {
        answer(fd, head);
    }
    (void)close(fd);
    return NULL;
}

static void *run_store(void *context)
{
    (void)context;
    fail_alloc_spare(true);
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        assert_true(peer_count < PEERS_MAX);
        assert_int_equal(pthread_create(&peers[peer_count++], NULL, run_peer, (void *)(intptr_t)fd),
                         0);
    }
    return NULL;
}

static int begin(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    (void)state;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", ntohs(address.sin_port));
    file = memfd_create("archive", MFD_CLOEXEC);
    assert_int_equal(ftruncate(file, MMQ_PART_BYTES + TAIL_BYTES), 0);
    sums = (mmq_sums){.size_bytes = MMQ_PART_BYTES + TAIL_BYTES, .count = 2, .parts = parts};
    memset(sums.whole.sha256, 'a', MMQ_DIGEST_HEX);
    for (size_t i = 0; i < 2; i++) {
        memset(parts[i].sha256, 'b', MMQ_DIGEST_HEX);
        memset(parts[i].md5, 'c', MMQ_MD5_HEX);
    }
    setenv("AWS_ACCESS_KEY_ID", "access", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    setenv("AWS_SESSION_TOKEN", "token", 1);
    return pthread_create(&acceptor, NULL, run_store, NULL);
}

static int end(void **state)
{
    (void)state;
    (void)shutdown(listener, SHUT_RDWR);
    (void)pthread_join(acceptor, NULL);
    for (size_t i = 0; i < peer_count; i++) {
        (void)pthread_join(peers[i], NULL);
    }
    (void)close(listener);
    (void)close(file);
    return 0;
}

/* ---- deliveries ------------------------------------------------------------------------- */

static mmq_err go_on(void *context, const char *stage, int64_t done, int64_t total, mmq_why *why)
{
    (void)context, (void)stage, (void)done, (void)total, (void)why;
    return MMQ_OK;
}

static bool want_nothing(void *context, const char *key)
{
    (void)context, (void)key;
    return false;
}

static mmq_err deliver(mmq_target *target, mmq_setback *setback, mmq_why *why)
{
    const mmq_watch watch = {go_on, NULL};
    const mmq_object object = {.key = "key", .uid = "uid", .fd = file, .sums = &sums};
    mmq_err err = mmq_target_put(target, &object, &watch, setback, why);
    return err != MMQ_OK ? err : mmq_target_sweep(target, "k", want_nothing, NULL, &watch, why);
}

static void scenario(size_t nth, bool on)
{
    const mmq_s3_settings settings = {.endpoint = endpoint, .ca_file = "/dev/null"};
    mmq_setback setback = {MMQ_SETBACK_PASSING, 0};
    mmq_why why = {""};
    fail_alloc_arm(nth, on);
    mmq_target *target = mmq_target_new("s3://bucket/prefix", &settings, &why);
    mmq_err err = target != NULL ? deliver(target, &setback, &why) : MMQ_ENOMEM;
    const size_t failed = fail_alloc_disarm();
    assert_true(err == MMQ_OK || failed > 0);
    assert_true(err == MMQ_OK || why.text[0] != '\0');
    assert_int_not_equal(err, MMQ_ECORRUPT);
    assert_int_equal(setback.kind, MMQ_SETBACK_PASSING);
    if (target != NULL) {
        assert_int_equal(deliver(target, &setback, &why), MMQ_OK);
    }
    mmq_target_destroy(&target);
}

static void test_delivery(void **state)
{
    (void)state;
    assert_true(fail_alloc_each("s3", fail_alloc_stride(), scenario) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_delivery)};
    return cmocka_run_group_tests(tests, begin, end);
}
