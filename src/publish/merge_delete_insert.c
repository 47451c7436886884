/*
 * publish/merge_delete_insert.c: rows of the target that match by a key go, staged rows come.
 *
 * The order is dlt's: rows are deleted by what staging holds; then the staged rows are
 * deduplicated by primary key; then those marked as deleted, and those that the source filter
 * refuses, are left out. So a winner that is marked takes its losers with it.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "publish/merge_sql.h"

/* What the insert of a chain has found out about the root's rows. */
typedef struct DiInsert
{
	List	   *primary;
	const char *keys;			/* FROM item with alias k, column k: row keys of rows to insert */
	bool		all_keys;		/* they are all that staging has */
} DiInsert;

void
ldr_merge_delete_insert_check(const LdrChain *chain)
{
	const LdrChainTable *root = &chain->tables[0];
	bool		by_key = ldr_chain_column(root, LDR_HINT_PRIMARY_KEY) ||
		ldr_chain_column(root, LDR_HINT_MERGE_KEY) ||
		ldr_chain_column(root, LDR_HINT_HARD_DELETE) || chain->scope || chain->filter;

	if (chain->ntables == 1)
		return;
	if (by_key)
		(void) ldr_chain_row_key(root);
	for (int i = 1; i < chain->ntables; i++)
	{
		(void) ldr_chain_row_key(&chain->tables[i]);
		if (by_key)
			(void) ldr_chain_root_key(chain, &chain->tables[i]);
	}
}

/* --- delete ----------------------------------------------------------------------------------- */

static bool
di_contains(List *keys, List *others)
{
	return list_difference_ptr(others, keys) == NIL;
}

/* The kinds of key to delete by. One that is part of another finds all that the other finds. */
static List *
di_kinds(const LdrChainTable *root)
{
	List	   *primary = ldr_chain_columns(root, LDR_HINT_PRIMARY_KEY);
	List	   *merge = ldr_chain_columns(root, LDR_HINT_MERGE_KEY);

	if (primary == NIL && merge == NIL)
		return NIL;
	if (merge == NIL || (primary != NIL && di_contains(merge, primary)))
		return list_make1(primary);
	if (primary == NIL || di_contains(primary, merge))
		return list_make1(merge);
	return list_make2(primary, merge);
}

static char *
di_matches(const LdrChain *chain, List *keys)
{
	return psprintf("EXISTS (SELECT 1 FROM %s WHERE %s)", ldr_sql_source(chain, "s"),
					ldr_sql_match(keys, "d", "s"));
}

static void
di_delete(LdrChain *chain, LdrChainTable *table, const char *condition)
{
	table->counts->deleted +=
		ldr_chain_run(chain, psprintf("DELETE FROM %s d WHERE %s", table->target, condition),
					  SPI_OK_DELETE);
}

/* Rows whose key, of the target, is one of the noted keys. */
static void
di_delete_noted(LdrChain *chain, LdrChainTable *table, const LdrChainColumn *key,
				const char *keys, LdrExpr noted)
{
	di_delete(chain, table, psprintf("EXISTS (SELECT 1 FROM %s k WHERE %s)", keys,
									 ldr_sql_equal(ldr_target(key, "d"), noted)));
}

/* The row keys are noted first: what deletes the root's rows no longer finds the nested ones. */
static void
di_delete_chain(LdrChain *chain, List *kinds)
{
	LdrChainTable *root = &chain->tables[0];
	LdrChainColumn *row_key = ldr_chain_row_key(root);
	LdrExpr		noted = {"k.k", row_key->type};
	char	   *keys = NULL;
	int64		n = 0;
	ListCell   *lc;

	foreach(lc, kinds)
	{
		char	   *query = psprintf("SELECT d.%s AS k FROM %s d WHERE %s", row_key->name,
									 root->target, di_matches(chain, lfirst(lc)));

		if (keys == NULL)
			keys = ldr_chain_keys(chain, query, &n);
		else
			ldr_chain_keys_add(chain, keys, query, &n);
	}
	if (n == 0 && !chain->merge->dry_run)
		return;
	ldr_chain_keys_done(chain, keys);
	for (int i = 1; i < chain->ntables; i++)
		di_delete_noted(chain, &chain->tables[i], ldr_chain_root_key(chain, &chain->tables[i]),
						keys, noted);
	di_delete_noted(chain, root, row_key, keys, noted);
}

