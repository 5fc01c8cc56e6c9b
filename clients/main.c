#include "clients/commands/commands.h"

int main(int argc, char **argv)
{
    return mmq_main(argc, argv);
}
