/*
 * publish/stage.c: rows that wait for publish, in tables of the staging dataset or in swap heaps.
 *
 * A package has such a relation for itself: a row of loader.stage says so, written by the
 * transaction that made or emptied the relation. Jobs whose rows are in it are completed in the
 * transaction that put them there, so after a crash those that committed are not run again, as
 * long as the relation is still the package's and still fits; otherwise they become new.
 *
 * A large package stages in transactions of its own, by several workers: a staging table gets a
 * transaction a job, a swap heap one for all jobs of its table. A small one does all of it inside
 * the publish transaction. What is left when a package ends without publish is given up, by the
 * coordinator, or by the next sweep if that died.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "locks.h"
#include "publish/publish.h"
#include "publish/swap.h"
#include "sink/guard.h"
#include "worker/worker.h"

bool
ldr_stage_pays(const LdrRun *run)
{
	uint64		bytes = 0;
	ListCell   *lc;

	foreach(lc, run->jobs)
	{
		const LdrJob *job = lfirst(lc);
		const LdrSchemaTable *table = ldr_schema_table(run->dir->schema, job->table_name);

		if (table->root->disposition == LDR_REPLACE || table->root->disposition == LDR_MERGE ||
			run->dir->state->ntruncated > 0)
			bytes += job->stamp.size;
	}
	return bytes > (uint64) ldr_small_package * 1024;
}

static LdrStage *
stage_find(List *stages, const char *kind, const char *table_name)
{
	ListCell   *lc;

	foreach(lc, stages)
	{
		LdrStage   *stage = lfirst(lc);

		if (strcmp(stage->kind, kind) == 0 && strcmp(stage->table_name, table_name) == 0)
			return stage;
	}
	return NULL;
}

LdrStage *
ldr_stage_heap(const LdrRun *run, const char *table_name)
{
	return stage_find(ldr_stage_list(run->package->package_id), LDR_STAGE_SWAP, table_name);
}

/* What dlt has in the staging dataset: all that is merged, and here what a swap is not for. */
static List *
stage_tables(const LdrRun *run, const LdrPlan *plan)
{
	List	   *tables = NIL;
	bool		needed = plan->ndrops > 0 &&
		OidIsValid(get_namespace_oid(ldr_run_staging(run), true));

	for (int i = 0; i < plan->ntables; i++)
	{
		const LdrPlanTable *t = &plan->tables[i];
		const char *stage = ldr_way_stage(t->way);

		if (stage == NULL || strcmp(stage, LDR_STAGE_STAGING) != 0)
			continue;
		needed = true;
		if (t->way != LDR_WAY_MERGE)
			tables = lappend(tables, (void *) t->table);
	}
	for (int i = 0; i < run->dir->schema->ntables && needed; i++)
	{
		LdrSchemaTable *table = &run->dir->schema->tables[i];
		const LdrPlanTable *t = ldr_plan_table(plan, table->name);

		if ((t && t->way == LDR_WAY_MERGE) ||
			(table->root->disposition == LDR_MERGE && table->seen_data))
			tables = lappend(tables, table);
	}
	return tables;
}

/*
 * Lock staging tables (List of LdrStage), make them the package's own, and empty them. Who finds one
 * that belongs to another package says so before it waits for locks. One of job mode can be seized,
 * but only under the lock: a job may be about to commit.
 */
static void
stage_take(LdrRun *run, List *stages)
{
	StringInfoData sql;
	List	   *relids = NIL;
	List	   *seized = NIL;
	ListCell   *lc;

	if (stages == NIL)
		return;
	initStringInfo(&sql);
	foreach(lc, stages)
	{
		LdrStage   *stage = lfirst(lc);

		stage->package_id = run->package->package_id;
		stage->kind = LDR_STAGE_STAGING;
		relids = lappend_oid(relids, stage->relation);
		appendStringInfo(&sql, "%s%s", sql.len > 0 ? ", " : "TRUNCATE TABLE ONLY ",
						 quote_qualified_identifier(ldr_run_staging(run), stage->table_name));
		if (ldr_stage_is_seizable(stage->relation))
			seized = lappend(seized, stage);
		else
			ldr_stage_insert(stage);
	}
	LDR_FAULT("staging tables claimed");
	(void) ldr_lock_tables(relids, AccessExclusiveLock);
	foreach(lc, seized)
	{
		LdrStage   *stage = lfirst(lc);

		ldr_stage_seize(stage->relation);
		ldr_stage_insert(stage);
	}
	LDR_FAULT("staging tables to be emptied");
	ldr_sql_execute(sql.data, 0, NULL, NULL, SPI_OK_UTILITY);
}

