/* Manifests: round trips, and every way in which a file may be torn, changed or foreign. F67. */
#include "spool_world.h"

#include <time.h>

#include "workers/spool/manifest.h"

static mmq_dump dump;
static uint64_t seed;

static int begin(void **state)
{
    (void)state;
    world_dump(&dump, "a", "hello", 1700000000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_dump_clear(&dump);
    return 0;
}

static void fill_hex(char *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = "0123456789abcdef"[seed >> 60];
    }
    out[size] = '\0';
}

/* As of an archive of so many bytes. */
static mmq_manifest make(int64_t size_bytes)
{
    mmq_manifest manifest = world_manifest(&dump, "x");
    assert_ok(mmq_sums_init(&manifest.sums, size_bytes, &why));
    fill_hex(manifest.sums.whole.sha256, MMQ_DIGEST_HEX);
    if (manifest.sums.count == 0) {
        fill_hex(manifest.sums.whole.md5, MMQ_MD5_HEX);
    }
    for (size_t i = 0; i < manifest.sums.count; i++) {
        fill_hex(manifest.sums.parts[i].sha256, MMQ_DIGEST_HEX);
        fill_hex(manifest.sums.parts[i].md5, MMQ_MD5_HEX);
    }
    manifest.attempts = 7;
    manifest.next_attempt_ms = INT64_C(1700000000123);
    manifest.state = MMQ_JOB_SETTINGS;
    mmq_why_set(&manifest.error, "the store says \"no\", caf\xc3\xa9");
    return manifest;
}

static mmq_buffer print(const mmq_manifest *manifest)
{
    mmq_buffer text;
    mmq_buffer_init(&text, MMQ_MANIFEST_MAX);
    assert_ok(mmq_manifest_print(manifest, &text, &why));
    return text;
}

static void expect_same(const mmq_manifest *a, const mmq_manifest *b)
{
    assert_string_equal(a->key, b->key);
    assert_string_equal(a->uid, b->uid);
    assert_string_equal(a->server_id, b->server_id);
    assert_string_equal(a->digest, b->digest);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->attempts, b->attempts);
    assert_int_equal(a->next_attempt_ms, b->next_attempt_ms);
    assert_int_equal(a->state, b->state);
    assert_string_equal(a->error.text, b->error.text);
    assert_int_equal(a->sums.size_bytes, b->sums.size_bytes);
    assert_memory_equal(&a->sums.whole, &b->sums.whole, sizeof a->sums.whole);
    assert_int_equal(a->sums.count, b->sums.count);
    for (size_t i = 0; i < a->sums.count; i++) {
        assert_memory_equal(&a->sums.parts[i], &b->sums.parts[i], sizeof *a->sums.parts);
    }
}

/* Of the greatest archive too, within the bound that readers have. */
static void manifests_come_back(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, MMQ_WHOLE_BYTES, MMQ_WHOLE_BYTES + 1,
                                    (int64_t)MMQ_PART_BYTES * MMQ_PARTS_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mmq_manifest made = make(sizes[i]), back;
        mmq_buffer text = print(&made);
        assert_int_equal(memchr(text.data, '\n', text.size) == text.data + text.size - 1, 1);
        assert_ok(mmq_manifest_parse((const char *)text.data, text.size, &back, &why));
        expect_same(&made, &back);
        assert_true(mmq_manifest_is_summed(&back));
        mmq_manifest_clear(&back);
        mmq_manifest_clear(&made);
        mmq_buffer_clear(&text);
    }
}

static void expect_refused(const char *text, size_t size)
{
    mmq_manifest out;
    mmq_why_set(&why, "%s", "");
    assert_int_equal(mmq_manifest_parse(text, size, &out, &why), MMQ_ECORRUPT);
    assert_true(why.text[0] != '\0');
    assert_null(out.sums.parts);
}

static void every_flip_is_noticed(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1000, MMQ_WHOLE_BYTES + 1};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        mmq_manifest made = make(sizes[s]);
        mmq_buffer text = print(&made);
        for (size_t i = 0; i < text.size; i++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                text.data[i] ^= (uint8_t)(1U << bit);
                expect_refused((const char *)text.data, text.size);
                text.data[i] ^= (uint8_t)(1U << bit);
            }
        }
        mmq_manifest_clear(&made);
        mmq_buffer_clear(&text);
    }
}

static void every_cut_is_noticed(void **state)
{
    (void)state;
    mmq_manifest made = make(MMQ_WHOLE_BYTES + 1);
    mmq_buffer text = print(&made);
    for (size_t size = 0; size < text.size; size++) {
        expect_refused((const char *)text.data, size);
    }
    mmq_buffer_add(&text, "\n", 1);
    expect_refused((const char *)text.data, text.size);
    mmq_manifest_clear(&made);
    mmq_buffer_clear(&text);
}

