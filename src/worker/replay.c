/*
 * worker/replay.c: rejected rows of a package, loaded again by the caller.
 *
 * A row goes straight into its table. That is what its job would have done, for tables that are
 * appended to, and for replaced ones as long as the rows of the package are those that are in them.
 * Those of merged tables take the way of a package: replay_merge.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "options.h"
#include "worker/load.h"
#include "worker/replay.h"

/* in memory at once */
#define REPLAY_ROWS		500
#define REPLAY_BYTES	(4 * 1024 * 1024)

static void
replay_add(LdrRejects *base, const LdrReject *reject)
{
	LdrReplayBatch *batch = (LdrReplayBatch *) base;
	MemoryContext old = MemoryContextSwitchTo(batch->cxt);
	LdrReject  *again = ldr_reject_copy(reject);

	again->id = ((LdrReject *) list_nth(batch->rows, (int) reject->row))->id;
	batch->again = lappend(batch->again, again);
	batch->refused[reject->row] = true;
	base->count++;
	MemoryContextSwitchTo(old);
}

static void
replay_store(LdrRejects *base)
{
	/* when all rows in hand are done */
}

bool
ldr_replay_batch(const LdrPackage *package, const LdrRejectJob *job, const LdrOptions *options,
				 Relation rel, int64 *after, LdrReplayBatch *batch)
{
	LdrLoadResult result = {0};
	LdrFormat	format;

	if (!ldr_format_from_name(job->job->format, &format))
		elog(ERROR, "job \"%s\" has unknown format \"%s\"", job->job->job_id, job->job->format);
	MemSet(batch, 0, sizeof(LdrReplayBatch));
	batch->base.add = replay_add;
	batch->base.store = replay_store;
	batch->cxt = CurrentMemoryContext;
	batch->rows = ldr_reject_list(package->package_id, job->job->job_id, *after, REPLAY_ROWS,
								  REPLAY_BYTES);
	if (batch->rows == NIL)
		return false;
	*after = ((LdrReject *) llast(batch->rows))->id;
	batch->refused = palloc0(sizeof(bool) * list_length(batch->rows));
	ldr_load_rejects(job->job, format, job->columns, rel, options, batch->rows, &batch->base,
					 &result);
	batch->inserted = result.rows_inserted;
	return true;
}

static void
__attribute__((noreturn))
replay_raise(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("rejected rows cannot be loaded again into this table"),
			 errdetail("%s", detail),
			 errhint("Load the rows in a new package; loader_discard removes these.")));
}

void
ldr_replay_check_insert(Oid relid)
{
	Oid			user = GetUserId();

	if (pg_class_aclcheck(relid, user, ACL_INSERT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, user, ACL_INSERT, ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

void
ldr_replay_check_columns(Oid relid, const char *table_name, const List *columns)
{
	StringInfoData missing;
	const ListCell *lc;

	initStringInfo(&missing);
	foreach(lc, columns)
		if (get_attnum(relid, lfirst(lc)) == InvalidAttrNumber)
			appendStringInfo(&missing, "%s\"%s\"", missing.len > 0 ? ", " : "",
							 (const char *) lfirst(lc));
	if (missing.len == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("rejected rows have columns that table \"%s\" no longer has", table_name),
			 errdetail("Columns that were dropped or renamed: %s.", missing.data),
			 errhint("Rename them back, or add them, and call loader_replay again; loader_discard "
					 "removes the rows.")));
}

/* The table, open and locked for rows. Asks for the right to write to it before it waits. */
static Relation
replay_open(const LdrPackage *package, const char *table_name)
{
	Oid			nsp = LookupExplicitNamespace(package->dataset, true);
	Oid			relid = OidIsValid(nsp) ? get_relname_relid(table_name, nsp) : InvalidOid;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", package->dataset, table_name),
				 errdetail("Package " INT64_FORMAT " has rejected rows of it.",
						   package->package_id),
				 errhint("Create it, or rename it back, and call loader_replay again; "
						 "loader_discard removes the rows.")));
	ldr_replay_check_insert(relid);
	return table_open(relid, RowExclusiveLock);
}

/*
 * The package's lock keeps other sessions away, but not code that this one has run: of triggers and
 * the like of the table.
 */
