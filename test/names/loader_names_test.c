/* loader_names_test.c: names of tables and columns from SQL. */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "loader.h"
#include "schema/airbyte.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_identifier);
PG_FUNCTION_INFO_V1(test_names);

static char *
test_utf8(FunctionCallInfo fcinfo, int i)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(i));

	return pg_server_to_any(value, strlen(value), PG_UTF8);
}

Datum
test_identifier(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(ldr_airbyte_identifier(test_utf8(fcinfo, 0))));
}

static void
test_put(FunctionCallInfo fcinfo, const LdrStream *stream, const LdrStreamColumn *column)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[4] = {CStringGetTextDatum(stream->dataset),
	CStringGetTextDatum(stream->table)};
	bool		nulls[4] = {false, false, column == NULL, column == NULL};

	if (column != NULL)
	{
		values[2] = CStringGetTextDatum(pg_any_to_server(column->property,
														 strlen(column->property), PG_UTF8));
		values[3] = CStringGetTextDatum(column->name);
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
test_names(PG_FUNCTION_ARGS)
{
	char	   *json = test_utf8(fcinfo, 0);
	LdrAirbyteCatalog *catalog;
	LdrError	err = {0};
	LdrStatus	status;

	ldr_srf_begin(fcinfo);
	if (ldr_airbyte_catalog_parse(json, strlen(json), NULL, &catalog, &err) != LDR_OK)
		ldr_raise(&err, NULL);
	status = ldr_airbyte_name(catalog, test_utf8(fcinfo, 1), &err);
	for (int i = 0; i < catalog->nstreams && status == LDR_OK; i++)
	{
		const LdrStream *stream = &catalog->streams[i];

		for (int c = 0; c < stream->ncolumns; c++)
			test_put(fcinfo, stream, &stream->columns[c]);
		if (stream->ncolumns == 0)
			test_put(fcinfo, stream, NULL);
	}
	ldr_airbyte_catalog_free(catalog);
	if (status != LDR_OK)
		ldr_raise(&err, NULL);
	return (Datum) 0;
}
