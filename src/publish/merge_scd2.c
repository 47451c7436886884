/*
 * publish/merge_scd2.c: slowly changing dimensions: a row that is not in the package any more is
 * retired, one that is new becomes active. A row is known by its row version, a hash.
 *
 * The boundary is the moment that ends the one and begins the other. It is written as a literal in
 * UTC, which a timestamp without time zone takes as it stands.
 */
#include "postgres.h"

#include <math.h>

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "publish/merge_sql.h"

#define SCD2_SHOWN 64			/* bytes of a wrong moment in a message */
#define SCD2_MAX_DEPTH 64		/* of queries in queries; the server's stack has to bear them */

/* The columns that scd2 fills or looks at, and what it writes. */
typedef struct Scd2
{
	LdrChainColumn *version;
	LdrChainColumn *from;
	LdrChainColumn *to;
	const char *boundary;		/* literal */
	const char *active;			/* literal or NULL: "to" of a row that is valid */
} Scd2;

static LdrChainColumn *
scd2_column(const LdrChain *chain, LdrHint hint, const char *name)
{
	const LdrChainTable *root = &chain->tables[0];
	LdrChainColumn *found = ldr_chain_column(root, hint);

	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" of the package's schema has no column with the hint \"%s\"",
						root->schema->name, name),
				 errhint("The merge strategy \"%s\" needs one.",
						 ldr_merge_strategy_name(LDR_SCD2))));
	return found;
}

/* --- moments ---------------------------------------------------------------------------------- */

static void
scd2_set(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/* How many characters of the text are digits, from its start. */
static size_t
scd2_digits(const char *text)
{
	return strspn(text, "0123456789");
}

/*
 * Is it a number of seconds since 1970? Digits alone can be a date: a year, with the day of the
 * year or with month and day.
 */
static bool
scd2_is_seconds(const char *text, double *seconds)
{
	size_t		len = strlen(text);
	char	   *end;

	if (len == 0 || strspn(text, "0123456789+-.eE") != len)
		return false;
	if (scd2_digits(text) == len && (len == 4 || len == 7 || len == 8))
		return false;
	*seconds = strtod(text, &end);
	return *end == '\0';
}

/* Seconds as a moment, rounded as Python does. False if dlt has no such moment. */
static bool
scd2_from_seconds(double seconds, TimestampTz *moment)
{
	double		whole;
	double		fraction = modf(seconds, &whole);

	if (!(whole >= -62135596800.0 && whole < 253402300800.0))	/* years 1 to 9999 */
		return false;
	*moment = ((int64) whole - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400)) *
		USECS_PER_SEC + (int64) rint(fraction * USECS_PER_SEC);
	return true;
}

/*
 * A date of ISO 8601 as the server takes it: what is left out is added, and what is below a
 * microsecond is cut off, as dlt does.
 */
static char *
scd2_server_text(const char *text)
{
	size_t		len = strlen(text);
	size_t		year = scd2_digits(text);
	size_t		whole;
	size_t		fraction;

	if (len == 4 && year == 4)
		return psprintf("%s-01-01", text);
	if (len == 7 && year == 7)
		return psprintf("%.4s-%s", text, text + 4);
	if (len == 7 && year == 4 && text[4] == '-' && scd2_digits(text + 5) == 2)
		return psprintf("%s-01", text);
	if (len == 13 && (text[10] == 'T' || text[10] == ' ') && scd2_digits(text + 11) == 2)
		return psprintf("%s:00", text);
	whole = strcspn(text, ".,");
	if (len <= 10 || whole < 10 || whole == len)
		return pstrdup(text);
	fraction = scd2_digits(text + whole + 1);
	return psprintf("%.*s.%.*s%s", (int) whole, text, (int) Min(fraction, 6), text + whole + 1,
					text + whole + 1 + fraction);
}

/*
 * The moment that the text says; false if it says none that dlt knows. Raises the server's errors.
 */
static bool
scd2_parse(const char *text, TimestampTz *moment)
{
	double		seconds;

	if (scd2_is_seconds(text, &seconds))
		return scd2_from_seconds(seconds, moment);
	/* the server would also take "now" and "tomorrow" */
	if (text[0] < '0' || text[0] > '9')
		return false;
	*moment = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													  CStringGetDatum(scd2_server_text(text)),
													  ObjectIdGetDatum(InvalidOid),
													  Int32GetDatum(-1)));
	return true;
}

/* A moment as a literal in UTC; one without a zone is in UTC. NULL if it is none. */
static char *
scd2_literal(const char *text)
{
	int			nest = NewGUCNestLevel();
	char	   *literal = NULL;
	TimestampTz moment;

	scd2_set("timezone", "UTC");
	scd2_set("datestyle", "ISO, YMD");
	if (scd2_parse(text, &moment))
	{
		Datum		utc = DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(moment));

		literal = quote_literal_cstr(DatumGetCString(utc));
	}
	AtEOXact_GUC(true, nest);
	return literal;
}

