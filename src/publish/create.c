/*
 * publish/create.c: the DDL of a package: columns before the load, drops and tables with it.
 *
 * Only what adds a nullable column to a table that others use comes earlier than publish, in a
 * transaction of its own: in publish its strong lock would be held for the whole load.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "loader.h"
#include "locks.h"
#include "publish/publish.h"
#include "worker/worker.h"

LdrPlan *
ldr_run_plan(const LdrRun *run)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, run->jobs)
		names = lappend(names, ((LdrJob *) lfirst(lc))->table_name);
	return ldr_plan_make(run->dir->schema, run->dir->state, run->package->dataset, names);
}

char *
ldr_run_staging(const LdrRun *run)
{
	return ldr_options_staging(run->options, run->package->dataset);
}

LdrTableStats *
ldr_run_stats(LdrRun *run, const LdrSchemaTable *table)
{
	static const char *const dispositions[] = {"append", "replace", "merge", "skip"};
	LdrTableStats *stats;
	ListCell   *lc;
	MemoryContext old;

	foreach(lc, run->stats)
		if (strcmp(((LdrTableStats *) lfirst(lc))->table_name, table->name) == 0)
		return lfirst(lc);
	old = MemoryContextSwitchTo(run->cxt);	/* they outlive the transaction */
	stats = palloc0(sizeof(LdrTableStats));
	stats->table_name = pstrdup(table->name);
	stats->chain = pstrdup(table->root->name);
	stats->disposition = dispositions[table->root->disposition];
	stats->lock_wait_us = stats->lock_hold_us = -1;
	run->stats = lappend(run->stats, stats);
	MemoryContextSwitchTo(old);
	return stats;
}

static void
create_change(LdrRun *run, const char *dataset, const LdrChange *change)
{
	char	   *sql = ldr_change_sql(dataset, change, run->options->create_indexes);

	ldr_sql_execute(sql, 0, NULL, NULL, SPI_OK_UTILITY);
	ldr_event(run->package->package_id, change->kind == LDR_CREATE_TABLE ? "create table"
			  : "add column",
			  change->table->name, "%s", sql);
}

