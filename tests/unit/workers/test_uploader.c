/* Deliveries in the background: classes of failures, waits, several at once, two uploaders on one
 * spool, stops. F59, F62, F67, F69, F71. No time passes here: tests move the clock. */
#include "spool_world.h"
#include "target_script.h"

#include "workers/spool/uploader.h"

enum { WAIT_S = 20 };

#define SECOND MMQ_NS_PER_S

static int data_folder;
static mmq_spool *spool;
static mmq_dump dump;
static mmq_uploader *uploader;
static int64_t shifted_ns;
static const char bytes[] = "the bytes of an archive";

static int begin(void **state)
{
    (void)state;
    world_begin();
    data_folder = open(world_folder, O_RDONLY | O_DIRECTORY);
    spool = mmq_spool_new(data_folder, NULL, &why);
    assert_non_null(spool);
    world_dump(&dump, "a", "hello", 1700000000);
    script_reset();
    shifted_ns = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    mmq_uploader_destroy(&uploader);
    mmq_clock_shift(0);
    mmq_dump_clear(&dump);
    mmq_spool_destroy(&spool);
    (void)close(data_folder);
    world_end();
    return 0;
}

static mmq_uploader *start_on(mmq_spool *where, unsigned uploads, const char *ours)
{
    const mmq_uploader_options options = {
        .spool = where, .target = &script_target, .uploads = uploads, .ours = ours};
    mmq_uploader *started = mmq_uploader_new(&options, &why);
    assert_non_null(started);
    return started;
}

static void start(void)
{
    uploader = start_on(spool, 0, NULL);
}

static void restart(void)
{
    mmq_uploader_destroy(&uploader);
    start();
}

static void pass_time(int64_t ns)
{
    shifted_ns += ns;
    mmq_clock_shift(shifted_ns);
    mmq_uploader_wake(uploader, NULL);
}

#define WAIT_UNTIL(condition_)                                                                     \
    do {                                                                                           \
        struct timespec started_, now_;                                                            \
        clock_gettime(CLOCK_MONOTONIC, &started_);                                                 \
        while (!(condition_)) {                                                                    \
            clock_gettime(CLOCK_MONOTONIC, &now_);                                                 \
            assert_true(now_.tv_sec - started_.tv_sec < WAIT_S);                                   \
            (void)poll(NULL, 0, 2);                                                                \
        }                                                                                          \
    } while (0)

static mmq_spool_counts counts(void)
{
    mmq_spool_counts out;
    assert_ok(mmq_spool_count(spool, &out, &why));
    return out;
}

static unsigned begun(void)
{
    return atomic_load(&script.puts);
}

static void leave_job(const char *note)
{
    mmq_dump other;
    world_dump(&other, "a", note, 1700000000);
    mmq_job *job = world_commit(spool, &other, bytes);
    mmq_job_close(&job);
    mmq_dump_clear(&other);
}

/* The manifest of the one job, as it is on disk. */
static mmq_manifest look(void)
{
    mmq_manifest manifest;
    assert_ok(mmq_spool_peek(spool, dump.name, &manifest, &why));
    mmq_sums_clear(&manifest.sums);
    return manifest;
}

/* Whoever was at it has written down what became of it, so often at least. (He may not have made
 * his next plan yet: time that passes meanwhile does not count for him.) */
static bool is_counted(int64_t attempts)
{
    mmq_manifest manifest;
    if (mmq_spool_peek(spool, dump.name, &manifest, &why) != MMQ_OK) {
        return false;
    }
    const bool counted = manifest.attempts >= attempts;
    mmq_manifest_clear(&manifest);
    return counted;
}

static void fail_as(mmq_setback_kind kind)
{
    atomic_store(&script.failing, (int)kind + 1);
}

/* Everybody has had a chance to do what he must not. */
static void let_them_look(void)
{
    mmq_uploader_wake(uploader, NULL);
    mmq_uploader_wake(uploader, dump.name);
    for (int i = 0; i < 50; i++) {
        (void)poll(NULL, 0, 1);
    }
}

/* ---- waits ------------------------------------------------------------------------------ */

