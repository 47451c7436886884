/*
 * publish/create.c: the DDL of a package: columns before the load, drops and tables with it; and
 * the DDL of a plan that belongs to no package.
 *
 * Only what adds a nullable column to a table that others use comes earlier than publish, in a
 * transaction of its own: in publish its strong lock would be held for the whole load.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "locks.h"
#include "publish/publish.h"
#include "schema/live.h"
#include "worker/worker.h"

LdrPlan *
ldr_run_plan(const LdrRun *run)
{
	LdrPackageState state = *run->dir->state;
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, run->jobs)
		names = lappend(names, ((LdrJob *) lfirst(lc))->table_name);
	if (run->package->dropped)
		state.ndropped = 0;
	return ldr_plan_make(run->dir->schema, &state, run->package->dataset, names);
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

/* For whom something is created. */
typedef struct CreateFor
{
	int64		package_id;		/* whose events tell of it; 0: no package */
	bool		create_indexes;
} CreateFor;

static CreateFor
create_for(const LdrRun *run)
{
	return (CreateFor) {run->package->package_id, run->options->create_indexes};
}

/* object is what the event is of: the change's table, or the one whose name that will have. */
static void
create_change(const CreateFor *who, const char *dataset, const LdrChange *change,
			  const char *object)
{
	char	   *sql = ldr_change_sql(dataset, change, who->create_indexes);

	LDR_FAULT("DDL to be run");
	ldr_sql_execute(sql, 0, NULL, NULL, SPI_OK_UTILITY);
	if (who->package_id != 0)
		ldr_event(who->package_id, change->kind == LDR_CREATE_TABLE ? "create table"
				  : "add column", object, "%s", sql);
}

/*
 * A table that takes the place of one that is dropped is made under a name of its own: the old one
 * is dropped last, so that it can be read until then.
 */
static void
create_provisional(const CreateFor *who, const char *dataset, LdrPlanTable *t,
				   const LdrPlanDrop *drop)
{
	LdrSchemaTable renamed = *t->table;
	LdrChange	change = {.kind = LDR_CREATE_TABLE, .table = &renamed};

	t->made_as = psprintf("loader_new_%u", drop->relid);
	renamed.name = (char *) t->made_as;
	create_change(who, dataset, &change, t->table->name);
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
	CreateFor	who = create_for(run);
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
		LDR_FAULT("columns to be added");
		plan = ldr_run_plan(run);	/* again, now that nobody else can change them */
		for (int i = 0; i < plan->ntables; i++)
		{
			LdrPlanTable *t = &plan->tables[i];
			LdrTableStats stats = {0};
			bool		changed = false;

			for (int c = 0; c < t->nchanges; c++)
				if (ldr_change_migrates(&t->changes[c]) && list_member_oid(relids, t->relid))
				{
					create_change(&who, plan->dataset, &t->changes[c], t->table->name);
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

/* The server's hint is to write CASCADE, but the statement is ours. */
static void
create_drop_error(void *arg)
{
	if (geterrcode() == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
		errhint("The package's refresh drops the table. Drop what depends on it before, and make "
				"it again after the load.");
}

/* One table that the package's refresh drops. Not what depends on it: an error, as for dlt. */
static void
create_drop_table(LdrRun *run, const char *dataset, const char *name)
{
	char	   *sql = psprintf("DROP TABLE %s", quote_qualified_identifier(dataset, name));
	ErrorContextCallback callback = {error_context_stack, create_drop_error, NULL};

	error_context_stack = &callback;
	LDR_FAULT("table to be dropped");
	ldr_sql_execute(sql, 0, NULL, NULL, SPI_OK_UTILITY);
	error_context_stack = callback.previous;
	ldr_event(run->package->package_id, "drop table", name, "%s", sql);
}

/* Several at once, with the locks for it. */
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
		create_drop_table(run, dataset, drops[i].name);
}

List *
ldr_create_dropped(const LdrPlan *plan)
{
	List	   *relids = NIL;

	for (int i = 0; i < plan->ndrops; i++)
		relids = lappend_oid(relids, plan->drops[i].relid);
	return relids;
}

/* The indexes too are called as if the table had had its name from the start. */
static void
create_rename(const LdrPlanTable *t, Oid namespace)
{
	Relation	rel = table_open(t->relid, AccessExclusiveLock);
	ListCell   *lc;

	LDR_FAULT("new table to be renamed");
	RenameRelationInternal(t->relid, t->table->name, false, false);
	CommandCounterIncrement();
	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessExclusiveLock);
		char	   *column = pstrdup(NameStr(TupleDescAttr(RelationGetDescr(index), 0)->attname));

		index_close(index, NoLock);
		RenameRelationInternal(lfirst_oid(lc),
							   ChooseRelationName(t->table->name, column, "key", namespace, true),
							   true, true);
		CommandCounterIncrement();
	}
	table_close(rel, NoLock);
}

void
ldr_create_finish_drops(LdrRun *run, const LdrPlan *plan)
{
	for (int i = 0; i < plan->ndrops; i++)
	{
		const LdrPlanDrop *drop = &plan->drops[i];

		/* is it still the one that was locked? */
		if (get_relname_relid(drop->name, get_namespace_oid(plan->dataset, false)) != drop->relid)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("table \"%s\" was dropped by another session", drop->name)));
		create_drop_table(run, plan->dataset, drop->name);
	}
	for (int i = 0; i < plan->ntables; i++)
		if (plan->tables[i].made_as)
			create_rename(&plan->tables[i], get_namespace_oid(plan->dataset, false));
}

