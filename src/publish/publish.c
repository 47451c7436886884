/*
 * publish/publish.c: the transactions in which a package becomes what readers see.
 *
 * Atomic packages: ldr_publish is one transaction. Rows, new tables, merges, swaps, dlt's own
 * tables, the catalog's states and the NOTIFY commit together; a crash before leaves the package
 * new, and of what was staged before only what a sweep drops. Order of locks:
 *
 *	dataset to create (only the first time)
 *	RowExclusiveLock on what gets or loses rows, in OID order
 *	AccessShareLock on staging tables
 *	ShareUpdateExclusiveLock on what is swapped: from here no DDL, while readers and writers go on
 *	dataset to record and AccessExclusiveLock on what is swapped or dropped: all of these or none,
 *	last
 *
 * Under the last ones only a handful of catalog updates is left, and a commit whose WAL is
 * flushed but for these.
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "locks.h"
#include "publish/publish.h"
#include "publish/swap.h"
#include "sink/storage.h"
#include "worker/worker.h"

/* Only who may change the rows may have the lock for it: ask before waiting. */
static void
publish_check_write(Oid relid)
{
	Oid			user = GetUserId();

	if (pg_class_aclcheck(relid, user, ACL_INSERT) != ACLCHECK_OK &&
		pg_class_aclcheck(relid, user, ACL_DELETE) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, user, ACL_INSERT, ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

/* All locks of rows at once, in OID order: two packages cannot wait for each other. */
static void
publish_lock(List *relids)
{
	ListCell   *lc;

	foreach(lc, relids)
		publish_check_write(lfirst_oid(lc));
	list_sort(relids, list_oid_cmp);
	list_deduplicate_oid(relids);
	if (relids != NIL)
		(void) ldr_lock_tables(relids, RowExclusiveLock);
}

/* What the plan writes rows to: all but what is swapped as a whole. */
static List *
publish_written(const LdrPlan *plan)
{
	List	   *relids = NIL;

	for (int i = 0; i < plan->ntables; i++)
	{
		const LdrPlanTable *t = &plan->tables[i];

		if (OidIsValid(t->relid) && t->way != LDR_WAY_SWAP && (!t->is_system || t->has_jobs))
			relids = lappend_oid(relids, t->relid);
	}
	return relids;
}

void
ldr_run_job_begin(LdrRun *run, LdrJob *job)
{
	run->job = job;
	run->job_started_at = GetCurrentTimestamp();
	ldr_progress_job(job->ordinal);
}

/* dlt makes no table of which it knows no column. */
static void
__attribute__((noreturn))
publish_undefined(const LdrRun *run, const LdrJob *job)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation \"%s.%s\" does not exist", run->package->dataset,
					job->table_name)));
}

uint64
ldr_run_bytes(const LdrRun *run, const char *table_name)
{
	uint64		bytes = 0;
	ListCell   *lc;

	foreach(lc, run->jobs)
	{
		const LdrJob *job = lfirst(lc);

		if (table_name == NULL || strcmp(job->table_name, table_name) == 0)
			bytes += job->stamp.size;
	}
	return bytes;
}

/*
 * How many of the package's processes may load one file? While others are at work, as many as there
 * is of the work in it: a table that is swapped is one piece of work, else each job is one.
 */
static int
publish_share(const LdrRun *run, const LdrJob *job, uint64 table_bytes, bool swapped)
{
	if (run->alone || run->bytes == 0)
		return run->workers;
	return (int) rint((double) run->workers * (swapped ? table_bytes : job->stamp.size) /
					  run->bytes);
}

/*
 * relid is what defines the rows: the table, its staging table, or the target of the swap heap
 * into, or (trial) of a table in which they are tried out. Caller holds RowExclusiveLock on where
 * they go.
 */
