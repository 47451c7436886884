/*
 * publish/stream_finish.c: a complete stream: its staged rows take the place of the table's, or are
 * merged into them, in one transaction with the record of it.
 *
 *	append_dedup   of each key the row of the greatest cursor, then the latest extraction, then
 *	               arrival; it replaces the table's row if it is newer by cursor and extraction
 *	overwrite      all of them, by a swap if the table can be swapped
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "locks.h"
#include "publish/stream_internal.h"
#include "publish/swap.h"
#include "schema/plan.h"
#include "sink/storage.h"
#include "worker/worker.h"

static int64
finish_execute(const char *sql, int expect)
{
	int64		n = ldr_sql_execute(sql, 0, NULL, NULL, expect);

	CommandCounterIncrement();
	return n;
}

static const char *
finish_column(const LdrSyncStream *s, int column)
{
	return quote_identifier(s->stream->columns[column].name);
}

/* "k1", "k2", each behind alias; between them separator. */
static char *
finish_keys(const LdrSyncStream *s, const char *alias, const char *separator, const char *after)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < s->stream->nkeys; i++)
		appendStringInfo(&sql, "%s%s%s%s", i > 0 ? separator : "", alias,
						 finish_column(s, s->stream->keys[i]), after);
	return sql.data;
}

/* Do row d of the table and staged row s have the same key? */
static char *
finish_match(const LdrSyncStream *s)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < s->stream->nkeys; i++)
	{
		const char *name = finish_column(s, s->stream->keys[i]);

		appendStringInfo(&sql, "%sd.%s OPERATOR(pg_catalog.=) s.%s", i > 0 ? " AND " : "", name,
						 name);
	}
	return sql.data;
}

/* Is staged row s newer than row d of the table? */
static char *
finish_is_newer(const LdrSyncStream *s)
{
	const char *later = "s." LDR_AIRBYTE_EXTRACTED_AT " OPERATOR(pg_catalog.>) d."
		LDR_AIRBYTE_EXTRACTED_AT;
	const char *c;

	if (s->stream->cursor < 0)
		return pstrdup(later);
	c = finish_column(s, s->stream->cursor);
	return psprintf("CASE WHEN d.%s IS NULL AND s.%s IS NULL THEN %s WHEN d.%s IS NULL THEN true "
					"WHEN s.%s IS NULL THEN false "
					"ELSE s.%s OPERATOR(pg_catalog.>) d.%s "
					"OR (s.%s OPERATOR(pg_catalog.=) d.%s AND %s) END",
					c, c, later, c, c, c, c, c, c, later);
}

/* Of rows with the same key, keep the one that wins. arrival decides last. */
static int64
finish_keep_winners(const LdrSyncStream *s, Oid relid, const char *arrival)
{
	char	   *table = ldr_stream_table(relid);
	char	   *cursor = s->stream->cursor < 0 ? ""
		: psprintf("%s DESC NULLS LAST, ", finish_column(s, s->stream->cursor));

	return finish_execute(psprintf("DELETE FROM %s s USING (SELECT ctid AS row_id, "
								   "pg_catalog.row_number() OVER (PARTITION BY %s "
								   "ORDER BY %s%s DESC, %s DESC) AS n "
								   "FROM %s WHERE %s) w "
								   "WHERE s.ctid OPERATOR(pg_catalog.=) w.row_id "
								   "AND w.n OPERATOR(pg_catalog.>) 1",
								   table, finish_keys(s, "", ", ", ""), cursor,
								   LDR_AIRBYTE_EXTRACTED_AT, arrival, table,
								   finish_keys(s, "", " AND ", " IS NOT NULL")),
						  SPI_OK_DELETE);
}

/* The column that says that the source has deleted a row, if that is to delete it here; or NULL. */
static const char *
finish_deleted(const LdrSyncStream *s, const LdrSyncOptions *options)
{
	return s->dedup && s->stream->deleted >= 0 && !options->soft_delete
		? finish_column(s, s->stream->deleted) : NULL;
}

static void
finish_insert(LdrSyncStream *s, const char *where)
{
	char	   *columns = ldr_stream_columns(s->stage, s->relid, "");

	s->stats.rows_inserted +=
		finish_execute(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s s%s",
								ldr_stream_table(s->relid), columns,
								ldr_stream_columns(s->stage, s->relid, "s."),
								ldr_stream_table(s->stage), where), SPI_OK_INSERT);
}

