/*
 * api/jobs.c: job mode, the functions by which a client of dlt's kind drives a load itself: one
 * call for a file, one for what follows for a chain of tables, one for the end.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "api/api.h"
#include "compat.h"
#include "fault.h"
#include "loader.h"
#include "source/origin.h"
#include "worker/session.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(loader_start_file_load);
PG_FUNCTION_INFO_V1(loader_create_table_chain_completed_followup_jobs);
PG_FUNCTION_INFO_V1(loader_run_followup_job);
PG_FUNCTION_INFO_V1(loader_complete_load);
PG_FUNCTION_INFO_V1(loader_raise);

#define JOBS_HINT	"Call it outside of a transaction block, with autocommit on."

static char *
jobs_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/* The documents of a load, by the arguments that all calls begin with: dataset, schema, load_id. */
static LdrPackageDir *
jobs_documents(FunctionCallInfo fcinfo, char **dataset, const char *state)
{
	char	   *schema = ldr_api_text(fcinfo, 1, "schema");
	char	   *load_id = ldr_api_text(fcinfo, 2, "load_id");
	LdrPackageDir *dir;

	*dataset = ldr_api_text(fcinfo, 0, "dataset");
	ldr_api_check_dataset(*dataset);
	if (load_id[0] == '\0' || strlen(load_id) > 64)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("load_id \"%s\" is empty or longer than 64 bytes", load_id)));
	dir = ldr_package_of_documents(load_id, schema, state);
	ldr_api_check_encoding(dir->schema->name, schema, strlen(schema));
	return dir;
}

/* loader_start_file_load and loader_run_followup_job are procedures: they return a row. */
static Datum
jobs_row(FunctionCallInfo fcinfo, int64 package_id, const char *state)
{
	TupleDesc	desc;
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(state)};
	bool		nulls[] = {package_id == 0, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * Commit what was entered, and run it in the next transaction. The first commit need not be on disk:
 * a crash that takes it away leaves nothing of the second either. Others wait to enter their jobs.
 */
static void
jobs_run(LdrRun *run, LdrJob *job, const LdrSessionJob *from)
{
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	LDR_FAULT("session: job to be entered");
	SPI_commit();
	MemoryContextSwitchTo(run->cxt);
	if (job)
		ldr_session_run(run, job, from);
	SPI_finish();
}

/*
 * CALL loader_start_file_load(dataset, schema, load_id, file_name, source, statement, staging,
 * csv_format, replace_strategy, staging_dataset_name_layout, destination_name, INOUT package_id,
 * INOUT state)
 */
Datum
loader_start_file_load(PG_FUNCTION_ARGS)
{
	LdrSessionJob from = {0};
	LdrPackageDir *dir;
	LdrRun	   *run;
	LdrJob	   *job;
	LdrOptions *options;
	char	   *dataset;

	ldr_api_check_commits(fcinfo, JOBS_HINT);
	ldr_api_writes("loader_start_file_load()");
	dir = jobs_documents(fcinfo, &dataset, NULL);
	from.file_name = ldr_api_text(fcinfo, 3, "file_name");
	from.source = jobs_text(fcinfo, 4);
	from.statement = jobs_text(fcinfo, 5);
	from.staging = !PG_ARGISNULL(6) && PG_GETARG_BOOL(6);
	if ((from.source == NULL) == (from.statement == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job \"%s\" has %s", from.file_name,
						from.source ? "both a source and a statement"
						: "neither a source nor a statement"),
				 errhint("Give one of them.")));
	options = ldr_options_of_jobs(PG_ARGISNULL(7) ? NULL : PG_GETARG_JSONB_P(7),
								  jobs_text(fcinfo, 8), jobs_text(fcinfo, 9),
								  jobs_text(fcinfo, 10));
	ldr_api_check_rights(dir, dataset);
	run = ldr_session_open(dir, dataset, options, LDR_TAKE_TO_ENTER);
	if (run)
	{
		job = ldr_session_enter(run, &from);
		jobs_run(run, job, &from);
	}
	/* an upload was sent for this job alone; what is staged may have to be staged again */
	if (from.source && (!from.staging || run == NULL))
		ldr_origin_file_remove(from.source);
	return jobs_row(fcinfo, run ? run->package->package_id : 0, "completed");
}

/* The root of the chain, with what follows for it; NULL: nothing does. */
static const LdrSchemaTable *
jobs_followed_root(const LdrPackageDir *dir, const LdrOptions *options, const char *name)
{
	const LdrSchemaTable *root = ldr_schema_table(dir->schema, name);

	if (root == NULL || root->root != root)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" is not a root table of the schema", name)));
	if (root->disposition == LDR_MERGE)
		ldr_api_check_merge(dir, root);
	else if (root->disposition != LDR_REPLACE ||
			 strcmp(ldr_replace_strategy(root, options), "truncate-and-insert") == 0)
		return NULL;
	return root;
}

