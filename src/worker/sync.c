/*
 * worker/sync.c: an Airbyte sync: messages of a client's session, or of a file, one after the other.
 *
 * What a file's messages have become is recorded with each commit, so an attempt that goes on after
 * an interruption skips what was committed. A client's messages come once: an error ends the sync,
 * and its source goes on from the last state with the next one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "loader.h"
#include "worker/feed.h"
#include "worker/sync.h"
#include "worker/worker.h"

#define CHECK_MESSAGES	1024	/* between two looks at progress and cancel */

/* --- beginning ---------------------------------------------------------------------------------- */

static void
sync_describe(Sync *sync, int i, List *counts, List *jobs)
{
	static const char *const dispositions[] = {"append", "replace", "merge"};
	SyncStream *s = &sync->streams[i];
	const LdrStream *stream = &sync->catalog->streams[i];
	LdrMessageStream *names = &sync->names[i];
	LdrColumnName *columns = palloc0(sizeof(LdrColumnName) * Max(stream->ncolumns, 1));

	s->t.stream = stream;
	s->t.ordinal = i + 1;
	s->t.name = ldr_sync_text(stream->name);
	s->t.label = pstrdup(((LdrJob *) list_nth(jobs, i))->table_name);
	s->t.stats.table_name = s->t.stats.chain = s->t.label;
	s->t.stats.disposition = dispositions[stream->mode];
	s->t.stats.strategy = ldr_stream_mode_name(stream->mode);
	s->t.stats.lock_wait_us = s->t.stats.lock_hold_us = -1;
	s->counts = *(LdrPackageStream *) list_nth(counts, i);
	s->covered = s->counts;
	s->skip_to = s->counts.position;
	s->t.continues = s->skip_to > 0;
	s->t.done = s->counts.finished;
	s->skip_all = strcmp(s->counts.status, "complete") == 0;
	s->status = s->skip_all ? LDR_STATUS_COMPLETE : LDR_STATUS_NONE;
	for (int c = 0; c < stream->ncolumns; c++)
	{
		columns[c].name = stream->columns[c].property;
		columns[c].raw_json = stream->columns[c].type >= LDR_STREAM_OBJECT;
	}
	names->name = stream->name;
	names->name_space = stream->name_space;
	names->columns = columns;
	names->ncolumns = stream->ncolumns;
}

/* One sync at a time has a table. */
static void
sync_lock_stream(const LdrSyncStream *t)
{
	if (!ldr_stream_lock(t->stream->dataset, t->stream->table))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("table \"%s\" of stream \"%s\" is being loaded by another sync",
						t->label, t->name),
				 errhint("Let that one end; loader.packages shows it.")));
}

/* Read the catalog, and what an attempt before has done; make the tables. */
static void
sync_prepare(Sync *sync)
{
	LdrRun	   *run = sync->run;
	List	   *counts;
	List	   *jobs;
	LdrSyncStream **tables;

	ldr_xact_begin();
	MemoryContextSwitchTo(run->cxt);
	ldr_progress_phase(LDR_PHASE_MIGRATE);
	sync->options = ldr_sync_options_from_json(run->package->options);
	sync->catalog = ldr_sync_catalog(run->package->catalog, sync->options);
	sync->nstreams = sync->catalog->nstreams;
	counts = ldr_package_stream_list(run->package->package_id);
	jobs = ldr_job_list(run->package->package_id, false);
	if (list_length(counts) != sync->nstreams || list_length(jobs) != sync->nstreams)
		elog(ERROR, "sync has %d streams, but %d in the catalog of packages", sync->nstreams,
			 list_length(counts));
	sync->streams = palloc0(sizeof(SyncStream) * Max(sync->nstreams, 1));
	sync->names = palloc0(sizeof(LdrMessageStream) * Max(sync->nstreams, 1));
	tables = palloc(sizeof(LdrSyncStream *) * Max(sync->nstreams, 1));
	for (int i = 0; i < sync->nstreams; i++)
	{
		sync_describe(sync, i, counts, jobs);
		sync_lock_stream(&sync->streams[i].t);
		tables[i] = &sync->streams[i].t;
	}
	run->jobs = jobs;
	LDR_FAULT("sync: streams locked");
	ldr_streams_prepare(run, sync->options, tables, sync->nstreams);
	ldr_package_loading(run->package->package_id);
	ldr_xact_commit();
	MemoryContextSwitchTo(run->cxt);
	ldr_progress_phase(LDR_PHASE_LOAD);
}

