/*
 * publish/stream_stage.c: staging tables: rows of a stream that wait for its end, in a schema of the
 * syncing role (raw_data_schema), under a name that the next sync finds.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "locks.h"
#include "publish/stream_internal.h"
#include "schema/live.h"

/*
 * The staging schema's name is no secret: somebody else could own it, and put a table with
 * triggers in the place of ours.
 */
void
ldr_stream_check_stage(Oid relid, const LdrSyncStream *s)
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
stage_name(const LdrStream *stream)
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
	ldr_stream_make_schema(run, options->raw_data_schema);
	name = stage_name(s->stream);
	namespace = get_namespace_oid(options->raw_data_schema, false);
	if (OidIsValid(get_relname_relid(name, namespace)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s is in the way of a staging table",
						quote_qualified_identifier(options->raw_data_schema, name)),
				 errhint("Rename or drop it, or name another raw_data_schema.")));
	ldr_sql_execute(ldr_stream_create_sql(quote_qualified_identifier(options->raw_data_schema, name),
										  s->stream, s->relid,
										  ", " LDR_STREAM_ARRIVAL " bigint NOT NULL"),
					0, NULL, NULL, SPI_OK_UTILITY);
	CommandCounterIncrement();
	s->stage = get_relname_relid(name, namespace);
	ldr_stream_check_stage(s->stage, s);
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
		ldr_stream_dropped();
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