static void waits_are_bounded(void **state)
{
    (void)state;
    const mmq_setback passing = {MMQ_SETBACK_PASSING, 0}, settings = {MMQ_SETBACK_SETTINGS, 0},
                      refused = {MMQ_SETBACK_REFUSED, 0}, asked = {MMQ_SETBACK_PASSING, 7 * SECOND},
                      far = {MMQ_SETBACK_PASSING, 7000 * SECOND};
    int64_t least = INT64_MAX, most = 0;
    for (int64_t attempts = 0; attempts < 200; attempts++) {
        const int64_t wait_ns = mmq_delivery_wait_ns(&passing, attempts);
        assert_true(wait_ns >= 20 * MMQ_NS_PER_MS && wait_ns <= 300 * SECOND);
        assert_true(attempts > 1 || wait_ns <= 100 * MMQ_NS_PER_MS);
        assert_true(attempts > 4 || wait_ns <= 800 * MMQ_NS_PER_MS);
        if (attempts > 50) { /* full jitter: short ones and long ones */
            least = wait_ns < least ? wait_ns : least;
            most = wait_ns > most ? wait_ns : most;
        }
        const int64_t mend_ns = mmq_delivery_wait_ns(&settings, attempts);
        assert_true(mend_ns >= 60 * SECOND && mend_ns <= 300 * SECOND);
        assert_true(mmq_delivery_wait_ns(&asked, attempts) >= 7 * SECOND);
        assert_true(mmq_delivery_wait_ns(&far, attempts) == 300 * SECOND);
    }
    assert_true(least < 60 * SECOND && most > 240 * SECOND);
    assert_true(mmq_delivery_wait_ns(&passing, INT64_MAX) <= 300 * SECOND);
    assert_true(mmq_delivery_wait_ns(&refused, 1) == MMQ_NEVER_NS);
}

/* ---- classes ---------------------------------------------------------------------------- */

static void spool_is_emptied(void **state)
{
    (void)state;
    leave_job("hello");
    world_write(world_at("spool/strange"), "x", 1);
    assert_int_equal(mkdir(world_at("spool/%032d", 7), 0755), 0); /* torn: nothing in it */
    start();
    WAIT_UNTIL(counts().jobs == 0 && counts().quarantined == 2);
    assert_int_equal(script_delivered(), 1);
    WAIT_UNTIL(world_entries(world_at("spool")) == 1); /* quarantine */
}

/* F59: it is asked for when the store said, and what failed is told. */
static void passing_failures_wait(void **state)
{
    (void)state;
    mmq_why last;
    fail_as(MMQ_SETBACK_PASSING);
    atomic_store(&script.retry_after_ns, 60 * SECOND);
    leave_job("hello");
    start();
    WAIT_UNTIL(is_counted(1));
    const mmq_manifest manifest = look();
    assert_int_equal(manifest.state, MMQ_JOB_WAITING);
    assert_string_equal(manifest.error.text, "the store says no: ??"); /* fit for JSON */
    assert_true(manifest.next_attempt_ms > mmq_wall_ms() + 50000);
    WAIT_UNTIL((mmq_uploader_error(uploader, &last), last.text[0] != '\0'));
    let_them_look();
    assert_int_equal(begun(), 1);
    restart(); /* forgets nothing */
    let_them_look();
    assert_int_equal(begun(), 1);
    assert_int_equal(counts().waiting, 1);
    assert_string_equal(counts().last_error.text, "the store says no: ??");
    atomic_store(&script.failing, 0);
    WAIT_UNTIL((pass_time(61 * SECOND), counts().jobs == 0));
    assert_int_equal(script_delivered(), 1);
    mmq_uploader_error(uploader, &last);
    assert_string_equal(last.text, "");
}

/* Every failure comes later than the one before, on the whole; never a hot loop. */
static void passing_failures_back_off(void **state)
{
    (void)state;
    fail_as(MMQ_SETBACK_PASSING);
    leave_job("hello");
    start();
    WAIT_UNTIL(is_counted(1));
    for (int64_t attempts = 1; attempts < 15;) {
        const mmq_manifest manifest = look();
        const int64_t wait_ms = manifest.next_attempt_ms - mmq_wall_ms();
        attempts = manifest.attempts;
        assert_true(attempts > 12 || wait_ms <= INT64_C(100) << (attempts - 1));
        assert_true(wait_ms <= 300000);
        WAIT_UNTIL((pass_time(301 * SECOND), is_counted(attempts + 1)));
    }
}

/* F62: now and then, at every start, on demand; never often. */
static void settings_are_for_somebody_to_mend(void **state)
{
    (void)state;
    fail_as(MMQ_SETBACK_SETTINGS);
    leave_job("hello");
    start();
    WAIT_UNTIL(is_counted(1));
    assert_int_equal(look().state, MMQ_JOB_SETTINGS);
    assert_true(look().next_attempt_ms >= mmq_wall_ms() + 55000);
    pass_time(30 * SECOND);
    let_them_look();
    assert_int_equal(begun(), 1);
    assert_int_equal(counts().settings, 1);
    restart();
    WAIT_UNTIL(is_counted(2));
    WAIT_UNTIL((pass_time(301 * SECOND), is_counted(3)));
    atomic_store(&script.failing, 0);
    WAIT_UNTIL((pass_time(301 * SECOND), counts().jobs == 0));
}