static void
sync_close_reader(void *reader)
{
	ldr_airbyte_close(reader);
}

static void sync_idle(void *arg);

static void
sync_open(Sync *sync, bool has_feed)
{
	LdrRun	   *run = sync->run;
	LdrError	err = {0};
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));

	sync->from_file = !has_feed;
	if (has_feed)
		sync->source = ldr_feed_source(sync_idle, sync);
	else
	{
		const LdrJob *job = linitial(run->jobs);
		LdrFileStamp stamp;

		ldr_xact_begin();
		MemoryContextSwitchTo(run->cxt);
		run->dir = ldr_package_of_file();
		sync->path = ldr_package_point_at(run->dir, run->package->source, &stamp);
		sync->source = ldr_package_job_source(run->dir, sync->path, &job->stamp);
		ldr_xact_commit();
		MemoryContextSwitchTo(run->cxt);
		ldr_progress_totals(sync->nstreams, job->stamp.size);
	}
	sync->reader = ldr_airbyte_open(sync->source, sync->names, sync->nstreams, &err);
	if (sync->reader == NULL)
		ldr_raise(&err, sync->path);
	cb->func = sync_close_reader;
	cb->arg = sync->reader;
	MemoryContextRegisterResetCallback(run->cxt, cb);
}

/* --- messages ----------------------------------------------------------------------------------- */

static void
__attribute__((noreturn))
sync_unknown_stream(const Sync *sync, const LdrMessage *m)
{
	char	   *name = m->name.kind == LDR_NULL ? pstrdup("")
		: pnstrdup(m->name.data, m->name.len);
	const char *where = m->name_space.kind == LDR_NULL ? "The record names no namespace"
		: psprintf("Its namespace is \"%s\"", ldr_printable(pnstrdup(m->name_space.data,
																	m->name_space.len)));
	const LdrMessageStream *other = NULL;

	for (int i = 0; i < sync->nstreams; i++)
		if (strcmp(sync->names[i].name, name) == 0)
			other = &sync->names[i];
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("stream \"%s\" is not in the catalog", ldr_printable(name)),
			 other && other->name_space ?
			 errdetail("%s; that in the catalog is \"%s\".", where,
					   ldr_printable(other->name_space)) :
			 other ? errdetail("%s; the catalog has it without one.", where) :
			 m->name_space.kind == LDR_NULL ? 0 : errdetail("%s.", where),
			 errhint("Name it in the configured catalog, or let the source leave it out.")));
}

static void
sync_status(Sync *sync, SyncStream *s, LdrStreamStatus status)
{
	if (s == NULL)
		return;
	if (s->started_at == 0)
		s->started_at = GetCurrentTimestamp();
	s->status = status;
	if (status == LDR_STATUS_COMPLETE)
		ldr_sync_complete(sync, s);
	else if (status == LDR_STATUS_INCOMPLETE)
		ldr_sync_forget_uncovered(sync, s);
}

/* How much is to come, as the source guesses. */
static void
sync_estimate(Sync *sync, SyncStream *s, double bytes)
{
	double		total = 0;

	if (s == NULL || sync->from_file || bytes < 0)
		return;
	s->byte_estimate = bytes;
	for (int i = 0; i < sync->nstreams; i++)
		total += sync->streams[i].byte_estimate;
	ldr_progress_totals(sync->nstreams, (uint64) Min(total, 1e18));
}

