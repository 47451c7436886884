/*
 * publish/merge_chain.c: the chain that a merge works on: its columns, keys and live types; how
 * its statements are run and noted down.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "fault.h"
#include "loader.h"
#include "publish/merge_sql.h"
#include "schema/plan.h"

#define CHAIN_LOAD_ID "_dlt_load_id"

/* --- what it is made of ----------------------------------------------------------------------- */

static void
chain_table(const LdrMerge *merge, LdrMergeTable *counts, LdrChainTable *table)
{
	const LdrSchemaTable *schema = counts->table;

	table->schema = schema;
	table->counts = counts;
	table->target = quote_qualified_identifier(merge->dataset, counts->made_as ? counts->made_as
											   : schema->name);
	table->staging = quote_qualified_identifier(merge->staging, counts->staged_as
												? counts->staged_as : schema->name);
	table->staged = counts->staged_as ? psprintf("%s %s", table->staging,
												 quote_identifier(schema->name)) : table->staging;
	table->columns = palloc0(sizeof(LdrChainColumn) * (schema->ncolumns + 1));
	for (int i = 0; i < schema->ncolumns; i++)
	{
		LdrChainColumn *column = &table->columns[table->ncolumns];

		if (schema->columns[i].type == LDR_TYPE_NONE)
			continue;
		column->schema = &schema->columns[i];
		column->name = quote_identifier(column->schema->name);
		column->nullable = column->schema->nullable;
		column->staging_nullable = column->schema->nullable;
		table->ncolumns++;
	}
	if (table->ncolumns == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" of the package's schema has no columns", schema->name),
				 errhint("Make the package anew: nothing can be merged into a table without "
						 "columns.")));
}

LdrChain *
ldr_chain_make(LdrMerge *merge)
{
	LdrChain   *chain = palloc0(sizeof(LdrChain));

	chain->merge = merge;
	chain->all = merge->sieve ? "ctid, *" : "*";
	chain->ntables = merge->ntables;
	chain->tables = palloc0(sizeof(LdrChainTable) * merge->ntables);
	for (int i = 0; i < merge->ntables; i++)
		chain_table(merge, &merge->tables[i], &chain->tables[i]);
	return chain;
}

/* What the live tables say of a column; what is not there stays unknown. */
static void
chain_look_column(Oid target, Oid staging, LdrChainColumn *column)
{
	const char *name = column->schema->name;
	HeapTuple	tuple;

	if (OidIsValid(target) && (tuple = SearchSysCacheAttName(target, name)) != NULL)
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

		column->type = att->atttypid;
		column->collation = att->attcollation;
		column->nullable = !att->attnotnull;
		column->identity_always = att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS;
		ReleaseSysCache(tuple);
	}
	if (OidIsValid(staging) && (tuple = SearchSysCacheAttName(staging, name)) != NULL)
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

		column->staging_type = att->atttypid;
		column->staging_collation = att->attcollation;
		column->staging_nullable = !att->attnotnull;
		ReleaseSysCache(tuple);
	}
}

/*
 * Can an update of a row do anything that its SET does not say, or not be done at all? And any
 * other statement? What a foreign key does is no such thing: it looks at keys that change.
 */
static void
chain_look_relation(LdrChainTable *table)
{
	Relation	rel = table_open(table->relid, AccessShareLock);

	table->rules = rel->rd_rules != NULL;
	table->update_triggers = table->rules;
	table->plain = rel->rd_rel->relkind == RELKIND_RELATION && !table->rules &&
		!rel->rd_rel->relrowsecurity && !rel->rd_rel->relhassubclass;
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgisinternal)
			continue;
		table->plain = false;
		table->update_triggers |= TRIGGER_FOR_UPDATE(trigger->tgtype);
	}
	table_close(rel, NoLock);
}

void
ldr_chain_look(LdrChain *chain)
{
	Oid			target = get_namespace_oid(chain->merge->dataset, true);
	Oid			staging = get_namespace_oid(chain->merge->staging, true);

	for (int i = 0; i < chain->ntables; i++)
	{
		LdrChainTable *table = &chain->tables[i];
		const char *name = table->schema->name;
		const char *staged = table->counts->staged_as ? table->counts->staged_as : name;
		Oid			from = OidIsValid(staging) ? get_relname_relid(staged, staging) : InvalidOid;

		if (OidIsValid(target))
			table->relid = get_relname_relid(table->counts->made_as ? table->counts->made_as : name,
											 target);
		for (int c = 0; c < table->ncolumns; c++)
			chain_look_column(table->relid, from, &table->columns[c]);
		table->plain = true;
		if (OidIsValid(table->relid) && !chain->merge->dry_run)
			chain_look_relation(table);
	}
}

/* --- columns by what they are for ------------------------------------------------------------- */

static bool
chain_column_has(const LdrSchemaColumn *column, LdrHint hint)
{
	switch (hint)
	{
		case LDR_HINT_ANY:
			return true;
		case LDR_HINT_PRIMARY_KEY:
			return column->primary_key;
		case LDR_HINT_MERGE_KEY:
			return column->merge_key;
		case LDR_HINT_ROW_KEY:
			return column->row_key;
		case LDR_HINT_PARENT_KEY:
			return column->parent_key;
		case LDR_HINT_ROOT_KEY:
			return column->root_key;
		case LDR_HINT_UNIQUE:
			return column->unique;
		case LDR_HINT_HARD_DELETE:
			return column->hard_delete;
		case LDR_HINT_DEDUP_SORT:
			return column->dedup_sort != 0;
		case LDR_HINT_ROW_VERSION:
			return column->row_version;
		case LDR_HINT_VALID_FROM:
			return column->valid_from;
		case LDR_HINT_VALID_TO:
			return column->valid_to;
	}
	return false;
}

