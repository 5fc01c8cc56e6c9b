/* Writes manual pages and completions, which the build calls it for:
 *
 *     metricmq_documents OUT DOCS
 *
 * OUT gets man/man1, man/man5, man/man7, and completions/metricmq.bash, _metricmq and
 * metricmq.fish; DOCS is the folder with the documents that are pages too. Exit status 1 after a
 * sentence. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/commands/table.h"
#include "clients/documents/completions.h"
#include "clients/documents/markdown.h"
#include "clients/documents/pages.h"
#include "lib/check.h"

enum { PATH_BYTES = 4096 };

/* Documents that are manual pages. */
static const struct {
    const char *file, *see;
    mmq_page page;
} documents[] = {
    {"protocol.md",
     "*metricmq*(1), *metricmq-broker*(1), *metricmq-worker*(1)",
     {"metricmq-protocol", 7, "what is said on the bus of metricmq"}},
};

static FILE *open_file(const char *folder, const char *name, const char *mode)
{
    char path[PATH_BYTES];
    CHECK(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    FILE *file = fopen(path, mode);
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    }
    return file;
}

/* err, why: what became of what was written so far. */
static bool close_file(FILE **file, mmq_err err, const mmq_why *why, const char *name)
{
    bool written = !ferror(*file);
    written = fclose(*file) == 0 && written;
    *file = NULL;
    if (err != MMQ_OK || !written) {
        fprintf(stderr, "%s: %s\n", name, err != MMQ_OK ? why->text : strerror(errno));
    }
    return err == MMQ_OK && written;
}

static bool make_folders(const char *out)
{
    static const char *const folders[] = {"",          "/man",      "/man/man1",
                                          "/man/man5", "/man/man7", "/completions"};
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        CHECK(snprintf(path, sizeof path, "%s%s", out, folders[i]) < (int)sizeof path);
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            fprintf(stderr, "%s: %s\n", path, strerror(errno));
            return false;
        }
    }
    return true;
}

static mmq_err page_program(mmq_roff *roff, size_t index, mmq_why *why)
{
    (void)index;
    return mmq_page_program(roff, why);
}

static mmq_err page_file(mmq_roff *roff, size_t index, mmq_why *why)
{
    (void)index;
    return mmq_page_file(roff, why);
}

static bool write_page(const char *out, const char *name,
                       mmq_err (*page)(mmq_roff *roff, size_t index, mmq_why *why), size_t index)
{
    mmq_why why = {""};
    mmq_roff roff = {.out = open_file(out, name, "we")};
    return roff.out && close_file(&roff.out, page(&roff, index, &why), &why, name);
}

static bool write_tables(const char *out)
{
    bool good = write_page(out, "man/man1/metricmq.1", page_program, 0) &&
                write_page(out, "man/man5/metricmq.conf.5", page_file, 0);
    for (size_t i = 0; good && i < mmq_commands_count; i++) {
        char name[128];
        snprintf(name, sizeof name, "man/man1/metricmq-%s.1", mmq_commands[i].name);
        good = write_page(out, name, mmq_page_command, i);
    }
    return good;
}

static bool write_document(const char *out, const char *docs, size_t index)
{
    const mmq_page *page = &documents[index].page;
    mmq_why why = {""};
    char name[128];
    snprintf(name, sizeof name, "man/man%d/%s.%d", page->section, page->name, page->section);
    FILE *in = open_file(docs, documents[index].file, "re"), *file = NULL;
    bool good = in && (file = open_file(out, name, "we"));
    if (good) {
        mmq_err err = mmq_markdown_page(in, file, page, documents[index].see, &why);
        good = close_file(&file, err, &why, documents[index].file);
    }
    if (in) {
        fclose(in);
    }
    return good;
}

static bool write_completions(const char *out)
{
    static const struct {
        const char *name;
        void (*write)(FILE *out);
    } shells[] = {{"completions/metricmq.bash", mmq_completions_bash},
                  {"completions/_metricmq", mmq_completions_zsh},
                  {"completions/metricmq.fish", mmq_completions_fish}};
    bool good = true;
    for (size_t i = 0; good && i < sizeof shells / sizeof *shells; i++) {
        FILE *file = open_file(out, shells[i].name, "we");
        if (file) {
            shells[i].write(file);
        }
        good = file && close_file(&file, MMQ_OK, NULL, shells[i].name);
    }
    return good;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: metricmq_documents OUT DOCS\n", stderr);
        return 2;
    }
    bool good = make_folders(argv[1]) && write_tables(argv[1]) && write_completions(argv[1]);
    for (size_t i = 0; good && i < sizeof documents / sizeof *documents; i++) {
        good = write_document(argv[1], argv[2], i);
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
