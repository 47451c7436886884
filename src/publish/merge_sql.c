/*
 * publish/merge_sql.c: the pieces that the statements of merges are made of.
 *
 * Nothing in them is looked up by search_path. IN, IS DISTINCT FROM and NOT IN would look for
 * their "=" there, so they are spelled out.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "lib/stringinfo.h"
#include "nodes/value.h"
#include "parser/parse_coerce.h"
#include "parser/parse_oper.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "publish/merge_sql.h"

#define SQL_EQUAL "OPERATOR(pg_catalog.=)"

LdrExpr
ldr_target(const LdrChainColumn *column, const char *alias)
{
	return (LdrExpr) {psprintf("%s.%s", alias, column->name), column->type};
}

LdrExpr
ldr_staged(const LdrChainColumn *column, const char *alias)
{
	return (LdrExpr) {psprintf("%s.%s", alias, column->name), column->staging_type};
}

/* --- comparing -------------------------------------------------------------------------------- */

/* The operator by its schema and name. */
static char *
sql_operator(Oid oid)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(oid));
	Form_pg_operator form;
	char	   *sql;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", oid);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	sql = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
				   NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return sql;
}

/* Does the server itself have an "=" between the types? */
static bool
sql_has_builtin_equal(Oid left, Oid right)
{
	List	   *name = list_make2(makeString("pg_catalog"), makeString("="));
	Operator	found = oper(NULL, name, left, right, true, -1);

	if (found == NULL)
		return false;
	ReleaseSysCache(found);
	return true;
}

/* The default "=" of the type. A type without one gets the server's, which will complain. */
static char *
sql_default_equal(Oid type)
{
	TypeCacheEntry *cache = lookup_type_cache(type, TYPECACHE_EQ_OPR);

	return OidIsValid(cache->eq_opr) ? sql_operator(cache->eq_opr) : SQL_EQUAL;
}

char *
ldr_sql_type(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

char *
ldr_sql_equal(LdrExpr a, LdrExpr b)
{
	Oid			left = OidIsValid(a.type) ? getBaseType(a.type) : InvalidOid;
	Oid			right = OidIsValid(b.type) ? getBaseType(b.type) : InvalidOid;

	if (!OidIsValid(left) || !OidIsValid(right))
		return psprintf("%s " SQL_EQUAL " %s", a.sql, b.sql);
	if (left == right)
		return psprintf("%s %s %s", a.sql, sql_default_equal(left), b.sql);
	if (sql_has_builtin_equal(left, right))
		return psprintf("%s " SQL_EQUAL " %s", a.sql, b.sql);
	return psprintf("%s %s %s::%s", a.sql, sql_default_equal(left), b.sql, ldr_sql_type(left));
}

/* Arrays of one element each: two NULLs in them are equal, and the comparison can be hashed. */
char *
ldr_sql_same(LdrExpr a, LdrExpr b)
{
	Oid			base = OidIsValid(a.type) ? getBaseType(a.type) : InvalidOid;
	const char *cast = "";

	if (OidIsValid(base) && (base != a.type || base != b.type))
		cast = psprintf("::%s", ldr_sql_type(base));
	return psprintf("ARRAY[%s%s] " SQL_EQUAL " ARRAY[%s%s]", a.sql, cast, b.sql, cast);
}

char *
ldr_sql_match(List *columns, const char *target, const char *staged)
{
	char	   *sql = NULL;
	ListCell   *lc;

	foreach(lc, columns)
		sql = ldr_sql_and(sql, ldr_sql_equal(ldr_target(lfirst(lc), target),
											 ldr_staged(lfirst(lc), staged)));
	return sql;
}

char *
ldr_sql_match_nulls(List *columns, const char *target, const char *staged)
{
	char	   *sql = NULL;
	ListCell   *lc;

	foreach(lc, columns)
	{
		LdrChainColumn *column = lfirst(lc);
		LdrExpr		d = ldr_target(column, target);
		LdrExpr		s = ldr_staged(column, staged);

		sql = ldr_sql_and(sql, column->nullable || column->staging_nullable ?
						  ldr_sql_same(d, s) : ldr_sql_equal(d, s));
	}
	return sql;
}

/* One column of an image: both sides must have one type, and domains do not count as it. */
static void
sql_image_column(const LdrChainColumn *column, StringInfo target, StringInfo staged)
{
	const char *separator = target->len > 0 ? ", " : "";
	const char *cast = "";

	if (OidIsValid(column->type) && OidIsValid(column->staging_type) &&
		(column->type != column->staging_type || getBaseType(column->type) != column->type))
		cast = psprintf("::%s", ldr_sql_type(getBaseType(column->type)));
	appendStringInfo(target, "%sd.%s%s", separator, column->name, cast);
	appendStringInfo(staged, "%ss.%s%s", separator, column->name, cast);
}

void
ldr_sql_image(const LdrChainTable *table, char **target, char **staged)
{
	StringInfoData d;
	StringInfoData s;

	initStringInfo(&d);
	initStringInfo(&s);
	for (int i = 0; i < table->ncolumns; i++)
		sql_image_column(&table->columns[i], &d, &s);
	/* the cast keeps the grammar from comparing two ROWs column by column */
	*target = psprintf("ROW(%s)::pg_catalog.record", d.data);
	*staged = psprintf("ROW(%s)::pg_catalog.record", s.data);
}

char *
ldr_sql_image_differs(const LdrChainTable *table)
{
	char	   *target;
	char	   *staged;

	ldr_sql_image(table, &target, &staged);
	return psprintf("%s OPERATOR(pg_catalog.*<>) %s", target, staged);
}

/* --- lists ------------------------------------------------------------------------------------ */

char *
ldr_sql_columns(List *columns, const char *alias)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, columns)
	{
		LdrChainColumn *column = lfirst(lc);

		appendStringInfo(&sql, "%s%s%s%s", sql.len > 0 ? ", " : "", alias ? alias : "",
						 alias ? "." : "", column->name);
	}
	return sql.data;
}

