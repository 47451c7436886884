/*
 * worker/session.c: job mode: a client sends the jobs of a package one by one, and its own session
 * does the work.
 *
 * A job is entered in one transaction and run in the next, so that a failure leaves a record and
 * two sessions that bring jobs of one package do not wait for each other's rows. Its rows and its
 * mark commit together; so the client's own mark, which comes later, need not be trusted.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "loader.h"
#include "locks.h"
#include "source/job_name.h"
#include "source/reference.h"
#include "worker/session.h"
#include "worker/worker.h"

static LdrRun *
session_run(LdrPackageDir *dir, LdrPackage *package, LdrOptions *options)
{
	LdrRun	   *run = palloc0(sizeof(LdrRun));

	run->cxt = CurrentMemoryContext;
	run->package = package;
	run->dir = dir;
	run->options = options;
	run->started_at = GetCurrentTimestamp();
	return run;
}

static LdrPackage *
session_describe(const LdrPackageDir *dir, const char *dataset, const LdrOptions *options)
{
	LdrPackage *package = ldr_package_make(LDR_MODE_JOB);

	package->load_id = dir->load_id;
	package->schema_name = dir->schema->name;
	package->schema_hash = dir->schema->version_hash;
	package->dataset = pstrdup(dataset);
	package->pipeline_name = dir->state->pipeline_name;
	package->destination_name = options->destination_name;
	package->options = ldr_options_to_json(options);
	package->settings = "{}";
	return package;
}

/*
 * Whose is it, and may its client go on? What follows for a chain was defined by whoever drives the
 * load, conditions included, and runs as the current role: so that must be the same one, and not
 * just a member of it, or a superuser.
 */
static void
session_check_package(const LdrPackage *package)
{
	if (ldr_package_owner(package) != GetUserId())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("load \"%s\" was begun by another role", package->load_id),
				 errdetail("Role \"%s\" loads it into dataset \"%s\".", package->role_name,
						   package->dataset),
				 errhint("Go on as that role (SET ROLE), or call loader_forget("
						 INT64_FORMAT ").", package->package_id)));
	if (strcmp(package->mode, "job") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("load \"%s\" is that of package " INT64_FORMAT ", which is loaded as a "
						"whole", package->load_id, package->package_id),
				 errdetail("Its state is %s.", package->state),
				 errhint("Let it end, or call loader_cancel and loader_forget.")));
	if (strcmp(package->state, "cancelled") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("package " INT64_FORMAT " was cancelled", package->package_id),
				 errhint("loader_resume(" INT64_FORMAT ") lets its client go on.",
						 package->package_id)));
}

LdrRun *
ldr_session_open(LdrPackageDir *dir, const char *dataset, LdrOptions *options, LdrTake how)
{
	LdrPackage *package = ldr_package_find(dataset, dir->schema->name, dir->load_id);
	bool		loaded = ldr_system_is_loaded(dir->schema, dataset, dir->load_id);

	if (loaded)
		return NULL;
	if (package && strcmp(package->state, "loaded") == 0 && ldr_package_may_act(package))
	{
		ldr_package_supersede(package->package_id);	/* its dataset was dropped */
		package = NULL;
	}
	if (package == NULL)
	{
		package = session_describe(dir, dataset, options);
		package->package_id = ldr_package_insert(package);
		if (package->package_id != 0)
		{
			ldr_event(package->package_id, "registered", NULL, "%s", "In job mode.");
			ldr_package_loading(package->package_id);
		}
		package = ldr_package_find(dataset, dir->schema->name, dir->load_id);
	}
	if (package)
	{
		session_check_package(package);
		ldr_enter_lock(package->package_id);
	}
	if (package == NULL || !ldr_package_take(package->package_id, how))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("load \"%s\" was forgotten by another session meanwhile", dir->load_id)));
	return session_run(dir, package, options);
}

