/*
 * sink/shared.c: rows -> pages -> the end of a heap that other processes fill, too.
 *
 * One process at a time logs and writes pages. Who finds that another one does goes on with its
 * rows, as long as it has memory for them: so nobody waits while somebody else waits for the disk,
 * which is where the server ends a file of the log.
 *
 * TOAST, the visibility map and counters, which are little work, are the leader's.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "sink/fill.h"
#include "sink/shared.h"
#include "sink/storage_write.h"

#ifndef LDR_FAULTS
#define RUNS	8				/* that there is memory for */
#else							/* the torture test's files are small */
#define RUNS	1
#endif

typedef struct SharedSinkState
{
	LdrFill		fill;			/* first: see fill.h */
	LdrStorage *storage;
	char	   *memory;			/* of all runs; that of fill is the last */
	int			full;			/* runs before it, which wait to be written */
	LdrLargeFn	large;
	void	   *arg;
} SharedSinkState;

/* Write n pages, unless somebody else is writing and there is room. No row is to blame for an error. */
static bool
shared_write(LdrSink *sink, int n, bool has_room)
{
	SharedSinkState *state = sink->state;
	bool		written = true;

	sink->error_line = 0;
	sink->writing = true;
	if (has_room)
		written = ldr_storage_try_write_pages(state->storage, state->memory, n);
	else
		ldr_storage_write_pages(state->storage, state->memory, n);
	sink->writing = false;
	sink->error_line = sink->line;
	return written;
}

/* The next run. */
static void
shared_start(SharedSinkState *state)
{
	ldr_page_start(&state->fill.run,
				   state->memory + (Size) state->full * LDR_STORAGE_RUN * BLCKSZ, LDR_STORAGE_RUN);
}

static void
shared_full(LdrSink *sink)
{
	SharedSinkState *state = sink->state;

	state->full++;
	if (shared_write(sink, state->full * LDR_STORAGE_RUN, state->full < RUNS))
		state->full = 0;
	shared_start(state);
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
	state->storage = ldr_storage_join(sink->into ? sink->into : sink->rel);
	state->memory = ldr_storage_memory(RUNS * LDR_STORAGE_RUN);
}

void
ldr_shared_sink_begin(LdrSink *sink, const LdrPageKind *kind, LdrLargeFn large, void *arg)
{
	SharedSinkState *state = sink->state;

	state->large = large;
	state->arg = arg;
	state->fill.run.kind = *kind;
	shared_start(state);
}

void
ldr_shared_sink_end(LdrSink *sink, Page rest)
{
	SharedSinkState *state = sink->state;
	const LdrPageRun *run = &state->fill.run;
	int			n = state->full * LDR_STORAGE_RUN + run->used;

	if (run->used > 0)
		memcpy(rest, ldr_page_of(run, run->used - 1), BLCKSZ);
	(void) shared_write(sink, run->used > 0 ? n - 1 : n, false);
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
