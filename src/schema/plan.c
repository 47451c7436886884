/*
 * schema/plan.c: the package's tables against the live ones.
 *
 * dlt changes tables only when the schema's hash is not yet in _dlt_version; we compare each time,
 * which has the same result where dlt's loader works, and repairs where it would fail.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "loader.h"
#include "schema/live.h"
#include "schema/plan.h"

bool
ldr_change_migrates(const LdrChange *change)
{
	return change->kind == LDR_ADD_COLUMN && change->column->nullable;
}

static void
plan_free_changes(void *changes)
{
	free(changes);
}

static bool
plan_drops(const LdrPlan *plan, const char *name)
{
	for (int i = 0; i < plan->ndrops; i++)
		if (strcmp(plan->drops[i].name, name) == 0)
			return true;
	return false;
}

/* What the live table lacks. One that is to be dropped first does not count. */
static void
plan_compare(LdrPlan *plan, LdrPlanTable *t)
{
	LdrLiveTable live = {0};
	LdrError	err = {0};
	MemoryContextCallback *cb;

	t->relid = plan_drops(plan, t->table->name) ? InvalidOid
		: ldr_live_table(plan->namespace, t->table->name, &live);
	/* a table without jobs is as it is: dlt leaves it alone too */
	if (!t->has_jobs && !t->is_system && !t->truncated)
		return;
	cb = palloc0(sizeof(MemoryContextCallback));
	if (ldr_schema_diff(t->table, &live, &t->changes, &t->nchanges, &err) != LDR_OK)
		ldr_raise(&err, "schema.json");
	cb->func = plan_free_changes;
	cb->arg = t->changes;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, cb);
	for (int i = 0; i < t->nchanges; i++)
	{
		if (ldr_change_migrates(&t->changes[i]))
			plan->migrates = true;
		else if (t->changes[i].kind != LDR_KEEP_TYPE)
			plan->creates = true;
	}
}

static bool
plan_is_system(const LdrSchema *schema, const LdrSchemaTable *table)
{
	return table == schema->version_table || table == schema->loads_table ||
		table == schema->state_table;
}

static LdrPlanTable *
plan_add(LdrPlan *plan, const LdrSchemaTable *table)
{
	LdrPlanTable *t = ldr_plan_table(plan, table->name);

	if (t == NULL)
	{
		t = &plan->tables[plan->ntables++];
		t->table = table;
		t->is_system = plan_is_system(plan->schema, table);
	}
	return t;
}

LdrPlanTable *
ldr_plan_table(const LdrPlan *plan, const char *name)
{
	for (int i = 0; i < plan->ntables; i++)
		if (strcmp(plan->tables[i].table->name, name) == 0)
			return &plan->tables[i];
	return NULL;
}

LdrPlanTable **
ldr_plan_chain(const LdrPlan *plan, const LdrSchemaTable *root, int *n)
{
	LdrPlanTable **chain = palloc(sizeof(LdrPlanTable *) * Max(plan->ntables, 1));

	*n = 0;
	/* by depth, so that parents come first */
	for (int depth = 0, left = plan->ntables; left > 0; depth++)
	{
		left = 0;
		for (int i = 0; i < plan->ntables; i++)
		{
			LdrPlanTable *t = &plan->tables[i];

			if (t->table->root == root && t->table->depth == depth)
				chain[(*n)++] = t;
			else if (t->table->root == root && t->table->depth > depth)
				left++;
		}
	}
	return chain;
}

/*
 * A table with jobs, and the rest of its chain where that is replaced or merged as a whole. *roots
 * are those whose chains are in: a chain may have as many tables with jobs as the schema has
 * tables.
 */
static void
plan_add_job_table(LdrPlan *plan, const char *name, List **roots)
{
	const LdrSchemaTable *table = ldr_schema_table(plan->schema, name);
	LdrDisposition disposition;

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" is not in the package's schema", name)));
	disposition = table->root->disposition;
	plan_add(plan, table)->has_jobs = true;
	if ((disposition != LDR_REPLACE && disposition != LDR_MERGE) ||
		list_member_ptr(*roots, table->root))
		return;
	*roots = lappend(*roots, table->root);
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < plan->schema->ntables; i++)
	{
		const LdrSchemaTable *other = &plan->schema->tables[i];

		if (other->root == table->root && other->seen_data)
			(void) plan_add(plan, other);
	}
}

/*
 * What the package's refresh drops or truncates. A name that the schema does not have is one of an
 * earlier schema; to truncate it we need no more than its name.
 */
static void
plan_add_refresh(LdrPlan *plan, const LdrPackageState *state)
{
	plan->drops = palloc0(sizeof(LdrPlanDrop) * Max(state->ndropped, 1));
	for (int i = 0; i < state->ndropped && OidIsValid(plan->namespace); i++)
	{
		Oid			relid = get_relname_relid(state->dropped_tables[i], plan->namespace);

		if (OidIsValid(relid))
			plan->drops[plan->ndrops++] = (LdrPlanDrop) {state->dropped_tables[i], relid};
	}
	for (int i = 0; i < state->ntruncated; i++)
	{
		const LdrSchemaTable *table = ldr_schema_table(plan->schema, state->truncated_tables[i]);

		if (table == NULL)
		{
			LdrSchemaTable *unknown = palloc0(sizeof(LdrSchemaTable));

			unknown->name = state->truncated_tables[i];
			unknown->root = unknown;
			table = unknown;
		}
		plan_add(plan, table)->truncated = true;
	}
}

static LdrPlan *
plan_create(const LdrSchema *schema, const char *dataset, int room)
{
	LdrPlan    *plan = palloc0(sizeof(LdrPlan));

	plan->schema = schema;
	plan->dataset = pstrdup(dataset);
	plan->namespace = get_namespace_oid(dataset, true);
	plan->creates = !OidIsValid(plan->namespace);
	plan->tables = palloc0(sizeof(LdrPlanTable) * (room + 3));
	(void) plan_add(plan, schema->version_table);
	return plan;
}

/* Compare all; leave out tables without jobs that do not exist: there is nothing to be done. */
static void
plan_compare_all(LdrPlan *plan)
{
	int			kept = 0;

	for (int i = 0; i < plan->ntables; i++)
	{
		LdrPlanTable *t = &plan->tables[i];

		plan_compare(plan, t);
		if (t->has_jobs || t->is_system || t->nchanges > 0 || OidIsValid(t->relid))
			plan->tables[kept++] = *t;
	}
	plan->ntables = kept;
}

LdrPlan *
ldr_plan_make(const LdrSchema *schema, const LdrPackageState *state, const char *dataset,
			  List *job_tables)
{
	LdrPlan    *plan = plan_create(schema, dataset, schema->ntables + state->ntruncated);
	const char *previous = "";
	List	   *roots = NIL;
	ListCell   *lc;

	(void) plan_add(plan, schema->loads_table);
	if (schema->state_table)
		(void) plan_add(plan, schema->state_table);
	foreach(lc, job_tables)
	{
		/* jobs come sorted by table, so most repetitions end here */
		if (strcmp(lfirst(lc), previous) != 0)
			plan_add_job_table(plan, lfirst(lc), &roots);
		previous = lfirst(lc);
	}
	plan_add_refresh(plan, state);
	plan_compare_all(plan);
	return plan;
}

LdrPlan *
ldr_plan_staging(const LdrSchema *schema, const char *staging, List *tables)
{
	LdrPlan    *plan = plan_create(schema, staging, list_length(tables));
	ListCell   *lc;

	foreach(lc, tables)
		plan_add(plan, lfirst(lc))->has_jobs = true;
	plan_compare_all(plan);
	return plan;
}
