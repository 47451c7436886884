/*
 * worker/parallel.c: the leader of a parallel load.
 *
 * It works under the server's parallel mode: workers share its transaction, snapshot, identity and
 * locks, end with it, and report their errors to it. While they live it begins no subtransaction
 * and no command, so its transaction and command ids are assigned before. It reads the file, and
 * when workers have enough to do, it works on a block like them (parallel_leader_participation, as
 * in a parallel query). It alone writes to the TOAST table.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "storage/dsm.h"

#include "fault.h"
#include "loader.h"
#include "sink/storage.h"
#include "worker/parallel.h"
#include "worker/parallel_load.h"
#include "worker/worker.h"

#define SLOTS_PER_WORKER	4
#define LOOK_MS				1000	/* between two looks whether the workers are alive */

typedef struct Leader
{
	LdrLoad    *load;
	LdrReader  *file;			/* load->reader, but while rows of a block are read */
	LdrReader  *blocks;			/* for those */
	LdrReaderOptions options;	/* of that */
	ParallelContext *pcxt;
	LdrParallelLoad *shared;
	dsm_segment *segment;		/* has the exchange */
	LdrExchange *exchange;
	int			launched;		/* workers */
	bool		told;			/* a worker has reported an error */
	ErrorContextCallback context;	/* of what workers report */
} Leader;

int
ldr_parallel_workers(const LdrLoad *load, uint64 size)
{
	if (load->share < 2 || size < (uint64) ldr_min_parallel_file_size * 1024 ||
		load->rejects != NULL || load->sink->kind != LDR_SINK_STORAGE ||
		IsInParallelMode() || IsolationUsesXactSnapshot() ||
		!ldr_parallel_safe(load->rel, load->attnums, load->reader->ncolumns,
						   load->format == LDR_JSONL))
		return 0;
	return parallel_leader_participation ? load->share - 1 : load->share;
}

/* --- workers ---------------------------------------------------------------------------------- */

/* A segment of shared memory was not to be had. Somebody who wants us to stop is not to be missed. */
static void
leader_note_failure(ErrorData *edata)
{
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
		ReThrowError(edata);
	edata->elevel = LOG;
	ThrowErrorData(edata);
	FreeErrorData(edata);
}

/*
 * Shared memory for the exchange. It is large, and there may be too little (/dev/shm of a container):
 * that is no reason to fail for what one process can do. Hence a segment of its own, of this
 * transaction, that is asked for in a subtransaction.
 */
static bool
leader_make_exchange(Leader *l, int nslots, int workers)
{
	MemoryContext cxt = CurrentMemoryContext;
	LdrGuard	guard = {0};

	ldr_guard_begin(&guard);
	PG_TRY();
	{
		l->segment = dsm_create(ldr_exchange_size(nslots, workers),
								DSM_CREATE_NULL_IF_MAXSEGMENTS);
		if (l->segment)
			dsm_pin_mapping(l->segment);
		ldr_guard_commit(&guard);
	}
	PG_CATCH();
	{
		ErrorData  *edata = ldr_guard_catch(&guard, cxt);

		l->segment = NULL;
		leader_note_failure(edata);
	}
	PG_END_TRY();
	if (l->segment == NULL)
		return false;
	dsm_unpin_mapping(l->segment);
	l->exchange = dsm_segment_address(l->segment);
	ldr_exchange_init(l->exchange, nslots, workers);
	return true;
}

/*
 * What a worker reports is raised here, whatever we do at the moment: an error is not of the row in
 * hand, then. (Notices come this way, too.)
 */
static void
leader_is_told(void *arg)
{
	Leader	   *l = arg;

	switch (ERRCODE_TO_CATEGORY(geterrcode()))
	{
		case ERRCODE_SUCCESSFUL_COMPLETION:
		case ERRCODE_WARNING:
		case ERRCODE_NO_DATA:
			return;
	}
	l->told = true;
	l->load->row.line = 0;
}

static ParallelContext *
leader_make_context(Leader *l, int workers)
{
	ParallelContext *pcxt;

	l->context = (ErrorContextCallback) {error_context_stack, leader_is_told, l};
	error_context_stack = &l->context;
	pcxt = CreateParallelContext("loader", "loader_parallel_main", workers);
	error_context_stack = l->context.previous;
	return pcxt;
}