List *
ldr_chain_columns(const LdrChainTable *table, LdrHint hint)
{
	List	   *found = NIL;

	for (int i = 0; i < table->ncolumns; i++)
		if (chain_column_has(table->columns[i].schema, hint))
			found = lappend(found, &table->columns[i]);
	return found;
}

LdrChainColumn *
ldr_chain_column(const LdrChainTable *table, LdrHint hint)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (chain_column_has(table->columns[i].schema, hint))
			return &table->columns[i];
	return NULL;
}

static void
__attribute__((noreturn))
chain_no_key(const LdrChainTable *table, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("table \"%s\" of the package's schema cannot be merged: it has no %s",
					table->schema->name, what),
			 errhint("%s", hint)));
}

/* What tells the table's rows apart: the row key, else a unique column, else a single key. */
LdrChainColumn *
ldr_chain_row_key(const LdrChainTable *table)
{
	LdrChainColumn *found = ldr_chain_column(table, LDR_HINT_ROW_KEY);
	List	   *primary;

	if (found == NULL)
		found = ldr_chain_column(table, LDR_HINT_UNIQUE);
	if (found)
		return found;
	primary = ldr_chain_columns(table, LDR_HINT_PRIMARY_KEY);
	if (list_length(primary) != 1)
		chain_no_key(table, "row key",
					 "It needs a column with the hint row_key or unique, as _dlt_id has, or a "
					 "primary key of one column.");
	return linitial(primary);
}

LdrChainTable *
ldr_chain_parent(const LdrChain *chain, const LdrChainTable *table)
{
	for (int i = 0; i < chain->ntables; i++)
		if (table->schema->parent != NULL &&
			strcmp(chain->tables[i].schema->name, table->schema->parent) == 0)
			return &chain->tables[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the parent of table \"%s\" is not in its chain", table->schema->name)));
}

/* What says which root row a nested row belongs to. */
LdrChainColumn *
ldr_chain_root_key(const LdrChain *chain, const LdrChainTable *table)
{
	LdrChainColumn *found = ldr_chain_column(table, LDR_HINT_ROOT_KEY);

	if (found == NULL && ldr_chain_parent(chain, table) == &chain->tables[0])
		found = ldr_chain_column(table, LDR_HINT_PARENT_KEY);
	if (found == NULL)
		chain_no_key(table, "root key",
					 "It needs a column with the hint root_key, as _dlt_root_id has.");
	return found;
}

/* A row of a later load always differs if it carries the load's id. */
bool
ldr_chain_has_load_id(const LdrChainTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (pg_strcasecmp(table->columns[i].schema->name, CHAIN_LOAD_ID) == 0)
			return true;
	return false;
}

/* --- statements ------------------------------------------------------------------------------- */

int64
ldr_chain_run(LdrChain *chain, const char *sql, int expect)
{
	LdrMerge   *merge = chain->merge;

	merge->statements = lappend(merge->statements, pstrdup(sql));
	if (merge->dry_run)
		return 0;
	LDR_FAULT("merge: a statement to be run");
	return (int64) ldr_sql_execute(sql, 0, NULL, NULL, expect);
}

bool
ldr_chain_finds(LdrChain *chain, const char *sql)
{
	return ldr_chain_run(chain, sql, SPI_OK_SELECT) > 0;
}

void
ldr_chain_counts(LdrChain *chain, const char *sql, int n, int64 *counts)
{
	LdrMerge   *merge = chain->merge;

	merge->statements = lappend(merge->statements, pstrdup(sql));
	memset(counts, 0, sizeof(int64) * n);
	if (merge->dry_run)
		return;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(sql, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "unexpected result of \"%s\"", sql);
	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1,
										  &isnull);

		counts[i] = isnull ? 0 : DatumGetInt64(value);
	}
	SPI_finish();
}

bool
ldr_chain_has_duplicates(LdrChain *chain, const char *from, const char *keys)
{
	return ldr_chain_finds(chain,
						   psprintf("SELECT 1 FROM %s GROUP BY %s HAVING pg_catalog.count(*) "
									"OPERATOR(pg_catalog.>) 1 LIMIT 1",
									from, keys));
}

/* --- temporary tables of keys ----------------------------------------------------------------- */

char *
ldr_chain_keys(LdrChain *chain, const char *query, int64 *n)
{
	static uint32 counter = 0;
	char	   *keys = psprintf("pg_temp.loader_keys_%u", chain->merge->dry_run ? 0 : ++counter);

	*n = ldr_chain_run(chain, psprintf("CREATE TEMPORARY TABLE %s ON COMMIT DROP AS %s", keys,
									   query), SPI_OK_UTILITY);
	return keys;
}

void
ldr_chain_keys_add(LdrChain *chain, const char *keys, const char *query, int64 *n)
{
	*n += ldr_chain_run(chain, psprintf("INSERT INTO %s %s", keys, query), SPI_OK_INSERT);
}

/* All keys are in: the planner should know how many. */
void
ldr_chain_keys_done(LdrChain *chain, const char *keys)
{
	ldr_chain_run(chain, psprintf("ANALYZE %s", keys), SPI_OK_UTILITY);
}
