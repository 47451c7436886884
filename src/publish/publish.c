/*
 * publish/publish.c: from a registered package to what readers see.
 *
 * Atomic packages: ldr_publish is one transaction. Rows, new tables, dlt's own tables, the
 * catalog's states and the NOTIFY commit together; a crash before leaves the package new and
 * nothing else. Order of locks: dataset to create (only the first time), tables in OID order,
 * dataset to record.
 *
 * Only what adds a nullable column to a table that others use comes earlier, in a transaction of
 * its own: here its strong lock would be held for the whole load.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
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

static List *
publish_job_tables(const LdrRun *run)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, run->jobs)
		names = lappend(names, ((LdrJob *) lfirst(lc))->table_name);
	return names;
}

static LdrPlan *
publish_plan(const LdrRun *run)
{
	return ldr_plan_make(run->dir->schema, run->package->dataset, publish_job_tables(run));
}

static LdrTableStats *
publish_stats(LdrRun *run, const LdrSchemaTable *table)
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
	stats->table_name = table->name;
	stats->chain = table->root->name;
	stats->disposition = dispositions[table->disposition];
	stats->lock_wait_us = stats->lock_hold_us = -1;
	run->stats = lappend(run->stats, stats);
	MemoryContextSwitchTo(old);
	return stats;
}

static void
publish_change(LdrRun *run, const LdrChange *change)
{
	char	   *sql = ldr_change_sql(run->package->dataset, change, run->options->create_indexes);

	ldr_sql_execute(sql, 0, NULL, NULL, SPI_OK_UTILITY);
	ldr_event(run->package->package_id, change->kind == LDR_CREATE_TABLE ? "create table"
			  : "add column",
			  change->table->name, "%s", sql);
}

/* Only an owner may have a strong lock: ask before waiting for it. */
static void
migrate_check_owner(const LdrPlanTable *t)
{
	if (!ldr_is_owner(t->relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(t->relid)),
					   t->table->name);
}

void
ldr_migrate(LdrRun *run)
{
	LdrPlan    *plan;
	List	   *relids = NIL;
	int64		wait_us;
	TimestampTz locked_at;

	ldr_xact_begin();
	plan = publish_plan(run);
	if (plan->migrates)
	{
		ldr_progress_phase(LDR_PHASE_MIGRATE);
		for (int i = 0; i < plan->ntables; i++)
			for (int c = 0; c < plan->tables[i].nchanges; c++)
				if (ldr_change_migrates(&plan->tables[i].changes[c]))
				{
					migrate_check_owner(&plan->tables[i]);
					relids = list_append_unique_oid(relids, plan->tables[i].relid);
				}
		wait_us = ldr_lock_tables(relids, AccessExclusiveLock);
		locked_at = GetCurrentTimestamp();
		plan = publish_plan(run);	/* again, now that nobody else can change them */
		for (int i = 0; i < plan->ntables; i++)
		{
			LdrPlanTable *t = &plan->tables[i];
			LdrTableStats stats = {0};
			bool		changed = false;

			for (int c = 0; c < t->nchanges; c++)
				if (ldr_change_migrates(&t->changes[c]) && list_member_oid(relids, t->relid))
				{
					publish_change(run, &t->changes[c]);
					changed = true;
				}
			if (!changed)
				continue;
			stats = *publish_stats(run, t->table);
			stats.lock_wait_us = wait_us;
			stats.lock_hold_us = GetCurrentTimestamp() - locked_at;
			ldr_package_table_insert(run->package->package_id, &stats);
		}
	}
	ldr_xact_commit();
}

/* Is the dataset, or one of dlt's own tables in it, still to be created? */
static bool
publish_is_first(const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].is_system && !OidIsValid(plan->tables[i].relid))
			return true;
	return !OidIsValid(plan->namespace);
}

