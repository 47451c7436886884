/*
 * api/airbyte.c: what an Airbyte destination does: spec, check, and write, which here is open, write
 * as often as messages come, and close.
 *
 * The session that opens a sync feeds the one worker that loads it; what is kept of that is in this
 * file, and goes with the session.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "api/api.h"
#include "compat.h"
#include "loader.h"
#include "publish/stream.h"
#include "schema/live.h"
#include "worker/feed.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(loader_airbyte_spec);
PG_FUNCTION_INFO_V1(loader_airbyte_check);
PG_FUNCTION_INFO_V1(loader_airbyte_open);
PG_FUNCTION_INFO_V1(loader_airbyte_write);
PG_FUNCTION_INFO_V1(loader_airbyte_close);
PG_FUNCTION_INFO_V1(loader_airbyte_states);
PG_FUNCTION_INFO_V1(loader_start_stream);

/* A sync that this session has opened. */
typedef struct OpenSync
{
	int64		package_id;
	LdrFeed    *feed;
	bool		fresh;			/* opened by the transaction in hand, which may be rolled back */
	bool		cut_off;		/* a call was interrupted, so messages are missing */
} OpenSync;

static List *open_syncs = NIL;	/* of OpenSync, in TopMemoryContext */

static OpenSync *
sync_find(int64 package_id)
{
	ListCell   *lc;

	foreach(lc, open_syncs)
		if (((OpenSync *) lfirst(lc))->package_id == package_id)
			return lfirst(lc);
	return NULL;
}

/* --- the configuration -------------------------------------------------------------------------- */

static char *
airbyte_utf8(char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

/* The configuration of an argument, {} for NULL; the error in *err. */
static LdrAirbyteConfig *
airbyte_parse_config(FunctionCallInfo fcinfo, int arg, LdrConfigUse use, LdrError *err)
{
	LdrAirbyteConfig *config = NULL;
	char	   *text = "{}";

	if (!PG_ARGISNULL(arg))
	{
		Jsonb	   *json = PG_GETARG_JSONB_P(arg);

		text = airbyte_utf8(JsonbToCString(NULL, &json->root, VARSIZE(json)));
	}
	if (ldr_airbyte_config_parse(text, strlen(text), use, &config, err) != LDR_OK)
		return NULL;
	return config;
}

/* What a sync needs of it; names become those of schemas. */
static LdrSyncOptions *
airbyte_options(FunctionCallInfo fcinfo, int arg)
{
	LdrError	err = {0};
	LdrAirbyteConfig *config = airbyte_parse_config(fcinfo, arg, LDR_CONFIG_IN_SESSION, &err);
	LdrSyncOptions *options = palloc0(sizeof(LdrSyncOptions));

	if (config == NULL)
		ldr_raise_in(&err, "Argument \"config\"");
	options->schema = ldr_airbyte_identifier(config->schema);
	options->raw_data_schema = ldr_airbyte_identifier(config->raw_data_schema);
	options->source_name = pg_any_to_server(config->source_name, strlen(config->source_name),
											PG_UTF8);
	if (options->source_name == config->source_name)
		options->source_name = pstrdup(config->source_name);
	options->soft_delete = config->soft_delete;
	options->fail_on_bad_value = config->fail_on_bad_value;
	ldr_airbyte_config_free(config);
	return options;
}

/* --- spec and check ----------------------------------------------------------------------------- */

/*
 * loader_airbyte_spec(): the payload of a SPEC message.
 */
Datum
loader_airbyte_spec(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(ldr_airbyte_spec));
}

