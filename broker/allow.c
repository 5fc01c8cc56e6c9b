/* Rights go by service, since the broker reads no more of a body than id and timeout: what an op
 * does is its worker's to know, and our three services are cut along these lines. A service that is
 * none of ours may be asked by whom `admin` or its certificate's own list of services says so.
 *
 * mmi.service says only whether a name is served: who has any right may ask it, since every client
 * of ours begins with it. */
#include "broker/allow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/table.h"
#include "lib/files.h"
#include "lib/intrusive.h"
#include "metricmq/protocol.h"

enum { KEYS_MAX = 10000, SERVICES_MAX = 100 };

struct mmq_grant {
    mmq_table_item item;
    char key[MMQ_KEY_TEXT + 1];
    char name[MMQ_RIGHTS_MAX + 1];
    unsigned rights; /* of a client */
    char *services;  /* further services of a client, all of a worker; separated by commas */
};

struct mmq_allow {
    mmq_table lists[2]; /* clients, workers */
};

/* ---- rights and services ------------------------------------------------------------------ */

#define COUNT_OF(array_) (sizeof(array_) / sizeof *(array_))

/* The next item of a list, without its comma; false at the end. */
static bool next_item(const char **at, const char **item, size_t *size)
{
    if (*at == NULL) {
        return false;
    }
    *item = *at;
    *size = strcspn(*at, ",");
    *at = (*item)[*size] == ',' ? *item + *size + 1 : NULL;
    return true;
}

static bool is_text(const char *data, size_t size, const char *text)
{
    return size == strlen(text) && memcmp(data, text, size) == 0;
}

static bool is_service(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\'') {
            return false;
        }
    }
    return size > 0 && size <= MMQ_SERVICE_MAX && strncmp(name, "mmi.", 4) != 0;
}

mmq_err mmq_services_check(const char *text, mmq_why *why)
{
    const char *at = text, *item;
    size_t size, count = 0;
    while (next_item(&at, &item, &size)) {
        if (!is_service(item, size)) {
            return mmq_fail(why, MMQ_EINVAL, "\"%.*s\" can be no service",
                            (int)(size < 40 ? size : 40), item);
        }
        count++;
    }
    return count <= SERVICES_MAX && strlen(text) <= MMQ_SERVICES_MAX
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL, "at most %d services", SERVICES_MAX);
}

static bool has_service(const mmq_grant *grant, const char *service, size_t size)
{
    const char *at = grant->services, *item;
    size_t item_size;
    while (next_item(&at, &item, &item_size)) {
        if (item_size == size && memcmp(item, service, size) == 0) {
            return true;
        }
    }
    return false;
}

bool mmq_grant_serves(const mmq_grant *grant, const char *service, size_t size)
{
    /* The write worker tells of its commits: no right of its own. */
    return has_service(grant, service, size) ||
           (is_text(service, size, MMQ_SERVICE_WATCH) &&
            has_service(grant, MMQ_SERVICE_WRITE, strlen(MMQ_SERVICE_WRITE)));
}

bool mmq_grant_asks(const mmq_grant *grant, const char *service, size_t size)
{
    static const struct {
        const char *service;
        mmq_right right;
    } ours[] = {{MMQ_SERVICE_QUERY, MMQ_RIGHT_READ},
                {MMQ_SERVICE_WATCH, MMQ_RIGHT_READ},
                {MMQ_SERVICE_WRITE, MMQ_RIGHT_WRITE},
                {MMQ_SERVICE_FEEDBACK, MMQ_RIGHT_FEEDBACK}};
    if (has_service(grant, service, size)) {
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(ours); i++) {
        if (is_text(service, size, ours[i].service)) {
            return (grant->rights & ours[i].right) != 0;
        }
    }
    return is_text(service, size, "mmi.service") ? grant->rights != 0 || grant->services != NULL
                                                 : (grant->rights & MMQ_RIGHT_ADMIN) != 0;
}

const char *mmq_grant_name(const mmq_grant *grant)
{
    return grant->name;
}

/* ---- lists -------------------------------------------------------------------------------- */

mmq_allow *mmq_allow_new(void)
{
    mmq_allow *allow = calloc(1, sizeof *allow);
    if (allow != NULL && (mmq_table_init(&allow->lists[false]) != MMQ_OK ||
                          mmq_table_init(&allow->lists[true]) != MMQ_OK)) {
        mmq_allow_destroy(&allow);
    }
    return allow;
}

static void free_grant(mmq_grant *grant)
{
    free(grant->services);
    free(grant);
}

static void clear_list(mmq_table *list)
{
    for (size_t i = 0; i < list->bucket_count; i++) {
        mmq_table_item *item = list->buckets != NULL ? list->buckets[i] : NULL;
        while (item != NULL) {
            mmq_table_item *next = item->next;
            free_grant(MMQ_OF(item, mmq_grant, item));
            item = next;
        }
    }
    mmq_table_clear(list);
}

void mmq_allow_destroy(mmq_allow **allow_p)
{
    mmq_allow *allow = *allow_p;
    if (allow == NULL) {
        return;
    }
    clear_list(&allow->lists[false]);
    clear_list(&allow->lists[true]);
    free(allow);
    *allow_p = NULL;
}

size_t mmq_allow_count(const mmq_allow *allow, bool works)
{
    return allow->lists[works].count;
}

const mmq_grant *mmq_allow_find(const mmq_allow *allow, bool works, const char *key)
{
    mmq_table_item *item = mmq_table_find(&allow->lists[works], key, MMQ_KEY_TEXT);
    return item != NULL ? MMQ_OF(item, mmq_grant, item) : NULL;
}

