/*
 * worker/start.c: from a package in the catalog to a process that works on it.
 *
 * A worker is registered before the caller commits, since nothing may fail in a commit callback;
 * it waits for the caller's transaction and leaves quietly if that left no package behind. If no
 * process slot is free the package stays as it is, and the next start, scan, wait, the launcher,
 * or a coordinator that ends picks it up: nothing spins.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "fault.h"
#include "loader.h"
#include "worker/worker.h"

/* Starts of this transaction, one entry per subtransaction level that has some. */
static List *pending = NIL;		/* of SubTransactionId */
static bool scout_here = false; /* one waits for the end of this transaction */
static int	started_here = 0;	/* workers that wait for the end of this transaction */

/* PREPARE TRANSACTION would leave the worker waiting for who knows how long. */
static void
start_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && pending != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has started a package"),
				 errhint("Start the package in a transaction of its own.")));
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PARALLEL_PRE_COMMIT &&
		event != XACT_EVENT_PRE_PREPARE)
	{
		pending = NIL;			/* its memory goes with the transaction */
		started_here = 0;
		scout_here = false;
	}
}

static void
start_subxact_callback(SubXactEvent event, SubTransactionId sub, SubTransactionId parent, void *arg)
{
	ListCell   *lc;

	if (event == SUBXACT_EVENT_ABORT_SUB)
		pending = list_delete_int(pending, (int) sub);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		foreach(lc, pending)
			if (lfirst_int(lc) == (int) sub)
			lfirst_int(lc) = (int) parent;
}

static void
start_register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(start_xact_callback, NULL);
	RegisterSubXactCallback(start_subxact_callback, NULL);
	registered = true;
}

static void
start_remember(void)
{
	MemoryContext old;

	start_register_callbacks();
	old = MemoryContextSwitchTo(TopTransactionContext);
	pending = list_append_unique_int(pending, (int) GetCurrentSubTransactionId());
	MemoryContextSwitchTo(old);
}

/* Register a worker. NULL if the server has no slot for one. */
BackgroundWorkerHandle *
ldr_worker_start(const LdrWorkerArg *arg)
{
	LdrWorkerArg copy = *arg;
	static const char *const names[] = {"coordinator", "job worker", "scout"};
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "loader", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "loader_worker_main", BGW_MAXLEN);
	if (arg->package_id != 0)
		snprintf(worker.bgw_name, BGW_MAXLEN, "loader %s for package " INT64_FORMAT,
				 names[arg->kind], arg->package_id);
	else
		snprintf(worker.bgw_name, BGW_MAXLEN, "loader %s", names[arg->kind]);
	snprintf(worker.bgw_type, BGW_MAXLEN, "loader %s", names[arg->kind]);
	strlcpy(copy.version, ldr_library_version, sizeof(copy.version));
	memcpy(worker.bgw_extra, &copy, sizeof(copy));
	LDR_FAULT("worker to be started");
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

/* What a package's coordinator is told; asked: see there. */
static LdrWorkerArg
start_coordinator_arg(const LdrPackage *package, bool asked)
{
	LdrWorkerArg arg = {0};

	arg.kind = LDR_COORDINATOR;
	arg.db = MyDatabaseId;
	arg.role = package->role;
	arg.package_id = package->package_id;
	arg.asked = asked;
	return arg;
}

/*
 * Start a package's coordinator; same_transaction if the catalog change is not committed yet, asked
 * if a user wants this very package, so that it is no resumption.
 */
BackgroundWorkerHandle *
ldr_package_start(const LdrPackage *package, bool same_transaction, bool asked)
{
	LdrWorkerArg arg = start_coordinator_arg(package, asked);
	BackgroundWorkerHandle *handle;

	if (!same_transaction)
		return ldr_worker_start(&arg);

	/* more would only wait beside these, and take processes from others: they are started later */
	if (started_here >= ldr_max_workers)
		return NULL;
	arg.caller_xid = GetTopTransactionId();
	start_remember();
	handle = ldr_worker_start(&arg);
	if (handle)
		started_here++;
	return handle;
}

/* Start the worker of a sync that this session will feed, when the transaction has committed. */
BackgroundWorkerHandle *
ldr_sync_start(const LdrPackage *package, dsm_handle feed)
{
	LdrWorkerArg arg = start_coordinator_arg(package, true);

	arg.segment = feed;
	arg.caller_xid = GetTopTransactionId();
	start_remember();
	return ldr_worker_start(&arg);
}

/*
 * Start whatever was started before, has not ended, does not run, and need not wait for another
 * package; no more than there are slots. Returns how many. Caller is in a transaction; with
 * same_transaction its own changes make them startable, so workers wait for its end. left, if not
 * NULL, gets the coordinator that the server had no process for; what it held before, if none.
 */
int
ldr_start_waiting(bool same_transaction, LdrWorkerArg *left)
{
	int			room = ldr_max_workers - ldr_progress_running();
	int			n = 0;
	ListCell   *lc;

	/* in recovery no worker starts; a request would only take a place in the postmaster's list */
	if (room <= 0 || RecoveryInProgress())
		return 0;
	/* those that run are among them */
	foreach(lc, ldr_package_startable((int64) GetSystemIdentifier(), MyDatabaseId,
									  ldr_max_workers + room))
	{
		int64		id = *(int64 *) lfirst(lc);
		LdrPackage *package;

		if (ldr_progress_is_running(id))
			continue;
		package = ldr_package_get(id, true);
		if (package == NULL)
			continue;
		/* started by this very transaction: its worker is there, and waits for the commit */
		if (!same_transaction && TransactionIdIsCurrentTransactionId(package->xmin))
			continue;
		if (ldr_package_start(package, same_transaction, false) == NULL)
		{
			if (left)
				*left = start_coordinator_arg(package, false);
			break;
		}
		if (++n >= room)
			break;
	}
	return n;
}

/* Do packages wait here that nothing holds back, while none runs? Caller is in a transaction. */
bool
ldr_start_stands(void)
{
	return !ldr_progress_here() &&
		ldr_package_startable((int64) GetSystemIdentifier(), MyDatabaseId, 1) != NIL;
}

/*
 * This transaction keeps a package's lock to its end: a worker that meets it leaves, and starts
 * nobody else. So somebody has to look for work when the transaction ends, whichever way. (One that
 * resumes a package has a worker waiting for it, which does that.)
 */
void
ldr_scout_at_end(void)
{
	LdrWorkerArg arg = {0};

	if (scout_here)
		return;
	start_register_callbacks();
	arg.kind = LDR_SCOUT;
	arg.db = MyDatabaseId;
	arg.role = BOOTSTRAP_SUPERUSERID;
	arg.caller_xid = GetTopTransactionId();
	scout_here = ldr_worker_start(&arg) != NULL;
}

/*
 * Mark a package as started, and start it if its turn has come and there may be a slot. Returns
 * whether there may be one for the next.
 */
bool
ldr_package_begin(LdrPackage *package, bool slots)
{
	bool		failed;

	ldr_package_want(package->package_id, package->system_identifier, package->database);
	LDR_FAULT("package wanted");
	if (!slots || ldr_package_blocker(package->package_id, &failed) != 0)
		return slots;
	return ldr_package_start(package, true, true) != NULL;
}
