#include "lib/pow10.h"

const mmq_pow10 mmq_pow10_table[] = {
#include "lib/pow10.inc"
};
