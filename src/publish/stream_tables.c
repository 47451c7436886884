/*
 * publish/stream_tables.c: the tables of a sync before its first record.
 *
 * A table gets our columns and those of the JSON schema. Later syncs add what is new and change
 * the type of what has another one now; nothing is ever dropped.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "compat.h"
#include "locks.h"
#include "publish/stream_internal.h"

static const char *const own_columns[][2] = {
	{LDR_AIRBYTE_RAW_ID, "character varying"},
	{LDR_AIRBYTE_EXTRACTED_AT, "timestamp with time zone"},
	{LDR_AIRBYTE_META, "jsonb"},
	{LDR_AIRBYTE_GENERATION, "bigint"}
};

static void
tables_execute(LdrRun *run, const char *event, const char *object, const char *sql)
{
	ldr_sql_execute(sql, 0, NULL, NULL, SPI_OK_UTILITY);
	ldr_event(run->package->package_id, event, object, "%s", sql);
}

void
ldr_stream_dropped(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("a table of the sync was dropped by another session"),
			 errhint("Sync again; the next one makes it. What its rows were is for a full refresh to "
					 "bring again.")));
}

char *
ldr_stream_table(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ldr_stream_dropped();
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

bool
ldr_stream_has_rows(Oid relid)
{
	return ldr_sql_finds(psprintf("SELECT FROM %s LIMIT 1", ldr_stream_table(relid)), 0, NULL,
						 NULL);
}

int
ldr_stream_shared(Relation rel, Oid also_in, AttrNumber **mine, AttrNumber **theirs)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			n = 0;

	*mine = palloc(sizeof(AttrNumber) * Max(desc->natts, 1));
	*theirs = palloc(sizeof(AttrNumber) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		char	   *name = NameStr(TupleDescAttr(desc, i)->attname);
		AttrNumber	attnum;

		if (TupleDescAttr(desc, i)->attisdropped || strcmp(name, LDR_STREAM_ARRIVAL) == 0 ||
			(attnum = get_attnum(also_in, name)) == InvalidAttrNumber)
			continue;
		(*mine)[n] = i + 1;
		(*theirs)[n++] = attnum;
	}
	return n;
}

const char *
ldr_stream_column(Relation rel, AttrNumber attnum)
{
	return quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attname));
}

char *
ldr_stream_columns(Oid relid, Oid also_in, const char *alias)
{
	Relation	rel = table_open(relid, NoLock);
	AttrNumber *mine;
	AttrNumber *theirs;
	int			n = ldr_stream_shared(rel, also_in, &mine, &theirs);
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < n; i++)
		appendStringInfo(&sql, "%s%s%s", i > 0 ? ", " : "", alias,
						 ldr_stream_column(rel, mine[i]));
	table_close(rel, NoLock);
	return sql.data;
}

/* --- a new table ------------------------------------------------------------------------------- */

static char *
tables_type_sql(const char *type)
{
	/* the names among them that are no keywords of the grammar */
	return strcmp(type, "jsonb") == 0 || strcmp(type, "date") == 0
		? psprintf("pg_catalog.%s", type) : pstrdup(type);
}

/* The type of a column as the table like has it, qualified; without one, or the column, as given. */
static char *
tables_type_like(Oid like, const char *name, const char *type)
{
	AttrNumber	attnum = OidIsValid(like) ? get_attnum(like, name) : InvalidAttrNumber;
	Oid			typid;
	int32		typmod;
	Oid			collation;

	if (attnum == InvalidAttrNumber)
		return tables_type_sql(type);
	get_atttypetypmodcoll(like, attnum, &typid, &typmod, &collation);
	return format_type_extended(typid, typmod,
								FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/*
 * CREATE TABLE of our columns, the stream's, and what else is given. A staging table is like its
 * table: somebody may have chosen other types there, which not every cast leads to.
 */
char *
ldr_stream_create_sql(const char *table, const LdrStream *stream, Oid like, const char *more)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", table);
	for (int i = 0; i < (int) lengthof(own_columns); i++)
		appendStringInfo(&sql, "%s%s %s%s", i > 0 ? ", " : "", own_columns[i][0],
						 tables_type_like(like, own_columns[i][0], own_columns[i][1]),
						 strcmp(own_columns[i][0], LDR_AIRBYTE_GENERATION) == 0 ? "" : " NOT NULL");
	for (int i = 0; i < stream->ncolumns; i++)
		appendStringInfo(&sql, ", %s %s", quote_identifier(stream->columns[i].name),
						 tables_type_like(like, stream->columns[i].name,
										  ldr_stream_type_name(stream->columns[i].type)));
	appendStringInfo(&sql, "%s)", more);
	return sql.data;
}

/* The primary key's columns and the cursor, each once. */
static char *
tables_key_list(const LdrStream *stream)
{
	StringInfoData sql;
	bool		cursor = stream->cursor >= 0;

	initStringInfo(&sql);
	for (int i = 0; i < stream->nkeys; i++)
	{
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(stream->columns[stream->keys[i]].name));
		cursor = cursor && stream->keys[i] != stream->cursor;
	}
	if (cursor)
		appendStringInfo(&sql, ", %s", quote_identifier(stream->columns[stream->cursor].name));
	return sql.data;
}