void
ldr_run_job(LdrRun *run, LdrJob *job, Oid relid, Oid into, bool trial)
{
	const LdrSchemaTable *table = ldr_schema_table(run->dir->schema, job->table_name);
	LdrTableStats *stats = ldr_run_stats(run, table);
	LdrLoadResult result = {0};
	LdrRejects *rejects = NULL;
	LdrFormat	format;
	Relation	rel;
	Relation	heap = NULL;

	ldr_run_job_begin(run, job);
	if (!ldr_format_from_name(job->format, &format))
		elog(ERROR, "job \"%s\" has unknown format \"%s\"", job->job_id, job->format);
	if (!OidIsValid(relid))
		publish_undefined(run, job);
	/* a package without its pipeline's state would be taken for older than it is: nothing of dlt's own */
	if (run->options->reject && table != run->dir->schema->state_table)
	{
		rejects = ldr_rejects_of_job(run->package->package_id, job, run->options);
		rejects->trial = trial;
		if (run->trusting)
			rejects = NULL;
	}
	if (stats->files == 0)
		stats->files = ldr_run_bytes(run, job->table_name);
	rel = table_open(relid, NoLock);
	if (OidIsValid(into))
		heap = table_open(into, NoLock);
	ldr_load_file(run->dir, job->file_name, &job->stamp, format, table, rel, heap,
				  stats->files, run->builds_indexes,
				  publish_share(run, job, stats->files, OidIsValid(into)), run->options, rejects,
				  &result);
	if (result.unindexed)
	{
		run->unindexed = relid;
		run->unindexed_by = job;
	}
	if (heap)
		table_close(heap, NoLock);
	table_close(rel, NoLock);
	stats->rows_read += result.rows_read;
	/* rows of a staging table are not in the table yet; who puts them there counts them */
	if (stats->stage == NULL || strcmp(stats->stage, LDR_STAGE_STAGING) != 0)
		stats->rows_inserted += result.rows_inserted;
	stats->rows_rejected += result.rows_rejected;
	stats->bytes += result.bytes;
	stats->sink = result.sink;
	if (result.reason && stats->reason == NULL)
		stats->reason = MemoryContextStrdup(run->cxt, result.reason);
	LDR_FAULT("rows of a job written");
	ldr_job_completed(run->package->package_id, job->ordinal, OidIsValid(into) ? into : relid,
					  result.rows_read, result.rows_inserted, result.rows_rejected,
					  run->job_started_at);
	if (result.workers > 0)
		ldr_event(run->package->package_id, "parallel", job->job_id, result.workers == 1
				  ? "%d parallel worker" : "%d parallel workers", result.workers);
	if (result.rows_rejected > 0)
	{
		ldr_rejects_end(rejects, result.columns);
		ldr_event(run->package->package_id, "rejected", job->job_id,
				  UINT64_FORMAT " of " UINT64_FORMAT " rows.", result.rows_rejected,
				  result.rows_read);
	}
	ldr_progress_job_done(result.rows_read, result.bytes);
	LDR_FAULT("job completed");
	run->job = NULL;
}

/* Indexes of the table whose rows have been put there without entries, if there is one. */
static void
publish_index(LdrRun *run)
{
	if (!OidIsValid(run->unindexed))
		return;
	run->job = run->unindexed_by;	/* or one before: a key may be twice in two files */
	ldr_storage_index(run->unindexed);
	ldr_progress_show();
	run->job = NULL;
	run->unindexed = InvalidOid;
}

/* The table that a job's rows go into straight, locked for them; InvalidOid: there is none. */
static Oid
publish_hold(const LdrRun *run, const LdrJob *job)
{
	Oid			nsp = LookupExplicitNamespace(run->package->dataset, false);
	Oid			relid = get_relname_relid(job->table_name, nsp);

	if (OidIsValid(relid))
		publish_lock(list_make1_oid(relid));
	return relid;
}

