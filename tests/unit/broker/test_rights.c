/* Who may do what: the lists of keys, and what the core makes of them. Peers say who they are by
 * their name: a fake of User-Id. */
#include "fake_bus.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/allow.h"
#include "broker/keys.h"
#include "lib/files.h"
#include "lib/envelope.h"

/* Keys, and who has them: a peer's name begins with the letter of its key; '-' has none. */
static mmq_certificate keys[26];

static const char *fake_user(const mmq_frame *frame)
{
    char letter = *(const char *)mmq_frame_data(frame);
    return letter >= 'a' && letter <= 'z' ? keys[letter - 'a'].public_key : NULL;
}

static int make_keys(void **state)
{
    (void)state;
    mmq_why why;
    for (size_t i = 0; i < 26; i++) {
        assert_int_equal(mmq_certificate_make(&keys[i], &why), MMQ_OK);
    }
    return 0;
}

static void allow(mmq_allow *list, bool works, char letter, const char *rights,
                  const char *services)
{
    mmq_why why = {""};
    char name[2] = {letter, '\0'};
    mmq_certificate certificate = keys[letter - 'a'];
    strcpy(certificate.rights, rights);
    strcpy(certificate.services, services);
    if (mmq_allow_add(list, works, name, &certificate, &why) != MMQ_OK) {
        fail_msg("%s", why.text);
    }
}

static fake_bus *bus_with(const mmq_allow *list)
{
    fake_bus *bus = bus_new();
    bus->core->settings.user = fake_user;
    mmq_core_set_allow(bus->core, list, bus->now_ns);
    return bus;
}

/* An `mmi.*` answer of that status went to that client. */
static void expect_mmi(fake_bus *bus, const char *peer, const char *status)
{
    mmq_side side;
    mmq_message *message = bus_next(bus, &side);
    assert_non_null(message);
    assert_true(frame_equals(&message->frames[0], peer, strlen(peer)));
    assert_true(frame_equals(&message->frames[4], status, 3));
    assert_int_equal(message->count, strcmp(status, "200") == 0 ? message->count : 5);
}