/*
 * One row: the statement works whatever the search_path, and has neither a newline nor a semicolon,
 * at which dlt would split it.
 */
static void
jobs_put_followup(FunctionCallInfo fcinfo, const LdrRun *run, const LdrJob *job)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *schema = get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid));
	char	   *content = psprintf("CALL %s(" INT64_FORMAT ", %s)",
								   quote_qualified_identifier(schema, "loader_run_followup_job"),
								   run->package->package_id, quote_literal_cstr(job->job_id));
	Datum		values[] = {CStringGetTextDatum(job->job_id), CStringGetTextDatum(job->kind),
	CStringGetTextDatum(job->file_name), CStringGetTextDatum(content)};
	bool		nulls[lengthof(values)] = {false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * loader_create_table_chain_completed_followup_jobs(dataset, schema, load_id, root_table,
 * replace_strategy, staging_dataset_name_layout, state)
 */
Datum
loader_create_table_chain_completed_followup_jobs(PG_FUNCTION_ARGS)
{
	char	   *state = jobs_text(fcinfo, 6);
	char	   *dataset;
	LdrPackageDir *dir;
	const LdrSchemaTable *root;
	LdrOptions *options;
	LdrRun	   *run;
	LdrJob	   *job;

	ldr_api_writes("loader_create_table_chain_completed_followup_jobs()");
	ldr_srf_begin(fcinfo);
	dir = jobs_documents(fcinfo, &dataset, state);
	options = ldr_options_of_jobs(NULL, jobs_text(fcinfo, 4), jobs_text(fcinfo, 5), NULL);
	root = jobs_followed_root(dir, options, ldr_api_text(fcinfo, 3, "root_table"));
	if (root == NULL)
		return (Datum) 0;
	ldr_api_check_rights(dir, dataset);
	run = ldr_session_open(dir, dataset, options, LDR_TAKE_TO_ENTER);
	if (run == NULL)			/* the load is recorded: nothing is left to follow */
		return (Datum) 0;
	job = ldr_session_enter_followup(run, root, ldr_session_define(run, state));
	jobs_put_followup(fcinfo, run, job);
	return (Datum) 0;
}

/*
 * CALL loader_run_followup_job(package_id, job_id)
 */
Datum
loader_run_followup_job(PG_FUNCTION_ARGS)
{
	LdrPackage *package;
	LdrJob	   *job;

	ldr_api_check_commits(fcinfo, JOBS_HINT);
	ldr_api_writes("loader_run_followup_job()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"package_id\" must not be null")));
	package = ldr_api_package(PG_GETARG_INT64(0), true);
	job = ldr_job_find(package->package_id, ldr_api_text(fcinfo, 1, "job_id"));
	if (job == NULL || job->definition == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package " INT64_FORMAT " has no follow-up job \"%s\"",
						package->package_id, ldr_api_text(fcinfo, 1, "job_id")),
				 errhint("loader_create_table_chain_completed_followup_jobs makes them.")));
	if (strcmp(job->state, "completed") != 0)
		jobs_run(ldr_session_reopen(package, job), job, NULL);
	PG_RETURN_NULL();
}

/*
 * loader_complete_load(dataset, schema, load_id, destination_name)
 */
Datum
loader_complete_load(PG_FUNCTION_ARGS)
{
	char	   *dataset;
	LdrPackageDir *dir;
	LdrPackage *package;
	LdrRun	   *run;
	ListCell   *lc;

	ldr_api_writes("loader_complete_load()");
	dir = jobs_documents(fcinfo, &dataset, NULL);
	ldr_api_check_rights(dir, dataset);
	run = ldr_session_open(dir, dataset, ldr_options_of_jobs(NULL, NULL, NULL,
															 jobs_text(fcinfo, 3)),
						   LDR_TAKE_TO_END);
	if (run)
	{
		ldr_session_complete(run);
		foreach(lc, ldr_job_sources(run->package->package_id))
			ldr_origin_file_remove(lfirst(lc));
		PG_RETURN_INT64(run->package->package_id);
	}
	package = ldr_package_find(dataset, dir->schema->name, dir->load_id);
	if (package == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT64(package->package_id);
}

/*
 * loader_raise(package_id, job_id): the stored error of a package, or of one of its jobs.
 */
Datum
loader_raise(PG_FUNCTION_ARGS)
{
	LdrPackage *package;

	if (PG_ARGISNULL(0))
		PG_RETURN_VOID();
	package = ldr_api_package(PG_GETARG_INT64(0), true);
	if (!PG_ARGISNULL(1))
		ldr_job_raise(package->package_id, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	else if (strcmp(package->state, "failed") == 0 || strcmp(package->state, "cancelled") == 0)
		ldr_api_raise_failure(package);
	PG_RETURN_VOID();
}
