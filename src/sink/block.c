/*
 * sink/block.c: rows -> pages in memory that another process will write. See worker/exchange.h for
 * where the pages are.
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "executor/executor.h"
#include "utils/memutils.h"

#include "fault.h"
#include "sink/block.h"
#include "sink/row.h"

#define BATCH_BYTES	(64 * 1024) /* of values whose rows are in pages: little, to stay in the cache */

typedef struct BlockSinkState
{
	LdrRowCheck *check;
	LdrPageRun	run;
	const LdrBlockOwner *owner;
} BlockSinkState;

static void
block_open(LdrSink *sink)
{
	BlockSinkState *state = palloc0(sizeof(BlockSinkState));

	sink->state = state;
	state->check = ldr_row_check_open(sink);
	state->run.desc = state->check->desc;
	sink->slot = MakeSingleTupleTableSlot(state->check->desc, &TTSOpsVirtual);
	ldr_sink_clear_slot(sink->slot);
}

void
ldr_block_sink_begin(LdrSink *sink, const LdrPageKind *kind, const LdrBlockOwner *owner,
					 char *pages, int npages)
{
	BlockSinkState *state = sink->state;

	state->owner = owner;
	state->run.kind = *kind;
	ldr_page_start(&state->run, pages, npages);
}

const LdrPageRun *
ldr_block_sink_run(const LdrSink *sink)
{
	return &((const BlockSinkState *) sink->state)->run;
}

/* Nobody is to blame for what goes wrong while the pages are handed over. */
void
ldr_block_sink_hand_over(LdrSink *sink)
{
	BlockSinkState *state = sink->state;

	sink->error_line = 0;
	LDR_FAULT("block: pages full");
	state->owner->full(state->owner->arg);
	ldr_page_start(&state->run, state->run.pages, state->run.npages);
	sink->error_line = sink->line;
}

/* Values whose rows are in the pages can go. */
static inline void
block_forget(LdrSink *sink)
{
	if (sink->batch_bytes < BATCH_BYTES)
		return;
	MemoryContextReset(sink->batch_cxt);
	sink->batch_bytes = 0;
}

static void
block_put(LdrSink *sink)
{
	BlockSinkState *state = sink->state;
	TupleTableSlot *slot = sink->slot;
	LdrPageResult result;

	(void) ldr_row_complete(state->check, sink);
	result = ldr_page_put(&state->run, slot->tts_values, slot->tts_isnull);
	if (unlikely(result == LDR_PAGE_RUN_FULL))
	{
		ldr_block_sink_hand_over(sink);
		result = ldr_page_put(&state->run, slot->tts_values, slot->tts_isnull);
	}
	if (unlikely(result == LDR_PAGE_TOAST))
		state->owner->large(state->owner->arg);
	ldr_sink_clear_slot(slot);
	block_forget(sink);
}

static void
block_put_tuple(LdrSink *sink, HeapTuple tuple)
{
	BlockSinkState *state = sink->state;

	if (unlikely(tuple->t_len > TOAST_TUPLE_THRESHOLD))
		state->owner->large(state->owner->arg);
	else if (unlikely(ldr_page_put_tuple(&state->run, tuple->t_data,
										 tuple->t_len) == LDR_PAGE_RUN_FULL))
	{
		ldr_block_sink_hand_over(sink);
		(void) ldr_page_put_tuple(&state->run, tuple->t_data, tuple->t_len);
	}
	block_forget(sink);
}

static void
block_flush(LdrSink *sink)
{
}

static void
block_close(LdrSink *sink)
{
	BlockSinkState *state = sink->state;

	ExecDropSingleTupleTableSlot(sink->slot);
	ldr_row_check_close(state->check);
}

const LdrSinkOps ldr_block_sink = {
	.name = "block",
	.copies = true,
	.open = block_open,
	.put = block_put,
	.put_tuple = block_put_tuple,
	.flush = block_flush,
	.close = block_close
};