static void test_rights_go_by_service(void **state)
{
    (void)state;
    static const struct {
        const char *rights, *services, *allowed; /* letters of the services below */
    } cases[] = {
        {"", "", ""},          {"read", "", "qm"},
        {"write", "", "wm"},   {"feedback", "", "fm"},
        {"admin", "", "sxem"}, {"read,write,feedback,admin", "", "qwfsxem"},
        {"", "echo", "em"},    {"read", "echo,metric.feedback", "qfem"},
    };
    static const struct {
        char letter;
        const char *name;
    } services[] = {{'q', "metric.query"}, {'w', "metric.write"}, {'f', "metric.feedback"},
                    {'s', "mmi.stats"},    {'m', "mmi.service"},  {'x', "mmi.other"},
                    {'e', "echo"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmq_allow *list = mmq_allow_new();
        assert_non_null(list);
        allow(list, false, 'a', cases[i].rights, cases[i].services);
        const mmq_grant *grant = mmq_allow_find(list, false, keys[0].public_key);
        assert_non_null(grant);
        for (size_t k = 0; k < sizeof services / sizeof *services; k++) {
            const char *name = services[k].name;
            bool want = strchr(cases[i].allowed, services[k].letter) != NULL;
            if (mmq_grant_asks(grant, name, strlen(name)) != want) {
                fail_msg("\"%s\" \"%s\": %s", cases[i].rights, cases[i].services, name);
            }
        }
        assert_true(mmq_grant_asks(grant, "metric.quer", 11) ==
                    (strstr(cases[i].rights, "admin") != NULL)); /* none of ours */
        mmq_allow_destroy(&list);
    }
}

static void test_what_is_no_list_is_refused(void **state)
{
    (void)state;
    mmq_why why = {""};
    unsigned rights;
    static const char *const bad_rights[] = {"root", "read,", ",read", "read, write", "READ", ","};
    static const char *const bad_services[] = {"",    ",",   "a,",       ",a",
                                               "a b", "a\n", "mmi.echo", "a,mmi.stats"};
    for (size_t i = 0; i < sizeof bad_rights / sizeof *bad_rights; i++) {
        assert_int_equal(mmq_rights_parse(bad_rights[i], strlen(bad_rights[i]), &rights, &why),
                         MMQ_EINVAL);
    }
    for (size_t i = 0; i < sizeof bad_services / sizeof *bad_services; i++) {
        assert_int_equal(mmq_services_check(bad_services[i], &why), MMQ_EINVAL);
    }
    mmq_allow *list = mmq_allow_new();
    allow(list, false, 'a', "read", "");
    mmq_certificate again = keys[0];
    assert_int_equal(mmq_allow_add(list, false, "again", &again, &why), MMQ_EINVAL);
    assert_non_null(strstr(why.text, "a's"));
    assert_int_equal(mmq_allow_add(list, true, "again", &again, &why), MMQ_OK); /* another list */
    mmq_certificate other = keys[1];
    strcpy(other.rights, "read"); /* a worker has none */
    assert_int_equal(mmq_allow_add(list, true, "other", &other, &why), MMQ_EINVAL);
    mmq_allow_destroy(&list);
}

static void test_f21_clients_without_a_right_get_403(void **state)
{
    (void)state;
    mmq_allow *list = mmq_allow_new();
    allow(list, false, 'r', "read", "");
    allow(list, false, 'n', "", "");
    allow(list, true, 'w', "", "metric.query,metric.write");
    fake_bus *bus = bus_with(list);
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", MMQ_SERVICE_QUERY, 8);
    client_asks(bus, "r1", MMQ_SERVICE_QUERY, 1, 0);
    assert_int_equal(expect_request(bus, "w1", token), 1);
    client_asks(bus, "r1", MMQ_SERVICE_WRITE, 2, 0);
    expect_error(bus, "r1", 2, 403);
    client_asks(bus, "n1", MMQ_SERVICE_QUERY, 3, 0);
    expect_error(bus, "n1", 3, 403);
    client_asks(bus, "u1", MMQ_SERVICE_QUERY, 4, 0); /* in no list */
    expect_error(bus, "u1", 4, 403);
    client_asks(bus, "-1", MMQ_SERVICE_QUERY, 5, 0); /* not even a key */
    expect_error(bus, "-1", 5, 403);
    client_asks(bus, "w1", MMQ_SERVICE_QUERY, 6, 0); /* a worker's key */
    expect_error(bus, "w1", 6, 403);
    client_sends(bus, "r1", "mmi.service", MMQ_SERVICE_QUERY, 12);
    expect_mmi(bus, "r1", "200");
    client_sends(bus, "r1", "mmi.stats", "", 0);
    expect_mmi(bus, "r1", "403");
    client_sends(bus, "n1", "mmi.service", MMQ_SERVICE_QUERY, 12);
    expect_mmi(bus, "n1", "403");
    expect_nothing(bus);
    assert_int_equal(dropped(bus, MMQ_DROP_DENIED), 7);
    bus_destroy(bus);
    mmq_allow_destroy(&list);
}

static void test_f21_workers_without_a_right_leave(void **state)
{
    (void)state;
    mmq_allow *list = mmq_allow_new();
    allow(list, false, 'r', "read,write,feedback,admin", "");
    allow(list, true, 'w', "", "metric.query");
    allow(list, true, 'n', "", "");
    fake_bus *bus = bus_with(list);
    static const char *const peers[] = {"r1", "u1", "n1", "-1", "w1"};
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        worker_ready(bus, peers[i], MMQ_SERVICE_WRITE, 8);
        expect_command(bus, peers[i], MMQ_WORKER_DISCONNECT);
    }
    assert_int_equal(dropped(bus, MMQ_DROP_DENIED), 5);
    assert_int_equal(dropped(bus, MMQ_DROP_PROTOCOL), 0);
    worker_ready(bus, "w1", MMQ_SERVICE_QUERY, 8);
    expect_nothing(bus);
    bus_destroy(bus);
    mmq_allow_destroy(&list);
}

static void test_f21_a_revoked_key_is_refused_at_once(void **state)
{
    (void)state;
    mmq_allow *list = mmq_allow_new(), *later = mmq_allow_new();
    allow(list, false, 'r', "read", "");
    allow(list, true, 'w', "", "metric.query");
    allow(list, true, 'v', "", "metric.query");
    allow(later, true, 'v', "", "metric.query");
    fake_bus *bus = bus_with(list);
    uint8_t token[MMQ_TOKEN_SIZE];
    worker_ready(bus, "w1", MMQ_SERVICE_QUERY, 8);
    client_asks(bus, "r1", MMQ_SERVICE_QUERY, 1, 0);
    assert_int_equal(expect_request(bus, "w1", token), 1);
    worker_ready(bus, "v1", MMQ_SERVICE_QUERY, 8);
    mmq_core_set_allow(bus->core, later, bus->now_ns);
    expect_command(bus, "w1", MMQ_WORKER_DISCONNECT);
    assert_int_equal(expect_request(bus, "v1", token), 1); /* what it held goes to another */
    client_asks(bus, "r1", MMQ_SERVICE_QUERY, 2, 0);
    expect_error(bus, "r1", 2, 403);
    worker_ready(bus, "w1", MMQ_SERVICE_QUERY, 8);
    expect_command(bus, "w1", MMQ_WORKER_DISCONNECT);
    worker_answers(bus, "v1", MMQ_WORKER_FINAL, token); /* it was accepted, and is answered */
    expect_answer(bus, "r1", MMQ_CLIENT_FINAL);
    bus_destroy(bus);
    mmq_allow_destroy(&list);
    mmq_allow_destroy(&later);
}

