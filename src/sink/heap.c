/*
 * sink/heap.c: rows -> a plain table, in batches, with its indexes and constraints. What COPY
 * FROM does for a table without triggers; ldr_sink_choose says which tables these are.
 *
 * Each row is checked (NOT NULL, CHECK) when it is put, so that such an error is of that row.
 * Index entries are made later, in key order, see sink/index.c; or, where they cannot wait, after
 * the batch is in the table, row by row. Either way a duplicate is blamed on the line of the row
 * that came second.
 *
 * The sink keeps a buffer pinned between batches: it belongs to one resource owner, the one that
 * was current when it was opened.
 *
 * The swap heap sink is the same for rows that the table asks for, but that go into another, new
 * one, frozen; indexes are made afterwards, and generated columns are filled here. The trial sink
 * puts them, not frozen, into a table that has the indexes already.
 *
 * Where rows may be refused, a batch is written under the guard. If that fails, it is undone, and
 * the rows are written in smaller pieces, down to single ones, until those that cannot be are
 * found. Frozen rows outlive an abort, so those of a swap heap are written outside it, and an error is for
 * the one who made the heap.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/hio.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/storage.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/readfuncs.h"
#include "optimizer/optimizer.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/memutils.h"

#include "compat.h"
#include "fault.h"
#include "sink/index.h"
#include "sink/row.h"

typedef struct HeapSinkState
{
	MemoryContext cxt;			/* the sink's */
	Relation	into;			/* what the rows are written into */
	LdrRowCheck *check;
	EState	   *estate;			/* the check's */
	ResultRelInfo *rri;			/* likewise: of the table that checks them */
	ResultRelInfo *index_rri;	/* of the table whose indexes they go into; may be the same */
	LdrIndexFeed *feed;			/* entries that are made later; NULL: all are made at once */
	bool		feed_decided;	/* whether there is one */
	int			nlooking;		/* columns of the file whose default may look into the table ... */
	AttrNumber *looking;		/* ... and which */
	BulkInsertState bistate;
	int			options;		/* TABLE_INSERT_* */
	int			nrows;			/* in the batch */
	int			nslots;			/* made so far; slots are made when a batch first needs them */
	TupleTableSlot *slots[LDR_BATCH_ROWS];
	bool		formed[LDR_BATCH_ROWS]; /* holds a tuple that is not the slot's own */
	int64		lines[LDR_BATCH_ROWS];
	int64		rows[LDR_BATCH_ROWS];	/* their numbers */
	int			piece;			/* rows to write at once, fewer after one was refused */
	int			looked;			/* rows that were looked at under the guard */
} HeapSinkState;

#define PIECE_GROWS 2			/* times, with each piece that goes well */

/* Slots of the table's own kind: table_multi_insert would copy the row of a virtual slot twice. */
static const TupleTableSlotOps *
heap_slot_ops(LdrSink *sink)
{
	const TupleTableSlotOps *ops = table_slot_callbacks(sink->rel);

	/* no row comes out of a buffer, and one that was formed before can be put into this kind */
	return ops == &TTSOpsBufferHeapTuple ? &TTSOpsHeapTuple : ops;
}

/*
 * Rows that came as tuples are to be written: their slots are told that they own them, or
 * table_multi_insert would have them copied. Until heap_clear_slot, so not for longer than that.
 */
static void
heap_lend_tuples(HeapSinkState *state, int from, int n)
{
	for (int i = from; i < from + n; i++)
		if (state->formed[i])
			state->slots[i]->tts_flags |= TTS_FLAG_SHOULDFREE;
}

/* A slot of the batch is to be filled again. */
static void
heap_clear_slot(HeapSinkState *state, int row)
{
	if (state->formed[row])
		state->slots[row]->tts_flags &= ~TTS_FLAG_SHOULDFREE;
	state->formed[row] = false;
	ExecClearTuple(state->slots[row]);
}

/* The slot for the next row of the batch, empty. */
static TupleTableSlot *
heap_next_slot(LdrSink *sink)
{
	HeapSinkState *state = sink->state;

	if (state->nrows == state->nslots)
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(state->cxt);

		/* With a descriptor of our own, as the relation's is counted per resource owner. */
		state->slots[state->nslots++] = MakeTupleTableSlot(state->check->desc, heap_slot_ops(sink));
		MemoryContextSwitchTo(oldcxt);
	}
	ldr_sink_clear_slot(state->slots[state->nrows]);
	return state->slots[state->nrows];
}

