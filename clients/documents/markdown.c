/* The Markdown that our documents are written in, and no other: headings with #, paragraphs, lists
 * with a dash whose items go on behind two spaces, tables, code that is fenced or behind four
 * spaces. Anything else (nested lists, numbered ones, quotations, HTML) is refused, so that nobody
 * finds out on paper what was lost.
 *
 * A table is a list of its rows: the first cell is the tag, the others follow; of more than two
 * columns, each behind the name of its column. The title and what a section marked with a comment
 * `not in the manual` says are left out.
 *
 * Lines are gathered into a block (struct block) of one kind; a line of another kind, or an empty
 * one, ends it. */
#include "clients/documents/markdown.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"

enum { TEXT_MAX = 1 << 20, COLUMNS_MAX = 8, HEADING_MAX = 3 };

typedef enum kind { KIND_NONE, KIND_PARAGRAPH, KIND_ITEM, KIND_TABLE, KIND_CODE, KIND_FENCE } kind;

struct reader {
    mmq_roff roff;
    kind kind;
    mmq_buffer text; /* of a paragraph or item; of a table its head; NUL-ended when it is used */
    unsigned rows;   /* of the table, its head and the line below counted in */
    unsigned blanks; /* empty lines in code that are not written yet */
    bool skipping;   /* the section is not for the manual */
    bool marked;     /* the next heading begins such a section */
};

/* Memory that ran out is found at the end. */
static const char *text_of(mmq_buffer *text)
{
    const char *content = mmq_buffer_cstr(text);
    return content ? content : "";
}

/* ---- blocks ------------------------------------------------------------------------------- */

static void add_text(struct reader *reader, const char *text)
{
    if (reader->text.size > 0) {
        mmq_buffer_text(&reader->text, " ");
    }
    mmq_buffer_text(&reader->text, text);
}

static mmq_err end_text(struct reader *reader, mmq_why *why)
{
    mmq_err err = mmq_roff_text(&reader->roff, text_of(&reader->text), why);
    reader->text.size = 0;
    return err;
}

static mmq_err end_block(struct reader *reader, mmq_why *why)
{
    const kind ended = reader->kind;
    reader->kind = KIND_NONE;
    switch (ended) {
    case KIND_PARAGRAPH:
    case KIND_ITEM:
        return end_text(reader, why);
    case KIND_TABLE:
        reader->text.size = 0;
        return reader->rows > 2 ? MMQ_OK : mmq_fail(why, MMQ_EINVAL, "a table has no rows");
    case KIND_CODE:
    case KIND_FENCE:
        mmq_roff_verbatim_end(&reader->roff);
        break;
    case KIND_NONE:
        break;
    }
    return MMQ_OK;
}

static mmq_err begin_block(struct reader *reader, kind begun, mmq_why *why)
{
    mmq_err err = end_block(reader, why);
    reader->kind = begun;
    reader->rows = reader->blanks = 0;
    if (begun == KIND_PARAGRAPH) {
        mmq_roff_paragraph(&reader->roff);
    } else if (begun == KIND_CODE || begun == KIND_FENCE) {
        mmq_roff_verbatim_begin(&reader->roff);
    }
    return err;
}

static mmq_err add_code(struct reader *reader, const char *line)
{
    for (; reader->blanks > 0; reader->blanks--) {
        mmq_roff_verbatim(&reader->roff, "");
    }
    mmq_roff_verbatim(&reader->roff, line);
    return MMQ_OK;
}

/* ---- tables ------------------------------------------------------------------------------- */

static char *trim(char *text)
{
    text += strspn(text, " ");
    size_t size = strlen(text);
    while (size > 0 && text[size - 1] == ' ') {
        text[--size] = '\0';
    }
    return text;
}

/* Cuts "| a | b |" into its cells, in place; 0: it is none. A bar behind a backslash is text. */
static size_t cut_row(char *line, char *cells[COLUMNS_MAX])
{
    size_t count = 0;
    char *cell = line + 1;
    for (char *at = cell; *at; at++) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
        } else if (*at == '|') {
            *at = '\0';
            if (count == COLUMNS_MAX) {
                return 0;
            }
            cells[count++] = trim(cell);
            cell = at + 1;
        }
    }
    return trim(cell)[0] == '\0' ? count : 0;
}