/* Jobs of a table that are to be loaded, and where to. */
typedef struct PublishTable
{
	const char *name;
	Oid			relid;			/* the table itself; if stage, another one is found */
	const char *stage;			/* LDR_STAGE_*, NULL: the table itself */
	List	   *jobs;			/* of LdrJob */
} PublishTable;

/* LdrTryFn */
static void
publish_fill(LdrRun *run, void *arg)
{
	const PublishTable *table = arg;
	ListCell   *lc;

	foreach(lc, table->jobs)
		if (table->stage)
			ldr_stage_job(run, lfirst(lc), table->stage);
		else
			ldr_run_job(run, lfirst(lc), table->relid, InvalidOid, false);
	/* now: code of the next table, of a trigger say, may look into this one by an index */
	publish_index(run);
}

static void
publish_table(LdrRun *run, PublishTable *table)
{
	Oid			relid = table->relid;

	if (table->stage && strcmp(table->stage, LDR_STAGE_SWAP) == 0)
	{
		/* all of them */
		ldr_stage_job(run, linitial(table->jobs), table->stage);
		return;
	}
	if (table->stage && run->options->reject)
		relid = ldr_stage_hold(run, table->name);
	if (ldr_run_may_try(run, table->name, relid))
	{
		if (ldr_run_try(run, table->name, LDR_TRY_TRUSTING, publish_fill, table))
			return;
		ldr_run_untry(relid);
	}
	publish_fill(run, table);
}

/* The next table of run->jobs, whose jobs stand together, from *i on. */
static PublishTable
publish_next_table(const LdrRun *run, const LdrPlan *plan, int *i)
{
	const char *name = ((LdrJob *) list_nth(run->jobs, *i))->table_name;
	const LdrPlanTable *t = ldr_plan_table(plan, name);
	PublishTable table = {.name = name, .relid = t->relid, .stage = ldr_way_stage(t->way)};

	for (; *i < list_length(run->jobs); (*i)++)
	{
		LdrJob	   *job = list_nth(run->jobs, *i);

		if (strcmp(job->table_name, name) != 0)
			break;
		/* completed: staged, or by itself, before the package was registered anew as atomic */
		if (strcmp(job->state, "completed") != 0)
			table.jobs = lappend(table.jobs, job);
	}
	return table;
}

/* A job by itself, with what it holds until the caller's commit. */
static void
publish_one_job(LdrRun *run, LdrJob *job, const char *stage)
{
	PublishTable table = {
		.name = job->table_name, .stage = stage,
		.relid = stage ? InvalidOid : publish_hold(run, job), .jobs = list_make1(job)
	};

	publish_table(run, &table);
}

/* Every job that is not completed, and an empty heap for each swapped table without jobs. */
static void
publish_jobs(LdrRun *run, const LdrPlan *plan)
{
	ldr_progress_phase(LDR_PHASE_LOAD);
	run->builds_indexes = run->alone = true;
	for (int i = 0; i < list_length(run->jobs);)
	{
		PublishTable table = publish_next_table(run, plan, &i);

		if (table.jobs != NIL)
			publish_table(run, &table);
	}
	run->builds_indexes = run->alone = false;
	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].way == LDR_WAY_SWAP && !plan->tables[i].has_jobs)
			ldr_stage_empty_heap(run, &plan->tables[i]);
}

/* truncate_staging_dataset: what was merged need not lie there any longer. */
static void
publish_truncate_staging(LdrRun *run, const LdrPlan *plan)
{
	StringInfoData sql;
	List	   *relids = NIL;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, ldr_stage_list(run->package->package_id))
	{
		LdrStage   *stage = lfirst(lc);

		if (strcmp(stage->kind, LDR_STAGE_STAGING) != 0)
			continue;
		relids = lappend_oid(relids, stage->relation);
		appendStringInfo(&sql, "%s%s", sql.len > 0 ? ", " : "TRUNCATE TABLE ONLY ",
						 quote_qualified_identifier(ldr_run_staging(run), stage->table_name));
	}
	if (relids == NIL)
		return;
	(void) ldr_lock_tables(relids, AccessExclusiveLock);
	ldr_sql_execute(sql.data, 0, NULL, NULL, SPI_OK_UTILITY);
}