static void refused_jobs_are_held(void **state)
{
    (void)state;
    fail_as(MMQ_SETBACK_REFUSED);
    leave_job("hello");
    start();
    WAIT_UNTIL(is_counted(1));
    assert_int_equal(look().state, MMQ_JOB_HELD);
    pass_time(10000 * SECOND);
    let_them_look();
    assert_int_equal(begun(), 1);
    assert_int_equal(counts().held, 1);
    restart();
    WAIT_UNTIL(is_counted(2));
    atomic_store(&script.failing, 0);
    leave_job("another"); /* is not held up */
    WAIT_UNTIL(script_delivered() == 1);
    assert_int_equal(look().state, MMQ_JOB_HELD);
}

static mmq_err retry_entry(void *context, const mmq_spool_entry *entry)
{
    return mmq_spool_retry(context, entry, &why);
}

/* `spool retry` of another process is noticed without a look. */
static void retry_is_noticed(void **state)
{
    (void)state;
    struct timespec from, to;
    fail_as(MMQ_SETBACK_REFUSED);
    leave_job("hello");
    start();
    WAIT_UNTIL(is_counted(1));
    atomic_store(&script.failing, 0);
    mmq_spool *other = mmq_spool_find(data_folder, &why);
    assert_non_null(other);
    clock_gettime(CLOCK_MONOTONIC, &from);
    WAIT_UNTIL(mmq_spool_each(other, retry_entry, other, &why) == MMQ_OK); /* he is still at it */
    WAIT_UNTIL(counts().jobs == 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(to.tv_sec - from.tv_sec <= 3); /* about nothing; sanitizers are slow */
    mmq_spool_destroy(&other);
}

/* What another process commits, and dies or gives up, is found without a wake. */
static void jobs_of_others_are_noticed(void **state)
{
    (void)state;
    start();
    WAIT_UNTIL((mmq_uploader_wake(uploader, NULL), true));
    mmq_spool *other = mmq_spool_find(data_folder, &why);
    mmq_job *job = world_commit(other, &dump, bytes);
    mmq_job_close(&job);
    WAIT_UNTIL(counts().jobs == 0);
    assert_int_equal(script_delivered(), 1);
    mmq_spool_destroy(&other);
}

/* A clock that jumped does not keep a job for years. */
static void far_times_are_cut(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, bytes);
    assert_ok(mmq_job_failed(job, MMQ_JOB_WAITING, INT64_C(100000000) * SECOND,
                             &(mmq_why){"a fault"}, &why));
    mmq_job_close(&job);
    start();
    let_them_look();
    assert_int_equal(begun(), 0);
    WAIT_UNTIL((pass_time(301 * SECOND), counts().jobs == 0));
    assert_int_equal(begun(), 1);
}

/* ---- several at once -------------------------------------------------------------------- */

static void slow_jobs_delay_nobody(void **state)
{
    (void)state;
    mmq_manifest manifest;
    mmq_job *job = world_commit(spool, &dump, bytes);
    mmq_job_close(&job);
    manifest = look();
    atomic_store(&script.stuck_key, manifest.key);
    atomic_store(&script.stuck, true);
    start();
    WAIT_UNTIL(begun() == 1);
    for (int i = 0; i < 20; i++) {
        char note[16];
        (void)snprintf(note, sizeof note, "%d", i);
        leave_job(note);
    }
    WAIT_UNTIL(script_delivered() == 20);
    WAIT_UNTIL(counts().jobs == 1); /* the last of them is removed a moment later */
    atomic_store(&script.stuck, false);
    WAIT_UNTIL(counts().jobs == 0);
}