/* What the server does not take is an error of the hint, not of somebody's settings. */
static char *
scd2_moment(const LdrChain *chain, const char *text, const char *what)
{
	MemoryContext cxt = CurrentMemoryContext;
	char	   *volatile literal = NULL;

	PG_TRY();
	{
		literal = scd2_literal(text);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			ReThrowError(error);
		FlushErrorState();
	}
	PG_END_TRY();
	if (literal == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid %s of table \"%s\": \"%s\"", what, chain->tables[0].schema->name,
						pnstrdup(text, pg_mbcliplen(text, strlen(text), SCD2_SHOWN))),
				 errhint("It must be a date and time in ISO format, or seconds since 1970.")));
	return literal;
}

static Scd2
scd2_make(const LdrChain *chain)
{
	const LdrSchemaTable *root = chain->tables[0].schema;
	Scd2		scd2;

	scd2.version = scd2_column(chain, LDR_HINT_ROW_VERSION, "x-row-version");
	scd2.from = scd2_column(chain, LDR_HINT_VALID_FROM, "x-valid-from");
	scd2.to = scd2_column(chain, LDR_HINT_VALID_TO, "x-valid-to");
	if (root->boundary_timestamp)
		scd2.boundary = scd2_moment(chain, root->boundary_timestamp, "x-boundary-timestamp");
	else if (chain->merge->created_at)
		scd2.boundary = scd2_moment(chain, chain->merge->created_at, "created_at");
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the package does not say when table \"%s\" changed", root->name),
				 errhint("Merge strategy \"%s\" needs created_at in load_package_state.json, or "
						 "the hint x-boundary-timestamp.", ldr_merge_strategy_name(LDR_SCD2))));
	scd2.active = NULL;
	if (scd2.to->schema->active_timestamp)
		scd2.active = scd2_moment(chain, scd2.to->schema->active_timestamp,
								  "x-active-record-timestamp");
	return scd2;
}

/* --- nested tables ---------------------------------------------------------------------------- */

/* What the root's nested rows refer to: its row key, or the row version in its place. */
static LdrChainColumn *
scd2_root_row_key(const LdrChain *chain)
{
	LdrChainColumn *found = ldr_chain_column(&chain->tables[0], LDR_HINT_ROW_KEY);

	return found ? found : ldr_chain_column(&chain->tables[0], LDR_HINT_ROW_VERSION);
}

/* What a nested row knows its root row by, or else its parent. */
static LdrChainColumn *
scd2_filter_key(const LdrChain *chain, const LdrChainTable *table, LdrChainTable **parent)
{
	LdrChainColumn *key = ldr_chain_column(table, LDR_HINT_ROOT_KEY);

	*parent = &chain->tables[0];
	if (key != NULL)
		return key;
	*parent = ldr_chain_parent(chain, table);
	key = ldr_chain_column(table, LDR_HINT_PARENT_KEY);
	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" of the package's schema has neither a root key nor a parent "
						"key", table->schema->name),
				 errhint("A source filter needs one to find the root row.")));
	return key;
}

/* Can a source filter find the root row of each staged row? Not from any depth, see below. */
static void
scd2_check_passes(const LdrChain *chain, const LdrChainTable *table)
{
	LdrChainTable *parent = NULL;

	for (int depth = 0; parent != &chain->tables[0]; depth++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) scd2_filter_key(chain, parent ? parent : table, &parent);
		if (parent != &chain->tables[0])
			(void) ldr_chain_row_key(parent);
		if (depth >= SCD2_MAX_DEPTH)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("table \"%s\" of the package's schema is nested too deep for a source "
							"filter", table->schema->name),
					 errdetail("Without a root key it may be %d levels below the root table.",
							   SCD2_MAX_DEPTH),
					 errhint("Have dlt add root keys, with root_key=True.")));
	}
}

/*
 * The staged row s hangs on a root row that passes the filter: a query in a query for each parent.
 */
static char *
scd2_passes(const LdrChain *chain, LdrChainTable *table)
{
	const char *alias = "s";
	StringInfoData sql;
	int			depth = 0;

	initStringInfo(&sql);
	while (table != &chain->tables[0])
	{
		LdrChainTable *parent;
		LdrChainColumn *key = scd2_filter_key(chain, table, &parent);
		bool		is_root = parent == &chain->tables[0];
		LdrChainColumn *row_key = is_root ? scd2_root_row_key(chain) : ldr_chain_row_key(parent);
		char	   *above = psprintf("p%d", ++depth);

		appendStringInfo(&sql, "%sEXISTS (SELECT 1 FROM %s WHERE %s", depth > 1 ? " AND " : "",
						 is_root ? ldr_sql_source(chain, above) :
						 psprintf("%s %s", parent->staging, above),
						 ldr_sql_equal(ldr_staged(row_key, above), ldr_staged(key, alias)));
		alias = above;
		table = parent;
	}
	while (depth-- > 0)
		appendStringInfoChar(&sql, ')');
	return sql.data;
}

