/* `metricmq key NAME --rights R`: makes a key for HTTP clients. The key goes to stdout, once: it is
 * kept nowhere. Its line, which holds its hash alone, goes into the file of --api-keys, or without
 * one to stdout behind the key. */
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "clients/commands/commands.h"
#include "clients/http/keys.h"

static int make_key(const char *name, unsigned rights, const char *path)
{
    char text[MMQ_KEY_SIZE + 1], line[MMQ_KEY_LINE_MAX] = "";
    mmq_why why = {""};
    const mmq_key key = mmq_key_make(name, rights, text);
    mmq_err err = MMQ_OK;
    if (path) {
        err = mmq_key_append(path, &key, &why);
    } else {
        mmq_key_print(&key, line);
    }
    if (err == MMQ_OK) {
        printf("%s\n%s", text, line);
    }
    OPENSSL_cleanse(text, sizeof text);
    if (err == MMQ_EINVAL) {
        return mmq_usage("%s", why.text);
    }
    return err == MMQ_OK ? MMQ_EXIT_DONE : mmq_failed("%s", why.text);
}

int mmq_command_key(const mmq_config *config)
{
    const char *const *names;
    const char *rights = mmq_config_text(config, "rights");
    unsigned set;
    mmq_why why = {""};
    if (mmq_config_operands(config, &names) != 1 ||
        !mmq_key_name_valid(names[0], strlen(names[0]))) {
        return mmq_usage("`key` wants a name of 1 to %d letters, digits, `-`, `_` and `.`",
                         MMQ_KEY_NAME_MAX);
    }
    if (rights == NULL) {
        return mmq_usage("`key` wants --rights: one or more of read, write, feedback, admin");
    }
    if (mmq_rights_parse(rights, strlen(rights), &set, &why) != MMQ_OK) {
        return mmq_usage("--rights %.40s: %s", rights, why.text);
    }
    return make_key(names[0], set, mmq_config_text(config, "api-keys"));
}
