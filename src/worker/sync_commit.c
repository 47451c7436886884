/*
 * worker/sync_commit.c: what states and ends of streams cover, and the commits of a sync.
 *
 *	record                      the direct stream's: into its subtransaction; others': spooled
 *	state of the direct one     its subtransaction is released, what is spooled and covered written
 *	state of another            marked in its spool, or ready at once if nothing is spooled
 *	all is covered              commit, if there is nothing to read or some time has passed; then
 *	                            the states are given back, and complete streams finished
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "loader.h"
#include "schema/plan.h"
#include "worker/feed.h"
#include "worker/sync.h"
#include "worker/worker.h"

#define COMMIT_BYTES	(4 * 1024 * 1024)	/* of records: a commit costs little beside them */

void
ldr_sync_begin(Sync *sync)
{
	if (sync->in_xact)
		return;
	ldr_xact_begin();
	MemoryContextSwitchTo(sync->run->cxt);
	sync->in_xact = true;
	sync->began_at = GetCurrentTimestamp();
	sync->xact_bytes = 0;
}

/* --- the direct stream -------------------------------------------------------------------------- */

/* Its records go into the transaction at once; what of it is spooled comes first. */
void
ldr_sync_make_direct(Sync *sync, SyncStream *s)
{
	ldr_sync_close_writer(sync);
	ldr_stream_stage(sync->run, sync->options, &s->t);
	sync->xact_cxt = CurrentMemoryContext;
	sync->xact_owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(sync->run->cxt);
	sync->direct = s;
	sync->direct_stats = s->t.stats;
	ldr_sync_write_spooled(sync, s, s->spool_end);
}

static void
commit_end_subtransaction(Sync *sync)
{
	MemoryContextSwitchTo(sync->xact_cxt);
	CurrentResourceOwner = sync->xact_owner;
	sync->direct = NULL;
	ldr_progress_show();
}

/* Move what is marked in a spool into its table; its states are ready. */
static void
commit_write_marked(Sync *sync, SyncStream *s)
{
	ListCell   *lc;

	if (s->marks == NIL)
		return;
	ldr_sync_write_spooled(sync, s, ((SyncMark *) llast(s->marks))->bytes);
	ldr_sync_close_writer(sync);
	foreach(lc, s->marks)
		if (((SyncMark *) lfirst(lc))->state)
			sync->states = lappend(sync->states, ((SyncMark *) lfirst(lc))->state);
	list_free_deep(s->marks);
	s->marks = NIL;
}

/* All that the direct stream has written is covered; there is none any more. */
static void
commit_release_direct(Sync *sync)
{
	if (sync->direct == NULL)
		return;
	ldr_sync_close_writer(sync);
	ReleaseCurrentSubTransaction();
	commit_end_subtransaction(sync);
	for (int i = 0; i < sync->nstreams; i++)
		commit_write_marked(sync, &sync->streams[i]);
}

/* What a stream has sent since it was last covered is undone. */
void
ldr_sync_forget_uncovered(Sync *sync, SyncStream *s)
{
	s->lost += s->counts.records - s->covered.records;
	if (sync->direct == s)
	{
		ldr_sync_drop_writer(sync);
		RollbackAndReleaseCurrentSubTransaction();
		commit_end_subtransaction(sync);
		s->t.stats = sync->direct_stats;
		for (int i = 0; i < sync->nstreams; i++)
			if (&sync->streams[i] != s)
				commit_write_marked(sync, &sync->streams[i]);
	}
	/* what is marked is written when the direct stream is covered: not into its subtransaction */
	if (sync->direct == NULL)
		commit_write_marked(sync, s);
	if (s->spool)
		s->spool_end = s->marks ? ((SyncMark *) llast(s->marks))->bytes : s->spool_read;
	s->counts = s->covered;
	s->since_state = 0;
}

/* --- states ------------------------------------------------------------------------------------- */

/* The stream's messages up to this one are covered, as soon as what is marked is written. */
static void
commit_cover(Sync *sync, SyncStream *s, SyncState *state)
{
	s->counts.position = sync->line;
	s->covered = s->counts;
	s->changed = true;
	if (s->spool && sync->direct != s)
	{
		SyncMark   *mark = palloc(sizeof(SyncMark));

		mark->bytes = s->spool_end;
		mark->state = state;
		s->marks = lappend(s->marks, mark);
	}
	else if (state)
		sync->states = lappend(sync->states, state);
}

static char *
commit_text(const LdrField *f)
{
	return f->kind == LDR_NULL ? NULL : pg_any_to_server(pnstrdup(f->data, f->len), f->len,
														 PG_UTF8);
}

