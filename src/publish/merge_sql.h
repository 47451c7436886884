/*
 * publish/merge_sql.h: a table chain as the statements of a merge see it, and the pieces that the
 * statements are made of. For the files of merges and of replaces by SQL only.
 *
 * Every piece qualifies what it names. In a statement d is the target, s its staging table.
 */
#ifndef LDR_MERGE_SQL_H
#define LDR_MERGE_SQL_H

#include "publish/merge.h"

typedef struct LdrChainColumn
{
	const LdrSchemaColumn *schema;
	const char *name;			/* quoted */
	Oid			type;			/* of the target, as declared; InvalidOid: not known */
	Oid			staging_type;
	bool		nullable;		/* as the tables are, or as the schema says if they are not there */
	bool		staging_nullable;
	bool		identity_always;	/* in the target: not to be written without OVERRIDING */
	Oid			collation;		/* of the target ... */
	Oid			staging_collation;
} LdrChainColumn;

typedef struct LdrChainTable
{
	const LdrSchemaTable *schema;
	LdrMergeTable *counts;
	const char *target;			/* qualified */
	const char *staging;
	const char *staged;			/* the same as a FROM item that conditions of hints can name */
	Oid			relid;			/* of the target; InvalidOid: not there (dry run) */
	LdrChainColumn *columns;	/* those that have a type */
	int			ncolumns;
	bool		update_triggers;	/* an update can do more, or less, than it says */
	bool		rules;			/* a statement may be rewritten */
	bool		plain;			/* the same for all else: no triggers, rules, policies, children */
} LdrChainTable;

typedef struct LdrChain
{
	LdrMerge   *merge;
	LdrChainTable *tables;		/* root first */
	int			ntables;
	const char *filter;			/* the hints' conditions in parentheses; NULL: none */
	const char *scope;
	const char *all;			/* columns of a staging table for a subselect; with a sieve, ctid */
} LdrChain;

/* What a column can be for a merge. */
typedef enum LdrHint
{
	LDR_HINT_ANY,
	LDR_HINT_PRIMARY_KEY,
	LDR_HINT_MERGE_KEY,
	LDR_HINT_ROW_KEY,
	LDR_HINT_PARENT_KEY,
	LDR_HINT_ROOT_KEY,
	LDR_HINT_UNIQUE,
	LDR_HINT_HARD_DELETE,
	LDR_HINT_DEDUP_SORT,
	LDR_HINT_ROW_VERSION,
	LDR_HINT_VALID_FROM,
	LDR_HINT_VALID_TO
} LdrHint;

/* An expression, and its type as far as it is known. */
typedef struct LdrExpr
{
	const char *sql;
	Oid			type;
} LdrExpr;

/* --- merge_chain.c: the chain ----------------------------------------------------------------- */

/* Without the hints' conditions, and without looking at the live tables; ldr_chain_look does. */
extern LdrChain *ldr_chain_make(LdrMerge *merge);
extern void ldr_chain_look(LdrChain *chain);

/* The columns with the hint, as List of LdrChainColumn *; the first of them, or NULL. */
extern List *ldr_chain_columns(const LdrChainTable *table, LdrHint hint);
extern LdrChainColumn *ldr_chain_column(const LdrChainTable *table, LdrHint hint);

/* Keys of dlt's rows. They raise 22023 if the table has none. */
extern LdrChainColumn *ldr_chain_row_key(const LdrChainTable *table);
extern LdrChainColumn *ldr_chain_root_key(const LdrChain *chain, const LdrChainTable *table);
extern LdrChainTable *ldr_chain_parent(const LdrChain *chain, const LdrChainTable *table);
extern bool ldr_chain_has_load_id(const LdrChainTable *table);

/* Run one statement, or only note it down in a dry run. Returns the number of rows. */
extern int64 ldr_chain_run(LdrChain *chain, const char *sql, int expect);

/*
 * Run a statement that writes the staged rows s, of rows ("FROM ... WHERE ..."), to the table. With
 * a sieve it is run by pieces instead: some is the same statement for the staged rows whose ctid is
 * in $1, which is read from the staging table itself. Returns the number of rows.
 */
extern int64 ldr_chain_write(LdrChain *chain, LdrChainTable *table, const char *rows,
							 const char *sql, const char *some, int expect);

/* The same for the INSERT of ldr_sql_insert. */
extern int64 ldr_chain_insert(LdrChain *chain, LdrChainTable *table, const char *from,
							  const char *condition);

/*
 * UPDATE d SET set FROM from (with the alias s) WHERE condition. With a sieve by pieces; matched is
 * then which pairs of rows are tried.
 */
extern int64 ldr_chain_update(LdrChain *chain, LdrChainTable *table, const char *set,
							  const char *from, const char *matched, const char *condition);

/* In two steps, where another statement comes between choosing and writing. Only with a sieve. */
typedef struct LdrPieces LdrPieces;
extern LdrPieces *ldr_pieces_choose(LdrChain *chain, LdrChainTable *table, const char *rows);
extern int64 ldr_pieces_write(LdrPieces *pieces, const char *some, int expect);

/* All of them are refused with that error. */
extern void ldr_pieces_refuse(const LdrPieces *pieces, const ErrorData *edata);

/* The condition of a statement for some rows. */
#define LDR_SOME_ROWS "s.ctid OPERATOR(pg_catalog.=) ANY ($1)"

