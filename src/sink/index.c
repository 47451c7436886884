/*
 * sink/index.c: collects index entries while rows are written, and makes them in key order: when
 * the memory for them is full, and at the end of the sink.
 *
 * What COPY does for each row (find a leaf page at random, lock it, log the entry) is done for
 * each page: see index_page.c. An entry that is not plain, above all one whose key is there, goes
 * through index_insert, and that alone decides what is a duplicate, waits for other transactions,
 * and raises the error. Equal keys keep the order of the file, so that the second is refused.
 *
 * Until the run, rows are in the table and not in its indexes. They are of this transaction, which
 * makes the entries before it ends, or aborts; others see neither. Who looks into the table from
 * inside of it, as a volatile default may, must have the entries made first: see heap.c. Another
 * transaction may take a key meanwhile: then the run meets it, as an INSERT would that came later.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "fault.h"
#include "sink/index.h"

#define FIRST_BYTES		8192
#define FIRST_ENTRIES	128
#define MAX_SKIPPED		64		/* entries, after pages that had only one of them */

int			ldr_index_memory = 16 * 1024;

struct LdrIndexFeed
{
	MemoryContext cxt;
	MemoryContext tmp_cxt;		/* for a page, or an entry */
	EState	   *estate;
	ResultRelInfo *others;		/* the indexes whose entries cannot wait */
	int			nruns;
	LdrIndexRun *runs;
	int64		first_line;		/* of the run */
	size_t		limit;			/* bytes, of all runs together */
	size_t		used;
};

/* Can entries of the index be made later, and in another order? */
static bool
feed_can_wait(Relation index, const IndexInfo *info)
{
	return index->rd_rel->relam == BTREE_AM_OID && info->ii_ExclusionOps == NULL &&
		info->ii_ReadyForInserts && index->rd_index->indimmediate;
}

static void
feed_init_run(LdrIndexRun *run, Relation heap, Relation index, IndexInfo *info)
{
	run->heap = heap;
	run->index = index;
	run->info = info;
	run->unique = index->rd_index->indisunique;
	run->order = ldr_index_order(index);
}

/* The same relation, to be given the indexes that cannot wait. */
static ResultRelInfo *
feed_make_others(const ResultRelInfo *rri)
{
	ResultRelInfo *others = makeNode(ResultRelInfo);

	memcpy(others, rri, sizeof(ResultRelInfo));
	others->ri_NumIndices = 0;
	others->ri_IndexRelationDescs = palloc0(sizeof(Relation) * rri->ri_NumIndices);
	others->ri_IndexRelationInfo = palloc0(sizeof(IndexInfo *) * rri->ri_NumIndices);
	return others;
}