void
ldr_stream_append_staged(LdrSyncStream *s)
{
	(void) ldr_lock_tables(list_make1_oid(s->relid), RowExclusiveLock);
	finish_insert(s, "");
	ldr_stream_drop_stage(s);
}

/* "a" = s."a", ... of all columns that are staged. */
static char *
finish_assignments(const LdrSyncStream *s)
{
	Relation	stage = table_open(s->stage, NoLock);
	AttrNumber *mine;
	AttrNumber *theirs;
	int			n = ldr_stream_shared(stage, s->relid, &mine, &theirs);
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < n; i++)
	{
		const char *name = ldr_stream_column(stage, mine[i]);

		appendStringInfo(&sql, "%s%s = s.%s", i > 0 ? ", " : "", name, name);
	}
	table_close(stage, NoLock);
	return sql.data;
}

/* Winners into a table that has rows. */
static void
finish_upsert(LdrSyncStream *s, const LdrSyncOptions *options)
{
	char	   *table = ldr_stream_table(s->relid);
	char	   *stage = ldr_stream_table(s->stage);
	const char *deleted = finish_deleted(s, options);

	ldr_sql_execute(psprintf("ANALYZE %s (%s)", stage, finish_keys(s, "", ", ", "")), 0, NULL,
					NULL, SPI_OK_UTILITY);
	/* the table may have been filled by syncs that kept every version */
	if (strcmp(s->record->mode, "append_dedup") != 0)
		s->stats.rows_deleted += finish_keep_winners(s, s->relid, "ctid");
	if (deleted)
	{
		s->stats.rows_deleted +=
			finish_execute(psprintf("DELETE FROM %s d USING %s s WHERE %s AND (%s) "
									"AND s.%s IS NOT NULL", table, stage, finish_match(s),
									finish_is_newer(s), deleted), SPI_OK_DELETE);
		(void) finish_execute(psprintf("DELETE FROM %s WHERE %s IS NOT NULL", stage, deleted),
							  SPI_OK_DELETE);
	}
	s->stats.rows_updated +=
		finish_execute(psprintf("UPDATE %s d SET %s FROM %s s WHERE %s AND (%s)", table,
								finish_assignments(s), stage, finish_match(s),
								finish_is_newer(s)), SPI_OK_UPDATE);
	finish_insert(s, psprintf(" WHERE NOT EXISTS (SELECT FROM %s d WHERE %s)", table,
							  finish_match(s)));
}

static void
finish_merge(LdrSyncStream *s, const LdrSyncOptions *options)
{
	const char *deleted = finish_deleted(s, options);

	(void) ldr_lock_tables(list_make1_oid(s->relid), RowExclusiveLock);
	if (ldr_stream_has_rows(s->relid))
		finish_upsert(s, options);
	else
		finish_insert(s, deleted ? psprintf(" WHERE s.%s IS NULL", deleted) : "");
}

/* --- replace ------------------------------------------------------------------------------------ */

/* Copy what is staged into the heap; rows that have the type of the target in every column. */
static int64
finish_fill(Relation target, Relation heap, Relation stage)
{
	AttrNumber *to;
	AttrNumber *from;
	int			n = ldr_stream_shared(stage, RelationGetRelid(target), &from, &to);
	LdrSinkKind kind = ldr_storage_choose(LDR_SINK_SWAP, target, heap,
										  (uint64) RelationGetNumberOfBlocks(stage) * BLCKSZ,
										  false);
	LdrSink    *sink = ldr_sink_open(target, heap, kind, to, n);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(stage, snapshot, 0, NULL);
	TupleTableSlot *row = table_slot_create(stage, NULL);
	int64		rows = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		CHECK_FOR_INTERRUPTS();
		if (++rows % 1024 == 0)
			ldr_check_cancel();
		ldr_sink_put_row(sink, row, from);
	}
	ExecDropSingleTupleTableSlot(row);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ldr_sink_close(sink);
	return rows;
}

/* Are the columns that both have of the same types, so that Datums can be handed over? */
static bool
finish_fits(Relation target, Relation stage)
{
	AttrNumber *to;
	AttrNumber *from;
	int			n = ldr_stream_shared(stage, RelationGetRelid(target), &from, &to);

	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute a = TupleDescAttr(RelationGetDescr(stage), from[i] - 1);
		Form_pg_attribute b = TupleDescAttr(RelationGetDescr(target), to[i] - 1);

		if (a->atttypid != b->atttypid || a->atttypmod != b->atttypmod)
			return false;
	}
	return true;
}

