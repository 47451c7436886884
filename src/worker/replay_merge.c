/*
 * worker/replay_merge.c: rejected rows of a chain of tables that is merged.
 *
 * They take the way of a package that has only these rows: into staging tables, temporary ones,
 * and from there by the chain's strategy into the targets, all in the caller's transaction. The
 * columns of a staging table have the types of its target, which may have been mended since. What
 * a strategy would do to rows that are not staged, since a package has all of them, must not be
 * done here: ldr_merge_refuses_part says where that cannot be told apart.
 *
 * The schema is the one that was stored in the dataset with the load. So what it says is not more
 * to be trusted than the tables there: its conditions are not run.
 *
 * Packages for the same tables queue; this is in no queue, so it locks the targets against all
 * who write there.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "locks.h"
#include "publish/publish.h"
#include "publish/sift.h"
#include "publish/storage.h"
#include "worker/replay.h"

/* A reject that is staged. */
typedef struct ReplayRow
{
	int64		id;
	int			job;			/* index in jobs */
	bool		refused;
	ItemPointerData tid;
} ReplayRow;

typedef struct ReplayTable
{
	const LdrSchemaTable *schema;
	Oid			target;
	char	   *staged_as;
	int			n;
	int			size;
	ReplayRow  *rows;			/* in the order of the staging table */
} ReplayTable;

typedef struct ReplayChain
{
	LdrSift		sift;			/* first: an LdrSift is one of these */
	LdrRun		run;
	LdrMerge	merge;
	List	   *jobs;			/* of LdrRejectJob */
	ReplayTable *tables;
	int64	   *loaded;			/* by job */
} ReplayChain;

/* --- the chain -------------------------------------------------------------------------------- */

/* The moment of an scd2 merge: seconds since 1970. */
static char *
replay_now(void)
{
	int64		us = GetCurrentTransactionStartTimestamp() +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return psprintf(INT64_FORMAT ".%06d", us / USECS_PER_SEC, (int) (us % USECS_PER_SEC));
}

/* The package as far as its merge needs it. Returns why not, NULL if all is well. */
static const char *
replay_describe(ReplayChain *c, const LdrPackage *package, LdrOptions *options)
{
	char	   *text = package->schema_hash
		? ldr_stored_schema_text(package->dataset, package->schema_hash) : NULL;
	ListCell   *lc;

	if (text == NULL)
		return psprintf("The schema of the package is not stored in dataset \"%s\".",
						package->dataset);
	c->run.cxt = CurrentMemoryContext;
	c->run.package = (LdrPackage *) package;
	c->run.options = options;
	c->run.dir = ldr_package_of_documents(package->load_id, text, NULL);
	foreach(lc, c->jobs)
		c->run.jobs = lappend(c->run.jobs, ((LdrRejectJob *) lfirst(lc))->job);
	return NULL;
}

/* The tables of the chain that are there, as the merge has them. */
static const char *
replay_find_tables(ReplayChain *c, const char *root_name)
{
	static uint32 counter = 0;
	const LdrSchemaTable *root = ldr_schema_table(c->run.dir->schema, root_name);
	LdrPlan    *plan;
	LdrPlanTable **chain;
	int			n;

	if (root == NULL || root->disposition != LDR_MERGE)
		return psprintf("Table \"%s\" is not merged by the schema that is stored.", root_name);
	plan = ldr_run_plan(&c->run);
	chain = ldr_plan_chain(plan, root, &n);
	c->tables = palloc0(sizeof(ReplayTable) * Max(n, 1));
	c->merge.tables = palloc0(sizeof(LdrMergeTable) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		ReplayTable *t = &c->tables[c->merge.ntables];

		if (!OidIsValid(chain[i]->relid))
			continue;
		t->schema = chain[i]->table;
		t->target = chain[i]->relid;
		t->staged_as = psprintf("loader_replay_%u", ++counter);
		c->merge.tables[c->merge.ntables].table = t->schema;
		c->merge.tables[c->merge.ntables++].staged_as = t->staged_as;
	}
	if (c->merge.ntables == 0 || c->tables[0].schema != root)
		return psprintf("Table \"%s\" does not exist.", root_name);
	c->merge.dataset = c->run.package->dataset;
	c->merge.created_at = replay_now();
	c->merge.partial = true;
	return NULL;
}

static void
replay_lock(const ReplayChain *c)
{
	List	   *relids = NIL;

	for (int i = 0; i < c->merge.ntables; i++)
	{
		ldr_replay_check_insert(c->tables[i].target);
		relids = lappend_oid(relids, c->tables[i].target);
	}
	(void) ldr_lock_tables(relids, ShareRowExclusiveLock);
}

/* The load has added what was not there. */
static void
replay_check_columns(const ReplayChain *c)
{
	for (int i = 0; i < c->merge.ntables; i++)
	{
		const ReplayTable *t = &c->tables[i];
		List	   *names = NIL;

		for (int n = 0; n < t->schema->ncolumns; n++)
			if (t->schema->columns[n].type != LDR_TYPE_NONE)
				names = lappend(names, (char *) t->schema->columns[n].name);
		ldr_replay_check_columns(t->target, t->schema->name, names);
	}
}