static void
sync_record(Sync *sync, SyncStream *s, const LdrMessage *m)
{
	if (s == NULL)
		sync_unknown_stream(sync, m);
	if (s->started_at == 0)
		s->started_at = GetCurrentTimestamp();
	s->status = LDR_STATUS_RUNNING;
	ldr_sync_record(sync, s, m);
}

/* A state that says of what it is one. */
static void
sync_state(Sync *sync, SyncStream *s, const LdrMessage *m)
{
	if (m->state_kind == LDR_STATE_STREAM && m->name.kind != LDR_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a state of type STREAM does not name its stream"),
				 errhint("The source must put a stream_descriptor into it.")));
	ldr_sync_state(sync, s, m);
}

static void
sync_source_error(Sync *sync, const LdrMessage *m)
{
	MemoryContext old = MemoryContextSwitchTo(sync->run->cxt);

	if (m->text.kind != LDR_NULL)
	{
		char	   *text = pnstrdup(m->text.data, Min(m->text.len, 1000));

		if (sync->source_error)
			pfree(sync->source_error);
		sync->source_error = ldr_printable(text);
		pfree(text);
	}
	MemoryContextSwitchTo(old);
}

/* Did an attempt before this one commit what the message says? */
static bool
sync_is_known(const Sync *sync, const SyncStream *s, const LdrMessage *m)
{
	if (!sync->from_file)
		return false;
	/* a stream whose end was committed, but not what follows from it, ends again */
	if (s)
		return m->line <= s->skip_to && (s->skip_all || m->kind != LDR_MESSAGE_STATUS);
	/* a state of the whole source has covered all streams alike */
	return m->kind == LDR_MESSAGE_STATE && m->state_kind != LDR_STATE_STREAM &&
		sync->nstreams > 0 && m->line <= sync->streams[0].skip_to;
}

static void
sync_message(Sync *sync, const LdrMessage *m)
{
	SyncStream *s = m->stream >= 0 ? &sync->streams[m->stream] : NULL;

	sync->line = m->line;
	LDR_FAULT("sync: message");
	sync->about = s;
	if (sync_is_known(sync, s, m))
		return;
	switch (m->kind)
	{
		case LDR_MESSAGE_RECORD:
			sync_record(sync, s, m);
			break;
		case LDR_MESSAGE_STATE:
			sync_state(sync, s, m);
			break;
		case LDR_MESSAGE_STATUS:
			sync_status(sync, s, m->status);
			break;
		case LDR_MESSAGE_ESTIMATE:
			sync_estimate(sync, s, m->byte_estimate);
			break;
		case LDR_MESSAGE_ERROR:
			sync_source_error(sync, m);
			break;
		case LDR_MESSAGE_NOT_JSON:
			if (sync->lines_skipped++ == 0)
				sync->first_skipped = m->line;
			break;
		case LDR_MESSAGE_LOG:
		case LDR_MESSAGE_CONTROL:
		case LDR_MESSAGE_OTHER:
			break;
	}
}

/* Is there a stream to be finished, now that nothing is left that is not covered? */
static bool
sync_is_to_finish(const Sync *sync)
{
	for (int i = 0; i < sync->nstreams; i++)
		if (sync->streams[i].finish)
			return true;
	return false;
}

/* Commit if all is covered, and it is time to. */
static void
sync_checkpoint(Sync *sync)
{
	if (sync->direct)
		return;
	if (sync_is_to_finish(sync))
		ldr_sync_finish_complete(sync);
	else if (ldr_sync_is_due(sync))
		ldr_sync_commit(sync);
}

