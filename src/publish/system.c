/*
 * publish/system.c: dlt's own tables in the dataset: what was loaded, with which schema.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "loader.h"
#include "publish/publish.h"
#include "schema/live.h"
#include "worker/worker.h"

/* A column of one of dlt's tables; naming conventions change the letter case. */
static const char *
system_name(const LdrSchemaTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (pg_strcasecmp(table->columns[i].name, name) == 0)
			return table->columns[i].name;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("table \"%s\" of the package's schema has no column \"%s\"", table->name,
					name),
			 errhint("dlt makes this table itself; make the package anew.")));
}

/* The same, quoted. */
static const char *
system_column(const LdrSchemaTable *table, const char *name)
{
	return quote_identifier(system_name(table, name));
}

/* A load, to be found in a dataset. */
typedef struct SystemLoad
{
	const LdrSchema *schema;
	const char *load_id;
} SystemLoad;

/* Has the row this text in that column? Its type is built in. */
static bool
system_row_has(TupleTableSlot *slot, const char *column, const char *value)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid			output;
		bool		is_varlena,
					isnull;
		Datum		datum;

		if (att->attisdropped || strcmp(NameStr(att->attname), column) != 0)
			continue;
		datum = slot_getattr(slot, i + 1, &isnull);
		getTypeOutputInfo(att->atttypid, &output, &is_varlena);
		return !isnull && strcmp(OidOutputFunctionCall(output, datum), value) == 0;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of the record of loads does not exist", column)));
}

static bool
system_is_other_load(TupleTableSlot *slot, void *arg)
{
	const SystemLoad *load = arg;
	const LdrSchemaTable *t = load->schema->loads_table;

	return !system_row_has(slot, system_name(t, "load_id"), load->load_id) ||
		!system_row_has(slot, system_name(t, "schema_name"), load->schema->name) ||
		!system_row_has(slot, system_name(t, "status"), "0");
}

/*
 * Does the dataset say that this load is in it? Looks with a new snapshot, as the current role. A
 * missing dataset or table says no. One that the role cannot read in full raises 42501: to take
 * that for a no would load packages twice.
 */
bool
ldr_system_is_loaded(const LdrSchema *schema, const char *dataset, const char *load_id)
{
	const LdrSchemaTable *t = schema->loads_table;
	SystemLoad	load = {schema, load_id};
	Relation	rel = ldr_live_readable(dataset, t->name);
	bool		found;

	if (rel == NULL)
	{
		Oid			nsp = get_namespace_oid(dataset, true);

		if (!OidIsValid(nsp) || !OidIsValid(get_relname_relid(t->name, nsp)))
			return false;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot read the record of loads \"%s.%s\"", dataset, t->name),
				 errdetail("Role \"%s\" needs USAGE on the schema and SELECT and INSERT on the "
						   "table, which must be a table with columns of built-in types and "
						   "without row-level security that binds it.",
						   GetUserNameFromId(GetUserId(), false))));
	}
	found = !ldr_live_each(rel, system_is_other_load, &load);
	relation_close(rel, AccessShareLock);
	return found;
}

/* Is a schema of that hash stored there? The table must exist. */
bool
ldr_system_knows_version(const LdrSchema *schema, const char *dataset, const char *version_hash)
{
	const LdrSchemaTable *t = schema->version_table;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(version_hash)};

	return ldr_sql_finds(psprintf("SELECT 1 FROM %s WHERE %s OPERATOR(pg_catalog.=) $1 LIMIT 1",
								  quote_qualified_identifier(dataset, t->name),
								  system_column(t, "version_hash")),
						 1, types, values);
}

void
ldr_system_record_version(const LdrSchema *schema, const char *dataset, const char *version_hash,
						  const char *text, size_t len)
{
	const LdrSchemaTable *t = schema->version_table;
	Oid			types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {Int64GetDatum(schema->version), Int64GetDatum(schema->engine_version),
		TimestampTzGetDatum(GetCurrentTimestamp()), CStringGetTextDatum(schema->name),
		CStringGetTextDatum(version_hash),
	PointerGetDatum(cstring_to_text_with_len(text, len))};

	ldr_sql_execute(psprintf("INSERT INTO %s (%s, %s, %s, %s, %s, %s) VALUES ($1, $2, $3, $4, $5, "
							 "$6)",
							 quote_qualified_identifier(dataset, t->name),
							 system_column(t, "version"),
							 system_column(t, "engine_version"), system_column(t, "inserted_at"),
							 system_column(t, "schema_name"), system_column(t, "version_hash"),
							 system_column(t, "schema")),
					6, types, values, SPI_OK_INSERT);
}

