/* libmicrohttpd says no more of a certificate or key that it cannot use than that it will not
 * start, so they are looked at here first. Files are read once: links are followed, since
 * certificates are often reached by one. */
#include "clients/http/tls.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1024 * 1024 };

/* The text of a file; the caller frees it. */
static char *read_file(const char *path, mmq_why *why)
{
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(FILE_MAX + 1) : NULL;
    if (text == NULL) {
        (void)mmq_fail(why, MMQ_EINVAL, "--tls-cert, --tls-key: cannot read %s: %s", path,
                       file ? "no memory" : strerror(errno));
        if (file) {
            (void)fclose(file);
        }
        return NULL;
    }
    size_t size = fread(text, 1, FILE_MAX, file);
    bool bad = ferror(file) != 0 || size == FILE_MAX;
    (void)fclose(file);
    text[size] = '\0';
    if (bad) {
        (void)mmq_fail(why, MMQ_EINVAL, "cannot read %s: not a file of less than %d bytes", path,
                       FILE_MAX);
        OPENSSL_cleanse(text, size);
        free(text);
        return NULL;
    }
    return text;
}

static X509 *parse_certificate(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return certificate;
}

/* A key under a passphrase counts as none: there is nobody to ask. */
static int refuse_passphrase(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return -1;
}

static EVP_PKEY *parse_key(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static mmq_err check_pair(const mmq_tls *tls, const char *certificate_path, const char *key_path,
                          mmq_why *why)
{
    mmq_err err = MMQ_OK;
    X509 *certificate = parse_certificate(tls->certificate);
    EVP_PKEY *key = parse_key(tls->key);
    if (certificate == NULL) {
        err = mmq_fail(why, MMQ_EINVAL, "%s holds no certificate (PEM)", certificate_path);
    } else if (key == NULL) {
        err = mmq_fail(why, MMQ_EINVAL, "%s holds no key (PEM, without a passphrase)", key_path);
    } else if (X509_check_private_key(certificate, key) != 1) {
        err = mmq_fail(why, MMQ_EINVAL, "the key in %s is not that of the certificate in %s",
                       key_path, certificate_path);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return err;
}

mmq_err mmq_tls_load(mmq_tls *tls, const char *certificate, const char *key, mmq_why *why)
{
    tls->certificate = read_file(certificate, why);
    tls->key = tls->certificate ? read_file(key, why) : NULL;
    return tls->key ? check_pair(tls, certificate, key, why) : MMQ_EINVAL;
}

void mmq_tls_clear(mmq_tls *tls)
{
    if (tls->key) {
        OPENSSL_cleanse(tls->key, strlen(tls->key));
    }
    free(tls->key);
    free(tls->certificate);
    *tls = (mmq_tls){NULL, NULL};
}