/* A heap with what is staged, made ready to take the table's place. */
static LdrSwap *
finish_make_swap(LdrRun *run, LdrSyncStream *s)
{
	Relation	target = table_open(s->relid, NoLock);
	int64		fingerprint = ldr_swap_fingerprint(target);
	Oid			heap_oid = ldr_swap_make(target, run->package->package_id);
	Relation	heap = table_open(heap_oid, NoLock);

	CommandCounterIncrement();
	if (OidIsValid(s->stage))
	{
		Relation	stage = table_open(s->stage, NoLock);

		s->stats.rows_inserted += finish_fill(target, heap, stage);
		table_close(stage, NoLock);
	}
	table_close(heap, NoLock);
	ldr_swap_complete(target, heap_oid);
	table_close(target, NoLock);
	ldr_progress_show();
	(void) ldr_lock_tables(list_make1_oid(s->relid), ShareUpdateExclusiveLock);
	return ldr_swap_prepare(s->relid, heap_oid, fingerprint);
}

/* What cannot be swapped: delete all, insert all; by TRUNCATE where nothing can be deleted. */
static void
finish_refill(LdrRun *run, LdrSyncStream *s, const char *reason)
{
	Relation	target = table_open(s->relid, NoLock);
	bool		truncate = ldr_swap_forbids_delete(target);

	table_close(target, NoLock);
	ldr_event(run->package->package_id, "not swapped", s->label, "%s", reason);
	s->stats.reason = MemoryContextStrdup(run->cxt, reason);
	if (truncate && pg_class_aclcheck(s->relid, GetUserId(), ACL_TRUNCATE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(s->relid));
	(void) ldr_lock_tables(list_make1_oid(s->relid), truncate ? AccessExclusiveLock
						   : RowExclusiveLock);
	if (truncate)
		(void) finish_execute(psprintf("TRUNCATE TABLE ONLY %s", ldr_stream_table(s->relid)),
							  SPI_OK_UTILITY);
	else
		s->stats.rows_deleted += finish_execute(psprintf("DELETE FROM %s",
														 ldr_stream_table(s->relid)),
												SPI_OK_DELETE);
	if (OidIsValid(s->stage))
		finish_insert(s, "");
}

/* Why the table cannot be swapped; NULL: it can. */
static const char *
finish_no_swap_reason(const LdrSyncStream *s)
{
	const char *reason = NULL;
	Relation	target;

	ldr_lock_for_look(s->relid);
	target = table_open(s->relid, NoLock);
	(void) ldr_swap_choose(target, &reason);
	if (reason == NULL && OidIsValid(s->stage))
	{
		Relation	stage = table_open(s->stage, NoLock);

		if (!finish_fits(target, stage))
			reason = "a column of the table has a type of its own";
		table_close(stage, NoLock);
	}
	table_close(target, NoLock);
	return reason;
}

static void
finish_drop_deleted(const LdrSyncStream *s, const LdrSyncOptions *options)
{
	const char *deleted = finish_deleted(s, options);

	if (deleted && OidIsValid(s->stage))
		(void) finish_execute(psprintf("DELETE FROM %s WHERE %s IS NOT NULL",
									   ldr_stream_table(s->stage), deleted), SPI_OK_DELETE);
}

/* Returns the swap that is left to be made, NULL if there is none. */
static LdrSwap *
finish_replace(LdrRun *run, LdrSyncStream *s, const LdrSyncOptions *options)
{
	const char *reason = finish_no_swap_reason(s);

	finish_drop_deleted(s, options);
	if (reason == NULL)
		return finish_make_swap(run, s);
	finish_refill(run, s, reason);
	return NULL;
}

/*
 * Winners into a table that has no rows: a swap builds its indexes by sort. Nobody may write to the
 * table from the look on. False: it has rows, or cannot be swapped.
 */
static bool
finish_is_first(const LdrSyncStream *s)
{
	if (finish_no_swap_reason(s) != NULL || ldr_stream_has_rows(s->relid))
		return false;
	(void) ldr_lock_tables(list_make1_oid(s->relid), ShareRowExclusiveLock);
	return !ldr_stream_has_rows(s->relid);
}

/* --- all of it ---------------------------------------------------------------------------------- */

static LdrSwap *
finish_publish(LdrRun *run, LdrSyncStream *s, const LdrSyncOptions *options)
{
	LdrSwap    *swap = NULL;

	ldr_follow_set_memory();
	if (OidIsValid(s->stage))
		(void) ldr_lock_tables(list_make1_oid(s->stage), AccessExclusiveLock);
	LDR_FAULT("stream: to be finished");
	if (s->dedup && OidIsValid(s->stage))
		(void) finish_keep_winners(s, s->stage, LDR_STREAM_ARRIVAL);
	if (s->replaces || (OidIsValid(s->stage) && finish_is_first(s)))
		swap = finish_replace(run, s, options);
	else if (OidIsValid(s->stage))
		finish_merge(s, options);
	LDR_FAULT("stream: rows published");
	ldr_stream_drop_stage(s);
	return swap;
}

void
ldr_stream_record_stats(LdrRun *run, LdrSyncStream *s)
{
	ldr_package_table_insert(run->package->package_id, &s->stats);
	s->inserted += s->stats.rows_inserted;
	s->stats.rows_read = s->stats.rows_inserted = s->stats.rows_updated = 0;
	s->stats.rows_deleted = s->stats.bytes = 0;
}

static void
finish_record(LdrRun *run, LdrSyncStream *s, const LdrPackageStream *counts,
			  TimestampTz started_at)
{
	LdrStreamRecord *r = s->record;

	r->mode = ldr_stream_mode_name(s->stream->mode);
	if (s->replaces)
		r->generation_id = s->stream->generation_id;
	r->sync_id = s->stream->sync_id;
	r->complete = true;
	ldr_stream_put(r);
	ldr_stream_record_stats(run, s);
	ldr_package_stream_update(run->package->package_id, counts);
	ldr_job_completed(run->package->package_id, s->ordinal, s->relid, counts->records,
					  s->inserted, 0, started_at);
}

/* After the commit of a swap. The rows are in: what cannot be told about them is for the log. */
static void
finish_report(LdrRun *run, LdrSyncStream *s, int64 wait_us, int64 hold_us)
{
	LdrTableStats stats = s->stats;	/* whose counts are recorded */

	stats.lock_wait_us = wait_us;
	stats.lock_hold_us = hold_us;
	PG_TRY();
	{
		ldr_xact_begin();
		ldr_package_table_insert(run->package->package_id, &stats);
		ldr_swap_report(s->relid);
		ldr_xact_commit();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(run->cxt);
		EmitErrorReport();
		FlushErrorState();
		ldr_xact_abort();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(run->cxt);
}

/*
 * A source without anything new, after a sync that completed this stream and failed all the same,
 * has gone on from its state: the table has its rows already. Without ids there is nothing else to
 * tell that from a source that has become empty.
 */
static bool
finish_keeps(LdrRun *run, const LdrSyncStream *s, const LdrPackageStream *counts)
{
	if (!s->was_cut_off || counts->records > 0 || OidIsValid(s->stage))
		return false;
	ldr_event(run->package->package_id, "rows kept", s->label, "%s",
			  "Nothing has come, and the sync that brought them did not come to its end.");
	return true;
}

void
ldr_stream_finish(LdrRun *run, const LdrSyncOptions *options, LdrSyncStream *s,
				  const LdrPackageStream *counts, TimestampTz started_at)
{
	LdrSwap    *swap = NULL;
	int64		wait_us = 0;
	int64		hold_us;
	TimestampTz locked_at;

	ldr_xact_begin();
	(void) ldr_progress_phase(LDR_PHASE_PUBLISH);
	if (finish_keeps(run, s, counts))
		s->replaces = false;
	if (ldr_stream_is_staged(s))
		swap = finish_publish(run, s, options);
	ldr_sql_execute("SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, SPI_OK_UTILITY);
	finish_record(run, s, counts, started_at);
	LDR_FAULT("stream: recorded");
	if (swap)
	{
		XLogFlush(XactLastRecEnd);	/* so that the commit has little to write */
		wait_us = ldr_lock_for_publish(s->stream->dataset, ldr_swap_relations(swap));
	}
	LDR_FAULT("stream: has its locks");
	locked_at = GetCurrentTimestamp();
	if (swap)
		ldr_swap_exchange(swap);
	ldr_package_lock_keep();
	LDR_FAULT("stream: before commit");
	ldr_package_hold(run->package->package_id);
	hold_us = ldr_publish_commit(locked_at);
	LDR_FAULT("stream: committed");
	s->done = true;
	s->replaces = false;
	if (swap)
		finish_report(run, s, wait_us, hold_us);
	(void) ldr_progress_phase(LDR_PHASE_LOAD);
}
