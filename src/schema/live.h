/*
 * schema/live.h: the tables of a dataset as they are in the database now.
 */
#ifndef LDR_LIVE_H
#define LDR_LIVE_H

#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "schema/schema.h"
#include "utils/relcache.h"

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

/*
 * Open the table of that name, and keep its lock, to read rows of it with ldr_live_each; NULL if
 * there is none that the current role may read without running anybody's code: it is no plain or
 * partitioned table, has row security that binds the role, or columns of types that somebody made.
 */
extern Relation ldr_live_readable(const char *dataset, const char *name);

/* What is called with each row. False ends it. */
typedef bool (*LdrLiveRowFn) (TupleTableSlot *slot, void *arg);

/*
 * Call fn with each row of a table that ldr_live_readable has opened, and of those that inherit from
 * it, as a new snapshot sees them. False if fn was. In a memory context that is reset for each row.
 * (Not by SQL: the table's name may be another one's by then, a view's, say.)
 */
extern bool ldr_live_each(Relation rel, LdrLiveRowFn fn, void *arg);

/*
 * One of dlt's own tables of a dataset, such as _dlt_version: naming conventions may have changed
 * its letter case, so *found is the name it has. InvalidOid if there is none.
 */
extern Oid	ldr_live_own_table(const char *dataset, const char *name, const char **found);

#endif							/* LDR_LIVE_H */