static void
heap_open_indexes(LdrSink *sink)
{
	HeapSinkState *state = sink->state;

	state->index_rri = state->rri;
	if (sink->kind == LDR_SINK_TRIAL)
	{
		state->index_rri = makeNode(ResultRelInfo);
		InitResultRelInfo(state->index_rri, sink->into, 1, NULL, 0);
	}
	if (sink->kind == LDR_SINK_SWAP || sink->kind == LDR_SINK_LOOK)
		return;
	ExecOpenIndices(state->index_rri, false);
	sink->indexes = state->index_rri;
}

static void
heap_open(LdrSink *sink)
{
	HeapSinkState *state = palloc0(sizeof(HeapSinkState));

	sink->state = state;
	state->cxt = CurrentMemoryContext;
	state->check = ldr_row_check_open(sink);
	state->estate = state->check->estate;
	state->rri = state->check->rri;
	heap_open_indexes(sink);
	if (sink->kind == LDR_SINK_SWAP)
		state->options |= TABLE_INSERT_FROZEN;
	state->piece = LDR_BATCH_ROWS;
	state->into = sink->into ? sink->into : sink->rel;
	state->bistate = GetBulkInsertState();
	/* A table that this transaction made has no free space worth a look. */
	if (ldr_relation_is_new(state->into))
		state->options |= TABLE_INSERT_SKIP_FSM;
	sink->slot = heap_next_slot(sink);
}

/* Index entries of a row that is in the table. An error is of its line. */
static void
heap_insert_indexes(LdrSink *sink, int row)
{
	HeapSinkState *state = sink->state;

	if (state->index_rri->ri_NumIndices == 0)
		return;
	CHECK_FOR_INTERRUPTS();
	sink->error_line = state->lines[row];
	ResetPerTupleExprContext(state->estate);
	(void) ldr_insert_index_tuples(state->index_rri, state->slots[row], state->estate);
}

/* Nothing is left in the batch. */
static void
heap_end_batch(LdrSink *sink)
{
	HeapSinkState *state = sink->state;

	ResetPerTupleExprContext(state->estate);
	sink->error_line = 0;
	state->nrows = sink->pending = 0;
	sink->batch_bytes = 0;
	MemoryContextReset(sink->batch_cxt);
	sink->slot = heap_next_slot(sink);
}

/* Write rows of the batch under the guard. */
static void
heap_write_piece(LdrSink *sink, int from, int n)
{
	HeapSinkState *state = sink->state;
	MemoryContext oldcxt;

	ldr_guard_begin(&sink->guard);
	sink->error_line = 0;
	ResetPerTupleExprContext(state->estate);
	oldcxt = MemoryContextSwitchTo(GetPerTupleMemoryContext(state->estate));
	heap_lend_tuples(state, from, n);
	table_multi_insert(state->into, state->slots + from, n, GetCurrentCommandId(true),
					   state->options, state->bistate);
	for (int i = from; i < from + n; i++)
		heap_insert_indexes(sink, i);
	MemoryContextSwitchTo(oldcxt);
	/* pins are the guard's, which ends now */
	ReleaseBulkInsertStatePin(state->bistate);
	for (int i = 0; i < state->index_rri->ri_NumIndices; i++)
		ldr_index_end_inserts(state->index_rri->ri_IndexRelationDescs[i],
							  state->index_rri->ri_IndexRelationInfo[i]);
	ldr_guard_commit(&sink->guard);
	sink->inserted += n;
}

/* The guard was undone, and with it the pins. */
static void
heap_forget_pins(HeapSinkState *state)
{
	state->bistate->current_buf = InvalidBuffer;
	for (int i = 0; i < state->index_rri->ri_NumIndices; i++)
		ldr_index_forget_inserts(state->index_rri->ri_IndexRelationDescs[i],
								 state->index_rri->ri_IndexRelationInfo[i]);
}

/* The same; if it fails, it is undone, and the error is returned, in the sink's context. */
static ErrorData *
heap_try_piece(LdrSink *sink, int from, int n)
{
	HeapSinkState *state = sink->state;
	MemoryContext oldcxt = CurrentMemoryContext;
	ErrorData  *volatile edata = NULL;

	PG_TRY();
	{
		heap_write_piece(sink, from, n);
	}
	PG_CATCH();
	{
		edata = ldr_guard_catch(&sink->guard, state->cxt);
		heap_forget_pins(state);
		MemoryContextSwitchTo(oldcxt);
		if (!ldr_guard_is_of_row(edata, false))
			ReThrowError(edata);
	}
	PG_END_TRY();
	return edata;
}

