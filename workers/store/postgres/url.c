/* URLs of PostgreSQL. libpq takes them apart; we look at the parts. Its own sentences are not
 * passed on: some hold the whole URL, and with it the password.
 *
 * With several hosts libpq would spend all of our time on the first that is silent, so each is
 * tried by itself: hosts, addresses and ports are split here into one of each. */
#include "workers/store/postgres/url.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "workers/store/postgres/verdict.h"

/* What each connection is told beside the URL, behind which these stand only if it says nothing. */
#define CONNECTION_PARAMETERS                                                                      \
    {"fallback_application_name", "metricmq"}, {"client_encoding", "UTF8"}, {"keepalives", "1"},   \
        {"keepalives_idle", "5"}, {"keepalives_interval", "2"}, {"keepalives_count", "3"},         \
        {"tcp_user_timeout", "10000"},                                                             \
    {                                                                                              \
        "gssencmode", "disable"                                                                    \
    }

enum { SHOWN_MAX = 160 };

typedef struct host {
    char *name, *address, *port; /* NULL: not given */
} host;

struct mmq_pg_url {
    PQconninfoOption *options; /* value NULL: not given */
    host hosts[MMQ_PG_HOSTS_MAX];
    size_t count;
    char shown[SHOWN_MAX];
    const char *keywords[MMQ_PG_PARAMETERS_MAX], *values[MMQ_PG_PARAMETERS_MAX];
};

static const char *const allowed[] = {
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "service",
    "sslmode",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "ssl_min_protocol_version",
    "requirepeer",
    "channel_binding",
    "krbsrvname",
    "gssencmode",
    "gsslib",
    "target_session_attrs",
    "application_name",
};

static const char *const sessions[] = {"any",     "read-write", "read-only",
                                       "primary", "standby",    "prefer-standby"};

static bool is_among(const char *text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            return true;
        }
    }
    return false;
}
#define IS_AMONG(text, names) is_among(text, names, sizeof(names) / sizeof *(names))

bool mmq_pg_url_is(const char *text)
{
    return strncmp(text, "postgresql://", 13) == 0 || strncmp(text, "postgres://", 11) == 0;
}

/* The parameter's value; NULL: not given, or given as nothing, which is the same to libpq. */
static const char *value_of(const mmq_pg_url *url, const char *name)
{
    for (const PQconninfoOption *option = url->options; option->keyword != NULL; option++) {
        if (strcmp(option->keyword, name) == 0) {
            return option->val != NULL && *option->val != '\0' ? option->val : NULL;
        }
    }
    return NULL;
}

/* A sentence for what libpq could not take apart. Of its own only this one holds but a name. */
static mmq_err refuse_text(const char *said, mmq_why *why)
{
    static const char unknown[] = "invalid URI query parameter: ";
    if (said != NULL && strncmp(said, unknown, sizeof unknown - 1) == 0) {
        const char *name = said + sizeof unknown - 1;
        return mmq_fail(why, MMQ_EINVAL, "the store's URL: PostgreSQL knows no parameter %.*s",
                        (int)strcspn(name, "\n"), name);
    }
    return mmq_fail(why, MMQ_EINVAL,
                    "the store's URL is not one of PostgreSQL: it is written"
                    " postgresql://[USER@]HOST[:PORT]/DATABASE[?PARAMETER=VALUE&...], with"
                    " %%-codes for what is not a letter or digit");
}

static mmq_err check_parameters(const mmq_pg_url *url, mmq_why *why)
{
    for (const PQconninfoOption *option = url->options; option->keyword != NULL; option++) {
        if (option->val != NULL && !IS_AMONG(option->keyword, allowed)) {
            return mmq_fail(why, MMQ_EINVAL,
                            "the store's URL: the parameter %s is not to be set: metricmq sets"
                            " what it relies on, or cannot do with it",
                            option->keyword);
        }
    }
    if (value_of(url, "dbname") == NULL && value_of(url, "service") == NULL) {
        return mmq_fail(why, MMQ_EINVAL,
                        "the store's URL names no database: postgresql://HOST/DATABASE");
    }
    if (!IS_AMONG(mmq_pg_url_wanted(url), sessions)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "the store's URL: target_session_attrs is any, read-write, read-only,"
                        " primary, standby or prefer-standby");
    }
    return MMQ_OK;
}

