/* The types that our tables have: numbers of PostgreSQL's own catalogue, the same in every server.
 */
#ifndef MMQ_POSTGRES_TYPES_H
#define MMQ_POSTGRES_TYPES_H

enum {
    MMQ_PG_BYTEA = 17,
    MMQ_PG_BIGINT = 20,
    MMQ_PG_TEXT = 25,
    MMQ_PG_DOUBLE = 701,
};

#endif
