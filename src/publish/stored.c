/*
 * publish/stored.c: dlt's own tables as a client reads them, without a package's schema at hand.
 *
 * So names of tables and columns are looked up in the dataset, in whatever letter case they are.
 * Everything runs as the caller.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "publish/storage.h"
#include "schema/live.h"
#include "schema/plan.h"

/* A live column by its name, in whatever letter case. Quoted, with alias if that is not empty. */
static char *
stored_column(Oid relid, const char *alias, const char *name)
{
	char	   *found;

	for (AttrNumber i = 1; (found = get_attname(relid, i, true)) != NULL; i++)
		if (pg_strcasecmp(found, name) == 0)
			return psprintf("%s%s", alias, quote_identifier(found));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of table \"%s.%s\" does not exist", name,
					get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid)),
			 errdetail("It is one of the columns that dlt gives to this table."),
			 errhint("A table of that name that dlt did not make is in its place.")));
}

/* One of dlt's tables that has to be there. Raises 42P01, with its name, if it is not. */
static Oid
stored_table(const char *dataset, const char *name, char **qualified)
{
	const char *found;
	Oid			relid = ldr_live_own_table(dataset, name, &found);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", dataset, name),
				 errdetail("Nothing was loaded into dataset \"%s\" that left it there.", dataset),
				 errhint("loader_update_stored_schema() makes it, and so does the first load.")));
	*qualified = quote_qualified_identifier(dataset, found);
	return relid;
}

/* Run a SELECT of ours whose result has the columns of the tuplestore, and put its rows there. */
static void
stored_rows(Tuplestorestate *rows, const char *sql, int nargs, Oid *types, Datum *values,
			const char *nulls)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(rows, SPI_tuptable->vals[i]);
	SPI_finish();
}

void
ldr_stored_schema(Tuplestorestate *rows, const char *dataset, const char *schema_name,
				  const char *version_hash)
{
	const char *found;
	Oid			t = ldr_live_own_table(dataset, "_dlt_version", &found);
	const char *by = version_hash ? "version_hash" : "schema_name";
	const char *value = version_hash ? version_hash : schema_name;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {value ? CStringGetTextDatum(value) : (Datum) 0};
	StringInfoData sql;

	if (!OidIsValid(t))
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s::pg_catalog.text, %s::pg_catalog.text, %s::pg_catalog.int8, "
					 "%s::pg_catalog.int8, %s::pg_catalog.timestamptz, %s::pg_catalog.text FROM %s",
					 stored_column(t, "", "version_hash"), stored_column(t, "", "schema_name"),
					 stored_column(t, "", "version"), stored_column(t, "", "engine_version"),
					 stored_column(t, "", "inserted_at"), stored_column(t, "", "schema"),
					 quote_qualified_identifier(dataset, found));
	if (value)
		appendStringInfo(&sql, " WHERE %s::pg_catalog.text OPERATOR(pg_catalog.=) $1",
						 stored_column(t, "", by));
	if (!version_hash)
		appendStringInfo(&sql, " ORDER BY %s DESC", stored_column(t, "", "inserted_at"));
	appendStringInfoString(&sql, " LIMIT 1");
	stored_rows(rows, sql.data, value ? 1 : 0, types, values, NULL);
}

char *
ldr_stored_schema_text(const char *dataset, const char *version_hash)
{
	const char *found;
	Oid			t = ldr_live_own_table(dataset, "_dlt_version", &found);
	MemoryContext cxt = CurrentMemoryContext;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(version_hash)};
	char	   *text = NULL;

	if (!OidIsValid(t))
		return NULL;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(psprintf("SELECT %s::pg_catalog.text FROM %s "
									   "WHERE %s::pg_catalog.text OPERATOR(pg_catalog.=) $1",
									   stored_column(t, "", "schema"),
									   quote_qualified_identifier(dataset, found),
									   stored_column(t, "", "version_hash")),
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the schema");
	if (SPI_processed > 0)
		text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (text)
		text = MemoryContextStrdup(cxt, text);
	SPI_finish();
	return text;
}

