/*
 * publish/merge_upsert.c: matched rows are updated, the others inserted: upsert, insert-only, cdc.
 *
 * The root matches by primary key, nested tables by row key. Two staged rows that would both
 * change one row of the target are an error; two that would both be inserted are inserted.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "compat.h"
#include "publish/merge_sql.h"

/* One table's part of the merge. */
typedef struct Upsert
{
	LdrChain   *chain;
	LdrChainTable *table;
	List	   *keys;			/* columns to match by */
	const char *source;			/* FROM item of the staged rows, %s for its alias */
	const char *deleted;		/* s is marked as deleted; NULL: no marks */
	const char *kept;
	const char *changed;		/* s differs from d where it counts; NULL: always */
	bool		inserts_deleted;	/* marked rows without a match are inserted */
} Upsert;

void
ldr_merge_upsert_check(const LdrChain *chain, LdrMergeStrategy strategy)
{
	const LdrChainTable *root = &chain->tables[0];

	if (ldr_chain_column(root, LDR_HINT_PRIMARY_KEY) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" of the package's schema has no primary key",
						root->schema->name),
				 errhint("The merge strategy \"%s\" needs one; \"%s\" does not.",
						 ldr_merge_strategy_name(strategy),
						 ldr_merge_strategy_name(LDR_DELETE_INSERT))));
	if (chain->ntables == 1)
		return;
	(void) ldr_chain_row_key(root);
	for (int i = 1; i < chain->ntables; i++)
	{
		(void) ldr_chain_row_key(&chain->tables[i]);
		if (strategy != LDR_INSERT_ONLY)
			(void) ldr_chain_root_key(chain, &chain->tables[i]);
	}
}

/* --- what counts as changed ------------------------------------------------------------------- */

/* a IS DISTINCT FROM b, with a known "=". */
static char *
upsert_distinct(const LdrChainColumn *column)
{
	LdrExpr		d = ldr_target(column, "d");
	LdrExpr		s = ldr_staged(column, "s");

	return psprintf("((%s) IS NOT TRUE AND NOT (%s IS NULL AND %s IS NULL))",
					ldr_sql_equal(d, s), d.sql, s.sql);
}

/* dlt leaves out what cannot differ, or always does. */
static bool
upsert_compares(const LdrSchemaColumn *column)
{
	return !(column->primary_key || column->row_key || column->parent_key || column->root_key ||
			 column->hard_delete || pg_strcasecmp(column->name, "_dlt_load_id") == 0);
}

/* Some column that counts differs. NULL if there is none to compare. */
static char *
upsert_changed(const LdrChainTable *table)
{
	LdrChainColumn *version = ldr_chain_column(table, LDR_HINT_ROW_VERSION);
	char	   *sql = NULL;

	if (version)
		return psprintf("(NOT (%s))", ldr_sql_equal(ldr_target(version, "d"),
													ldr_staged(version, "s")));
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!upsert_compares(table->columns[i].schema))
			continue;
		sql = psprintf("%s%s%s", sql ? sql : "", sql ? " OR " : "",
					   upsert_distinct(&table->columns[i]));
	}
	return sql ? psprintf("(%s)", sql) : NULL;
}

static char *
upsert_source(const Upsert *u, const char *alias)
{
	return psprintf("%s %s", u->source, alias);
}

/* --- two rows for one ------------------------------------------------------------------------- */

/* The rows, d and s, of which only one may have a d: those that would change it. */
static char *
upsert_acting(const Upsert *u)
{
	const char *acts = u->changed;

	if (acts && u->deleted)
		acts = psprintf("(%s OR %s)", u->deleted, acts);
	return psprintf("FROM %s d, %s WHERE %s", u->table->target, upsert_source(u, "s"),
					ldr_sql_and(ldr_sql_match(u->keys, "d", "s"), acts));
}

/* Rows after the first one that would change a row, by where they are staged. */
static LdrPieces *
upsert_duplicates(Upsert *u)
{
	return ldr_pieces_choose(u->chain, u->table,
							 psprintf("FROM (SELECT s.ctid, pg_catalog.row_number() OVER "
									  "(PARTITION BY d.tableoid, d.ctid ORDER BY s.ctid) AS n "
									  "%s) s WHERE s.n OPERATOR(pg_catalog.>) 1", upsert_acting(u)));
}