/* When the commit let the locks go. It goes on after that: it removes the old files. */
static TimestampTz publish_unlocked_at;

static void
publish_note_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		publish_unlocked_at = GetCurrentTimestamp();
}

int64
ldr_publish_commit(TimestampTz locked_at)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(publish_note_commit, NULL);
	registered = true;
	ldr_xact_commit();
	return publish_unlocked_at - locked_at;
}

/* After the commit: how long the strong locks were held, and what pgstat needs to know. */
static void
publish_report(LdrRun *run, int64 wait_us, int64 hold_us)
{
	ListCell   *lc;

	ldr_xact_begin();
	foreach(lc, run->stats)
	{
		LdrTableStats stats = *(LdrTableStats *) lfirst(lc);

		if (!OidIsValid(stats.swapped))
			continue;
		/* the rest was added by publish */
		stats.rows_read = stats.rows_inserted = stats.rows_updated = stats.rows_deleted = 0;
		stats.rows_rejected = 0;
		stats.bytes = 0;
		stats.lock_wait_us = wait_us;
		stats.lock_hold_us = hold_us;
		ldr_package_table_insert(run->package->package_id, &stats);
		ldr_swap_report(stats.swapped);
	}
	ldr_xact_commit();
}

/* What the package's refresh has emptied: rows that an earlier one has rejected are none of these. */
static void
publish_note_emptied(const LdrRun *run, const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].truncated)
			ldr_event(run->package->package_id, "empty table", plan->tables[i].table->name, "%s",
					  "By the package's refresh.");
}

/* Everything but the commit that must not wait for a lock: the record, the states, the NOTIFY. */
static void
publish_record(LdrRun *run)
{
	ldr_package_lock_keep();
	ldr_system_record(run);
	LDR_FAULT("load recorded");
	ldr_package_loaded(run->package->package_id, run->started_at);
	ldr_event(run->package->package_id, "loaded", NULL, "%s", "");
	ldr_notify(run->package->package_id, "loaded");
}

