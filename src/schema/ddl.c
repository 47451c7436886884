/*
 * schema/ddl.c: changes as SQL, and how a statement of ours is run as the caller's role.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "loader.h"
#include "schema/plan.h"
#include "schema/postgis.h"

char *
ldr_dataset_sql(const char *dataset)
{
	return psprintf("CREATE SCHEMA %s", quote_identifier(dataset));
}

/* The schema of a type that is not pg_catalog's, with its dot; else nothing. */
static const char *
ddl_type_prefix(const LdrSchemaTable *table, const LdrSchemaColumn *column)
{
	char	   *schema;

	if (!column->geometry)
		return "";
	if (!OidIsValid(ldr_geometry_type(&schema)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type \"geometry\" does not exist"),
				 errdetail("Column \"%s\" of table \"%s\" is a geometry of PostGIS.",
						   column->name, table->name),
				 errhint("Install PostGIS into this database: CREATE EXTENSION postgis.")));
	return psprintf("%s.", quote_identifier(schema));
}

/* "name" type [NOT NULL] [UNIQUE] */
static void
ddl_column(StringInfo sql, const LdrSchemaTable *table, const LdrSchemaColumn *column,
		   bool create_indexes)
{
	LdrError	err = {0};
	char		type[128];

	if (ldr_column_type_sql(column, table->file_format, type, sizeof(type), &err) != LDR_OK)
		ldr_raise(&err, "schema.json");
	appendStringInfo(sql, "%s %s%s", quote_identifier(column->name),
					 ddl_type_prefix(table, column), type);
	if (!column->nullable)
		appendStringInfoString(sql, " NOT NULL");
	if (column->unique && create_indexes)
		appendStringInfoString(sql, " UNIQUE");
}

char *
ldr_change_sql(const char *dataset, const LdrChange *change, bool create_indexes)
{
	StringInfoData sql;
	char	   *table = quote_qualified_identifier(dataset, change->table->name);
	const char *separator = "";

	initStringInfo(&sql);
	if (change->kind == LDR_ADD_COLUMN)
	{
		appendStringInfo(&sql, "ALTER TABLE %s ADD COLUMN ", table);
		ddl_column(&sql, change->table, change->column, create_indexes);
		return sql.data;
	}
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	for (int i = 0; i < change->table->ncolumns; i++)
	{
		if (change->table->columns[i].type == LDR_TYPE_NONE)
			continue;
		appendStringInfoString(&sql, separator);
		ddl_column(&sql, change->table, &change->table->columns[i], create_indexes);
		separator = ", ";
	}
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

uint64
ldr_sql_execute(const char *sql, int nargs, Oid *types, Datum *values, int expect)
{
	int			rc;
	uint64		n;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	rc = SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);
	if (rc != expect && rc != SPI_OK_REWRITTEN) /* a rule of the user's table does something else */
		elog(ERROR, "unexpected result %s of \"%s\"", SPI_result_code_string(rc), sql);
	n = SPI_processed;
	SPI_finish();
	return n;
}

bool
ldr_sql_finds(const char *sql, int nargs, Oid *types, Datum *values)
{
	bool		found;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
	PopActiveSnapshot();
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}
