/* Reads doubles as 8-byte patterns on stdin and prints each as mmq_number_print does, a line each:
 * so that another program may compare the digits with its own. */
#include <stdio.h>

#include "lib/number.h"

int main(void)
{
    double value;
    char text[MMQ_NUMBER_MAX + 1];
    while (fread(&value, sizeof value, 1, stdin) == 1) {
        size_t size = mmq_number_print(value, text);
        text[size++] = '\n';
        fwrite(text, 1, size, stdout);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