/* Empty the staging tables that were not this package's until now, and make them its own. */
static void
stage_prepare_staging(LdrRun *run, const LdrPlan *plan, const LdrPlan *staging, List *stages)
{
	List	   *taken = NIL;

	for (int i = 0; i < plan->ntables; i++)
	{
		const LdrPlanTable *t = &plan->tables[i];
		const char *kind = ldr_way_stage(t->way);
		const LdrStage *had = stage_find(stages, LDR_STAGE_STAGING, t->table->name);
		LdrStage   *stage;

		if (kind == NULL || strcmp(kind, LDR_STAGE_STAGING) != 0)
			continue;
		stage = palloc0(sizeof(LdrStage));
		stage->relation = ldr_plan_table(staging, t->table->name)->relid;
		stage->table_name = t->table->name;
		if (had && had->relation == stage->relation)
			continue;
		if (had)				/* somebody has dropped it */
			ldr_stage_delete(had->relation);
		taken = lappend(taken, stage);
	}
	stage_take(run, taken);
}

/* Is the heap still what the table needs? */
static bool
stage_heap_fits(const LdrStage *heap, const LdrPlanTable *t)
{
	Relation	target;
	bool		fits;

	if (heap->target != t->relid || get_rel_relkind(heap->relation) == '\0')
		return false;
	target = table_open(t->relid, AccessShareLock);
	fits = ldr_swap_fingerprint(target) == heap->fingerprint;
	table_close(target, AccessShareLock);
	return fits;
}

/* Without waiting: one that pg_dump has locked, say, stays on record for the next sweep. */
static void
stage_let_go(const LdrStage *stage)
{
	if (strcmp(stage->kind, LDR_STAGE_SWAP) != 0 || ldr_swap_try_drop(stage->relation))
		ldr_stage_delete(stage->relation);
}

/*
 * Are the rows of all jobs in the heap? Not so if it was left over when the package ended before:
 * see stage_let_go.
 */
static bool
stage_heap_is_full(const LdrRun *run, const char *table_name)
{
	ListCell   *lc;

	foreach(lc, run->jobs)
	{
		const LdrJob *job = lfirst(lc);

		if (strcmp(job->table_name, table_name) == 0 && strcmp(job->state, "completed") != 0 &&
			strcmp(job->state, "failed") != 0)
			return false;
	}
	return true;
}

/* Let go of what this package has staged and the plan does not want, or not so. */
static void
stage_drop_unfit(LdrRun *run, const LdrPlan *plan, List *stages)
{
	ListCell   *lc;

	foreach(lc, stages)
	{
		LdrStage   *stage = lfirst(lc);
		const LdrPlanTable *t = ldr_plan_table(plan, stage->table_name);
		const char *kind = t ? ldr_way_stage(t->way) : NULL;

		if (kind && strcmp(kind, stage->kind) == 0 &&
			(strcmp(kind, LDR_STAGE_SWAP) != 0 ||
			 (stage_heap_fits(stage, t) && stage_heap_is_full(run, stage->table_name))))
			continue;
		ldr_job_restage(run->package->package_id, stage->table_name, InvalidOid);
		if (strcmp(stage->kind, LDR_STAGE_SWAP) == 0)
		{
			(void) ldr_lock_tables(list_make1_oid(stage->relation), AccessExclusiveLock);
			ldr_swap_drop(stage->relation);
		}
		ldr_stage_delete(stage->relation);
	}
}

/* What is to become of each table, for loader.tables. */
static void
stage_describe(LdrRun *run, const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		const LdrPlanTable *t = &plan->tables[i];
		LdrTableStats *stats;

		if (t->is_system && !t->has_jobs)
			continue;
		stats = ldr_run_stats(run, t->table);
		stats->strategy = t->strategy;
		stats->stage = ldr_way_stage(t->way);
		stats->reason = t->reason ? MemoryContextStrdup(run->cxt, t->reason) : NULL;
	}
}

