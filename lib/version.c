/* The version comes from the build (project VERSION of CMakeLists.txt), nowhere else. */
#include "metricmq/version.h"

const char *mmq_version(void)
{
    return MMQ_VERSION;
}
