/* The format is ZPL (RFC 4) of two levels, and of it only what zcert writes: a section at the start
 * of a line, pairs indented below it. czmq's own reader trusts the file; this one takes nothing
 * that is not as it should be, since allow lists are read while the broker serves: no control
 * bytes, no pair twice, keys of 40 characters that stand for 32 bytes in exactly one way (so that
 * one key cannot be in a list twice under two spellings). Pairs of metadata that we do not know are
 * other tools'.
 *
 * zcert_save writes over files that are there; so we write the text, and keygen the file. */
#include "lib/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "lib/files.h"

enum { KEY_BYTES = 32 };

typedef enum section { SECTION_NONE, SECTION_METADATA, SECTION_CURVE } section;

/* A piece of the text. */
typedef struct span {
    const char *data;
    size_t size;
} span;

static bool span_is(span text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static span trim(span text)
{
    while (text.size > 0 && is_space(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_space(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

/* One key has one text: what decodes and encodes to something else is none. */
static bool is_key(span text)
{
    uint8_t bytes[KEY_BYTES];
    char copy[MMQ_KEY_TEXT + 1], again[MMQ_KEY_TEXT + 1];
    if (text.size != MMQ_KEY_TEXT) {
        return false;
    }
    memcpy(copy, text.data, MMQ_KEY_TEXT);
    copy[MMQ_KEY_TEXT] = '\0';
    bool same = zmq_z85_decode(bytes, copy) != NULL &&
                zmq_z85_encode(again, bytes, KEY_BYTES) != NULL &&
                memcmp(copy, again, MMQ_KEY_TEXT) == 0;
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(copy, sizeof copy);
    explicit_bzero(again, sizeof again);
    return same;
}

/* Puts the value into a field that is still empty. */
static const char *set_field(char *field, size_t size_max, span value)
{
    if (field[0] != '\0') {
        return "a value is there twice";
    }
    if (value.size > size_max) {
        return "a value is too long";
    }
    memcpy(field, value.data, value.size);
    field[value.size] = '\0';
    return NULL;
}

static const char *set_key(char field[MMQ_KEY_TEXT + 1], span value)
{
    return is_key(value) ? set_field(field, MMQ_KEY_TEXT, value)
                         : "a key is not 40 characters of Z85";
}

static const char *set_pair(mmq_certificate *out, section in, span name, span value)
{
    if (in == SECTION_NONE) {
        return "a pair stands in no section";
    }
    if (in == SECTION_CURVE) {
        return span_is(name, "public-key")   ? set_key(out->public_key, value)
               : span_is(name, "secret-key") ? set_key(out->secret_key, value)
                                             : "the section curve holds something else than keys";
    }
    return span_is(name, "name")       ? set_field(out->name, sizeof out->name - 1, value)
           : span_is(name, "rights")   ? set_field(out->rights, sizeof out->rights - 1, value)
           : span_is(name, "services") ? set_field(out->services, sizeof out->services - 1, value)
                                       : NULL;
}

/* The value without its quotes; false if it is not well formed. */
static bool unquote(span *value)
{
    if (value->size == 0 || (value->data[0] != '"' && value->data[0] != '\'')) {
        return memchr(value->data, '"', value->size) == NULL;
    }
    const char *end = memchr(value->data + 1, value->data[0], value->size - 1);
    if (end == NULL || end != value->data + value->size - 1) {
        return false;
    }
    value->data++;
    value->size -= 2;
    return true;
}

static const char *take_pair(mmq_certificate *out, section in, span line)
{
    const char *equals = memchr(line.data, '=', line.size);
    if (equals == NULL) {
        return "want: key = \"value\"";
    }
    const size_t at = (size_t)(equals - line.data);
    const span name = trim((span){line.data, at});
    span value = trim((span){equals + 1, line.size - at - 1});
    return unquote(&value) ? set_pair(out, in, name, value) : "want: key = \"value\"";
}

/* NULL, or what is wrong with the line. */
static const char *take_line(mmq_certificate *out, section *in, span line)
{
    const bool indented = line.size > 0 && is_space(line.data[0]);
    for (size_t i = 0; i < line.size; i++) {
        if ((unsigned char)line.data[i] < ' ' && !is_space(line.data[i])) {
            return "a control byte";
        }
    }
    line = trim(line);
    if (line.size == 0 || line.data[0] == '#') {
        return NULL;
    }
    if (indented) {
        return take_pair(out, *in, line);
    }
    *in = span_is(line, "metadata") ? SECTION_METADATA
          : span_is(line, "curve")  ? SECTION_CURVE
                                    : SECTION_NONE;
    return *in == SECTION_NONE ? "a section is metadata or curve" : NULL;
}

mmq_err mmq_certificate_parse(const char *text, size_t size, mmq_certificate *out, mmq_why *why)
{
    section in = SECTION_NONE;
    const char *fault = NULL;
    size_t number = 0, at = 0;
    *out = (mmq_certificate){0};
    for (; at < size && fault == NULL; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t length = end != NULL ? (size_t)(end - (text + at)) : size - at;
        fault = take_line(out, &in, (span){text + at, length});
        at += length + 1;
    }
    if (fault == NULL && out->public_key[0] == '\0') {
        fault = "there is no public-key";
    }
    if (fault != NULL) {
        mmq_certificate_wipe(out);
        return mmq_fail(why, MMQ_EINVAL, "line %zu: %s", number, fault);
    }
    return MMQ_OK;
}

static mmq_err check_pair(const mmq_certificate *certificate, const char *path, mmq_why *why)
{
    char derived[MMQ_KEY_TEXT + 1] = "";
    if (certificate->secret_key[0] == '\0') {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: it holds no secret key", path);
    }
    bool fits = zmq_curve_public(derived, certificate->secret_key) == 0 &&
                strcmp(derived, certificate->public_key) == 0;
    return fits ? MMQ_OK
                : mmq_fail(why, MMQ_EINVAL, "%.128s: its two keys are not of one pair", path);
}

/* Says what is wrong with the file as a file, NULL if nothing is. */
static const char *file_fault(const struct stat *status, bool secret)
{
    return !S_ISREG(status->st_mode)               ? "it is no file"
           : status->st_size > MMQ_CERTIFICATE_MAX ? "it is too long for a certificate"
           : secret && (status->st_mode & (S_IRWXO | S_IWGRP)) != 0
               ? "it holds a secret that others may read or change: chmod 600"
               : NULL;
}

static ssize_t read_all(int fd, char *text, size_t size)
{
    size_t done = 0;
    ssize_t got;
    do {
        got = read(fd, text + done, size - done);
        done += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && done < size) || (got < 0 && errno == EINTR));
    return got < 0 ? -1 : (ssize_t)done;
}

static mmq_err parse_file(int fd, const char *path, bool secret, mmq_certificate *out, mmq_why *why)
{
    char text[MMQ_CERTIFICATE_MAX];
    struct stat status;
    mmq_why reason = {""};
    if (fstat(fd, &status) != 0) {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: %s", path, strerror(errno));
    }
    const char *fault = file_fault(&status, secret);
    if (fault != NULL) {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: %s", path, fault);
    }
    ssize_t size = read_all(fd, text, sizeof text);
    mmq_err err = size >= 0 ? mmq_certificate_parse(text, (size_t)size, out, &reason)
                            : mmq_fail(&reason, MMQ_EINVAL, "%s", strerror(errno));
    explicit_bzero(text, sizeof text);
    if (err != MMQ_OK) {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: %.100s", path, reason.text);
    }
    return secret ? check_pair(out, path, why) : MMQ_OK;
}

mmq_err mmq_certificate_read(int folder, const char *path, bool secret, mmq_certificate *out,
                             mmq_why *why)
{
    *out = (mmq_certificate){0};
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return mmq_fail(why, MMQ_EINVAL, "%.128s: %s", path, strerror(errno));
    }
    mmq_err err = parse_file(fd, path, secret, out, why);
    mmq_fd_close(&fd);
    if (err != MMQ_OK) {
        mmq_certificate_wipe(out);
    }
    return err;
}

mmq_err mmq_certificate_make(mmq_certificate *out, mmq_why *why)
{
    *out = (mmq_certificate){0};
    return zmq_curve_keypair(out->public_key, out->secret_key) == 0
               ? MMQ_OK
               : mmq_fail(why, MMQ_EUNAVAILABLE, "this libzmq was built without CURVE");
}

static void write_pair(mmq_buffer *out, const char *name, const char *value)
{
    if (value[0] != '\0') {
        mmq_buffer_format(out, "    %s = \"%s\"\n", name, value);
    }
}

void mmq_certificate_write(const mmq_certificate *certificate, bool secret, mmq_buffer *out)
{
    mmq_buffer_text(out, secret
                             ? "#   ZeroMQ CURVE **Secret** Certificate of metricmq\n"
                               "#   DO NOT PROVIDE THIS FILE TO OTHERS: its bearer is the peer\n\n"
                             : "#   ZeroMQ CURVE Public Certificate of metricmq\n\n");
    mmq_buffer_text(out, "metadata\n");
    write_pair(out, "name", certificate->name);
    write_pair(out, "rights", certificate->rights);
    write_pair(out, "services", certificate->services);
    mmq_buffer_text(out, "curve\n");
    write_pair(out, "public-key", certificate->public_key);
    if (secret) {
        write_pair(out, "secret-key", certificate->secret_key);
    }
}

void mmq_certificate_wipe(mmq_certificate *certificate)
{
    explicit_bzero(certificate, sizeof *certificate);
}
