/*
 * worker/replay.h: rejected rows of a package, loaded again by the caller.
 */
#ifndef LDR_REPLAY_H
#define LDR_REPLAY_H

#include "catalog/loader_catalog.h"

/*
 * Load the rejects of a package that has ended, or of one of its tables, in the current transaction
 * and as the current role, into the tables that it appended to or replaced. Those that are refused
 * again stay. Raises 0A000 if none of the tables can take them. Caller keeps others off the
 * package.
 */
extern void ldr_replay(const LdrPackage *package, const char *table_name, int64 *loaded,
					   int64 *left);

#endif							/* LDR_REPLAY_H */