/*
 * The staged row's key is none that the target has, or that the target has where more is true of d:
 * NOT IN, which no row passes if one of the target's keys is NULL.
 */
static char *
scd2_is_new(const LdrChainTable *table, LdrChainColumn *key, const char *more)
{
	char	   *sql = ldr_sql_unmatched(table, list_make1(key), psprintf("%s s2", table->staging),
										more);

	if (key->nullable)
		sql = psprintf("%s AND NOT EXISTS (SELECT 1 FROM %s d WHERE %s)", sql, table->target,
					   ldr_sql_and(psprintf("d.%s IS NULL", key->name), more));
	if (key->staging_nullable)
		sql = psprintf("%s AND (s.%s IS NOT NULL OR NOT EXISTS (SELECT 1 FROM %s d%s))", sql,
					   key->name, table->target, ldr_sql_where(more));
	return sql;
}

static void
scd2_nested(LdrChain *chain, LdrChainTable *table)
{
	const char *condition = scd2_is_new(table, ldr_chain_row_key(table), NULL);

	if (chain->filter)
		condition = ldr_sql_and(condition, scd2_passes(chain, table));
	table->counts->inserted +=
		ldr_chain_insert(chain, table, psprintf("%s s", table->staging), condition);
}

/* --- the root --------------------------------------------------------------------------------- */

/* The row of the target is valid now. */
static char *
scd2_is_active(const Scd2 *scd2, const char *alias)
{
	if (scd2->active == NULL)
		return psprintf("%s.%s IS NULL", alias, scd2->to->name);
	return psprintf("%s.%s OPERATOR(pg_catalog.=) %s", alias, scd2->to->name, scd2->active);
}

/* Rows that are valid and not in the package any more end at the boundary. */
static void
scd2_retire(LdrChain *chain, const Scd2 *scd2)
{
	LdrChainTable *root = &chain->tables[0];
	char	   *condition = scd2_is_active(scd2, root->target);

	condition = ldr_sql_and(condition, ldr_sql_absent(chain, list_make1(scd2->version)));
	condition = ldr_sql_and(condition, ldr_sql_partition(chain));
	root->counts->updated +=
		ldr_chain_run(chain, psprintf("UPDATE %s SET %s = %s WHERE %s", root->target,
									  scd2->to->name, scd2->boundary, condition), SPI_OK_UPDATE);
}

/* Rows of the package that are not valid yet are from the boundary on. */
static void
scd2_insert(LdrChain *chain, const Scd2 *scd2)
{
	LdrChainTable *root = &chain->tables[0];
	List	   *columns = list_difference_ptr(ldr_chain_columns(root, LDR_HINT_ANY),
											  list_make2(scd2->from, scd2->to));
	const char *separator = columns == NIL ? "" : ", ";
	const char *insert = psprintf("INSERT INTO %s (%s%s%s, %s) SELECT %s%s%s, %s", root->target,
								  ldr_sql_columns(columns, NULL), separator, scd2->from->name,
								  scd2->to->name, ldr_sql_columns(columns, "s"), separator,
								  scd2->boundary, scd2->active ? scd2->active : "NULL");
	const char *rows = psprintf("FROM %s WHERE %s", ldr_sql_source(chain, "s"),
								scd2_is_new(root, scd2->version, scd2_is_active(scd2, "d")));

	root->counts->inserted +=
		ldr_chain_write(chain, root, rows, psprintf("%s %s", insert, rows),
						psprintf("%s FROM %s s WHERE " LDR_SOME_ROWS, insert, root->staging),
						SPI_OK_INSERT);
}

void
ldr_merge_scd2_check(const LdrChain *chain)
{
	(void) scd2_make(chain);
	for (int i = 1; i < chain->ntables; i++)
	{
		(void) ldr_chain_row_key(&chain->tables[i]);
		if (chain->filter)
			scd2_check_passes(chain, &chain->tables[i]);
	}
}

void
ldr_merge_scd2(LdrChain *chain)
{
	Scd2		scd2 = scd2_make(chain);

	scd2_retire(chain, &scd2);
	scd2_insert(chain, &scd2);
	for (int i = 1; i < chain->ntables; i++)
		scd2_nested(chain, &chain->tables[i]);
}

bool
ldr_merge_scd2_is_grouped(LdrChain *chain)
{
	LdrChainTable *root = &chain->tables[0];
	List	   *keys = ldr_chain_columns(root, LDR_HINT_MERGE_KEY);
	Scd2		scd2 = scd2_make(chain);
	char	   *of_staged = psprintf("EXISTS (SELECT 1 FROM %s s WHERE %s)", root->staging,
									 ldr_sql_match_nulls(keys, "d", "s"));

	return ldr_chain_has_duplicates(chain, psprintf("%s s", root->staging),
									ldr_sql_columns(keys, "s")) ||
		ldr_chain_has_duplicates(chain,
								 psprintf("%s d WHERE %s", root->target,
										  ldr_sql_and(scd2_is_active(&scd2, "d"), of_staged)),
								 ldr_sql_columns(keys, "d"));
}
