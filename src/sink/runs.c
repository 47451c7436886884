/*
 * sink/runs.c: runs of pages that are full, and wait to be written.
 */
#include "postgres.h"

#include "sink/runs.h"

#define RUNS	8				/* that there is memory for */

void
ldr_runs_open(LdrRuns *runs, LdrStorage *storage)
{
	runs->storage = storage;
	runs->memory = ldr_storage_memory(RUNS * LDR_STORAGE_RUN);
	runs->full = 0;
}

void
ldr_runs_start(LdrRuns *runs, LdrPageRun *run)
{
	ldr_page_start(run, runs->memory + (Size) runs->full * LDR_STORAGE_RUN * BLCKSZ,
				   LDR_STORAGE_RUN);
}

void
ldr_runs_full(LdrRuns *runs)
{
	int			n = ++runs->full * LDR_STORAGE_RUN;

	if (runs->full == RUNS)
		ldr_storage_write_pages(runs->storage, runs->memory, n);
	else if (!ldr_storage_try_write_pages(runs->storage, runs->memory, n))
		return;
	runs->full = 0;
}

void
ldr_runs_write(LdrRuns *runs, int n)
{
	ldr_storage_write_pages(runs->storage, runs->memory, runs->full * LDR_STORAGE_RUN + n);
	runs->full = 0;
}