/*
 * The scope says what goes. It is asked again for each table, as dlt does: it may look at the
 * others.
 */
static void
di_delete_scope(LdrChain *chain)
{
	LdrChainTable *root = &chain->tables[0];

	for (int i = 1; i < chain->ntables; i++)
	{
		LdrChainColumn *row_key = ldr_chain_row_key(root);
		LdrChainColumn *root_key = ldr_chain_root_key(chain, &chain->tables[i]);

		di_delete(chain, &chain->tables[i],
				  psprintf("EXISTS (SELECT 1 FROM (SELECT %s AS k FROM %s WHERE %s) k WHERE %s)",
						   row_key->name, root->target, chain->scope,
						   ldr_sql_equal(ldr_target(root_key, "d"),
										 (LdrExpr) {"k.k", row_key->type})));
	}
	root->counts->deleted +=
		ldr_chain_run(chain, psprintf("DELETE FROM %s WHERE %s", root->target, chain->scope),
					  SPI_OK_DELETE);
}

/* --- insert ----------------------------------------------------------------------------------- */

/*
 * Staging with one row for each value of the keys, as FROM item. The winner is the first by the
 * sort column, if there is one.
 */
static char *
di_winners(const LdrChain *chain, const LdrChainTable *table, List *keys,
		   const LdrChainColumn *sort, const char *alias)
{
	const char *by = ldr_sql_columns(keys, "s");
	const char *order = "";

	/* the default of NULLs: they come first where the greatest does */
	if (sort)
		order = psprintf(", s.%s%s", sort->name, sort->schema->dedup_sort < 0 ? " DESC" : "");
	return psprintf("(SELECT DISTINCT ON (%s) %s FROM %s s ORDER BY %s%s) %s", by, chain->all,
					table->staging, by, order, alias);
}

static bool
di_must_deduplicate(LdrChain *chain, const LdrChainTable *table, List *keys)
{
	return !chain->tables[0].schema->deduplicated &&
		ldr_chain_has_duplicates(chain, psprintf("%s s", table->staging),
								 ldr_sql_columns(keys, "s"));
}

static void
di_insert(LdrChain *chain, LdrChainTable *table, const char *from, const char *condition)
{
	table->counts->inserted += ldr_chain_insert(chain, table, from, condition);
}

/* A root table alone. The filter knows the winners by the table's name, as it knows staging. */
static void
di_insert_root(LdrChain *chain)
{
	LdrChainTable *root = &chain->tables[0];
	List	   *primary = ldr_chain_columns(root, LDR_HINT_PRIMARY_KEY);
	LdrChainColumn *sort = ldr_chain_column(root, LDR_HINT_DEDUP_SORT);
	char	   *from;

	if (primary == NIL || !di_must_deduplicate(chain, root, primary))
		from = ldr_sql_source(chain, "s");
	else if (chain->filter)
		from = psprintf("(SELECT * FROM %s WHERE %s) s",
						di_winners(chain, root, primary, sort,
								   quote_identifier(root->schema->name)),
						chain->filter);
	else
		from = di_winners(chain, root, primary, sort, "s");
	di_insert(chain, root, from, ldr_sql_kept(root, "s"));
}

/*
 * Which root rows are inserted, by row key. Written down if duplicates had to be weighed, else
 * read from staging where they are needed.
 */
static void
di_choose_keys(LdrChain *chain, DiInsert *insert)
{
	LdrChainTable *root = &chain->tables[0];
	LdrChainColumn *row_key;
	const char *kept = ldr_sql_kept(root, "s");
	bool		weigh;
	char	   *query;
	int64		n;

	insert->primary = ldr_chain_columns(root, LDR_HINT_PRIMARY_KEY);
	if (insert->primary == NIL && kept == NULL)
		return;
	row_key = ldr_chain_row_key(root);
	weigh = insert->primary != NIL && di_must_deduplicate(chain, root, insert->primary);
	query = psprintf("SELECT s.%s AS k FROM %s%s", row_key->name,
					 weigh ? di_winners(chain, root, insert->primary,
										ldr_chain_column(root, LDR_HINT_DEDUP_SORT), "s") :
					 psprintf("%s s", root->staging), ldr_sql_where(kept));
	insert->all_keys = !weigh && kept == NULL;
	if (!weigh)
	{
		insert->keys = psprintf("(%s) k", query);
		return;
	}
	insert->keys = ldr_chain_keys(chain, query, &n);
	ldr_chain_keys_done(chain, insert->keys);
	insert->keys = psprintf("%s k", insert->keys);
}