static void
upsert_refuse(Upsert *u, const LdrPieces *duplicates)
{
	ErrorData	edata = {.elevel = ERROR, .sqlerrcode = ERRCODE_CARDINALITY_VIOLATION};

	edata.message = psprintf("another row of the package changes the same row of table \"%s\"",
							 u->table->schema->name);
	edata.detail = psprintf("Rows of table %s are matched by their key (%s).", u->table->target,
							ldr_sql_columns(u->keys, NULL));
	ldr_pieces_refuse(duplicates, &edata);
}

/* Would two staged rows change one row? Looked for only if staging has duplicates at all. */
static void
upsert_check_duplicates(Upsert *u)
{
	LdrChainTable *table = u->table;

	if (!ldr_chain_has_duplicates(u->chain, upsert_source(u, "s"),
								  ldr_sql_comparable(u->keys)))
		return;
	if (!ldr_chain_finds(u->chain,
						 psprintf("SELECT 1 %s GROUP BY d.tableoid, d.ctid "
								  "HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1 LIMIT 1",
								  upsert_acting(u))))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("several rows of the package would change the same row of table \"%s\"",
					table->schema->name),
			 errdetail("Rows of table %s are matched by their key (%s).", table->target,
					   ldr_sql_columns(u->keys, NULL)),
			 errhint("Leave one row for each key in the package, or use the merge strategy "
					 "\"%s\".", ldr_merge_strategy_name(LDR_DELETE_INSERT))));
}

/* --- update, delete, insert ------------------------------------------------------------------- */

/* Which rows d and s it takes. */
static char *
upsert_updated(const Upsert *u, bool *same)
{
	char	   *condition = ldr_sql_and(ldr_sql_match(u->keys, "d", "s"), u->kept);

	*same = u->changed == NULL && !u->table->update_triggers && !ldr_chain_has_load_id(u->table);
	condition = ldr_sql_and(condition, u->changed);
	if (*same)
		condition = ldr_sql_and(condition, ldr_sql_image_differs(u->table));
	return condition;
}

/*
 * The UPDATE of matched rows; same says that it may leave out rows that would stay as they are,
 * which is so for all with the load's id in them.
 */
static char *
upsert_update(const Upsert *u, bool *all)
{
	bool		same;
	char	   *condition = upsert_updated(u, &same);

	*all = u->changed == NULL && !same && !u->table->update_triggers;
	return psprintf("UPDATE %s d SET %s FROM %s WHERE %s", u->table->target,
					ldr_sql_assignments(u->table), upsert_source(u, "s"), condition);
}

static char *
upsert_delete(const Upsert *u)
{
	return psprintf("DELETE FROM %s d USING %s WHERE %s", u->table->target, upsert_source(u, "s"),
					ldr_sql_and(ldr_sql_match(u->keys, "d", "s"), u->deleted));
}

/* INSERT of the rows that have no match. */
static char *
upsert_insert(const Upsert *u, const char *unmatched)
{
	return ldr_sql_insert(u->table, upsert_source(u, "s"),
						  ldr_sql_and(u->inserts_deleted ? NULL : u->kept, unmatched));
}

static char *
upsert_unmatched(const Upsert *u)
{
	return ldr_sql_unmatched(u->table, u->keys, upsert_source(u, "s2"), NULL);
}

/* The staged row s is none of those that a WITH query returned, by its keys. */
static char *
upsert_not_in(const Upsert *u, const char *with)
{
	char	   *same = NULL;
	ListCell   *lc;

	foreach(lc, u->keys)
		same = ldr_sql_and(same, ldr_sql_equal(ldr_staged(lfirst(lc), with),
											   ldr_staged(lfirst(lc), "s")));
	return psprintf("NOT EXISTS (SELECT 1 FROM %s WHERE %s)", with, same);
}