/* The end of the last transaction of a package: merges, swaps, records, commit. */
static void
publish_finish(LdrRun *run, LdrPlan *plan)
{
	List	   *swaps;
	List	   *strong = ldr_create_dropped(plan);
	ListCell   *lc;
	int64		wait_us,
				hold_us;
	TimestampTz locked_at;

	ldr_rejects_check(run->package->package_id, run->options, true);
	LDR_FAULT("jobs done");
	ldr_stage_lock(run);
	ldr_follow(run, plan);
	LDR_FAULT("chains followed");
	if (run->options->truncate_staging_dataset)
		publish_truncate_staging(run, plan);
	/* deferred triggers fire here, where the error still becomes the package's */
	ldr_sql_execute("SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, SPI_OK_UTILITY);
	swaps = ldr_follow_prepare_swaps(run, plan);
	LDR_FAULT("swaps prepared");
	ldr_follow_truncates(run, plan);
	publish_note_emptied(run, plan);
	foreach(lc, run->stats)
		ldr_package_table_insert(run->package->package_id, lfirst(lc));
	ldr_stage_release_staging(run->package->package_id);
	LDR_FAULT("staging let go");
	foreach(lc, swaps)
		strong = list_concat(strong, ldr_swap_relations(lfirst(lc)));
	if (strong != NIL)
		XLogFlush(XactLastRecEnd);	/* so that the commit has little to write */

	LDR_FAULT("WAL flushed");
	wait_us = ldr_lock_for_publish(run->package->dataset, strong);
	LDR_FAULT("publish has its locks");
	locked_at = GetCurrentTimestamp();
	foreach(lc, swaps)
		ldr_swap_exchange(lfirst(lc));
	LDR_FAULT("swaps made");
	ldr_create_finish_drops(run, plan);
	LDR_FAULT("drops made");
	publish_record(run);
	LDR_FAULT("before publish commits");
	hold_us = ldr_publish_commit(locked_at);
	LDR_FAULT("publish committed");
	if (swaps != NIL)
		publish_report(run, wait_us, hold_us);
}

/*
 * Another loader, or an earlier life of this package, may have recorded the load already. Then
 * there is nothing to do but to say so. Returns whether it was so; ends the transaction then.
 */
static bool
publish_was_loaded(LdrRun *run)
{
	if (!ldr_system_is_loaded(run->dir->schema, run->package->dataset, run->package->load_id))
		return false;
	ldr_stage_release(run->package->package_id);
	ldr_package_loaded(run->package->package_id, run->started_at);
	ldr_event(run->package->package_id, "already loaded", NULL,
			  "The dataset's record of loads has this load_id.");
	ldr_notify(run->package->package_id, "loaded");
	ldr_xact_commit();
	return true;
}

void
ldr_publish(LdrRun *run)
{
	LdrPlan    *plan;

	ldr_xact_begin();
	if (publish_was_loaded(run))
		return;
	plan = ldr_create_tables(run);
	if (run->staged)
		ldr_stage_check(run, plan);
	else
		ldr_stage_prepare(run, plan);
	LDR_FAULT("tables of publish made");
	publish_lock(publish_written(plan));
	LDR_FAULT("publish writes rows");
	publish_jobs(run, plan);
	publish_finish(run, plan);
}

bool
ldr_publish_tables(LdrRun *run)
{
	LdrPlan    *plan;

	ldr_xact_begin();
	if (publish_was_loaded(run))
		return false;
	plan = ldr_create_tables(run);
	ldr_stage_prepare(run, plan);
	ldr_package_loading(run->package->package_id);
	LDR_FAULT("tables made, jobs to commit one by one");
	if (plan->ndrops > 0)
		ldr_package_dropped(run->package->package_id);
	ldr_xact_commit();
	run->package->dropped = true;
	return true;
}

/* Package row first: loader_cancel, which has locked it, counts the rows of its tables anew. */
static void
publish_count(const LdrRun *run)
{
	ListCell   *lc;

	ldr_package_hold(run->package->package_id);
	foreach(lc, run->stats)
		ldr_package_table_insert(run->package->package_id, lfirst(lc));
}

bool
ldr_publish_next_job(LdrRun *run, bool staged_only)
{
	LdrJob	   *job;

	run->stats = NIL;
	ldr_xact_begin();
	ldr_job_lock(run->package->package_id);
	job = ldr_job_claim(run->package->package_id, staged_only);
	if (job)
	{
		const LdrSchemaTable *table = ldr_schema_table(run->dir->schema, job->table_name);
		LdrTableStats *stats = ldr_run_stats(run, table);

		LDR_FAULT("job claimed");
		run->job = job;
		stats->stage = ldr_package_table_stage(run->package->package_id, job->table_name);
		publish_one_job(run, job, stats->stage);
		LDR_FAULT("before a job commits");
		publish_count(run);
		/*
		 * who holds the package sees what other jobs have committed, and waits for no other; if that
		 * is too much, it is this job that fails
		 */
		run->job = job;
		ldr_rejects_check(run->package->package_id, run->options, false);
		run->stats = NIL;
	}
	ldr_xact_commit();
	LDR_FAULT("job committed");
	return job != NULL;
}

/* A job whose rows come from a statement of the client's. */
static void
publish_statement(LdrRun *run, LdrJob *job, LdrTableStats *stats, const char *statement)
{
	Oid			relid = stats->stage ? ldr_stage_hold(run, job->table_name)
		: publish_hold(run, job);
	int64		rows;

	ldr_run_job_begin(run, job);
	if (!OidIsValid(relid))
		publish_undefined(run, job);
	rows = ldr_sql_execute(statement, 0, NULL, NULL, SPI_OK_INSERT);
	stats->rows_read += rows;
	if (stats->stage == NULL)
		stats->rows_inserted += rows;
	ldr_job_completed(run->package->package_id, job->ordinal, relid, rows, rows, 0,
					  run->job_started_at);
	run->job = NULL;
}

/* The rows of one job into the table, or into its staging table, in the current transaction. */
void
ldr_publish_job(LdrRun *run, LdrJob *job, bool staging, const char *statement)
{
	const LdrSchemaTable *table = ldr_schema_table(run->dir->schema, job->table_name);
	LdrTableStats *stats = ldr_run_stats(run, table);

	run->job = job;
	stats->stage = staging ? LDR_STAGE_STAGING : NULL;
	if (statement)
		publish_statement(run, job, stats, statement);
	else
		publish_one_job(run, job, stats->stage);
	LDR_FAULT("rows of a session written");
	/* deferred triggers fire here, where the error still becomes the job's */
	ldr_sql_execute("SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, SPI_OK_UTILITY);
	publish_count(run);
	/* cancelled and resumed meanwhile, the package has let its staging tables go */
	if (staging)
		(void) ldr_stage_hold(run, job->table_name);
}

/* Rows come from staging tables, whatever the way that a package would have gone. */
static void
publish_choose_chain(LdrRun *run, LdrPlan *plan)
{
	ldr_ways_choose(plan, run->options);
	for (int i = 0; i < plan->ntables; i++)
	{
		LdrPlanTable *t = &plan->tables[i];

		if (t->is_system)
			continue;
		if (t->way == LDR_WAY_SWAP)
		{
			t->way = t->has_jobs ? LDR_WAY_REFILL : LDR_WAY_EMPTY;
			t->reason = "loaded in job mode";
		}
		else if (t->way == LDR_WAY_APPEND)	/* it is not there, and that is an error */
			t->way = LDR_WAY_REFILL;
		if (t->way == LDR_WAY_MERGE)
			(void) ldr_stage_claim(run, t->table->name);
	}
}

void
ldr_publish_chain(LdrRun *run)
{
	LdrPlan    *plan = ldr_run_plan(run);

	publish_choose_chain(run, plan);
	ldr_stage_check(run, plan);
	publish_lock(publish_written(plan));
	ldr_stage_lock(run);
	ldr_follow(run, plan);
	ldr_sql_execute("SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, SPI_OK_UTILITY);
	ldr_follow_truncates(run, plan);
	publish_count(run);
}

/*
 * What was new when its jobs ran has got its rows from them: now it is no longer, and still full.
 */
static void
publish_keep_filled(const LdrRun *run, LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		LdrPlanTable *t = &plan->tables[i];

		if (!t->has_jobs || t->way == LDR_WAY_MERGE || ldr_way_stage(t->way) == NULL ||
			ldr_package_table_stage(run->package->package_id, t->table->name) != NULL)
			continue;
		t->way = LDR_WAY_APPEND;
		t->reason = NULL;
	}
}

/* The ways are those that were chosen before the jobs ran, or the package is tried again. */
void
ldr_publish_end(LdrRun *run)
{
	LdrPlan    *plan;

	ldr_xact_begin();
	if (publish_was_loaded(run))
		return;
	plan = ldr_run_plan(run);
	ldr_ways_choose(plan, run->options);
	publish_keep_filled(run, plan);
	ldr_stage_check(run, plan);
	publish_lock(publish_written(plan));
	LDR_FAULT("end of jobs that committed");
	/* tables without jobs, and those all of whose jobs have failed */
	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].way == LDR_WAY_SWAP)
			ldr_stage_empty_heap(run, &plan->tables[i]);
	publish_finish(run, plan);
}