/* As dlt does when it drops tables: all versions of the schema go. */
void
ldr_system_forget_versions(const LdrSchema *schema, const char *dataset)
{
	const LdrSchemaTable *t = schema->version_table;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(schema->name)};

	ldr_sql_execute(psprintf("DELETE FROM %s WHERE %s OPERATOR(pg_catalog.=) $1",
							 quote_qualified_identifier(dataset, t->name),
							 system_column(t, "schema_name")),
					1, types, values, SPI_OK_DELETE);
}

static bool
system_is_among(const char *table, void *arg)
{
	ListCell   *lc;

	foreach(lc, (List *) arg)
		if (strcmp(((LdrSchemaTable *) lfirst(lc))->name, table) == 0)
			return true;
	return false;
}

/* A hash of the text, in base64 as dlt's are. It need not be dlt's: that compares tables then. */
static char *
system_hash(const char *text, size_t len)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *hash = palloc0(pg_b64_enc_len(sizeof(digest)) + 1);

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) text, len) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
	pg_cryptohash_free(ctx);
	if (ldr_b64_encode(digest, sizeof(digest), hash, pg_b64_enc_len(sizeof(digest))) < 0)
		elog(ERROR, "could not encode a hash");
	return hash;
}

/* The schema's version in the staging dataset: cut to the tables that are there, under its hash. */
void
ldr_system_record_staging(const LdrRun *run, List *tables)
{
	LdrError	err = {0};
	char	   *trimmed;
	char	   *content;
	char	   *text;
	char	   *hash;

	if (ldr_schema_trim(run->dir->schema_text, run->dir->schema_len, system_is_among, tables,
						&trimmed, &content, &err) != LDR_OK)
		ldr_raise(&err, "schema.json");
	text = pstrdup(trimmed);
	free(trimmed);
	hash = system_hash(content, strlen(content));
	free(content);
	if (!ldr_system_knows_version(run->dir->schema, ldr_run_staging(run), hash))
		ldr_system_record_version(run->dir->schema, ldr_run_staging(run), hash, text,
								  strlen(text));
}

/*
 * Write the schema's version, unless it is known, and the load. Last thing before the commit:
 * caller holds the dataset's lock to record, which keeps two packages from both finding the version
 * missing.
 */
void
ldr_system_record(const LdrRun *run)
{
	const LdrSchema *schema = run->dir->schema;
	const char *dataset = run->package->dataset;

	if (ldr_system_is_loaded(schema, dataset, run->package->load_id))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("load \"%s\" was recorded by another session meanwhile",
						run->package->load_id)));
	if (run->dir->state->ndropped > 0)
		ldr_system_forget_versions(schema, dataset);
	if (!ldr_system_knows_version(schema, dataset, schema->version_hash))
		ldr_system_record_version(schema, dataset, schema->version_hash, run->dir->schema_text,
								  run->dir->schema_len);
	ldr_system_record_load(run);
}

/* The load alone. */
void
ldr_system_record_load(const LdrRun *run)
{
	const LdrSchema *schema = run->dir->schema;
	const LdrSchemaTable *t = schema->loads_table;
	const char *dataset = run->package->dataset;
	Oid			types[] = {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(run->package->load_id),
		CStringGetTextDatum(schema->name),
		Int64GetDatum(0), TimestampTzGetDatum(GetCurrentTimestamp()),
	CStringGetTextDatum(schema->version_hash)};

	ldr_sql_execute(psprintf("INSERT INTO %s (%s, %s, %s, %s, %s) VALUES ($1, $2, $3, $4, $5)",
							 quote_qualified_identifier(dataset, t->name),
							 system_column(t, "load_id"),
							 system_column(t, "schema_name"), system_column(t, "status"),
							 system_column(t, "inserted_at"),
							 system_column(t, "schema_version_hash")),
					5, types, values, SPI_OK_INSERT);
}