/* A right that is taken from a worker whose key stays. */
static void test_a_service_is_revoked(void **state)
{
    (void)state;
    mmq_allow *list = mmq_allow_new(), *later = mmq_allow_new();
    allow(list, true, 'w', "", "metric.query,echo");
    allow(later, true, 'w', "", "echo");
    fake_bus *bus = bus_with(list);
    worker_ready(bus, "w1", MMQ_SERVICE_QUERY, 8);
    worker_ready(bus, "w2", "echo", 8);
    mmq_core_set_allow(bus->core, later, bus->now_ns);
    expect_command(bus, "w1", MMQ_WORKER_DISCONNECT);
    expect_nothing(bus);
    bus_destroy(bus);
    mmq_allow_destroy(&list);
    mmq_allow_destroy(&later);
}

/* Peers take their names from a table here: the same routing id with two keys is two peers. */
static const char *second_user;

static const char *fake_second_user(const mmq_frame *frame)
{
    (void)frame;
    return second_user;
}

static void test_another_key_with_the_same_id_is_another_peer(void **state)
{
    (void)state;
    mmq_allow *list = mmq_allow_new();
    allow(list, false, 'r', "read", "");
    allow(list, true, 'w', "", "metric.query");
    allow(list, true, 'v', "", "echo");
    fake_bus *bus = bus_with(list);
    bus->core->settings.user = fake_second_user;
    uint8_t token[MMQ_TOKEN_SIZE];
    second_user = keys['w' - 'a'].public_key;
    worker_ready(bus, "id", MMQ_SERVICE_QUERY, 8);
    second_user = keys['r' - 'a'].public_key;
    client_asks(bus, "r1", MMQ_SERVICE_QUERY, 1, 0);
    assert_int_equal(expect_request(bus, "id", token), 1);
    second_user = keys['v' - 'a'].public_key; /* took its id when it died */
    worker_answers(bus, "id", MMQ_WORKER_FINAL, token);
    expect_command(bus, "id", MMQ_WORKER_DISCONNECT);
    expect_nothing(bus); /* the client has no answer of his */
    second_user = keys['w' - 'a'].public_key;
    worker_answers(bus, "id", MMQ_WORKER_FINAL, token);
    expect_answer(bus, "r1", MMQ_CLIENT_FINAL);
    bus_destroy(bus);
    mmq_allow_destroy(&list);
}

static void test_peers_of_this_process_may_do_everything(void **state)
{
    (void)state;
    mmq_allow *list = mmq_allow_new();
    fake_bus *bus = bus_with(list);
    mmq_message message;
    mmq_message_init(&message);
    append_text(&message, "w1", 2);
    assert_int_equal(mmq_envelope_ready(&message, MMQ_SERVICE_QUERY, 8), MMQ_OK);
    mmq_core_receive(bus->core, MMQ_SIDE_LOCAL_WORKERS, &message, bus->now_ns);
    expect_nothing(bus);
    assert_int_equal(dropped(bus, MMQ_DROP_DENIED), 0);
    mmq_core_set_allow(bus->core, list, bus->now_ns);
    expect_nothing(bus);
    bus_destroy(bus);
    mmq_allow_destroy(&list);
}

/* ---- folders ------------------------------------------------------------------------------ */

static char folder[64];

static void put(const char *name, const char *text, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void put_certificate(const char *name, char letter, const char *rights)
{
    mmq_buffer text;
    mmq_certificate certificate = keys[letter - 'a'];
    strcpy(certificate.rights, rights);
    mmq_buffer_init(&text, MMQ_CERTIFICATE_MAX);
    mmq_certificate_write(&certificate, false, &text);
    put(name, mmq_buffer_cstr(&text), 0600);
    mmq_buffer_clear(&text);
}

static void drop(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)remove(path);
}

static int make_folder(void **state)
{
    (void)state;
    char path[128];
    strcpy(folder, "/tmp/metricmq-rights-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/clients", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {
        "clients/a.cert",
        "clients/b.cert",
        "clients/.hidden.cert",
        "clients/note.txt",
        "clients",
        "server.cert_secret",
        "",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        drop(names[i]);
    }
    return access(folder, F_OK) == 0;
}

static void expect_no_lists(const char *wanted)
{
    mmq_why why = {""};
    mmq_allow *list = mmq_allow_load(folder, &why);
    assert_null(list);
    if (strstr(why.text, wanted) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why.text, wanted);
    }
}