/* Nothing to read: what is covered need not wait. */
static void
sync_idle(void *arg)
{
	Sync	   *sync = arg;

	if (sync->reader)
		ldr_progress_rows(sync->records, ldr_airbyte_consumed(sync->reader));
	if (sync->direct == NULL && sync->states != NIL)
		ldr_sync_commit(sync);
	if (sync->in_xact)
	{
		ldr_check_cancel();
		return;
	}
	ldr_xact_begin();
	ldr_check_cancel();
	ldr_xact_commit();
	MemoryContextSwitchTo(sync->run->cxt);
}

static void
__attribute__((noreturn))
sync_raise(const Sync *sync, const LdrError *err)
{
	if (sync->path)
		ldr_raise(err, sync->path);
	ldr_raise_in(err, "Messages");
}

/* Nothing of that was meant for us. */
static void
__attribute__((noreturn))
sync_no_messages(Sync *sync)
{
	sync->line = 0;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("file \"%s\" has no messages of the Airbyte protocol", sync->path),
			 errdetail(INT64_FORMAT " line%s of it begin%s no JSON object.", sync->lines_skipped,
					   sync->lines_skipped == 1 ? "" : "s", sync->lines_skipped == 1 ? "s" : ""),
			 errhint("A file may be packed by gzip or zstd, and nothing else.")));
}

static void
sync_look_up(Sync *sync)
{
	CHECK_FOR_INTERRUPTS();
	ldr_progress_rows(sync->records, ldr_airbyte_consumed(sync->reader));
	if (sync->from_file)
		ldr_rate_pace(&sync->bytes_paced, ldr_airbyte_consumed(sync->reader));
	if (sync->in_xact)
		ldr_check_cancel();
}

static void
sync_read(Sync *sync)
{
	LdrMessage	m;
	LdrError	err = {0};
	LdrStatus	status;

	ldr_rate_begin();
	for (int64 n = 1; (status = ldr_airbyte_next(sync->reader, &m, &err)) == LDR_OK; n++)
	{
		sync->messages += m.kind != LDR_MESSAGE_NOT_JSON;
		sync_message(sync, &m);
		if (m.kind != LDR_MESSAGE_RECORD)
			sync_checkpoint(sync);
		if (n % CHECK_MESSAGES == 0)
			sync_look_up(sync);
	}
	sync->about = NULL;
	if (status == LDR_END && sync->from_file && sync->messages == 0)
		sync_no_messages(sync);
	if (status != LDR_END)
	{
		sync->line = 0;			/* the reader knows better */
		sync_raise(sync, &err);
	}
	sync_look_up(sync);
}

/* --- the end ------------------------------------------------------------------------------------ */

/* A stream that has not come to its end: keep what is covered. */
static void
sync_end_stream(Sync *sync, SyncStream *s, StringInfo incomplete)
{
	LdrRun	   *run = sync->run;
	ErrorData	edata = {0};
	bool		empty = s->status != LDR_STATUS_INCOMPLETE && s->received == 0 &&
		s->counts.records == 0 && s->counts.states == 0;

	if (s->status == LDR_STATUS_COMPLETE)
		return;
	if (s->lost > 0)
		ldr_event(run->package->package_id, "warning", s->t.label,
				  INT64_FORMAT " record%s after the last state %s not kept.", s->lost,
				  s->lost == 1 ? "" : "s", s->lost == 1 ? "was" : "were");
	s->covered.status = empty ? "empty" : "incomplete";
	ldr_package_stream_update(run->package->package_id, &s->covered);
	if (empty)
	{
		ldr_event(run->package->package_id, "warning", s->t.label, "%s",
				  "The stream has sent nothing, and its table is left alone.");
		ldr_job_completed(run->package->package_id, s->t.ordinal, s->t.relid, 0, 0, 0,
						  run->started_at);
		return;
	}
	edata.sqlerrcode = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	edata.message = psprintf("stream \"%s\" is not complete", s->t.name);
	ldr_job_failed(run->package->package_id, s->t.ordinal, "failed", run->started_at, &edata);
	appendStringInfo(incomplete, "%s\"%s\"", incomplete->len > 0 ? ", " : "", s->t.name);
}

