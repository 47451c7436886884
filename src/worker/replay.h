/*
 * worker/replay.h: rejected rows of a package, loaded again by the caller.
 */
#ifndef LDR_REPLAY_H
#define LDR_REPLAY_H

#include "catalog/loader_catalog.h"
#include "options.h"
#include "utils/rel.h"
#include "worker/rejects.h"

/*
 * Load the rejects of a package that has ended, or of one of its tables, in the current transaction
 * and as the current role, by the disposition of the tables. Those that are refused again stay.
 * Raises 0A000 if none of the tables can take them. Caller keeps others off the package.
 */
extern void ldr_replay(const LdrPackage *package, const char *table_name, int64 *loaded,
					   int64 *left);

/* Some rejects of a job, and those of them that were refused again. */
typedef struct LdrReplayBatch
{
	LdrRejects	base;			/* first: an LdrRejects is one of these */
	MemoryContext cxt;
	List	   *rows;			/* of LdrReject */
	List	   *again;			/* of LdrReject: refused once more, with the id of the row */
	bool	   *refused;		/* by position in rows */
	int64		inserted;
} LdrReplayBatch;

/*
 * Load the next rejects of a job into rel, after the one of that id, which moves on. False if there
 * are none left. Allocated in the current context.
 */
extern bool ldr_replay_batch(const LdrPackage *package, const LdrRejectJob *job,
							 const LdrOptions *options, Relation rel, int64 *after,
							 LdrReplayBatch *batch);

/* Only who may change the rows may have the lock for it: ask before waiting. */
extern void ldr_replay_check_insert(Oid relid);

/* Raises 42703 if the table lacks columns (List of char *) that its rejected rows have. */
extern void ldr_replay_check_columns(Oid relid, const char *table_name, const List *columns);

/* These rows (List of LdrReject) are loaded: they are rejects no longer. */
extern void ldr_replay_forget(const List *loaded);

/* replay_merge.c: those of a chain that is merged; jobs: List of LdrRejectJob. */

/* Returns why the chain cannot take them, NULL if it can; *loaded is added to. */
extern const char *ldr_replay_chain(const LdrPackage *package, LdrOptions *options, List *jobs,
									int64 *loaded);

#endif							/* LDR_REPLAY_H */