/* Update, delete and insert as one statement, in which each sees the target as it was before. */
static void
upsert_at_once(Upsert *u, const char *update)
{
	const char *returning = ldr_sql_columns(u->keys, "s");
	const char *unmatched = upsert_not_in(u, "updated");
	const char *gone = "";
	int64		counts[3];

	if (u->deleted)
	{
		gone = psprintf("deleted AS (%s RETURNING %s), ", upsert_delete(u), returning);
		unmatched = ldr_sql_and(unmatched, upsert_not_in(u, "deleted"));
	}
	ldr_chain_counts(u->chain,
					 psprintf("WITH updated AS (%s RETURNING %s), %sinserted AS (%s RETURNING 1) "
							  "SELECT (SELECT pg_catalog.count(*) FROM updated), "
							  "(SELECT pg_catalog.count(*) FROM inserted), %s", update, returning,
							  gone, upsert_insert(u, unmatched),
							  u->deleted ? "(SELECT pg_catalog.count(*) FROM deleted)" :
							  "0::bigint"),
					 3, counts);
	u->table->counts->updated += counts[0];
	u->table->counts->inserted += counts[1];
	u->table->counts->deleted += counts[2];
}

/* Rows that are marked and not there are inserted, and those just deleted are not there. */
static void
upsert_delete_and_insert(Upsert *u)
{
	int64		counts[2];

	ldr_chain_counts(u->chain,
					 psprintf("WITH deleted AS (%s RETURNING 1), inserted AS (%s RETURNING 1) "
							  "SELECT (SELECT pg_catalog.count(*) FROM deleted), "
							  "(SELECT pg_catalog.count(*) FROM inserted)", upsert_delete(u),
							  upsert_insert(u, upsert_unmatched(u))),
					 2, counts);
	u->table->counts->deleted += counts[0];
	u->table->counts->inserted += counts[1];
}

/*
 * The UPDATE may pass over matched rows (or a trigger may), so they are looked for once more to
 * tell which rows to insert.
 */
static void
upsert_in_steps(Upsert *u, const char *update)
{
	LdrMergeTable *counts = u->table->counts;

	counts->updated += ldr_chain_run(u->chain, update, SPI_OK_UPDATE);
	if (u->deleted && u->inserts_deleted)
	{
		upsert_delete_and_insert(u);
		return;
	}
	if (u->deleted)
		counts->deleted += ldr_chain_run(u->chain, upsert_delete(u), SPI_OK_DELETE);
	counts->inserted += ldr_chain_run(u->chain, upsert_insert(u, upsert_unmatched(u)),
									  SPI_OK_INSERT);
}

/*
 * Can MERGE do it, which reads the target once? It does not say how many rows it inserted: that is
 * for the session's own statistics to tell.
 */
static bool
upsert_can_merge(const Upsert *u)
{
	return LDR_SPI_OK_MERGE != 0 && u->table->plain && u->deleted == NULL && pgstat_track_counts;
}

static int64
upsert_count_inserted(const Upsert *u)
{
	if (u->chain->merge->dry_run)
		return 0;
	return DatumGetInt64(DirectFunctionCall1(pg_stat_get_xact_tuples_inserted,
											 ObjectIdGetDatum(u->table->relid)));
}

/* MERGE, but for rows that would stay as they are. */
static void
upsert_merge(Upsert *u)
{
	const char *changed = u->changed ? u->changed : ldr_sql_image_differs(u->table);
	int64		before = upsert_count_inserted(u);
	int64		n = ldr_chain_run(u->chain,
								  ldr_sql_merge(u->table, u->keys, upsert_source(u, "s"), changed),
								  LDR_SPI_OK_MERGE);
	int64		inserted = upsert_count_inserted(u) - before;

	u->table->counts->inserted += inserted;
	u->table->counts->updated += n - inserted;
}

/*
 * By pieces, in which two rows of one key can change a row one after the other. Rows to insert are
 * chosen as the statements choose them: before rows are deleted, if those that are marked are to
 * come; else after it.
 */
