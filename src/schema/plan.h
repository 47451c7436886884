/*
 * schema/plan.h: the package's tables against the live ones.
 */
#ifndef LDR_PLAN_H
#define LDR_PLAN_H

#include "nodes/pg_list.h"
#include "schema/schema.h"

/* How a table gets its rows. Chosen by publish/ways.c. */
typedef enum LdrWay
{
	LDR_WAY_APPEND,				/* straight into the table, which publish may have to create */
	LDR_WAY_MERGE,				/* into the staging table; its chain is merged by publish */
	LDR_WAY_SWAP,				/* into a swap heap, which publish puts in the table's place */
	LDR_WAY_DIFF,				/* into the staging table; publish applies what differs */
	LDR_WAY_REFILL,				/* into the staging table; publish deletes and inserts all */
	LDR_WAY_EMPTY				/* no rows come: publish deletes all */
} LdrWay;

typedef struct LdrPlanTable
{
	const LdrSchemaTable *table;
	Oid			relid;			/* InvalidOid: publish creates it */
	LdrChange  *changes;
	int			nchanges;
	bool		has_jobs;
	bool		is_system;		/* one of dlt's own */
	bool		truncated;		/* the package's refresh empties it first */
	const char *made_as;		/* its name until the one whose place it takes is gone; NULL */
	LdrWay		way;
	bool		truncates;		/* its rows can only go by TRUNCATE (refill and empty) */
	const char *strategy;		/* of the disposition, by dlt's name; NULL: none */
	const char *reason;			/* why it is not swapped; NULL */
} LdrPlanTable;

/* A table that the package's refresh drops, at the end of publish. */
typedef struct LdrPlanDrop
{
	const char *name;
	Oid			relid;
} LdrPlanDrop;

typedef struct LdrPlan
{
	const LdrSchema *schema;
	char	   *dataset;
	Oid			namespace;		/* InvalidOid: publish creates it */
	LdrPlanTable *tables;
	int			ntables;
	LdrPlanDrop *drops;			/* tables that exist and are to be dropped */
	int			ndrops;
	bool		creates;		/* publish has DDL to do */
	bool		migrates;		/* nullable columns of existing tables are to be added */
} LdrPlan;

/*
 * Compare, in the current transaction, dlt's own tables, the tables with jobs (List of char *),
 * the other tables of their chains where those are replaced or merged, and what the package's
 * refresh drops or truncates. Allocated in the current context. Raises an error for types that
 * PostgreSQL does not have.
 */
extern LdrPlan *ldr_plan_make(const LdrSchema *schema, const LdrPackageState *state,
							  const char *dataset, List *job_tables);

/* The same for the staging dataset: dlt's table of versions, and these tables. */
extern LdrPlan *ldr_plan_staging(const LdrSchema *schema, const char *staging, List *tables);
extern LdrPlanTable *ldr_plan_table(const LdrPlan *plan, const char *name);

/* A table's chain as far as the plan has it, every parent before its children. *n tables. */
extern LdrPlanTable **ldr_plan_chain(const LdrPlan *plan, const LdrSchemaTable *root, int *n);

/* Is the change one for migrate, that is, a nullable column of a table that exists? */
extern bool ldr_change_migrates(const LdrChange *change);

/* The DDL of a change or of the dataset's schema, as SQL text. */
extern char *ldr_change_sql(const char *dataset, const LdrChange *change, bool create_indexes);
extern char *ldr_dataset_sql(const char *dataset);

/*
 * Run one statement of ours on the user's tables through SPI, as the current role and with its
 * search_path, since triggers fire in it: so everything in it has to be qualified. Returns the
 * number of rows; expect is the SPI result code.
 */
extern uint64 ldr_sql_execute(const char *sql, int nargs, Oid *types, Datum *values, int expect);

/* Does a SELECT of ours find anything, now, whatever the isolation level? */
extern bool ldr_sql_finds(const char *sql, int nargs, Oid *types, Datum *values);

#endif							/* LDR_PLAN_H */
