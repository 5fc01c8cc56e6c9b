/* Lists of weighted names: elements between commas, each a name and parameters between semicolons,
 * of which q is the weight. A weight that cannot be read counts as none, that is 1: the name was
 * said. Parameters of media types do not matter to us; their values may be quoted. */
#include "clients/http/negotiate.h"

#include <string.h>
#include <strings.h>

enum { WHOLE = 1000 };

typedef struct weighted {
    mmq_slice name;
    int weight;
} weighted;

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

static const char *skip_spaces(const char *at)
{
    while (is_space(*at)) {
        at++;
    }
    return at;
}

/* Behind the element or parameter that begins here: at a stop byte or the end of the text. */
static const char *find_end(const char *at, const char *stops)
{
    bool quoted = false;
    for (; *at != '\0'; at++) {
        if (*at == '"') {
            quoted = !quoted;
        } else if (quoted && *at == '\\' && at[1] != '\0') {
            at++;
        } else if (!quoted && strchr(stops, *at) != NULL) {
            break;
        }
    }
    return at;
}

static mmq_slice trimmed(const char *start, const char *end)
{
    start = skip_spaces(start);
    while (end > start && is_space(end[-1])) {
        end--;
    }
    return (mmq_slice){start, end > start ? (size_t)(end - start) : 0};
}

/* "1", "0.25": at most three decimals. */
static int parse_weight(const mmq_slice *text)
{
    const char *at = text->data;
    if (text->size == 0 || text->size > 5 || (at[0] != '0' && at[0] != '1') ||
        (text->size > 1 && at[1] != '.')) {
        return WHOLE;
    }
    int weight = (at[0] - '0') * WHOLE;
    int unit = WHOLE / 10;
    for (size_t i = 2; i < text->size; i++, unit /= 10) {
        if (at[i] < '0' || at[i] > '9') {
            return WHOLE;
        }
        weight += (at[i] - '0') * unit;
    }
    return weight <= WHOLE ? weight : WHOLE;
}

/* The parameter between start and end, if it is q. */
static void take_parameter(const char *start, const char *end, int *weight)
{
    const mmq_slice text = trimmed(start, end);
    if (text.size >= 2 && (text.data[0] | 0x20) == 'q' && text.data[1] == '=') {
        const mmq_slice value = {text.data + 2, text.size - 2};
        *weight = parse_weight(&value);
    }
}

static bool next_weighted(const char **at, weighted *out)
{
    const char *start = *at;
    do {
        start = skip_spaces(start);
        start += *start == ',';
    } while (is_space(*start) || *start == ',');
    if (*start == '\0') {
        return false;
    }
    const char *end = find_end(start, ";,");
    *out = (weighted){trimmed(start, end), WHOLE};
    while (*end == ';') {
        start = end + 1;
        end = find_end(start, ";,");
        take_parameter(start, end, &out->weight);
    }
    *at = end;
    return true;
}

static bool is_name(const mmq_slice *slice, const char *name)
{
    return slice->size == strlen(name) && strncasecmp(slice->data, name, slice->size) == 0;
}

static void lift(int *weight, int to)
{
    *weight = to > *weight ? to : *weight;
}

/* ---- Accept ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    mmq_media media;
} medias[] = {
    {"application/octet-stream", MMQ_MEDIA_OCTETS},
    {"application/json", MMQ_MEDIA_JSON},
    {"text/csv", MMQ_MEDIA_CSV},
    {"application/x-ndjson", MMQ_MEDIA_NDJSON},
    {"application/ndjson", MMQ_MEDIA_NDJSON},
};

void mmq_accept_init(mmq_accept *accept)
{
    *accept = (mmq_accept){.application = -1, .text = -1, .any = -1};
    for (size_t i = 0; i < MMQ_MEDIA_COUNT; i++) {
        accept->named[i] = -1;
    }
}

static void take_media(mmq_accept *accept, const weighted *element)
{
    for (size_t i = 0; i < sizeof medias / sizeof *medias; i++) {
        if (is_name(&element->name, medias[i].name)) {
            lift(&accept->named[medias[i].media], element->weight);
            return;
        }
    }
    if (is_name(&element->name, "*/*")) {
        lift(&accept->any, element->weight);
    } else if (is_name(&element->name, "application/*")) {
        lift(&accept->application, element->weight);
    } else if (is_name(&element->name, "text/*")) {
        lift(&accept->text, element->weight);
    }
}

void mmq_accept_add(mmq_accept *accept, const char *field)
{
    weighted element;
    while (next_weighted(&field, &element)) {
        take_media(accept, &element);
    }
}

/* Twice its weight, and one more if it was named: so that a name wins a draw. */
static int rank(const mmq_accept *accept, mmq_media media)
{
    const int range = media == MMQ_MEDIA_CSV ? accept->text : accept->application;
    if (accept->named[media] >= 0) {
        return accept->named[media] > 0 ? 2 * accept->named[media] + 1 : 0;
    }
    const int weight = range >= 0 ? range : accept->any;
    return weight > 0 ? 2 * weight : 0;
}

mmq_media mmq_accept_choose(const mmq_accept *accept)
{
    mmq_media best = MMQ_MEDIA_JSON;
    int named = 0; /* the greatest weight of a name */
    for (size_t i = 0; i < MMQ_MEDIA_COUNT; i++) {
        lift(&named, accept->named[i]);
        if (rank(accept, (mmq_media)i) > rank(accept, best)) {
            best = (mmq_media)i;
        }
    }
    return named > 0 && accept->named[MMQ_MEDIA_OCTETS] == named ? MMQ_MEDIA_OCTETS : best;
}

/* ---- Accept-Encoding -------------------------------------------------------------------- */

void mmq_codings_init(mmq_codings *codings)
{
    *codings = (mmq_codings){-1, -1, -1};
}

void mmq_codings_add(mmq_codings *codings, const char *field)
{
    weighted element;
    while (next_weighted(&field, &element)) {
        if (is_name(&element.name, "gzip") || is_name(&element.name, "x-gzip")) {
            lift(&codings->gzip, element.weight);
        } else if (is_name(&element.name, "identity")) {
            lift(&codings->identity, element.weight);
        } else if (is_name(&element.name, "*")) {
            lift(&codings->any, element.weight);
        }
    }
}

bool mmq_codings_gzip(const mmq_codings *codings)
{
    const int gzip = codings->gzip >= 0 ? codings->gzip : codings->any;
    return gzip > 0 && gzip >= codings->identity;
}

/* ---- If-None-Match ---------------------------------------------------------------------- */

bool mmq_etag_next(const char **at, mmq_slice *tag)
{
    const char *start = *at;
    while (is_space(*start) || *start == ',') {
        start++;
    }
    if (*start == '*') {
        *tag = trimmed(start, start + 1);
        *at = start + 1;
        return true;
    }
    start += start[0] == 'W' && start[1] == '/' ? 2 : 0;
    const char *end = *start == '"' ? strchr(start + 1, '"') : NULL;
    if (end == NULL) {
        return false;
    }
    *tag = (mmq_slice){start + 1, (size_t)(end - start - 1)};
    *at = end + 1;
    return true;
}
