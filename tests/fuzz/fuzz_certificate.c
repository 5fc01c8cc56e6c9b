/* Any bytes as a certificate: what is taken has keys that are keys, comes back from our own writing
 * as it was, and can be put into a list or not; what is refused leaves nothing behind. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zmq.h>

#include "broker/allow.h"
#include "lib/certificate.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_key(const char *key)
{
    uint8_t bytes[32];
    char again[MMQ_KEY_TEXT + 1];
    CHECK(strlen(key) == MMQ_KEY_TEXT);
    CHECK(zmq_z85_decode(bytes, key) != NULL);
    CHECK(strcmp(zmq_z85_encode(again, bytes, sizeof bytes), key) == 0);
}

static bool is_plain(const char *text)
{
    return strpbrk(text, "\"'") == NULL;
}

static void check_writing(const mmq_certificate *certificate)
{
    mmq_certificate again;
    mmq_buffer text;
    mmq_why why;
    if (!is_plain(certificate->name) || !is_plain(certificate->rights) ||
        !is_plain(certificate->services)) {
        return;
    }
    mmq_buffer_init(&text, 2 * MMQ_CERTIFICATE_MAX);
    mmq_certificate_write(certificate, true, &text);
    CHECK(!text.failed);
    CHECK(mmq_certificate_parse((const char *)text.data, text.size, &again, &why) == MMQ_OK);
    CHECK(strcmp(again.public_key, certificate->public_key) == 0);
    CHECK(strcmp(again.secret_key, certificate->secret_key) == 0);
    CHECK(strcmp(again.rights, certificate->rights) == 0);
    CHECK(strcmp(again.services, certificate->services) == 0);
    mmq_buffer_clear(&text);
}

static void check_list(const mmq_certificate *certificate)
{
    mmq_why why;
    mmq_allow *allow = mmq_allow_new();
    CHECK(allow != NULL);
    for (int works = 0; works < 2; works++) {
        mmq_err err = mmq_allow_add(allow, works, "name", certificate, &why);
        const mmq_grant *grant = mmq_allow_find(allow, works, certificate->public_key);
        CHECK((err == MMQ_OK) == (grant != NULL));
        CHECK(mmq_allow_add(allow, works, "again", certificate, &why) != MMQ_OK);
        CHECK(grant == NULL || !mmq_grant_serves(grant, "mmi.stats", 9));
        CHECK(grant == NULL || works || !mmq_grant_asks(grant, "mmi.stats", 9) ||
              strstr(certificate->rights, "admin") != NULL);
    }
    mmq_allow_destroy(&allow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mmq_certificate certificate;
    mmq_why why = {""};
    if (mmq_certificate_parse((const char *)data, size, &certificate, &why) != MMQ_OK) {
        static const mmq_certificate nothing;
        CHECK(memcmp(&certificate, &nothing, sizeof nothing) == 0 && why.text[0] != '\0');
        return 0;
    }
    check_key(certificate.public_key);
    if (certificate.secret_key[0] != '\0') {
        check_key(certificate.secret_key);
    }
    check_writing(&certificate);
    check_list(&certificate);
    return 0;
}