static void
__attribute__((noreturn))
replay_lost(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("rejected rows were loaded or removed while they were loaded again"),
			 errdetail("Code of the table has called loader_replay, loader_discard or "
					   "loader_forget, or the package was removed after "
					   "loader.reject_retention.")));
}

void
ldr_replay_forget(const List *loaded)
{
	if (ldr_reject_delete(loaded) != list_length(loaded))
		replay_lost();
}

/* What became of the rows in hand: those that were loaded go, the others have a new reason. */
static int64
replay_settle(const LdrReplayBatch *batch)
{
	List	   *loaded = NIL;

	for (int i = 0; i < list_length(batch->rows); i++)
		if (!batch->refused[i])
			loaded = lappend(loaded, list_nth(batch->rows, i));
	ldr_replay_forget(loaded);
	ldr_reject_renew(batch->again);
	return list_length(loaded);
}

static int64
replay_job(const LdrPackage *package, const LdrRejectJob *job, const LdrOptions *options)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader replay",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Relation	rel = replay_open(package, job->job->table_name);
	LdrReplayBatch batch;
	int64		after = 0;
	int64		loaded = 0;
	int64		inserted = 0;

	ldr_replay_check_columns(RelationGetRelid(rel), job->job->table_name, job->columns);
	while (ldr_replay_batch(package, job, options, rel, &after, &batch))
	{
		CHECK_FOR_INTERRUPTS();
		loaded += replay_settle(&batch);
		inserted += batch.inserted;
		MemoryContextReset(cxt);
	}
	table_close(rel, NoLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	if (loaded > 0)
		ldr_reject_settled(package->package_id, job->job, loaded, inserted);
	return loaded;
}

/* Why the table of the job cannot take its rows, NULL if it can. */
static const char *
replay_refuses(const LdrRejectJob *job)
{
	if (job->superseded)
		return "The dataset was dropped since, and the load was loaded anew as another package.";
	if (job->replaced_by != 0)
		return psprintf("Table \"%s\" was replaced or emptied by package " INT64_FORMAT " since.",
						job->job->table_name, job->replaced_by);
	return NULL;
}

/* The jobs of the chain that begins with this one, and which can be loaded. */
static List *
replay_chain_jobs(const List *jobs, const LdrRejectJob *first)
{
	List	   *found = NIL;
	const ListCell *lc;

	foreach(lc, jobs)
	{
		LdrRejectJob *job = lfirst(lc);

		if (strcmp(job->chain, first->chain) == 0 && replay_refuses(job) == NULL)
			found = lappend(found, job);
	}
	return found;
}

/* A job alone, or for a merged chain all of its jobs. Returns why not, NULL if it is done. */
static const char *
replay_jobs(const LdrPackage *package, List *jobs, LdrOptions *options, int64 *loaded)
{
	const LdrRejectJob *first = linitial(jobs);

	if (strcmp(first->disposition, "merge") == 0)
		return ldr_replay_chain(package, options, jobs, loaded);
	*loaded += replay_job(package, first, options);
	return NULL;
}

void
ldr_replay(const LdrPackage *package, const char *table_name, int64 *loaded, int64 *left)
{
	LdrOptions *options = ldr_options_from_json(package->options);
	List	   *jobs = ldr_reject_jobs(package->package_id, table_name);
	const char *refused = NULL;
	bool		any = jobs == NIL;
	ListCell   *lc;

	*loaded = 0;
	foreach(lc, jobs)
	{
		LdrRejectJob *job = lfirst(lc);
		const char *reason = replay_refuses(job);
		List	   *together = list_make1(job);

		if (reason == NULL && strcmp(job->disposition, "merge") == 0)
			together = replay_chain_jobs(jobs, job);
		if (linitial(together) != job)
			continue;			/* with the first one of its chain */
		if (reason == NULL)
			reason = replay_jobs(package, together, options, loaded);
		if (reason)
			refused = reason;
		else
			any = true;
	}
	if (!any)
		replay_raise(refused);
	*left = ldr_reject_count(package->package_id, table_name);
	if (*loaded > 0)
		ldr_event(package->package_id, "replayed", table_name,
				  "Rejected rows loaded: " INT64_FORMAT ", left: " INT64_FORMAT ".", *loaded, *left);
}
