/*
 * publish/follow.c: what follows when the jobs of a chain of tables are done: merges, and replaces.
 *
 * Runs in the publish transaction, with RowExclusiveLock on what it writes to. Swaps are only made
 * ready here; they come last, with the strong locks.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "locks.h"
#include "publish/merge.h"
#include "publish/publish.h"
#include "publish/swap.h"
#include "worker/worker.h"

/* Root tables of replaced and merged chains among the tables with jobs (List of char *). */
List *
ldr_follow_roots(const LdrPackageDir *dir, List *job_tables)
{
	List	   *roots = NIL;
	ListCell   *lc;

	foreach(lc, job_tables)
	{
		LdrSchemaTable *root = ldr_schema_table(dir->schema, lfirst(lc))->root;

		if ((root->disposition == LDR_REPLACE || root->disposition == LDR_MERGE) &&
			(roots == NIL || llast(roots) != root))
			roots = list_append_unique_ptr(roots, root);
	}
	return roots;
}

static void
follow_add(LdrRun *run, const LdrMergeTable *done)
{
	LdrTableStats *stats = ldr_run_stats(run, done->table);

	stats->rows_inserted += done->inserted;
	stats->rows_updated += done->updated;
	stats->rows_deleted += done->deleted;
}

/* Planner statistics of what was just loaded: the statements that follow join by them. */
static void
follow_analyze(const LdrRun *run, const LdrMerge *merge)
{
	for (int i = 0; i < merge->ntables; i++)
		ldr_sql_execute(psprintf("ANALYZE %s",
								 quote_qualified_identifier(ldr_run_staging(run),
															merge->tables[i].table->name)),
						0, NULL, NULL, SPI_OK_UTILITY);
}

static void
follow_delete_all(LdrRun *run, const LdrPlan *plan, const LdrPlanTable *t)
{
	char	   *sql = psprintf("DELETE FROM %s",
							   quote_qualified_identifier(plan->dataset, t->table->name));

	ldr_run_stats(run, t->table)->rows_deleted += ldr_sql_execute(sql, 0, NULL, NULL,
																  SPI_OK_DELETE);
}

/* The chain's tables of one way or the other, as merge.h wants them. */
static LdrMerge *
follow_merge(const LdrRun *run, const LdrPlan *plan, LdrPlanTable **chain, int n, LdrWay way,
			 LdrWay other)
{
	LdrMerge   *merge = palloc0(sizeof(LdrMerge));

	merge->tables = palloc0(sizeof(LdrMergeTable) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (chain[i]->way == way || chain[i]->way == other)
		{
			merge->tables[merge->ntables].made_as = chain[i]->made_as;
			merge->tables[merge->ntables++].table = chain[i]->table;
		}
	merge->dataset = plan->dataset;
	merge->staging = ldr_run_staging(run);
	merge->created_at = run->dir->state->created_at;
	return merge;
}

static void
follow_merge_chain(LdrRun *run, const LdrPlan *plan, LdrPlanTable **chain, int n)
{
	LdrMerge   *merge = follow_merge(run, plan, chain, n, LDR_WAY_MERGE, LDR_WAY_MERGE);

	for (int i = n - 1; i >= 0; i--)
		if (chain[i]->way == LDR_WAY_EMPTY || chain[i]->truncated)
			follow_delete_all(run, plan, chain[i]);
	if (merge->ntables == 0)
		return;
	follow_analyze(run, merge);
	ldr_merge_run(merge);
	for (int i = 0; i < merge->ntables; i++)
		follow_add(run, &merge->tables[i]);
}

/*
 * What is not swapped of a chain. Somebody may have made foreign keys along it: so children lose
 * rows before their parents, and get rows after them.
 */
static void
follow_replace_chain(LdrRun *run, const LdrPlan *plan, LdrPlanTable **chain, int n)
{
	LdrMerge   *merge = follow_merge(run, plan, chain, n, LDR_WAY_DIFF, LDR_WAY_REFILL);
	LdrDiff   **diffs = palloc0(sizeof(LdrDiff *) * (merge->ntables + 1));
	int			m = merge->ntables;

	follow_analyze(run, merge);
	for (int i = n - 1; i >= 0; i--)
	{
		if (chain[i]->way == LDR_WAY_EMPTY)
			follow_delete_all(run, plan, chain[i]);
		else if (chain[i]->way == LDR_WAY_REFILL)
			ldr_refill_delete(merge, --m);
		else if (chain[i]->way == LDR_WAY_DIFF)
		{
			m--;
			diffs[m] = ldr_diff_delete(merge, m);
		}
	}
	for (m = 0; m < merge->ntables; m++)
	{
		if (diffs[m])
			ldr_diff_insert(diffs[m]);
		else
			ldr_refill_insert(merge, m);
		follow_add(run, &merge->tables[m]);
	}
}

/* Replace or merge what is staged of one chain. */
static void
follow_chain(LdrRun *run, const LdrPlan *plan, const LdrSchemaTable *root)
{
	int			n;
	LdrPlanTable **chain = ldr_plan_chain(plan, root, &n);

	if (root->disposition == LDR_MERGE)
		follow_merge_chain(run, plan, chain, n);
	else
		follow_replace_chain(run, plan, chain, n);
}

static int64
follow_rows_inserted(LdrRun *run, const LdrSchemaTable *root, int64 *read)
{
	int64		inserted = 0;
	ListCell   *lc;

	*read = 0;
	foreach(lc, run->stats)
	{
		const LdrTableStats *stats = lfirst(lc);

		if (strcmp(stats->chain, root->name) != 0)
			continue;
		inserted += stats->rows_inserted;
		*read += stats->rows_read;
	}
	return inserted;
}

/* Tables that a refresh has emptied, whose chains no job follows. */
static void
follow_truncated(LdrRun *run, const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		const LdrPlanTable *t = &plan->tables[i];

		if (t->truncated && t->table->root->disposition == LDR_APPEND &&
			(t->way == LDR_WAY_EMPTY || t->way == LDR_WAY_DIFF || t->way == LDR_WAY_REFILL))
			follow_chain(run, plan, t->table->root);
	}
}

