/*
 * publish/stream_internal.h: what the files publish/stream_*.c share. All of it works in the current
 * transaction, as the role that syncs.
 */
#ifndef LDR_STREAM_INTERNAL_H
#define LDR_STREAM_INTERNAL_H

#include "publish/stream.h"

/* stream_tables.c */

/* Find or make the table; fills relid. Raises 42809 if it is none of a sync. */
extern void ldr_stream_make_table(LdrRun *run, LdrSyncStream *s);

/* The columns of the catalog for a table, or its staging table, under a strong lock if need be. */
extern void ldr_stream_alter_table(LdrRun *run, Oid relid, const LdrSyncStream *s);

/* Strong locks on all tables that have to be altered, or on none. */
extern void ldr_stream_lock_altered(LdrSyncStream *const *streams, int n);

/* An index that finds rows by the key, for a stream that is deduplicated. */
extern void ldr_stream_make_key_index(const LdrSyncStream *s);

/* Make a schema that is not there. Raises 42501. */
extern void ldr_stream_make_schema(LdrRun *run, const char *schema);

/*
 * CREATE TABLE of our columns, the stream's (of the types that they have in the table like, if that
 * is one), and what else is given.
 */
extern char *ldr_stream_create_sql(const char *table, const LdrStream *stream, Oid like,
								   const char *more);

extern bool ldr_stream_has_rows(Oid relid);

/*
 * The columns of a table that another one has, too, but for arrival: how many, and their numbers in
 * both. Caller holds a lock on the table.
 */
extern int	ldr_stream_shared(Relation rel, Oid also_in, AttrNumber **mine, AttrNumber **theirs);

/* The name of a column, quoted; those of all shared ones, each behind the alias. */
extern const char *ldr_stream_column(Relation rel, AttrNumber attnum);
extern char *ldr_stream_columns(Oid relid, Oid also_in, const char *alias);

/* Raise 42P01: a table of the sync has gone. */
extern void ldr_stream_dropped(void) __attribute__((noreturn));

/* stream_stage.c */

/* Is the staging table the role's own, in a schema whose owner it trusts? Raises 42501. */
extern void ldr_stream_check_stage(Oid relid, const LdrSyncStream *s);

#endif							/* LDR_STREAM_INTERNAL_H */