static void test_lists_are_read_whole_or_not(void **state)
{
    (void)state;
    mmq_why why = {""};
    put_certificate("clients/a.cert", 'a', "read");
    put("clients/note.txt", "no certificate", 0600);
    put("clients/.hidden.cert", "an editor's", 0600);
    mmq_allow *list = mmq_allow_load(folder, &why);
    assert_non_null(list); /* though there is no folder of workers */
    assert_int_equal(mmq_allow_count(list, false), 1);
    assert_int_equal(mmq_allow_count(list, true), 0);
    const mmq_grant *grant = mmq_allow_find(list, false, keys[0].public_key);
    assert_non_null(grant);
    assert_string_equal(mmq_grant_name(grant), "a");
    assert_null(mmq_allow_find(list, true, keys[0].public_key));
    mmq_allow_destroy(&list);

    put("clients/b.cert", "garbage", 0600);
    expect_no_lists("clients: b.cert: line 1:");
    put_certificate("clients/b.cert", 'a', "read"); /* twice, whose would it be? */
    expect_no_lists("too");
    put_certificate("clients/b.cert", 'b', "root");
    expect_no_lists("rights are one or more of read");
    put_certificate("clients/b.cert", 'b', "read");
    char path[128];
    snprintf(path, sizeof path, "%s/clients", folder);
    assert_int_equal(chmod(path, 0707), 0);
    expect_no_lists("chmod 700");
    assert_int_equal(chmod(path, 0700), 0);
    list = mmq_allow_load(folder, &why);
    assert_non_null(list);
    mmq_allow_destroy(&list);
}

static void test_a_broker_needs_its_own_pair(void **state)
{
    (void)state;
    mmq_why why = {""};
    mmq_curve pair;
    mmq_buffer text;
    assert_null(mmq_bus_keys_new(folder, &pair, &why));
    assert_non_null(strstr(why.text, "server.cert_secret"));
    assert_null(mmq_bus_keys_new("/nowhere/at/all", &pair, &why));
    assert_non_null(strstr(why.text, "no such folder"));

    mmq_buffer_init(&text, MMQ_CERTIFICATE_MAX);
    mmq_certificate_write(&keys[0], true, &text);
    put("server.cert_secret", mmq_buffer_cstr(&text), 0644);
    assert_null(mmq_bus_keys_new(folder, &pair, &why));
    assert_non_null(strstr(why.text, "chmod 600"));
    put("server.cert_secret", mmq_buffer_cstr(&text), 0600);
    put_certificate("clients/a.cert", 'a', "read");
    put_certificate("clients/b.cert", 'b', "read");
    mmq_bus_keys *made = mmq_bus_keys_new(folder, &pair, &why);
    assert_non_null(made);
    assert_string_equal(pair.secret_key, keys[0].secret_key);
    mmq_curve other;
    assert_null(mmq_bus_keys_new(folder, &other, &why)); /* libzmq has room for one */
    assert_string_equal(other.secret_key, "");

    put("clients/b.cert", "garbage", 0600);
    assert_int_equal(mmq_bus_keys_reload(made, &why), MMQ_EINVAL);
    assert_int_equal(mmq_allow_count(mmq_bus_keys_allow(made), false), 2); /* as it was */
    drop("clients/b.cert");
    assert_int_equal(mmq_bus_keys_reload(made, &why), MMQ_OK);
    assert_int_equal(mmq_bus_keys_reload(made, &why), MMQ_OK); /* before the first was seen */
    fake_bus *bus = bus_new();
    bus->core->settings.user = fake_user;
    (void)mmq_bus_keys_serve(made, bus->core);
    assert_int_equal(mmq_allow_count(mmq_bus_keys_allow(made), false), 1);
    assert_ptr_equal(bus->core->allow, mmq_bus_keys_allow(made));
    bus_destroy(bus);
    mmq_buffer_clear(&text);
    mmq_bus_keys_destroy(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights_go_by_service),
        cmocka_unit_test(test_what_is_no_list_is_refused),
        cmocka_unit_test(test_f21_clients_without_a_right_get_403),
        cmocka_unit_test(test_f21_workers_without_a_right_leave),
        cmocka_unit_test(test_f21_a_revoked_key_is_refused_at_once),
        cmocka_unit_test(test_a_service_is_revoked),
        cmocka_unit_test(test_another_key_with_the_same_id_is_another_peer),
        cmocka_unit_test(test_peers_of_this_process_may_do_everything),
        cmocka_unit_test_setup_teardown(test_lists_are_read_whole_or_not, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_a_broker_needs_its_own_pair, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
