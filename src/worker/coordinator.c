/*
 * worker/coordinator.c: the process that brings one package in.
 *
 *	wait for the caller's transaction -> slot -> package lock -> queue -> attempts -> next package
 *
 * The package lock is a session lock: whoever holds it is the package's only coordinator, and any
 * death frees it. States are stored with the commit that makes them true; what failed is recorded
 * in a transaction of its own, after the abort.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/async.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "publish/publish.h"
#include "source/path.h"
#include "source/spool.h"
#include "worker/feed.h"
#include "worker/sync.h"
#include "worker/worker.h"

#define CANCEL_LOOK_MS	500		/* between two looks at cancel_requested */
#define SCOUT_LOCK_TIMEOUT	"1s"

int64		ldr_worker_package = 0;
static dsm_handle coordinator_feed = 0; /* that this process has attached to */

/* Raise 57014 if somebody asked to cancel the package in hand. Cheap enough for a loop. */
void
ldr_check_cancel(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext cxt;
	bool		asked;

	if (ldr_worker_package == 0 || !TimestampDifferenceExceeds(last, now, CANCEL_LOOK_MS))
		return;
	last = now;
	ldr_package_lock_keep();
	cxt = AllocSetContextCreate(CurrentMemoryContext, "loader cancel", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(cxt);
	asked = ldr_package_cancel_requested(ldr_worker_package);
	MemoryContextSwitchTo(MemoryContextGetParent(cxt));
	MemoryContextDelete(cxt);
	if (asked)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("package " INT64_FORMAT " was cancelled", ldr_worker_package)));
}

/* Every role can read a NOTIFY: ids and states only. */
void
ldr_notify(int64 package_id, const char *state)
{
	Async_Notify("loader", psprintf("{\"package_id\": " INT64_FORMAT ", \"state\": \"%s\"}",
									package_id, state));
}

/*
 * A session that began before the library was replaced has another one than a worker that it starts,
 * and means something else by what it hands over.
 */
static void
worker_check_version(LdrWorkerArg *arg)
{
	arg->version[sizeof(arg->version) - 1] = '\0';
	if (strcmp(arg->version, ldr_library_version) != 0)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("library loader has version %s, but this worker was started by version %s",
						ldr_library_version, arg->version),
				 errhint("Let sessions that began before the library was replaced reconnect.")));
}

/*
 * Start what waits here, if there are slots. Returns whether some does and none runs; left, if not
 * NULL, is what the server had no process for.
 */
static bool
worker_start_here(LdrWorkerArg *left)
{
	bool		stands = false;

	StartTransactionCommand();
	if (ldr_catalog_exists())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		(void) ldr_start_waiting(false, left);
		stands = ldr_start_stands();
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	return stands;
}

/*
 * Have the next slot that anybody leaves, for one package of this database: who ends a package starts
 * the next one of its own, so a long queue there would keep others waiting until it is done. While
 * somebody is hungry it does not, and is hungry then, too, so that databases take turns. There is a
 * bound, for the launcher waits for us. Who can leave word of what there was no process for ends
 * with that: left, else NULL.
 */
static void
worker_hunger(LdrWorkerArg *left)
{
	TimestampTz until;
	long		pause = 50;

	pgstat_report_activity(STATE_RUNNING, "waiting for a place");
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_SESSION);
	StartTransactionCommand();
	ldr_hunger_begin();
	CommitTransactionCommand();
	until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										ldr_launcher_naptime * INT64CONST(1000));
	/* until it runs: a slot that is only free might be taken by somebody else */
	while (worker_start_here(left) && GetCurrentTimestamp() < until &&
		   (left == NULL || left->package_id == 0))
	{
		pause = Min(pause * 2, 1000);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	ldr_hunger_end();
}

/*
 * Start what waits in this database, with all that has to be looked after. The launcher waits for us,
 * and after us are other databases: where somebody has locked our catalog for long, leave. The last
 * process that the server had may be ours; then the launcher starts what we would have.
 */
