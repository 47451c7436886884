/*
 * publish/replace_diff.c: replace a table's rows by changing only those that differ.
 *
 * By primary key, if no row of either side lacks it and no two share it; else by whole row, where
 * equal rows are counted. A row is equal if its image is, so the contents end up as they are in
 * staging to the last bit. Columns that the package does not have are as if newly filled: NULL.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "fault.h"
#include "publish/merge_sql.h"

struct LdrDiff
{
	LdrChain   *chain;
	LdrChainTable *table;
	List	   *keys;			/* columns of the primary key; NIL: by whole row */
	List	   *others;			/* quoted names of columns that the package does not have */
	char	   *others_filled;	/* some of them are not NULL in d; NULL: there are none */
	bool		rewrites;		/* a changed row is deleted and inserted, not updated */
	bool		refills;		/* it cannot be done: all is deleted and inserted */
};

/* --- can it be done? -------------------------------------------------------------------------- */

static LdrChainColumn *
diff_find(const LdrChainTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].schema->name, name) == 0)
			return &table->columns[i];
	return NULL;
}

/* Columns that the package does not have. Returns why they are in the way, or NULL. */
static const char *
diff_look_at_others(LdrDiff *diff, Relation rel)
{
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		const char *name;

		if (att->attisdropped || att->attgenerated ||
			diff_find(diff->table, NameStr(att->attname)))
			continue;
		if (build_column_default(rel, att->attnum) != NULL)
			return psprintf("column \"%s\" is not in the package and has a default",
							NameStr(att->attname));
		name = quote_identifier(pstrdup(NameStr(att->attname)));
		diff->others = lappend(diff->others, (void *) name);
		diff->others_filled = psprintf("%s%sd.%s IS NOT NULL",
									   diff->others_filled ? diff->others_filled : "",
									   diff->others_filled ? " OR " : "", name);
	}
	return NULL;
}

/* Has every type of the row a binary form? The rows are compared by it. */
static bool
diff_has_binary_form(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool		has;

	if (!HeapTupleIsValid(tuple))
		return false;
	has = OidIsValid(((Form_pg_type) GETSTRUCT(tuple))->typsend);
	ReleaseSysCache(tuple);
	return has;
}

/* Why the table cannot be done by differences, NULL if it can. */
static const char *
diff_refuse(LdrDiff *diff, Relation rel)
{
	const LdrChainTable *table = diff->table;

	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return "it is not a plain or partitioned table";
	for (int i = 0; i < table->ncolumns; i++)
	{
		const LdrChainColumn *column = &table->columns[i];

		if (column->identity_always)
			return psprintf("column \"%s\" is an identity column that cannot be updated",
							column->schema->name);
		if (OidIsValid(column->type) && !diff_has_binary_form(getBaseType(column->type)))
			return psprintf("column \"%s\" has a type without a binary form",
							column->schema->name);
	}
	return diff_look_at_others(diff, rel);
}

/* --- can it be done by primary key? ----------------------------------------------------------- */

/* Do both sides mean the same by "equal", so that one row matches at most one? */
static bool
diff_comparable(const LdrChainColumn *column)
{
	Oid			type = getBaseType(column->type);
	Oid			staging = getBaseType(column->staging_type);

	return IsBinaryCoercible(staging, type) && column->collation == column->staging_collation &&
		OidIsValid(lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr);
}

static bool
diff_has_null_keys(LdrChain *chain, const char *from, List *keys, bool staging)
{
	StringInfoData condition;
	ListCell   *lc;

	initStringInfo(&condition);
	foreach(lc, keys)
	{
		LdrChainColumn *column = lfirst(lc);

		if (staging ? column->staging_nullable : column->nullable)
			appendStringInfo(&condition, "%ss.%s IS NULL", condition.len > 0 ? " OR " : "",
							 column->name);
	}
	return condition.len > 0 &&
		ldr_chain_finds(chain, psprintf("SELECT 1 FROM %s WHERE %s LIMIT 1", from,
										condition.data));
}

static bool
diff_is_key(LdrChain *chain, const char *name, List *keys, bool staging)
{
	char	   *from = psprintf("%s s", name);

	return !diff_has_null_keys(chain, from, keys, staging) &&
		!ldr_chain_has_duplicates(chain, from, ldr_sql_columns(keys, "s"));
}

static List *
diff_keys(LdrDiff *diff)
{
	LdrChainTable *table = diff->table;
	List	   *keys = ldr_chain_columns(table, LDR_HINT_PRIMARY_KEY);
	ListCell   *lc;

	if (keys == NIL)
		return NIL;
	if (diff->chain->merge->dry_run)
		return keys;
	foreach(lc, keys)
		if (!diff_comparable(lfirst(lc)))
			return NIL;
	if (!diff_is_key(diff->chain, table->staging, keys, true) ||
		!diff_is_key(diff->chain, table->target, keys, false))
		return NIL;
	return keys;
}

