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

#include "nodes/execnodes.h"
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
 * again by ldr_swap_prepare, and what its lock does not keep still by ldr_swap_exchange.
 */
extern LdrReplaceWay ldr_swap_choose(Relation target, const char **reason);

/*
 * Would the server refuse to delete or update rows of the table, because a publication sends that
 * and nothing identifies its rows? Caller holds any lock on it.
 */
extern bool ldr_swap_forbids_delete(Relation target);

/*
 * Make a swap heap like the target (same physical columns, same owner, storage parameters, TOAST
 * options, tablespace) in schema loader_swap. Caller holds AccessShareLock on the target. Returns
 * its OID; the new heap is locked with AccessExclusiveLock until the end of the transaction. One
 * of the same package and target, of an earlier attempt, is dropped.
 *
 * It is to be filled in the same subtransaction: its rows are frozen, and would outlive a mere
 * rollback to a savepoint after it.
 */
extern Oid	ldr_swap_make(Relation target, int64 package_id);

/*
 * A table like a swap heap, in which rows are tried out before they go into one: not frozen, and
 * with indexes, still empty, like the target's. ldr_swap_set_exclusion lets them check what the
 * target's exclusion constraints demand, once they are open; ldr_swap_rename says an error of
 * theirs as if it were the target's.
 */
extern Oid	ldr_swap_make_trial(Relation target, int64 package_id);
extern void ldr_swap_set_exclusion(Relation target, Relation trial,
								   ResultRelInfo *indexes);
extern void ldr_swap_rename(Relation target, Relation heap, ErrorData *edata);

/*
 * Put the rows of a trial into a swap heap, which the same subtransaction has made. Before
 * ldr_swap_complete.
 */
extern void ldr_swap_fill(Relation target, Oid heap, Oid trial);

/*
 * The heap is filled: make indexes like the target's, and statistics. Same transaction as
 * ldr_swap_make. A duplicate is reported under the name of the target's constraint or index. The
 * process's progress counters are used for CREATE INDEX and ANALYZE; the caller begins its own
 * anew. Caller has no other reference to the heap open.
 */
extern void ldr_swap_complete(Relation target, Oid heap);

/*
 * What must not change between make and exchange, as a hash: owner, columns, types, nullability,
 * CHECK constraints, generated columns, definitions of indexes, tablespaces, access method. Not:
 * names of indexes and their OIDs, defaults, storage parameters. Caller holds any lock on the
 * target, and holds it from here to ldr_swap_make.
 */
extern int64 ldr_swap_fingerprint(Relation target);

/*
 * Before the strong lock, with ShareUpdateExclusiveLock on the target (it keeps DDL, VACUUM and
 * ANALYZE away, but neither readers nor writers): lock the heap, check that the target is the one
 * that the heap was made for (its fingerprint) and can still be swapped, carry statistics over,
 * pair the indexes. Raises 40001 if not; the package is then planned anew. Allocates what exchange
 * needs in the current context.
 */
typedef struct LdrSwap LdrSwap;
extern LdrSwap *ldr_swap_prepare(Oid target, Oid heap, int64 fingerprint);

/*
 * What exchange needs locked with AccessExclusiveLock: the target, its TOAST table, and the
 * indexes of both, since some functions read an index under a lock on nothing else.
 */
extern List *ldr_swap_relations(const LdrSwap *swap);

/*
 * With those locks held: recheck what the weaker lock could not keep still (use by this very
 * transaction, logical slots), exchange the storage, drop the heap with the old contents. Raises
 * 40001 if the recheck fails, 55006 if this session has the target open or triggers pending on it.
 */
extern void ldr_swap_exchange(LdrSwap *swap);

/*
 * After the commit, in a transaction of its own: tell pgstat how many rows there are now. If the
 * table has extended statistics, ANALYZE it, for which it waits for ShareUpdateExclusiveLock.
 */
extern void ldr_swap_report(Oid target);

/*
 * Drop a swap heap that is not needed any more, whoever owns it, and what depends on it. No error
 * if it has gone. The second does not wait: false if somebody (pg_dump, say) has it locked.
 */
extern void ldr_swap_drop(Oid heap);
extern bool ldr_swap_try_drop(Oid heap);

/* OIDs of all tables in schema loader_swap. */
extern List *ldr_swap_heaps(void);

#endif							/* LDR_SWAP_H */