/* The row that an index refused, between from and from + n; -1: it was something else. */
static int
heap_blamed(const LdrSink *sink, int from, int n)
{
	const HeapSinkState *state = sink->state;

	for (int i = from; sink->error_line != 0 && i < from + n; i++)
		if (state->lines[i] == sink->error_line)
			return i;
	return -1;
}

/*
 * Write the batch, but for the rows that are refused. Those before one that an index has refused
 * went well and are written as one piece; then comes that one alone. Each piece that fails leaves
 * dead rows in the table, so after it pieces begin small and grow.
 */
static void
heap_write_guarded(LdrSink *sink)
{
	HeapSinkState *state = sink->state;
	int			good = 0;		/* rows up to here will go well */

	sink->writing = true;
	for (int from = 0; from < state->nrows;)
	{
		int			n = good > from ? good - from : Min(state->piece, state->nrows - from);
		ErrorData  *edata = heap_try_piece(sink, from, n);

		if (edata == NULL)
		{
			if (good <= from)
				state->piece = Min(state->piece * PIECE_GROWS, LDR_BATCH_ROWS);
			from += n;
			continue;
		}
		if (n == 1)
			sink->refuse(sink->refuse_arg, state->rows[from++], edata);
		else
			good = heap_blamed(sink, from, n);
		state->piece = good > from || n <= 2 ? 1 : n / 4 + 1;
		FreeErrorData(edata);
	}
	sink->writing = false;
	for (int i = 0; i < state->nrows; i++)
		heap_clear_slot(state, i);
	sink->written(sink->refuse_arg, state->rows[state->nrows - 1] + 1);
	heap_end_batch(sink);
}

/* Make the entries that wait for it. */
static void
heap_feed_indexes(LdrSink *sink)
{
	HeapSinkState *state = sink->state;

	if (state->feed)
		ldr_index_feed_run(state->feed, &sink->error_line);
}

/*
 * Can index entries wait? Not if something that each row is asked may look into the table by an
 * index. Rows that bring some columns only are asked where they do not, see heap_put.
 */
static void
heap_decide_feed(LdrSink *sink)
{
	HeapSinkState *state = sink->state;
	const TupleConstr *constr = RelationGetDescr(sink->rel)->constr;
	MemoryContext oldcxt = MemoryContextSwitchTo(state->cxt);
	bool		looks = ldr_row_domains_look(sink->rel);

	state->feed_decided = true;
	for (int i = 0; constr && i < constr->num_check; i++)
		looks |= contain_volatile_functions(stringToNode(constr->check[i].ccbin));
	for (int i = 0; i < state->check->nmissing; i++)
		looks |= ldr_row_default_looks(sink->rel, state->check->missing[i]);
	if (!looks)
		state->feed = ldr_index_feed_create(state->index_rri, state->estate);
	state->looking = palloc(sizeof(AttrNumber) * (sink->nattrs + 1));
	for (int i = 0; state->feed && i < sink->nattrs; i++)
		if (ldr_row_default_looks(sink->rel, sink->attnums[i]))
			state->looking[state->nlooking++] = sink->attnums[i];
	MemoryContextSwitchTo(oldcxt);
}

/* Write the batch, and make its index entries or collect them. */
static void
heap_write(LdrSink *sink)
{
	HeapSinkState *state = sink->state;
	MemoryContext oldcxt;

	if (!state->feed_decided)
		heap_decide_feed(sink);

	/* Which of the rows it was, if it fails, table_multi_insert does not say. */
	sink->error_line = 0;
	ResetPerTupleExprContext(state->estate);
	oldcxt = MemoryContextSwitchTo(GetPerTupleMemoryContext(state->estate));
	LDR_FAULT("sink: batch to be written");
	heap_lend_tuples(state, 0, state->nrows);
	table_multi_insert(state->into, state->slots, state->nrows, GetCurrentCommandId(true),
					   state->options, state->bistate);

	for (int i = 0; i < state->nrows; i++)
	{
		if (state->feed)
			ldr_index_feed_add(state->feed, state->slots[i], state->lines[i], &sink->error_line);
		else
			heap_insert_indexes(sink, i);
		heap_clear_slot(state, i);
	}
	MemoryContextSwitchTo(oldcxt);
	sink->inserted += state->nrows;
	heap_end_batch(sink);
}

