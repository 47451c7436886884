/*
 * api/airbyte_sync.c: a sync that a session feeds: open, write as often as messages come, and close.
 *
 * The session that opens a sync feeds the one worker that loads it; what is kept of that is in this
 * file, and goes with the session.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "api/airbyte.h"
#include "api/api.h"
#include "compat.h"
#include "publish/stream.h"
#include "worker/feed.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(loader_airbyte_open);
PG_FUNCTION_INFO_V1(loader_airbyte_write);
PG_FUNCTION_INFO_V1(loader_airbyte_close);

/* A sync that this session has opened. */
typedef struct OpenSync
{
	int64		package_id;
	Oid			role;			/* as whom the worker loads what comes */
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

/* --- syncs that are in the way ------------------------------------------------------------------ */

/* Nobody works on the sync any more, and nobody has said how it ended: it has failed. */
static void
sync_record_death(int64 package_id, ErrorData *edata)
{
	ldr_package_failed(package_id, "failed", GetCurrentTimestamp(), edata);
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
	sync->role = package->role;
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
	options = ldr_airbyte_options(fcinfo, 0);
	ldr_airbyte_read_choice(fcinfo, 2, options, &destination_name);
	catalog = ldr_sync_catalog(text, options);
	ldr_airbyte_check_rights(catalog, options);
	package = ldr_airbyte_describe(options, text, destination_name);
	package->load_id = DatumGetCString(DirectFunctionCall1(uuid_out,
														   DirectFunctionCall1(gen_random_uuid,
																			   (Datum) 0)));
	package->package_id = ldr_package_insert(package);
	ldr_airbyte_insert(package, catalog, "messages", &none);
	sync_check_rivals(package);
	sync_start(package);
	PG_RETURN_INT64(package->package_id);
}

/*
 * The sync of a call, or an error that says why there is none. A session may have become another
 * role since, or run a function of one, and what that sends would be loaded as this one.
 */
static OpenSync *
sync_of_call(int64 package_id, const char *function)
{
	OpenSync   *sync = sync_find(package_id);

	ldr_api_writes(psprintf("%s()", function));
	sync_check_autocommit(function);
	if (sync == NULL || !has_privs_of_role(GetUserId(), sync->role))
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

	return package == NULL || ldr_package_has_ended(package);
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
