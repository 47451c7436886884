/*
 * schema/live.h: the tables of a dataset as they are in the database now.
 */
#ifndef LDR_LIVE_H
#define LDR_LIVE_H

#include "schema/schema.h"

/*
 * Read a table of the dataset from the catalog; nothing is locked afterwards, so look again after
 * taking the lock that matters. Returns its OID, InvalidOid if it does not exist. *live is
 * allocated in the current context.
 */
extern Oid	ldr_live_table(Oid namespace, const char *name, LdrLiveTable *live);

/* The owner of a relation; InvalidOid if there is none. */
extern Oid	ldr_live_owner(Oid relid);

/* Is there an unlocked plain or partitioned table of that name to read rows of? */
extern Oid	ldr_live_readable(const char *dataset, const char *name);

#endif							/* LDR_LIVE_H */