/* Say it there before the jobs run: workers read it. */
static void
stage_record(LdrRun *run, const LdrPlan *plan)
{
	ListCell   *lc;

	stage_describe(run, plan);
	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].reason)
			ldr_event(run->package->package_id, "not swapped", plan->tables[i].table->name,
					  "%s", plan->tables[i].reason);
	foreach(lc, run->stats)
		ldr_package_table_insert(run->package->package_id, lfirst(lc));
}

/* The jobs as they are now, for the rest of the attempt. */
static void
stage_reread_jobs(LdrRun *run, const LdrPlan *plan)
{
	List	   *stages = ldr_stage_list(run->package->package_id);
	MemoryContext old;

	for (int i = 0; i < plan->ntables; i++)
	{
		const LdrPlanTable *t = &plan->tables[i];
		const char *kind = ldr_way_stage(t->way);
		const LdrStage *stage = kind ? stage_find(stages, kind, t->table->name) : NULL;

		if (kind)
			ldr_job_restage(run->package->package_id, t->table->name,
							stage ? stage->relation : InvalidOid);
	}
	ldr_job_recheck(run->package->package_id, run->package->dataset);
	ldr_package_table_recount(run->package->package_id);
	old = MemoryContextSwitchTo(run->cxt);
	run->jobs = ldr_job_list(run->package->package_id, false);
	MemoryContextSwitchTo(old);
}

void
ldr_stage_prepare(LdrRun *run, const LdrPlan *plan)
{
	List	   *stages = ldr_stage_list(run->package->package_id);
	List	   *tables = stage_tables(run, plan);

	for (int i = 0; i < plan->ndrops; i++)
		ldr_job_lost(run->package->package_id, plan->drops[i].relid);
	stage_drop_unfit(run, plan, stages);
	LDR_FAULT("staged rows kept or dropped");
	if (tables != NIL ||
		(plan->ndrops > 0 && OidIsValid(get_namespace_oid(ldr_run_staging(run), true))))
		stage_prepare_staging(run, plan, ldr_create_staging(run, plan, tables), stages);
	stage_record(run, plan);
	LDR_FAULT("staging prepared");
	stage_reread_jobs(run, plan);
}

/*
 * The plan here is one that has created nothing: tables that publish will create get their rows
 * there, and staging tables are made for those that it will merge.
 */
bool
ldr_stage_begin(LdrRun *run)
{
	LdrPlan    *plan;
	bool		loaded;

	ldr_xact_begin();
	loaded = ldr_system_is_loaded(run->dir->schema, run->package->dataset,
								  run->package->load_id);
	if (!loaded)
	{
		plan = ldr_run_plan(run);
		ldr_ways_choose(plan, run->options);
		ldr_stage_prepare(run, plan);
		ldr_package_loading(run->package->package_id);
	}
	ldr_xact_commit();
	return !loaded;
}

static void
__attribute__((noreturn))
stage_dropped(const char *dataset, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("relation \"%s.%s\" was dropped by another session", dataset, name)));
}

static void
__attribute__((noreturn))
stage_lost(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("staging table \"%s\" is not the package's any more", name),
			 errdetail("It was dropped, or the package was cancelled, or another one has "
					   "taken it over.")));
}

/* The target of a staged job; it cannot go away: an error of a kind that is tried again. */
static Oid
stage_relation(const char *dataset, const char *name)
{
	Oid			nsp = LookupExplicitNamespace(dataset, false);	/* checks USAGE */
	Oid			relid = get_relname_relid(name, nsp);

	if (!OidIsValid(relid))
		stage_dropped(dataset, name);
	return relid;
}

/*
 * Statements name the staging tables, and one of that name may have been made by anybody since:
 * once they are locked, are they those that are the package's? In job mode somebody else may have
 * taken one over while we waited for its lock.
 */
