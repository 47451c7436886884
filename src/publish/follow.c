/*
 * publish/follow.c: what follows when the jobs of a chain of tables are done: merges, and replaces.
 *
 * Runs in the publish transaction, with RowExclusiveLock on what it writes to. Swaps are only made
 * ready here; they come last, with the strong locks.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "locks.h"
#include "publish/merge.h"
#include "publish/publish.h"
#include "publish/sift.h"
#include "publish/swap.h"
#include "worker/worker.h"

/* Root tables of the chains that are replaced or merged, in order of the files. */
List *
ldr_follow_roots(const LdrPackageDir *dir)
{
	List	   *roots = NIL;
	ListCell   *lc;

	foreach(lc, dir->files)
	{
		const LdrPackageFile *file = lfirst(lc);
		LdrSchemaTable *root = ldr_schema_table(dir->schema, file->table)->root;

		if ((root->disposition == LDR_REPLACE || root->disposition == LDR_MERGE) &&
			(roots == NIL || llast(roots) != root))
			roots = list_append_unique_ptr(roots, root);
	}
	return roots;
}

/* The job that follows for a chain. Named as dlt names such jobs; the same each time. */
LdrJob *
ldr_follow_job(const char *load_id, const LdrSchemaTable *root)
{
	char	   *seed = psprintf("%s.%s", load_id, root->name);
	uint64		id = hash_bytes_extended((unsigned char *) seed, strlen(seed), 0);
	char	   *name = psprintf("%s.%010llx", root->name,
								(unsigned long long) (id & UINT64CONST(0xffffffffff)));
	LdrJob	   *job = palloc0(sizeof(LdrJob));

	job->job_id = psprintf("%s.sql", name);
	job->file_name = psprintf("%s.0.sql", name);
	job->table_name = root->name;
	job->format = "sql";
	job->kind = root->disposition == LDR_MERGE ? "merge" : "replace";
	job->state = "new";
	return job;
}

static void
follow_add(LdrRun *run, const LdrMergeTable *done)
{
	LdrTableStats *stats = ldr_run_stats(run, done->table);

	stats->rows_inserted += done->inserted;
	stats->rows_updated += done->updated;
	stats->rows_deleted += done->deleted;
}

/* Do merges join or group by it? Conditions of hints may name any column. */
static bool
follow_is_key(const LdrSchemaColumn *c)
{
	return c->type != LDR_TYPE_NONE &&
		(c->primary_key || c->merge_key || c->row_key || c->parent_key || c->root_key ||
		 c->unique || c->hard_delete || c->dedup_sort != 0 || c->row_version);
}

/*
 * The columns that the planner has to know of, in parentheses; "" for all of them, NULL if the
 * rows are only read from end to end.
 */