/* Why the role could not sync into this schema; NULL: it could. */
static char *
check_schema(const char *schema)
{
	Oid			namespace = get_namespace_oid(schema, true);
	Oid			user = GetUserId();

	if (ldr_options_is_reserved(schema))
		return psprintf("schema name \"%s\" is reserved", schema);
	if (OidIsValid(namespace) && ldr_namespace_aclcheck(namespace, user, ACL_CREATE) != ACLCHECK_OK)
		return psprintf("role \"%s\" needs CREATE on schema \"%s\"",
						GetUserNameFromId(user, false), schema);
	if (!OidIsValid(namespace) &&
		ldr_database_aclcheck(MyDatabaseId, user, ACL_CREATE) != ACLCHECK_OK)
		return psprintf("role \"%s\" needs CREATE on database \"%s\", or a schema \"%s\" that is "
						"its own", GetUserNameFromId(user, false),
						get_database_name(MyDatabaseId), schema);
	return NULL;
}

/* The same of the schema of staging tables, which nobody else may own. */
static char *
check_stage_schema(const char *schema, const char *dataset)
{
	Oid			namespace = get_namespace_oid(schema, true);
	char	   *why;

	if (OidIsValid(namespace) && 
		!ldr_create_trusts(ldr_live_schema_owner(namespace), get_namespace_oid(dataset, true)))
		why = psprintf("schema \"%s\" belongs to another role", schema);
	else
		why = check_schema(schema);
	return why == NULL ? NULL
		: psprintf("%s; it is for staging tables, and raw_data_schema of the configuration can name "
				   "another one", why);
}

/* Why a sync could not be run here and now; NULL: it could. */
static char *
check_session(const LdrAirbyteConfig *config)
{
	char	   *why;

	if (RecoveryInProgress())
		return "the server is a standby, which cannot be written to";
	if (XactReadOnly)
		return "the session is read-only";
	if (ldr_database_aclcheck(MyDatabaseId, GetUserId(), ACL_CONNECT) != ACLCHECK_OK)
		return psprintf("role \"%s\" needs CONNECT on database \"%s\"",
						GetUserNameFromId(GetUserId(), false), get_database_name(MyDatabaseId));
	why = check_schema(ldr_airbyte_identifier(config->schema));
	if (why == NULL)
		why = check_stage_schema(ldr_airbyte_identifier(config->raw_data_schema),
								 ldr_airbyte_identifier(config->schema));
	return why;
}

/*
 * loader_airbyte_check(config, validate_only): the payload of a CONNECTION_STATUS message.
 */
Datum
loader_airbyte_check(PG_FUNCTION_ARGS)
{
	bool		validate_only = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	LdrError	err = {0};
	LdrAirbyteConfig *config = airbyte_parse_config(fcinfo, 0, validate_only ? LDR_CONFIG_TO_CONNECT
													: LDR_CONFIG_IN_SESSION, &err);
	char	   *why = NULL;
	StringInfoData status;

	if (config == NULL)
		why = psprintf("%s%s%s", ldr_printable(err.message), err.hint[0] ? ". " : "", err.hint);
	else if (!validate_only)
		why = check_session(config);
	ldr_airbyte_config_free(config);
	initStringInfo(&status);
	appendStringInfo(&status, "{\"status\": \"%s\"", why ? "FAILED" : "SUCCEEDED");
	if (why)
	{
		appendStringInfoString(&status, ", \"message\": ");
		escape_json(&status, why);
	}
	appendStringInfoChar(&status, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(status.data)));
}

/* --- a sync in the catalog ---------------------------------------------------------------------- */

static LdrPackage *
sync_describe(const LdrSyncOptions *options, const char *catalog, char *destination_name)
{
	LdrPackage *package = palloc0(sizeof(LdrPackage));

	package->schema_name = options->source_name[0] ? options->source_name : "airbyte";
	package->schema_hash = "";
	package->dataset = options->schema;
	package->destination_name = destination_name;
	package->mode = LDR_MODE_STREAM;
	package->state = "new";
	package->catalog = pstrdup(catalog);
	package->options = ldr_sync_options_to_json(options);
	package->settings = ldr_environment_collect();
	package->role = GetUserId();
	package->role_name = GetUserNameFromId(package->role, false);
	package->system_identifier = (int64) GetSystemIdentifier();
	package->database = MyDatabaseId;
	return package;
}

