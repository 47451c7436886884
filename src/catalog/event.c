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
	StringInfoData formatted;
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};
	int			needed;

	initStringInfo(&formatted);
	do
	{
		va_list		args;

		va_start(args, detail);
		needed = appendStringInfoVA(&formatted, detail, args);
		va_end(args);
		if (needed > 0)
			enlargeStringInfo(&formatted, needed);
	} while (needed > 0);
	values[0] = Int64GetDatum(package_id);
	values[1] = CStringGetTextDatum(kind);
	values[2] = LDR_TEXT_ARG(object);
	values[3] = CStringGetTextDatum(formatted.data);
	nulls[2] = LDR_TEXT_NULL(object);
	nulls[3] = formatted.len > 0 ? ' ' : 'n';
	ldr_catalog_execute("INSERT INTO loader.event (package_id, kind, object, detail) "
						"VALUES ($1, $2, $3, $4)",
						4, types, values, nulls, SPI_OK_INSERT, false, NULL, NULL);
	pfree(formatted.data);
}