static mmq_err write_row(struct reader *reader, char **cells, char **heads, size_t count,
                         mmq_why *why)
{
    mmq_err err = mmq_roff_item(&reader->roff, cells[0][0] ? cells[0] : "\\-", why);
    mmq_buffer body;
    mmq_buffer_init(&body, TEXT_MAX);
    for (size_t i = 1; i < count; i++) {
        if (cells[i][0] == '\0') {
            continue;
        }
        mmq_buffer_text(&body, body.size > 0 ? "; " : "");
        if (count > 2 && heads[i][0] != '\0') {
            mmq_buffer_text(&body, heads[i]);
            mmq_buffer_text(&body, ": ");
        }
        mmq_buffer_text(&body, cells[i]);
    }
    if (err == MMQ_OK) {
        err = mmq_roff_text(&reader->roff, text_of(&body), why);
    }
    mmq_buffer_clear(&body);
    return err;
}

static mmq_err add_row(struct reader *reader, char *line, mmq_why *why)
{
    char *cells[COLUMNS_MAX], *heads[COLUMNS_MAX];
    if (reader->rows++ == 0) {
        mmq_buffer_text(&reader->text, line);
        return MMQ_OK;
    }
    if (reader->rows == 2) {
        return strspn(line, "|-: ") == strlen(line)
                   ? MMQ_OK
                   : mmq_fail(why, MMQ_EINVAL, "the second line of a table must be dashes");
    }
    char *head = strdup(text_of(&reader->text));
    const size_t count = cut_row(line, cells);
    mmq_err err = MMQ_OK;
    if (!head || count == 0 || cut_row(head, heads) != count) {
        err = mmq_fail(why, MMQ_EINVAL, "a table's rows must have as many cells as its head");
    } else {
        err = write_row(reader, cells, heads, count, why);
    }
    free(head);
    return err;
}

/* ---- lines -------------------------------------------------------------------------------- */

static mmq_err add_heading(struct reader *reader, char *line, mmq_why *why)
{
    const size_t level = strspn(line, "#");
    mmq_err err = end_block(reader, why);
    if (level > HEADING_MAX || line[level] != ' ') {
        return mmq_fail(why, MMQ_EINVAL, "a heading has one to three # and a space");
    }
    if (level < HEADING_MAX || reader->marked) {
        reader->skipping = reader->marked;
    }
    reader->marked = false;
    if (err != MMQ_OK || reader->skipping) {
        return err;
    }
    return level == 1 ? mmq_roff_heading(&reader->roff, 1, "DESCRIPTION", why)
                      : mmq_roff_heading(&reader->roff, (int)level - 1, line + level + 1, why);
}

static mmq_err add_comment(struct reader *reader, const char *line, mmq_why *why)
{
    if (!strstr(line, "-->")) {
        return mmq_fail(why, MMQ_EINVAL, "a comment must end in its line");
    }
    reader->marked = strncmp(line, "<!-- not in the manual", 22) == 0;
    return end_block(reader, why);
}