/* Only an owner may have a strong lock: ask before waiting for it. */
static void
create_check_owner(Oid relid)
{
	if (!ldr_is_owner(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

void
ldr_migrate(LdrRun *run)
{
	LdrPlan    *plan;
	List	   *relids = NIL;
	int64		wait_us;
	TimestampTz locked_at;

	ldr_xact_begin();
	plan = ldr_run_plan(run);
	if (plan->migrates)
	{
		ldr_progress_phase(LDR_PHASE_MIGRATE);
		for (int i = 0; i < plan->ntables; i++)
			for (int c = 0; c < plan->tables[i].nchanges; c++)
				if (ldr_change_migrates(&plan->tables[i].changes[c]))
				{
					create_check_owner(plan->tables[i].relid);
					relids = list_append_unique_oid(relids, plan->tables[i].relid);
				}
		wait_us = ldr_lock_tables(relids, AccessExclusiveLock);
		locked_at = GetCurrentTimestamp();
		plan = ldr_run_plan(run);	/* again, now that nobody else can change them */
		for (int i = 0; i < plan->ntables; i++)
		{
			LdrPlanTable *t = &plan->tables[i];
			LdrTableStats stats = {0};
			bool		changed = false;

			for (int c = 0; c < t->nchanges; c++)
				if (ldr_change_migrates(&t->changes[c]) && list_member_oid(relids, t->relid))
				{
					create_change(run, plan->dataset, &t->changes[c]);
					changed = true;
				}
			if (!changed)
				continue;
			stats = *ldr_run_stats(run, t->table);
			stats.lock_wait_us = wait_us;
			stats.lock_hold_us = GetCurrentTimestamp() - locked_at;
			ldr_package_table_insert(run->package->package_id, &stats);
		}
	}
	ldr_xact_commit();
}

/* Is the dataset, or one of dlt's own tables in it, still to be created? */
static bool
create_is_first(const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].is_system && !OidIsValid(plan->tables[i].relid))
			return true;
	return !OidIsValid(plan->namespace);
}

/* Strong locks, by the policy, on the tables that get a NOT NULL column; only empty ones can. */
static void
create_lock_altered(const LdrPlan *plan)
{
	List	   *relids = NIL;

	for (int i = 0; i < plan->ntables; i++)
		for (int c = 0; c < plan->tables[i].nchanges; c++)
			if (plan->tables[i].changes[c].kind == LDR_ADD_COLUMN)
			{
				create_check_owner(plan->tables[i].relid);
				relids = list_append_unique_oid(relids, plan->tables[i].relid);
			}
	if (relids != NIL)
		(void) ldr_lock_tables(relids, AccessExclusiveLock);
}

/* Tables that the package's refresh drops. Not what depends on them: that is an error, as for dlt. */
static void
create_drop(LdrRun *run, const char *dataset, const LdrPlanDrop *drops, int n)
{
	List	   *relids = NIL;

	for (int i = 0; i < n; i++)
	{
		create_check_owner(drops[i].relid);
		relids = lappend_oid(relids, drops[i].relid);
	}
	if (relids == NIL)
		return;
	(void) ldr_lock_tables(relids, AccessExclusiveLock);
	for (int i = 0; i < n; i++)
	{
		char	   *sql = psprintf("DROP TABLE %s",
								   quote_qualified_identifier(dataset, drops[i].name));

		ldr_sql_execute(sql, 0, NULL, NULL, SPI_OK_UTILITY);
		ldr_event(run->package->package_id, "drop table", drops[i].name, "%s", sql);
	}
}

/* The schema and the tables of a plan, as far as they are not there. */
static void
create_all(LdrRun *run, const LdrPlan *plan)
{
	if (!OidIsValid(plan->namespace))
	{
		ldr_sql_execute(ldr_dataset_sql(plan->dataset), 0, NULL, NULL, SPI_OK_UTILITY);
		ldr_event(run->package->package_id, "create schema", plan->dataset, "%s", "");
	}
	create_lock_altered(plan);
	for (int i = 0; i < plan->ntables; i++)
		for (int c = 0; c < plan->tables[i].nchanges; c++)
			if (plan->tables[i].changes[c].kind != LDR_KEEP_TYPE)
				create_change(run, plan->dataset, &plan->tables[i].changes[c]);
	/* index expressions and the like look with the active snapshot: let it see the new tables */
	PopActiveSnapshot();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Nobody else creates the tables of this package, since packages for the same tables queue; what
 * all packages of a dataset have in common is created by one after the other.
 */
LdrPlan *
ldr_create_tables(LdrRun *run)
{
	LdrPlan    *plan = ldr_run_plan(run);

	if (create_is_first(plan))
	{
		ldr_lock_dataset(run->package->dataset, LDR_DATASET_CREATE);
		plan = ldr_run_plan(run);
	}
	/* ways before the tables are made: what is new needs no replacing */
	ldr_ways_choose(plan, run->options);
	create_drop(run, plan->dataset, plan->drops, plan->ndrops);
	create_all(run, plan);
	for (int i = 0; i < plan->ntables; i++)
		if (!OidIsValid(plan->tables[i].relid))
			plan->tables[i].relid =
				get_relname_relid(plan->tables[i].table->name,
								  get_namespace_oid(plan->dataset, false));
	return plan;
}

/*
 * The names of staging tables are no secret: somebody may have made them first, with triggers that
 * would run as this role. Besides, only an owner may empty and analyze a table.
 */
static void
create_check_staging(const LdrPlan *staging)
{
	for (int i = 0; i < staging->ntables; i++)
	{
		const LdrPlanTable *t = &staging->tables[i];

		if (!ldr_is_owner(t->relid, GetUserId()))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("must be owner of staging table %s",
							quote_qualified_identifier(staging->dataset, t->table->name)),
					 errhint("Drop it, or choose another staging_dataset_name_layout.")));
	}
}

LdrPlan *
ldr_create_staging(LdrRun *run, const LdrPlan *plan, List *tables)
{
	const LdrSchema *schema = run->dir->schema;
	char	   *name = ldr_run_staging(run);
	LdrPlan    *staging = ldr_plan_staging(schema, name, tables);
	LdrPlanDrop *drops = palloc0(sizeof(LdrPlanDrop) * Max(plan->ndrops, 1));
	int			ndrops = 0;

	if (create_is_first(staging))
		ldr_lock_dataset(name, LDR_DATASET_CREATE);
	for (int i = 0; i < plan->ndrops && OidIsValid(staging->namespace); i++)
	{
		drops[ndrops].name = plan->drops[i].name;
		drops[ndrops].relid = get_relname_relid(drops[ndrops].name, staging->namespace);
		ndrops += OidIsValid(drops[ndrops].relid);
	}
	create_drop(run, name, drops, ndrops);
	create_all(run, ldr_plan_staging(schema, name, tables));
	staging = ldr_plan_staging(schema, name, tables);
	create_check_staging(staging);
	if (ndrops > 0)
		ldr_system_forget_versions(schema, name);
	ldr_system_record_staging(run, tables);
	return staging;
}