/* ---- hosts ---------------------------------------------------------------------------------- */

static size_t parts_of(const char *list)
{
    size_t count = list != NULL;
    for (; list != NULL && *list != '\0'; list++) {
        count += *list == ',';
    }
    return count;
}

/* The part of a list; NULL: there is none, or an empty one. A list of one part is all hosts'. */
static mmq_err take_part(const char *list, size_t index, char **out, mmq_why *why)
{
    *out = NULL;
    if (list == NULL) {
        return MMQ_OK;
    }
    for (; index > 0 && strchr(list, ',') != NULL; index--) {
        list = strchr(list, ',') + 1;
    }
    size_t size = strcspn(list, ",");
    if (size > 0 && (*out = strndup(list, size)) == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory left for the store's URL");
    }
    return MMQ_OK;
}

static mmq_err split_hosts(mmq_pg_url *url, mmq_why *why)
{
    const char *names = value_of(url, "host"), *addresses = value_of(url, "hostaddr"),
               *ports = value_of(url, "port");
    size_t name_count = parts_of(names), address_count = parts_of(addresses),
           port_count = parts_of(ports);
    size_t count = name_count > address_count ? name_count : address_count;
    count = count == 0 ? 1 : count;
    if (count > MMQ_PG_HOSTS_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "the store's URL names more than %d hosts",
                        MMQ_PG_HOSTS_MAX);
    }
    if ((name_count > 0 && address_count > 0 && name_count != address_count) ||
        (port_count > 1 && port_count != count)) {
        return mmq_fail(why, MMQ_EINVAL,
                        "the store's URL has %zu hosts, but %zu addresses and %zu ports", count,
                        address_count, port_count);
    }
    url->count = count;
    mmq_err err = MMQ_OK;
    for (size_t i = 0; i < count && err == MMQ_OK; i++) {
        host *one = &url->hosts[i];
        if ((err = take_part(names, i, &one->name, why)) == MMQ_OK &&
            (err = take_part(addresses, i, &one->address, why)) == MMQ_OK) {
            err = take_part(ports, i, &one->port, why);
        }
    }
    return err;
}

/* Does what is sent to it stay on this machine? */
static bool is_local(const host *one)
{
    const char *name = one->address != NULL ? one->address : one->name;
    if (name == NULL) {
        name = getenv("PGHOSTADDR") != NULL ? getenv("PGHOSTADDR") : getenv("PGHOST");
    }
    return name == NULL || *name == '\0' || *name == '/' || *name == '@' ||
           strcmp(name, "localhost") == 0 || strcmp(name, "::1") == 0 ||
           strncmp(name, "127.", 4) == 0;
}