LdrIndexFeed *
ldr_index_feed_create(ResultRelInfo *rri, EState *estate)
{
	LdrIndexFeed *feed;
	MemoryContext old;
	MemoryContext cxt;

	if (ldr_index_memory == 0 || rri->ri_NumIndices == 0)
		return NULL;
	cxt = AllocSetContextCreate(CurrentMemoryContext, "loader index entries",
								ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(cxt);
	feed = palloc0(sizeof(LdrIndexFeed));
	feed->cxt = cxt;
	feed->tmp_cxt = AllocSetContextCreate(cxt, "loader index page", ALLOCSET_DEFAULT_SIZES);
	feed->estate = estate;
	feed->limit = (size_t) Min(ldr_index_memory, maintenance_work_mem) * 1024;
	feed->others = feed_make_others(rri);
	feed->runs = palloc0(sizeof(LdrIndexRun) * rri->ri_NumIndices);
	for (int i = 0; i < rri->ri_NumIndices; i++)
	{
		Relation	index = rri->ri_IndexRelationDescs[i];
		IndexInfo  *info = rri->ri_IndexRelationInfo[i];

		if (feed_can_wait(index, info))
			feed_init_run(&feed->runs[feed->nruns++], rri->ri_RelationDesc, index, info);
		else
		{
			feed->others->ri_IndexRelationDescs[feed->others->ri_NumIndices] = index;
			feed->others->ri_IndexRelationInfo[feed->others->ri_NumIndices++] = info;
		}
	}
	MemoryContextSwitchTo(old);
	if (feed->nruns > 0)
		return feed;
	MemoryContextDelete(cxt);
	return NULL;
}

/* Room for one more entry with a tuple of that size. What is not touched costs nothing. */
static void
run_make_room(LdrIndexFeed *feed, LdrIndexRun *run, size_t size)
{
	if (run->entries == NULL)
	{
		run->data_size = FIRST_BYTES;
		run->data = MemoryContextAlloc(feed->cxt, run->data_size);
		run->max_entries = FIRST_ENTRIES;
		run->entries = MemoryContextAlloc(feed->cxt, sizeof(LdrIndexEntry) * run->max_entries);
	}
	while (run->data_used + size > run->data_size)
	{
		run->data_size *= 2;
		run->data = repalloc_huge(run->data, run->data_size);
	}
	if (run->nentries == run->max_entries)
	{
		run->max_entries *= 2;
		run->entries = repalloc_huge(run->entries, sizeof(LdrIndexEntry) * run->max_entries);
	}
}

static void
run_add(LdrIndexFeed *feed, LdrIndexRun *run, TupleTableSlot *slot, int64 line)
{
	ExprContext *econtext = GetPerTupleExprContext(feed->estate);
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	IndexTuple	tuple;
	LdrIndexEntry *entry;
	size_t		size;

	econtext->ecxt_scantuple = slot;
	if (run->info->ii_Predicate != NIL)
	{
		if (run->info->ii_PredicateState == NULL)
			run->info->ii_PredicateState = ExecPrepareQual(run->info->ii_Predicate, feed->estate);
		if (!ExecQual(run->info->ii_PredicateState, econtext))
			return;
	}
	FormIndexDatum(run->info, slot, feed->estate, values, isnull);
	tuple = index_form_tuple(RelationGetDescr(run->index), values, isnull);
	tuple->t_tid = slot->tts_tid;
	size = MAXALIGN(IndexTupleSize(tuple));
	run_make_room(feed, run, size);
	entry = &run->entries[run->nentries++];
	entry->at = run->data_used / MAXIMUM_ALIGNOF;
	entry->line = line - feed->first_line;
	memcpy(run->data + run->data_used, tuple, IndexTupleSize(tuple));
	run->data_used += size;
	feed->used += size + sizeof(LdrIndexEntry);
}

void
ldr_index_feed_add(LdrIndexFeed *feed, TupleTableSlot *slot, int64 line, int64 *error_line)
{
	MemoryContext old;

	/* also where lines do not ascend, as those of no file at all */
	if (feed->used >= feed->limit || line < feed->first_line ||
		line - feed->first_line > PG_UINT32_MAX)
		ldr_index_feed_run(feed, error_line);
	if (feed->used == 0)
		feed->first_line = line;
	*error_line = line;
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(feed->estate));
	if (feed->others->ri_NumIndices > 0)
		(void) ldr_insert_index_tuples(feed->others, slot, feed->estate);
	for (int i = 0; i < feed->nruns; i++)
		run_add(feed, &feed->runs[i], slot, line);
	MemoryContextSwitchTo(old);
}

/* One entry, as INSERT makes it. */
static void
run_insert(LdrIndexRun *run, const LdrIndexEntry *entry)
{
	IndexTuple	tuple = ldr_index_tuple(run, entry);
	ItemPointerData tid = tuple->t_tid;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	index_deform_tuple(tuple, RelationGetDescr(run->index), values, isnull);
	(void) index_insert(run->index, values, isnull, &tid, run->heap,
						run->unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, run->info);
}

/*
 * Make the entries of one index. Where pages had only one entry each, a look at the page is work
 * for nothing: the next ones are made without it, the more the longer it goes on.
 */
static void
run_make(LdrIndexFeed *feed, LdrIndexRun *run, int64 *error_line)
{
	int			skip = 0;
	int			skipped = 0;

	if (run->key == NULL && run->nentries > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(feed->cxt);

		run->key = _bt_mkscankey(run->index, ldr_index_tuple(run, &run->entries[0]));
		MemoryContextSwitchTo(old);
	}
	ldr_index_sort(run);
	for (int i = 0; i < run->nentries;)
	{
		LdrLeafResult result = LDR_LEAF_OTHER;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(feed->tmp_cxt);
		*error_line = feed->first_line + run->entries[i].line;
		if (skipped >= skip)
		{
			result = ldr_index_page(run, &i);
			skipped = 0;
			if (result == LDR_LEAF_LONE)
				skip = Min(skip * 2 + 1, MAX_SKIPPED);
			else if (result == LDR_LEAF_DONE)
				skip = 0;
		}
		else
			skipped++;
		if (result != LDR_LEAF_DONE)
			run_insert(run, &run->entries[i++]);
	}
	run->nentries = 0;
	run->data_used = 0;
}

void
ldr_index_feed_run(LdrIndexFeed *feed, int64 *error_line)
{
	MemoryContext old = MemoryContextSwitchTo(feed->tmp_cxt);

	LDR_FAULT("sink: index entries to be made");
	for (int i = 0; i < feed->nruns; i++)
		run_make(feed, &feed->runs[i], error_line);
	MemoryContextSwitchTo(old);
	MemoryContextReset(feed->tmp_cxt);
	feed->used = 0;
	*error_line = 0;
}