static void
tables_create(LdrRun *run, LdrSyncStream *s)
{
	const LdrStream *stream = s->stream;
	char	   *table = quote_qualified_identifier(stream->dataset, stream->table);

	tables_execute(run, "create table", s->label, ldr_stream_create_sql(table, stream, InvalidOid, ""));
	ldr_sql_execute(psprintf("CREATE INDEX ON %s (%s)", table, LDR_AIRBYTE_EXTRACTED_AT),
					0, NULL, NULL, SPI_OK_UTILITY);
}

void
ldr_stream_make_schema(LdrRun *run, const char *schema)
{
	if (OidIsValid(get_namespace_oid(schema, true)))
		return;
	ldr_lock_dataset(schema, LDR_DATASET_CREATE);
	if (OidIsValid(get_namespace_oid(schema, true)))
		return;
	ldr_create_schema(schema);
	ldr_event(run->package->package_id, "create schema", schema, "%s", ldr_dataset_sql(schema));
	CommandCounterIncrement();
}

/* --- a table that is there --------------------------------------------------------------------- */

/* Is the type one that a sync gives a column? Others were chosen by somebody, and are kept. */
static bool
tables_is_ours(const char *type)
{
	for (int i = LDR_STREAM_VARCHAR; i <= LDR_STREAM_JSON; i++)
		if (strcmp(type, ldr_stream_type_name(i)) == 0)
			return true;
	return false;
}

/* How the values of a column come into another type, which is given as SQL has it. */
static char *
tables_using(const char *column, const char *from, const char *to)
{
	if (strcmp(to, tables_type_sql("jsonb")) == 0)
		return psprintf("pg_catalog.to_jsonb(%s)", column);
	if (strcmp(from, "jsonb") == 0)
		return psprintf("(%s OPERATOR(pg_catalog.#>>) '{}')::%s", column, to);
	return psprintf("%s::%s", column, to);
}

static char *
tables_live_type(Oid relid, AttrNumber attnum)
{
	Oid			type;
	int32		typmod;
	Oid			collation;

	get_atttypetypmodcoll(relid, attnum, &type, &typmod, &collation);
	return format_type_with_typemod(type, typmod);
}

/* What ALTER TABLE has to say for one column; NULL: nothing. like: as for ldr_stream_create_sql. */
static char *
tables_alteration(Oid relid, Oid like, const char *name, const char *type)
{
	char	   *column = pstrdup(quote_identifier(name));
	AttrNumber	attnum = get_attnum(relid, name);
	char	   *live;

	if (attnum == InvalidAttrNumber)
		return psprintf("ADD COLUMN %s %s", column, tables_type_like(like, name, type));
	live = tables_live_type(relid, attnum);
	if (OidIsValid(like) && get_attnum(like, name) != InvalidAttrNumber)
		type = tables_live_type(like, get_attnum(like, name));
	else if (!tables_is_ours(live))
		return NULL;
	if (strcmp(live, type) == 0)
		return NULL;
	return psprintf("ALTER COLUMN %s TYPE %s USING %s", column, tables_type_like(like, name, type),
					tables_using(column, live, tables_type_like(like, name, type)));
}

/* The ALTER TABLE that the stream's columns need, NULL if none. */
static char *
tables_alter_sql(Oid relid, Oid like, const LdrStream *stream)
{
	StringInfoData sql;
	char	   *part = tables_alteration(relid, like, LDR_AIRBYTE_GENERATION, "bigint");

	initStringInfo(&sql);
	for (int i = -1; i < stream->ncolumns; i++)
	{
		if (i >= 0)
			part = tables_alteration(relid, like, stream->columns[i].name,
									 ldr_stream_type_name(stream->columns[i].type));
		if (part)
			appendStringInfo(&sql, "%s%s", sql.len > 0 ? ", " : "", part);
	}
	return sql.len == 0 ? NULL : psprintf("ALTER TABLE %s %s", ldr_stream_table(relid), sql.data);
}

/* A table of that name that is none of ours cannot take our rows. */
static void
tables_check(Oid relid, const LdrSyncStream *s)
{
	for (int i = 0; i < (int) lengthof(own_columns) - 1; i++)
		if (get_attnum(relid, own_columns[i][0]) == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("table %s is not one of an Airbyte sync", ldr_stream_table(relid)),
					 errdetail("Stream \"%s\" would go there, and it has no column \"%s\".",
							   s->name, own_columns[i][0]),
					 errhint("Rename the table, or sync into another schema.")));
}

