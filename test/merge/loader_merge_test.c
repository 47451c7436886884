/* loader_merge_test.c: drive merges and replaces by SQL from SQL. */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "loader.h"
#include "publish/merge.h"
#include "schema/plan.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_merge);
PG_FUNCTION_INFO_V1(test_statements);
PG_FUNCTION_INFO_V1(test_ddl);

/* Nobody asks to cancel what has no package. */
void
ldr_check_cancel(void)
{
}

/* The module's own parts ask raise.c for this; here no text is foreign. */
static LdrSchema *
test_parse(const char *json)
{
	LdrSchema  *schema;
	LdrError	err = {0};

	if (ldr_schema_parse(json, strlen(json), &schema, &err) != LDR_OK)
		ldr_raise(&err, "schema.json");
	return schema;
}

/* The chain in the order of the schema: a table is there after its parent. */
static void
test_chain(const LdrSchema *schema, const char *root, LdrMerge *merge)
{
	merge->tables = palloc0(sizeof(LdrMergeTable) * schema->ntables);
	for (int depth = 0; depth < schema->ntables; depth++)
		for (int i = 0; i < schema->ntables; i++)
		{
			const LdrSchemaTable *t = &schema->tables[i];
			const LdrSchemaTable *up = t;
			int			n = 0;

			while (up != up->root)
			{
				up = ldr_schema_table(schema, up->parent);
				n++;
			}
			if (n == depth && strcmp(up->name, root) == 0)
				merge->tables[merge->ntables++].table = t;
		}
	if (merge->ntables == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" is not in the schema", root)));
}

static char *
test_text(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static LdrMerge *
test_run(FunctionCallInfo fcinfo)
{
	LdrMerge   *merge = palloc0(sizeof(LdrMerge));
	char	   *how = test_text(fcinfo, 5);

	test_chain(test_parse(test_text(fcinfo, 0)), test_text(fcinfo, 1), merge);
	merge->dataset = test_text(fcinfo, 2);
	merge->staging = test_text(fcinfo, 3);
	merge->created_at = test_text(fcinfo, 4);
	merge->dry_run = strncmp(how, "dry", 3) == 0;
	if (strcmp(how, "diff") == 0 || strcmp(how, "dry diff") == 0 || strcmp(how, "refill") == 0)
	{
		for (int i = 0; i < merge->ntables; i++)
		{
			if (strcmp(how, "refill") == 0)
			{
				ldr_refill_delete(merge, i);
				ldr_refill_insert(merge, i);
			}
			else
				ldr_diff_insert(ldr_diff_delete(merge, i));
		}
		return merge;
	}
	ldr_merge_check(merge);
	if (strcmp(how, "check") != 0)
		ldr_merge_run(merge);
	return merge;
}

Datum
test_merge(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LdrMerge   *merge;

	ldr_srf_begin(fcinfo);
	merge = test_run(fcinfo);
	for (int i = 0; i < merge->ntables; i++)
	{
		const LdrMergeTable *t = &merge->tables[i];
		Datum		values[] = {CStringGetTextDatum(t->table->name), Int64GetDatum(t->inserted),
		Int64GetDatum(t->updated), Int64GetDatum(t->deleted)};
		bool		nulls[] = {false, false, false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static void
test_put(FunctionCallInfo fcinfo, const char *text)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		value = CStringGetTextDatum(text);
	bool		isnull = false;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
}

Datum
test_statements(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	ldr_srf_begin_scalar(fcinfo);
	foreach(lc, test_run(fcinfo)->statements)
		test_put(fcinfo, lfirst(lc));
	return (Datum) 0;
}

Datum
test_ddl(PG_FUNCTION_ARGS)
{
	LdrSchema  *schema = test_parse(test_text(fcinfo, 0));
	char	   *dataset = test_text(fcinfo, 1);

	ldr_srf_begin_scalar(fcinfo);
	for (int i = 0; i < schema->ntables; i++)
	{
		LdrChange	change = {.kind = LDR_CREATE_TABLE,.table = &schema->tables[i]};

		if (schema->tables[i].name[0] != '_')
			test_put(fcinfo, ldr_change_sql(dataset, &change, PG_GETARG_BOOL(2)));
	}
	return (Datum) 0;
}
