/*
 * publish/stream_tables.c: the tables of a sync before its first record.
 *
 * A table gets our columns and those of the JSON schema. Later syncs add what is new and change
 * the type of what has another one now; nothing is ever dropped. What an earlier sync has left in
 * a staging table is kept, emptied or brought into the table, depending on what comes now.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "loader.h"
#include "locks.h"
#include "publish/stream.h"
#include "schema/live.h"
#include "schema/plan.h"

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

static void
__attribute__((noreturn))
tables_dropped(void)
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
		tables_dropped();
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

char *
ldr_stream_columns(Oid relid, Oid also_in, const char *alias)
{
	Relation	rel = table_open(relid, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		char	   *name = NameStr(att->attname);

		if (att->attisdropped || strcmp(name, LDR_STREAM_ARRIVAL) == 0 ||
			get_attnum(also_in, name) == InvalidAttrNumber)
			continue;
		appendStringInfo(&sql, "%s%s%s", sql.len > 0 ? ", " : "", alias, quote_identifier(name));
	}
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
static char *
tables_create_sql(const char *table, const LdrStream *stream, Oid like, const char *more)
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

	tables_execute(run, "create table", s->label, tables_create_sql(table, stream, InvalidOid, ""));
	ldr_sql_execute(psprintf("CREATE INDEX ON %s (%s)", table, LDR_AIRBYTE_EXTRACTED_AT),
					0, NULL, NULL, SPI_OK_UTILITY);
}

static void
tables_create_schema(LdrRun *run, const char *schema)
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

/* What ALTER TABLE has to say for one column; NULL: nothing. like: as for tables_create_sql. */
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
static void
tables_alter(LdrRun *run, Oid relid, const LdrSyncStream *s)
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
static void
tables_lock_altered(const LdrSyncStream *streams, int n)
{
	List	   *relids = NIL;

	for (int i = 0; i < n; i++)
	{
		const LdrStream *stream = streams[i].stream;
		Oid			namespace = get_namespace_oid(stream->dataset, true);
		Oid			relid = OidIsValid(namespace) ? get_relname_relid(stream->table, namespace)
			: InvalidOid;

		if (!OidIsValid(relid))
			continue;
		tables_check(relid, &streams[i]);
		if (tables_alter_sql(relid, InvalidOid, stream) == NULL)
			continue;
		tables_check_owner(relid, &streams[i]);
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

static void
tables_create_key_index(const LdrSyncStream *s)
{
	if (!s->dedup || tables_has_key_index(s->relid, s->stream))
		return;
	if (!ldr_is_owner(s->relid, GetUserId()))
		return;					/* it is of use, but no more */
	(void) ldr_lock_tables(list_make1_oid(s->relid), ShareLock);
	ldr_sql_execute(psprintf("CREATE INDEX ON %s (%s)", ldr_stream_table(s->relid),
							 tables_key_list(s->stream)), 0, NULL, NULL, SPI_OK_UTILITY);
}

static void
tables_make(LdrRun *run, LdrSyncStream *s)
{
	const LdrStream *stream = s->stream;
	Oid			namespace;

	tables_create_schema(run, stream->dataset);
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
	tables_alter(run, s->relid, s);
}

/* --- staging ------------------------------------------------------------------------------------ */

/*
 * The staging schema's name is no secret: somebody else could own it, and put a table with
 * triggers in the place of ours.
 */
static void
tables_check_stage(Oid relid, const LdrSyncStream *s)
{
	Oid			owner = ldr_live_schema_owner(get_rel_namespace(relid));

	if (!ldr_create_trusts(owner, get_rel_namespace(s->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("schema \"%s\" for staging tables belongs to another role",
						get_namespace_name(get_rel_namespace(relid))),
				 errhint("Name another one in the configuration: raw_data_schema.")));
	if (!ldr_is_owner(relid, GetUserId()) ||
		!ldr_create_trusts(ldr_live_owner(relid), get_rel_namespace(s->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of staging table %s", ldr_stream_table(relid)),
				 errdetail("It holds rows of stream \"%s\" that an earlier sync has left.", s->name),
				 errhint("Let its owner sync the stream, or drop it.")));
}

/* <dataset>_<table>, shortened as names of streams are. */
static char *
tables_stage_name(const LdrStream *stream)
{
	char	   *name = psprintf("%s_%s", stream->dataset, stream->table);

	if (strlen(name) < NAMEDATALEN)
		return name;
	return psprintf("%.54s_%08x", name, hash_bytes((unsigned char *) name, strlen(name)));
}

void
ldr_stream_stage(LdrRun *run, const LdrSyncOptions *options, LdrSyncStream *s)
{
	LdrStreamRecord *r = s->record;
	char	   *name;
	Oid			namespace;

	if (OidIsValid(s->stage) || !ldr_stream_is_staged(s))
		return;
	tables_create_schema(run, options->raw_data_schema);
	name = tables_stage_name(s->stream);
	namespace = get_namespace_oid(options->raw_data_schema, false);
	if (OidIsValid(get_relname_relid(name, namespace)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s is in the way of a staging table",
						quote_qualified_identifier(options->raw_data_schema, name)),
				 errhint("Rename or drop it, or name another raw_data_schema.")));
	ldr_sql_execute(tables_create_sql(quote_qualified_identifier(options->raw_data_schema, name),
									  s->stream, s->relid,
									  ", " LDR_STREAM_ARRIVAL " bigint NOT NULL"),
					0, NULL, NULL, SPI_OK_UTILITY);
	CommandCounterIncrement();
	s->stage = get_relname_relid(name, namespace);
	tables_check_stage(s->stage, s);
	s->arrivals = 0;
	r->stage_schema = MemoryContextStrdup(run->cxt, options->raw_data_schema);
	r->stage_name = MemoryContextStrdup(run->cxt, name);
	r->stage_generation_id = s->stream->generation_id;
	ldr_stream_put(r);
}

Relation
ldr_stream_open(const LdrSyncStream *s)
{
	Oid			relid = ldr_stream_is_staged(s) ? s->stage : s->relid;

	(void) ldr_lock_tables(list_make1_oid(relid), RowExclusiveLock);
	if (get_rel_name(relid) == NULL)
		tables_dropped();
	return table_open(relid, NoLock);
}

void
ldr_stream_drop_stage(LdrSyncStream *s)
{
	LdrStreamRecord *r = s->record;

	if (OidIsValid(s->stage))
	{
		(void) ldr_lock_tables(list_make1_oid(s->stage), AccessExclusiveLock);
		ldr_sql_execute(psprintf("DROP TABLE %s", ldr_stream_table(s->stage)), 0, NULL, NULL,
						SPI_OK_UTILITY);
	}
	s->stage = InvalidOid;
	r->stage_schema = r->stage_name = NULL;
	r->stage_generation_id = LDR_NO_ID;
}

/* --- how a stream is written -------------------------------------------------------------------- */

/* The ids that clients send who have none: each sync is one of its own. */
static bool
stream_has_ids(const LdrStream *s)
{
	return s->generation_id != LDR_NO_ID && s->minimum_generation_id != LDR_NO_ID &&
		!(s->generation_id == 1 && s->minimum_generation_id == 1 && s->sync_id == 1);
}

static bool
stream_table_is_empty(Oid relid)
{
	return !ldr_sql_finds(psprintf("SELECT FROM %s LIMIT 1", ldr_stream_table(relid)), 0, NULL,
						  NULL);
}

/* Are rows in the table that the stream's generation is to take the place of? */
static bool
stream_is_outdated(const LdrSyncStream *s, bool is_new)
{
	const LdrStream *stream = s->stream;

	if (!stream_has_ids(stream) || stream->minimum_generation_id <= 0)
		return false;
	if (!is_new)
		return s->record->generation_id == LDR_NO_ID ||
			s->record->generation_id < stream->minimum_generation_id;
	/* another loader's table */
	return ldr_sql_finds(psprintf("SELECT FROM %s WHERE coalesce(%s, 0) "
								  "OPERATOR(pg_catalog.<) " INT64_FORMAT " LIMIT 1", ldr_stream_table(s->relid), LDR_AIRBYTE_GENERATION,
								  (int64) stream->minimum_generation_id), 0, NULL, NULL);
}

/*
 * A stream that was completed by an attempt of this very sync before: the rest goes beside it, and
 * what such an attempt has put there already is not complete, but stays, too.
 */
static bool
stream_is_retry(const LdrSyncStream *s)
{
	const LdrStream *stream = s->stream;

	return stream_has_ids(stream) && stream->sync_id != LDR_NO_ID &&
		(s->record->complete || strcmp(s->record->mode, "overwrite") == 0) &&
		s->record->sync_id == stream->sync_id && s->record->generation_id == stream->generation_id;
}

static bool
stream_replaces(const LdrSyncStream *s, bool is_new)
{
	if (s->stream->mode == LDR_STREAM_OVERWRITE)
		return !stream_is_retry(s);
	return stream_is_outdated(s, is_new) && !stream_table_is_empty(s->relid);
}

/*
 * Does the source go on where the staged rows end? A source that was told to begin from the start
 * does not, unless the ids say that it is another attempt of the same sync.
 */
static bool
stream_goes_on(const LdrSyncStream *s, const LdrSyncOptions *options)
{
	const LdrStream *stream = s->stream;

	if (s->continues)
		return true;
	if (stream->minimum_generation_id != LDR_NO_ID &&
		(s->record->stage_generation_id == LDR_NO_ID ? 0 : s->record->stage_generation_id)
		< stream->minimum_generation_id)
		return false;
	if (options->force_full_refresh)
		return false;
	return !stream->full_refresh || stream_has_ids(stream);
}

/* The staging table that an earlier sync has left. */
static void
stream_find_stage(const LdrSyncOptions *options, LdrSyncStream *s)
{
	LdrStreamRecord *r = s->record;
	Oid			namespace = r->stage_name ? get_namespace_oid(r->stage_schema, true) : InvalidOid;

	s->stage = OidIsValid(namespace) ? get_relname_relid(r->stage_name, namespace) : InvalidOid;
	if (OidIsValid(s->stage))
		tables_check_stage(s->stage, s);
	else if (r->stage_name && stream_goes_on(s, options))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("staging table %s has gone",
						quote_qualified_identifier(r->stage_schema, r->stage_name)),
				 errdetail("It held rows of stream \"%s\", whose states an earlier sync has given "
						   "back: the source does not send them again.", s->name),
				 errhint("Let the stream begin anew, with a full refresh.")));
	else
		ldr_stream_drop_stage(s);
}

static int64
stream_count_arrivals(Oid stage)
{
	int64		n = 0;
	bool		isnull;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(psprintf("SELECT pg_catalog.max(%s) FROM %s", LDR_STREAM_ARRIVAL,
							 ldr_stream_table(stage)), true, 1) == SPI_OK_SELECT &&
		SPI_processed == 1)
	{
		Datum		max = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		n = isnull ? 0 : DatumGetInt64(max);
	}
	SPI_finish();
	return n;
}

