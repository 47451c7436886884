/*
 * publish/stream_decide.c: how a stream is written, by its mode, its generation, and what earlier
 * syncs have left; and what becomes of rows that they have left staged.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "publish/stream_internal.h"

/* The ids that clients send who have none: each sync is one of its own. */
static bool
stream_has_ids(const LdrStream *s)
{
	return s->generation_id != LDR_NO_ID && s->minimum_generation_id != LDR_NO_ID &&
		!(s->generation_id == 1 && s->minimum_generation_id == 1 && s->sync_id == 1);
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
								  "OPERATOR(pg_catalog.<) " INT64_FORMAT " LIMIT 1",
								  ldr_stream_table(s->relid), LDR_AIRBYTE_GENERATION,
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
	return stream_is_outdated(s, is_new) && ldr_stream_has_rows(s->relid);
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
		ldr_stream_check_stage(s->stage, s);
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
	ldr_stream_alter_table(run, s->stage, s);
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
	ldr_stream_make_key_index(s);
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
ldr_streams_prepare(LdrRun *run, const LdrSyncOptions *options, LdrSyncStream *const *streams,
					int n)
{
	MemoryContext old = MemoryContextSwitchTo(run->cxt);	/* it outlives the transaction */
	bool		stages = false;

	ldr_stream_lock_altered(streams, n);
	for (int i = 0; i < n; i++)
	{
		ldr_stream_make_table(run, streams[i]);
		stream_decide(run, options, streams[i]);
		stages = stages || ldr_stream_is_staged(streams[i]);
	}
	if (stages)
		ldr_stream_make_schema(run, options->raw_data_schema);
	MemoryContextSwitchTo(old);
}