/* The one that is to be dropped in favour of the table; NULL: there is none, or no more. */
static const LdrPlanDrop *
create_replaces(const LdrPlan *plan, const LdrPlanTable *t)
{
	for (int i = 0; i < plan->ndrops; i++)
		if (strcmp(plan->drops[i].name, t->table->name) == 0)
			return &plan->drops[i];
	return NULL;
}

/* The schema may be that of the staging dataset, which nobody has named: say which it is. */
static void
create_check_database(const char *dataset)
{
	if (ldr_database_aclcheck(MyDatabaseId, GetUserId(), ACL_CREATE) == ACLCHECK_OK)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to create schema \"%s\"", dataset),
			 errdetail("Role \"%s\" needs CREATE on the database, or a schema of that name that is "
					   "its own.", GetUserNameFromId(GetUserId(), false))));
}

/*
 * The schema and the tables of a plan, as far as they are not there. What is to be dropped may
 * still be.
 */
static void
create_all(const CreateFor *who, LdrPlan *plan, bool drops_later)
{
	if (!OidIsValid(plan->namespace))
	{
		char	   *sql = ldr_dataset_sql(plan->dataset);

		create_check_database(plan->dataset);
		ldr_sql_execute(sql, 0, NULL, NULL, SPI_OK_UTILITY);
		if (who->package_id != 0)
			ldr_event(who->package_id, "create schema", plan->dataset, "%s", sql);
	}
	LDR_FAULT("schema made");
	create_lock_altered(plan);
	for (int i = 0; i < plan->ntables; i++)
	{
		LdrPlanTable *t = &plan->tables[i];
		const LdrPlanDrop *drop = drops_later ? create_replaces(plan, t) : NULL;

		for (int c = 0; c < t->nchanges; c++)
			if (drop && t->changes[c].kind == LDR_CREATE_TABLE)
				create_provisional(who, plan->dataset, t, drop);
			else if (t->changes[c].kind != LDR_KEEP_TYPE)
				create_change(who, plan->dataset, &t->changes[c], t->table->name);
	}
}

