/*
 * sink/shared.c: rows -> pages -> the end of a heap that other processes fill, too.
 *
 * TOAST, the visibility map and counters, which are little work, are the leader's.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"

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

static void
shared_full(LdrSink *sink)
{
	SharedSinkState *state = sink->state;

	ldr_fill_writing(sink);
	ldr_runs_full(&state->runs);
	ldr_fill_written(sink);
	ldr_runs_start(&state->runs, &state->fill.run);
}

/* The length of a row of which all is in the TOAST table that can go there. Changes values. */
static Size
shared_least_length(TupleDesc desc, Datum *values, bool *isnull)
{
	char		pointer[TOAST_POINTER_SIZE] = {0};
	Size		len = SizeofHeapTupleHeader;

	SET_VARTAG_EXTERNAL(pointer, VARTAG_ONDISK);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!isnull[i] && att->attlen == -1 && att->attstorage != TYPSTORAGE_PLAIN &&
			VARSIZE_ANY(DatumGetPointer(values[i])) > MAXALIGN(TOAST_POINTER_SIZE))
			values[i] = PointerGetDatum(pointer);
	}
	if (memchr(isnull, true, sizeof(bool) * desc->natts) != NULL)
		len += BITMAPLEN(desc->natts);
	return MAXALIGN(len) + heap_compute_data_size(desc, values, isnull);
}

/*
 * The leader puts it. But if it is too large even so, that is an error of its row, and has its turn
 * among those of others: the leader may not come to it.
 */
static void
shared_large(LdrSink *sink, HeapTuple tuple)
{
	SharedSinkState *state = sink->state;
	TupleDesc	desc = state->fill.check->desc;
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *isnull = palloc(sizeof(bool) * desc->natts);

	if (tuple != NULL)
		heap_deform_tuple(tuple, desc, values, isnull);
	else
	{
		memcpy(values, sink->slot->tts_values, sizeof(Datum) * desc->natts);
		memcpy(isnull, sink->slot->tts_isnull, sizeof(bool) * desc->natts);
	}
	ldr_storage_check_length(shared_least_length(desc, values, isnull));
	pfree(values);
	pfree(isnull);
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
	ldr_fill_writing(sink);
	ldr_runs_write(&state->runs, Max(run->used - 1, 0));
	ldr_fill_written(sink);
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