static mmq_err refuse(const char *line, mmq_why *why)
{
    static const struct {
        const char *begin, *what;
    } refused[] = {{">", "a quotation"},
                   {"* ", "a list with asterisks"},
                   {"+ ", "a list with +"},
                   {"<", "HTML"},
                   {"  ", "a line that is indented"},
                   {"---", "a rule"},
                   {"===", "a rule"},
                   {"![", "an image"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (strncmp(line, refused[i].begin, strlen(refused[i].begin)) == 0) {
            return mmq_fail(why, MMQ_EINVAL, "%s has no form in the manual", refused[i].what);
        }
    }
    const size_t digits = strspn(line, "0123456789");
    return digits > 0 && strncmp(line + digits, ". ", 2) == 0
               ? mmq_fail(why, MMQ_EINVAL, "a numbered list has no form in the manual")
               : MMQ_OK;
}

static mmq_err add_paragraph(struct reader *reader, const char *line, mmq_why *why)
{
    mmq_err err = refuse(line, why);
    if (err == MMQ_OK && reader->kind != KIND_PARAGRAPH) {
        err = begin_block(reader, KIND_PARAGRAPH, why);
    }
    add_text(reader, line);
    return err;
}

static mmq_err add_item(struct reader *reader, const char *line, mmq_why *why)
{
    mmq_err err = begin_block(reader, KIND_ITEM, why);
    if (err == MMQ_OK) {
        err = mmq_roff_item(&reader->roff, NULL, why);
    }
    add_text(reader, line + 2);
    return err;
}

/* An empty line ends what is not fenced; code may go on behind it. */
static mmq_err add_blank(struct reader *reader, mmq_why *why)
{
    if (reader->kind == KIND_CODE || reader->kind == KIND_FENCE) {
        reader->blanks++;
        return MMQ_OK;
    }
    return end_block(reader, why);
}

static mmq_err add_fence(struct reader *reader, mmq_why *why)
{
    return reader->kind == KIND_FENCE ? end_block(reader, why)
                                      : begin_block(reader, KIND_FENCE, why);
}

static mmq_err add_indented(struct reader *reader, const char *line, mmq_why *why)
{
    mmq_err err = reader->kind == KIND_CODE ? MMQ_OK : begin_block(reader, KIND_CODE, why);
    return err == MMQ_OK ? add_code(reader, line + 4) : err;
}

static mmq_err add_table(struct reader *reader, char *line, mmq_why *why)
{
    mmq_err err = reader->kind == KIND_TABLE ? MMQ_OK : begin_block(reader, KIND_TABLE, why);
    return err == MMQ_OK ? add_row(reader, line, why) : err;
}

static mmq_err add_line(struct reader *reader, char *line, mmq_why *why)
{
    if (strncmp(line, "<!--", 4) == 0 && reader->kind != KIND_FENCE) {
        return add_comment(reader, line, why);
    }
    if (line[0] == '#' && reader->kind != KIND_FENCE) {
        return add_heading(reader, line, why);
    }
    if (reader->skipping) {
        return MMQ_OK;
    }
    if (strncmp(line, "```", 3) == 0) {
        return add_fence(reader, why);
    }
    if (line[0] == '\0') {
        return add_blank(reader, why);
    }
    if (reader->kind == KIND_FENCE) {
        return add_code(reader, line);
    }
    if (reader->kind == KIND_ITEM && strncmp(line, "  ", 2) == 0) {
        add_text(reader, line + 2);
        return line[2] != ' ' && line[2] != '-'
                   ? MMQ_OK
                   : mmq_fail(why, MMQ_EINVAL, "a list in a list has no form in the manual");
    }
    if (strncmp(line, "    ", 4) == 0) {
        return add_indented(reader, line, why);
    }
    if (line[0] == '|') {
        return add_table(reader, line, why);
    }
    return strncmp(line, "- ", 2) == 0 ? add_item(reader, line, why)
                                       : add_paragraph(reader, line, why);
}

static mmq_err read_lines(struct reader *reader, FILE *in, mmq_why *why)
{
    char *line = NULL;
    size_t room = 0;
    unsigned number = 0;
    mmq_err err = MMQ_OK;
    mmq_why reason = {""};
    while (err == MMQ_OK && getline(&line, &room, in) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        number++;
        err = add_line(reader, line, &reason);
    }
    if (err == MMQ_OK && reader->kind == KIND_FENCE) {
        err = mmq_fail(&reason, MMQ_EINVAL, "a fence is not closed");
    }
    if (err == MMQ_OK) {
        err = end_block(reader, &reason);
    }
    if (err == MMQ_OK && (ferror(in) || reader->text.failed)) {
        err = mmq_fail(&reason, MMQ_EIO, "it cannot be read");
    }
    free(line);
    return err == MMQ_OK ? err : mmq_fail(why, err, "line %u: %.200s", number, reason.text);
}

mmq_err mmq_markdown_page(FILE *in, FILE *out, const mmq_page *page, const char *see, mmq_why *why)
{
    struct reader reader = {.roff = {.out = out}};
    mmq_buffer_init(&reader.text, TEXT_MAX);
    mmq_roff_begin(&reader.roff, page);
    mmq_err err = read_lines(&reader, in, why);
    if (err == MMQ_OK) {
        err = mmq_roff_heading(&reader.roff, 1, "SEE ALSO", why);
    }
    if (err == MMQ_OK) {
        err = mmq_roff_text(&reader.roff, see, why);
    }
    mmq_buffer_clear(&reader.text);
    return err;
}