/* The job that a file's name tells, with the stamp of its bytes; format is theirs. */
static LdrJob *
session_describe_job(LdrRun *run, const LdrSessionJob *from)
{
	LdrJob	   *job = palloc0(sizeof(LdrJob));
	LdrJobName	name;
	LdrError	err = {0};

	if (ldr_job_name_parse(from->file_name, &name, &err) != LDR_OK)
		ldr_raise(&err, NULL);
	if (ldr_schema_table(run->dir->schema, name.table) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("job \"%s\" is for table \"%s\", which is not in the schema", name.job_id,
						name.table)));
	job->job_id = pstrdup(name.job_id);
	job->file_name = pstrdup(from->file_name);
	job->table_name = pstrdup(name.table);
	job->format = pstrdup(name.format);
	job->kind = "load";
	job->state = "new";
	job->retry_count = name.retry;
	return job;
}

/* Where are the bytes, and in which format? A reference's are in a file of another name. */
static void
session_find_bytes(LdrRun *run, LdrJob *job, const LdrSessionJob *from)
{
	char		format[32];
	LdrFormat	known;

	if (from->statement)
	{
		job->stamp.size = strlen(from->statement);
		return;
	}
	job->file_name = ldr_package_point_at(run->dir, from->source, &job->stamp);
	if (strcmp(job->format, "reference") == 0)
	{
		ldr_reference_format(job->file_name, format, sizeof(format));
		job->format = pstrdup(format);
	}
	if (!ldr_format_from_name(job->format, &known))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("file format \"%s\" is not supported", job->format),
				 errdetail("Job \"%s\", file \"%s\".", job->job_id, job->file_name),
				 errhint("Let dlt write insert_values, csv or jsonl (loader_file_format).")));
}

static char *
session_define_statement(const char *statement)
{
	StringInfoData definition;

	initStringInfo(&definition);
	appendStringInfoString(&definition, "{\"statement\": ");
	escape_json(&definition, statement);
	appendStringInfoChar(&definition, '}');
	return definition.data;
}

LdrJob *
ldr_session_enter(LdrRun *run, const LdrSessionJob *from)
{
	LdrJob	   *job = session_describe_job(run, from);
	char	   *file_name = job->file_name;
	LdrJob		entry;
	LdrJob	   *known;

	known = ldr_job_find(run->package->package_id, job->job_id);
	if (known && strcmp(known->state, "completed") == 0)
	{
		/* its table may have been dropped since; looks at all jobs, so only if it has to */
		ldr_job_recheck(run->package->package_id, run->package->dataset);
		known = ldr_job_find(run->package->package_id, job->job_id);
		if (strcmp(known->state, "completed") == 0)
			return NULL;
	}
	session_find_bytes(run, job, from);
	job->ordinal = known ? known->ordinal : ldr_job_last(run->package->package_id) + 1;
	/* the catalog has the client's name of the job, the run that of the bytes */
	entry = *job;
	entry.file_name = file_name;
	if (from->staging)
	{
		entry.source = (char *) from->source;
		entry.definition = from->statement ? session_define_statement(from->statement) : NULL;
	}
	if (known)
		ldr_job_renew(run->package->package_id, &entry);
	else
		ldr_job_insert(run->package->package_id, &entry);
	if (from->staging)
		(void) ldr_stage_claim(run, job->table_name);
	return job;
}

LdrJob *
ldr_session_enter_followup(LdrRun *run, const LdrSchemaTable *root, const char *definition)
{
	int64		package_id = run->package->package_id;
	LdrJob	   *job = ldr_follow_job(run->package->load_id, root);
	LdrJob	   *known = ldr_job_find(package_id, job->job_id);

	if (known)
		return known;
	job->definition = pstrdup(definition);
	job->ordinal = ldr_job_last(package_id) + 1;
	ldr_job_insert(package_id, job);
	return job;
}

/* The documents go into it as strings, so that they come out just as they are. */
char *
ldr_session_define(const LdrRun *run, const char *state)
{
	StringInfoData definition;

	initStringInfo(&definition);
	appendStringInfoString(&definition, "{\"options\": ");
	escape_json(&definition, ldr_options_to_json(run->options));
	appendStringInfoString(&definition, ", \"schema\": ");
	escape_json(&definition, run->dir->schema_text);
	appendStringInfoString(&definition, ", \"state\": ");
	escape_json(&definition, state ? state : "{}");
	appendStringInfoChar(&definition, '}');
	return definition.data;
}

