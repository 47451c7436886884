/*
 * worker/progress.c: what runs now, in the server's own progress counters.
 *
 * They need no shared memory of ours, so they work without shared_preload_libraries, and they
 * vanish with the process. Our rows are those of command COPY (pg_stat_progress_copy shows them
 * too: bytes and tuples are where COPY has them) with a seal in the last parameter.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "commands/progress.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "loader.h"
#include "worker/worker.h"

#define PROGRESS_MAGIC	INT64CONST(0x6c6f616465720001)

enum							/* beyond those that pg_stat_progress_copy shows */
{
	PROGRESS_PACKAGE = 10,
	PROGRESS_ROLE,
	PROGRESS_PHASE,
	PROGRESS_JOB,				/* ordinal of the job in hand */
	PROGRESS_JOBS_DONE,
	PROGRESS_JOBS_TOTAL,
	PROGRESS_AS,				/* LdrProgressRole */
	PROGRESS_STARTED,
	PROGRESS_ROWS_DONE,
	PROGRESS_SEAL				/* see progress_seal */
};

StaticAssertDecl(PROGRESS_SEAL < PGSTAT_NUM_PROGRESS_PARAM, "must fit");

static int64 mine[PGSTAT_NUM_PROGRESS_PARAM];	/* this process's own */
static uint64 rows_before,		/* of finished jobs */
			bytes_before;

static const char *const phase_names[] = {"starting", "changing tables", "loading", "publishing",
"waiting to retry", "waiting for locks"};

/*
 * What only a process of ours has, and only this one: the server leaves the counters of a process
 * that ended to the next one in its place.
 */
static int64
progress_seal(const volatile PgBackendStatus *be)
{
	return PROGRESS_MAGIC ^ be->st_proc_start_timestamp;
}

/*
 * Command and counters in one go. By the server's own routines a command begins without counters,
 * and somebody who looks just then would not see a package that runs.
 */
static void
progress_write(ProgressCommandType command)
{
	volatile PgBackendStatus *be = MyBEEntry;

	if (be == NULL || !pgstat_track_activities)
		return;
	PGSTAT_BEGIN_WRITE_ACTIVITY(be);
	be->st_progress_command = command;
	be->st_progress_command_target = InvalidOid;
	for (int i = 0; i < PGSTAT_NUM_PROGRESS_PARAM; i++)
		be->st_progress_param[i] = mine[i];
	PGSTAT_END_WRITE_ACTIVITY(be);
}

/* Hand all counters to pgstat. An aborted (sub)transaction ends the command: begin it anew. */
void
ldr_progress_show(void)
{
	if (mine[PROGRESS_SEAL] != 0)
		progress_write(PROGRESS_COMMAND_COPY);
}

void
ldr_progress_begin(int64 package_id, Oid role, LdrProgressRole as)
{
	memset(mine, 0, sizeof(mine));
	mine[PROGRESS_COPY_COMMAND] = PROGRESS_COPY_COMMAND_FROM;
	mine[PROGRESS_COPY_TYPE] = PROGRESS_COPY_TYPE_FILE;
	mine[PROGRESS_PACKAGE] = package_id;
	mine[PROGRESS_ROLE] = role;
	mine[PROGRESS_AS] = as;
	mine[PROGRESS_STARTED] = GetCurrentTimestamp();
	mine[PROGRESS_SEAL] = MyBEEntry ? progress_seal(MyBEEntry) : 0;
	rows_before = bytes_before = 0;
	ldr_progress_show();
}

void
ldr_progress_totals(int jobs, uint64 bytes)
{
	mine[PROGRESS_JOBS_TOTAL] = jobs;
	mine[PROGRESS_COPY_BYTES_TOTAL] = bytes;
	ldr_progress_show();
}

/* Returns the phase before. */
LdrPhase
ldr_progress_phase(LdrPhase phase)
{
	LdrPhase	before = (LdrPhase) mine[PROGRESS_PHASE];

	mine[PROGRESS_PHASE] = phase;
	ldr_progress_show();
	return before;
}

void
ldr_progress_job(int ordinal)
{
	mine[PROGRESS_JOB] = ordinal;
	ldr_progress_show();
}

/* Of the job in hand: rows read, bytes taken from its file. */
void
ldr_progress_rows(uint64 rows, uint64 bytes)
{
	mine[PROGRESS_COPY_TUPLES_PROCESSED] = rows_before + rows;
	mine[PROGRESS_COPY_BYTES_PROCESSED] = bytes_before + bytes;
	ldr_progress_show();
}

void
ldr_progress_job_done(uint64 rows, uint64 bytes)
{
	rows_before += rows;
	bytes_before += bytes;
	mine[PROGRESS_JOBS_DONE]++;
	ldr_progress_rows(0, 0);
}

LdrProgressMark
ldr_progress_mark(void)
{
	return (LdrProgressMark) {
		.rows = rows_before, .bytes = bytes_before, .jobs = mine[PROGRESS_JOBS_DONE]
	};
}

void
ldr_progress_back(const LdrProgressMark *mark)
{
	rows_before = mark->rows;
	bytes_before = mark->bytes;
	mine[PROGRESS_JOBS_DONE] = mark->jobs;
	mine[PROGRESS_JOB] = 0;
	ldr_progress_rows(0, 0);
}

/* All is undone and begins again. */
void
ldr_progress_rewind(void)
{
	ldr_progress_back(&(const LdrProgressMark) {0});
}

/* This process works for the package no longer. */
void
ldr_progress_end(void)
{
	memset(mine, 0, sizeof(mine));
	progress_write(PROGRESS_COMMAND_INVALID);
}

/*
 * Are these counters of ours? A worker whose (sub)transaction was aborted is about to begin its
 * command anew, see ldr_progress_show; the counters are still there. A session may have no more to
 * do with us then.
 */
