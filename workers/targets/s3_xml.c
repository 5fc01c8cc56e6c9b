/* A scan from tag to tag. Comments, CDATA, declarations and instructions are skipped whole, so that
 * nothing in them is taken for a tag; attributes are skipped with their quotes. Namespaces'
 * prefixes are not looked at: stores declare a default namespace. Each byte is looked at once for
 * each call, but by mmq_s3_xml_next for elements within elements of the same name, whose depth is
 * counted. */
#include "workers/targets/s3_xml.h"

#include <string.h>

#include "metricmq/unpack.h"

typedef enum tag_kind { TAG_START, TAG_EMPTY, TAG_END, TAG_OTHER, TAG_NONE } tag_kind;

struct tag {
    tag_kind kind;
    const char *name;
    size_t name_size;
    size_t begin, end; /* of the tag, with its brackets */
};

/* Where the text is found from `at` on, or size. */
static size_t find(const char *xml, size_t size, size_t at, const char *text)
{
    const char *found = at < size ? memmem(xml + at, size - at, text, strlen(text)) : NULL;
    return found == NULL ? size : (size_t)(found - xml);
}

/* The end of what begins at xml[at], if it begins so; else 0. Without an end: size. */
static size_t skip_if(const char *xml, size_t size, size_t at, const char *begin, const char *end)
{
    const size_t begin_size = strlen(begin);
    if (size - at < begin_size || memcmp(xml + at, begin, begin_size) != 0) {
        return 0;
    }
    const size_t found = find(xml, size, at + begin_size, end);
    return found == size ? size : found + strlen(end);
}

static size_t skip_other(const char *xml, size_t size, size_t at)
{
    size_t end = skip_if(xml, size, at, "<!--", "-->");
    end = end != 0 ? end : skip_if(xml, size, at, "<![CDATA[", "]]>");
    end = end != 0 ? end : skip_if(xml, size, at, "<?", "?>");
    return end != 0 ? end : skip_if(xml, size, at, "<!", ">");
}

