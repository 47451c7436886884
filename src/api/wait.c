/*
 * api/wait.c: loader_wait and loader_run: until a package has ended.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "api/api.h"
#include "fault.h"
#include "loader.h"
#include "schema/live.h"
#include "worker/worker.h"

#define WAIT_MAX_MS		200		/* between two looks; a worker that we started wakes us earlier */
#define NOTICE_MS		2000	/* between two lines of progress */

PG_FUNCTION_INFO_V1(loader_wait);
PG_FUNCTION_INFO_V1(loader_run);

/* Before a sentence that follows a detail: some of the server's details have no full stop. */
static const char *
wait_separator(const char *detail)
{
	if (detail[0] == '\0')
		return "";
	return strchr(".!?", detail[strlen(detail) - 1]) ? " " : ". ";
}

/* What to do when the cause is mended. */
static const char *
wait_next_step(const LdrPackage *package)
{
	if (strcmp(package->mode, LDR_MODE_STREAM) == 0)
		return "See loader.streams and loader.events.";
	return psprintf("See loader.jobs and loader.events. When the cause is mended call "
					"loader_resume(" INT64_FORMAT "); if files of the package were changed, call "
					"loader_start or loader_run with its directory again.", package->package_id);
}

void
ldr_api_raise_failure(const LdrPackage *package)
{
	int			code = package->sqlstate && strlen(package->sqlstate) == 5
		? MAKE_SQLSTATE(package->sqlstate[0], package->sqlstate[1], package->sqlstate[2],
						package->sqlstate[3], package->sqlstate[4])
		: ERRCODE_QUERY_CANCELED;

	char	   *cancelled = psprintf("package " INT64_FORMAT " was cancelled", package->package_id);
	const char *detail = package->detail ? package->detail : "";

	/* what loader_cancel leaves as the message is all there is to say; else it is the reason */
	ereport(ERROR,
			(errcode(code),
			 strcmp(package->state, "failed") == 0 ?
			 errmsg("package " INT64_FORMAT " failed: %s", package->package_id,
					package->message ? package->message : "") :
			 package->message && strcmp(package->message, cancelled) != 0 ?
			 errmsg("%s: %s", cancelled, package->message) : errmsg("%s", cancelled),
			 errdetail("%s%sThe package is load \"%s\" of dataset \"%s\".",
					   detail, wait_separator(detail),
					   package->load_id, package->dataset),
			 errhint("%s%s%s", package->hint ? package->hint : "", package->hint ? " " : "",
					 wait_next_step(package))));
}

/*
 * Two waits would never end, and the deadlock detector would not see it: for a package of this
 * very transaction, and for one whose tables this session has locked.
 */
static void
wait_check_caller(const LdrPackage *package)
{
	if (ldr_worker_package != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for a package while one is being loaded"),
				 errdetail("A trigger or default of a table that "
						   "package " INT64_FORMAT " fills has called loader_wait.",
						   ldr_worker_package)));
	if (TransactionIdIsCurrentTransactionId(package->xmin) && !ldr_package_has_ended(package))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " was registered or started in this transaction",
						package->package_id),
				 errhint("It begins when the transaction commits: wait after that.")));
	if (!ldr_package_has_ended(package) && ldr_package_locked_by_transaction())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this transaction has cancelled, resumed or forgotten a package"),
				 errhint("Others go on when the transaction commits: wait after that.")));
	if (ldr_package_tables_locked_by_me(package->package_id, package->dataset))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("this transaction holds locks on tables of package " INT64_FORMAT,
						package->package_id),
				 errhint("The package may have to wait for them: end the transaction first.")));
}

/*
 * Nobody will ever start it: say so instead of waiting. Returns whether it could be started, or what
 * it waits for; false while that runs, and so need not be looked after by all who wait.
 */
static bool
wait_check_startable(const LdrPackage *package)
{
	bool		failed;
	int64		blocker;

	if (strcmp(package->mode, LDR_MODE_PACKAGE) != 0)
		return false;			/* its client goes on, or somebody cancels it */
	if (!package->wanted)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " was not started", package->package_id),
				 errhint("SELECT loader_start(" INT64_FORMAT ");", package->package_id)));
	if (package->system_identifier != (int64) GetSystemIdentifier() ||
		package->database != MyDatabaseId ||
		get_role_oid(package->role_name, true) != package->role)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " does not go on by itself", package->package_id),
				 errdetail("It was started in another database or server, or its role \"%s\" has "
						   "changed since.", package->role_name),
				 errhint("Call loader_resume(" INT64_FORMAT "), or loader_forget.",
						 package->package_id)));
	if (ldr_progress_is_running(package->package_id))
		return false;
	blocker = ldr_package_blocker(package->package_id, &failed);
	if (failed)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " is held back by "
						"package " INT64_FORMAT ", which failed",
						package->package_id, blocker),
				 errhint("Call loader_resume, loader_cancel or loader_forget for "
						 "package " INT64_FORMAT ".", blocker)));
	return blocker == 0 || !ldr_progress_is_running(blocker);
}