static void
worker_scout(const LdrWorkerArg *arg)
{
	bool		is_of_launcher = !TransactionIdIsValid(arg->caller_xid);
	bool		starved = false;
	LdrWorkerArg left = {0};

	if (is_of_launcher)
		SetConfigOption("lock_timeout", SCOUT_LOCK_TIMEOUT, PGC_SUSET, PGC_S_SESSION);
	StartTransactionCommand();
	if (ldr_catalog_exists())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		LDR_FAULT("scout looks");
		starved = ldr_start_waiting(false, &left) == 0 && ldr_start_stands();
		(void) ldr_package_sweep(ldr_retention, ldr_reject_retention);
		ldr_stage_sweep();
		PopActiveSnapshot();
	}
	LDR_FAULT("scout sweeps the spool");
	ldr_spool_sweep();			/* without the extension nobody needs what it left */
	CommitTransactionCommand();
	if (!starved || !is_of_launcher)
		return;
	if (left.package_id == 0)
		worker_hunger(&left);
	if (left.package_id != 0)
		ldr_errand_leave(arg->segment, &left);
}

/* The entry of every dynamic worker. */
void
loader_worker_main(Datum main_arg)
{
	LdrWorkerArg arg;

	memcpy(&arg, MyBgworkerEntry->bgw_extra, sizeof(arg));
	worker_check_version(&arg);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	ldr_worker_connect(arg.db, arg.role);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_SESSION);
	if (GetConfigOption("transaction_timeout", true, false))
		SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_SESSION);

	LDR_FAULT("worker connected");
	StartTransactionCommand();
	if (TransactionIdIsValid(arg.caller_xid))
		XactLockTableWait(arg.caller_xid, NULL, NULL, XLTW_None);
	CommitTransactionCommand();

	LDR_FAULT("worker let go");
	if (arg.kind == LDR_COORDINATOR)
		ldr_coordinator_run(&arg);
	else if (arg.kind == LDR_JOB_WORKER)
		ldr_job_worker_run(&arg);
	else
		worker_scout(&arg);
}

/*
 * The package, if it is still ours to work on. Runs before the role is assumed; only our own
 * catalog is read. Result lives in the caller's context.
 */
LdrPackage *
ldr_worker_fetch(const LdrWorkerArg *arg)
{
	MemoryContext cxt = CurrentMemoryContext;
	LdrPackage *package = NULL;

	StartTransactionCommand();
	MemoryContextSwitchTo(cxt);
	if (ldr_catalog_exists())
		package = ldr_package_get(arg->package_id, true);
	if (package && (!package->wanted || package->role != arg->role ||
					package->database != MyDatabaseId ||
					package->system_identifier != (int64) GetSystemIdentifier() ||
					get_role_oid(package->role_name, true) != package->role ||
					ldr_package_has_ended(package)))
		package = NULL;
	CommitTransactionCommand();
	MemoryContextSwitchTo(cxt);
	LDR_FAULT("package fetched");
	return package;
}

/*
 * Wait in the queue without waiting: true if it is our turn, with the package lock held. If an
 * earlier package is in the way, leave; its coordinator starts us when it ends. It may have ended
 * between our look and our leaving, and the worker that it started for us have met our lock: so
 * look again with the lock let go.
 */
static bool
coordinator_is_our_turn(const LdrPackage *package)
{
	int64		package_id = package->package_id;
	bool		failed;
	int64		blocker;

	for (int look = 0; look < 2; look++)
	{
		ldr_xact_begin();
		blocker = ldr_package_blocker(package_id, &failed);
		ldr_xact_commit();
		if (blocker == 0 && look == 0)
			return true;
		if (blocker != 0 && look != 0)
			return false;
		if (look == 0)
			ldr_package_unlock(package_id);
	}
	return ldr_package_lock(package_id, true, false);
}

/* One beginning more, committed before the work. */
static void
coordinator_count(const LdrPackage *package, bool flush)
{
	ldr_xact_begin();
	if (!flush)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	ldr_package_count_attempt(package->package_id);
	LDR_FAULT("beginning counted");
	if (package->attempts > 0)
		ldr_event(package->package_id, "started", NULL, "Beginning %d, after an interruption.",
				  package->attempts + 1);
	ldr_xact_commit();
}