/* Strong locks, by the policy, on the tables that get a NOT NULL column; only empty ones can. */
static void
publish_lock_altered(const LdrPlan *plan)
{
	List	   *relids = NIL;

	for (int i = 0; i < plan->ntables; i++)
		for (int c = 0; c < plan->tables[i].nchanges; c++)
			if (plan->tables[i].changes[c].kind == LDR_ADD_COLUMN)
			{
				migrate_check_owner(&plan->tables[i]);
				relids = list_append_unique_oid(relids, plan->tables[i].relid);
			}
	if (relids != NIL)
		(void) ldr_lock_tables(relids, AccessExclusiveLock);
}

/*
 * New tables, and NOT NULL columns, which only an empty table can take. Nobody else creates the
 * tables of this package, since packages for the same tables queue; what all packages of a dataset
 * have in common is created by one after the other.
 */
static void
publish_create(LdrRun *run)
{
	LdrPlan    *plan = publish_plan(run);

	if (publish_is_first(plan))
	{
		ldr_lock_dataset(run->package->dataset, LDR_DATASET_CREATE);
		plan = publish_plan(run);
	}
	if (!OidIsValid(plan->namespace))
	{
		ldr_sql_execute(ldr_dataset_sql(plan->dataset), 0, NULL, NULL, SPI_OK_UTILITY);
		ldr_event(run->package->package_id, "create schema", plan->dataset, "%s", "");
	}
	publish_lock_altered(plan);
	for (int i = 0; i < plan->ntables; i++)
		for (int c = 0; c < plan->tables[i].nchanges; c++)
			if (plan->tables[i].changes[c].kind != LDR_KEEP_TYPE)
				publish_change(run, &plan->tables[i].changes[c]);
	/* index expressions and the like look with the active snapshot: let it see the new tables */
	PopActiveSnapshot();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* The table of a job, open and locked against changes of its definition until the commit. */
static Relation
publish_open(LdrRun *run, const char *name)
{
	Oid			nsp = LookupExplicitNamespace(run->package->dataset, false);	/* checks USAGE */
	Oid			relid = get_relname_relid(name, nsp);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", run->package->dataset, name)));
	return table_open(relid, RowExclusiveLock); /* publish_lock holds it already */
}

/* Only who may insert something may have the lock for it: ask before waiting. */
static void
publish_check_insert(Oid relid)
{
	Oid			user = GetUserId();

	if (pg_class_aclcheck(relid, user, ACL_INSERT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, user, ACL_INSERT, ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

/* All locks of the append jobs at once, in OID order: two packages cannot wait for each other. */
static void
publish_lock(LdrRun *run, List *jobs)
{
	Oid			nsp = LookupExplicitNamespace(run->package->dataset, false);	/* checks USAGE */
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, jobs)
	{
		Oid			relid = get_relname_relid(((LdrJob *) lfirst(lc))->table_name, nsp);

		if (!OidIsValid(relid))
			continue;
		publish_check_insert(relid);
		relids = lappend_oid(relids, relid);
	}
	list_sort(relids, list_oid_cmp);
	list_deduplicate_oid(relids);
	if (relids != NIL)
		(void) ldr_lock_tables(relids, RowExclusiveLock);
}

/* Load one job and mark it completed, in the current transaction, which holds the table's lock. */
static void
publish_job(LdrRun *run, LdrJob *job)
{
	const LdrSchemaTable *table = ldr_schema_table(run->dir->schema, job->table_name);
	LdrTableStats *stats = publish_stats(run, table);
	LdrLoadResult result = {0};
	LdrFormat	format;
	Relation	rel;
	Oid			relid;

	run->job = job;
	run->job_started_at = GetCurrentTimestamp();
	ldr_progress_job(job->ordinal);
	if (!ldr_format_from_name(job->format, &format))
		elog(ERROR, "job \"%s\" has unknown format \"%s\"", job->job_id, job->format);
	rel = publish_open(run, job->table_name);
	relid = RelationGetRelid(rel);
	ldr_load_file(run->dir, job->file_name, &job->stamp, format, table, rel, NULL, run->options,
				  &result);
	table_close(rel, NoLock);
	stats->rows_read += result.rows_read;
	stats->rows_inserted += result.rows_inserted;
	stats->bytes += result.bytes;
	stats->sink = result.sink;
	stats->reason = result.reason;
	ldr_job_completed(run->package->package_id, job->ordinal, relid, result.rows_read,
					  result.rows_inserted, run->job_started_at);
	ldr_progress_job_done(result.rows_read, result.bytes);
	run->job = NULL;
}

/* Dataset's record, catalog states, NOTIFY: the end of the last transaction of a package. */
static void
publish_record(LdrRun *run)
{
	ListCell   *lc;

	ldr_progress_phase(LDR_PHASE_PUBLISH);
	/* deferred triggers fail here, where the error still becomes the package's */
	ldr_sql_execute("SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, SPI_OK_UTILITY);
	ldr_package_lock_keep();
	ldr_system_record(run);
	foreach(lc, run->stats)
		ldr_package_table_insert(run->package->package_id, lfirst(lc));
	ldr_package_loaded(run->package->package_id, run->started_at);
	ldr_event(run->package->package_id, "loaded", NULL, "%s", "");
	ldr_notify(run->package->package_id, "loaded");
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
	ldr_package_loaded(run->package->package_id, run->started_at);
	ldr_event(run->package->package_id, "already loaded", NULL,
			  "The dataset's record of loads has this load_id.");
	ldr_notify(run->package->package_id, "loaded");
	ldr_xact_commit();
	return true;
}

/* Jobs that are completed, but whose table was dropped since, have to be done again. */
static void
publish_recheck(LdrRun *run)
{
	MemoryContext old;

	ldr_job_recheck(run->package->package_id, run->package->dataset);
	old = MemoryContextSwitchTo(run->cxt);
	run->jobs = ldr_job_list(run->package->package_id);
	MemoryContextSwitchTo(old);
}

void
ldr_publish(LdrRun *run)
{
	ListCell   *lc;

	ldr_xact_begin();
	if (publish_was_loaded(run))
		return;
	publish_create(run);
	publish_recheck(run);
	publish_lock(run, run->jobs);
	ldr_progress_phase(LDR_PHASE_LOAD);
	foreach(lc, run->jobs)
	{
		LdrJob	   *job = lfirst(lc);

		/* completed: by itself, before the package was registered anew as an atomic one */
		if (strcmp(job->state, "completed") != 0)
			publish_job(run, job);
	}
	publish_record(run);
	ldr_xact_commit();
}

bool
ldr_publish_tables(LdrRun *run)
{
	ldr_xact_begin();
	if (publish_was_loaded(run))
		return false;
	publish_create(run);
	publish_recheck(run);
	ldr_package_loading(run->package->package_id);
	ldr_xact_commit();
	return true;
}

/*
 * The next job of a package whose jobs commit one by one: claim, load, mark, commit. False if
 * there is none left that nobody works on. Errors leave the transaction for the caller to abort.
 */
bool
ldr_publish_next_job(LdrRun *run)
{
	LdrJob	   *job;
	ListCell   *lc;

	run->stats = NIL;
	ldr_xact_begin();
	job = ldr_job_claim(run->package->package_id);
	if (job)
	{
		run->job = job;
		publish_lock(run, list_make1(job));
		publish_job(run, job);
		foreach(lc, run->stats)
			ldr_package_table_insert(run->package->package_id, lfirst(lc));
		run->stats = NIL;
	}
	ldr_xact_commit();
	return job != NULL;
}

void
ldr_publish_end(LdrRun *run)
{
	ldr_xact_begin();
	if (publish_was_loaded(run))
		return;
	publish_record(run);
	ldr_xact_commit();
}
