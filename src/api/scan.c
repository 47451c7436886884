/*
 * api/scan.c: loader_scan: the line to hand to pg_cron.
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "api/api.h"
#include "compat.h"
#include "loader.h"
#include "publish/publish.h"
#include "source/path.h"
#include "source/spool.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(loader_scan);

/*
 * Register one package, in a subtransaction: one that cannot be read must not keep the others
 * from being loaded. Its error becomes a WARNING. NULL if there is nothing to start.
 */
static LdrPackage *
scan_register(FunctionCallInfo fcinfo, const char *path)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	LdrPackage *volatile package = NULL;
	bool		is_new = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		package = ldr_api_register(fcinfo, path, DEBUG1, &is_new);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(cxt);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(cxt);
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			edata->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(edata);
		ereport(WARNING,
				(errcode(edata->sqlerrcode),
				 errmsg("skipped \"%s\": %s", ldr_printable(path), edata->message),
				 edata->detail ? errdetail("%s", edata->detail) : 0,
				 edata->hint ? errhint("%s", edata->hint) : 0));
		package = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	return is_new ? package : NULL;
}

/*
 * Register and start one package, in the current context: its documents and descriptors go when
 * that is reset. Returns its id, 0 if there is nothing to start. A package of the same load_id
 * that another directory has brought before is among seen, and is not started again.
 */
static int64
scan_visit(FunctionCallInfo fcinfo, const char *path, const char *dataset, List *seen, bool *slots)
{
	LdrPackage *package;
	ListCell   *lc;

	/*
	 * Known, whatever became of it: a failed package is not tried again every minute. A path that
	 * is no text of the database cannot be known, nor asked for; registration says so.
	 */
	if (pg_verifymbstr(path, strlen(path), true) &&
		ldr_package_source_is_known(path, GetUserId(), dataset))
		return 0;
	package = scan_register(fcinfo, path);
	if (package == NULL)
		return 0;
	foreach(lc, seen)
		if (*(int64 *) lfirst(lc) == package->package_id)
			return 0;
	*slots = ldr_package_begin(package, *slots);
	return package->package_id;
}

/*
 * loader_scan(directory, dataset, ...): start what is complete and was not loaded before, in
 * order of load_id, and resume what was interrupted.
 */
Datum
loader_scan(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *directory;
	const char *dataset = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *previous = "";
	List	   *seen = NIL;		/* of int64 *: the packages of load_id previous */
	ListCell   *lc;
	MemoryContext package_cxt;
	bool		slots = true;

	ldr_api_writes("loader_scan()");
	directory = ldr_directory_resolve(ldr_api_text(fcinfo, 0, "directory"));
	ldr_srf_begin_scalar(fcinfo);
	/* until commit; a call that overlaps finds nothing to do rather than a queue to stand in */
	if (!ldr_scan_lock(directory))
		return (Datum) 0;
	ldr_start_waiting(true, NULL);
	package_cxt = AllocSetContextCreate(CurrentMemoryContext, "loader package",
										ALLOCSET_DEFAULT_SIZES);
	foreach(lc, ldr_package_find_all(directory))
	{
		char	   *load_id = ldr_package_load_id(lfirst(lc));
		MemoryContext oldcxt;
		int64		package_id;
		Datum		value;
		bool		isnull = false;

		CHECK_FOR_INTERRUPTS();
		if (strcmp(load_id, previous) != 0)
		{
			list_free_deep(seen);
			seen = NIL;
			previous = load_id;
		}
		oldcxt = MemoryContextSwitchTo(package_cxt);
		package_id = scan_visit(fcinfo, lfirst(lc), dataset, seen, &slots);
		MemoryContextSwitchTo(oldcxt);
		MemoryContextReset(package_cxt);
		if (package_id == 0)
			continue;
		seen = lappend(seen, memcpy(palloc(sizeof(int64)), &package_id, sizeof(int64)));
		value = Int64GetDatum(package_id);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	ldr_package_sweep(ldr_retention, ldr_reject_retention);
	ldr_stage_sweep();
	ldr_spool_sweep();
	return (Datum) 0;
}