static void
stage_lock(const LdrRun *run, List *stages, LOCKMODE mode)
{
	const char *dataset = ldr_run_staging(run);
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, stages)
		relids = lappend_oid(relids, ((LdrStage *) lfirst(lc))->relation);
	if (relids != NIL)
		(void) ldr_lock_tables(relids, mode);
	foreach(lc, stages)
	{
		const LdrStage *stage = lfirst(lc);

		if (stage_relation(dataset, stage->table_name) != stage->relation)
			stage_dropped(dataset, stage->table_name);
		if (!ldr_stage_is_of(stage->relation, run->package->package_id))
			stage_lost(stage->table_name);
	}
}

void
ldr_stage_lock(const LdrRun *run)
{
	List	   *stages = NIL;
	ListCell   *lc;

	foreach(lc, ldr_stage_list(run->package->package_id))
		if (strcmp(((LdrStage *) lfirst(lc))->kind, LDR_STAGE_STAGING) == 0)
			stages = lappend(stages, lfirst(lc));
	stage_lock(run, stages, AccessShareLock);
}

Oid
ldr_stage_claim(LdrRun *run, const char *table_name)
{
	const char *dataset = ldr_run_staging(run);
	Oid			nsp = get_namespace_oid(dataset, true);
	Oid			relid = OidIsValid(nsp) ? get_relname_relid(table_name, nsp) : InvalidOid;
	LdrStage   *had = stage_find(ldr_stage_list(run->package->package_id), LDR_STAGE_STAGING,
								 table_name);
	LdrStage	stage = {0};

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", dataset, table_name),
				 errhint("Call loader_update_stored_schema with staging => true first.")));
	if (had && had->relation == relid)
		return relid;
	if (!ldr_is_owner(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, table_name);
	if (had)
		ldr_stage_delete(had->relation);
	stage.relation = relid;
	stage.table_name = (char *) table_name;
	stage_take(run, list_make1(&stage));
	return relid;
}

/*
 * All jobs of a table into a new table. A package that is not atomic may go on without those that
 * have failed. The last one is left in hand: whose rows an index may refuse.
 */
static void
stage_run_jobs(LdrRun *run, const char *table_name, Oid target, Oid into, bool trial)
{
	LdrJob	   *last = NULL;
	ListCell   *lc;

	foreach(lc, ldr_job_list(run->package->package_id, false))
	{
		LdrJob	   *job = lfirst(lc);

		if (strcmp(job->table_name, table_name) == 0 &&
			(run->options->atomic || strcmp(job->state, "failed") != 0))
		{
			ldr_run_job(run, job, target, into, trial);
			last = job;
		}
	}
	run->job = last;
}

typedef struct StageHeap
{
	const char *table_name;
	Relation	target;
	bool		filled;			/* all rows were in it, whatever its indexes said then */
} StageHeap;

/* The swap heap of a table: made, filled, indexed, analyzed. */
static void
stage_make_heap(LdrRun *run, StageHeap *heap, bool trial)
{
	const char *table_name = heap->table_name;
	Relation	target = heap->target;
	Oid			target_id = RelationGetRelid(target);
	LdrStage	stage = {0};
	Oid			tried = InvalidOid;

	stage.package_id = run->package->package_id;
	stage.table_name = (char *) table_name;
	stage.kind = LDR_STAGE_SWAP;
	stage.target = target_id;
	stage.fingerprint = ldr_swap_fingerprint(target);
	if (trial)
	{
		tried = ldr_swap_make_trial(target, stage.package_id);
		stage_run_jobs(run, table_name, target_id, tried, true);
	}
	stage.relation = ldr_swap_make(target, stage.package_id);
	ldr_stage_insert(&stage);
	LDR_FAULT("swap heap claimed");
	if (trial)
	{
		ldr_swap_fill(target, stage.relation, tried);
		ldr_swap_drop(tried);
		ldr_job_restage_trial(stage.package_id, tried, stage.relation);
	}
	else
		stage_run_jobs(run, table_name, target_id, stage.relation, false);
	heap->filled = true;
	LDR_FAULT("swap heap filled");
	ldr_swap_complete(target, stage.relation);
}

/* LdrTryFn */
static void
stage_try_heap(LdrRun *run, void *arg)
{
	stage_make_heap(run, arg, false);
}

