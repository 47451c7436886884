/*
 * sink/fill.c: rows -> a run of pages in memory.
 *
 * A row is in a page as soon as it is put, so its values can go; they do in small batches, so that
 * their memory stays in the processor's cache.
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "executor/executor.h"
#include "utils/memutils.h"

#include "sink/fill.h"

#define BATCH_BYTES	(64 * 1024)

void
ldr_fill_open(LdrSink *sink, LdrFill *fill)
{
	sink->state = fill;
	fill->check = ldr_row_check_open(sink);
	fill->run.desc = fill->check->desc;
	sink->slot = MakeSingleTupleTableSlot(fill->check->desc, &TTSOpsVirtual);
	ldr_sink_clear_slot(sink->slot);
}

void
ldr_fill_close(LdrSink *sink)
{
	LdrFill    *fill = sink->state;

	ExecDropSingleTupleTableSlot(sink->slot);
	ldr_row_check_close(fill->check);
}

/* What rows in pages were made of can go. */
static inline void
fill_forget(LdrSink *sink)
{
	if (sink->batch_bytes < BATCH_BYTES)
		return;
	MemoryContextReset(sink->batch_cxt);
	sink->batch_bytes = 0;
}

void
ldr_fill_place(LdrSink *sink, HeapTuple tuple)
{
	LdrFill    *fill = sink->state;

	if (likely(ldr_page_put_tuple(&fill->run, tuple->t_data, tuple->t_len) == LDR_PAGE_PUT))
		return;
	fill->full(sink);
	(void) ldr_page_put_tuple(&fill->run, tuple->t_data, tuple->t_len);
}

void
ldr_fill_put(LdrSink *sink)
{
	LdrFill    *fill = sink->state;
	TupleTableSlot *slot = sink->slot;
	LdrPageResult result;

	(void) ldr_row_complete(fill->check, sink);
	result = ldr_page_put(&fill->run, slot->tts_values, slot->tts_isnull);
	if (unlikely(result == LDR_PAGE_RUN_FULL))
	{
		fill->full(sink);
		result = ldr_page_put(&fill->run, slot->tts_values, slot->tts_isnull);
	}
	if (unlikely(result == LDR_PAGE_TOAST))
		fill->large(sink, NULL);
	ldr_sink_clear_slot(slot);
	fill_forget(sink);
}

void
ldr_fill_put_tuple(LdrSink *sink, HeapTuple tuple)
{
	LdrFill    *fill = sink->state;

	if (unlikely(tuple->t_len > TOAST_TUPLE_THRESHOLD))
		fill->large(sink, tuple);
	else
		ldr_fill_place(sink, tuple);
	fill_forget(sink);
}

void
ldr_fill_writing(LdrSink *sink)
{
	sink->error_line = 0;
	sink->writing = true;
}

void
ldr_fill_written(LdrSink *sink)
{
	sink->writing = false;
	sink->error_line = sink->line;
}
