/*
 * worker/job.c: jobs that commit one by one, in the coordinator and in its helpers.
 *
 * A job is claimed by a row lock, so it is free again when its worker dies, and its rows and its
 * 'completed' mark commit together.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "loader.h"
#include "publish/publish.h"
#include "worker/worker.h"

/* Record a job that was rolled back; true if it will be tried again. A cancel ends everything. */
static bool
jobs_record_error(LdrRun *run, ErrorData *edata)
{
	int64		id = run->package->package_id;
	bool		again = ldr_error_is_transient(edata) && run->job->retry_count < ldr_retry_attempts;

	ldr_xact_begin();
	if (ldr_package_cancel_requested(id))
	{
		ldr_xact_commit();
		ReThrowError(edata);
	}
	LDR_FAULT("job error to be recorded");
	ldr_job_failed(id, run->job->ordinal, again ? "retry" : "failed", run->job_started_at, edata);
	ldr_event(id, again ? "job retry" : "job failed", run->job->job_id, "%s: %s",
			  unpack_sql_state(edata->sqlerrcode), edata->message);
	ldr_xact_commit();
	return again;
}

/*
 * Work on jobs of the package until none is left to claim: all, or (staged_only) those whose rows
 * wait for publish. Raises an error only for a cancel.
 */
void
ldr_jobs_run(LdrRun *run, bool staged_only)
{
	volatile bool more = true;

	ldr_progress_phase(LDR_PHASE_LOAD);
	while (more)
	{
		run->job = NULL;
		MemoryContextSwitchTo(run->cxt);
		PG_TRY();
		{
			more = ldr_publish_next_job(run, staged_only);
		}
		PG_CATCH();
		{
			ErrorData  *edata;

			MemoryContextSwitchTo(run->cxt);
			if (run->job == NULL)
				PG_RE_THROW();	/* not the job's fault */
			edata = CopyErrorData();
			EmitErrorReport();
			FlushErrorState();
			/* the job's name lived in the transaction's memory, which the abort frees */
			run->job = ldr_job_copy(run->job);
			ldr_xact_abort();
			MemoryContextSwitchTo(run->cxt);
			ldr_progress_show();
			if (jobs_record_error(run, edata))
				ldr_retry_wait(run->job->retry_count, run->package->package_id, 0);
		}
		PG_END_TRY();
	}
	run->job = NULL;
}

/* A helper: like the coordinator, but it only ever runs jobs. */
void
ldr_job_worker_run(const LdrWorkerArg *arg)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "loader package",
											  ALLOCSET_DEFAULT_SIZES);
	LdrRun	   *run;

	MemoryContextSwitchTo(cxt);
	if (!ldr_slot_acquire())
		return;
	LDR_FAULT("helper has a slot");
	run = palloc0(sizeof(LdrRun));
	run->cxt = cxt;
	run->package = ldr_worker_fetch(arg);
	if (run->package == NULL || strcmp(run->package->state, "loading") != 0)
		return;
	run->started_at = GetCurrentTimestamp();
	ldr_worker_package = run->package->package_id;
	ldr_progress_begin(run->package->package_id, run->package->role, LDR_ROLE_HELPER);
	pgstat_report_activity(STATE_RUNNING, psprintf("loading jobs of package " INT64_FORMAT,
												   run->package->package_id));
	ldr_worker_become(run->package);
	ldr_xact_begin();
	MemoryContextSwitchTo(cxt);
	run->options = ldr_options_from_json(run->package->options);
	run->workers = ldr_options_workers(run->options);
	run->jobs = ldr_job_list(run->package->package_id, false);
	run->bytes = ldr_run_bytes(run, NULL);
	run->dir = ldr_package_open(run->package->source, &run->package->stamps);
	ldr_xact_commit();
	LDR_FAULT("helper begins");
	ldr_jobs_run(run, run->options->atomic);
}