/* Start workers; returns how many there are. */
static int
leader_begin(Leader *l, int workers)
{
	LdrLoad    *load = l->load;
	Size		size = ldr_parallel_load_size(load);
	/* assigns the ids */
	LdrPageKind kind = ldr_storage_sink_kind(load->sink);

	ldr_storage_sink_share(load->sink);
	EnterParallelMode();
	l->pcxt = leader_make_context(l, workers);
	shm_toc_estimate_chunk(&l->pcxt->estimator, size);
	shm_toc_estimate_keys(&l->pcxt->estimator, 1);
	InitializeParallelDSM(l->pcxt);
	l->shared = shm_toc_allocate(l->pcxt->toc, size);
	ldr_parallel_load_fill(l->shared, load, &kind);
	l->shared->exchange = dsm_segment_handle(l->segment);
	shm_toc_insert(l->pcxt->toc, LDR_PARALLEL_LOAD, l->shared);
	LDR_FAULT("parallel: workers to be started");
	LaunchParallelWorkers(l->pcxt);
	l->launched = l->pcxt->nworkers_launched;
	return l->launched;
}

static void
leader_end(Leader *l)
{
	WaitForParallelWorkersToFinish(l->pcxt);
	DestroyParallelContext(l->pcxt);
	ExitParallelMode();
	ldr_storage_sink_unshare(l->load->sink, ldr_exchange_rest(l->exchange), l->launched);
	dsm_detach(l->segment);
}

static bool
leader_has_ended(const Leader *l, int worker)
{
	BackgroundWorkerHandle *handle = l->pcxt->worker[worker].bgwhandle;
	pid_t		pid;

	return handle == NULL || GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;
}

/* Has the worker gone that has the next block, or should have it? The server knows why. */
static void
leader_check_workers(Leader *l)
{
	int			worker = ldr_exchange_worker(l->exchange);

	if (worker >= 0 && !leader_has_ended(l, worker))
		return;
	for (int i = 0; worker < 0 && i < l->launched; i++)
		if (!leader_has_ended(l, i))
			return;
	WaitForParallelWorkersToFinish(l->pcxt);	/* raises what it said */
	ereport(ERROR,
			(errcode(ERRCODE_ADMIN_SHUTDOWN),
			 errmsg("a parallel worker of the load has gone")));
}

static void
leader_wait(Leader *l)
{
	if (!ldr_exchange_wait(l->exchange, LOOK_MS))
		leader_check_workers(l);
	ldr_load_look_up(l->load);
}

/* --- what comes back -------------------------------------------------------------------------- */

/* A row that goes through no worker is read. What is raised after it, by a worker say, is not of it. */
static void
leader_put_own(LdrLoad *load)
{
	ldr_load_row(load);
	load->row.line = 0;
}

/* Rows of the block that workers have left to us: it is read again, and all others passed over. */
static void
leader_put_large(Leader *l, LdrExchangeSlot *slot)
{
	LdrLoad    *load = l->load;
	char	   *input = ldr_exchange_input(l->exchange, l->exchange->settled);
	LdrError	err = {0};
	uint32		row = 0;

	load->reader = l->blocks;
	ldr_block_reader_begin(l->blocks, input, &slot->block);
	for (int i = 0; i < slot->nlarge; row++)
	{
		if (ldr_reader_next(l->blocks, &load->row, &err) != LDR_OK)
			elog(ERROR, "row %u of a block is not there", slot->large[i]);
		if (row != slot->large[i])
			continue;
		leader_put_own(load);
		i++;
	}
	load->reader = l->file;
}

static void
leader_settle(Leader *l)
{
	LdrLoad    *load = l->load;
	LdrExchangeSlot *slot = ldr_exchange_slot(l->exchange, l->exchange->settled);

	LDR_FAULT("parallel: block to be settled");
	ldr_storage_sink_count(load->sink, slot->rows);
	load->rows += slot->rows;
	if (slot->nlarge > 0)
		leader_put_large(l, slot);
	ldr_exchange_settle(l->exchange);
	ldr_load_look_up(load);
}

