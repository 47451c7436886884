/*
 * publish/try.c: the files of a table as if none of their rows were bad.
 *
 * To be able to take back a single row costs: rows are put under a guard, by one process, and into
 * tables that have their indexes from the start. Nearly always there is nothing to take back. So
 * where a table is the transaction's own, its files are first loaded as without on_error =>
 * 'reject', in a subtransaction of their own; if a row may be at fault, that is undone, and all is
 * done again with a guard. A table that others read is guarded at once: what is undone stays dead
 * in it until it is vacuumed.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/heap.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"

#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "publish/publish.h"
#include "sink/guard.h"
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
	volatile bool done = true;

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
		ErrorData  *edata = ldr_guard_catch(&guard, old);

		run->trusting = false;
		if (!try_is_of_row(edata, how))
			ReThrowError(edata);
		FreeErrorData(edata);
		done = false;
	}
	PG_END_TRY();
	run->trusting = false;
	MemoryContextSwitchTo(old);
	if (!done)
	{
		*stats = before;
		run->job = NULL;
		run->unindexed = InvalidOid;
		ldr_progress_back(&mark);
		MemoryContextDelete(cxt);	/* and with it what reads the file */
		LDR_FAULT("rows were not, and are undone");
	}
	return done;
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
	may = ldr_relation_is_new(rel) && RelationGetNumberOfBlocks(rel) == 0;
	table_close(rel, NoLock);
	return may;
}

void
ldr_run_untry(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);

	heap_truncate_one_rel(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}