/* The staged row's key is one of the chosen ones. */
static char *
di_is_chosen(const LdrChain *chain, const DiInsert *insert, const LdrChainColumn *key)
{
	LdrChainColumn *row_key = ldr_chain_row_key(&chain->tables[0]);

	return psprintf("EXISTS (SELECT 1 FROM %s WHERE %s)", insert->keys,
					ldr_sql_equal((LdrExpr) {"k.k", row_key->staging_type},
								  ldr_staged(key, "s")));
}

/* The root of a chain: by row key where the rows were chosen by it. */
static void
di_insert_chain_root(LdrChain *chain, const DiInsert *insert)
{
	LdrChainTable *root = &chain->tables[0];
	const char *condition = ldr_sql_kept(root, "s");

	if (insert->primary != NIL && insert->all_keys)
	{
		LdrChainColumn *row_key = ldr_chain_row_key(root);

		condition = row_key->staging_nullable ? psprintf("s.%s IS NOT NULL", row_key->name) : NULL;
	}
	else if (insert->primary != NIL)
		condition = di_is_chosen(chain, insert, ldr_chain_row_key(root));
	di_insert(chain, root, ldr_sql_source(chain, "s"), condition);
}

/* The staged row's root row is not staged: it is in the target. */
static char *
di_has_no_root(const LdrChain *chain, const LdrChainTable *table)
{
	LdrChainColumn *row_key = ldr_chain_row_key(&chain->tables[0]);
	LdrChainColumn *root_key = ldr_chain_root_key(chain, table);

	return psprintf("NOT EXISTS (SELECT 1 FROM %s r WHERE %s)", chain->tables[0].staging,
					ldr_sql_equal(ldr_staged(row_key, "r"), ldr_staged(root_key, "s")));
}

/* A nested table: the rows of chosen root rows, one for each row key. */
static void
di_insert_nested(LdrChain *chain, LdrChainTable *table, const DiInsert *insert)
{
	char	   *condition = NULL;
	List	   *keys = list_make1(ldr_chain_row_key(table));
	char	   *from = psprintf("%s s", table->staging);

	if (di_must_deduplicate(chain, table, keys))
		from = di_winners(chain, table, keys, NULL, "s");
	/* what passes the filter is one of all */
	if (insert->keys && !(insert->all_keys && chain->filter))
		condition = di_is_chosen(chain, insert, ldr_chain_root_key(chain, table));
	if (condition && chain->merge->partial)
		condition = psprintf("(%s OR %s)", condition, di_has_no_root(chain, table));
	if (chain->filter)
	{
		LdrChainColumn *row_key = ldr_chain_row_key(&chain->tables[0]);
		LdrChainColumn *root_key = ldr_chain_root_key(chain, table);

		condition = ldr_sql_and(condition,
								psprintf("EXISTS (SELECT 1 FROM %s WHERE %s)",
										 ldr_sql_source(chain, "r"),
										 ldr_sql_equal(ldr_staged(row_key, "r"),
													   ldr_staged(root_key, "s"))));
	}
	di_insert(chain, table, from, condition);
}

void
ldr_merge_delete_insert(LdrChain *chain)
{
	LdrChainTable *root = &chain->tables[0];
	List	   *kinds = di_kinds(root);
	DiInsert	insert = {0};
	ListCell   *lc;

	if (chain->scope)
		di_delete_scope(chain);
	else if (chain->ntables > 1 && kinds != NIL)
		di_delete_chain(chain, kinds);
	else
		foreach(lc, kinds)
			di_delete(chain, root, di_matches(chain, lfirst(lc)));

	if (chain->ntables == 1)
	{
		di_insert_root(chain);
		return;
	}
	di_choose_keys(chain, &insert);
	di_insert_chain_root(chain, &insert);
	for (int i = 1; i < chain->ntables; i++)
		di_insert_nested(chain, &chain->tables[i], &insert);
}