static char *
follow_analyzed(const LdrSchemaTable *table, LdrWay way)
{
	StringInfoData sql;

	if (way != LDR_WAY_MERGE || table->root->source_filter || table->root->destination_scope)
		return pstrdup("");
	initStringInfo(&sql);
	for (int i = 0; i < table->ncolumns; i++)
		if (follow_is_key(&table->columns[i]))
			appendStringInfo(&sql, "%s%s", sql.len > 0 ? ", " : " (",
							 quote_identifier(table->columns[i].name));
	if (sql.len == 0)
		return NULL;
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/*
 * Planner statistics of what was just loaded: the statements that follow join by them. ANALYZE of
 * all columns would take as long as a quarter of the merge.
 */
static void
follow_analyze(const LdrRun *run, const LdrSchemaTable *table, LdrWay way)
{
	char	   *columns = follow_analyzed(table, way);

	if (columns)
		ldr_sql_execute(psprintf("ANALYZE %s%s",
								 quote_qualified_identifier(ldr_run_staging(run), table->name),
								 columns),
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
		if ((chain[i]->way == way || chain[i]->way == other) && !chain[i]->truncates)
		{
			merge->tables[merge->ntables].made_as = chain[i]->made_as;
			merge->tables[merge->ntables++].table = chain[i]->table;
		}
	merge->dataset = plan->dataset;
	merge->staging = ldr_run_staging(run);
	merge->created_at = run->dir->state->created_at;
	return merge;
}

void
ldr_follow_set_memory(void)
{
	char		kilobytes[32];

	snprintf(kilobytes, sizeof(kilobytes), "%d", Max(work_mem, maintenance_work_mem));
	(void) set_config_option("work_mem", kilobytes, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/* Bring a chain's staged rows into its tables; rows that these refuse may be set aside. */
static void
follow_apply(LdrRun *run, LdrMerge *merge, void (*apply) (LdrSift *sift))
{
	LdrSift		sift = {.run = run, .merge = merge};

	if (run->options->reject)
		ldr_sift_package(run, merge, apply);
	else
		apply(&sift);
	for (int i = 0; i < merge->ntables; i++)
		follow_add(run, &merge->tables[i]);
}

static void
follow_apply_merge(LdrSift *sift)
{
	ldr_merge_run(sift->merge);
}

static void
follow_merge_chain(LdrRun *run, const LdrPlan *plan, LdrPlanTable **chain, int n)
{
	LdrMerge   *merge = follow_merge(run, plan, chain, n, LDR_WAY_MERGE, LDR_WAY_MERGE);

	for (int i = n - 1; i >= 0; i--)
		if ((chain[i]->way == LDR_WAY_EMPTY || chain[i]->truncated) && !chain[i]->truncates)
			follow_delete_all(run, plan, chain[i]);
	if (merge->ntables == 0)
		return;
	for (int i = 0; i < merge->ntables; i++)
		follow_analyze(run, merge->tables[i].table, LDR_WAY_MERGE);
	follow_apply(run, merge, follow_apply_merge);
}

/* A chain that is replaced by SQL. */
typedef struct FollowReplace
{
	LdrMerge	merge;			/* first: a LdrMerge * may be one of these */
	const LdrPlan *plan;
	LdrPlanTable **chain;
	int			n;
} FollowReplace;

/*
 * What is not swapped of a chain. Somebody may have made foreign keys along it: so children lose
 * rows before their parents, and get rows after them.
 */
static void
follow_apply_replace(LdrSift *sift)
{
	FollowReplace *r = (FollowReplace *) sift->merge;
	LdrMerge   *merge = sift->merge;
	LdrDiff   **diffs = palloc0(sizeof(LdrDiff *) * (merge->ntables + 1));
	int			m = merge->ntables;

	for (int i = r->n - 1; i >= 0; i--)
	{
		if (r->chain[i]->truncates)
			continue;
		if (r->chain[i]->way == LDR_WAY_EMPTY)
			follow_delete_all(sift->run, r->plan, r->chain[i]);
		else if (r->chain[i]->way == LDR_WAY_REFILL)
			ldr_refill_delete(merge, --m);
		else if (r->chain[i]->way == LDR_WAY_DIFF)
		{
			m--;
			diffs[m] = ldr_diff_delete(merge, m);
		}
	}
	for (m = 0; m < merge->ntables; m++)
		if (diffs[m])
			ldr_diff_insert(diffs[m]);
		else
			ldr_refill_insert(merge, m);
}

static void
follow_replace_chain(LdrRun *run, const LdrPlan *plan, LdrPlanTable **chain, int n)
{
	FollowReplace r = {.plan = plan, .chain = chain, .n = n};

	r.merge = *follow_merge(run, plan, chain, n, LDR_WAY_DIFF, LDR_WAY_REFILL);
	for (int i = 0; i < n; i++)
		if (chain[i]->way == LDR_WAY_DIFF && !chain[i]->truncates)
			follow_analyze(run, chain[i]->table, LDR_WAY_DIFF);
	follow_apply(run, &r.merge, follow_apply_replace);
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

/* Of the whole chain: by jobs that have committed, and by this transaction. */
static void
follow_count_rows(LdrRun *run, const LdrSchemaTable *root, int64 *read, int64 *inserted)
{
	ListCell   *lc;

	ldr_package_table_chain_rows(run->package->package_id, root->name, read, inserted);
	foreach(lc, run->stats)
	{
		const LdrTableStats *stats = lfirst(lc);

		if (strcmp(stats->chain, root->name) != 0)
			continue;
		*inserted += stats->rows_inserted;
		*read += stats->rows_read;
	}
}

/*
 * Roots of tables that a refresh has emptied, as far as they are not among those that jobs follow.
 */
List *
ldr_follow_truncated(const LdrPlan *plan, List *followed)
{
	List	   *roots = NIL;

	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].truncated && !list_member_ptr(followed, plan->tables[i].table->root))
			roots = list_append_unique_ptr(roots, plan->tables[i].table->root);
	return roots;
}

void
ldr_follow(LdrRun *run, const LdrPlan *plan)
{
	List	   *followed = NIL;
	int			nest = NewGUCNestLevel();
	ListCell   *lc;

	ldr_follow_set_memory();
	ldr_progress_phase(LDR_PHASE_PUBLISH);
	foreach(lc, run->followups)
		followed = lappend(followed, ldr_schema_table(run->dir->schema,
													  ((LdrJob *) lfirst(lc))->table_name));
	foreach(lc, ldr_follow_truncated(plan, followed))
		follow_chain(run, plan, lfirst(lc));
	foreach(lc, run->followups)
	{
		LdrJob	   *job = lfirst(lc);
		const LdrSchemaTable *root = ldr_schema_table(run->dir->schema, job->table_name);
		LdrPlanTable *t = ldr_plan_table(plan, root->name);
		int64		inserted,
					read;

		ldr_run_job_begin(run, job);
		LDR_FAULT("chain to be followed");
		follow_chain(run, plan, root);
		follow_count_rows(run, root, &read, &inserted);
		ldr_job_completed(run->package->package_id, job->ordinal, t ? t->relid : InvalidOid,
						  read, inserted, 0, run->job_started_at);
		run->job = NULL;
	}
	AtEOXact_GUC(true, nest);
}

/* Strong locks on the tables that are truncated, and the statement for it; NULL: there are none. */
static char *
follow_lock_truncates(const LdrPlan *plan)
{
	StringInfoData sql;
	List	   *relids = NIL;

	initStringInfo(&sql);
	for (int i = 0; i < plan->ntables; i++)
	{
		const LdrPlanTable *t = &plan->tables[i];

		if (!t->truncates)
			continue;
		/* only who may truncate may have the lock for it: ask before waiting */
		if (pg_class_aclcheck(t->relid, GetUserId(), ACL_TRUNCATE) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, t->table->name);
		relids = lappend_oid(relids, t->relid);
		appendStringInfo(&sql, "%s%s", sql.len > 0 ? ", " : "TRUNCATE TABLE ONLY ",
						 quote_qualified_identifier(plan->dataset, t->table->name));
	}
	if (relids == NIL)
		return NULL;
	(void) ldr_lock_tables(relids, AccessExclusiveLock);
	return sql.data;
}

/*
 * Tables whose rows can only go by TRUNCATE, with its lock: so they come after all that takes long.
 * Readers wait for the commit, and old snapshots see no rows of such a table.
 */
void
ldr_follow_truncates(LdrRun *run, const LdrPlan *plan)
{
	char	   *sql = follow_lock_truncates(plan);

	if (sql == NULL)
		return;
	LDR_FAULT("tables to be truncated");
	ldr_sql_execute(sql, 0, NULL, NULL, SPI_OK_UTILITY);
	for (int i = 0; i < plan->ntables; i++)
	{
		LdrMergeTable table = {.table = plan->tables[i].table};
		LdrMerge	merge = {.tables = &table, .ntables = 1, .dataset = plan->dataset};

		if (!plan->tables[i].truncates || plan->tables[i].way == LDR_WAY_EMPTY)
			continue;
		merge.staging = ldr_run_staging(run);
		ldr_refill_insert(&merge, 0);
		follow_add(run, &table);
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
