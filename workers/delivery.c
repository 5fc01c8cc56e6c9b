/* Picks a target's kind by its url's scheme; all else is the kind's. */
#include "workers/delivery.h"

#include <string.h>

#include "lib/check.h"
#include "workers/manifest.h"

static const mmq_target_kind *const kinds[] = {&mmq_file_target};

mmq_target *mmq_target_new(const char *url, mmq_why *why)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t size = strlen(kinds[i]->scheme);
        if (strncmp(url, kinds[i]->scheme, size) == 0) {
            return kinds[i]->make(url + size, why);
        }
    }
    (void)mmq_fail(why, MMQ_EINVAL, "upload must be file:DIR, not \"%.100s\"", url);
    return NULL;
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
                       mmq_why *why)
{
    CHECK(mmq_object_key_valid(object->key, strlen(object->key)));
    return target->kind->put(target, object, watch, why);
}
