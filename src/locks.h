/*
 * locks.h: how locks on the user's tables and datasets are waited for.
 */
#ifndef LDR_LOCKS_H
#define LDR_LOCKS_H

#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
#include "worker/worker.h"

/*
 * Lock relations (List of Oid) until the end of the transaction, all or, for the time being, none.
 * The caller has checked that the role may do to them what it wants the lock for. Returns how many
 * microseconds it took. Raises 55P03 after loader.lock_deadline.
 */
extern int64 ldr_lock_tables(List *relids, LOCKMODE mode);

/*
 * A dataset's lock until the end of the transaction. Waits for as long as other packages hold it:
 * there is no deadline, only loader_cancel.
 */
extern void ldr_lock_dataset(const char *dataset, LdrDatasetLock which);

/*
 * The last locks of a publish, all or none: the dataset's, to record the load, and the strong ones
 * on tables that are swapped. Nothing of it is held while it waits between two tries.
 */
extern int64 ldr_lock_for_publish(const char *dataset, List *relids);

/* AccessShareLock on one relation, for a look at its definition. */
extern void ldr_lock_for_look(Oid relid);

#endif							/* LDR_LOCKS_H */