/* The package fails before it has begun. */
static void
coordinator_fail(const LdrPackage *package, ErrorData *edata)
{
	ldr_xact_begin();
	LDR_FAULT("failed before it began");
	ldr_package_failed(package->package_id, "failed", GetCurrentTimestamp(), edata);
	ldr_stage_release(package->package_id);
	ldr_event(package->package_id, "failed", NULL, "%s", edata->message);
	ldr_notify(package->package_id, "failed");
	ldr_xact_commit();
}

static void
coordinator_give_up(const LdrPackage *package)
{
	ErrorData	edata = {0};

	edata.sqlerrcode = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	edata.message = psprintf("package was interrupted %d times", package->attempts);
	edata.detail = "loader.retry_attempts is exhausted.";
	edata.hint = "Look into the server's log for what ended its workers, then call loader_resume.";
	coordinator_fail(package, &edata);
}

/*
 * Is the session that feeds the sync there? If not, nobody can go on with it: it has failed. If it
 * is, but not with us, the worker that it waits for is on its way.
 */
static bool
coordinator_is_fed(const LdrPackage *package)
{
	ErrorData	edata = {0};
	bool		gone;

	if (coordinator_feed != 0)
		return true;
	ldr_xact_begin();
	gone = ldr_feed_is_gone(package->package_id);
	ldr_xact_commit();
	edata.sqlerrcode = ERRCODE_CONNECTION_FAILURE;
	edata.message = "the session that sent the messages has gone";
	edata.detail = "The sync was interrupted, and its worker with it.";
	edata.hint = "Open a new sync; the source goes on from the last state "
		"(loader_airbyte_states).";
	if (gone)
		coordinator_fail(package, &edata);
	return false;
}

/* A session waits for this worker, so it cannot wait for a slot. */
static void
coordinator_refuse_sync(const LdrWorkerArg *arg)
{
	ErrorData	edata = {0};
	LdrPackage *package = coordinator_feed != 0 ? ldr_worker_fetch(arg) : NULL;

	if (package == NULL)
		return;
	ldr_worker_become(package);
	edata.sqlerrcode = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
	edata.message = psprintf("all %d workers of loader are busy", ldr_max_workers);
	edata.detail = "A sync cannot wait for one.";
	edata.hint = "Try again later, or raise loader.max_workers.";
	coordinator_fail(package, &edata);
	ldr_feed_detach();
}

/*
 * Count this beginning, so that a package that brings the server down ends as failed; false if it
 * did. The first one that a user asked for need not be on disk: if the crash takes it away, the next
 * is the first one that nobody asked for, and that is.
 *
 * After one interruption it goes on at once: a server is restarted for many reasons. After more of
 * them it may be the reason itself, so each time it lets the server in peace for longer.
 */
static bool
coordinator_may_begin(const LdrPackage *package, bool asked)
{
	if (!asked && package->attempts > ldr_retry_attempts + 1)
	{
		coordinator_give_up(package);
		return false;
	}
	if (!asked && package->attempts > 1)
		ldr_retry_wait(package->attempts - 2, package->package_id, package->begun_ms);
	coordinator_count(package, !asked);
	return true;
}

/* An error ends the attempt, so it ends our helpers first: none of them may commit after it. */
static void
coordinator_stop_helpers(BackgroundWorkerHandle **helpers, int n)
{
	for (int i = 0; i < n; i++)
		if (helpers[i])
			TerminateBackgroundWorker(helpers[i]);
	for (int i = 0; i < n; i++)
		if (helpers[i])
			(void) WaitForBackgroundWorkerShutdown(helpers[i]);
}

/* Our own share of the jobs, and then all that helpers leave. */
static void
coordinator_share_jobs(LdrRun *run, bool staged_only, BackgroundWorkerHandle **helpers, int n)
{
	ldr_jobs_run(run, staged_only);
	for (int i = 0; i < n; i++)
		if (helpers[i])
			(void) WaitForBackgroundWorkerShutdown(helpers[i]);

	/*
	 * a coordinator before us, that was ended, may have left its helpers: they go on with their
	 * jobs
	 */
	while (ldr_progress_has_helpers(run->package->package_id) ||
		   !ldr_job_lock_idle(run->package->package_id, false))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	LDR_FAULT("helpers gone");
	/* what a helper left unfinished, because it died or found no slot */
	ldr_jobs_run(run, staged_only);
}

