/*
 * publish/stream.h: the tables of an Airbyte sync, and what becomes of its rows.
 *
 *	append                  straight into the table, visible with each checkpoint
 *	overwrite, append_dedup into a staging table that outlives the sync, and from there into the
 *	                        table when the stream is complete
 *
 * A state that was given back says that its records need not be sent again: so what is staged is
 * kept for the next sync of the table if this one does not end well.
 */
#ifndef LDR_PUBLISH_STREAM_H
#define LDR_PUBLISH_STREAM_H

#include "publish/publish.h"
#include "schema/airbyte.h"

/* What the caller chose for a sync; stored with the package as its options. */
typedef struct LdrSyncOptions
{
	char	   *schema;			/* of streams without a namespace */
	char	   *raw_data_schema;	/* of staging tables */
	bool		soft_delete;
	bool		fail_on_bad_value;
	char	   *source_name;	/* "": not said */
	char	   *write_strategy; /* NULL: as the catalog says */
	char	  **streams;		/* the only ones that take part, UTF-8; NULL: all */
	int			nstreams;
	bool		force_full_refresh;
	bool		store_state;
} LdrSyncOptions;

/* stream_options.c. A copy in the server's encoding; NULL of NULL. */
extern char *ldr_sync_text(const char *utf8);

/* To the text of a JSON object, and back. */
extern char *ldr_sync_options_to_json(const LdrSyncOptions *options);
extern LdrSyncOptions *ldr_sync_options_from_json(const char *json);

/*
 * The catalog as the options have it, with the names of tables and columns; released with the
 * current context. Raises what is wrong with it, and names of schemas that are reserved.
 */
extern LdrAirbyteCatalog *ldr_sync_catalog(const char *json, const LdrSyncOptions *options);

/* A stream on its way into its table. */
typedef struct LdrSyncStream
{
	const LdrStream *stream;
	int			ordinal;		/* of its job, from 1 */
	char	   *name;			/* of the stream, for messages */
	char	   *label;			/* of its table in loader.jobs and loader.tables */
	Oid			relid;			/* the table */
	bool		continues;		/* this very package has committed a part of it before */
	bool		done;			/* this very package has brought it into the table: the rest goes
								 * beside that */
	bool		dedup;
	bool		replaces;		/* when it is complete, what was there before goes; not if done */
	/* the sync that last completed it did not complete all streams, and no ids tell more */
	bool		was_cut_off;
	LdrStreamRecord *record;
	Oid			stage;			/* its staging table; InvalidOid: none yet */
	int64		arrivals;		/* rows numbered in the staging table so far */
	LdrTableStats stats;		/* what this transaction does to the table */
	int64		inserted;		/* by those before it */
} LdrSyncStream;

static inline bool
ldr_stream_is_staged(const LdrSyncStream *s)
{
	return s->dedup || s->replaces;
}

/*
 * stream_decide.c. Make the tables of the streams and bring them to the columns of the catalog, and
 * decide for each stream how it is written and what becomes of rows that an earlier sync has left
 * staged. In the transaction that the caller has begun.
 */
extern void ldr_streams_prepare(LdrRun *run, const LdrSyncOptions *options,
								LdrSyncStream *const *streams, int n);

/* stream_stage.c. Make the staging table of a stream, unless it has one; in this transaction. */
extern void ldr_stream_stage(LdrRun *run, const LdrSyncOptions *options, LdrSyncStream *s);

/* The relation that the stream's rows go into, open and locked for it. */
extern Relation ldr_stream_open(const LdrSyncStream *s);

/* Drop the staging table, and note that there is none. */
extern void ldr_stream_drop_stage(LdrSyncStream *s);

/* stream_tables.c. The name of a table, qualified and quoted. Raises 42P01 if it was dropped. */
extern char *ldr_stream_table(Oid relid);

/*
 * stream_finish.c. The stream is complete: bring what is staged into the table, and say so in the
 * catalog. One transaction, which this begins and commits.
 */
extern void ldr_stream_finish(LdrRun *run, const LdrSyncOptions *options, LdrSyncStream *s,
							  const LdrPackageStream *counts, TimestampTz started_at);

/* Rows that an earlier sync has left staged go into the table, since this one only appends. */
extern void ldr_stream_append_staged(LdrSyncStream *s);

/* Part of the current transaction: add what it has done to the table to loader.tables. */
extern void ldr_stream_record_stats(LdrRun *run, LdrSyncStream *s);

#endif							/* LDR_PUBLISH_STREAM_H */