#define FIRST_VERSION                                                                              \
    "{\"op\":\"dump\",\"version\":1,\"key\":\"metric_dumps/server-x.tar.gz\",\"uid\":\"a\","       \
    "\"created\":1,"                                                                               \
    "\"digest\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"size\":1,"  \
    "\"sha256\":\"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\","             \
    "\"attempts\":3,\"server_id\":\"server\""

static void first_version_is_read(void **state)
{
    (void)state;
    static const char text[] = FIRST_VERSION "}\n";
    mmq_manifest manifest;
    assert_ok(mmq_manifest_parse(text, sizeof text - 1, &manifest, &why));
    assert_int_equal(manifest.attempts, 3);
    assert_int_equal(manifest.state, MMQ_JOB_WAITING);
    assert_int_equal(manifest.next_attempt_ms, 0);
    assert_false(mmq_manifest_is_summed(&manifest));
    mmq_manifest_clear(&manifest);
    static const char mixed[] = FIRST_VERSION ",\"state\":\"held\"}\n";
    expect_refused(mixed, sizeof mixed - 1);
}

/* Text of which the checksum is right, but not what it says. */
static void expect_signed_refused(const char *rest)
{
    char text[4096], sum[MMQ_DIGEST_HEX + 1];
    mmq_digest(rest, strlen(rest), sum);
    const int size = snprintf(text, sizeof text, "{\"checksum\":\"%s\"%s", sum, rest);
    expect_refused(text, (size_t)size);
}

/* One change each of what is printed, under a checksum of its own. */
static void strange_ones_are_refused(void **state)
{
    (void)state;
    static const char *const changes[][2] = {
        {"\"version\":2", "\"version\":3"},
        {"\"version\":2", "\"version\":1"},
        {"\"version\":2", "\"version\":2,\"new\":1"},
        {"\"key\":\"metric_dumps/", "\"key\":\"../etc/"},
        {"\"key\":\"metric_dumps/", "\"key\":\"/etc/"},
        {"\"uid\":\"a\"", "\"uid\":\"..\""},
        {"\"size\":1000", "\"size\":-1"},
        {"\"size\":1000", "\"size\":1e300"},
        {"\"size\":1000", "\"size\":90000000000000"},
        {"\"size\":1000", "\"size\":67108865"},
        {"\"parts\":\"\"", "\"parts\":\"00\""},
        {"\"state\":\"settings\"", "\"state\":\"lost\""},
        {"\"next_attempt\":1700000000123", "\"next_attempt\":-5"},
        {"\"attempts\":7", "\"attempts\":-7"},
    };
    mmq_manifest made = make(1000);
    mmq_buffer printed = print(&made);
    const char *rest = strchr(mmq_buffer_cstr(&printed), ',');
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char text[4096];
        const char *at = strstr(rest, changes[i][0]);
        assert_non_null(at);
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - rest), rest, changes[i][1],
                       at + strlen(changes[i][0]));
        expect_signed_refused(text);
    }
    expect_signed_refused(",\"op\":\"dump\",\"version\":3}\n");
    mmq_manifest_clear(&made);
    mmq_buffer_clear(&printed);
}

static void later_version_is_named(void **state)
{
    (void)state;
    static const char text[] =
        "{\"op\":\"dump\",\"version\":3,\"key\":\"k\",\"uid\":\"a\",\"created\":1,\"digest\":\"0\","
        "\"size\":1,\"sha256\":\"0\",\"attempts\":3,\"server_id\":\"server\"}";
    expect_refused(text, sizeof text - 1);
    assert_non_null(strstr(why.text, "version 3"));
}

static void errors_are_made_fit(void **state)
{
    (void)state;
    mmq_manifest made = make(1000), back;
    (void)snprintf(made.error.text, sizeof made.error.text, "a\xff\n\x7f\"b");
    mmq_buffer text = print(&made);
    assert_ok(mmq_manifest_parse((const char *)text.data, text.size, &back, &why));
    assert_string_equal(back.error.text, "a???\"b");
    memset(made.error.text, 'x', sizeof made.error.text);
    mmq_error_clean(&made.error);
    assert_int_equal(strlen(made.error.text), sizeof made.error.text - 1);
    mmq_manifest_clear(&back);
    mmq_manifest_clear(&made);
    mmq_buffer_clear(&text);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(manifests_come_back),   TEST(every_flip_is_noticed),    TEST(every_cut_is_noticed),
        TEST(first_version_is_read), TEST(strange_ones_are_refused), TEST(later_version_is_named),
        TEST(errors_are_made_fit),
    };
    const char *given = getenv("METRICMQ_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("seed: METRICMQ_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