/* --- update, or delete and insert? ------------------------------------------------------------ */

/* Is a row of the table what a foreign key elsewhere refers to? */
static bool
diff_is_referenced(Relation rel)
{
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		if (RI_FKey_trigger_type(rel->trigdesc->triggers[i].tgfoid) == RI_TRIGGER_PK)
			return true;
	return false;
}

/* Attribute numbers of the key. */
static Bitmapset *
diff_key_numbers(const LdrDiff *diff, Relation rel)
{
	Bitmapset  *numbers = NULL;
	ListCell   *lc;

	foreach(lc, diff->keys)
	{
		const LdrChainColumn *key = lfirst(lc);

		numbers = bms_add_member(numbers, get_attnum(RelationGetRelid(rel), key->schema->name));
	}
	return numbers;
}

/* Could an update give a row a value, in some unique index, that another row still has? */
static bool
diff_index_collides(const LdrDiff *diff, Relation rel, Oid indexid)
{
	Bitmapset  *keys = diff_key_numbers(diff, rel);
	Relation	index = index_open(indexid, AccessShareLock);
	Form_pg_index form = index->rd_index;
	bool		collides = false;

	if (form->indisexclusion || (form->indisunique && form->indimmediate))
		for (int i = 0; i < form->indnkeyatts; i++)
			collides = collides || form->indkey.values[i] == 0 ||
				!bms_is_member(form->indkey.values[i], keys);
	index_close(index, AccessShareLock);
	return collides;
}

/*
 * Rows that exchange a unique value cannot be updated one after the other. So they are deleted
 * and inserted, unless foreign keys hold them.
 */
static bool
diff_must_rewrite(const LdrDiff *diff, Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	if (diff_is_referenced(rel))
		return false;
	foreach(lc, indexes)
		if (diff_index_collides(diff, rel, lfirst_oid(lc)))
			return true;
	return false;
}

/* --- by primary key --------------------------------------------------------------------------- */

/* The row that matches is not the same. */
static char *
diff_changed(const LdrDiff *diff)
{
	char	   *changed = ldr_sql_image_differs(diff->table);

	return diff->others_filled ? psprintf("(%s OR %s)", changed, diff->others_filled) : changed;
}

static void
diff_delete_by_key(LdrDiff *diff)
{
	LdrChainTable *table = diff->table;
	char	   *match = ldr_sql_match(diff->keys, "d", "s");

	/* rows to rewrite are as good as absent */
	if (diff->rewrites)
		match = psprintf("%s AND NOT %s", match,
						 diff->others_filled ? diff_changed(diff) :
						 psprintf("(%s)", diff_changed(diff)));
	table->counts->deleted +=
		ldr_chain_run(diff->chain,
					  psprintf("DELETE FROM %s d WHERE NOT EXISTS (SELECT 1 FROM %s s WHERE %s)",
							   table->target, table->staging, match), SPI_OK_DELETE);
}

static void
diff_update_by_key(LdrDiff *diff)
{
	LdrChainTable *table = diff->table;
	StringInfoData set;
	char	   *match = ldr_sql_match(diff->keys, "d", "s");
	ListCell   *lc;

	initStringInfo(&set);
	appendStringInfoString(&set, ldr_sql_assignments(table));
	foreach(lc, diff->others)
		appendStringInfo(&set, ", %s = NULL", (const char *) lfirst(lc));
	table->counts->updated += ldr_chain_update(diff->chain, table, set.data,
											   psprintf("%s s", table->staging), match,
											   ldr_sql_and(match, diff_changed(diff)));
}

static void
diff_insert_by_key(LdrDiff *diff)
{
	LdrChainTable *table = diff->table;

	if (!diff->rewrites)
		diff_update_by_key(diff);
	table->counts->inserted +=
		ldr_chain_insert(diff->chain, table, psprintf("%s s", table->staging),
						 ldr_sql_unmatched(table, diff->keys, psprintf("%s s2", table->staging),
										   NULL));
}

/* --- by whole row ----------------------------------------------------------------------------- */

/* A row as bytes: exact, whatever the settings for output. A hash of it keeps the sort small. */
static char *
diff_key_of(const char *image)
{
	return psprintf("pg_catalog.sha256(pg_catalog.record_send(%s))", image);
}