/* What must hold before a key is taken; its rights. */
static mmq_err check_entry(const mmq_allow *allow, bool works, const mmq_certificate *certificate,
                           unsigned *rights, mmq_why *why)
{
    const mmq_grant *there = mmq_allow_find(allow, works, certificate->public_key);
    if (there != NULL) {
        return mmq_fail(why, MMQ_EINVAL, "its key is %.100s's, too", there->name);
    }
    if (mmq_allow_count(allow, works) >= KEYS_MAX) {
        return mmq_fail(why, MMQ_EINVAL, "a list has at most %d keys", KEYS_MAX);
    }
    if (works && certificate->rights[0] != '\0') {
        return mmq_fail(why, MMQ_EINVAL, "a worker has services, no rights");
    }
    const size_t size = strlen(certificate->rights);
    *rights = 0;
    mmq_err err = size > 0 ? mmq_rights_parse(certificate->rights, size, rights, why) : MMQ_OK;
    return err == MMQ_OK && certificate->services[0] != '\0'
               ? mmq_services_check(certificate->services, why)
               : err;
}

mmq_err mmq_allow_add(mmq_allow *allow, bool works, const char *name,
                      const mmq_certificate *certificate, mmq_why *why)
{
    unsigned rights;
    mmq_err err = check_entry(allow, works, certificate, &rights, why);
    if (err != MMQ_OK) {
        return err;
    }
    mmq_grant *grant = calloc(1, sizeof *grant);
    bool lists = certificate->services[0] != '\0';
    if (grant != NULL && lists) {
        grant->services = strdup(certificate->services);
    }
    if (grant == NULL || (lists && grant->services == NULL)) {
        free(grant);
        return mmq_fail(why, MMQ_ENOMEM, "no memory for a list of keys");
    }
    grant->rights = rights;
    memcpy(grant->key, certificate->public_key, sizeof grant->key);
    (void)stpncpy(grant->name, name, sizeof grant->name - 1);
    mmq_table_add(&allow->lists[works], &grant->item, grant->key, MMQ_KEY_TEXT);
    return MMQ_OK;
}

/* ---- files -------------------------------------------------------------------------------- */

static const char suffix[] = ".cert";

static mmq_err add_file(mmq_allow *allow, bool works, int folder, const char *file, mmq_why *why)
{
    mmq_certificate certificate;
    mmq_why reason = {""};
    char name[MMQ_RIGHTS_MAX + 1] = "";
    size_t size = strlen(file) - strlen(suffix);
    memcpy(name, file, size < sizeof name ? size : sizeof name - 1);
    mmq_err err = mmq_certificate_read(folder, file, false, &certificate, why);
    if (err == MMQ_OK &&
        (err = mmq_allow_add(allow, works, name, &certificate, &reason)) != MMQ_OK) {
        (void)mmq_fail(why, err, "%.100s: %.120s", file, reason.text);
    }
    mmq_certificate_wipe(&certificate);
    return err;
}

static bool is_certificate(const char *file)
{
    size_t size = strlen(file);
    return file[0] != '.' && size > strlen(suffix) &&
           strcmp(file + size - strlen(suffix), suffix) == 0;
}

/* Takes ownership of fd. */
static mmq_err add_files(mmq_allow *allow, bool works, int fd, mmq_why *why)
{
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int error = errno;
        mmq_fd_close(&fd);
        return mmq_files_fail(why, error, "read the folder", works ? "workers" : "clients");
    }
    mmq_err err = MMQ_OK;
    const struct dirent *entry;
    while (err == MMQ_OK && (errno = 0, entry = readdir(stream)) != NULL) {
        if (is_certificate(entry->d_name)) {
            err = add_file(allow, works, dirfd(stream), entry->d_name, why);
        }
    }
    if (err == MMQ_OK && errno != 0) { /* half a list would refuse the other half */
        err = mmq_files_fail(why, errno, "read the folder", works ? "workers" : "clients");
    }
    closedir(stream);
    return err;
}

/* Who can write to it says who is let in. */
static mmq_err check_folder(int fd, const char *name, mmq_why *why)
{
    struct stat status;
    return fstat(fd, &status) == 0 && (status.st_mode & S_IWOTH) == 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_EINVAL, "everybody may write to the folder %.128s: chmod 700",
                          name);
}

static mmq_err load_list(mmq_allow *allow, bool works, int folder, mmq_why *why)
{
    const char *name = works ? "workers" : "clients";
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? MMQ_OK : mmq_files_fail(why, errno, "open the folder", name);
    }
    mmq_why reason = {""};
    mmq_err err = check_folder(fd, name, why);
    if (err != MMQ_OK) {
        mmq_fd_close(&fd);
        return err;
    }
    err = add_files(allow, works, fd, &reason);
    return err == MMQ_OK ? MMQ_OK : mmq_fail(why, err, "%s: %.240s", name, reason.text);
}

mmq_allow *mmq_allow_load(const char *folder, mmq_why *why)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        (void)mmq_files_fail(why, errno, "open the folder of keys", folder);
        return NULL;
    }
    mmq_allow *allow = mmq_allow_new();
    if (allow == NULL) {
        (void)mmq_fail(why, MMQ_ENOMEM, "no memory for the lists of keys");
    } else if (check_folder(fd, folder, why) != MMQ_OK ||
               load_list(allow, false, fd, why) != MMQ_OK ||
               load_list(allow, true, fd, why) != MMQ_OK) {
        mmq_allow_destroy(&allow);
    }
    mmq_fd_close(&fd);
    return allow;
}