void
ldr_stored_state(Tuplestorestate *rows, const char *dataset, const char *pipeline_name)
{
	char	   *state,
			   *loads;
	Oid			s = stored_table(dataset, "_dlt_pipeline_state", &state);
	Oid			l = stored_table(dataset, "_dlt_loads", &loads);
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline_name)};

	/* load ids are compared as the column has them: dlt does, and so have they been compared */
	stored_rows(rows,
				psprintf("SELECT %s::pg_catalog.int8, %s::pg_catalog.int8, %s::pg_catalog.text, "
						 "%s::pg_catalog.text, %s::pg_catalog.timestamptz, %s::pg_catalog.text "
						 "FROM %s s JOIN %s l ON %s OPERATOR(pg_catalog.=) %s "
						 "WHERE %s::pg_catalog.text OPERATOR(pg_catalog.=) $1 "
						 "AND %s OPERATOR(pg_catalog.=) 0 ORDER BY %s DESC LIMIT 1",
						 stored_column(s, "s.", "version"),
						 stored_column(s, "s.", "engine_version"),
						 stored_column(s, "s.", "pipeline_name"), stored_column(s, "s.", "state"),
						 stored_column(s, "s.", "created_at"),
						 stored_column(s, "s.", "_dlt_load_id"), state, loads,
						 stored_column(l, "l.", "load_id"), stored_column(s, "s.", "_dlt_load_id"),
						 stored_column(s, "s.", "pipeline_name"), stored_column(l, "l.", "status"),
						 stored_column(l, "l.", "load_id")),
				1, types, values, NULL);
}

/* A table that does not exist has one row, and that comes last. */
void
ldr_stored_columns(Tuplestorestate *rows, const char *dataset, ArrayType *tables)
{
	Oid			types[] = {TEXTOID, TEXTARRAYOID};
	Datum		values[] = {CStringGetTextDatum(dataset), PointerGetDatum(tables)};
	char		nulls[] = {' ', tables ? ' ' : 'n'};

	stored_rows(rows,
				"WITH c AS MATERIALIZED (SELECT table_name::pg_catalog.text AS t, "
				"column_name::pg_catalog.text AS name, data_type::pg_catalog.text AS type, "
				"is_nullable::pg_catalog.text OPERATOR(pg_catalog.=) 'YES' AS nullable, "
				"numeric_precision::pg_catalog.int4 AS p, numeric_scale::pg_catalog.int4 AS s, "
				"ordinal_position::pg_catalog.int8 AS n FROM information_schema.columns "
				"WHERE table_schema::pg_catalog.text OPERATOR(pg_catalog.=) $1 AND ($2 IS NULL OR "
				"table_name::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($2))) "
				"SELECT t, name, type, nullable, p, s FROM ("
				"SELECT 1 AS part, c.* FROM c UNION ALL "
				"SELECT 2, m.t, NULL, NULL, NULL, NULL, NULL, pg_catalog.min(m.n) "
				"FROM pg_catalog.unnest($2) WITH ORDINALITY AS m(t, n) WHERE NOT EXISTS "
				"(SELECT FROM c WHERE c.t OPERATOR(pg_catalog.=) m.t) GROUP BY m.t) a "
				"ORDER BY part, CASE WHEN part OPERATOR(pg_catalog.=) 1 THEN t END COLLATE "
				"pg_catalog.\"C\", n",
				2, types, values, nulls);
}

void
ldr_stored_forget(const char *dataset, const char *schema_name)
{
	const char *found;
	Oid			t = ldr_live_own_table(dataset, "_dlt_version", &found);
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(schema_name)};

	if (!OidIsValid(t))
		return;
	ldr_sql_execute(psprintf("DELETE FROM %s WHERE %s OPERATOR(pg_catalog.=) $1",
							 quote_qualified_identifier(dataset, found),
							 stored_column(t, "", "schema_name")),
					1, types, values, SPI_OK_DELETE);
}