/* The position of the tag's '>' outside of quotes, or size. */
static size_t find_close(const char *xml, size_t size, size_t at)
{
    for (char quote = '\0'; at < size; at++) {
        if (quote != '\0') {
            quote = (char)(xml[at] == quote ? '\0' : quote);
        } else if (xml[at] == '"' || xml[at] == '\'') {
            quote = xml[at];
        } else if (xml[at] == '>') {
            return at;
        }
    }
    return size;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* The next tag from `at` on. */
static struct tag next_tag(const char *xml, size_t size, size_t at)
{
    struct tag out = {.kind = TAG_NONE, .begin = size, .end = size};
    const char *open = at < size ? memchr(xml + at, '<', size - at) : NULL;
    if (open == NULL) {
        return out;
    }
    out.begin = (size_t)(open - xml);
    out.end = skip_other(xml, size, out.begin);
    if (out.end != 0) {
        out.kind = TAG_OTHER;
        return out;
    }
    const bool is_end = out.begin + 1 < size && xml[out.begin + 1] == '/';
    const size_t name = out.begin + (is_end ? 2 : 1), close = find_close(xml, size, name);
    if (close == size) {
        out.end = size;
        return out;
    }
    out.end = close + 1;
    out.name = xml + name;
    while (name + out.name_size < close && !is_space(out.name[out.name_size]) &&
           out.name[out.name_size] != '/') {
        out.name_size++;
    }
    out.kind = is_end ? TAG_END : xml[close - 1] == '/' ? TAG_EMPTY : TAG_START;
    return out;
}

static bool has_name(const struct tag *tag, const char *name)
{
    return tag->name_size == strlen(name) && memcmp(tag->name, name, tag->name_size) == 0;
}

bool mmq_s3_xml_root(const char *xml, size_t size, const char *name)
{
    struct tag tag = {.kind = TAG_OTHER, .end = 0};
    while (tag.kind == TAG_OTHER) {
        tag = next_tag(xml, size, tag.end);
    }
    return (tag.kind == TAG_START || tag.kind == TAG_EMPTY) && has_name(&tag, name);
}

/* The end tag that belongs to a start tag before `at`. */
static struct tag find_end(const char *xml, size_t size, size_t at, const char *name)
{
    struct tag tag = {.end = at};
    for (size_t depth = 1; depth > 0;) {
        tag = next_tag(xml, size, tag.end);
        if (tag.kind == TAG_NONE) {
            break;
        }
        if (tag.kind == TAG_START && has_name(&tag, name)) {
            depth++;
        } else if (tag.kind == TAG_END && has_name(&tag, name)) {
            depth--;
        }
    }
    return tag;
}

bool mmq_s3_xml_next(const char *xml, size_t size, size_t *at, const char *name, mmq_slice *inner)
{
    struct tag start = {.kind = TAG_OTHER, .end = *at};
    do {
        start = next_tag(xml, size, start.end);
        if (start.kind == TAG_NONE) {
            return false;
        }
    } while ((start.kind != TAG_START && start.kind != TAG_EMPTY) || !has_name(&start, name));
    *inner = (mmq_slice){xml + start.end, 0};
    *at = start.end;
    if (start.kind == TAG_START) {
        const struct tag end = find_end(xml, size, start.end, name);
        if (end.kind == TAG_NONE) {
            return false;
        }
        inner->size = end.begin - start.end;
        *at = end.end;
    }
    return true;
}

/* ---- text ------------------------------------------------------------------------------- */

static int digit_of(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* "#65" or "#x41"; 0 if it is neither or no character. */
static unsigned long read_number(const char *name, size_t size)
{
    const bool is_hex = size > 1 && name[1] == 'x';
    const unsigned base = is_hex ? 16 : 10;
    unsigned long code = 0;
    for (size_t i = is_hex ? 2 : 1; i < size; i++) {
        const int digit = digit_of(name[i]);
        if (digit < 0 || digit >= (int)base || code > 0x10FFFF) {
            return 0;
        }
        code = code * base + (unsigned long)digit;
    }
    return code > 0x10FFFF || (code >= 0xD800 && code < 0xE000) ? 0 : code;
}

/* What the reference between '&' and ';' stands for; 0 if for nothing that is known. */
static unsigned long read_reference(const char *name, size_t size)
{
    static const struct {
        const char *name;
        char byte;
    } known[] = {{"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
    if (size > 1 && name[0] == '#') {
        return read_number(name, size);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (size == strlen(known[i].name) && memcmp(name, known[i].name, size) == 0) {
            return (unsigned char)known[i].byte;
        }
    }
    return 0;
}

static size_t write_utf8(unsigned long code, char out[4])
{
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    const size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, code >>= 6) {
        out[i] = (char)(0x80 | (code & 0x3F));
    }
    out[0] = (char)(lead[size] | code);
    return size;
}

static bool decode(const mmq_slice *text, char *out, size_t room)
{
    size_t to = 0;
    for (size_t at = 0; at < text->size; at++) {
        char bytes[4] = {text->data[at]};
        size_t size = 1;
        if (bytes[0] == '<' || bytes[0] == '\0') {
            return false;
        }
        if (bytes[0] == '&') {
            const char *name = text->data + at + 1;
            const char *end = memchr(name, ';', text->size - at - 1);
            const unsigned long code = end == NULL ? 0 : read_reference(name, (size_t)(end - name));
            if (code == 0) {
                return false;
            }
            size = write_utf8(code, bytes);
            at = (size_t)(end - text->data);
        }
        if (size >= room - to) {
            return false;
        }
        memcpy(out + to, bytes, size);
        to += size;
    }
    out[to] = '\0';
    return mmq_utf8_valid(out, to);
}

bool mmq_s3_xml_text(const char *xml, size_t size, const char *name, char *out, size_t room)
{
    mmq_slice inner;
    size_t at = 0;
    const bool found = mmq_s3_xml_next(xml, size, &at, name, &inner) && decode(&inner, out, room);
    if (!found) {
        out[0] = '\0';
    }
    return found;
}