/* Delete the rows of which the target has more than staging. */
static char *
diff_delete_surplus(const LdrDiff *diff, const char *target, const char *staged)
{
	return psprintf("DELETE FROM %s d USING (SELECT t.tab, t.tid FROM "
					"(SELECT d.tableoid AS tab, d.ctid AS tid, %s AS k, "
					"pg_catalog.row_number() OVER (PARTITION BY %s) AS n FROM %s d) t "
					"LEFT JOIN (SELECT %s AS k, pg_catalog.count(*) AS n FROM %s s GROUP BY 1) s "
					"ON s.k OPERATOR(pg_catalog.=) t.k "
					"WHERE s.k IS NULL OR t.n OPERATOR(pg_catalog.>) s.n) gone "
					"WHERE d.ctid OPERATOR(pg_catalog.=) gone.tid "
					"AND d.tableoid OPERATOR(pg_catalog.=) gone.tab",
					diff->table->target, target, target, diff->table->target, staged,
					diff->table->staging);
}

/* Insert the rows of which staging has more than the target. */
static int64
diff_insert_missing(const LdrDiff *diff, const char *target, const char *staged)
{
	char	   *from = psprintf("(SELECT %s, %s AS _loader_key, pg_catalog.row_number() OVER "
								"(PARTITION BY %s) AS _loader_n FROM %s s) s LEFT JOIN "
								"(SELECT %s AS k, pg_catalog.count(*) AS n FROM %s d GROUP BY 1) t "
								"ON t.k OPERATOR(pg_catalog.=) s._loader_key",
								diff->chain->merge->sieve ? "s.ctid, s.*" : "s.*", staged, staged,
								diff->table->staging, target, diff->table->target);

	return ldr_chain_insert(diff->chain, diff->table, from,
							"t.k IS NULL OR s._loader_n OPERATOR(pg_catalog.>) t.n");
}

/* What is compared, of a row of each side. */
static void
diff_row_keys(const LdrDiff *diff, char **target, char **staged)
{
	ldr_sql_image(diff->table, target, staged);
	*target = diff_key_of(*target);
	*staged = diff_key_of(*staged);
}

static void
diff_delete_by_row(LdrDiff *diff)
{
	LdrChainTable *table = diff->table;
	char	   *target;
	char	   *staged;

	diff_row_keys(diff, &target, &staged);
	if (diff->others_filled)
		table->counts->deleted +=
			ldr_chain_run(diff->chain, psprintf("DELETE FROM %s d WHERE %s", table->target,
												diff->others_filled), SPI_OK_DELETE);
	table->counts->deleted +=
		ldr_chain_run(diff->chain, diff_delete_surplus(diff, target, staged), SPI_OK_DELETE);
}

static void
diff_insert_by_row(LdrDiff *diff)
{
	char	   *target;
	char	   *staged;

	diff_row_keys(diff, &target, &staged);
	diff->table->counts->inserted += diff_insert_missing(diff, target, staged);
}

/* ---------------------------------------------------------------------------------------------- */

/* Look at the live table. Returns why it has to be refilled, NULL if not. */
static const char *
diff_look(LdrDiff *diff)
{
	Relation	rel;
	const char *refused;

	if (!OidIsValid(diff->table->relid))
	{
		diff->keys = diff_keys(diff);
		return NULL;
	}
	rel = table_open(diff->table->relid, AccessShareLock);
	refused = diff_refuse(diff, rel);
	if (refused == NULL)
	{
		diff->keys = diff_keys(diff);
		diff->rewrites = diff->keys != NIL && diff_must_rewrite(diff, rel);
	}
	table_close(rel, NoLock);
	return refused;
}

LdrDiff *
ldr_diff_delete(LdrMerge *merge, int table)
{
	LdrDiff    *diff = palloc0(sizeof(LdrDiff));
	const char *refused;

	diff->chain = ldr_chain_make(merge);
	diff->table = &diff->chain->tables[table];
	ldr_chain_look(diff->chain);
	refused = diff_look(diff);
	LDR_FAULT("diff: looked");
	diff->refills = refused != NULL;
	if (refused)
	{
		merge->statements = lappend(merge->statements,
									psprintf("-- everything is replaced: %s", refused));
		ldr_refill_delete(merge, table);
	}
	else if (diff->keys != NIL)
		diff_delete_by_key(diff);
	else
		diff_delete_by_row(diff);
	return diff;
}

void
ldr_diff_insert(LdrDiff *diff)
{
	LDR_FAULT("diff: deleted");
	if (diff->refills)
		ldr_refill_insert(diff->chain->merge, diff->table - diff->chain->tables);
	else if (diff->keys != NIL)
		diff_insert_by_key(diff);
	else
		diff_insert_by_row(diff);
}
