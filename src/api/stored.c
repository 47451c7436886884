/*
 * api/stored.c: dlt's job client, as far as it reads what is stored. Changes nothing.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "compat.h"
#include "publish/storage.h"

PG_FUNCTION_INFO_V1(loader_get_stored_schema);
PG_FUNCTION_INFO_V1(loader_get_stored_schema_by_hash);
PG_FUNCTION_INFO_V1(loader_get_stored_state);
PG_FUNCTION_INFO_V1(loader_get_storage_tables);

/* Begin a function that returns rows; where they go. */
static Tuplestorestate *
stored_begin(FunctionCallInfo fcinfo)
{
	ldr_srf_begin(fcinfo);
	return ((ReturnSetInfo *) fcinfo->resultinfo)->setResult;
}

/*
 * loader_get_stored_schema(dataset, schema_name, staging, staging_dataset_name_layout)
 */
Datum
loader_get_stored_schema(PG_FUNCTION_ARGS)
{
	Tuplestorestate *rows = stored_begin(fcinfo);
	char	   *name = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));

	/* an empty name is none, as for dlt */
	ldr_stored_schema(rows, ldr_api_storage(fcinfo, 0, 2), name && name[0] ? name : NULL, NULL);
	return (Datum) 0;
}

/*
 * loader_get_stored_schema_by_hash(dataset, version_hash, staging, staging_dataset_name_layout)
 */
Datum
loader_get_stored_schema_by_hash(PG_FUNCTION_ARGS)
{
	Tuplestorestate *rows = stored_begin(fcinfo);

	ldr_stored_schema(rows, ldr_api_storage(fcinfo, 0, 2), NULL,
					  ldr_api_text(fcinfo, 1, "version_hash"));
	return (Datum) 0;
}

/*
 * loader_get_stored_state(dataset, pipeline_name)
 */
Datum
loader_get_stored_state(PG_FUNCTION_ARGS)
{
	Tuplestorestate *rows = stored_begin(fcinfo);
	char	   *dataset = ldr_api_text(fcinfo, 0, "dataset");

	ldr_api_check_dataset(dataset);
	ldr_stored_state(rows, dataset, ldr_api_text(fcinfo, 1, "pipeline_name"));
	return (Datum) 0;
}

/*
 * loader_get_storage_tables(dataset, tables, staging, staging_dataset_name_layout)
 */
Datum
loader_get_storage_tables(PG_FUNCTION_ARGS)
{
	Tuplestorestate *rows = stored_begin(fcinfo);

	(void) ldr_api_names(fcinfo, 1, "tables");	/* none of them is null */
	ldr_stored_columns(rows, ldr_api_storage(fcinfo, 0, 2),
					   PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1));
	return (Datum) 0;
}
