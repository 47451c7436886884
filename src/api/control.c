/*
 * api/control.c: loader_cancel, loader_resume, loader_forget.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

#include "api/api.h"
#include "publish/publish.h"
#include "source/spool.h"
#include "worker/worker.h"

/* who works on a package that has ended, or is to, has this long; who is leaving, what it takes */
#define LEAVE_MS		1000
#define LEAVE_STEP_MS	5

PG_FUNCTION_INFO_V1(loader_cancel);
PG_FUNCTION_INFO_V1(loader_resume);
PG_FUNCTION_INFO_V1(loader_forget);

/*
 * loader_cancel(package_id): a flag in the catalog, which the package's workers look at. Nobody
 * is signalled, so a pid that was reused meanwhile is in no danger.
 */
Datum
loader_cancel(PG_FUNCTION_ARGS)
{
	LdrPackage *package;
	bool		idle;

	ldr_api_writes("loader_cancel()");
	package = ldr_api_package(PG_GETARG_INT64(0), true);
	/* held until we commit, so that no coordinator begins between our look and our mark */
	idle = ldr_package_lock(package->package_id, false, false);
	ldr_scout_at_end();
	if (strcmp(package->state, "failed") == 0)
	{
		/* it holds back others: no more */
		if (!ldr_package_give_up(package->package_id))
			PG_RETURN_BOOL(false);
		idle = true;
	}
	else if (!ldr_package_request_cancel(package->package_id, !idle))
		PG_RETURN_BOOL(false);
	ldr_event(package->package_id, idle ? "cancelled" : "cancel requested", NULL, "%s", "");
	if (idle)
	{
		ldr_stage_release(package->package_id);
		ldr_notify(package->package_id, "cancelled");
		ldr_start_waiting(true, NULL);
	}
	PG_RETURN_BOOL(true);
}

/*
 * Is its coordinator still there, with no more to do for it? After the commit it has files to remove,
 * and a disk may be slow.
 */
static bool
control_is_leaving(int64 package_id)
{
	const LdrPackage *now;

	if (!ldr_progress_is_running(package_id))
		return false;
	now = ldr_package_get(package_id, true);
	return now && ldr_package_has_ended(now);
}

/* Keep coordinators away until we commit; with helpers, none of these may be there either. */
static bool
control_lock(const LdrPackage *package, bool helpers)
{
	bool		locked = false;

	for (int ms = 0; ms < LEAVE_MS || control_is_leaving(package->package_id); ms += LEAVE_STEP_MS)
	{
		locked = locked || ldr_package_lock(package->package_id, false, false);
		if (locked && (!helpers || ldr_job_lock_idle(package->package_id, true)))
			return true;
		if (!package->cancel_requested && !ldr_package_has_ended(package))
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LEAVE_STEP_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/*
 * Keep coordinators away until we commit. False if one works on the package; of one that has ended,
 * or is to be cancelled, the coordinator is about to leave, which takes a moment.
 */
bool
ldr_api_lock(const LdrPackage *package)
{
	return control_lock(package, false);
}

/*
 * The same to remove its jobs: a helper that has lost its coordinator holds the row of the job that
 * it works on, and might do so for long.
 */
bool
ldr_api_lock_jobs(const LdrPackage *package)
{
	return control_lock(package, true);
}

/* A package that has ended is kept by a session that loads its rejects again, or cancels it, ... */
void
ldr_api_raise_in_use(int64 package_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("package " INT64_FORMAT " is in use by another session", package_id),
			 errhint("Try again when the transaction of that session has ended.")));
}

/*
 * loader_resume(package_id): back to new, and started.
 */
Datum
loader_resume(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	LdrPackage *package;
	Oid			role;

	ldr_api_writes("loader_resume()");
	package = ldr_api_package(id, true);
	if (!ldr_api_lock(package))
	{
		package = ldr_api_package(id, true);
		if (!ldr_package_has_ended(package))
			PG_RETURN_BOOL(true);	/* it runs */
		/* it has ended just now; or a session has it, and nobody would go on after that */
		if (!ldr_api_lock(package))
			ldr_api_raise_in_use(id);
	}
	if (strcmp(package->mode, "job") == 0)
	{
		if (!ldr_package_reopen(id))
			PG_RETURN_BOOL(false);
		ldr_event(id, "resumed", NULL, "Its client may go on.");
		PG_RETURN_BOOL(true);
	}
	if (strcmp(package->mode, LDR_MODE_STREAM) == 0 && strcmp(package->state, "loaded") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sync " INT64_FORMAT " cannot be resumed", id),
				 errdetail("Its messages came from a session that has closed it, or gone."),
				 errhint("Open a new sync; the source goes on from the last state "
						 "(loader_airbyte_states).")));
	role = ldr_package_owner(package);
	if (!OidIsValid(role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" of package " INT64_FORMAT " does not exist",
						package->role_name, id)));
	if (!ldr_package_resume(id, GetUserNameFromId(role, false), (int64) GetSystemIdentifier(),
							MyDatabaseId))
		PG_RETURN_BOOL(false);
	ldr_job_reset(id);
	ldr_event(id, "resumed", NULL, "By role \"%s\".", GetUserNameFromId(GetUserId(), false));
	package = ldr_package_get(id, false);
	if (ldr_package_start(package, true, true) == NULL)
		ereport(NOTICE,
				(errmsg("no worker slot is free: package " INT64_FORMAT " stays new", id)));
	PG_RETURN_BOOL(true);
}

/*
 * What the package would have been read from is needed no more; the scout removes it. If we roll
 * back the package is there, and needs it. An upload of that name is another one if it comes from
 * elsewhere, or if the package's own was removed when it was loaded.
 */
static void
control_done_with(const LdrPackage *package)
{
	/* in job mode there is no source */
	if (package->source && package->system_identifier == (int64) GetSystemIdentifier() &&
		package->database == MyDatabaseId && strcmp(package->state, "loaded") != 0)
		ldr_spool_done(package->source, package->role);
}

/*
 * loader_forget(package_id): remove it from the catalog, unless it runs.
 */
Datum
loader_forget(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	LdrPackage *package;
	int64		rejected;
	bool		forgotten;

	ldr_api_writes("loader_forget()");
	if (ldr_package_get(id, true) == NULL)
		PG_RETURN_BOOL(false);
	package = ldr_api_package(id, true);
	if (!ldr_api_lock_jobs(package))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("package " INT64_FORMAT " is being loaded", id),
				 errhint("Call loader_cancel first, and loader_wait.")));
	ldr_scout_at_end();
	/* the catalog alone knows of rows that jobs have committed by themselves */
	if (strcmp(package->state, "loaded") != 0 && package->catalog == NULL &&
		ldr_job_has_rows(id, package->dataset))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " has jobs whose rows are in the tables already",
						id),
				 errdetail("Forgotten, it could be loaded again, and they twice."),
				 errhint("loader_resume loads the rest; loader_cancel gives it up and keeps the "
						 "record.")));
	rejected = ldr_reject_count(id, NULL);
	if (rejected > 0)
		ereport(NOTICE,
				(errmsg("rejected rows of package " INT64_FORMAT " that go with it: " INT64_FORMAT,
						id, rejected)));
	forgotten = ldr_package_forget(id);
	control_done_with(package);
	ldr_stage_release(id);
	ldr_start_waiting(true, NULL);
	PG_RETURN_BOOL(forgotten);
}
