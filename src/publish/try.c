/*
 * publish/try.c: the files of a table as if none of their rows were bad.
 *
 * To be able to take back a single row costs: rows are put under a guard, by one process, and each
 * with its index entries at once. Nearly always there is nothing to take back. So files are first
 * loaded as without on_error => 'reject', in a subtransaction; if a row may be at fault, that is
 * undone, and all is done again with a guard.
 *
 * What is undone is cut off from a table that is the transaction's own. In one that others read it
 * stays dead until it is vacuumed; so there it has to pay, and rows are guarded at once after a
 * package that had some refused.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/heap.h"
#include "catalog/pg_class.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"

#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "publish/publish.h"
#include "sink/guard.h"
#include "sink/index.h"
#include "sink/sink.h"
#include "worker/worker.h"

/* May it have been a row? Who is wrong here has loaded twice for nothing. */
static bool
try_is_of_row(const ErrorData *edata, LdrTry how)
{
	/* the reader said of a row, too, what else is said of all: that something is not supported */
	if (how == LDR_TRY_TRUSTING)
		return ldr_guard_is_of_row(edata, true) ||
			(edata->elevel == ERROR && edata->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED);
	/* of the file, or too many rejects: that stays */
	return edata->sqlerrcode != ERRCODE_BAD_COPY_FILE_FORMAT && !ldr_rejects_is_limit(edata) &&
		ldr_guard_is_of_row(edata, false);
}

bool
ldr_run_try(LdrRun *run, const char *table_name, LdrTry how, LdrTryFn fn, void *arg)
{
	LdrTableStats *stats = ldr_run_stats(run, ldr_schema_table(run->dir->schema, table_name));
	LdrTableStats before = *stats;
	LdrProgressMark mark = ldr_progress_mark();
	MemoryContext old = CurrentMemoryContext;
	MemoryContext cxt = AllocSetContextCreate(old, "loader try", ALLOCSET_DEFAULT_SIZES);
	LdrGuard	guard = {0};
	ErrorData  *volatile edata = NULL;

	MemoryContextSwitchTo(cxt);
	ldr_guard_begin(&guard);
	run->trusting = how == LDR_TRY_TRUSTING;
	PG_TRY();
	{
		fn(run, arg);
		LDR_FAULT("rows were as good as was hoped");
		ldr_guard_commit(&guard);
	}
	PG_CATCH();
	{
		edata = ldr_guard_catch(&guard, old);
		run->trusting = false;
		if (!try_is_of_row(edata, how))
			ReThrowError(edata);
	}
	PG_END_TRY();
	run->trusting = false;
	MemoryContextSwitchTo(old);
	if (edata == NULL)
		return true;
	*stats = before;
	run->job = NULL;
	run->unindexed = InvalidOid;
	ldr_progress_back(&mark);
	MemoryContextDelete(cxt);	/* and with it what reads the file */
	ldr_event(run->package->package_id, "load again", table_name, "%s: %s",
			  unpack_sql_state(edata->sqlerrcode), edata->message);
	FreeErrorData(edata);
	LDR_FAULT("rows were not, and are undone");
	return false;
}

/* A new relation that has files, without rows. An event trigger may have made a view of it. */
static bool
try_is_empty(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION && RelationGetNumberOfBlocks(rel) == 0;
}

/* Entries of indexes can wait, and no row of it that was refused before does. */
static bool
try_pays(const LdrRun *run, const char *table_name, Relation rel)
{
	const char *reason;

	return rel->rd_rel->relhasindex && ldr_index_memory > 0 &&
		ldr_sink_choose(rel, &reason) == LDR_SINK_HEAP &&
		!ldr_package_table_has_rejects(run->package, table_name);
}

bool
ldr_run_may_try(const LdrRun *run, const char *table_name, Oid relid)
{
	Relation	rel;
	bool		may;

	/* rows of dlt's own table are never refused */
	if (!run->options->reject || !OidIsValid(relid) ||
		ldr_schema_table(run->dir->schema, table_name) == run->dir->schema->state_table)
		return false;
	rel = table_open(relid, NoLock);
	may = ldr_relation_is_new(rel) ? try_is_empty(rel) : try_pays(run, table_name, rel);
	table_close(rel, NoLock);
	return may;
}

void
ldr_run_untry(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);

	if (ldr_relation_is_new(rel))
	{
		heap_truncate_one_rel(rel);
		pgstat_count_truncate(rel); /* nothing dead is left for autovacuum */
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
}