/* The table's name for loader.jobs and loader.tables, where the package's dataset goes without. */
static char *
sync_label(const LdrPackage *package, const LdrStream *stream)
{
	return strcmp(stream->dataset, package->dataset) == 0 ? pstrdup(stream->table)
		: psprintf("%s.%s", stream->dataset, stream->table);
}

/* The streams of a sync, each with its job. */
static void
sync_insert_streams(const LdrPackage *package, const LdrAirbyteCatalog *catalog,
					const char *file_name, const LdrFileStamp *stamp)
{
	static const char *const modes[] = {"append", "overwrite", "append_dedup"};

	for (int i = 0; i < catalog->nstreams; i++)
	{
		const LdrStream *stream = &catalog->streams[i];
		LdrPackageStream s = {0};
		LdrJob		job = {0};

		s.ordinal = job.ordinal = i + 1;
		s.name = pg_any_to_server(stream->name, strlen(stream->name), PG_UTF8);
		s.name_space = stream->name_space
			? pg_any_to_server(stream->name_space, strlen(stream->name_space), PG_UTF8) : NULL;
		s.dataset = stream->dataset;
		s.table_name = stream->table;
		s.mode = modes[stream->mode];
		ldr_package_stream_insert(package->package_id, &s);
		job.table_name = sync_label(package, stream);
		job.job_id = psprintf("%s.%d", job.table_name, job.ordinal);
		job.file_name = unconstify(char *, file_name);
		job.format = "airbyte";
		job.kind = "load";
		job.stamp = *stamp;
		ldr_job_insert(package->package_id, &job);
	}
	ldr_event(package->package_id, "registered", NULL, "%d stream%s.", catalog->nstreams,
			  catalog->nstreams == 1 ? "" : "s");
}

static char *
sync_optional_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/* The arguments from source_name on, which open and start have in the same order. */
static void
sync_read_choice(FunctionCallInfo fcinfo, int first, LdrSyncOptions *options,
				 char **destination_name)
{
	List	   *streams = ldr_api_names(fcinfo, first + 1, "streams");
	ListCell   *lc;

	if (!PG_ARGISNULL(first))	/* else that of the configuration */
		options->source_name = sync_optional_text(fcinfo, first);
	if (!PG_ARGISNULL(first + 1))
	{
		options->streams = palloc(sizeof(char *) * (list_length(streams) + 1));
		foreach(lc, streams)
			options->streams[options->nstreams++] = airbyte_utf8(lfirst(lc));
	}
	options->write_strategy = sync_optional_text(fcinfo, first + 2);
	options->force_full_refresh = !PG_ARGISNULL(first + 3) && PG_GETARG_BOOL(first + 3);
	options->store_state = PG_ARGISNULL(first + 4) || PG_GETARG_BOOL(first + 4);
	*destination_name = sync_optional_text(fcinfo, first + 5);
}

/* Who may not connect cannot have a worker, and who may not write must not occupy a table's name. */
static void
sync_check_rights(const LdrAirbyteCatalog *catalog)
{
	if (ldr_database_aclcheck(MyDatabaseId, GetUserId(), ACL_CONNECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for database \"%s\"", get_database_name(MyDatabaseId)),
				 errdetail("The sync's worker would connect as role \"%s\", which may not.",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("GRANT CONNECT ON DATABASE ... TO it.")));
	for (int i = 0; i < catalog->nstreams; i++)
	{
		const LdrStream *stream = &catalog->streams[i];
		Oid			namespace = get_namespace_oid(stream->dataset, true);
		Oid			relid = OidIsValid(namespace) ? get_relname_relid(stream->table, namespace)
			: InvalidOid;
		char	   *why = NULL;

		if (!OidIsValid(relid))
			why = check_schema(stream->dataset);
		else if (pg_class_aclcheck(relid, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
			why = psprintf("role \"%s\" needs INSERT on it",
						   GetUserNameFromId(GetUserId(), false));
		if (why)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to load into table %s",
							quote_qualified_identifier(stream->dataset, stream->table)),
					 errdetail("%s.", why),
					 errhint("GRANT it, or sync into another schema.")));
	}
}