/* What becomes of rows that an earlier sync has left staged. */
static void
stream_take_stage(LdrRun *run, const LdrSyncOptions *options, LdrSyncStream *s)
{
	stream_find_stage(options, s);
	if (!OidIsValid(s->stage))
		return;
	if (!stream_goes_on(s, options))
	{
		ldr_event(run->package->package_id, "staged rows dropped", s->label, "%s",
				  "The stream begins anew.");
		ldr_stream_drop_stage(s);
		return;
	}
	tables_alter(run, s->stage, s);
	CommandCounterIncrement();
	if (ldr_stream_is_staged(s))
		s->arrivals = stream_count_arrivals(s->stage);
	else
		ldr_stream_append_staged(s);
	ldr_event(run->package->package_id, "staged rows kept", s->label, "%s",
			  "An earlier sync was interrupted after it had given back a state.");
}

static void
stream_decide(LdrRun *run, const LdrSyncOptions *options, LdrSyncStream *s)
{
	LdrStreamRecord *r = ldr_stream_get(s->stream->dataset, s->stream->table);
	bool		is_new = r == NULL;

	if (is_new)
	{
		r = palloc0(sizeof(LdrStreamRecord));
		r->dataset = s->stream->dataset;
		r->table_name = s->stream->table;
		r->mode = "append";		/* whoever filled the table may have kept every version */
		r->generation_id = r->sync_id = r->stage_generation_id = LDR_NO_ID;
	}
	s->record = r;
	s->dedup = s->stream->mode == LDR_STREAM_APPEND_DEDUP;
	s->replaces = !s->done && stream_replaces(s, is_new);
	s->was_cut_off = s->replaces && !is_new && !s->stream->full_refresh &&
		!stream_has_ids(s->stream) && ldr_stream_was_cut_off(r->dataset, r->table_name);
	s->stats.stage = ldr_stream_is_staged(s) ? LDR_STAGE_STAGING : NULL;
	tables_create_key_index(s);
	stream_take_stage(run, options, s);
	/* these rows come with each checkpoint, without a look at keys */
	if (s->stream->mode == LDR_STREAM_APPEND && !s->replaces)
		r->mode = "append";
	/* what was complete is not until this sync says so; of what is replaced the old rows are */
	if (!s->replaces && !s->done)
	{
		r->complete = false;
		r->generation_id = Max(r->generation_id, s->stream->generation_id);
		r->sync_id = s->stream->sync_id;
	}
	ldr_stream_put(r);
}

void
ldr_streams_prepare(LdrRun *run, const LdrSyncOptions *options, LdrSyncStream *streams, int n)
{
	MemoryContext old = MemoryContextSwitchTo(run->cxt);	/* it outlives the transaction */
	bool		stages = false;

	tables_lock_altered(streams, n);
	for (int i = 0; i < n; i++)
	{
		tables_make(run, &streams[i]);
		stream_decide(run, options, &streams[i]);
		stages = stages || ldr_stream_is_staged(&streams[i]);
	}
	if (stages)
		tables_create_schema(run, options->raw_data_schema);
	MemoryContextSwitchTo(old);
}
