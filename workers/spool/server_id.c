/* Random, so that no hardware address leaves the machine. The file is linked into place whole: of
 * two processes that make it at once one wins, and the other reads the winner's. */
#include "workers/spool/server_id.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/files.h"

static const char file_name[] = "server_id";

static bool is_id(const char *text, size_t size)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    if (size == 0 || size > MMQ_SERVER_ID_MAX || text[0] == '.') {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\0' || strchr(allowed, text[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static mmq_err read_file(int folder, char out[MMQ_SERVER_ID_MAX + 1], mmq_why *why)
{
    mmq_buffer text;
    mmq_buffer_init(&text, MMQ_SERVER_ID_MAX + 1);
    mmq_err err = mmq_file_read(folder, file_name, &text, why);
    if (err == MMQ_OK) {
        size_t size = text.size;
        if (size > 0 && text.data[size - 1] == '\n') {
            size--;
        }
        if (is_id((const char *)text.data, size)) {
            memcpy(out, text.data, size);
            out[size] = '\0';
        } else {
            err = mmq_fail(why, MMQ_ECORRUPT, "the data folder's server_id is not a server id");
        }
    }
    mmq_buffer_clear(&text);
    return err;
}

static mmq_err make_file(int folder, mmq_why *why)
{
    mmq_random_name id = mmq_random_name_new();
    char part[NAME_MAX + 1], line[MMQ_RANDOM_HEX + 2];
    snprintf(part, sizeof part, ".new-%s-%s", file_name, id.text);
    const int size = snprintf(line, sizeof line, "%s\n", id.text);
    mmq_err err = mmq_file_write(folder, part, line, (size_t)size, why);
    if (err == MMQ_OK && linkat(folder, part, folder, file_name, 0) != 0 && errno != EEXIST) {
        err = mmq_files_fail(why, errno, "make", file_name);
    }
    (void)unlinkat(folder, part, 0);
    return err != MMQ_OK ? err : mmq_fd_sync(folder, file_name, why);
}

mmq_err mmq_server_id_read(int data_folder, const char *given, char out[MMQ_SERVER_ID_MAX + 1],
                           mmq_why *why)
{
    if (given != NULL) {
        const size_t size = strlen(given);
        if (!is_id(given, size)) {
            return mmq_fail(why, MMQ_EINVAL,
                            "server-id must be 1 to %d letters, digits, '-', '_' or '.'",
                            MMQ_SERVER_ID_MAX);
        }
        memcpy(out, given, size + 1);
        return MMQ_OK;
    }
    mmq_err err = read_file(data_folder, out, why);
    if (err == MMQ_ENOTFOUND) {
        err = make_file(data_folder, why);
        if (err == MMQ_OK) {
            err = read_file(data_folder, out, why);
        }
    }
    return err;
}
