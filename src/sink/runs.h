/*
 * sink/runs.h: runs of pages that are full, and wait to be written.
 *
 * Of those who fill a heap together one process at a time logs and writes pages. Who finds that
 * another one does goes on with its rows, as long as it has memory for them: so nobody waits while
 * somebody else waits for the disk, as the server does where it ends a file of the log.
 */
#ifndef LDR_RUNS_H
#define LDR_RUNS_H

#include "sink/page.h"
#include "sink/storage_write.h"

typedef struct LdrRuns
{
	LdrStorage *storage;
	char	   *memory;			/* of all runs; that which is being filled is the last */
	int			full;			/* those before it */
} LdrRuns;

/* Memory for runs that storage is to write, in the current context. */
extern void ldr_runs_open(LdrRuns *runs, LdrStorage *storage);

/* Begin a run. The kind of its pages is set. */
extern void ldr_runs_start(LdrRuns *runs, LdrPageRun *run);

/* A run is full: it is written, or waits. */
extern void ldr_runs_full(LdrRuns *runs);

/* Write those that wait, and n pages of the one that is being filled. */
extern void ldr_runs_write(LdrRuns *runs, int n);

#endif							/* LDR_RUNS_H */