static void
heap_flush(LdrSink *sink)
{
	HeapSinkState *state = sink->state;
	int64		next;

	if (state->nrows == 0)
		return;
	if (sink->refuse == NULL)
		heap_write(sink);
	else if (sink->kind != LDR_SINK_SWAP)
		heap_write_guarded(sink);
	else
	{
		next = state->rows[state->nrows - 1] + 1;
		ldr_guard_commit(&sink->guard);
		sink->writing = true;
		heap_write(sink);
		sink->writing = false;
		sink->written(sink->refuse_arg, next);
	}
}

/* The row in sink->slot is complete: it joins the batch, which is written if it is full, or now. */
static void
heap_join_batch(LdrSink *sink, bool write_now)
{
	HeapSinkState *state = sink->state;

	if (state->nrows == 0)
		sink->first_line = sink->line;
	state->lines[state->nrows] = sink->line;
	state->rows[state->nrows++] = sink->row;
	sink->pending = state->nrows;
	if (write_now || state->nrows == LDR_BATCH_ROWS || sink->batch_bytes >= LDR_BATCH_BYTES)
		heap_flush(sink);
	else
		sink->slot = heap_next_slot(sink);
}

/* A row that is a tuple already. */
static void
heap_put_tuple(LdrSink *sink, HeapTuple tuple)
{
	HeapSinkState *state = sink->state;

	ExecStoreHeapTuple(tuple, sink->slot, false);
	sink->slot->tts_tableOid = RelationGetRelid(sink->rel);
	state->formed[state->nrows] = true;
	heap_join_batch(sink, false);
}

static void
heap_put(LdrSink *sink)
{
	HeapSinkState *state = sink->state;
	bool		write_now;

	for (int i = 0; i < state->nlooking; i++)
		if (sink->absent[state->looking[i] - 1])
			heap_feed_indexes(sink);
	write_now = ldr_row_complete(state->check, sink);

	state->formed[state->nrows] = false;

	/*
	 * As in COPY: a volatile default may look for the rows before its own in the table. It would
	 * not find those of a swap heap.
	 */
	heap_join_batch(sink, write_now && sink->into == NULL);
}

/*
 * The server may extend a table by more pages than it needs, and nobody else will fill them in a
 * swap heap: cut them off, or each of many files would leave some. Caller holds no buffer of it.
 */
static void
heap_trim(Relation into)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(into);
	BlockNumber used = nblocks;

	while (used > 0)
	{
		Buffer		buffer = ReadBuffer(into, used - 1);
		bool		is_new;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		is_new = PageIsNew(BufferGetPage(buffer));
		UnlockReleaseBuffer(buffer);
		if (!is_new)
			break;
		used--;
	}
	if (used < nblocks)
		RelationTruncate(into, used);
}

static void
heap_close(LdrSink *sink)
{
	HeapSinkState *state = sink->state;

	heap_feed_indexes(sink);
	FreeBulkInsertState(state->bistate);
	table_finish_bulk_insert(state->into, state->options);
	LDR_FAULT("sink: heap to be trimmed");
	if (sink->into)
		heap_trim(sink->into);
	for (int i = 0; i < state->nslots; i++)
		heap_clear_slot(state, i);
	if (state->index_rri != state->rri)
		ExecCloseIndices(state->index_rri);
	ldr_row_check_close(state->check);
}

/* --- rows that are only looked at ------------------------------------------------------------- */

/* Nothing was written, so nothing is undone if the guard ends. */
static void
look_flush(LdrSink *sink)
{
	HeapSinkState *state = sink->state;

	ldr_guard_commit(&sink->guard);
	ResetPerTupleExprContext(state->check->estate);
	MemoryContextReset(sink->batch_cxt);
	sink->batch_bytes = 0;
	state->looked = 0;
}

static void
look_put(LdrSink *sink)
{
	HeapSinkState *state = sink->state;

	(void) ldr_row_complete(state->check, sink);
	sink->look(sink->refuse_arg, sink->row, sink->slot);
	ldr_sink_clear_slot(sink->slot);
	if (++state->looked == LDR_BATCH_ROWS || sink->batch_bytes >= LDR_BATCH_BYTES)
		look_flush(sink);
}

const LdrSinkOps ldr_heap_sink = {
	.name = "heap",
	.open = heap_open,
	.put = heap_put,
	.put_tuple = heap_put_tuple,
	.flush = heap_flush,
	.close = heap_close
};

const LdrSinkOps ldr_swap_sink = {
	.name = "swap heap",
	.open = heap_open,
	.put = heap_put,
	.put_tuple = heap_put_tuple,
	.flush = heap_flush,
	.close = heap_close
};

const LdrSinkOps ldr_look_sink = {
	.name = "look",
	.open = heap_open,
	.put = look_put,
	.flush = look_flush,
	.close = heap_close
};
