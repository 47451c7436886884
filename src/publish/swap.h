/*
 * publish/swap.h: put a loaded swap heap in place of a target table, which keeps its identity.
 *
 *	stage      choose -> make -> (fill through sink "swap heap") -> complete
 *	publish    prepare (ShareUpdateExclusiveLock) -> exchange (AccessExclusiveLock) -> commit
 *	afterwards report
 *
 * A swap heap is a table of its own in the schema loader_swap, committed or not together with the
 * catalog row that says whose it is.
 */
#ifndef LDR_SWAP_H
#define LDR_SWAP_H

#include "nodes/pg_list.h"
#include "utils/rel.h"

/* What can be done to replace the contents of a table. */
typedef enum LdrReplaceWay
{
	LDR_REPLACE_SWAP,
	LDR_REPLACE_DIFF,			/* rows must be seen to change: logical replication, foreign keys */
	LDR_REPLACE_REFILL			/* delete all, insert all */
} LdrReplaceWay;

/*
 * How the target can be replaced by the current role, and why not by a swap (*reason, a phrase for
 * loader_plan and events; NULL for a swap). Caller holds any lock on it. The answer is looked for
 * again when the table is locked: see ldr_swap_recheck.
 */
extern LdrReplaceWay ldr_swap_choose(Relation target, const char **reason);

/*
 * Make a swap heap like the target (same physical columns, same owner, storage parameters, TOAST
 * options, tablespace) in schema loader_swap. Caller holds AccessShareLock on the target. Returns
 * its OID; the new heap is locked with AccessExclusiveLock until the end of the transaction.
 */
extern Oid	ldr_swap_make(Relation target, int64 package_id);

/*
 * The heap is filled: make indexes like the target's, and statistics. Same transaction as
 * ldr_swap_make. A duplicate is reported under the name of the target's constraint or index.
 */
extern void ldr_swap_complete(Relation target, Oid heap);

/*
 * What must not change between make and exchange, as a hash: columns, types, nullability, CHECK
 * constraints, generated columns, indexes, storage. Caller holds any lock on the target.
 */
extern int64 ldr_swap_fingerprint(Relation target);

/*
 * Before the strong lock, with ShareUpdateExclusiveLock on the target (it keeps DDL, VACUUM and
 * ANALYZE away, but neither readers nor writers): lock the heap, check that the target is the one
 * that the heap was made for (its fingerprint) and can still be swapped, carry statistics over,
 * pair the indexes. Raises 40001 if not; the package is then planned anew. Allocates what exchange needs in
 * the current context.
 */
typedef struct LdrSwap LdrSwap;
extern LdrSwap *ldr_swap_prepare(Oid target, Oid heap, int64 fingerprint);

/* What exchange needs locked with AccessExclusiveLock: the target and its TOAST table. */
extern List *ldr_swap_relations(const LdrSwap *swap);

/*
 * With those locks held: recheck what the weaker lock could not keep still (use by this very
 * transaction, logical slots), exchange the storage, drop the heap with the old contents. Raises
 * 40001 if the recheck fails.
 */
extern void ldr_swap_exchange(LdrSwap *swap);

/* After the commit, in a transaction of its own: tell pgstat how many rows there are now. */
extern void ldr_swap_report(Oid target);

/* Drop a swap heap that is not needed any more, whoever owns it. No error if it has gone. */
extern void ldr_swap_drop(Oid heap);

/* OIDs of all tables in schema loader_swap. */
extern List *ldr_swap_heaps(void);

#endif							/* LDR_SWAP_H */
