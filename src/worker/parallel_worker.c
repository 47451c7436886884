/*
 * worker/parallel_worker.c: a worker of a parallel load: block -> rows -> pages of the table.
 *
 * It lives in the leader's transaction, as the leader's role, and with its settings: see
 * access/parallel.h. What it needs to know of the load is in shared memory.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "fault.h"
#include "loader.h"
#include "sink/shared.h"
#include "worker/load_file.h"
#include "worker/parallel_load.h"

extern PGDLLEXPORT void loader_parallel_main(dsm_segment *seg, shm_toc *toc);

typedef struct Worker
{
	const LdrParallelLoad *shared;
	LdrExchange *exchange;
	LdrLoad    *load;
	LdrReaderOptions options;	/* of its reader */
	/* the block in hand */
	uint64		n;
	LdrExchangeSlot *slot;
	uint64		rows_before;	/* that were read before it */
	uint64		rows_told;		/* ... and of which the leader knows: put, or left to it */
} Worker;

/* What was done of the block is for the leader now; with more, nothing of that is left afterwards. */
static void
worker_deliver(Worker *w, bool more)
{
	w->slot->rows = w->load->rows - w->rows_told - w->slot->nlarge;
	w->rows_told = w->load->rows;
	ldr_exchange_deliver(w->exchange, w->n, more);
	if (more)
		w->slot->nlarge = 0;
}

/* LdrLargeFn: the leader reads it again. */
static void
worker_large(void *arg)
{
	Worker	   *w = arg;

	if (w->slot->nlarge == LDR_SLOT_LARGE)
		worker_deliver(w, true);
	w->slot->large[w->slot->nlarge++] = (uint32) (w->load->rows - w->rows_before);
}

/* All rows of the block in hand. */
static void
worker_run_block(Worker *w)
{
	LdrLoad    *load = w->load;

	LDR_FAULT("parallel: block begun");
	w->slot->nlarge = 0;
	w->rows_before = w->rows_told = load->rows;
	ldr_block_reader_begin(load->reader, ldr_exchange_input(w->exchange, w->n), &w->slot->block);
	ldr_load_rows(load);
	LDR_FAULT("parallel: block done");
	worker_deliver(w, false);
}

/* An error of a row waits for its turn, see ldr_parallel_has_turn. */
static void
worker_try_block(Worker *w)
{
	PG_TRY();
	{
		worker_run_block(w);
	}
	PG_CATCH();
	{
		ErrorData  *edata = ldr_parallel_catch(w->load);

		if (ldr_parallel_has_turn(w->load, edata))
			ldr_exchange_fail(w->exchange, w->n);
		ReThrowError(edata);
	}
	PG_END_TRY();
}

/* A load whose rows come in blocks. */
static void
worker_begin(Worker *w, Relation rel, Relation into)
{
	LdrLoad    *load = ldr_load_make(ldr_parallel_path(w->shared), rel, into, NULL);

	MemoryContextSwitchTo(load->cxt);
	w->load = load;
	ldr_parallel_options(w->shared, &w->options);
	load->reader = ldr_parallel_block_reader(w->shared, &w->options);
	ldr_load_keep_reader(load->reader);
	load->attnums = palloc(sizeof(AttrNumber) * Max(w->shared->ncolumns, 1));
	memcpy(load->attnums, w->shared->attnums, sizeof(AttrNumber) * w->shared->ncolumns);
	ldr_load_converters(load, w->shared->format, w->shared->encoding);
	load->sink = ldr_sink_open(rel, into, LDR_SINK_SHARED, load->attnums, load->reader->ncolumns);
	ldr_shared_sink_begin(load->sink, &w->shared->pages, worker_large, w);
	ldr_load_form(load);
}

/* Blocks until there are no more; a page is left. */
static void
worker_run(Worker *w)
{
	while (ldr_exchange_claim(w->exchange, &w->n))
	{
		w->slot = ldr_exchange_slot(w->exchange, w->n);
		worker_try_block(w);
	}
	LDR_FAULT("parallel: worker ends");
	ldr_shared_sink_end(w->load->sink, (Page) (ldr_exchange_rest(w->exchange) +
											   (Size) BLCKSZ * ParallelWorkerNumber));
	ldr_sink_close(w->load->sink);
}

void
loader_parallel_main(dsm_segment *seg, shm_toc *toc)
{
	Worker		w = {0};
	dsm_segment *segment;
	Relation	rel,
				into = NULL;

	w.shared = shm_toc_lookup(toc, LDR_PARALLEL_LOAD, false);
	segment = dsm_attach(w.shared->exchange);
	if (segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the leader of the load has gone")));
	w.exchange = dsm_segment_address(segment);
	LDR_FAULT("parallel: worker begins");
	if (OidIsValid(w.shared->into))
		into = table_open(w.shared->into, RowExclusiveLock);
	rel = table_open(w.shared->relid, into ? AccessShareLock : RowExclusiveLock);
	worker_begin(&w, rel, into);
	worker_run(&w);
	table_close(rel, NoLock);
	if (into)
		table_close(into, NoLock);
	dsm_detach(segment);
}
