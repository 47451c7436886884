/*
 * sink/storage.c: rows -> pages in memory -> a heap that this transaction made. See
 * storage_write.c for how pages get there.
 *
 * Each row is checked and formed when it is put, and its values can go; so an error is of that
 * row, but for those of writing. Nobody sees a row before its run is written: what evaluates
 * expressions that may look for it is left to the heap sink. Rows that may be refused are, too: a
 * row could be taken back, but not what a run of them has done under the guard.
 *
 * With into the rows are frozen, and its indexes come afterwards in any case. A new table may have
 * indexes already. They get no entries: who opens the sink builds them when the last row is in,
 * which is several times as fast as inserting, and in between nobody looks.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/readfuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "compat.h"
#include "fault.h"
#include "sink/page.h"
#include "sink/row.h"
#include "sink/storage.h"
#include "sink/storage_write.h"

/* of values whose rows are in pages: little, so that it stays in the cache */
#define BATCH_BYTES	(64 * 1024)
#define PAYS_BYTES	(64 * 1024)
#define PAYS_INDEXES (256 * 1024)

typedef struct StorageSinkState
{
	LdrRowCheck *check;
	LdrStorage *storage;
	LdrPageRun	run;
	char	   *memory;
} StorageSinkState;

int			ldr_storage_use = LDR_STORAGE_AUTO;

bool
ldr_storage_pays(uint64 bytes, bool has_indexes)
{
	if (ldr_storage_use != LDR_STORAGE_AUTO)
		return ldr_storage_use == LDR_STORAGE_ON;
	return bytes >= (has_indexes ? PAYS_INDEXES : PAYS_BYTES);
}

/* May expressions that rows of the table have to pass look for others in it? */
static bool
storage_looks_back(Relation rel)
{
	const TupleConstr *constr = RelationGetDescr(rel)->constr;

	for (int i = 0; constr && i < constr->num_check; i++)
		if (contain_mutable_functions(stringToNode(constr->check[i].ccbin)))
			return true;
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Node	   *node = TupleDescAttr(RelationGetDescr(rel), i)->attisdropped ? NULL
			: build_column_default(rel, i + 1);

		if (node && contain_volatile_functions_not_nextval(node))
			return true;
	}
	return ldr_row_domains_look(rel);
}

LdrSinkKind
ldr_storage_choose(LdrSinkKind kind, Relation rel, Relation into, uint64 bytes,
				   bool builds_indexes)
{
	bool		has_indexes = into == NULL && rel->rd_rel->relhasindex;

	if (kind != (into ? LDR_SINK_SWAP : LDR_SINK_HEAP) || (has_indexes && !builds_indexes) ||
		!ldr_storage_pays(bytes, has_indexes) ||
		ldr_storage_reason(into ? into : rel, into != NULL) != NULL)
		return kind;
	return into == NULL && storage_looks_back(rel) ? kind : LDR_SINK_STORAGE;
}

/* Nothing is in the run. */
static void
storage_start(StorageSinkState *state)
{
	state->run.kind = ldr_storage_kind(state->storage);
	ldr_page_start(&state->run, state->memory, LDR_STORAGE_RUN);
}

static void
storage_open(LdrSink *sink)
{
	StorageSinkState *state = palloc0(sizeof(StorageSinkState));

	sink->state = state;
	state->check = ldr_row_check_open(sink);
	state->storage = ldr_storage_open(sink->into ? sink->into : sink->rel, sink->into != NULL);
	state->memory = ldr_storage_memory(LDR_STORAGE_RUN);
	state->run.desc = state->check->desc;
	storage_start(state);
	sink->slot = MakeSingleTupleTableSlot(state->check->desc, &TTSOpsVirtual);
	ldr_sink_clear_slot(sink->slot);
}

/* Write the run; last: no row follows for now. An error here is of no row. */
static void
storage_write(LdrSink *sink, bool last)
{
	StorageSinkState *state = sink->state;

	sink->error_line = 0;
	if (last)
		ldr_storage_write_last(state->storage, &state->run);
	else
		ldr_storage_write(state->storage, &state->run);
	sink->inserted += state->run.rows;
	sink->pending = 0;
	sink->error_line = sink->line;
	storage_start(state);
}

/* Put a row that is a tuple; one that goes into no page without the toaster is not this small. */
static inline void
storage_place(LdrSink *sink, HeapTuple tuple)
{
	StorageSinkState *state = sink->state;

	if (likely(ldr_page_put_tuple(&state->run, tuple->t_data, tuple->t_len) == LDR_PAGE_PUT))
		return;
	storage_write(sink, false);
	(void) ldr_page_put_tuple(&state->run, tuple->t_data, tuple->t_len);
}

