/*
 * publish/publish.h: from a registered package to what readers see.
 */
#ifndef LDR_PUBLISH_H
#define LDR_PUBLISH_H

#include "catalog/loader_catalog.h"
#include "options.h"
#include "schema/plan.h"
#include "source/package.h"
#include "worker/load.h"

/* A package that is being loaded, for the life of one attempt. */
typedef struct LdrRun
{
	MemoryContext cxt;			/* where all of it lives */
	LdrPackage *package;
	LdrPackageDir *dir;
	LdrOptions *options;
	List	   *jobs;			/* of LdrJob that load files, in order */
	List	   *followups;		/* of LdrJob that follow for chains */
	TimestampTz started_at;
	LdrJob	   *job;			/* in hand, for whoever reports an error; NULL: none */
	TimestampTz job_started_at;
	List	   *stats;			/* of LdrTableStats */
	bool		staged;			/* by transactions before publish */
	uint64		bytes;			/* of all files of jobs */
	int			workers;		/* processes that may load for it at a time; 0 or 1: only this one */
	bool		alone;			/* the others wait for this one */
	bool		builds_indexes; /* after all jobs: of tables that are filled without entries */
	Oid			unindexed;		/* the one in work, Invalid: none; */
	LdrJob	   *unindexed_by;	/* ... and the last job that has put rows into it */
	bool		trusting;		/* no row is expected to be bad: see try.c */
} LdrRun;

/* publish.c: the transactions */

/* Bytes of the files of all jobs of a table (NULL: of all tables), as they are. */
extern uint64 ldr_run_bytes(const LdrRun *run, const char *table_name);

/* The one transaction of an atomic package: everything, or nothing. */
extern void ldr_publish(LdrRun *run);

/* A commit under strong locks; how long they were held since that time, in microseconds. */
extern int64 ldr_publish_commit(TimestampTz locked_at);

/* The first and the last transaction of a package whose jobs commit one by one. */
extern bool ldr_publish_tables(LdrRun *run); /* false: it was loaded already, all is done */
extern void ldr_publish_end(LdrRun *run);

/*
 * The next job of those that commit by themselves: of all, or (staged_only) of those whose rows
 * wait for publish. False if there is none left that nobody works on.
 */
extern bool ldr_publish_next_job(LdrRun *run, bool staged_only);

/*
 * In job mode, in the client's session and the transaction that the caller has begun: the rows of
 * a job, of its file or by a statement, into its table or its staging table; and what follows for
 * the chain of run->jobs, which are staged.
 */
extern void ldr_publish_job(LdrRun *run, LdrJob *job, bool staging, const char *statement);
extern void ldr_publish_chain(LdrRun *run);

/* create.c: DDL */

/* New nullable columns of existing tables, in a short transaction of its own. */
extern void ldr_migrate(LdrRun *run);

/* New tables and NOT NULL columns. Returns the plan as it is then, with ways chosen. */
extern LdrPlan *ldr_create_tables(LdrRun *run);

/*
 * What the package's refresh drops goes last: these relations want AccessExclusiveLock; then they
 * are dropped, and the tables that take their places get their names.
 */
extern List *ldr_create_dropped(const LdrPlan *plan);
extern void ldr_create_finish_drops(LdrRun *run, const LdrPlan *plan);

/* Schema, tables and columns of the staging dataset for these tables (List of LdrSchemaTable). */
extern LdrPlan *ldr_create_staging(LdrRun *run, const LdrPlan *plan, List *tables);

/*
 * Without a package: lock the tables that a plan changes (then plan again); its schema, tables and
 * columns, as far as they are not there; a schema alone.
 */
extern void ldr_create_lock(const LdrPlan *plan);
extern void ldr_create_plan(LdrPlan *plan, bool create_indexes);
extern void ldr_create_schema(const char *dataset);

/*
 * May code of this owner run as the role? A superuser has every role's rights, which is no reason
 * to trust it; that of the dataset's owner runs anyway.
 */
extern bool ldr_create_trusts(Oid owner, Oid dataset);

/* The name of the package's staging dataset. Raises 42602 if it cannot be used. */
extern char *ldr_run_staging(const LdrRun *run);

/* The plan for the package's dataset, in the current transaction. */
extern LdrPlan *ldr_run_plan(const LdrRun *run);
extern LdrTableStats *ldr_run_stats(LdrRun *run, const LdrSchemaTable *table);

/* ways.c */
extern void ldr_ways_choose(LdrPlan *plan, const LdrOptions *options);
extern const char *ldr_way_stage(LdrWay way);	/* LDR_STAGE_*, NULL: none */
extern const char *ldr_replace_strategy(const LdrSchemaTable *root, const LdrOptions *options);

/* try.c: the files of a table as if none of their rows were bad */

typedef enum LdrTry
{
	LDR_TRY_TRUSTING,			/* run->trusting: rows are not guarded */
	LDR_TRY_GUARDED				/* they are; what an index says at the end is of no single one */
} LdrTry;

