/*
 * sink/block.c: rows -> pages in memory that another process will write. See worker/exchange.h for
 * where the pages are.
 */
#include "postgres.h"

#include "fault.h"
#include "sink/block.h"
#include "sink/fill.h"

typedef struct BlockSinkState
{
	LdrFill		fill;			/* first: see fill.h */
	const LdrBlockOwner *owner;
} BlockSinkState;

/* Nobody is to blame for what goes wrong while the pages are handed over. */
void
ldr_block_sink_hand_over(LdrSink *sink)
{
	BlockSinkState *state = sink->state;
	LdrPageRun *run = &state->fill.run;

	sink->error_line = 0;
	LDR_FAULT("block: pages full");
	state->owner->full(state->owner->arg);
	ldr_page_start(run, run->pages, run->npages);
	sink->error_line = sink->line;
}

static void
block_large(LdrSink *sink, HeapTuple tuple)
{
	BlockSinkState *state = sink->state;

	state->owner->large(state->owner->arg);
}

static void
block_open(LdrSink *sink)
{
	BlockSinkState *state = palloc0(sizeof(BlockSinkState));

	state->fill.full = ldr_block_sink_hand_over;
	state->fill.large = block_large;
	ldr_fill_open(sink, &state->fill);
}

void
ldr_block_sink_begin(LdrSink *sink, const LdrPageKind *kind, const LdrBlockOwner *owner,
					 char *pages, int npages)
{
	BlockSinkState *state = sink->state;

	state->owner = owner;
	state->fill.run.kind = *kind;
	ldr_page_start(&state->fill.run, pages, npages);
}

const LdrPageRun *
ldr_block_sink_run(const LdrSink *sink)
{
	return &((const BlockSinkState *) sink->state)->fill.run;
}

static void
block_flush(LdrSink *sink)
{
	/* whoever owns the pages asks for them */
}

const LdrSinkOps ldr_block_sink = {
	.name = "block",
	.copies = true,
	.open = block_open,
	.put = ldr_fill_put,
	.put_tuple = ldr_fill_put_tuple,
	.flush = block_flush,
	.close = ldr_fill_close
};
