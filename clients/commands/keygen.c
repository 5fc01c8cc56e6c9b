/* `metricmq keygen`: makes CURVE pairs in the broker's folder of keys.
 *
 *     DIR/server.cert_secret        the broker's own
 *     DIR/server.cert               its public half: for every peer
 *     DIR/clients/NAME.cert_secret  a client's own: to be moved to it
 *     DIR/clients/NAME.cert         its public half, with its rights: the broker's list
 *     DIR/workers/...               the same for workers
 *
 * A file is made anew or not at all (O_EXCL), private from its first byte on; both halves or none.
 * The secret half comes first, since the public one is what lets its bearer in. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/keys.h"
#include "clients/commands/commands.h"
#include "lib/files.h"
#include "lib/uid.h"
#include "metricmq/protocol.h"

#define SERVICES MMQ_SERVICE_QUERY "," MMQ_SERVICE_WRITE "," MMQ_SERVICE_FEEDBACK

typedef enum kind { KIND_SERVER, KIND_CLIENT, KIND_WORKER } kind;

struct pair {
    kind kind;
    const char *folder; /* --curve */
    const char *list;   /* folder in it; ".": none */
    const char *name;
    char public_file[MMQ_UID_MAX + 16], secret_file[MMQ_UID_MAX + 16];
    mmq_certificate certificate;
};

/* ---- what is to be made ------------------------------------------------------------------- */

static mmq_err read_kind(const mmq_config *config, struct pair *pair, mmq_why *why)
{
    static const struct {
        const char *word, *list;
        kind kind;
        size_t count;
    } kinds[] = {{"server", ".", KIND_SERVER, 1},
                 {"client", "clients", KIND_CLIENT, 2},
                 {"worker", "workers", KIND_WORKER, 2}};
    const char *const *operands;
    const size_t count = mmq_config_operands(config, &operands);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (count == kinds[i].count && strcmp(operands[0], kinds[i].word) == 0) {
            pair->kind = kinds[i].kind;
            pair->list = kinds[i].list;
            pair->name = count > 1 ? operands[1] : "server";
            return MMQ_OK;
        }
    }
    return mmq_fail(why, MMQ_EINVAL,
                    "`keygen` wants one of server (alone), client NAME, worker NAME");
}

static mmq_err check_text(const char *text, size_t size_max, const char *option, mmq_why *why)
{
    return strlen(text) <= size_max ? MMQ_OK
                                    : mmq_fail(why, MMQ_EINVAL, "--%s is too long", option);
}

/* Rights are a client's only; services are what a worker serves, or what else a client may ask. */
static mmq_err read_rights(const mmq_config *config, struct pair *pair, mmq_why *why)
{
    const char *rights = mmq_config_text(config, "rights");
    const char *services = mmq_config_text(config, "services");
    mmq_certificate *made = &pair->certificate;
    unsigned set;
    if (pair->kind != KIND_CLIENT && rights != NULL) {
        return mmq_fail(why, MMQ_EINVAL, "--rights are a client's");
    }
    if (pair->kind == KIND_SERVER && services != NULL) {
        return mmq_fail(why, MMQ_EINVAL, "--services are a client's or a worker's");
    }
    rights = rights != NULL ? rights : pair->kind == KIND_CLIENT ? "read" : "";
    services = services != NULL ? services : pair->kind == KIND_WORKER ? SERVICES : "";
    mmq_err err = check_text(rights, MMQ_RIGHTS_MAX, "rights", why);
    if (err == MMQ_OK) {
        err = check_text(services, MMQ_SERVICES_MAX, "services", why);
    }
    if (err == MMQ_OK && rights[0] != '\0') {
        mmq_why reason = {""};
        err = mmq_rights_parse(rights, strlen(rights), &set, &reason);
        if (err != MMQ_OK) {
            (void)mmq_fail(why, err, "--rights %.40s: %.180s", rights, reason.text);
        }
    }
    if (err == MMQ_OK && services[0] != '\0') {
        err = mmq_services_check(services, why);
    }
    if (err == MMQ_OK) {
        snprintf(made->rights, sizeof made->rights, "%s", rights);
        snprintf(made->services, sizeof made->services, "%s", services);
    }
    return err;
}

static mmq_err read_pair(const mmq_config *config, struct pair *pair, mmq_why *why)
{
    pair->folder = mmq_config_text(config, "curve");
    if (pair->folder == NULL) {
        return mmq_fail(why, MMQ_EINVAL, "`keygen` wants --curve DIR, the broker's folder of keys");
    }
    mmq_err err = read_kind(config, pair, why);
    if (err == MMQ_OK && (pair->name[0] == '.' || !mmq_uid_valid(pair->name, strlen(pair->name)))) {
        err = mmq_fail(why, MMQ_EINVAL,
                       "a name has 1 to 100 of [-A-Za-z0-9_.], no dot first, and is no reserved "
                       "name");
    }
    if (err == MMQ_OK) {
        err = mmq_certificate_make(&pair->certificate, why);
    }
    if (err == MMQ_OK) {
        snprintf(pair->public_file, sizeof pair->public_file, "%s.cert", pair->name);
        snprintf(pair->secret_file, sizeof pair->secret_file, "%s.cert_secret", pair->name);
        snprintf(pair->certificate.name, sizeof pair->certificate.name, "%s", pair->name);
        err = read_rights(config, pair, why);
    }
    return err;
}

