/*
 * worker/rate.c: loader.max_rate: a process takes bytes from files no faster than that.
 *
 * Whoever loads says between two rows how far it has read, and waits here until that much was due.
 * What it holds meanwhile, locks and memory, it keeps. Files are read in pieces of 256 kB, so that
 * many bytes may come at once; in a parallel load the leader waits, when it has filled all blocks.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "loader.h"
#include "worker/worker.h"

#define LOOK_MS			500		/* between two looks whether the package was cancelled */
#define MAX_BEHIND_US	1000000	/* what a load that was held up may make up for */

/*
 * When the bytes that this process has taken are due, in microseconds of a clock that nobody sets.
 * It outlives a file: many small ones are not faster than a large one.
 */
static int64 due = 0;

static int64
rate_now(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* Some loads read between transactions: a sync of a file. */
static void
rate_check_cancel(void)
{
	MemoryContext cxt = CurrentMemoryContext;

	if (IsTransactionState())
	{
		ldr_check_cancel();
		return;
	}
	ldr_xact_begin();
	ldr_check_cancel();
	ldr_xact_commit();
	MemoryContextSwitchTo(cxt);
}

/* A file is begun: what was not read before is not made up for. */
void
ldr_rate_begin(void)
{
	due = Max(due, rate_now());
}

/*
 * So many bytes of the file are consumed, of which *paced have been waited for before: wait for the
 * rest. Less than a millisecond is left to the next time. Not where an error would be taken for
 * one of a row.
 */
void
ldr_rate_pace(uint64 *paced, uint64 consumed)
{
	int64		us;

	if (ldr_max_rate == 0 || IsParallelWorker() || consumed < *paced)
		return;
	us = (int64) ((double) (consumed - *paced) * 1000000 / (ldr_max_rate * 1024.0));
	*paced = consumed;
	due = Max(due, rate_now() - MAX_BEHIND_US) + us;
	while ((us = due - rate_now()) >= 1000)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(us / 1000, LOOK_MS), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		rate_check_cancel();
	}
}