static mmq_err check_trust(const mmq_pg_url *url, mmq_why *why)
{
    static const char *const modes[] = {"disable", "require", "verify-ca", "verify-full"};
    const char *mode = value_of(url, "sslmode");
    mode = mode != NULL ? mode : getenv("PGSSLMODE");
    for (size_t i = 0; i < url->count && value_of(url, "service") == NULL; i++) {
        if (!is_local(&url->hosts[i]) && (mode == NULL || !IS_AMONG(mode, modes))) {
            return mmq_fail(why, MMQ_EINVAL,
                            "the store's URL: beyond this machine it says how the server is"
                            " trusted: sslmode=verify-full with sslrootcert=FILE, or"
                            " sslmode=disable on a network that is yours alone");
        }
    }
    return MMQ_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void show(mmq_pg_url *url)
{
    const char *names = value_of(url, "host"), *database = value_of(url, "dbname"),
               *ports = value_of(url, "port"), *service = value_of(url, "service");
    names = names != NULL ? names : value_of(url, "hostaddr");
    mmq_why text;
    mmq_why_set(&text, "postgresql://%.60s%s%.20s/%.40s%s%.30s", names != NULL ? names : "",
                ports != NULL ? ":" : "", ports != NULL ? ports : "",
                database != NULL ? database : "", service != NULL ? "?service=" : "",
                service != NULL ? service : "");
    mmq_pg_clean(text.text, url->shown, sizeof url->shown);
}

static mmq_err take_apart(mmq_pg_url *url, const char *text, mmq_why *why)
{
    char *said = NULL;
    url->options = PQconninfoParse(text, &said);
    mmq_err err = url->options == NULL ? refuse_text(said, why) : check_parameters(url, why);
    if (said != NULL) {
        explicit_bzero(said, strlen(said));
        PQfreemem(said);
    }
    if (err == MMQ_OK && (err = split_hosts(url, why)) == MMQ_OK &&
        (err = check_trust(url, why)) == MMQ_OK) {
        show(url);
    }
    return err == MMQ_OK && value_of(url, "password") != NULL
               ? mmq_fail(why, MMQ_EINVAL,
                          "the store's URL has a password, which others can read there: put it"
                          " into the file that PGPASSFILE names (~/.pgpass)")
               : err;
}

mmq_err mmq_pg_url_parse(const char *text, mmq_pg_url **out, mmq_why *why)
{
    *out = NULL;
    if (!mmq_pg_url_is(text)) {
        return refuse_text(NULL, why);
    }
    mmq_pg_url *url = calloc(1, sizeof *url);
    if (url == NULL) {
        return mmq_fail(why, MMQ_ENOMEM, "no memory left for the store's URL");
    }
    mmq_err err = take_apart(url, text, why);
    if (err != MMQ_OK) {
        mmq_pg_url_free(&url);
        return err;
    }
    *out = url;
    return MMQ_OK;
}

void mmq_pg_url_free(mmq_pg_url **url)
{
    if (*url == NULL) {
        return;
    }
    for (PQconninfoOption *option = (*url)->options; option != NULL && option->keyword != NULL;
         option++) {
        if (option->val != NULL) {
            explicit_bzero(option->val, strlen(option->val));
        }
    }
    PQconninfoFree((*url)->options);
    for (size_t i = 0; i < MMQ_PG_HOSTS_MAX; i++) {
        free((*url)->hosts[i].name);
        free((*url)->hosts[i].address);
        free((*url)->hosts[i].port);
    }
    free(*url);
    *url = NULL;
}

const char *mmq_pg_url_shown(const mmq_pg_url *url)
{
    return url->shown;
}

size_t mmq_pg_url_hosts(const mmq_pg_url *url)
{
    return url->count;
}

const char *mmq_pg_url_wanted(const mmq_pg_url *url)
{
    const char *wanted = value_of(url, "target_session_attrs");
    return wanted != NULL ? wanted : "any";
}

static size_t put_parameter(mmq_pg_url *url, size_t at, const char *keyword, const char *value)
{
    CHECK(at + 1 < MMQ_PG_PARAMETERS_MAX);
    url->keywords[at] = keyword;
    url->values[at] = value;
    return at + 1;
}

void mmq_pg_url_parameters(mmq_pg_url *url, size_t index, const char *wanted,
                           const char *const **keywords, const char *const **values)
{
    static const char *const ours[][2] = {CONNECTION_PARAMETERS};
    static const char *const of_host[] = {"host", "hostaddr", "port", "target_session_attrs"};
    CHECK(index < url->count);
    const host *one = &url->hosts[index];
    size_t at = 0;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        at = put_parameter(url, at, ours[i][0], ours[i][1]);
    }
    for (const PQconninfoOption *option = url->options; option->keyword != NULL; option++) {
        if (option->val != NULL && !IS_AMONG(option->keyword, of_host)) {
            at = put_parameter(url, at, option->keyword, option->val);
        }
    }
    /* a value that is NULL is to libpq as if the keyword were not there */
    at = put_parameter(url, at, "host", one->name);
    at = put_parameter(url, at, "hostaddr", one->address);
    at = put_parameter(url, at, "port", one->port);
    at = put_parameter(url, at, "target_session_attrs", wanted);
    url->keywords[at] = url->values[at] = NULL;
    *keywords = url->keywords;
    *values = url->values;
}
