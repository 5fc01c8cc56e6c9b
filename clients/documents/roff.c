/* Markup becomes roff in two steps: a text with escapes for fonts and signs, then lines of it. A
 * line that would begin with one of roff's control characters gets \& before it.
 *
 * Code is bold, since a terminal has no other font; its hyphens are minus signs, so that what is
 * copied from a page can be pasted into a shell. */
#include "clients/documents/roff.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "metricmq/version.h"

enum { LINE_MAX_BYTES = 78 };

/* A text on its way to roff. */
struct inliner {
    FILE *out;
    bool code, strong, emphasis;
};

static void put_sign(FILE *out, char sign, bool code)
{
    switch (sign) {
    case '\\':
        fputs("\\e", out);
        break;
    case '"':
        fputs("\\(dq", out);
        break;
    case '^':
        fputs("\\(ha", out);
        break;
    case '~':
        fputs("\\(ti", out);
        break;
    case '`':
        fputs("\\(ga", out);
        break;
    case '-':
        fputs(code ? "\\-" : "-", out);
        break;
    case '\'':
        fputs(code ? "\\(aq" : "'", out);
        break;
    default:
        fputc(isspace((unsigned char)sign) ? ' ' : sign, out);
        break;
    }
}

static void put_font(const struct inliner *inliner)
{
    const bool bold = inliner->code || inliner->strong;
    fputs(inliner->emphasis ? "\\fI" : bold ? "\\fB" : "\\fR", inliner->out);
}

static void turn(struct inliner *inliner, bool *flag)
{
    *flag = !*flag;
    put_font(inliner);
}

/* [words](address): addresses of the web are shown, those of files beside us are not. */
static const char *put_address(FILE *out, const char *at)
{
    const char *end = strchr(at, ')');
    if (end && strncmp(at, "](http", 6) == 0) {
        fputs(" (", out);
        for (at += 2; at < end; at++) {
            put_sign(out, *at, true);
        }
        fputc(')', out);
    }
    return end ? end + 1 : at + 1;
}

/* Takes what stands at `at`, outside of code; returns what is behind it. */
static const char *put_prose(struct inliner *inliner, const char *at)
{
    if (at[0] == '\\' && ispunct((unsigned char)at[1])) {
        put_sign(inliner->out, at[1], false);
        return at + 2;
    }
    if (at[0] == '*' && at[1] == '*') {
        turn(inliner, &inliner->strong);
        return at + 2;
    }
    if (at[0] == '*') {
        turn(inliner, &inliner->emphasis);
        return at + 1;
    }
    if (at[0] == ']' && at[1] == '(') {
        return put_address(inliner->out, at);
    }
    if (at[0] != '[' || !strstr(at, "](")) {
        put_sign(inliner->out, at[0], false);
    }
    return at + 1;
}

/* Caller frees the result. */
static char *inline_text(const char *text, mmq_why *why)
{
    char *roff = NULL;
    size_t size = 0;
    struct inliner inliner = {.out = open_memstream(&roff, &size)};
    CHECK(inliner.out);
    for (const char *at = text; *at;) {
        if (*at == '`') {
            turn(&inliner, &inliner.code);
            at++;
        } else if (inliner.code) {
            put_sign(inliner.out, *at++, true);
        } else {
            at = put_prose(&inliner, at);
        }
    }
    CHECK(fclose(inliner.out) == 0);
    if (inliner.code || inliner.strong || inliner.emphasis) {
        mmq_why_set(why, "%s is not closed: %.100s", inliner.code ? "a backtick" : "an asterisk",
                    text);
        free(roff);
        return NULL;
    }
    return roff;
}

static void put_lines(FILE *out, const char *roff)
{
    size_t column = 0;
    while (*roff) {
        const size_t size = strcspn(roff, " ");
        if (column > 0 && column + 1 + size > LINE_MAX_BYTES) {
            fputc('\n', out);
            column = 0;
        }
        if (size > 0 && column == 0) {
            fputs(roff[0] == '.' || roff[0] == '\'' ? "\\&" : "", out);
        } else if (size > 0) {
            column += fputc(' ', out) == ' ';
        }
        fwrite(roff, 1, size, out);
        column += size;
        roff += size + (roff[size] != '\0');
    }
    fputc('\n', out);
}

mmq_err mmq_roff_text(mmq_roff *roff, const char *text, mmq_why *why)
{
    char *line = inline_text(text, why);
    if (!line) {
        return MMQ_EINVAL;
    }
    put_lines(roff->out, line);
    roff->fresh = false;
    free(line);
    return MMQ_OK;
}

static void put_plain(FILE *out, const char *text)
{
    for (; *text; text++) {
        put_sign(out, *text, true);
    }
}

/* No words are cut and no lines stretched: much of a page is to be copied. */
void mmq_roff_begin(mmq_roff *roff, const mmq_page *page)
{
    FILE *out = roff->out;
    fputs(".TH \"", out);
    for (const char *at = page->name; *at; at++) {
        put_sign(out, (char)toupper((unsigned char)*at), true);
    }
    fprintf(out, "\" %d \"%s\" \"metricmq %s\" \"Manual of metricmq\"\n.nh\n.ad l\n.SH NAME\n",
            page->section, MMQ_DATE, mmq_version());
    char *line = NULL;
    size_t size = 0;
    FILE *name = open_memstream(&line, &size);
    CHECK(name);
    put_plain(name, page->name);
    fputs(" \\- ", name);
    put_plain(name, page->description);
    CHECK(fclose(name) == 0);
    put_lines(out, line);
    free(line);
}

mmq_err mmq_roff_heading(mmq_roff *roff, int level, const char *title, mmq_why *why)
{
    char *line = inline_text(title, why);
    if (!line) {
        return MMQ_EINVAL;
    }
    fprintf(roff->out, "%s \"%s\"\n", level == 1 ? ".SH" : ".SS", line);
    roff->fresh = true;
    free(line);
    return MMQ_OK;
}

void mmq_roff_paragraph(mmq_roff *roff)
{
    fputs(roff->fresh ? "" : ".PP\n", roff->out);
    roff->fresh = false;
}

void mmq_roff_break(mmq_roff *roff)
{
    fputs(".br\n", roff->out);
}

mmq_err mmq_roff_item(mmq_roff *roff, const char *tag, mmq_why *why)
{
    fputs(tag ? ".TP\n" : ".IP \\(bu 2\n", roff->out);
    roff->fresh = false;
    return tag ? mmq_roff_text(roff, tag, why) : MMQ_OK;
}

void mmq_roff_verbatim_begin(mmq_roff *roff)
{
    mmq_roff_paragraph(roff);
    fputs(".RS 2\n.nf\n", roff->out);
}

void mmq_roff_verbatim(mmq_roff *roff, const char *text)
{
    if (text[0] == '.' || text[0] == '\0') {
        fputs("\\&", roff->out);
    }
    put_plain(roff->out, text);
    fputc('\n', roff->out);
}

void mmq_roff_verbatim_end(mmq_roff *roff)
{
    fputs(".fi\n.RE\n", roff->out);
}