/* Only an owner may have a strong lock: ask before waiting for it. */
static void
tables_check_owner(Oid relid, const LdrSyncStream *s)
{
	if (!ldr_is_owner(relid, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", ldr_stream_table(relid)),
				 errdetail("Stream \"%s\" brings columns that have to be added or changed.", s->name),
				 errhint("Let its owner sync the stream, or GRANT that role to role \"%s\".",
						 GetUserNameFromId(GetUserId(), false))));
}

static void
tables_alter_error(void *arg)
{
	const LdrSyncStream *s = arg;
	int			code = geterrcode();

	if (code == ERRCODE_FEATURE_NOT_SUPPORTED)
		errhint("Drop what uses the column, such as a view, and make it again after the sync.");
	else if (ERRCODE_TO_CATEGORY(code) == ERRCODE_DATA_EXCEPTION)
	{
		errdetail("A column of table \"%s\" has another type in the catalog of stream \"%s\" than "
				  "before, and not all its values fit.", s->label, s->name);
		errhint("Mend the values, or drop the column: the sync makes it again, without them.");
	}
}

/* Bring a table and the staging table to the stream's columns. */
void
ldr_stream_alter_table(LdrRun *run, Oid relid, const LdrSyncStream *s)
{
	Oid			like = relid == s->relid ? InvalidOid : s->relid;
	char	   *sql = tables_alter_sql(relid, like, s->stream);
	ErrorContextCallback callback = {error_context_stack, tables_alter_error, (void *) s};

	if (sql == NULL)
		return;
	tables_check_owner(relid, s);
	(void) ldr_lock_tables(list_make1_oid(relid), AccessExclusiveLock);
	sql = tables_alter_sql(relid, like, s->stream);
	error_context_stack = &callback;
	if (sql)
		tables_execute(run, "alter table", s->label, sql);
	error_context_stack = callback.previous;
}

/*
 * Lock the tables that have to be altered, all or none: nobody shall wait for the first one while we
 * wait for the last.
 */
void
ldr_stream_lock_altered(LdrSyncStream *const *streams, int n)
{
	List	   *relids = NIL;

	for (int i = 0; i < n; i++)
	{
		const LdrStream *stream = streams[i]->stream;
		Oid			namespace = get_namespace_oid(stream->dataset, true);
		Oid			relid = OidIsValid(namespace) ? get_relname_relid(stream->table, namespace)
			: InvalidOid;

		if (!OidIsValid(relid))
			continue;
		tables_check(relid, streams[i]);
		if (tables_alter_sql(relid, InvalidOid, stream) == NULL)
			continue;
		tables_check_owner(relid, streams[i]);
		relids = lappend_oid(relids, relid);
	}
	if (relids != NIL)
		(void) ldr_lock_tables(relids, AccessExclusiveLock);
}

/* Is there an index that finds rows by the key? */
static bool
tables_has_key_index(Oid relid, const LdrStream *stream)
{
	AttrNumber	first = get_attnum(relid, stream->columns[stream->keys[0]].name);
	Relation	rel = table_open(relid, AccessShareLock);
	bool		found = rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		found = found || index->rd_index->indkey.values[0] == first;
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	return found;
}

void
ldr_stream_make_key_index(const LdrSyncStream *s)
{
	if (!s->dedup || tables_has_key_index(s->relid, s->stream))
		return;
	if (!ldr_is_owner(s->relid, GetUserId()))
		return;					/* it is of use, but no more */
	(void) ldr_lock_tables(list_make1_oid(s->relid), ShareLock);
	ldr_sql_execute(psprintf("CREATE INDEX ON %s (%s)", ldr_stream_table(s->relid),
							 tables_key_list(s->stream)), 0, NULL, NULL, SPI_OK_UTILITY);
}

void
ldr_stream_make_table(LdrRun *run, LdrSyncStream *s)
{
	const LdrStream *stream = s->stream;
	Oid			namespace;

	ldr_stream_make_schema(run, stream->dataset);
	namespace = get_namespace_oid(stream->dataset, false);
	s->relid = get_relname_relid(stream->table, namespace);
	if (!OidIsValid(s->relid))
	{
		ldr_lock_dataset(stream->dataset, LDR_DATASET_CREATE);
		s->relid = get_relname_relid(stream->table, namespace);
	}
	if (!OidIsValid(s->relid))
	{
		tables_create(run, s);
		CommandCounterIncrement();
		s->relid = get_relname_relid(stream->table, namespace);
	}
	tables_check(s->relid, s);
	ldr_stream_alter_table(run, s->relid, s);
}