/* ---- making it ---------------------------------------------------------------------------- */

/* Opens a folder, private to its owner if it must be made. */
static mmq_err open_folder(int parent, const char *path, int *fd, mmq_why *why)
{
    struct stat status;
    if (mkdirat(parent, path, 0700) != 0 && errno != EEXIST) {
        return mmq_files_fail(why, errno, "make the folder", path);
    }
    *fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &status) != 0) {
        return mmq_files_fail(why, errno, "open the folder", path);
    }
    return (status.st_mode & S_IWOTH) == 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_EDENIED, "everybody may write to the folder %.128s: chmod 700",
                          path);
}

/* A file that we could not finish is no certificate: it goes. */
static mmq_err write_file(int folder, const char *name, const mmq_buffer *text, mmq_why *why)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST) {
        return mmq_fail(why, MMQ_ECONFLICT, "%.128s is there already, and is not overwritten",
                        name);
    }
    if (fd < 0) {
        return mmq_files_fail(why, errno, "make", name);
    }
    mmq_err err = mmq_fd_write(fd, text->data, text->size, name, why);
    if (err == MMQ_OK) {
        err = mmq_fd_sync(fd, name, why);
    }
    mmq_fd_close(&fd);
    if (err != MMQ_OK) {
        (void)unlinkat(folder, name, 0);
    }
    return err;
}

static mmq_err write_half(int folder, const struct pair *pair, bool secret, mmq_why *why)
{
    mmq_buffer text;
    mmq_buffer_init(&text, MMQ_CERTIFICATE_MAX);
    mmq_certificate_write(&pair->certificate, secret, &text);
    const char *name = secret ? pair->secret_file : pair->public_file;
    mmq_err err = text.failed ? mmq_fail(why, MMQ_ENOMEM, "no memory for a certificate")
                              : write_file(folder, name, &text, why);
    if (text.data != NULL) {
        explicit_bzero(text.data, text.size);
    }
    mmq_buffer_clear(&text);
    return err;
}

static mmq_err write_pair(int folder, const struct pair *pair, mmq_why *why)
{
    mmq_err err = write_half(folder, pair, true, why);
    if (err == MMQ_OK && (err = write_half(folder, pair, false, why)) != MMQ_OK) {
        (void)unlinkat(folder, pair->secret_file, 0);
    }
    return err == MMQ_OK ? mmq_fd_sync(folder, pair->list, why) : err;
}

static mmq_err make_files(const struct pair *pair, mmq_why *why)
{
    int folder = -1, list = -1;
    mmq_err err = open_folder(AT_FDCWD, pair->folder, &folder, why);
    if (err == MMQ_OK) {
        err = open_folder(folder, pair->list, &list, why);
    }
    if (err == MMQ_OK) {
        err = write_pair(list, pair, why);
    }
    mmq_fd_close(&list);
    mmq_fd_close(&folder);
    return err;
}

/* ---- telling of it ------------------------------------------------------------------------ */

static void print_server(const struct pair *pair)
{
    const char *folder = pair->folder;
    printf("made %s/%s (secret: it stays here)\n"
           "made %s/%s (public: give it to every client and worker, for --curve-server)\n"
           "next: metricmq keygen --curve %s client NAME; metricmq broker --curve %s ...\n",
           folder, pair->secret_file, folder, pair->public_file, folder, folder);
}

static void print_peer(const struct pair *pair)
{
    const char *folder = pair->folder, *list = pair->list;
    const mmq_certificate *made = &pair->certificate;
    printf("made %s/%s/%s (secret: move it to the peer, for --curve-key)\n"
           "made %s/%s/%s (public: the broker's list; remove it to revoke the key)\n"
           "rights: %s%s%s\n"
           "next: SIGHUP to a running broker has it read its lists again\n",
           folder, list, pair->secret_file, folder, list, pair->public_file, made->rights,
           made->rights[0] != '\0' && made->services[0] != '\0' ? "; services " : "",
           made->services);
}

int mmq_command_keygen(const mmq_config *config)
{
    mmq_why why = {""};
    struct pair pair = {0};
    int status = MMQ_EXIT_DONE;
    if (read_pair(config, &pair, &why)) {
        status = mmq_usage("%s", why.text);
    } else if (make_files(&pair, &why)) {
        status = mmq_failed("--curve %s: %s", pair.folder, why.text);
    } else if (pair.kind == KIND_SERVER) {
        print_server(&pair);
    } else {
        print_peer(&pair);
    }
    mmq_certificate_wipe(&pair.certificate);
    return status;
}