/* Jobs in transactions of their own, by this process and by helpers. */
static void
coordinator_run_jobs(LdrRun *run, bool staged_only)
{
	int			n = Min(run->workers, list_length(run->jobs)) - 1;
	BackgroundWorkerHandle **helpers = palloc0(sizeof(BackgroundWorkerHandle *) * Max(n, 1));
	LdrWorkerArg arg = {0};

	arg.kind = LDR_JOB_WORKER;
	arg.db = MyDatabaseId;
	arg.role = run->package->role;
	arg.package_id = run->package->package_id;
	PG_TRY();
	{
		for (int i = 0; i < n; i++)
			helpers[i] = ldr_worker_start(&arg);
		LDR_FAULT("helpers started");
		coordinator_share_jobs(run, staged_only, helpers, n);
	}
	PG_CATCH();
	{
		coordinator_stop_helpers(helpers, n);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Jobs are done; did all go well? Raises the package's error if not. */
static void
coordinator_check_jobs(LdrRun *run, bool staged_only)
{
	int			unfinished,
				failed;

	ldr_xact_begin();
	ldr_check_cancel();
	ldr_job_counts(run->package->package_id, staged_only, &unfinished, &failed);
	if (failed > 0 && staged_only)
		ldr_job_raise_first(run->package->package_id);
	ldr_xact_commit();
	if (unfinished > 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg_plural("%d job of the package is not finished",
							   "%d jobs of the package are not finished", unfinished,
							   unfinished)));
	if (failed > 0 && !run->options->complete_with_failed_jobs)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg_plural("%d job of the package failed", "%d jobs of the package failed",
							   failed, failed),
				 errdetail("What other jobs append is in their tables, since the package is not "
						   "atomic. Nothing is replaced or merged, and the load is not recorded."),
				 errhint("See loader.jobs for their errors; loader_resume runs the failed jobs "
						 "again.")));
}

/* A file more or less than were registered, and the package is not the one that was meant. */
static void
coordinator_check_files(LdrRun *run)
{
	int			found = list_length(ldr_directory_list(run->dir->jobs_fd, run->dir->jobs_path));

	if (found > list_length(run->jobs)) /* one that is missing says so itself */
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package has %d job files, but %d were registered", found,
						list_length(run->jobs)),
				 errdetail("Directory \"%s\".", run->dir->jobs_path),
				 errhint("Register it anew, with loader_start and its directory.")));
}

/* Stage, if that is worth transactions of its own, and publish all in one. */
static void
coordinator_load_atomic(LdrRun *run)
{
	if (ldr_stage_pays(run))
	{
		run->staged = ldr_stage_begin(run);
		MemoryContextSwitchTo(run->cxt);
		if (run->staged)
		{
			coordinator_run_jobs(run, true);
			coordinator_check_jobs(run, true);
			LDR_FAULT("staged");
			MemoryContextSwitchTo(run->cxt);
			ldr_xact_begin();
			MemoryContextSwitchTo(run->cxt);
			run->jobs = ldr_job_list(run->package->package_id, false);
			ldr_xact_commit();
			MemoryContextSwitchTo(run->cxt);
		}
	}
	LDR_FAULT("before publish");
	run->stats = NIL;			/* those of the jobs are in the catalog */
	ldr_publish(run);
}

static void
coordinator_load_by_job(LdrRun *run)
{
	if (!ldr_publish_tables(run))
		return;
	MemoryContextSwitchTo(run->cxt);
	coordinator_run_jobs(run, false);
	coordinator_check_jobs(run, false);
	LDR_FAULT("jobs committed");
	MemoryContextSwitchTo(run->cxt);
	run->stats = NIL;
	ldr_publish_end(run);
}