/* A character of a JSON string by its code. */
static void
commit_escape(StringInfo out, pg_wchar c)
{
	if (c > 0xffff)
	{
		appendStringInfo(out, "\\u%04x", 0xd800 + ((c - 0x10000) >> 10));
		c = 0xdc00 + ((c - 0x10000) & 0x3ff);
	}
	appendStringInfo(out, "\\u%04x", c);
}

/* JSON in the database's encoding: characters that this may lack by their codes. */
static char *
commit_json(const LdrField *json)
{
	StringInfoData out;
	const char *end = json->data + json->len;

	pg_verify_mbstr(PG_UTF8, json->data, json->len, false);
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return pnstrdup(json->data, json->len);
	initStringInfo(&out);
	for (const char *p = json->data; p < end; p += pg_encoding_mblen(PG_UTF8, p))
	{
		if (IS_HIGHBIT_SET(*p))
			commit_escape(&out, utf8_to_unicode((const unsigned char *) p));
		else
			appendStringInfoChar(&out, *p);
	}
	return out.data;
}

/* The state as it is given back, with the number of records that it covers. */
static char *
commit_answer(const char *state, int64 records)
{
	size_t		len = strlen(state);

	return psprintf("%.*s%s\"destinationStats\":{\"recordCount\":" INT64_FORMAT ".0}}",
					(int) len - 1, state, len > 2 ? "," : "", records);
}

/*
 * What waits is committed together: of one stream only the last state need be kept. (Each would be
 * a version of the same row, and all of them be looked at for each.)
 */
static void
commit_supersede(Sync *sync, SyncStream *s, SyncState *state)
{
	SyncState **last = s ? &s->last_state : &sync->last_state;

	if (*last && (*last)->kept.state)
	{
		pfree((*last)->kept.state);
		(*last)->kept.state = NULL;
	}
	*last = state;
}

static SyncState *
commit_make_state(Sync *sync, SyncStream *s, const LdrMessage *m, int64 records)
{
	static const char *const kinds[] = {"stream", "global", "legacy"};
	MemoryContext old = MemoryContextSwitchTo(sync->run->cxt);
	SyncState  *state = palloc0(sizeof(SyncState));
	char	   *text = commit_json(&m->state);

	state->answer = commit_answer(text, records);
	state->kept.kind = kinds[m->state_kind];
	if (m->state_kind == LDR_STATE_STREAM)
	{
		state->kept.name = commit_text(&m->name);
		state->kept.name_space = commit_text(&m->name_space);
	}
	if (sync->options->store_state)
		state->kept.state = text;
	else
		pfree(text);
	MemoryContextSwitchTo(old);
	if (s || m->state_kind != LDR_STATE_STREAM)
		commit_supersede(sync, s, state);
	return state;
}

/* A state of the whole source: all is covered. */
static void
commit_state_of_all(Sync *sync, const LdrMessage *m)
{
	SyncState  *state = commit_make_state(sync, NULL, m, sync->since_global);

	sync->since_global = 0;
	commit_release_direct(sync);
	for (int i = 0; i < sync->nstreams; i++)
	{
		SyncStream *s = &sync->streams[i];

		s->since_state = 0;
		commit_cover(sync, s, NULL);
		commit_write_marked(sync, s);
	}
	sync->states = lappend(sync->states, state);
}

void
ldr_sync_state(Sync *sync, SyncStream *s, const LdrMessage *m)
{
	if (m->state_kind != LDR_STATE_STREAM)
		commit_state_of_all(sync, m);
	else if (s == NULL)
		sync->states = lappend(sync->states, commit_make_state(sync, NULL, m, 0));
	else
	{
		SyncState  *state = commit_make_state(sync, s, m, s->since_state);

		s->since_state = 0;
		s->counts.states++;
		commit_cover(sync, s, state);
		if (sync->direct == s)
			commit_release_direct(sync);
		else if (sync->direct == NULL)
			commit_write_marked(sync, s);
	}
}

/* The stream's end covers what no state has. */
void
ldr_sync_complete(Sync *sync, SyncStream *s)
{
	commit_cover(sync, s, NULL);
	s->finish = true;
	if (sync->direct == s)
		commit_release_direct(sync);
	else if (sync->direct == NULL)
		commit_write_marked(sync, s);
}

/* --- commits ------------------------------------------------------------------------------------ */