static char *
session_member(const char *definition, const char *name)
{
	return TextDatumGetCString(DirectFunctionCall2(json_object_field_text,
												   CStringGetTextDatum(definition),
												   CStringGetTextDatum(name)));
}

LdrRun *
ldr_session_reopen(LdrPackage *package, const LdrJob *job)
{
	LdrPackageDir *dir = ldr_package_of_documents(package->load_id,
												  session_member(job->definition, "schema"),
												  session_member(job->definition, "state"));

	session_check_package(package);
	return session_run(dir, package, ldr_options_from_json(session_member(job->definition,
																		  "options")));
}

/* One INSERT, and not whatever else somebody has appended to it. */
static void
session_check_statement(const char *statement)
{
	List	   *parsed = raw_parser(statement, RAW_PARSE_DEFAULT);
	const InsertStmt *insert;

	if (list_length(parsed) != 1 || !IsA(linitial_node(RawStmt, parsed)->stmt, InsertStmt))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the statement of a job must be one INSERT")));
	insert = (const InsertStmt *) linitial_node(RawStmt, parsed)->stmt;
	if (ldr_insert_returns(insert))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the statement of a job must not have RETURNING")));
}

/*
 * The jobs whose rows the chain's staging tables hold. One that has lost them, since another
 * package has emptied the table, must not be left out.
 */
static List *
session_find_chain(const LdrRun *run, const LdrJob *followup, int sqlerrcode)
{
	List	   *jobs = NIL;
	ListCell   *lc;

	ldr_job_recheck(run->package->package_id, run->package->dataset);
	foreach(lc, ldr_job_list_chain(run->package->package_id, followup->table_name))
	{
		LdrJob	   *job = lfirst(lc);
		bool		staged = ldr_package_table_stage(run->package->package_id,
													 job->table_name) != NULL;

		if (strcmp(job->state, "completed") == 0 && staged)
			jobs = lappend(jobs, job);
		else if (strcmp(job->state, "failed") != 0)
			ereport(ERROR,
					(errcode(sqlerrcode),
					 errmsg("rows of job \"%s\" are not in the staging dataset", job->job_id),
					 errdetail("It did not end, or another package has emptied its table since."),
					 errhint("Let the client send the job again.")));
	}
	return jobs;
}

/* Put a job's rows into the staging table once more. */
static void
session_stage_again(LdrRun *run, LdrJob *job)
{
	LdrJob	   *again = ldr_job_copy(job);
	char	   *statement = NULL;

	if (job->definition)
	{
		statement = session_member(job->definition, "statement");
		session_check_statement(statement);
	}
	else
	{
		LdrFileStamp stamp;

		again->file_name = ldr_package_point_at(run->dir, job->source, &stamp);
		if (memcmp(&stamp, &job->stamp, sizeof(stamp)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("file of job \"%s\" was changed after it was staged", job->job_id),
					 errdetail("Another package has emptied its staging table since.")));
	}
	(void) ldr_stage_claim(run, job->table_name);
	ldr_publish_job(run, again, true, statement);
}

/*
 * Another package may have emptied the staging tables: there is one for each table, whoever loads,
 * and nobody knows whether a client comes back. What rows of this load were lost come again here,
 * under the lock that the tables are merged with.
 */
static void
session_heal_chain(LdrRun *run, const LdrJob *followup)
{
	ListCell   *lc;

	ldr_job_recheck(run->package->package_id, run->package->dataset);
	foreach(lc, ldr_job_list_chain(run->package->package_id, followup->table_name))
	{
		LdrJob	   *job = lfirst(lc);

		if (strcmp(job->state, "completed") == 0 || strcmp(job->state, "failed") == 0 ||
			(job->source == NULL && job->definition == NULL) ||
			!ldr_job_hold(run->package->package_id, job->ordinal))
			continue;
		session_stage_again(run, job);
	}
}

