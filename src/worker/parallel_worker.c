/*
 * worker/parallel_worker.c: a worker of a parallel load: block -> rows -> pages.
 *
 * It writes nothing but its slot. It lives in the leader's transaction, as the leader's role, and
 * with its settings: see access/parallel.h. What it needs to know of the load is in shared memory.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "fault.h"
#include "loader.h"
#include "sink/block.h"
#include "worker/load_file.h"
#include "worker/parallel_load.h"

extern PGDLLEXPORT void loader_parallel_main(dsm_segment *seg, shm_toc *toc);

typedef struct Worker
{
	const LdrParallelLoad *shared;
	LdrExchange *exchange;
	LdrLoad    *load;
	LdrReaderOptions options;	/* of its reader */
	LdrBlockOwner owner;
	/* the block in hand */
	uint64		n;
	LdrExchangeSlot *slot;
	uint64		rows_before;	/* that were read before it */
} Worker;

/* The pages, and the large rows, are for the leader now; with more, both are empty afterwards. */
static void
worker_deliver(Worker *w, bool more)
{
	const LdrPageRun *run = ldr_block_sink_run(w->load->sink);

	w->slot->npages = run->used;
	w->slot->rows = run->rows;
	ldr_exchange_deliver(w->exchange, w->n, more);
	if (more)
		w->slot->nlarge = 0;
}

/* LdrBlockOwner.full */
static void
worker_full(void *arg)
{
	worker_deliver(arg, true);
}

/* LdrBlockOwner.large: the leader reads it again. */
static void
worker_large(void *arg)
{
	Worker	   *w = arg;

	if (w->slot->nlarge == LDR_SLOT_LARGE)
		ldr_block_sink_hand_over(w->load->sink);
	w->slot->large[w->slot->nlarge++] = (uint32) (w->load->rows - w->rows_before);
}

/* All rows of the block in hand. */
static void
worker_run_block(Worker *w)
{
	LdrLoad    *load = w->load;

	LDR_FAULT("parallel: block begun");
	w->slot->nlarge = 0;
	w->rows_before = load->rows;
	ldr_block_reader_begin(load->reader, ldr_exchange_input(w->exchange, w->n), &w->slot->block);
	ldr_block_sink_begin(load->sink, &w->shared->pages, &w->owner,
						 ldr_exchange_pages(w->exchange, w->n), LDR_SLOT_PAGES);
	ldr_load_rows(load);
	LDR_FAULT("parallel: block done");
	worker_deliver(w, false);
}

/* The error of a block waits until those of all blocks before it could have been raised. */
static void
worker_try_block(Worker *w)
{
	PG_TRY();
	{
		worker_run_block(w);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(w->load->cxt);
		edata = CopyErrorData();
		FlushErrorState();
		/* nobody is to wait meanwhile for what only the end of the transaction would let go */
		LWLockReleaseAll();
		UnlockBuffers();
		ldr_load_locate_error(w->load, edata);
		ldr_exchange_fail(w->exchange, w->n);
		ReThrowError(edata);
	}
	PG_END_TRY();
}

/* A load whose rows stay in slots. */
static void
worker_begin(Worker *w, Relation rel)
{
	LdrLoad    *load = ldr_load_make(ldr_parallel_path(w->shared), rel, NULL, NULL);

	MemoryContextSwitchTo(load->cxt);
	w->load = load;
	w->owner = (LdrBlockOwner) {worker_full, worker_large, w};
	ldr_parallel_options(w->shared, &w->options);
	load->reader = ldr_parallel_block_reader(w->shared, &w->options);
	ldr_load_keep_reader(load->reader);
	load->attnums = palloc(sizeof(AttrNumber) * Max(w->shared->ncolumns, 1));
	memcpy(load->attnums, w->shared->attnums, sizeof(AttrNumber) * w->shared->ncolumns);
	ldr_load_converters(load, w->shared->format, w->shared->encoding);
	load->sink = ldr_sink_open(rel, w->shared->into ? rel : NULL, LDR_SINK_BLOCK, load->attnums,
							   load->reader->ncolumns);
	ldr_load_form(load);
}

void
loader_parallel_main(dsm_segment *seg, shm_toc *toc)
{
	Worker		w = {0};
	dsm_segment *segment;
	Relation	rel;

	w.shared = shm_toc_lookup(toc, LDR_PARALLEL_LOAD, false);
	segment = dsm_attach(w.shared->exchange);
	if (segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the leader of the load has gone")));
	w.exchange = ldr_exchange_at(dsm_segment_address(segment));
	LDR_FAULT("parallel: worker begins");
	rel = table_open(w.shared->relid, w.shared->into ? AccessShareLock : RowExclusiveLock);
	worker_begin(&w, rel);
	while (ldr_exchange_claim(w.exchange, &w.n))
	{
		w.slot = ldr_exchange_slot(w.exchange, w.n);
		worker_try_block(&w);
	}
	LDR_FAULT("parallel: worker ends");
	ldr_sink_close(w.load->sink);
	table_close(rel, NoLock);
	dsm_detach(segment);
}