void
ldr_follow(LdrRun *run, const LdrPlan *plan)
{
	ListCell   *lc;

	ldr_progress_phase(LDR_PHASE_PUBLISH);
	follow_truncated(run, plan);
	foreach(lc, run->followups)
	{
		LdrJob	   *job = lfirst(lc);
		const LdrSchemaTable *root = ldr_schema_table(run->dir->schema, job->table_name);
		LdrPlanTable *t = ldr_plan_table(plan, root->name);
		int64		inserted,
					read;

		ldr_run_job_begin(run, job);
		follow_chain(run, plan, root);
		inserted = follow_rows_inserted(run, root, &read);
		ldr_job_completed(run->package->package_id, job->ordinal, t ? t->relid : InvalidOid,
						  read, inserted, run->job_started_at);
		run->job = NULL;
	}
}

/* The heap that was filled for a table of the plan. */
static LdrStage *
follow_heap(LdrRun *run, const LdrPlanTable *t)
{
	LdrStage   *heap = ldr_stage_heap(run, t->table->name);

	if (heap == NULL)
		elog(ERROR, "table \"%s\" has no swap heap", t->table->name);
	return heap;
}

/*
 * Make all swaps of the plan ready, with a lock that keeps DDL and VACUUM away from their targets,
 * but neither readers nor writers. A List of LdrSwap.
 */
List *
ldr_follow_prepare_swaps(LdrRun *run, const LdrPlan *plan)
{
	List	   *targets = NIL;
	List	   *heaps = NIL;
	List	   *swaps = NIL;

	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].way == LDR_WAY_SWAP)
		{
			targets = lappend_oid(targets, plan->tables[i].relid);
			heaps = lappend_oid(heaps, follow_heap(run, &plan->tables[i])->relation);
		}
	if (targets == NIL)
		return NIL;
	(void) ldr_lock_tables(targets, ShareUpdateExclusiveLock);
	(void) ldr_lock_tables(heaps, AccessExclusiveLock); /* pg_dump may have one for a while */
	for (int i = 0; i < plan->ntables; i++)
	{
		const LdrPlanTable *t = &plan->tables[i];
		LdrStage   *heap;

		if (t->way != LDR_WAY_SWAP)
			continue;
		heap = follow_heap(run, t);
		swaps = lappend(swaps, ldr_swap_prepare(t->relid, heap->relation, heap->fingerprint));
		ldr_run_stats(run, t->table)->swapped = t->relid;
		ldr_stage_delete(heap->relation);
	}
	return swaps;
}
