/* Picks a target's kind by its url's scheme; all else is the kind's. */
#include "workers/targets/target.h"

#include <string.h>

#include "lib/check.h"

static const mmq_target_kind *const kinds[] = {&mmq_file_target, &mmq_s3_target};

mmq_target *mmq_target_new(const char *url, const mmq_s3_settings *s3, mmq_why *why)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t size = strlen(kinds[i]->scheme);
        if (strncmp(url, kinds[i]->scheme, size) == 0) {
            return kinds[i]->make(url + size, s3, why);
        }
    }
    (void)mmq_fail(why, MMQ_EINVAL,
                   "upload must be file:DIR or s3://BUCKET[/PREFIX], not \"%.100s\"", url);
    return NULL;
}

bool mmq_object_key_valid(const char *key, size_t size)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    char before = '/';
    if (size == 0 || size > MMQ_OBJECT_KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < size; before = key[i++]) {
        if (key[i] == '\0' || strchr(allowed, key[i]) == NULL ||
            (before == '/' && (key[i] == '/' || key[i] == '.'))) {
            return false;
        }
    }
    return before != '/';
}

void mmq_target_destroy(mmq_target **target)
{
    if (*target != NULL) {
        (*target)->kind->destroy(target);
    }
}

const char *mmq_target_prefix(const mmq_target *target)
{
    return target->prefix;
}

mmq_err mmq_target_put(mmq_target *target, const mmq_object *object, const mmq_watch *watch,
                       mmq_setback *setback, mmq_why *why)
{
    CHECK(mmq_object_key_valid(object->key, strlen(object->key)));
    *setback = (mmq_setback){MMQ_SETBACK_PASSING, 0};
    return target->kind->put(target, object, watch, setback, why);
}

mmq_err mmq_target_sweep(mmq_target *target, const char *prefix,
                         bool (*is_wanted)(void *context, const char *key), void *context,
                         const mmq_watch *watch, mmq_why *why)
{
    return target->kind->sweep == NULL
               ? MMQ_OK
               : target->kind->sweep(target, prefix, is_wanted, context, watch, why);
}