static void
storage_put_toasted(LdrSink *sink, HeapTuple tuple)
{
	StorageSinkState *state = sink->state;
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(state->check->estate));

	storage_place(sink, ldr_storage_toast(state->storage, tuple));
	ResetPerTupleExprContext(state->check->estate);
	MemoryContextSwitchTo(old);
}

/* A row was put, and what it was made of can go. */
static inline void
storage_count(LdrSink *sink)
{
	if (sink->pending++ == 0)
		sink->first_line = sink->line;
	if (sink->batch_bytes < BATCH_BYTES)
		return;
	MemoryContextReset(sink->batch_cxt);
	sink->batch_bytes = 0;
}

static void
storage_put(LdrSink *sink)
{
	StorageSinkState *state = sink->state;
	TupleTableSlot *slot = sink->slot;
	LdrPageResult result;

	(void) ldr_row_complete(state->check, sink);
	result = ldr_page_put(&state->run, slot->tts_values, slot->tts_isnull);
	if (unlikely(result == LDR_PAGE_RUN_FULL))
	{
		storage_write(sink, false);
		result = ldr_page_put(&state->run, slot->tts_values, slot->tts_isnull);
	}
	if (unlikely(result == LDR_PAGE_TOAST))
	{
		MemoryContext old = MemoryContextSwitchTo(sink->batch_cxt);

		storage_put_toasted(sink, heap_form_tuple(state->check->desc, slot->tts_values,
												  slot->tts_isnull));
		MemoryContextSwitchTo(old);
	}
	ldr_sink_clear_slot(slot);
	storage_count(sink);
}

static void
storage_put_tuple(LdrSink *sink, HeapTuple tuple)
{
	if (unlikely(tuple->t_len > TOAST_TUPLE_THRESHOLD))
		storage_put_toasted(sink, tuple);
	else
		storage_place(sink, tuple);
	storage_count(sink);
}

static void
storage_flush(LdrSink *sink)
{
	if (sink->pending == 0)
		return;
	storage_write(sink, true);
	sink->error_line = 0;
}

LdrPageKind
ldr_storage_sink_kind(const LdrSink *sink)
{
	return ldr_storage_kind(((StorageSinkState *) sink->state)->storage);
}

void
ldr_storage_sink_take(LdrSink *sink, char *pages, int used, uint64 rows)
{
	StorageSinkState *state = sink->state;
	LdrPageRun	run = state->run;

	if (sink->pending > 0)
	{
		ldr_storage_write_part(state->storage, &state->run);
		sink->inserted += state->run.rows;
		sink->pending = 0;
		storage_start(state);
	}
	run.pages = pages;
	run.npages = run.used = used;
	run.rows = rows;
	ldr_storage_write_part(state->storage, &run);
	sink->inserted += rows;
}

static void
storage_close(LdrSink *sink)
{
	StorageSinkState *state = sink->state;

	ldr_storage_close(state->storage);
	ExecDropSingleTupleTableSlot(sink->slot);
	ldr_row_check_close(state->check);
}

const LdrSinkOps ldr_storage_sink = {
	.name = "storage",
	.copies = true,
	.open = storage_open,
	.put = storage_put,
	.put_tuple = storage_put_tuple,
	.flush = storage_flush,
	.close = storage_close
};

/* --- indexes ---------------------------------------------------------------------------------- */

/* Say it as if the row had been inserted: nobody has asked for an index to be created. */
static void
storage_index_error(void *index)
{
	int			code = geterrcode();

	if (code == ERRCODE_UNIQUE_VIOLATION)
		errmsg("duplicate key value violates unique constraint \"%s\"", (char *) index);
	else if (code == ERRCODE_EXCLUSION_VIOLATION)
		errmsg("conflicting key value violates exclusion constraint \"%s\"", (char *) index);
}

void
ldr_storage_index(Oid relid)
{
	Relation	rel = table_open(relid, AccessExclusiveLock);	/* held: the table is new */
	List	   *indexes = RelationGetIndexList(rel);
	char		persistence = rel->rd_rel->relpersistence;
	ReindexParams params = {.options = REINDEXOPT_REPORT_PROGRESS};
	ListCell   *lc;

	table_close(rel, NoLock);
	foreach(lc, indexes)
	{
		ErrorContextCallback callback = {
			error_context_stack, storage_index_error, get_rel_name(lfirst_oid(lc))
		};

		CHECK_FOR_INTERRUPTS();
		LDR_FAULT("storage: an index to be built");
		error_context_stack = &callback;
		ldr_reindex_index(lfirst_oid(lc), persistence, &params);
		error_context_stack = callback.previous;
		CommandCounterIncrement();
	}
	list_free(indexes);
}