/* Rows of streams that are not just appended wait in a schema that must be the role's. */
static void
sync_check_stage(const LdrAirbyteCatalog *catalog, const LdrSyncOptions *options)
{
	char	   *why = NULL;

	for (int i = 0; i < catalog->nstreams && why == NULL; i++)
		if (catalog->streams[i].mode != LDR_STREAM_APPEND)
			why = check_stage_schema(options->raw_data_schema, catalog->streams[i].dataset);
	if (why)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for staging tables"),
				 errdetail("%s.", why)));
}

/* Nobody works on the sync any more, and nobody has said how it ended: it has failed. */
static void
sync_record_death(int64 package_id, ErrorData *edata)
{
	ldr_package_failed(package_id, "failed", GetCurrentTimestamp(), edata);
	ldr_package_stream_interrupt(package_id);
	ldr_event(package_id, "failed", NULL, "%s", edata->message);
	ldr_notify(package_id, "failed");
}

/* A sync that has a table of this one: dead, and then it has failed; or alive, and in the way. */
static void
sync_check_rival(int64 rival)
{
	LdrPackage *package = ldr_package_get(rival, true);
	ErrorData	edata = {0};

	if (package == NULL)
		return;
	if (strcmp(package->mode, LDR_MODE_STREAM) != 0 || sync_find(rival) ||
		!ldr_feed_is_gone(rival) ||
		!ldr_package_lock(rival, false, false))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("package " INT64_FORMAT " is loading the same table", rival),
				 errhint("Let it end, or call loader_cancel(" INT64_FORMAT ").", rival)));
	edata.sqlerrcode = ERRCODE_CONNECTION_FAILURE;
	edata.message = "the session that sent the messages has gone";
	edata.detail = "The sync was interrupted, and its worker with it.";
	edata.hint = "The next sync goes on from the last state.";
	sync_record_death(rival, &edata);
}

static void
sync_check_rivals(const LdrPackage *package)
{
	ListCell   *lc;

	foreach(lc, ldr_sync_rivals(package->package_id))
		sync_check_rival(*(int64 *) lfirst(lc));
}

/* --- open, write, close ------------------------------------------------------------------------- */

/* The worker sees what is committed, and its swaps want locks that a transaction might hold. */
static void
sync_check_autocommit(const char *function)
{
	if (IsTransactionBlock())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", function),
				 errhint("A sync commits by itself, at the states of its source: call the functions "
						 "in autocommit.")));
}

static void
sync_drop(OpenSync *sync)
{
	ldr_feed_close(sync->feed);
	ldr_feed_unlock(sync->package_id);
	open_syncs = list_delete_ptr(open_syncs, sync);
	pfree(sync);
}

/* Of an open that is rolled back nothing may be left: neither its lock nor its shared memory. */
static void
sync_xact_callback(XactEvent event, void *arg)
{
	List	   *syncs;
	ListCell   *lc;

	if (open_syncs == NIL || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;
	syncs = list_copy(open_syncs);
	foreach(lc, syncs)
	{
		OpenSync   *sync = lfirst(lc);

		if (sync->fresh && event == XACT_EVENT_ABORT)
			sync_drop(sync);
		else
			sync->fresh = false;
	}
	list_free(syncs);
}

/* Syncs that were forgotten. */
static void
sync_drop_dead(void)
{
	List	   *syncs = list_copy(open_syncs);
	ListCell   *lc;

	foreach(lc, syncs)
	{
		OpenSync   *sync = lfirst(lc);

		if (!sync->fresh && ldr_package_get(sync->package_id, true) == NULL)
			sync_drop(sync);
	}
}

static void
sync_start(LdrPackage *package)
{
	static bool registered = false;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	OpenSync   *sync = palloc0(sizeof(OpenSync));
	BackgroundWorkerHandle *worker;
	dsm_handle	handle;

	if (!registered)
		RegisterXactCallback(sync_xact_callback, NULL);
	registered = true;
	sync->package_id = package->package_id;
	sync->fresh = true;
	sync->feed = ldr_feed_make(&handle);
	open_syncs = lappend(open_syncs, sync);
	MemoryContextSwitchTo(old);
	ldr_feed_lock(package->package_id);
	ldr_package_want(package->package_id, package->system_identifier, package->database);
	old = MemoryContextSwitchTo(TopMemoryContext);
	worker = ldr_sync_start(package, handle);
	MemoryContextSwitchTo(old);
	if (worker == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no worker of the server is free"),
				 errdetail("A sync needs one for as long as it lasts."),
				 errhint("Try again later, or raise max_worker_processes.")));
	ldr_feed_set_worker(sync->feed, worker);
}