/*
 * A commit can be seen by snapshots a moment before others are told to forget what they have cached
 * of the catalog: that a dataset does not exist, say. The lock on the transaction's id goes last.
 */
static void
wait_for_commit(const LdrPackage *package)
{
	if (TransactionIdIsNormal(package->xmin) && !TransactionIdIsCurrentTransactionId(package->xmin))
		XactLockTableWait(package->xmin, NULL, NULL, XLTW_None);
}

/* Look with fresh snapshots until the package has ended or time is up. Returns its last state. */
static LdrPackage *
wait_loop(int64 package_id, TimestampTz until, bool notices)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext look = AllocSetContextCreate(caller, "loader wait", ALLOCSET_DEFAULT_SIZES);
	long		pause = 1;
	TimestampTz noticed = GetCurrentTimestamp();
	TimestampTz startable = 0;
	LdrPackage *package;

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		char		line[160];

		MemoryContextReset(look);
		MemoryContextSwitchTo(look);
		package = ldr_api_package(package_id, true);
		if (ldr_package_has_ended(package) || now >= until)
			break;
		if (TimestampDifferenceExceeds(startable, now, 1000))
		{
			/* at once, and then now and then: its turn may come, or its worker be gone */
			if (wait_check_startable(package) && startable != 0)
				ldr_start_waiting(false, NULL);
			startable = now;
		}
		if (notices && TimestampDifferenceExceeds(noticed, now, NOTICE_MS) &&
			ldr_progress_snapshot(package_id, line, sizeof(line)))
		{
			ereport(NOTICE, (errmsg("package " INT64_FORMAT ": %s", package_id, line)));
			noticed = now;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(pause, Max(1, TimestampDifferenceMilliseconds(now, until))),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		pause = Min(pause * 2, WAIT_MAX_MS);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(look);
	package = ldr_api_package(package_id, true);
	if (ldr_package_has_ended(package))
		wait_for_commit(package);
	return package;
}

/*
 * loader_wait(package_id, timeout): wait until a package has ended; returns its state.
 */
Datum
loader_wait(PG_FUNCTION_ARGS)
{
	TimestampTz until = DT_NOEND;
	LdrPackage *package;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	package = ldr_api_package(PG_GETARG_INT64(0), true);
	if (!PG_ARGISNULL(1))
		until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
														TimestampTzGetDatum(GetCurrentTimestamp()),
														PG_GETARG_DATUM(1)));
	wait_check_caller(package);
	package = wait_loop(package->package_id, until, false);
	/* what is being published has not committed its state; say the same as the view */
	if (strcmp(package->state, "new") == 0 && ldr_progress_is_running(package->package_id))
		PG_RETURN_TEXT_P(cstring_to_text("loading"));
	PG_RETURN_TEXT_P(cstring_to_text(package->state));
}

/* It commits inside: only at top level, outside a transaction block. */
void
ldr_api_check_commits(FunctionCallInfo fcinfo, const char *hint)
{
	CallContext *context = (CallContext *) fcinfo->context;

	if (context == NULL || !IsA(context, CallContext) || context->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block",
						get_func_name(fcinfo->flinfo->fn_oid)),
				 errhint("%s", hint)));
}

/* A package that is loaded, but for rows that were rejected, should not look like any other. */
static void
wait_warn_of_rejects(int64 package_id)
{
	int64		read;
	int64		rejected = ldr_reject_total(package_id, 0, &read);

	if (rejected > 0)
		ereport(WARNING,
				(errmsg("package " INT64_FORMAT ": " INT64_FORMAT " of " INT64_FORMAT
						" rows were rejected", package_id, rejected, read),
				 errhint("See loader.rejects; loader_replay loads them after a fix, loader_discard "
						 "removes them.")));
}

/*
 * loader_run(source, dataset, ..., INOUT package_id): start a package and wait for its end.
 */
Datum
loader_run(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		value = (Datum) 0;
	bool		isnull = false;
	MemoryContext cxt = CurrentMemoryContext;
	LdrPackage *package;
	bool		is_new;
	int64		id;

	ldr_api_check_commits(fcinfo, "Use loader_start, commit, and then loader_wait.");
	ldr_api_writes("loader_run()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	package = ldr_api_register(fcinfo, ldr_api_text(fcinfo, 0, "source"), NOTICE, &is_new);
	if (package == NULL)
	{
		isnull = true;
		PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &value, &isnull)));
	}
	id = package->package_id;
	if (is_new)
	{
		ldr_api_start(package);
		if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		LDR_FAULT("run: started");
		SPI_commit();
		package = wait_loop(id, DT_NOEND, true);
		if (strcmp(package->state, "loaded") != 0)
			ldr_api_raise_failure(package);
		wait_warn_of_rejects(id);
		SPI_finish();
	}
	MemoryContextSwitchTo(cxt);
	value = Int64GetDatum(id);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &value, &isnull)));
}