char *
ldr_sql_comparable(List *columns)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, columns)
	{
		LdrChainColumn *column = lfirst(lc);

		appendStringInfo(&sql, "%ss.%s", sql.len > 0 ? ", " : "", column->name);
		if (OidIsValid(column->type) && OidIsValid(column->staging_type) &&
			!IsBinaryCoercible(column->staging_type, getBaseType(column->type)))
			appendStringInfo(&sql, "::%s", ldr_sql_type(getBaseType(column->type)));
	}
	return sql.data;
}

char *
ldr_sql_assignments(const LdrChainTable *table)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const LdrChainColumn *column = &table->columns[i];

		/* rows match by it, so it has the value; and the server lets nobody set it */
		if (column->identity_always && column->schema->primary_key && table->ncolumns > 1 &&
			table->schema->root == table->schema)
			continue;
		appendStringInfo(&sql, "%s%s = s.%s", sql.len > 0 ? ", " : "", column->name, column->name);
	}
	return sql.data;
}

char *
ldr_sql_and(const char *a, const char *b)
{
	if (a == NULL)
		return b ? pstrdup(b) : NULL;
	return b ? psprintf("%s AND %s", a, b) : pstrdup(a);
}

char *
ldr_sql_where(const char *condition)
{
	return condition ? psprintf(" WHERE %s", condition) : pstrdup("");
}

/* The columns that an INSERT fills. */
static char *
sql_filled(const LdrChainTable *table)
{
	const char *overriding = "";

	for (int i = 0; i < table->ncolumns; i++)
		if (table->columns[i].identity_always)
			overriding = " OVERRIDING SYSTEM VALUE";
	return psprintf("(%s)%s", ldr_sql_columns(ldr_chain_columns(table, LDR_HINT_ANY), NULL),
					overriding);
}

char *
ldr_sql_insert(const LdrChainTable *table, const char *from, const char *condition)
{
	return psprintf("INSERT INTO %s %s SELECT %s FROM %s%s", table->target, sql_filled(table),
					ldr_sql_columns(ldr_chain_columns(table, LDR_HINT_ANY), "s"), from,
					ldr_sql_where(condition));
}

char *
ldr_sql_merge(const LdrChainTable *table, List *keys, const char *from, const char *changed)
{
	return psprintf("MERGE INTO %s d USING %s ON %s WHEN MATCHED AND %s THEN UPDATE SET %s "
					"WHEN NOT MATCHED THEN INSERT %s VALUES (%s)", table->target, from,
					ldr_sql_match(keys, "d", "s"), changed, ldr_sql_assignments(table),
					sql_filled(table),
					ldr_sql_columns(ldr_chain_columns(table, LDR_HINT_ANY), "s"));
}