static void
coordinator_attempt(LdrRun *run)
{
	if (run->package->catalog)
	{
		ldr_sync_run(run, coordinator_feed != 0);
		return;
	}
	ldr_xact_begin();
	MemoryContextSwitchTo(run->cxt);
	run->options = ldr_options_from_json(run->package->options);
	run->dir = ldr_package_open(run->package->source, &run->package->stamps);
	run->workers = ldr_options_workers(run->options);
	run->jobs = ldr_job_list(run->package->package_id, false);
	run->followups = ldr_job_list(run->package->package_id, true);
	coordinator_check_files(run);
	LDR_FAULT("package opened");
	ldr_xact_commit();
	MemoryContextSwitchTo(run->cxt);
	run->bytes = ldr_run_bytes(run, NULL);
	ldr_progress_totals(list_length(run->jobs), run->bytes);

	ldr_migrate(run);
	LDR_FAULT("migrated");
	MemoryContextSwitchTo(run->cxt);
	if (run->options->atomic)
		coordinator_load_atomic(run);
	else
		coordinator_load_by_job(run);
}

/* Record an attempt that was rolled back. Returns whether there will be another one. */
static bool
coordinator_record_error(LdrRun *run, ErrorData *edata, int attempt)
{
	int64		id = run->package->package_id;
	const char *job_id = run->job ? run->job->job_id : NULL;
	LdrPackage *package;
	bool		cancelled;
	bool		again;
	const char *state;

	ldr_xact_begin();
	LDR_FAULT("error to be recorded");
	package = ldr_package_get(id, true);
	if (package && strcmp(package->state, "loaded") == 0)
	{
		/* what comes after the commit has failed; the log has it */
		ldr_xact_commit();
		return false;
	}
	cancelled = ldr_package_cancel_requested(id) || edata->sqlerrcode == ERRCODE_QUERY_CANCELED;
	again = !cancelled && ldr_error_is_transient(edata) && attempt < ldr_retry_attempts &&
		coordinator_feed == 0;	/* whose messages come once */
	state = cancelled ? "cancelled" : "failed";
	/* an error in a statement of ours does not say which one */
	if (run->job && strcmp(run->job->kind, "load") != 0 && edata->detail == NULL)
		edata->detail = psprintf("It happened in the %s of table \"%s\".", run->job->kind,
								 run->job->table_name);
	if (run->job && !cancelled)
		ldr_job_failed(id, run->job->ordinal, again ? "retry" : "failed", run->job_started_at,
					   edata);
	if (!again)
	{
		/* in this order: helpers may still stage until it has ended */
		ldr_package_failed(id, state, run->started_at, edata);
		ldr_stage_release(id);
		ldr_notify(id, state);
		LDR_FAULT("error recorded");
	}
	ldr_event(id, again ? "retry" : state, job_id, "%s: %s", unpack_sql_state(edata->sqlerrcode),
			  edata->message);
	ldr_xact_commit();
	return again;
}

/* One attempt; true if it has to be made again. */
static bool
coordinator_try(LdrRun *run, int attempt)
{
	volatile bool again = false;

	PG_TRY();
	{
		coordinator_attempt(run);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(run->cxt);
		edata = CopyErrorData();
		EmitErrorReport();
		FlushErrorState();
		/* the job may live in the transaction's memory, which the abort frees */
		if (run->job)
			run->job = ldr_job_copy(run->job);
		ldr_xact_abort();
		MemoryContextSwitchTo(run->cxt);
		ldr_progress_rewind();
		again = coordinator_record_error(run, edata, attempt);
	}
	PG_END_TRY();
	return again;
}

static void
coordinator_load(LdrPackage *package)
{
	MemoryContext parent = CurrentMemoryContext;
	bool		again = true;

	ldr_worker_package = package->package_id;
	for (int attempt = 0; again; attempt++)
	{
		MemoryContext cxt = AllocSetContextCreate(parent, "loader package", ALLOCSET_DEFAULT_SIZES);
		LdrRun	   *run;

		MemoryContextSwitchTo(cxt);
		run = palloc0(sizeof(LdrRun));
		run->cxt = cxt;
		run->package = package;
		run->started_at = GetCurrentTimestamp();
		again = coordinator_try(run, attempt);
		LDR_FAULT("attempt ended");
		MemoryContextSwitchTo(parent);
		MemoryContextDelete(cxt);
		if (again)
			ldr_retry_wait(attempt, package->package_id, 0);
	}
	ldr_worker_package = 0;
}

