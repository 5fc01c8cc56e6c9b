/* Sentences hold what people and files gave us, at most as much as an mmq_why does. */
#include "lib/faults.h"

#include <stdarg.h>
#include <stdio.h>

void mmq_one_line(char *text)
{
    for (char *at = text; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            *at = '?';
        }
    }
}

__attribute__((format(printf, 3, 0))) static void tell(mmq_faults *faults, bool grave,
                                                       const char *format, va_list list)
{
    char text[512];
    vsnprintf(text, sizeof text, format, list);
    mmq_one_line(text);
    faults->count += grave;
    if (faults->tell) {
        faults->tell(faults->context, grave, text);
    }
}

void mmq_faults_add(mmq_faults *faults, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    tell(faults, true, format, list);
    va_end(list);
}

void mmq_faults_warn(mmq_faults *faults, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    tell(faults, false, format, list);
    va_end(list);
}

bool mmq_faults_none(mmq_faults *faults, mmq_err err, const mmq_why *why)
{
    if (err != MMQ_OK) {
        mmq_faults_add(faults, "%s", why->text);
    }
    return err == MMQ_OK;
}