static void
commit_record(Sync *sync)
{
	LdrRun	   *run = sync->run;
	ListCell   *lc;

	foreach(lc, sync->states)
	{
		const SyncState *state = lfirst(lc);

		if (state->kept.state)
			ldr_stream_state_put(run->package, sync->options->source_name, &state->kept);
	}
	for (int i = 0; i < sync->nstreams; i++)
	{
		SyncStream *s = &sync->streams[i];

		if (!s->changed)
			continue;
		s->changed = false;
		s->covered.status = s->status == LDR_STATUS_COMPLETE && !s->finish ? "complete" : "running";
		ldr_package_stream_update(run->package->package_id, &s->covered);
		ldr_stream_record_stats(run, &s->t);
	}
}

static void
commit_free_state(SyncState *state)
{
	pfree(state->answer);
	if (state->kept.state)
		pfree(state->kept.state);
	if (state->kept.name)
		pfree(state->kept.name);
	if (state->kept.name_space)
		pfree(state->kept.name_space);
	pfree(state);
}

/* Commit what is covered, which is all there is; then give the states back. */
void
ldr_sync_commit(Sync *sync)
{
	ListCell   *lc;

	Assert(sync->direct == NULL);
	if (!sync->in_xact && sync->states == NIL)
		return;
	ldr_sync_begin(sync);
	ldr_sync_close_writer(sync);
	MemoryContextSwitchTo(sync->work_cxt);
	/* deferred triggers fire here, where the error still becomes the sync's */
	ldr_sql_execute("SET CONSTRAINTS ALL IMMEDIATE", 0, NULL, NULL, SPI_OK_UTILITY);
	commit_record(sync);
	ldr_package_lock_keep();
	ldr_package_hold(sync->run->package->package_id);
	ldr_xact_commit();
	MemoryContextSwitchTo(sync->run->cxt);
	sync->in_xact = false;
	/* what a state covers is never sent again, whatever the caller thinks of synchronous_commit */
	if (sync->states != NIL)
		XLogFlush(XactLastCommitEnd);
	foreach(lc, sync->states)
	{
		SyncState  *state = lfirst(lc);

		ldr_feed_answer(state->answer);
		commit_free_state(state);
	}
	list_free(sync->states);
	sync->states = NIL;
	sync->last_state = NULL;
	for (int i = 0; i < sync->nstreams; i++)
		sync->streams[i].last_state = NULL;
	MemoryContextReset(sync->work_cxt);
}

/* Is what is covered so much, or so old, that it is worth a commit while messages come in? */
bool
ldr_sync_is_due(const Sync *sync)
{
	return sync->in_xact && sync->states != NIL && sync->direct == NULL &&
		(sync->xact_bytes > COMMIT_BYTES ||
		 TimestampDifferenceExceeds(sync->began_at, GetCurrentTimestamp(),
									ldr_checkpoint_interval));
}

/* Before a record: a source without states for a while must not spool it all. */
void
ldr_sync_make_room(Sync *sync)
{
	if (sync->direct == NULL && sync->states != NIL && sync->records % 64 == 0 &&
		ldr_sync_is_due(sync))
		ldr_sync_commit(sync);
}

/* Bring a complete stream into its table, trying again what a retry can mend. */
static void
commit_finish_stream(Sync *sync, SyncStream *s)
{
	LdrStreamRecord record = *s->t.record;
	LdrSyncStream before = s->t;
	volatile int attempt = 0;
	volatile bool done = false;

	while (!done)
	{
		PG_TRY();
		{
			ldr_stream_finish(sync->run, sync->options, &s->t, &s->covered, s->started_at);
			done = true;
		}
		PG_CATCH();
		{
			ErrorData  *edata;

			MemoryContextSwitchTo(sync->run->cxt);
			edata = CopyErrorData();
			if (!ldr_error_is_transient(edata) || attempt >= ldr_retry_attempts)
				PG_RE_THROW();
			EmitErrorReport();
			FlushErrorState();
			ldr_xact_abort();
			s->t = before;
			*s->t.record = record;
			ldr_xact_begin();
			ldr_event(sync->run->package->package_id, "retry", s->t.label, "%s: %s",
					  unpack_sql_state(edata->sqlerrcode), edata->message);
			ldr_xact_commit();
			MemoryContextSwitchTo(sync->run->cxt);
		}
		PG_END_TRY();
		if (!done)
			ldr_retry_wait(attempt++, sync->run->package->package_id, 0);
	}
	MemoryContextSwitchTo(sync->run->cxt);
}

/* Streams that are complete, once nothing is left that is not covered. */
void
ldr_sync_finish_complete(Sync *sync)
{
	for (int i = 0; i < sync->nstreams; i++)
	{
		SyncStream *s = &sync->streams[i];

		if (!s->finish)
			continue;
		ldr_sync_commit(sync);
		s->covered.status = "complete";
		s->covered.finished = s->counts.finished = true;
		sync->about = s;
		commit_finish_stream(sync, s);
		s->finish = s->changed = false;
	}
}
