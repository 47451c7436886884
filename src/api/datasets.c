/*
 * api/datasets.c: loader.dataset_rows, behind the views loads, schemas and states: dlt's own
 * tables of all datasets.
 */
#include "postgres.h"

#include "access/relation.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "catalog/loader_catalog.h"
#include "compat.h"
#include "schema/live.h"

PG_FUNCTION_INFO_V1(loader_dataset_rows);

/* What is called with a dataset's rows. */
typedef struct DatasetRows
{
	ReturnSetInfo *rsinfo;
	const char *dataset;
} DatasetRows;

/* The row's columns have built-in types only: nobody's casts are in its JSON. */
static bool
datasets_put_row(TupleTableSlot *slot, void *arg)
{
	DatasetRows *rows = arg;
	Datum		json = DirectFunctionCall1(row_to_json, ExecFetchSlotHeapTupleDatum(slot));
	Datum		values[2] = {CStringGetTextDatum(rows->dataset),
	DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(json)))};
	bool		nulls[2] = {false, false};

	tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc, values, nulls);
	return true;
}

/*
 * Rows of one dlt table of every dataset that a visible package went into, with the caller's
 * rights; tables that are views, have row security or columns of types that somebody made, or may
 * not be read are left out.
 */
Datum
loader_dataset_rows(PG_FUNCTION_ARGS)
{
	static const char *const kinds[][2] = {
		{"loads", "_dlt_loads"}, {"schemas", "_dlt_version"}, {"states", "_dlt_pipeline_state"}
	};
	DatasetRows rows = {(ReturnSetInfo *) fcinfo->resultinfo};
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *name = NULL;
	ListCell   *lc;

	for (size_t i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i][0], kind) == 0)
			name = kinds[i][1];
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown kind \"%s\"", kind),
				 errhint("It is loads, schemas or states.")));
	ldr_srf_begin(fcinfo);
	foreach(lc, ldr_package_datasets())
	{
		const char *table;
		Relation	rel = NULL;

		rows.dataset = lfirst(lc);
		if (OidIsValid(ldr_live_own_table(rows.dataset, name, &table)))
			rel = ldr_live_readable(rows.dataset, table);
		if (rel == NULL)
			continue;
		(void) ldr_live_each(rel, datasets_put_row, &rows);
		relation_close(rel, AccessShareLock);
	}
	return (Datum) 0;
}