/*
 * All jobs of a table into a swap heap of its own. Its rows are frozen, so none of them could be
 * taken back, and what an index refuses shows when all of them are there. If one is refused that
 * the package may do without, all is done again in other ways: with a guard for each row; and, if
 * it was an index, first into a table with indexes, where single rows can be undone, and then from
 * there into the heap.
 */
static void
stage_fill_heap(LdrRun *run, const char *table_name)
{
	Relation	target = table_open(stage_relation(run->package->dataset, table_name),
									AccessShareLock);
	StageHeap	heap = {.table_name = table_name, .target = target};

	if (!run->options->reject)
		stage_make_heap(run, &heap, false);
	else if (!ldr_run_try(run, table_name, LDR_TRY_TRUSTING, stage_try_heap, &heap) &&
			 (heap.filled ||
			  !ldr_run_try(run, table_name, LDR_TRY_GUARDED, stage_try_heap, &heap)))
		stage_make_heap(run, &heap, true);
	ldr_progress_show();		/* building indexes has counters of its own */
	run->job = NULL;
	table_close(target, NoLock);
}

void
ldr_stage_empty_heap(LdrRun *run, const LdrPlanTable *t)
{
	if (ldr_stage_heap(run, t->table->name) == NULL)
		stage_fill_heap(run, t->table->name);
}

Oid
ldr_stage_hold(const LdrRun *run, const char *table_name)
{
	LdrStage   *to = stage_find(ldr_stage_list(run->package->package_id), LDR_STAGE_STAGING,
								table_name);

	if (to == NULL)
		stage_lost(table_name);
	stage_lock(run, list_make1(to), RowExclusiveLock);
	return to->relation;
}

void
ldr_stage_job(LdrRun *run, LdrJob *job, const char *stage)
{
	if (strcmp(stage, LDR_STAGE_SWAP) == 0)
	{
		ldr_run_job_begin(run, job);
		stage_fill_heap(run, job->table_name);
		run->job = NULL;
		return;
	}
	ldr_run_job(run, job, ldr_stage_hold(run, job->table_name), InvalidOid, false);
}

static bool
stage_is_as_planned(const LdrRun *run, const LdrPlanTable *t)
{
	const char *wanted = ldr_way_stage(t->way);
	const char *is = ldr_package_table_stage(run->package->package_id, t->table->name);

	if (!t->has_jobs)
		return true;
	return wanted && is ? strcmp(wanted, is) == 0 : wanted == is;
}

void
ldr_stage_check(LdrRun *run, const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
		if (!stage_is_as_planned(run, &plan->tables[i]))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("table \"%s\" was changed by another session while the package was "
							"staged", plan->tables[i].table->name)));
	stage_describe(run, plan);
}

void
ldr_stage_release(int64 package_id)
{
	ListCell   *lc;

	foreach(lc, ldr_stage_list(package_id))
	{
		LdrStage   *stage = lfirst(lc);

		ldr_job_restage(package_id, stage->table_name, InvalidOid);
		stage_let_go(stage);
		LDR_FAULT("a claim let go");
	}
	ldr_package_table_recount(package_id);
}

void
ldr_stage_release_staging(int64 package_id)
{
	ListCell   *lc;

	foreach(lc, ldr_stage_list(package_id))
		if (strcmp(((LdrStage *) lfirst(lc))->kind, LDR_STAGE_STAGING) == 0)
			ldr_stage_delete(((LdrStage *) lfirst(lc))->relation);
}

/*
 * Heaps whose package has ended, or which came here with a restored dump. Whoever takes the
 * package's lock first may drop what is its; a package that is alive again keeps it.
 */
void
ldr_stage_sweep(void)
{
	List	   *owned = NIL;
	ListCell   *lc;

	foreach(lc, ldr_stage_orphans())
	{
		LdrStage   *stage = lfirst(lc);

		owned = lappend_oid(owned, stage->relation);
		if (!ldr_package_lock(stage->package_id, false, false) ||
			!ldr_stage_is_orphan(stage->relation))
			continue;
		stage_let_go(stage);
		LDR_FAULT("an orphan swept");
	}
	foreach(lc, ldr_swap_heaps())
		if (!ldr_stage_exists(lfirst_oid(lc)) && !list_member_oid(owned, lfirst_oid(lc)))
			(void) ldr_swap_try_drop(lfirst_oid(lc));
}
