/* The door alone, so that tests can link all that is behind it. */
#include "clients/commands/commands.h"

int main(int argc, char **argv)
{
    return mmq_main(argc, argv);
}
