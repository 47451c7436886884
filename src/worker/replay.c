/*
 * worker/replay.c: rejected rows of a package, loaded again by the caller.
 *
 * A row goes straight into its table. That is what its job would have done, for tables that are
 * appended to, and for replaced ones as long as the rows of the package are those that are in them.
 * A merge is more than its rows: it looks at all of a chain's, which are gone.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
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

/* The rejects of the rows in hand. */
typedef struct Replay
{
	LdrRejects	base;			/* first: an LdrRejects is one of these */
	MemoryContext cxt;
	List	   *again;			/* of LdrReject: refused once more */
	bool	   *refused;		/* by position in the list */
} Replay;

static void
replay_add(LdrRejects *base, const LdrReject *reject)
{
	Replay	   *replay = (Replay *) base;
	MemoryContext old = MemoryContextSwitchTo(replay->cxt);

	replay->again = lappend(replay->again, ldr_reject_copy(reject));
	replay->refused[reject->row] = true;
	base->count++;
	MemoryContextSwitchTo(old);
}

static void
replay_store(LdrRejects *base)
{
	/* when all rows in hand are done */
}

/* Why the table cannot take the rows, NULL if it can. */
static const char *
replay_refuses(const LdrRejectJob *job)
{
	if (strcmp(job->disposition, "merge") == 0)
		return psprintf("Table \"%s\" is merged.", job->job->table_name);
	if (job->superseded)
		return "The dataset was dropped since, and the load was loaded anew as another package.";
	if (job->replaced_by != 0)
		return psprintf("Table \"%s\" was replaced or emptied by package " INT64_FORMAT " since.",
						job->job->table_name, job->replaced_by);
	return NULL;
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

/* The table, open and locked for rows. Asks for the right to write to it before it waits. */
static Relation
replay_open(const LdrPackage *package, const char *table_name)
{
	Oid			nsp = LookupExplicitNamespace(package->dataset, false);
	Oid			relid = get_relname_relid(table_name, nsp);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", package->dataset, table_name)));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_INSERT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, GetUserId(), ACL_INSERT, ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relid)), table_name);
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
					   "loader_forget, or the package was swept as loader.retention says.")));
}

/* What became of the rows in hand: those that were loaded go, the others have a new reason. */
static int64
replay_settle(const Replay *replay, const List *rows)
{
	List	   *loaded = NIL;
	ListCell   *lc;

	for (int i = 0; i < list_length(rows); i++)
		if (!replay->refused[i])
			loaded = lappend(loaded, list_nth(rows, i));
	if (ldr_reject_delete(loaded) != list_length(loaded))
		replay_lost();
	foreach(lc, replay->again)
	{
		LdrReject  *reject = lfirst(lc);

		reject->id = ((LdrReject *) list_nth(rows, (int) reject->row))->id;
		ldr_reject_renew(reject);
	}
	return list_length(loaded);
}

/* Rows of a job, after the reject of that id, which moves on. Returns how many were loaded. */
static int64
replay_some(const LdrPackage *package, const LdrRejectJob *job, const LdrOptions *options,
			LdrFormat format, Relation rel, int64 *after, int64 *inserted)
{
	Replay		replay = {.base = {.add = replay_add, .store = replay_store}};
	LdrLoadResult result = {0};
	List	   *rows = ldr_reject_list(package->package_id, job->job->job_id, *after, REPLAY_ROWS,
										 REPLAY_BYTES);

	if (rows == NIL)
	{
		*after = -1;
		return 0;
	}
	*after = ((LdrReject *) llast(rows))->id;
	replay.cxt = CurrentMemoryContext;
	replay.refused = palloc0(sizeof(bool) * list_length(rows));
	ldr_load_rejects(job->job, format, job->columns, rel, options, rows, &replay.base, &result);
	*inserted += result.rows_inserted;
	return replay_settle(&replay, rows);
}

static int64
replay_job(const LdrPackage *package, const LdrRejectJob *job, const LdrOptions *options)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader replay",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Relation	rel = replay_open(package, job->job->table_name);
	int64		after = 0;
	int64		loaded = 0;
	int64		inserted = 0;
	LdrFormat	format;

	if (!ldr_format_from_name(job->job->format, &format))
		elog(ERROR, "job \"%s\" has unknown format \"%s\"", job->job->job_id, job->job->format);
	while (after >= 0)
	{
		CHECK_FOR_INTERRUPTS();
		loaded += replay_some(package, job, options, format, rel, &after, &inserted);
		MemoryContextReset(cxt);
	}
	table_close(rel, NoLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	if (loaded > 0)
		ldr_reject_settled(package->package_id, job->job, loaded, inserted);
	return loaded;
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
		const LdrRejectJob *job = lfirst(lc);
		const char *reason = replay_refuses(job);

		if (reason)
			refused = reason;
		else
			*loaded += replay_job(package, job, options);
		any = any || reason == NULL;
	}
	if (!any)
		replay_raise(refused);
	*left = ldr_reject_count(package->package_id, table_name);
	if (*loaded > 0)
		ldr_event(package->package_id, "replayed", table_name,
				  "Rejected rows loaded: " INT64_FORMAT ", left: " INT64_FORMAT ".", *loaded, *left);
}