/* Does a SELECT find anything? In a dry run it does not. */
extern bool ldr_chain_finds(LdrChain *chain, const char *sql);

/* Run a statement that returns one row of n counts of type bigint; all 0 in a dry run. */
extern void ldr_chain_counts(LdrChain *chain, const char *sql, int n, int64 *counts);

/* Do rows of the FROM item share a value of the keys, a list of SQL (with NULL equal to NULL)? */
extern bool ldr_chain_has_duplicates(LdrChain *chain, const char *from, const char *keys);

/* Make a temporary table of the query, whose only column is named k; *n: its rows. Its name. */
extern char *ldr_chain_keys(LdrChain *chain, const char *query, int64 *n);
extern void ldr_chain_keys_add(LdrChain *chain, const char *keys, const char *query, int64 *n);
extern void ldr_chain_keys_done(LdrChain *chain, const char *keys);

/* --- merge_sql.c: pieces of SQL --------------------------------------------------------------- */

/* alias may be the qualified name of a table that has no alias. */
extern LdrExpr ldr_target(const LdrChainColumn *column, const char *alias);
extern LdrExpr ldr_staged(const LdrChainColumn *column, const char *alias);

/* a = b as the parser would understand it between built-in types, whatever the search_path. */
extern char *ldr_sql_equal(LdrExpr a, LdrExpr b);

/* The same, and true for two NULLs, false for one. Hash joins can use it. */
extern char *ldr_sql_same(LdrExpr a, LdrExpr b);

/* The type for a cast, without its modifier, so that the cast cuts nothing. */
extern char *ldr_sql_type(Oid type);

/* All key columns of a target's row and a staged row are equal. */
extern char *ldr_sql_match(List *columns, const char *target, const char *staged);

/* Like that, where NULL matches NULL if a column can be NULL. */
extern char *ldr_sql_match_nulls(List *columns, const char *target, const char *staged);

/*
 * The columns of the schema as ROW(...), of d and of s, with the same types in both; and whether
 * their stored images differ.
 */
extern void ldr_sql_image(const LdrChainTable *table, char **target, char **staged);
extern char *ldr_sql_image_differs(const LdrChainTable *table);

/* "a"."x", "a"."y"; without an alias, "x", "y". */
extern char *ldr_sql_columns(List *columns, const char *alias);

/* The staged columns of s, each of a type that compares as the target's does. */
extern char *ldr_sql_comparable(List *columns);
extern char *ldr_sql_assignments(const LdrChainTable *table);

/* The root's staging table with alias s, as a FROM item; only rows that pass the filter. */
extern char *ldr_sql_source(const LdrChain *chain, const char *alias);

/* x NOT IN (SELECT y FROM from), with all that means for NULLs. */
extern char *ldr_sql_not_in(LdrExpr x, bool x_nullable, LdrExpr y, bool y_nullable,
							const char *from);

/*
 * The staged row s has no partner in the target: written so that the larger side is only read
 * through, never hashed. from is s's FROM item, with the alias s2; more is a condition on d, or
 * NULL.
 */
extern char *ldr_sql_unmatched(const LdrChainTable *table, List *keys, const char *from,
							   const char *more);

/*
 * For the root's target without an alias, in a WHERE: the row is absent from the merge source; the
 * row is where the merge may delete or retire (NULL: everywhere).
 */
extern char *ldr_sql_absent(const LdrChain *chain, List *keys);
extern char *ldr_sql_partition(const LdrChain *chain);

/* The row is marked as deleted, or it is not; NULL if the table has no such mark. */
extern char *ldr_sql_deleted(const LdrChainTable *table, const char *alias);
extern char *ldr_sql_kept(const LdrChainTable *table, const char *alias);

/*
 * INSERT INTO target (columns) SELECT columns FROM from [WHERE condition]; condition may be NULL.
 */
extern char *ldr_sql_insert(const LdrChainTable *table, const char *from, const char *condition);

/*
 * MERGE by the keys from the FROM item with alias s: changed rows are updated, new ones inserted.
 */
extern char *ldr_sql_merge(const LdrChainTable *table, List *keys, const char *from,
						   const char *changed);

/* a AND b, where NULL is no condition. */
extern char *ldr_sql_and(const char *a, const char *b);
extern char *ldr_sql_where(const char *condition);	/* " WHERE c", or "" */

/* --- condition.c ------------------------------------------------------------------------------ */

/*
 * A condition of a hint as SQL in parentheses. Names that stand for placeholders: {table} and
 * {staging_table}; NULL: it may have none. Raises 22023 if it is not one expression.
 */
extern char *ldr_condition_sql(const LdrSchemaTable *table, const char *hint, const char *text,
							   const char *target, const char *staging);

/* --- the strategies --------------------------------------------------------------------------- */

extern void ldr_merge_delete_insert_check(const LdrChain *chain);
extern void ldr_merge_delete_insert(LdrChain *chain);
extern void ldr_merge_upsert_check(const LdrChain *chain, LdrMergeStrategy strategy);
extern void ldr_merge_upsert(LdrChain *chain, LdrMergeStrategy strategy);
extern void ldr_merge_scd2_check(const LdrChain *chain);
extern void ldr_merge_scd2(LdrChain *chain);

/* Do several valid rows have a merge key that is staged, or several staged rows one? */
extern bool ldr_merge_scd2_is_grouped(LdrChain *chain);

#endif							/* LDR_MERGE_SQL_H */