/* --- marks and sources ------------------------------------------------------------------------ */

char *
ldr_sql_deleted(const LdrChainTable *table, const char *alias)
{
	LdrChainColumn *column = ldr_chain_column(table, LDR_HINT_HARD_DELETE);

	if (column == NULL)
		return NULL;
	return psprintf("%s.%s %s", alias, column->name,
					column->schema->type == LDR_TYPE_BOOL ? "IS TRUE" : "IS NOT NULL");
}

char *
ldr_sql_kept(const LdrChainTable *table, const char *alias)
{
	LdrChainColumn *column = ldr_chain_column(table, LDR_HINT_HARD_DELETE);

	if (column == NULL)
		return NULL;
	return psprintf("%s.%s %s", alias, column->name,
					column->schema->type == LDR_TYPE_BOOL ? "IS NOT TRUE" : "IS NULL");
}

/* In the subselect nothing but staging is there for the filter to name. */
char *
ldr_sql_source(const LdrChain *chain, const char *alias)
{
	if (chain->filter == NULL)
		return psprintf("%s %s", chain->tables[0].staging, alias);
	return psprintf("(SELECT %s FROM %s WHERE %s) %s", chain->all, chain->tables[0].staged,
					chain->filter, alias);
}

/* --- absence ---------------------------------------------------------------------------------- */

char *
ldr_sql_not_in(LdrExpr x, bool x_nullable, LdrExpr y, bool y_nullable, const char *from)
{
	char	   *sql = psprintf("NOT EXISTS (SELECT 1 FROM %s WHERE %s)", from,
							   ldr_sql_equal(x, y));

	if (y_nullable)
		sql = psprintf("%s AND NOT EXISTS (SELECT 1 FROM %s WHERE %s IS NULL)", sql, from, y.sql);
	if (x_nullable)
		sql = psprintf("%s AND (%s IS NOT NULL OR NOT EXISTS (SELECT 1 FROM %s))", sql, x.sql,
					   from);
	return sql;
}

/*
 * As a relation of staging with itself, through the target: matched rows are few, d is read once.
 */
char *
ldr_sql_unmatched(const LdrChainTable *table, List *keys, const char *from, const char *more)
{
	char	   *same = NULL;
	ListCell   *lc;

	foreach(lc, keys)
		same = ldr_sql_and(same, ldr_sql_equal(ldr_staged(lfirst(lc), "m"),
											   ldr_staged(lfirst(lc), "s")));
	return psprintf("NOT EXISTS (SELECT 1 FROM (SELECT %s FROM %s, %s d WHERE %s) m WHERE %s)",
					ldr_sql_columns(keys, "s2"), from, table->target,
					ldr_sql_and(ldr_sql_match(keys, "d", "s2"), more), same);
}

char *
ldr_sql_absent(const LdrChain *chain, List *keys)
{
	const LdrChainTable *root = &chain->tables[0];
	LdrChainColumn *key = linitial(keys);
	char	   *source = ldr_sql_source(chain, "s");

	if (list_length(keys) == 1)
		return ldr_sql_not_in(ldr_target(key, root->target), key->nullable, ldr_staged(key, "s"),
							  key->staging_nullable, source);
	/* dlt compares compound keys by a correlated NOT EXISTS: a NULL matches nothing */
	return psprintf("NOT EXISTS (SELECT 1 FROM %s WHERE %s)", source,
					ldr_sql_match(keys, root->target, "s"));
}

/* The scope takes the place of the merge key. It may name anything of the target. */
char *
ldr_sql_partition(const LdrChain *chain)
{
	const LdrChainTable *root = &chain->tables[0];
	List	   *keys = ldr_chain_columns(root, LDR_HINT_MERGE_KEY);

	if (chain->scope)
		return pstrdup(chain->scope);
	if (keys == NIL)
		return NULL;
	return psprintf("EXISTS (SELECT 1 FROM %s WHERE %s)", ldr_sql_source(chain, "s"),
					list_length(keys) == 1 ? ldr_sql_match(keys, root->target, "s") :
					ldr_sql_match_nulls(keys, root->target, "s"));
}
