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
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/readfuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "fault.h"
#include "sink/fill.h"
#include "sink/runs.h"
#include "sink/storage.h"

#define PAYS_BYTES	(64 * 1024)
#define PAYS_INDEXES (256 * 1024)

typedef struct StorageSinkState
{
	LdrFill		fill;			/* first: see fill.h */
	LdrRuns		runs;			/* with who writes them */
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
		if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped &&
			ldr_row_default_looks(rel, i + 1))
			return true;
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
	state->fill.run.kind = ldr_storage_kind(state->runs.storage);
	ldr_runs_start(&state->runs, &state->fill.run);
}

/* Rows were put, and their pages are to be written. An error until storage_written is of no row. */
static void
storage_writing(LdrSink *sink)
{
	StorageSinkState *state = sink->state;

	ldr_fill_writing(sink);
	ldr_storage_sink_count(sink, state->fill.run.rows);
}

static void
storage_written(LdrSink *sink)
{
	ldr_fill_written(sink);
	sink->pending = 0;
	storage_start(sink->state);
}

static void
storage_full(LdrSink *sink)
{
	StorageSinkState *state = sink->state;

	storage_writing(sink);
	ldr_runs_full(&state->runs);
	storage_written(sink);
}

/* What is in the run, and waits; the last page may have room left. */
static void
storage_write_part(LdrSink *sink)
{
	StorageSinkState *state = sink->state;

	storage_writing(sink);
	ldr_runs_write(&state->runs, 0);
	ldr_storage_write_part(state->runs.storage, &state->fill.run);
	storage_written(sink);
}

static void
storage_large(LdrSink *sink, HeapTuple tuple)
{
	StorageSinkState *state = sink->state;
	LdrRowCheck *check = state->fill.check;
	MemoryContext old = MemoryContextSwitchTo(sink->batch_cxt);

	if (tuple == NULL)
		tuple = heap_form_tuple(check->desc, sink->slot->tts_values, sink->slot->tts_isnull);
	MemoryContextSwitchTo(GetPerTupleMemoryContext(check->estate));
	ldr_fill_place(sink, ldr_storage_toast(state->runs.storage, tuple));
	ResetPerTupleExprContext(check->estate);
	MemoryContextSwitchTo(old);
}

static void
storage_open(LdrSink *sink)
{
	StorageSinkState *state = palloc0(sizeof(StorageSinkState));

	state->fill.full = storage_full;
	state->fill.large = storage_large;
	ldr_fill_open(sink, &state->fill);
	ldr_runs_open(&state->runs, ldr_storage_open(sink->into ? sink->into : sink->rel,
												 sink->into != NULL));
	storage_start(state);
}

static inline void
storage_count(LdrSink *sink)
{
	if (sink->pending++ == 0)
		sink->first_line = sink->line;
}

static void
storage_put(LdrSink *sink)
{
	ldr_fill_put(sink);
	storage_count(sink);
}

static void
storage_put_tuple(LdrSink *sink, HeapTuple tuple)
{
	ldr_fill_put_tuple(sink, tuple);
	storage_count(sink);
}

static void
storage_flush(LdrSink *sink)
{
	StorageSinkState *state = sink->state;

	if (sink->pending > 0 || state->runs.full > 0)
		storage_write_part(sink);
	sink->error_line = 0;
	ldr_storage_flush(state->runs.storage);
}

LdrPageKind
ldr_storage_sink_kind(const LdrSink *sink)
{
	return ldr_storage_kind(((StorageSinkState *) sink->state)->runs.storage);
}

void
ldr_storage_sink_share(LdrSink *sink)
{
	ldr_storage_share(((StorageSinkState *) sink->state)->runs.storage);
}

void
ldr_storage_sink_count(LdrSink *sink, uint64 rows)
{
	ldr_storage_count(((StorageSinkState *) sink->state)->runs.storage, rows);
	sink->inserted += rows;
}

void
ldr_storage_sink_unshare(LdrSink *sink, char *pages, int n)
{
	StorageSinkState *state = sink->state;

	storage_write_part(sink);
	ldr_storage_unshare(state->runs.storage);
	for (int i = 0; i < n; i++)
	{
		Page		page = (Page) (pages + (Size) i * BLCKSZ);

		if (!PageIsNew(page))
			ldr_storage_keep(state->runs.storage, page);
	}
}

static void
storage_close(LdrSink *sink)
{
	StorageSinkState *state = sink->state;

	ldr_storage_close(state->runs.storage);
	ldr_fill_close(sink);
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
