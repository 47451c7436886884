/*
 * schema/live.h: the tables of a dataset as they are in the database now.
 */
#ifndef LDR_LIVE_H
#define LDR_LIVE_H

#include "nodes/pg_list.h"
#include "schema/schema.h"

/*
 * Read a table of the dataset from the catalog; nothing is locked afterwards, so look again after
 * taking the lock that matters. Returns its OID, InvalidOid if it does not exist. *live is
 * allocated in the current context.
 */
extern Oid	ldr_live_table(Oid namespace, const char *name, LdrLiveTable *live);

/* The owner of a relation, of a schema; InvalidOid if there is none. */
extern Oid	ldr_live_owner(Oid relid);
extern Oid	ldr_live_schema_owner(Oid namespace);

/* Everything in a schema that has rows or columns: tables, views, sequences. A List of Oid. */
extern List *ldr_live_relations(Oid namespace);

/* Is there an unlocked plain or partitioned table of that name to read rows of? */
extern Oid	ldr_live_readable(const char *dataset, const char *name);

/*
 * One of dlt's own tables of a dataset, such as _dlt_version: naming conventions may have changed
 * its letter case, so *found is the name it has. readable: one that ldr_live_readable knows.
 * InvalidOid if there is none.
 */
extern Oid	ldr_live_own_table(const char *dataset, const char *name, bool readable,
							   const char **found);

#endif							/* LDR_LIVE_H */
