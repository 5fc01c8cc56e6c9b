/* The page's files, which are part of the program: cmake/page.cmake makes the table of
 * clients/page. */
#ifndef MMQ_PAGE_FILES_H
#define MMQ_PAGE_FILES_H

#include <stddef.h>

typedef struct mmq_page_bytes {
    const unsigned char *data;
    size_t size;
} mmq_page_bytes;

typedef struct mmq_page_file {
    const char *name;             /* without a folder */
    const char *type;             /* of its content */
    const char *tag;              /* of its bytes, for an ETag */
    mmq_page_bytes plain, packed; /* packed: by gzip */
} mmq_page_file;

extern const mmq_page_file mmq_page_files[];
extern const size_t mmq_page_file_count;

#endif