/* Become the caller: role, then its settings. */
void
ldr_worker_become(LdrPackage *package)
{
	StartTransactionCommand();
	ldr_role_assume(package->role);
	CommitTransactionCommand();
	ldr_xact_begin();
	ldr_environment_apply(package->settings);
	ldr_xact_commit();
}

/*
 * Package lock and slot, or neither. Who was asked for waits for the lock: the caller's
 * transaction, or a coordinator that is about to leave, may hold it for a moment longer. Who just
 * looks for work does not. Without a slot, whoever has one starts us again when it ends; the worker
 * that it starts may meet our lock, so try once more with the lock let go.
 */
static bool
coordinator_enter(const LdrWorkerArg *arg)
{
	if (!ldr_package_lock(arg->package_id, true, arg->asked))
		return false;
	if (ldr_slot_acquire())
		return true;
	ldr_package_unlock(arg->package_id);
	if (ldr_slot_acquire() && ldr_package_lock(arg->package_id, true, false))
		return true;
	ldr_slot_release();
	return false;
}

/* What a loaded package was read from is needed no more, as far as it is ours. */
static void
coordinator_done_with(const LdrPackage *package)
{
	const LdrPackage *now;

	if (package->source == NULL || !ldr_spool_concerns(package->source))
		return;
	now = ldr_package_get(package->package_id, true);
	if (now && strcmp(now->state, "loaded") == 0)
		ldr_spool_done(now->source, now->role);
}

/*
 * Let lock and slot go, and start what waited for this package or for a slot. package is NULL if it
 * was not our turn.
 */
static void
coordinator_leave(int64 package_id, const LdrPackage *package)
{
	LdrWorkerArg left = {0};
	bool		others;

	LDR_FAULT("coordinator leaves");
	ldr_package_unlock(package_id);
	ldr_slot_release();
	ldr_progress_end();
	LDR_FAULT("coordinator let go");
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());	/* the sweeps need one to delete with */
	others = ldr_others_hunger();
	if (!others)
		ldr_start_waiting(false, &left);
	others = others && ldr_start_stands();
	LDR_FAULT("others started");
	(void) ldr_package_sweep(ldr_retention, ldr_reject_retention);
	ldr_stage_sweep();
	if (package)
		coordinator_done_with(package);
	LDR_FAULT("swept");
	ldr_spool_sweep();
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (others)
		worker_hunger(NULL);
	if (left.package_id != 0)
		ldr_launcher_wake();
	LDR_FAULT("coordinator has left");
}

void
ldr_coordinator_run(const LdrWorkerArg *arg)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "loader worker",
											  ALLOCSET_DEFAULT_SIZES);
	LdrPackage *package;

	MemoryContextSwitchTo(cxt);
	if (arg->segment != 0 && ldr_feed_attach(arg->segment))
		coordinator_feed = arg->segment;
	if (!coordinator_enter(arg))
	{
		coordinator_refuse_sync(arg);
		return;
	}
	LDR_FAULT("coordinator entered");
	package = ldr_worker_fetch(arg);
	if (package)
	{
		pgstat_report_activity(STATE_RUNNING, psprintf("loading package " INT64_FORMAT " from %s",
													   package->package_id, package->source
													   ? package->source : "a session"));
		ldr_worker_become(package);
		LDR_FAULT("coordinator became the role");
		MemoryContextSwitchTo(cxt);
		if (strcmp(package->mode, LDR_MODE_STREAM) == 0
			? !coordinator_is_fed(package) : !coordinator_is_our_turn(package))
			package = NULL;
		MemoryContextSwitchTo(cxt);
	}
	if (package)
	{
		ldr_progress_begin(package->package_id, package->role, LDR_ROLE_COORDINATOR);
		if (coordinator_may_begin(package, arg->asked))
			coordinator_load(package);
		MemoryContextSwitchTo(cxt);
	}
	ldr_feed_detach();
	coordinator_leave(arg->package_id, package);
}
