/* `metricmq import`: CSV files into the store, over the bus.
 *
 * A file is read twice: first every row is checked, so that a file with a bad row loads nothing;
 * then rows are sent in batches that name their rowids, so that a second import of the same file
 * adds nothing and a different file under the same name is refused by the write worker. What cannot
 * be read twice (a pipe) is kept in a temporary file first. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/commands/commands.h"
#include "clients/commands/csv_rows.h"
#include "clients/commands/loader.h"
#include "clients/commands/progress.h"

struct file {
    const char *path;
    FILE *stream;
    int64_t size;          /* bytes */
    bool (*stopped)(void); /* NULL: never */
    mmq_csv_rows rows;
};

static mmq_err keep_copy(struct file *file, mmq_why *why)
{
    char block[65536];
    size_t size;
    FILE *copy = tmpfile();
    if (!copy) {
        return mmq_fail(why, MMQ_EIO, "no temporary file: %s", strerror(errno));
    }
    while ((size = fread(block, 1, sizeof block, file->stream)) > 0) {
        if (fwrite(block, 1, size, copy) != size) {
            break;
        }
    }
    bool failed = ferror(file->stream) || ferror(copy) || fflush(copy) != 0;
    int why_not = errno;
    fclose(file->stream);
    file->stream = copy;
    rewind(copy);
    return failed ? mmq_fail(why, MMQ_EIO, "%s", strerror(why_not)) : MMQ_OK;
}

static mmq_err open_file(struct file *file, mmq_why *why)
{
    struct stat status;
    file->stream = fopen(file->path, "re");
    if (!file->stream || fstat(fileno(file->stream), &status) != 0) {
        return mmq_fail(why, MMQ_EIO, "%s", strerror(errno));
    }
    file->size = status.st_size;
    if (S_ISDIR(status.st_mode)) {
        return mmq_fail(why, MMQ_EINVAL, "is a folder, not a file");
    }
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) { /* may never end */
        return mmq_fail(why, MMQ_EINVAL, "is a device, not a file");
    }
    return S_ISREG(status.st_mode) ? MMQ_OK : keep_copy(file, why);
}

/* Time to do what is a system call, and not for every row. */
static bool is_now_and_then(const struct file *file)
{
    enum { LINES_BETWEEN = 1024 };
    return file->rows.csv.line % LINES_BETWEEN == 0;
}

/* Goes to the first row. */
static mmq_err read_header(struct file *file, mmq_why *why)
{
    rewind(file->stream);
    return mmq_csv_rows_begin(&file->rows, file->stream, why);
}

/* MMQ_EEND behind the last row. */
static mmq_err read_row(struct file *file, mmq_csv_row *out, mmq_why *why)
{
    return file->stopped && is_now_and_then(file) && file->stopped()
               ? mmq_fail(why, MMQ_ECLOSED, "stopped before its end")
               : mmq_csv_rows_next(&file->rows, out, why);
}

static mmq_err check_file(struct file *file, mmq_why *why)
{
    mmq_csv_row row;
    mmq_err err = read_header(file, why);
    while (!err) {
        err = read_row(file, &row, why);
    }
    return err == MMQ_EEND ? MMQ_OK : err;
}

static mmq_err send_rows(struct file *file, mmq_loader *loader, mmq_why *why)
{
    mmq_csv_row row;
    mmq_progress progress;
    mmq_progress_init(&progress, file->path, "bytes", file->size);
    mmq_err err = read_header(file, why);
    while (!err && !(err = read_row(file, &row, why))) {
        err =
            mmq_loader_add(loader, row.timestamp, row.value, row.anomaly_score, row.raw_score, why);
        if (is_now_and_then(file)) {
            mmq_progress_at(&progress, file->rows.csv.offset);
        }
    }
    mmq_progress_end(&progress);
    return err == MMQ_EEND ? MMQ_OK : err;
}

/* The name a file gives its metric: its own, without folder and ".csv". Caller frees. */
static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    size_t size = name ? strlen(name) : 0;
    if (size > 4 && strcmp(name + size - 4, ".csv") == 0) {
        name[size - 4] = '\0';
    }
    return name;
}

static mmq_err load_file(struct file *file, mmq_client *client, const mmq_config *config,
                         bool quiet, mmq_why *why)
{
    char *own_name = name_of(file->path);
    const char *given = mmq_config_text(config, "name");
    const mmq_new_metric metric = {.uid = mmq_config_text(config, "uid"),
                                   .name = given ? given : own_name,
                                   .server = mmq_config_text(config, "server"),
                                   .location = mmq_config_text(config, "location"),
                                   .tag = mmq_config_text(config, "tag"),
                                   .description = mmq_config_text(config, "description"),
                                   .datasource = mmq_config_text(config, "datasource")};
    mmq_loader *loader =
        mmq_loader_new(client, &metric, (unsigned)mmq_config_int(config, "timeout"), why);
    mmq_err err = loader ? send_rows(file, loader, why) : MMQ_EUNAVAILABLE;
    int64_t rows = 0, added = 0;
    if (!err) {
        err = mmq_loader_finish(loader, &rows, &added, why);
    }
    if (!err && !quiet) {
        printf("%s\t%s\t%" PRId64 "\n", mmq_loader_uid(loader), metric.name, rows);
    }
    mmq_loader_destroy(&loader);
    free(own_name);
    return err;
}

static int import_file(mmq_client *client, const mmq_config *config, const char *path,
                       bool (*stopped)(void), bool quiet)
{
    mmq_why why = {""};
    struct file *file = calloc(1, sizeof *file);
    if (!file) {
        return mmq_failed("%s: out of memory", path);
    }
    file->path = path;
    file->stopped = stopped;
    mmq_err err = open_file(file, &why);
    int status = MMQ_EXIT_DONE;
    if (!err && check_file(file, &why)) {
        status = mmq_failed("%s: line %" PRId64 ": %s", path, file->rows.csv.line, why.text);
    } else if (err || load_file(file, client, config, quiet, &why)) {
        status = mmq_failed("%s: %s", path, why.text);
    }
    if (file->stream) {
        fclose(file->stream);
    }
    free(file);
    return status;
}

/* Names that are given go with one file. MMQ_EXIT_DONE, or the status after a complaint. */
static int check_names(const mmq_config *config, size_t count)
{
    const bool named = mmq_config_text(config, "name") || mmq_config_text(config, "uid");
    return count > 1 && named ? mmq_usage("--name and --uid go with one file only") : MMQ_EXIT_DONE;
}

int mmq_import_files(mmq_client *client, const mmq_config *config, const char *const *files,
                     size_t count, bool (*stopped)(void), bool quiet)
{
    int worst = MMQ_EXIT_DONE;
    for (size_t i = 0; i < count && !(stopped && stopped()); i++) {
        int status = import_file(client, config, files[i], stopped, quiet);
        worst = status > worst ? status : worst;
    }
    return worst;
}

int mmq_command_import(const mmq_config *config)
{
    const char *const *files;
    size_t count = mmq_config_operands(config, &files);
    if (count == 0) {
        return mmq_usage("`import` wants at least one file");
    }
    int status = check_names(config, count);
    mmq_client *client = status == MMQ_EXIT_DONE ? mmq_connect(config, &status) : NULL;
    if (!client) {
        return status;
    }
    status = mmq_import_files(client, config, files, count, NULL, false);
    mmq_client_destroy(&client);
    return status;
}
