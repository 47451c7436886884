/*
 * catalog/event.c: loader.event, what happened to a package and when.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "catalog/loader_catalog.h"

/* Record an event in the current transaction. object may be NULL, detail may be "". */
void
ldr_event(int64 package_id, const char *kind, const char *object, const char *detail,...)
{
	StringInfoData text;
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID};

	initStringInfo(&text);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, detail);
		needed = appendStringInfoVA(&text, detail, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	{
		Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(kind), LDR_TEXT_ARG(object),
		CStringGetTextDatum(text.data)};
		char		nulls[] = {' ', ' ', LDR_TEXT_NULL(object), text.len ? ' ' : 'n'};

		ldr_catalog_execute("INSERT INTO loader.event (package_id, kind, object, detail) VALUES ($1, $2, $3, $4)",
							4, types, values, nulls, SPI_OK_INSERT, false, NULL, NULL);
	}
	pfree(text.data);
}
