/*
 * schema/plan.h: the package's tables against the live ones.
 */
#ifndef LDR_PLAN_H
#define LDR_PLAN_H

#include "nodes/pg_list.h"
#include "schema/schema.h"

typedef struct LdrPlanTable
{
	const LdrSchemaTable *table;
	Oid			relid;			/* InvalidOid: publish creates it */
	LdrChange  *changes;
	int			nchanges;
	bool		has_jobs;
	bool		is_system;		/* one of dlt's own */
} LdrPlanTable;

typedef struct LdrPlan
{
	char	   *dataset;
	Oid			namespace;		/* InvalidOid: publish creates it */
	LdrPlanTable *tables;
	int			ntables;
	bool		creates;		/* publish has DDL to do */
	bool		migrates;		/* nullable columns of existing tables are to be added */
} LdrPlan;

/*
 * Compare, for the tables with jobs (List of char *) and dlt's own, in the current transaction.
 * Allocated in the current context. Raises an error for types that PostgreSQL does not have.
 */
extern LdrPlan *ldr_plan_make(const LdrSchema *schema, const char *dataset, List *job_tables);
extern LdrPlanTable *ldr_plan_table(const LdrPlan *plan, const char *name);

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