/* It is the turn of a worker's error: wait until it comes. */
static void
leader_raise(Leader *l)
{
	ldr_exchange_turn(l->exchange);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		leader_check_workers(l);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* Settle the next block. False if it is not ready. */
static bool
leader_settle_next(Leader *l)
{
	switch (ldr_exchange_next(l->exchange))
	{
		case LDR_SLOT_READY:
			leader_settle(l);
			return true;
		case LDR_SLOT_FAILED:
			leader_raise(l);
			return true;
		default:
			return false;
	}
}

/* --- a block of its own ------------------------------------------------------------------------- */

/*
 * An error in a block of ours: those in blocks before it come first. No row is put any more, nor is
 * anything else done in a transaction that has failed, but to look whether somebody wants it to end.
 */
static void
leader_await_before(Leader *l, uint64 n)
{
	while (l->exchange->settled < n)
	{
		CHECK_FOR_INTERRUPTS();
		switch (ldr_exchange_next(l->exchange))
		{
			case LDR_SLOT_READY:
				ldr_exchange_settle(l->exchange);
				break;
			case LDR_SLOT_FAILED:
				leader_raise(l);
				break;
			default:
				leader_wait(l);
		}
	}
}

static void
leader_put_block(Leader *l, uint64 n)
{
	LdrLoad    *load = l->load;
	LdrError	err = {0};
	LdrStatus	status;

	load->reader = l->blocks;
	ldr_block_reader_begin(l->blocks, ldr_exchange_input(l->exchange, n),
						   &ldr_exchange_slot(l->exchange, n)->block);
	while ((status = ldr_reader_next(l->blocks, &load->row, &err)) == LDR_OK)
	{
		CHECK_FOR_INTERRUPTS();
		ldr_load_row(load);
	}
	if (status != LDR_END)
		ldr_load_raise(load, &err);
	load->row.line = 0;
	load->reader = l->file;
}

/* As a worker does it, see there; but the error is raised here, where it has been located. */
static void
leader_try_block(Leader *l, uint64 n)
{
	PG_TRY();
	{
		leader_put_block(l, n);
	}
	PG_CATCH();
	{
		ErrorData  *edata = ldr_parallel_catch(l->load);

		l->load->row.line = 0;
		l->load->reader = l->file;
		if (!l->told && ldr_parallel_has_turn(l->load, edata))
			leader_await_before(l, n);
		ReThrowError(edata);
	}
	PG_END_TRY();
}

/* Work on the next block that nobody has claimed. False if there is none, or it is not for us. */
static bool
leader_help(Leader *l)
{
	LdrExchangeSlot *slot;
	uint64		n;

	if (!parallel_leader_participation || !ldr_exchange_try_claim(l->exchange, &n))
		return false;
	LDR_FAULT("parallel: block of the leader");
	slot = ldr_exchange_slot(l->exchange, n);
	leader_try_block(l, n);
	/* the sink has counted them */
	slot->rows = 0;
	slot->nlarge = 0;
	ldr_exchange_deliver(l->exchange, n, false);
	return true;
}

static bool
leader_is_idle(const Leader *l)
{
	return l->exchange->settled == l->exchange->filled;
}

/* --- what goes out ------------------------------------------------------------------------------ */

/* The next row fits into no slot, or there is an error in it: first all rows before it. */
static LdrStatus
leader_put_row(Leader *l, LdrError *err)
{
	LdrStatus	status;

	while (!leader_is_idle(l))
		if (!leader_settle_next(l))
			leader_wait(l);
	status = ldr_reader_next(l->file, &l->load->row, err);
	if (status != LDR_OK)
		return status;
	leader_put_own(l->load);
	return LDR_OK;
}

/* Fill a slot. LDR_END at the end of the file. */
static LdrStatus
leader_fill(Leader *l, LdrError *err)
{
	LdrExchange *x = l->exchange;
	LdrExchangeSlot *slot = ldr_exchange_slot(x, x->filled);
	LdrStatus	status = ldr_reader_split(l->file, ldr_exchange_input(x, x->filled),
										  LDR_SLOT_INPUT, &slot->block, err);

	if (status == LDR_TOO_LONG)
		return leader_put_row(l, err);
	if (status == LDR_OK)
		ldr_exchange_fill(x);
	return status;
}

/* Blocks go out and come back until there are no more. */
static void
leader_run(Leader *l)
{
	LdrError	err = {0};
	LdrStatus	status = LDR_OK;

	while (status == LDR_OK || !leader_is_idle(l))
	{
		CHECK_FOR_INTERRUPTS();
		if (leader_settle_next(l))
			continue;
		if (status == LDR_OK && ldr_exchange_has_room(l->exchange))
		{
			status = leader_fill(l, &err);
			if (status != LDR_OK)
				ldr_exchange_end(l->exchange);
		}
		else if (!leader_help(l))
			leader_wait(l);
	}
	if (status != LDR_END)
		ldr_load_raise(l->load, &err);
}

/* Blocks go through workers, if there are any. */
static bool
leader_try(Leader *l, int workers)
{
	bool		started;

	if (!leader_make_exchange(l, (workers + 1) * SLOTS_PER_WORKER, workers))
		return false;
	started = leader_begin(l, workers) > 0;
	if (started)
	{
		ldr_parallel_options(l->shared, &l->options);
		l->blocks = ldr_parallel_block_reader(l->shared, &l->options);
		ldr_load_keep_reader(l->blocks);
		leader_run(l);
	}
	leader_end(l);
	return started;
}

bool
ldr_parallel_load(LdrLoad *load)
{
	Leader	   *l = palloc0(sizeof(Leader));	/* is called by its address until all has ended */
	int			workers = ldr_slots_take(load->workers);
	bool		started;

	l->load = load;
	l->file = load->reader;
	started = workers > 0 && leader_try(l, workers);
	ldr_slots_give(workers);
	load->workers = started ? l->launched : 0;
	return started;
}