/* --- staging ---------------------------------------------------------------------------------- */

/* A temporary table with the columns of the schema: types of the target, NOT NULL of the schema. */
static void
replay_create(const ReplayChain *c, const ReplayTable *t)
{
	StringInfoData columns;
	StringInfoData not_null;

	initStringInfo(&columns);
	initStringInfo(&not_null);
	for (int i = 0; i < t->schema->ncolumns; i++)
	{
		const LdrSchemaColumn *column = &t->schema->columns[i];
		const char *name = quote_identifier(column->name);

		if (column->type == LDR_TYPE_NONE)
			continue;
		appendStringInfo(&columns, "%sd.%s", columns.len > 0 ? ", " : "", name);
		if (!column->nullable)
			appendStringInfo(&not_null, "%s ALTER %s SET NOT NULL", not_null.len > 0 ? "," : "",
							 name);
	}
	ldr_sql_execute(psprintf("CREATE TEMPORARY TABLE %s ON COMMIT DROP AS SELECT %s FROM %s d "
							 "WITH NO DATA", t->staged_as, columns.data,
							 quote_qualified_identifier(c->merge.dataset, t->schema->name)),
					0, NULL, NULL, SPI_OK_UTILITY);
	if (not_null.len > 0)
		ldr_sql_execute(psprintf("ALTER TABLE pg_temp.%s%s", t->staged_as, not_null.data), 0,
						NULL, NULL, SPI_OK_UTILITY);
}

/* The name of the temporary table is nobody's business. */
static const char *
replay_rename(const ReplayTable *t, const char *text)
{
	const char *found = text ? strstr(text, t->staged_as) : NULL;

	if (found == NULL)
		return text;
	return psprintf("%.*s%s%s", (int) (found - text), text, t->schema->name,
					found + strlen(t->staged_as));
}

static void
replay_append(ReplayTable *t, int64 id, int job)
{
	if (t->n == t->size)
	{
		t->size = Max(t->size * 2, 64);
		t->rows = t->rows ? repalloc_huge(t->rows, sizeof(ReplayRow) * t->size)
			: palloc(sizeof(ReplayRow) * t->size);
	}
	t->rows[t->n++] = (ReplayRow) {.id = id, .job = job};
}

/* The rows of a job into its staging table; what that refuses has a new reason. */
static void
replay_stage_job(ReplayChain *c, ReplayTable *t, Relation rel, int job)
{
	const LdrRejectJob *j = list_nth(c->jobs, job);
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader replay",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	LdrReplayBatch batch;
	int64		after = 0;

	while (ldr_replay_batch(c->run.package, j, c->run.options, rel, &after, &batch))
	{
		ListCell   *lc;

		CHECK_FOR_INTERRUPTS();
		foreach(lc, batch.again)
		{
			LdrReject  *again = lfirst(lc);

			again->message = replay_rename(t, again->message);
			again->detail = replay_rename(t, again->detail);
		}
		ldr_reject_renew(batch.again);
		MemoryContextSwitchTo(old);
		for (int i = 0; i < list_length(batch.rows); i++)
			if (!batch.refused[i])
				replay_append(t, ((LdrReject *) list_nth(batch.rows, i))->id, job);
		MemoryContextSwitchTo(cxt);
		MemoryContextReset(cxt);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/* Where each row is. One process has put them there, one after the other. */
static void
replay_locate(ReplayTable *t)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(psprintf("SELECT ctid FROM pg_temp.%s ORDER BY ctid", t->staged_as), false,
					0) != SPI_OK_SELECT || SPI_processed != (uint64) t->n)
		elog(ERROR, "%d rows were staged in \"%s\", but not all are there", t->n, t->staged_as);
	for (int i = 0; i < t->n; i++)
	{
		bool		isnull;

		t->rows[i].tid = *(ItemPointer)
			DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1,
										  &isnull));
	}
	SPI_finish();
}

static void
replay_stage(ReplayChain *c)
{
	Oid			temp;

	for (int i = 0; i < c->merge.ntables; i++)
		replay_create(c, &c->tables[i]);
	LDR_FAULT("replay: staging made");
	temp = LookupNamespaceNoError("pg_temp");
	c->merge.staging = get_namespace_name(temp);
	for (int i = 0; i < c->merge.ntables; i++)
	{
		ReplayTable *t = &c->tables[i];
		Relation	rel = table_open(get_relname_relid(t->staged_as, temp), RowExclusiveLock);

		for (int job = 0; job < list_length(c->jobs); job++)
			if (strcmp(((LdrRejectJob *) list_nth(c->jobs, job))->job->table_name,
					   t->schema->name) == 0)
				replay_stage_job(c, t, rel, job);
		table_close(rel, NoLock);
		replay_locate(t);
		ldr_sql_execute(psprintf("ANALYZE pg_temp.%s", t->staged_as), 0, NULL, NULL,
						SPI_OK_UTILITY);
	}
}

