/*
 * worker/launcher.c: goes on with what a restart interrupted.
 *
 * Runs only with shared_preload_libraries. It has no database: for each one that can be connected
 * to it starts a scout, which looks for the extension and for packages that were started and have
 * not ended, starts their coordinators and is gone. Once at the start of the server, and then
 * every loader.launcher_naptime for packages that found no slot. Where the server has one process
 * left, a scout takes it; it says then which coordinator it would have started, and the launcher
 * does. When that ends it looks again at once, so a queue goes on; but one that got nowhere, as
 * somebody has locked its package, say, has to wait for the next round like everything else.
 *
 * A database that is dropped, renamed or closed while it is looked into, or whose catalog somebody
 * has locked or is of another version, costs its own scout and nothing else.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "worker/worker.h"

#define LAUNCHER_TYPE	"loader launcher"
#define NO_SLOT_NAP_MS	1000	/* until one may be free */

/* The last coordinator that was started in place of a scout of this database. */
typedef struct LauncherErrand
{
	Oid			db;
	int64		package_id;
	instr_time	at;
} LauncherErrand;

static List *errands = NIL;		/* of LauncherErrand *, in TopMemoryContext */

/* OIDs of the databases that a scout can look into. Allocated in the current context. */
static List *
launcher_databases(void)
{
	MemoryContext cxt = CurrentMemoryContext;
	List	   *oids = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		if (!db->datallowconn || db->datistemplate || db->datconnlimit < -1)
			continue;
		old = MemoryContextSwitchTo(cxt);
		oids = lappend_oid(oids, db->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	LDR_FAULT("launcher knows the databases");
	MemoryContextSwitchTo(cxt);
	return oids;
}

/* Memory for the coordinator that a scout could not start, as it had the last process itself. */
static dsm_segment *
launcher_errand(void)
{
	dsm_segment *segment = dsm_create(sizeof(LdrWorkerArg), 0);

	dsm_pin_mapping(segment);
	return segment;
}

/* A scout's last word: what to start in its place. Its launcher may have gone. */
void
ldr_errand_leave(dsm_handle handle, const LdrWorkerArg *left)
{
	dsm_segment *segment = dsm_attach(handle);

	if (segment == NULL)
		return;
	memcpy(dsm_segment_address(segment), left, sizeof(*left));
	dsm_detach(segment);
}

/* The last one of a database; made if there is none. */
static LauncherErrand *
launcher_last_errand(Oid db)
{
	LauncherErrand *last;
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, errands)
	{
		last = lfirst(lc);
		if (last->db == db)
			return last;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	last = palloc0(sizeof(LauncherErrand));
	last->db = db;
	errands = lappend(errands, last);
	MemoryContextSwitchTo(old);
	return last;
}

/*
 * Start what a scout has left; false if there is no slot. Not what was started a moment ago, and is
 * still what comes first: it would end at once as it did then, which would wake us to start it once
 * more, and so on.
 */
static bool
launcher_start_errand(const LdrWorkerArg *errand)
{
	LauncherErrand *last = launcher_last_errand(errand->db);
	instr_time	now,
				passed;

	INSTR_TIME_SET_CURRENT(now);
	passed = now;
	INSTR_TIME_SUBTRACT(passed, last->at);
	if (last->package_id == errand->package_id &&
		INSTR_TIME_GET_DOUBLE(passed) < ldr_launcher_naptime)
		return true;
	if (ldr_worker_start(errand) == NULL)
		return false;
	last->package_id = errand->package_id;
	last->at = now;
	return true;
}

/*
 * A coordinator is about to end, and the server had no process for the next one beside it: have the
 * launcher look, if there is one.
 */
void
ldr_launcher_wake(void)
{
	pgstat_clear_backend_activity_snapshot();
	for (int i = 1; i <= pgstat_fetch_stat_numbackends(); i++)
	{
		LocalPgBackendStatus *local = ldr_local_beentry(i);
		const char *type;
		PGPROC	   *proc;

		if (local == NULL || local->backendStatus.st_backendType != B_BG_WORKER ||
			OidIsValid(local->backendStatus.st_databaseid))
			continue;
		type = GetBackgroundWorkerTypeByPid(local->backendStatus.st_procpid);
		proc = type && strcmp(type, LAUNCHER_TYPE) == 0
			? BackendPidGetProc(local->backendStatus.st_procpid) : NULL;
		if (proc)
			SetLatch(&proc->procLatch);
	}
}

/*
 * One round: a scout for each database, one after the other, so that they take one slot. What a scout
 * fails of is in the log, and no reason to leave out the others. Returns the database at which there
 * was no slot, where the next round begins; InvalidOid: all have been looked into.
 */
static Oid
launcher_round(Oid first, dsm_segment *segment)
{
	LdrWorkerArg *errand = dsm_segment_address(segment);
	List	   *oids = launcher_databases();
	int			n = list_length(oids);
	int			begin = 0;

	while (begin < n && list_nth_oid(oids, begin) != first)
		begin++;				/* it may have been dropped: from the first one, then */
	for (int i = 0; i < n; i++)
	{
		LdrWorkerArg arg = {0};
		BackgroundWorkerHandle *handle;

		arg.kind = LDR_SCOUT;
		arg.db = list_nth_oid(oids, (begin + i) % n);
		arg.role = BOOTSTRAP_SUPERUSERID;
		arg.segment = dsm_segment_handle(segment);
		memset(errand, 0, sizeof(*errand));
		LDR_FAULT("launcher starts a scout");
		handle = ldr_worker_start(&arg);
		if (handle == NULL)
			return arg.db;
		(void) WaitForBackgroundWorkerShutdown(handle);
		LDR_FAULT("scout has gone");
		/* its end will wake us, so that the next package follows at once */
		if (errand->package_id != 0 && !launcher_start_errand(errand))
			return arg.db;
		CHECK_FOR_INTERRUPTS();
	}
	return InvalidOid;
}

void
loader_launcher_main(Datum main_arg)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "loader launcher",
											  ALLOCSET_DEFAULT_SIZES);
	Oid			next = InvalidOid;
	dsm_segment *errand;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	errand = launcher_errand();
	for (;;)
	{
		MemoryContextSwitchTo(cxt);
		MemoryContextReset(cxt);
		LDR_FAULT("launcher begins a round");
		next = launcher_round(next, errand);
		/* what has set the latch during the round was taken for the end of a scout */
		if (!ConfigReloadPending)
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 OidIsValid(next) ? NO_SLOT_NAP_MS : ldr_launcher_naptime * 1000L,
							 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

/* In _PG_init, while shared_preload_libraries is processed. */
void
ldr_launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 10;	/* the one worker that comes back by itself */
	strlcpy(worker.bgw_library_name, "loader", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "loader_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, LAUNCHER_TYPE, BGW_MAXLEN);
	strlcpy(worker.bgw_type, LAUNCHER_TYPE, BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
