/*
 * api/datasets.c: loader.dataset_rows, behind the views loads, schemas and states: dlt's own
 * tables of all datasets.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog/loader_catalog.h"
#include "compat.h"
#include "schema/live.h"

PG_FUNCTION_INFO_V1(loader_dataset_rows);

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
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *name = NULL;
	Oid			user;
	int			sec;
	ListCell   *lc;

	for (size_t i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i][0], kind) == 0)
			name = kinds[i][1];
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown kind \"%s\"", kind),
				 errhint("It is loads, schemas or states.")));
	GetUserIdAndSecContext(&user, &sec);
	ldr_srf_begin(fcinfo);
	foreach(lc, ldr_package_datasets())
	{
		const char *dataset = lfirst(lc);
		const char *table;
		Oid			owner = ldr_live_owner(ldr_live_own_table(dataset, name, true, &table));

		if (!OidIsValid(owner))
			continue;
		/* as the table's owner: whoever can put something else in its place gets no more */
		SetUserIdAndSecContext(owner,
							   sec | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
		if (!OidIsValid(ldr_live_readable(dataset, table)))
		{
			SetUserIdAndSecContext(user, sec);
			continue;
		}
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		if (SPI_execute(psprintf("SELECT pg_catalog.to_jsonb(t) FROM ONLY %s t",
								 quote_qualified_identifier(dataset, table)),
						true, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not read %s of \"%s\"", name, dataset);
		SetUserIdAndSecContext(user, sec);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		nulls[2] = {false, false};
			Datum		values[2] = {CStringGetTextDatum(dataset),
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &nulls[1])};

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		SPI_finish();
	}
	return (Datum) 0;
}