/*
 * What fn loads into a table, in a subtransaction; its memory lives as long as the caller's. False
 * if that was undone, as a row may have been bad; other errors are raised.
 */
typedef void (*LdrTryFn) (LdrRun *run, void *arg);
extern bool ldr_run_try(LdrRun *run, const char *table_name, LdrTry how, LdrTryFn fn, void *arg);

/*
 * Is it worth that, for rows that may be refused? And after it was undone: empty a table that is
 * new, down to its files. Caller holds RowExclusiveLock, or has made the table.
 */
extern bool ldr_run_may_try(const LdrRun *run, const char *table_name, Oid relid);
extern void ldr_run_untry(Oid relid);

/* stage.c: rows that wait for publish */

/* Are there so many that they are worth transactions and workers of their own? */
extern bool ldr_stage_pays(const LdrRun *run);

/*
 * Staging tables of the plan, there and empty, unless rows of this package are in them already;
 * jobs that have to run again become new. Part of the transaction that the caller has begun.
 */
extern void ldr_stage_prepare(LdrRun *run, const LdrPlan *plan);

/*
 * The same in a transaction of its own, after which workers can claim jobs. False: loaded already.
 */
extern bool ldr_stage_begin(LdrRun *run);

/*
 * The package's staging table of that name, locked for rows. Raises 40001 if it was dropped, or
 * taken over by another package.
 */
extern Oid	ldr_stage_hold(const LdrRun *run, const char *table_name);

/* Load a claimed job, in the current transaction; for a swap heap all jobs of its table. */
extern void ldr_stage_job(LdrRun *run, LdrJob *job, const char *stage);

/* The heap of the table that this package has filled; NULL: none. */
extern LdrStage *ldr_stage_heap(const LdrRun *run, const char *table_name);

/* An empty heap for a table that gets no rows. */
extern void ldr_stage_empty_heap(LdrRun *run, const LdrPlanTable *t);

/*
 * In job mode: the staging table of that name becomes the package's, and empty, unless it is its
 * own already; another load in job mode stages again what it loses by that. Raises 42P01 if there is
 * none, 42501 to who does not own it, 55P03 if it belongs to a package that workers load.
 */
extern Oid	ldr_stage_claim(LdrRun *run, const char *table_name);

/* Is each table staged as the plan wants it? Raises 40001 if not. */
extern void ldr_stage_check(LdrRun *run, const LdrPlan *plan);

/*
 * Lock the staging tables of the package against being dropped, until the end of the transaction:
 * before they are read. An error that is tried again if one is not the one that was made for it.
 */
extern void ldr_stage_lock(const LdrRun *run);

/* Give up what the package has staged. Jobs that were completed there become new. */
extern void ldr_stage_release(int64 package_id);

/* In publish: the staging tables are no longer the package's. */
extern void ldr_stage_release_staging(int64 package_id);

/* Drop what is left of packages that have ended. Caller is in a transaction. */
extern void ldr_stage_sweep(void);

/* follow.c: what follows for chains: merges and replaces, and the end of a publish */
extern void ldr_follow(LdrRun *run, const LdrPlan *plan);

/*
 * For statements that hash all of what is staged, whole rows of it, and join that with all of the
 * target: as much memory as for an index, else large targets would go to disk and back. Until the
 * end of the GUC nest level, or of the transaction.
 */
extern void ldr_follow_set_memory(void);

extern void ldr_follow_truncates(LdrRun *run, const LdrPlan *plan);
extern List *ldr_follow_prepare_swaps(LdrRun *run, const LdrPlan *plan);
extern List *ldr_follow_roots(const LdrPackageDir *dir);
extern LdrJob *ldr_follow_job(const char *load_id, const LdrSchemaTable *root);
extern List *ldr_follow_truncated(const LdrPlan *plan, List *followed);

/* load one job's file into its table in the current transaction, and mark it completed */
extern void ldr_run_job(LdrRun *run, LdrJob *job, Oid relid, Oid into, bool trial);
extern void ldr_run_job_begin(LdrRun *run, LdrJob *job);

/* system.c: dlt's own tables, as the current role */
extern bool ldr_system_is_loaded(const LdrSchema *schema, const char *dataset, const char *load_id);
extern void ldr_system_record(const LdrRun *run);
extern void ldr_system_record_load(const LdrRun *run);
extern void ldr_system_forget_versions(const LdrSchema *schema, const char *dataset);
extern bool ldr_system_knows_version(const LdrSchema *schema, const char *dataset,
									 const char *version_hash);
extern void ldr_system_record_version(const LdrSchema *schema, const char *dataset,
									  const char *version_hash, const char *text, size_t len);
extern void ldr_system_record_staging(const LdrRun *run, List *tables);

#endif							/* LDR_PUBLISH_H */