static void
replay_unstage(const ReplayChain *c)
{
	for (int i = 0; i < c->merge.ntables; i++)
		ldr_sql_execute(psprintf("DROP TABLE pg_temp.%s", c->tables[i].staged_as), 0, NULL, NULL,
						SPI_OK_UTILITY);
}

/* --- merging ---------------------------------------------------------------------------------- */

static void
replay_apply(LdrSift *sift)
{
	ldr_merge_run(sift->merge);
}

static int
replay_compare(const void *tid, const void *row)
{
	return ItemPointerCompare((ItemPointer) tid, (ItemPointer) &((const ReplayRow *) row)->tid);
}

/* They stay rejects, for a reason that may be another one. */
static void
replay_refuse(LdrSift *sift, int table, List *refused)
{
	ReplayTable *t = &((ReplayChain *) sift)->tables[table];
	List	   *again = NIL;
	ListCell   *lc;

	foreach(lc, refused)
	{
		LdrRefused *r = lfirst(lc);
		ReplayRow  *row = bsearch(&r->tid, t->rows, t->n, sizeof(ReplayRow), replay_compare);
		LdrReject  *reject;

		if (row == NULL)
			elog(ERROR, "a staged row of \"%s\" is unknown", t->staged_as);
		row->refused = true;
		reject = palloc0(sizeof(LdrReject));
		reject->id = row->id;
		ldr_load_explain(reject, r->edata);
		again = lappend(again, reject);
	}
	ldr_reject_renew(again);
}

/* Those that are staged are rejects, too, until all is done. */
static bool
replay_lacks(LdrSift *sift, int table)
{
	const ReplayTable *t = &((ReplayChain *) sift)->tables[table];
	int64		staged = 0;

	for (int i = 0; i < t->n; i++)
		staged += !t->rows[i].refused;
	return ldr_reject_count(sift->run->package->package_id, t->schema->name) > staged;
}

static void
replay_merge(ReplayChain *c)
{
	int			nest = NewGUCNestLevel();

	c->sift.run = &c->run;
	c->sift.merge = &c->merge;
	c->sift.apply = replay_apply;
	c->sift.refuse = replay_refuse;
	c->sift.lacks = replay_lacks;
	c->sift.limit = -1;
	ldr_follow_set_memory();
	ldr_sift(&c->sift);
	AtEOXact_GUC(true, nest);
}

/* --- what became of them ---------------------------------------------------------------------- */

/* The rows that were merged are no rejects any more. Returns how many. */
static int64
replay_settle_table(ReplayChain *c, const ReplayTable *t)
{
	List	   *done = NIL;

	for (int i = 0; i < t->n; i++)
	{
		LdrReject  *reject;

		if (t->rows[i].refused)
			continue;
		reject = palloc0(sizeof(LdrReject));
		reject->id = t->rows[i].id;
		done = lappend(done, reject);
		c->loaded[t->rows[i].job]++;
	}
	ldr_replay_forget(done);
	return list_length(done);
}

static void
replay_count_table(ReplayChain *c, int table, int64 loaded)
{
	const LdrMergeTable *merged = &c->merge.tables[table];
	LdrTableStats *stats = ldr_run_stats(&c->run, merged->table);

	stats->stage = LDR_STAGE_STAGING;
	stats->rows_rejected -= loaded;
	stats->rows_inserted += merged->inserted;
	stats->rows_updated += merged->updated;
	stats->rows_deleted += merged->deleted;
	ldr_package_table_insert(c->run.package->package_id, stats);
}

static int64
replay_settle_chain(ReplayChain *c)
{
	int64		all = 0;

	c->loaded = palloc0(sizeof(int64) * list_length(c->jobs));
	for (int i = 0; i < c->merge.ntables; i++)
	{
		int64		loaded = replay_settle_table(c, &c->tables[i]);

		replay_count_table(c, i, loaded);
		all += loaded;
	}
	for (int i = 0; i < list_length(c->jobs); i++)
		ldr_reject_settled_job(c->run.package->package_id,
							   ((LdrRejectJob *) list_nth(c->jobs, i))->job, c->loaded[i],
							   c->loaded[i]);
	return all;
}

/* ---------------------------------------------------------------------------------------------- */

const char *
ldr_replay_chain(const LdrPackage *package, LdrOptions *options, List *jobs, int64 *loaded)
{
	const char *root = ((LdrRejectJob *) linitial(jobs))->chain;
	ReplayChain c = {.jobs = jobs};
	const char *reason = replay_describe(&c, package, options);

	if (reason == NULL)
		reason = replay_find_tables(&c, root);
	if (reason)
		return reason;
	c.merge.staging = "pg_temp";
	reason = ldr_merge_refuses_part(&c.merge);
	if (reason)
		return psprintf("Table \"%s\" is merged, and %s.", root, reason);
	replay_lock(&c);
	replay_check_columns(&c);
	replay_stage(&c);
	if (ldr_merge_hits_others(&c.merge))
	{
		replay_unstage(&c);
		return psprintf("Table \"%s\" is merged, and several rows have one merge key.", root);
	}
	LDR_FAULT("replay: staged");
	replay_merge(&c);
	*loaded += replay_settle_chain(&c);
	replay_unstage(&c);
	return NULL;
}