static void
upsert_sift(Upsert *u)
{
	LdrMergeTable *counts = u->table->counts;
	const char *from = upsert_source(u, "s");
	bool		same;
	const char *updated = upsert_updated(u, &same);
	const char *inserted = ldr_sql_and(u->inserts_deleted ? NULL : u->kept, upsert_unmatched(u));
	const char *rows = psprintf("FROM %s%s", from, ldr_sql_where(inserted));
	LdrPieces  *duplicates = upsert_duplicates(u);
	LdrPieces  *pieces = NULL;

	/* what differs is not asked here, for it may be what cannot be converted */
	counts->updated += ldr_chain_update(u->chain, u->table, ldr_sql_assignments(u->table), from,
										ldr_sql_and(ldr_sql_match(u->keys, "d", "s"), u->kept),
										updated);
	if (u->deleted && u->inserts_deleted)
		pieces = ldr_pieces_choose(u->chain, u->table, rows);
	if (u->deleted)
		counts->deleted += ldr_chain_run(u->chain, upsert_delete(u), SPI_OK_DELETE);
	if (pieces == NULL)
		pieces = ldr_pieces_choose(u->chain, u->table, rows);
	counts->inserted += ldr_pieces_write(pieces,
										 ldr_sql_insert(u->table,
														psprintf("%s s", u->table->staging),
														LDR_SOME_ROWS), SPI_OK_INSERT);
	/* if others are to go, the first of a key may be among them: this is for the next time */
	if (u->chain->merge->sieve->refused == NIL)
		upsert_refuse(u, duplicates);
}

static void
upsert_table(Upsert *u)
{
	const char *update;
	bool		all;

	if (u->chain->merge->sieve)
	{
		upsert_sift(u);
		return;
	}
	upsert_check_duplicates(u);
	update = upsert_update(u, &all);
	if (all)
		upsert_at_once(u, update);
	else if (upsert_can_merge(u))
		upsert_merge(u);
	else
		upsert_in_steps(u, update);
}

/* --- nested tables ---------------------------------------------------------------------------- */

static void
upsert_delete_where(LdrChain *chain, LdrChainTable *table, const char *condition)
{
	table->counts->deleted +=
		ldr_chain_run(chain, psprintf("DELETE FROM %s d WHERE %s", table->target, condition),
					  SPI_OK_DELETE);
}

/* The target's nested row belongs to a staged root row, and (condition on r). */
static char *
upsert_belongs(const LdrChain *chain, const LdrChainTable *table, const char *condition)
{
	LdrChainColumn *row_key = ldr_chain_row_key(&chain->tables[0]);
	LdrChainColumn *root_key = ldr_chain_root_key(chain, table);

	return psprintf("EXISTS (SELECT 1 FROM %s WHERE %s)", ldr_sql_source(chain, "r"),
					ldr_sql_and(ldr_sql_equal(ldr_target(root_key, "d"),
											  ldr_staged(row_key, "r")), condition));
}

/* Nested rows that their root row no longer has, and those of deleted root rows. */
static void
upsert_delete_nested(LdrChain *chain, LdrChainTable *table)
{
	LdrChainColumn *key = ldr_chain_row_key(table);
	const char *deleted = ldr_sql_deleted(&chain->tables[0], "r");
	const char *absent = ldr_sql_not_in(ldr_target(key, "d"), key->nullable, ldr_staged(key, "s"),
										key->staging_nullable, psprintf("%s s", table->staging));

	upsert_delete_where(chain, table, ldr_sql_and(upsert_belongs(chain, table, NULL), absent));
	if (deleted)
		upsert_delete_where(chain, table, upsert_belongs(chain, table, deleted));
}

/* The nested table's staged rows; the filter asks their root rows. */
static char *
upsert_nested_source(const LdrChain *chain, const LdrChainTable *table)
{
	LdrChainColumn *row_key = ldr_chain_row_key(&chain->tables[0]);
	LdrChainColumn *root_key;

	if (chain->filter == NULL)
		return pstrdup(table->staging);
	root_key = ldr_chain_root_key(chain, table);
	return psprintf("(SELECT %s FROM %s n WHERE EXISTS (SELECT 1 FROM %s WHERE %s))",
					chain->merge->sieve ? "n.ctid, n.*" : "n.*", table->staging,
					ldr_sql_source(chain, "r"),
					ldr_sql_equal(ldr_staged(row_key, "r"), ldr_staged(root_key, "n")));
}