static void
__attribute__((noreturn))
sync_raise_incomplete(const Sync *sync, const char *names)
{
	bool		several = strstr(names, "\", \"") != NULL;

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream%s %s %s not complete", several ? "s" : "", names,
					several ? "are" : "is"),
			 sync->source_error ? errdetail("The source said: %s", sync->source_error) :
			 errdetail("The input has ended without a status COMPLETE."),
			 errhint("What the states that were given back cover is kept. Sync again: the source "
					 "goes on from there.")));
}

static void
sync_end(Sync *sync)
{
	LdrRun	   *run = sync->run;
	StringInfoData incomplete;

	initStringInfo(&incomplete);
	for (int i = 0; i < sync->nstreams; i++)
		if (sync->streams[i].status != LDR_STATUS_COMPLETE)
			ldr_sync_forget_uncovered(sync, &sync->streams[i]);
	LDR_FAULT("sync: read to its end");
	ldr_sync_commit(sync);
	ldr_sync_finish_complete(sync);
	sync->about = NULL;
	sync->line = 0;
	ldr_xact_begin();
	for (int i = 0; i < sync->nstreams; i++)
		sync_end_stream(sync, &sync->streams[i], &incomplete);
	if (sync->lines_skipped > 0)
		ldr_event(run->package->package_id, "warning", NULL,
				  INT64_FORMAT " line%s skipped that no message begins, the first of them line "
				  INT64_FORMAT ".", sync->lines_skipped, sync->lines_skipped == 1 ? " was"
				  : "s were", sync->first_skipped);
	if (incomplete.len == 0)
	{
		ldr_package_lock_keep();
		LDR_FAULT("sync: to be loaded");
		ldr_package_loaded(run->package->package_id, run->started_at);
		ldr_event(run->package->package_id, "loaded", NULL, "%s", "");
		ldr_notify(run->package->package_id, "loaded");
	}
	ldr_xact_commit();
	MemoryContextSwitchTo(run->cxt);
	LDR_FAULT("sync: end committed");
	if (incomplete.len > 0)
		sync_raise_incomplete(sync, incomplete.data);
}

/* Say where in the messages an error came from, before what it said itself. */
static void
sync_locate_error(const Sync *sync, ErrorData *edata)
{
	char	   *where;

	if (sync->line == 0)
		return;
	where = psprintf("%s%s%sessage line " INT64_FORMAT "%s.", sync->path ? "File \"" : "",
					 sync->path ? sync->path : "", sync->path ? "\", m" : "M", sync->line,
					 sync->about ? psprintf(", stream \"%s\"", sync->about->t.name) : "");
	edata->detail = edata->detail ? psprintf("%s %s", where, edata->detail) : where;
}

/* Temporary files outlive transactions. */
static void
sync_drop_spools(Sync *sync)
{
	for (int i = 0; i < sync->nstreams && sync->streams; i++)
		ldr_sync_drop_spool(&sync->streams[i]);
}

/*
 * Load the messages of a client, or of the package's file. Raises the sync's error; what was
 * committed before stays.
 */
void
ldr_sync_run(LdrRun *run, bool has_feed)
{
	Sync	   *sync = palloc0(sizeof(Sync));

	sync->run = run;
	sync->work_cxt = AllocSetContextCreate(run->cxt, "loader commit", ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		sync_prepare(sync);
		sync_open(sync, has_feed);
		LDR_FAULT("sync: opened");
		sync_read(sync);
		sync_end(sync);
		sync_drop_spools(sync);
		ldr_streams_unlock();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(run->cxt);
		edata = CopyErrorData();
		FlushErrorState();
		sync_drop_spools(sync);
		ldr_streams_unlock();
		sync_locate_error(sync, edata);
		ReThrowError(edata);
	}
	PG_END_TRY();
}