/*
 * loader_airbyte_open(config, catalog, source_name, streams, write_strategy, force_full_refresh,
 * store_state, destination_name): begin a sync that this session feeds.
 */
Datum
loader_airbyte_open(PG_FUNCTION_ARGS)
{
	LdrSyncOptions *options;
	LdrAirbyteCatalog *catalog;
	LdrPackage *package;
	LdrFileStamp none = {0};
	char	   *destination_name;
	char	   *text = ldr_api_text(fcinfo, 1, "catalog");

	ldr_api_writes("loader_airbyte_open()");
	sync_check_autocommit("loader_airbyte_open");
	sync_drop_dead();
	options = airbyte_options(fcinfo, 0);
	sync_read_choice(fcinfo, 2, options, &destination_name);
	catalog = ldr_sync_catalog(text, options);
	sync_check_rights(catalog);
	sync_check_stage(catalog, options);
	package = sync_describe(options, text, destination_name);
	package->load_id = DatumGetCString(DirectFunctionCall1(uuid_out,
														   DirectFunctionCall1(gen_random_uuid,
																			   (Datum) 0)));
	package->package_id = ldr_package_insert(package);
	sync_insert_streams(package, catalog, "messages", &none);
	sync_check_rivals(package);
	sync_start(package);
	PG_RETURN_INT64(package->package_id);
}

/* The sync of a call, or an error that says why there is none. */
static OpenSync *
sync_of_call(int64 package_id, const char *function)
{
	OpenSync   *sync = sync_find(package_id);

	ldr_api_writes(psprintf("%s()", function));
	sync_check_autocommit(function);
	if (sync == NULL)
	{
		(void) ldr_api_package(package_id, true);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " is no sync that this session has open",
						package_id),
				 errhint("Messages go to the sync from the session that called "
						 "loader_airbyte_open.")));
	}
	if (sync->fresh)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("package " INT64_FORMAT " was opened in this transaction", package_id),
				 errhint("Its worker starts when the transaction has committed: call the functions "
						 "one by one, in autocommit.")));
	return sync;
}

static void
write_return(FunctionCallInfo fcinfo, List *answers)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	foreach(lc, answers)
	{
		Datum		value = CStringGetTextDatum(lfirst(lc));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
}

/* Hand the bytes to the worker. What an interrupt leaves out is lost, and so is the sync. */
static void
write_send(OpenSync *sync, const char *data, size_t len)
{
	sync->cut_off = true;
	(void) ldr_feed_send(sync->feed, data, len);
	sync->cut_off = false;
}

/* The worker has gone, and what it said was returned: why? */
static void
write_raise_end(OpenSync *sync)
{
	LdrPackage *package = ldr_package_get(sync->package_id, true);

	if (package == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package " INT64_FORMAT " does not exist", sync->package_id)));
	if (strcmp(package->state, "failed") == 0 || strcmp(package->state, "cancelled") == 0)
		ldr_api_raise_failure(package);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the worker of package " INT64_FORMAT " has ended", sync->package_id),
			 errdetail("Its state is %s.", package->state),
			 errhint("Look into the server's log.")));
}