static bool
progress_is_ours(const PgBackendStatus *be)
{
	return be->st_procpid > 0 && be->st_progress_param[PROGRESS_SEAL] == progress_seal(be) &&
		(be->st_progress_command == PROGRESS_COMMAND_COPY ||
		 (be->st_progress_command == PROGRESS_COMMAND_INVALID &&
		  be->st_backendType == B_BG_WORKER));
}

/* The next worker of ours in the pgstat snapshot, from *i on; NULL if there is none. */
static PgBackendStatus *
progress_next(int *i)
{
	while (*i < pgstat_fetch_stat_numbackends())
	{
		LocalPgBackendStatus *local = ldr_local_beentry(++(*i));

		if (local && progress_is_ours(&local->backendStatus))
			return &local->backendStatus;
	}
	return NULL;
}

/* Our workers that run now, in the whole server. */
int
ldr_progress_running(void)
{
	PgBackendStatus *be;
	int			i = 0,
				n = 0;

	pgstat_clear_backend_activity_snapshot();
	while ((be = progress_next(&i)) != NULL)
		if (be->st_progress_param[PROGRESS_AS] != LDR_ROLE_SESSION)
			n++;
	return n;
}

/* Is a coordinator, or a helper, of the package alive? A look, not a lock: it may end right now. */
static bool
progress_is_alive(int64 package_id, LdrProgressRole as)
{
	PgBackendStatus *be;
	int			i = 0;

	pgstat_clear_backend_activity_snapshot();
	while ((be = progress_next(&i)) != NULL)
		if (be->st_databaseid == MyDatabaseId &&
			be->st_progress_param[PROGRESS_AS] == as &&
			be->st_progress_param[PROGRESS_PACKAGE] == package_id)
			return true;
	return false;
}

/* Is a coordinator of any package of this database alive? */
bool
ldr_progress_here(void)
{
	PgBackendStatus *be;
	int			i = 0;

	pgstat_clear_backend_activity_snapshot();
	while ((be = progress_next(&i)) != NULL)
		if (be->st_databaseid == MyDatabaseId &&
			be->st_progress_param[PROGRESS_AS] == LDR_ROLE_COORDINATOR)
			return true;
	return false;
}

bool
ldr_progress_is_running(int64 package_id)
{
	return progress_is_alive(package_id, LDR_ROLE_COORDINATOR);
}

bool
ldr_progress_has_helpers(int64 package_id)
{
	return progress_is_alive(package_id, LDR_ROLE_HELPER);
}

/* One line about a package that runs, for the NOTICE of loader_run. False if it does not run. */
bool
ldr_progress_snapshot(int64 package_id, char *line, size_t size)
{
	PgBackendStatus *be;
	int			i = 0;
	int64		rows = 0,
				bytes = 0,
				total = 0,
				jobs = 0,
				jobs_total = 0;
	const char *phase = NULL;

	pgstat_clear_backend_activity_snapshot();
	while ((be = progress_next(&i)) != NULL)
	{
		int64	   *p = be->st_progress_param;

		if (be->st_databaseid != MyDatabaseId || p[PROGRESS_PACKAGE] != package_id)
			continue;
		rows += p[PROGRESS_COPY_TUPLES_PROCESSED];
		bytes += p[PROGRESS_COPY_BYTES_PROCESSED];
		jobs += p[PROGRESS_JOBS_DONE];
		total = Max(total, p[PROGRESS_COPY_BYTES_TOTAL]);
		jobs_total = Max(jobs_total, p[PROGRESS_JOBS_TOTAL]);
		if (p[PROGRESS_AS] == LDR_ROLE_COORDINATOR)
			phase = phase_names[p[PROGRESS_PHASE]];
	}
	if (phase == NULL)
		return false;
	snprintf(line, size, "%s, %lld of %lld jobs, %lld%%, %lld rows", phase, (long long) jobs,
			 (long long) jobs_total, (long long) (total > 0 ? Min(bytes, total) * 100 / total
												  : 100), (long long) rows);
	return true;
}

PG_FUNCTION_INFO_V1(loader_running);

/* loader.running(): see the SQL script. A role sees workers of roles it is a member of. */
Datum
loader_running(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			user = GetUserId();
	bool		all = has_privs_of_role(user, ROLE_PG_MONITOR);
	PgBackendStatus *be;
	int			i = 0;

	ldr_srf_begin(fcinfo);
	pgstat_clear_backend_activity_snapshot();
	while ((be = progress_next(&i)) != NULL)
	{
		int64	   *p = be->st_progress_param;
		Datum		values[] = {
			Int32GetDatum(be->st_procpid), Int64GetDatum(p[PROGRESS_PACKAGE]),
			BoolGetDatum(p[PROGRESS_AS] == LDR_ROLE_COORDINATOR),
			CStringGetTextDatum(phase_names[p[PROGRESS_PHASE]]), Int32GetDatum(p[PROGRESS_JOB]),
			Int32GetDatum(p[PROGRESS_JOBS_DONE]), Int32GetDatum(p[PROGRESS_JOBS_TOTAL]),
			Int64GetDatum(p[PROGRESS_COPY_BYTES_PROCESSED]),
			Int64GetDatum(p[PROGRESS_COPY_BYTES_TOTAL]),
			Int64GetDatum(p[PROGRESS_COPY_TUPLES_PROCESSED]),
			TimestampTzGetDatum(p[PROGRESS_STARTED])
		};
		bool		nulls[lengthof(values)] = {false};

		if (be->st_databaseid != MyDatabaseId ||
			!(all || has_privs_of_role(user, (Oid) p[PROGRESS_ROLE])))
			continue;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