static void
session_follow(LdrRun *run, LdrJob *followup)
{
	session_heal_chain(run, followup);
	run->job = followup;
	run->jobs = session_find_chain(run, followup, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	run->followups = list_make1(followup);
	ldr_publish_chain(run);
	/* until their tables were locked somebody could empty them; the next time they come again */
	(void) session_find_chain(run, followup, ERRCODE_T_R_SERIALIZATION_FAILURE);
}

/* The work of a job, in the transaction, or that which is left if another session was faster. */
static void
session_work(LdrRun *run, LdrJob *job, const LdrSessionJob *from)
{
	int64		package_id = run->package->package_id;

	run->job = job;
	ldr_job_lock(package_id);
	if (!ldr_job_hold(package_id, job->ordinal))
		return;
	if (strcmp(job->kind, "load") != 0)
	{
		session_follow(run, job);
		return;
	}
	if (from->statement)
		session_check_statement(from->statement);
	ldr_publish_job(run, job, from->staging, from->statement);
}

/* The same in a subtransaction: NULL, or the error that undid it. */
static ErrorData *
session_try(LdrRun *run, LdrJob *job, const LdrSessionJob *from)
{
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile edata = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(run->cxt);
	PG_TRY();
	{
		session_work(run, job, from);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(run->cxt);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(run->cxt);
	CurrentResourceOwner = owner;
	return edata;
}

/* How many times it was tried is the client's to count. */
static void
session_record_error(LdrRun *run, const LdrJob *job, ErrorData *edata)
{
	int64		id = run->package->package_id;
	bool		again = ldr_error_is_transient(edata) || edata->sqlerrcode == ERRCODE_QUERY_CANCELED;

	ldr_job_failed(id, job->ordinal, again ? "retry" : "failed", run->started_at, edata);
	ldr_event(id, again ? "job retry" : "job failed", job->job_id, "%s: %s",
			  unpack_sql_state(edata->sqlerrcode), edata->message);
}

/*
 * Code of the tables must not become who the session was before SET ROLE or SET SESSION
 * AUTHORIZATION, no more than in a worker: see environment.c. Until the commit, in which deferred
 * triggers run, and not beyond: the next transaction begins in there.
 */
static bool session_guarded = false;
static Oid	session_role;

static void
session_xact_callback(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (session_guarded && event == XACT_EVENT_COMMIT)	/* an abort does so by itself */
		SetUserIdAndSecContext(session_role, 0);
	session_guarded = false;
}

static void
session_guard(void)
{
	static bool registered = false;
	int			sec;

	if (!registered)
		RegisterXactCallback(session_xact_callback, NULL);
	registered = true;
	GetUserIdAndSecContext(&session_role, &sec);
	SetUserIdAndSecContext(session_role, sec | SECURITY_LOCAL_USERID_CHANGE);
	session_guarded = true;
}

void
ldr_session_run(LdrRun *run, LdrJob *job, const LdrSessionJob *from)
{
	ErrorData  *volatile edata = NULL;

	ldr_worker_package = run->package->package_id;
	ldr_progress_begin(ldr_worker_package, GetUserId(), LDR_ROLE_SESSION);
	ldr_progress_totals(1, job->stamp.size);
	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		session_guard();
		edata = session_try(run, job, from);
		if (edata)
			session_record_error(run, job, edata);
		PopActiveSnapshot();
		SPI_commit();
	}
	PG_FINALLY();
	{
		ldr_worker_package = 0;
		ldr_progress_end();
	}
	PG_END_TRY();
	if (edata)
		ReThrowError(edata);
}

void
ldr_session_complete(LdrRun *run)
{
	int64		id = run->package->package_id;

	ldr_lock_dataset(run->package->dataset, LDR_DATASET_RECORD);
	if (ldr_system_is_loaded(run->dir->schema, run->package->dataset, run->package->load_id))
		return;
	ldr_stage_release_staging(id);
	ldr_system_record_load(run);
	ldr_package_loaded(id, run->started_at);
	ldr_event(id, "loaded", NULL, "%s", "");
	ldr_notify(id, "loaded");
}