static void
upsert_nested(LdrChain *chain, LdrChainTable *table)
{
	Upsert		u = {.chain = chain, .table = table};

	u.keys = list_make1(ldr_chain_row_key(table));
	u.source = upsert_nested_source(chain, table);
	if (chain->tables[0].schema->skip_unchanged)
		u.changed = upsert_changed(table);
	upsert_table(&u);
	upsert_delete_nested(chain, table);
}

/* --- rows that are not in the source any more (cdc) ------------------------------------------- */

/*
 * Delete the rows of the target that the source does not have, nested ones first. A scope is asked
 * again for each table, as dlt does; else the rows are looked for once.
 */
static void
upsert_delete_absent(LdrChain *chain)
{
	LdrChainTable *root = &chain->tables[0];
	List	   *primary = ldr_chain_columns(root, LDR_HINT_PRIMARY_KEY);
	const char *absent = ldr_sql_and(ldr_sql_absent(chain, primary), ldr_sql_partition(chain));
	const char *keys = NULL;
	int64		n = 0;

	for (int i = 1; i < chain->ntables; i++)
	{
		LdrChainColumn *row_key = ldr_chain_row_key(root);
		LdrChainColumn *root_key = ldr_chain_root_key(chain, &chain->tables[i]);
		char	   *query = psprintf("SELECT %s.%s AS k FROM %s WHERE %s", root->target,
									 row_key->name, root->target, absent);

		if (chain->scope == NULL && keys == NULL)
		{
			keys = ldr_chain_keys(chain, query, &n);
			if (n == 0 && !chain->merge->dry_run)
				return;
			ldr_chain_keys_done(chain, keys);
		}
		upsert_delete_where(chain, &chain->tables[i],
							psprintf("EXISTS (SELECT 1 FROM %s k WHERE %s)",
									 keys ? keys : psprintf("(%s)", query),
									 ldr_sql_equal(ldr_target(root_key, "d"),
												   (LdrExpr) {"k.k", row_key->type})));
	}
	root->counts->deleted +=
		ldr_chain_run(chain, psprintf("DELETE FROM %s WHERE %s", root->target, absent),
					  SPI_OK_DELETE);
}

/* --- the strategies --------------------------------------------------------------------------- */

static char *
upsert_root_source(const LdrChain *chain)
{
	if (chain->filter == NULL)
		return pstrdup(chain->tables[0].staging);
	return psprintf("(SELECT %s FROM %s WHERE %s)", chain->all, chain->tables[0].staged,
					chain->filter);
}

/* Nothing that is there changes, whatever the filter and the scope say. */
static void
upsert_insert_only(LdrChain *chain)
{
	for (int i = 0; i < chain->ntables; i++)
	{
		LdrChainTable *table = &chain->tables[i];
		Upsert		u = {.chain = chain, .table = table, .source = table->staging};

		u.keys = i == 0 ? ldr_chain_columns(table, LDR_HINT_PRIMARY_KEY) :
			list_make1(ldr_chain_row_key(table));
		u.kept = i == 0 ? ldr_sql_kept(table, "s") : NULL;
		table->counts->inserted +=
			ldr_chain_insert(chain, table, upsert_source(&u, "s"),
							 ldr_sql_and(u.kept, upsert_unmatched(&u)));
	}
}

void
ldr_merge_upsert(LdrChain *chain, LdrMergeStrategy strategy)
{
	LdrChainTable *root = &chain->tables[0];
	Upsert		u = {.chain = chain, .table = root};

	if (strategy == LDR_INSERT_ONLY)
	{
		upsert_insert_only(chain);
		return;
	}
	if (strategy == LDR_CDC)
		upsert_delete_absent(chain);
	u.keys = ldr_chain_columns(root, LDR_HINT_PRIMARY_KEY);
	u.source = upsert_root_source(chain);
	u.deleted = ldr_sql_deleted(root, "s");
	u.kept = ldr_sql_kept(root, "s");
	u.inserts_deleted = strategy == LDR_UPSERT;
	if (root->schema->skip_unchanged)
		u.changed = upsert_changed(root);
	upsert_table(&u);
	for (int i = 1; i < chain->ntables; i++)
		upsert_nested(chain, &chain->tables[i]);
}
