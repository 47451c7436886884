/*
 * sink/shared.c: rows -> pages -> the end of a heap that other processes fill, too.
 *
 * TOAST, the visibility map and counters, which are little work, are the leader's.
 */
#include "postgres.h"

#include "sink/fill.h"
#include "sink/runs.h"
#include "sink/shared.h"

typedef struct SharedSinkState
{
	LdrFill		fill;			/* first: see fill.h */
	LdrRuns		runs;
	LdrLargeFn	large;
	void	   *arg;
} SharedSinkState;

/* No row is to blame for what goes wrong until shared_written. */
static void
shared_writing(LdrSink *sink)
{
	sink->error_line = 0;
	sink->writing = true;
}

static void
shared_written(LdrSink *sink)
{
	sink->writing = false;
	sink->error_line = sink->line;
}

static void
shared_full(LdrSink *sink)
{
	SharedSinkState *state = sink->state;

	shared_writing(sink);
	ldr_runs_full(&state->runs);
	shared_written(sink);
	ldr_runs_start(&state->runs, &state->fill.run);
}

static void
shared_large(LdrSink *sink, HeapTuple tuple)
{
	SharedSinkState *state = sink->state;

	state->large(state->arg);
}

static void
shared_open(LdrSink *sink)
{
	SharedSinkState *state = palloc0(sizeof(SharedSinkState));

	state->fill.full = shared_full;
	state->fill.large = shared_large;
	ldr_fill_open(sink, &state->fill);
	ldr_runs_open(&state->runs, ldr_storage_join(sink->into ? sink->into : sink->rel));
}

void
ldr_shared_sink_begin(LdrSink *sink, const LdrPageKind *kind, LdrLargeFn large, void *arg)
{
	SharedSinkState *state = sink->state;

	state->large = large;
	state->arg = arg;
	state->fill.run.kind = *kind;
	ldr_runs_start(&state->runs, &state->fill.run);
}

void
ldr_shared_sink_end(LdrSink *sink, Page rest)
{
	SharedSinkState *state = sink->state;
	const LdrPageRun *run = &state->fill.run;

	if (run->used > 0)
		memcpy(rest, ldr_page_of(run, run->used - 1), BLCKSZ);
	shared_writing(sink);
	ldr_runs_write(&state->runs, Max(run->used - 1, 0));
	shared_written(sink);
}

static void
shared_flush(LdrSink *sink)
{
	/* the leader ends it */
}

const LdrSinkOps ldr_shared_sink = {
	.name = "shared",
	.copies = true,
	.open = shared_open,
	.put = ldr_fill_put,
	.put_tuple = ldr_fill_put_tuple,
	.flush = shared_flush,
	.close = ldr_fill_close
};
