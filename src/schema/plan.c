/*
 * schema/plan.c: the package's tables against the live ones.
 *
 * dlt changes tables only when the schema's hash is not yet in _dlt_version; we compare each time,
 * which has the same result where dlt's loader works, and repairs where it would fail.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/hsearch.h"
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

static void
plan_compare(LdrPlan *plan, LdrPlanTable *t)
{
	LdrLiveTable live;
	LdrError	err = {0};
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));

	t->relid = ldr_live_table(plan->namespace, t->table->name, &live);
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

static void
plan_add(LdrPlan *plan, const LdrSchema *schema, const LdrSchemaTable *table, bool has_jobs)
{
	LdrPlanTable *t = ldr_plan_table(plan, table->name);

	if (t == NULL)
	{
		t = &plan->tables[plan->ntables++];
		t->table = table;
		t->is_system = plan_is_system(schema, table);
	}
	t->has_jobs |= has_jobs;
}

LdrPlanTable *
ldr_plan_table(const LdrPlan *plan, const char *name)
{
	for (int i = 0; i < plan->ntables; i++)
		if (strcmp(plan->tables[i].table->name, name) == 0)
			return &plan->tables[i];
	return NULL;
}

LdrPlan *
ldr_plan_make(const LdrSchema *schema, const char *dataset, List *job_tables)
{
	LdrPlan    *plan = palloc0(sizeof(LdrPlan));
	const char *previous = "";
	ListCell   *lc;

	plan->dataset = pstrdup(dataset);
	plan->namespace = get_namespace_oid(dataset, true);
	plan->creates = !OidIsValid(plan->namespace);
	plan->tables = palloc0(sizeof(LdrPlanTable) * (list_length(job_tables) + 3));

	plan_add(plan, schema, schema->version_table, false);
	plan_add(plan, schema, schema->loads_table, false);
	if (schema->state_table)
		plan_add(plan, schema, schema->state_table, false);
	foreach(lc, job_tables)
	{
		/* jobs come sorted by table, so most repetitions end here */
		if (strcmp(lfirst(lc), previous) != 0)
		{
			const LdrSchemaTable *table = ldr_schema_table(schema, lfirst(lc));

			if (table == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_TABLE),
						 errmsg("table \"%s\" is not in the package's schema",
								(char *) lfirst(lc))));
			plan_add(plan, schema, table, true);
		}
		previous = lfirst(lc);
	}
	for (int i = 0; i < plan->ntables; i++)
		plan_compare(plan, &plan->tables[i]);
	return plan;
}