static void uploads_are_so_many_at_once(void **state)
{
    (void)state;
    for (unsigned uploads = 1; uploads <= 5; uploads += 2) {
        script_reset();
        atomic_store(&script.stuck, true);
        for (int i = 0; i < 8; i++) {
            char note[16];
            (void)snprintf(note, sizeof note, "%u %d", uploads, i);
            leave_job(note);
        }
        uploader = start_on(spool, uploads, NULL);
        WAIT_UNTIL(begun() == uploads);
        let_them_look();
        assert_int_equal(begun(), uploads);
        atomic_store(&script.stuck, false);
        WAIT_UNTIL(counts().jobs == 0);
        assert_int_equal(atomic_load(&script.most), uploads);
        mmq_uploader_destroy(&uploader);
    }
    const mmq_uploader_options options = {
        .spool = spool, .target = &script_target, .uploads = MMQ_UPLOADS_MAX + 1};
    assert_null(mmq_uploader_new(&options, &why));
}

/* F69: what is under way is broken off at once, stays, and is no failure. */
static void stop_is_prompt(void **state)
{
    (void)state;
    struct timespec from, to;
    leave_job("hello");
    leave_job("another");
    atomic_store(&script.stuck, true);
    start();
    WAIT_UNTIL(begun() == 2);
    clock_gettime(CLOCK_MONOTONIC, &from);
    mmq_uploader_destroy(&uploader);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(to.tv_sec - from.tv_sec <= 2);
    assert_int_equal(counts().jobs, 2);
    assert_int_equal(look().attempts, 0);
    atomic_store(&script.stuck, false);
    start();
    WAIT_UNTIL(counts().jobs == 0);
    assert_int_equal(script_delivered(), 2);
}

/* F71: each job has one owner at a time, and is delivered once. */
static void two_uploaders_share_a_spool(void **state)
{
    (void)state;
    enum { JOBS = 60 };
    mmq_spool *other = mmq_spool_new(data_folder, NULL, &why);
    for (int i = 0; i < JOBS / 2; i++) {
        char note[16];
        (void)snprintf(note, sizeof note, "%d", i);
        leave_job(note);
    }
    start();
    mmq_uploader *second = start_on(other, 4, NULL);
    for (int i = JOBS / 2; i < JOBS; i++) {
        char note[16];
        (void)snprintf(note, sizeof note, "%d", i);
        leave_job(note);
    }
    WAIT_UNTIL(counts().jobs == 0);
    mmq_uploader_destroy(&second);
    mmq_uploader_destroy(&uploader);
    mmq_spool_destroy(&other);
    assert_int_equal(script_delivered(), JOBS);
    assert_int_equal(begun(), JOBS);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_int_equal(script.delivered[i], 1);
    }
}

/* A job that somebody else is at is left to him, and looked at again. */
static void owned_job_is_left_alone(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, bytes);
    start();
    leave_job("another");
    WAIT_UNTIL(script_delivered() == 1);
    let_them_look();
    assert_int_equal(counts().jobs, 1);
    mmq_job_close(&job);
    WAIT_UNTIL((pass_time(2 * SECOND), counts().jobs == 0));
}

/* ---- the target's leftovers ------------------------------------------------------------- */

static void leftovers_are_swept_once(void **state)
{
    (void)state;
    mmq_job *job = world_commit(spool, &dump, bytes); /* owned: it stays */
    (void)snprintf(script.wanted, sizeof script.wanted, "%s", mmq_job_manifest(job)->key);
    atomic_store(&script.sweep_fails, true);
    uploader = start_on(spool, 1, "metric_dumps/server-");
    WAIT_UNTIL(atomic_load(&script.sweeps) == 1);
    leave_job("another"); /* goes on */
    WAIT_UNTIL(script_delivered() == 1);
    atomic_store(&script.sweep_fails, false);
    assert_int_equal(atomic_load(&script.sweeps), 1);
    WAIT_UNTIL((pass_time(301 * SECOND), atomic_load(&script.sweeps) == 2));
    pass_time(1000 * SECOND);
    let_them_look();
    assert_int_equal(atomic_load(&script.sweeps), 2);
    assert_string_equal(script.swept, "metric_dumps/server-");
    assert_true(atomic_load(&script.was_wanted));
    assert_false(atomic_load(&script.other_was_wanted));
    mmq_job_close(&job);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(waits_are_bounded),
        TEST(spool_is_emptied),
        TEST(passing_failures_wait),
        TEST(passing_failures_back_off),
        TEST(settings_are_for_somebody_to_mend),
        TEST(refused_jobs_are_held),
        TEST(retry_is_noticed),
        TEST(jobs_of_others_are_noticed),
        TEST(far_times_are_cut),
        TEST(slow_jobs_delay_nobody),
        TEST(uploads_are_so_many_at_once),
        TEST(stop_is_prompt),
        TEST(two_uploaders_share_a_spool),
        TEST(owned_job_is_left_alone),
        TEST(leftovers_are_swept_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