/*
 * loader_airbyte_write(package_id, messages): hand messages to the sync's worker, and return the
 * states that it has committed since the last call.
 */
Datum
loader_airbyte_write(PG_FUNCTION_ARGS)
{
	OpenSync   *sync;
	List	   *answers;
	bool		ended;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"package_id\" must not be null")));
	sync = sync_of_call(PG_GETARG_INT64(0), "loader_airbyte_write");
	ldr_srf_begin_scalar(fcinfo);
	if (sync->cut_off)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a call for package " INT64_FORMAT " was interrupted", sync->package_id),
				 errdetail("Messages are missing, so the sync cannot go on."),
				 errhint("Call loader_airbyte_close, and open a new sync.")));
	ended = ldr_feed_has_ended(sync->feed);
	if (!ended && !PG_ARGISNULL(1))
	{
		bytea	   *messages = PG_GETARG_BYTEA_PP(1);

		write_send(sync, VARDATA_ANY(messages), VARSIZE_ANY_EXHDR(messages));
	}
	answers = ldr_feed_answers(sync->feed);
	/* what ends during the call is for the next one, so that this one can return its states */
	if (ended && answers == NIL)
		write_raise_end(sync);
	write_return(fcinfo, answers);
	PG_RETURN_NULL();
}

/* The report, with the states that no call has returned. */
static char *
close_report(int64 package_id, List *answers)
{
	char	   *report = ldr_sync_report(package_id);
	StringInfoData text;
	ListCell   *lc;
	const char *separator = "";

	initStringInfo(&text);
	if (report == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package " INT64_FORMAT " does not exist", package_id)));
	appendBinaryStringInfo(&text, report, strlen(report) - 1);
	appendStringInfoString(&text, ", \"states\" : [");
	foreach(lc, answers)
	{
		appendStringInfo(&text, "%s%s", separator, (char *) lfirst(lc));
		separator = ", ";
	}
	appendStringInfoString(&text, "]}");
	return text.data;
}

static bool
close_has_ended(int64 package_id)
{
	LdrPackage *package = ldr_package_get(package_id, true);

	return package == NULL || (strcmp(package->state, "new") != 0 &&
							   strcmp(package->state, "loading") != 0);
}

/*
 * Wait until it is known how the sync ended: the worker of one that was cut off sees that, and
 * records it. One that was terminated, or could not start, has recorded nothing.
 */
static void
close_wait(int64 package_id)
{
	ErrorData	edata = {0};

	while (!close_has_ended(package_id))
	{
		if (ldr_package_lock(package_id, false, false))
		{
			edata.sqlerrcode = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
			edata.message = "the worker of the sync has ended";
			edata.detail = "It was terminated, or could not start.";
			edata.hint = "Look into the server's log. Open a new sync; the source goes on from the "
				"last state (loader_airbyte_states).";
			if (!close_has_ended(package_id))
				sync_record_death(package_id, &edata);
			return;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * loader_airbyte_close(package_id): the input is at its end; wait for that of the sync, and report.
 */
Datum
loader_airbyte_close(PG_FUNCTION_ARGS)
{
	int64		package_id = PG_GETARG_INT64(0);
	OpenSync   *sync = sync_of_call(package_id, "loader_airbyte_close");
	List	   *answers;
	bool		was_cut_off = sync->cut_off;

	sync->cut_off = true;		/* if this call is interrupted */
	if (was_cut_off)
		ldr_feed_cut(sync->feed);
	else
		(void) ldr_feed_finish(sync->feed);
	answers = ldr_feed_answers(sync->feed);
	sync_drop(sync);
	close_wait(package_id);
	PG_RETURN_TEXT_P(cstring_to_text(close_report(package_id, answers)));
}

/*
 * loader_airbyte_states(source_name, destination_name, streams): where a source goes on.
 */
Datum
loader_airbyte_states(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(ldr_stream_states(sync_optional_text(fcinfo, 0),
													   sync_optional_text(fcinfo, 1),
													   PG_ARGISNULL(2) ? (Datum) 0
													   : PG_GETARG_DATUM(2))));
}

/* --- messages in a file ------------------------------------------------------------------------- */

/* What tells one file from another: its name, size, and when it was written. */
static char *
file_load_id(const char *file_name, const LdrFileStamp *stamp)
{
	return psprintf("%s.%llu.%lld", file_name, (unsigned long long) stamp->size,
					(long long) stamp->mtime_ns);
}

/* The path by which the file is found again, its stamp, and its name. */
static char *
file_find(const char *source, LdrFileStamp *stamp, char **file_name)
{
	LdrPackageDir *dir = ldr_package_of_file();

	*file_name = pstrdup(ldr_package_point_at(dir, source, stamp));
	return psprintf("%s/%s", strcmp(dir->jobs_path, "/") == 0 ? "" : dir->jobs_path, *file_name);
}

/* The same file again: what was loaded is loaded, what failed goes on. */
static LdrPackage *
file_known(const LdrPackage *package, bool *is_new)
{
	LdrPackage *known = ldr_package_find(package->dataset, package->schema_name, package->load_id);

	if (known == NULL)
		return NULL;
	if (!ldr_package_may_act(known))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("package \"%s\" was registered by another role", package->load_id),
				 errdetail("Role \"%s\" loads it into dataset \"%s\".", known->role_name,
						   known->dataset)));
	*is_new = strcmp(known->state, "new") == 0;
	if (strcmp(known->state, "loaded") == 0)
		ereport(NOTICE,
				(errmsg("file \"%s\" is already loaded into dataset \"%s\"", package->source,
						package->dataset)));
	else if (strcmp(known->state, "failed") == 0 || strcmp(known->state, "cancelled") == 0)
		ereport(NOTICE,
				(errmsg("package " INT64_FORMAT " of this file %s before", known->package_id,
						strcmp(known->state, "failed") == 0 ? "failed" : "was cancelled"),
				 errhint("loader_resume(" INT64_FORMAT ") goes on with it.", known->package_id)));
	return known;
}

/*
 * Enter a file of messages in the catalog. The arguments of loader_start: source, catalog, config,
 * source_name, streams, write_strategy, force_full_refresh, store_state, destination_name.
 */
static LdrPackage *
file_register(FunctionCallInfo fcinfo, bool *is_new)
{
	char	   *source = ldr_api_text(fcinfo, 0, "source");
	char	   *text = ldr_api_text(fcinfo, 1, "catalog");
	LdrSyncOptions *options = airbyte_options(fcinfo, 2);
	LdrAirbyteCatalog *catalog;
	LdrFileStamp stamp;
	LdrPackage *package;
	LdrPackage *known;
	char	   *destination_name;
	char	   *file_name;

	sync_read_choice(fcinfo, 3, options, &destination_name);
	catalog = ldr_sync_catalog(text, options);
	sync_check_rights(catalog);
	sync_check_stage(catalog, options);
	package = sync_describe(options, text, destination_name);
	package->mode = LDR_MODE_PACKAGE;
	package->source = file_find(source, &stamp, &file_name);
	package->load_id = file_load_id(file_name, &stamp);
	known = file_known(package, is_new);
	if (known)
		return known;
	package->package_id = ldr_package_insert(package);
	if (package->package_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("file \"%s\" was registered by another session meanwhile",
						package->source)));
	sync_insert_streams(package, catalog, file_name, &stamp);
	*is_new = true;
	return package;
}

/*
 * loader_start(source, catalog, ...): load the messages of a file in the background.
 */
Datum
loader_start_stream(PG_FUNCTION_ARGS)
{
	LdrPackage *package;
	bool		is_new;

	ldr_api_writes("loader_start()");
	package = file_register(fcinfo, &is_new);
	if (is_new)
		ldr_api_start(package);
	PG_RETURN_INT64(package->package_id);
}
