/*
 * worker/worker.h: the processes that do the work.
 *
 *	coordinator   one per package, as long as the package: worker/coordinator.c
 *	job worker    helps a package whose jobs commit one by one: worker/job.c
 *	launcher      with shared_preload_libraries: goes on with what a restart interrupted
 *
 * A worker gets ids, never work: the tables say what to do.
 */
#ifndef LDR_WORKER_H
#define LDR_WORKER_H

#include "catalog/loader_catalog.h"
#include "options.h"
#include "postmaster/bgworker.h"
#include "source/package.h"
#include "storage/dsm.h"

typedef enum LdrWorkerKind
{
	LDR_COORDINATOR,
	LDR_JOB_WORKER,
	LDR_SCOUT					/* looks whether a database has packages to go on with */
} LdrWorkerKind;

/* Travels in bgw_extra. */
typedef struct LdrWorkerArg
{
	char		version[16];	/* of the library that starts it; first, whatever the version */
	LdrWorkerKind kind;
	Oid			db;
	Oid			role;
	int64		package_id;
	TransactionId caller_xid;	/* wait for its end first; invalid: none */
	bool		asked;			/* somebody asks for this package now; else it was found waiting */
	dsm_handle	segment;		/* 0: none; of a sync's feed; of a scout's errand */
} LdrWorkerArg;

StaticAssertDecl(sizeof(LdrWorkerArg) <= BGW_EXTRALEN, "must fit into bgw_extra");

/* start.c: from the tables to a process */
extern BackgroundWorkerHandle *ldr_worker_start(const LdrWorkerArg *arg);
extern BackgroundWorkerHandle *ldr_package_start(const LdrPackage *package, bool same_transaction,
												 bool asked);
extern BackgroundWorkerHandle *ldr_sync_start(const LdrPackage *package, dsm_handle feed);
extern int	ldr_start_waiting(bool same_transaction, LdrWorkerArg *left);
extern bool ldr_start_stands(void);
extern void ldr_scout_at_end(void);
extern bool ldr_package_begin(LdrPackage *package, bool slots);

/* locks.c: what dies with the process */
extern bool ldr_slot_acquire(void);
extern void ldr_slot_release(void);
extern int	ldr_slots_take(int n);
extern void ldr_slots_give(int n);
extern bool ldr_package_lock(int64 package_id, bool session, bool wait);
extern void ldr_package_unlock(int64 package_id);
extern void ldr_package_lock_keep(void);
extern bool ldr_package_locked_by_transaction(void);
extern void ldr_job_lock(int64 package_id);
extern void ldr_enter_lock(int64 package_id);
extern bool ldr_job_lock_idle(int64 package_id, bool keep);
typedef enum LdrDatasetLock
{
	LDR_DATASET_CREATE,			/* to create it, with dlt's own tables: until that is committed */
	LDR_DATASET_RECORD			/* to write to those: for the last moment of a load */
} LdrDatasetLock;

extern void ldr_dataset_lock(const char *dataset, LdrDatasetLock which);
extern bool ldr_scan_lock(const char *directory);
extern void ldr_feed_lock(int64 package_id);
extern void ldr_feed_unlock(int64 package_id);
extern bool ldr_feed_is_gone(int64 package_id);
extern bool ldr_stream_lock(const char *dataset, const char *table);
extern void ldr_streams_unlock(void);
extern void ldr_hunger_begin(void);
extern void ldr_hunger_end(void);
extern bool ldr_others_hunger(void);

/* environment.c: identity and settings */
extern char *ldr_environment_collect(void);
extern void ldr_environment_apply(const char *json);
extern void ldr_role_assume(Oid role);
extern void ldr_xact_begin(void);
extern void ldr_xact_commit(void);
extern void ldr_xact_abort(void);

/* progress.c: what runs now */
typedef enum LdrPhase
{
	LDR_PHASE_START,
	LDR_PHASE_MIGRATE,
	LDR_PHASE_LOAD,
	LDR_PHASE_PUBLISH,
	LDR_PHASE_RETRY,
	LDR_PHASE_LOCKS
} LdrPhase;

/* what a process is to the package: only a coordinator and its helpers are workers of ours */
typedef enum LdrProgressRole
{
	LDR_ROLE_HELPER,
	LDR_ROLE_COORDINATOR,
	LDR_ROLE_SESSION			/* a client's, in job mode */
} LdrProgressRole;

extern void ldr_progress_begin(int64 package_id, Oid role, LdrProgressRole as);
extern void ldr_progress_totals(int jobs, uint64 bytes);
extern LdrPhase ldr_progress_phase(LdrPhase phase);
extern void ldr_progress_job(int ordinal);
extern void ldr_progress_rows(uint64 rows, uint64 bytes);
extern void ldr_progress_job_done(uint64 rows, uint64 bytes);
extern void ldr_progress_rewind(void);
/* how far it is, to come back to when what follows is undone */
typedef struct LdrProgressMark
{
	uint64		rows;
	uint64		bytes;
	int64		jobs;
} LdrProgressMark;

extern LdrProgressMark ldr_progress_mark(void);
extern void ldr_progress_back(const LdrProgressMark *mark);
extern void ldr_progress_show(void);
extern void ldr_progress_end(void);
extern int	ldr_progress_running(void);
extern bool ldr_progress_is_running(int64 package_id);
extern bool ldr_progress_here(void);
extern bool ldr_progress_has_helpers(int64 package_id);
extern bool ldr_progress_snapshot(int64 package_id, char *line, size_t size);

/* retry.c */
extern bool ldr_error_is_transient(const ErrorData *edata);
extern void ldr_retry_wait(int attempt, int64 package_id, int64 gone_by);

/* rate.c: loader.max_rate */
extern void ldr_rate_begin(void);
extern void ldr_rate_pace(uint64 *paced, uint64 consumed);

/* coordinator.c */
extern int64 ldr_worker_package;	/* the package this process works for, 0 if none */
extern void ldr_check_cancel(void);
extern void ldr_notify(int64 package_id, const char *state);
extern PGDLLEXPORT void loader_worker_main(Datum main_arg);
extern LdrPackage *ldr_worker_fetch(const LdrWorkerArg *arg);
extern void ldr_worker_become(LdrPackage *package);
extern void ldr_coordinator_run(const LdrWorkerArg *arg);

/* job.c */
struct LdrRun;
extern void ldr_jobs_run(struct LdrRun *run, bool staged_only);
extern void ldr_job_worker_run(const LdrWorkerArg *arg);

/* launcher.c */
extern void ldr_launcher_register(void);
extern void ldr_launcher_wake(void);
extern void ldr_errand_leave(dsm_handle segment, const LdrWorkerArg *left);
extern PGDLLEXPORT void loader_launcher_main(Datum main_arg);

#endif							/* LDR_WORKER_H */