/* The same for a package, in a transaction of the worker. */
static void
create_for_run(LdrRun *run, LdrPlan *plan, bool drops_later)
{
	CreateFor	who = create_for(run);

	create_all(&who, plan, drops_later);
	/* index expressions and the like look with the active snapshot: let it see the new tables */
	PopActiveSnapshot();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
ldr_create_lock(const LdrPlan *plan)
{
	create_lock_altered(plan);
}

/* Somebody who takes no lock of ours, such as a package's publish, was first with the same DDL. */
static void
create_race_error(void *arg)
{
	int			code = geterrcode();

	if (code != ERRCODE_DUPLICATE_TABLE && code != ERRCODE_DUPLICATE_COLUMN &&
		code != ERRCODE_UNIQUE_VIOLATION)
		return;
	errcode(ERRCODE_T_R_SERIALIZATION_FAILURE);
	errhint("Another session made it in the meantime. Try again.");
}

void
ldr_create_plan(LdrPlan *plan, bool create_indexes)
{
	CreateFor	who = {.create_indexes = create_indexes};
	ErrorContextCallback callback = {error_context_stack, create_race_error, NULL};

	error_context_stack = &callback;
	create_all(&who, plan, false);
	error_context_stack = callback.previous;
}

void
ldr_create_schema(const char *dataset)
{
	create_check_database(dataset);
	ldr_sql_execute(ldr_dataset_sql(dataset), 0, NULL, NULL, SPI_OK_UTILITY);
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
	if (run->options->atomic)
		ldr_ways_choose(plan, run->options);
	for (int i = 0; i < plan->ndrops; i++)
		create_check_owner(plan->drops[i].relid);
	/* otherwise this transaction is short, and jobs go by names */
	if (!run->options->atomic)
		create_drop(run, plan->dataset, plan->drops, plan->ndrops);
	create_for_run(run, plan, run->options->atomic);
	for (int i = 0; i < plan->ntables; i++)
	{
		LdrPlanTable *t = &plan->tables[i];

		if (!OidIsValid(t->relid))
			t->relid = get_relname_relid(t->made_as ? t->made_as : t->table->name,
										 get_namespace_oid(plan->dataset, false));
	}
	/*
	 * those who come later, at the end or after a failure, find all tables there: so choose by that
	 */
	if (!run->options->atomic)
		ldr_ways_choose(plan, run->options);
	return plan;
}

bool
ldr_create_trusts(Oid owner, Oid dataset)
{
	return superuser_arg(owner) || is_member_of_role_nosuper(GetUserId(), owner) ||
		(OidIsValid(owner) && owner == ldr_live_schema_owner(dataset));
}

/*
 * The names of staging tables are no secret: somebody may have made them first, with triggers that
 * would run as this role, or their schema, in which its owner can put others in their place.
 * Besides, only an owner may empty and analyze a table.
 */
static void
create_check_staging(const LdrPlan *staging, Oid dataset)
{
	if (!ldr_create_trusts(ldr_live_schema_owner(staging->namespace), dataset))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("staging dataset \"%s\" belongs to another role", staging->dataset),
				 errhint("Drop it, or choose another staging_dataset_name_layout.")));
	for (int i = 0; i < staging->ntables; i++)
	{
		const LdrPlanTable *t = &staging->tables[i];

		if (!OidIsValid(t->relid))
			continue;
		if (!ldr_is_owner(t->relid, GetUserId()) ||
			!ldr_create_trusts(ldr_live_owner(t->relid), dataset))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("must be owner of staging table %s",
							quote_qualified_identifier(staging->dataset, t->table->name)),
					 errhint("Drop it, or choose another staging_dataset_name_layout.")));
	}
}

/*
 * Rows of an earlier package would not let a NOT NULL column in. dlt has emptied the staging table
 * since if the table was replaced; where a swap took its place, they are still there.
 */
static void
create_empty_staging(LdrRun *run, const LdrPlan *plan, const LdrPlan *staging)
{
	for (int i = 0; i < staging->ntables; i++)
	{
		const LdrPlanTable *t = &staging->tables[i];
		const LdrPlanTable *target = ldr_plan_table(plan, t->table->name);
		bool		in_the_way = false;

		for (int c = 0; c < t->nchanges; c++)
			in_the_way = in_the_way || (t->changes[c].kind == LDR_ADD_COLUMN &&
										!t->changes[c].column->nullable);
		if (!in_the_way || target == NULL || ldr_way_stage(target->way) == NULL ||
			strcmp(ldr_way_stage(target->way), LDR_STAGE_STAGING) != 0)
			continue;
		create_check_owner(t->relid);
		(void) ldr_lock_tables(list_make1_oid(t->relid), AccessExclusiveLock);
		ldr_job_restage(run->package->package_id, t->table->name, InvalidOid);
		ldr_sql_execute(psprintf("TRUNCATE TABLE ONLY %s",
								 quote_qualified_identifier(staging->dataset, t->table->name)),
						0, NULL, NULL, SPI_OK_UTILITY);
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
	staging = ldr_plan_staging(schema, name, tables);
	create_empty_staging(run, plan, staging);
	create_for_run(run, staging, false);
	staging = ldr_plan_staging(schema, name, tables);
	create_check_staging(staging, plan->namespace);
	if (ndrops > 0)
		ldr_system_forget_versions(schema, name);
	ldr_system_record_staging(run, tables);
	return staging;
}
