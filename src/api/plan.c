/*
 * api/plan.c: loader_plan, the EXPLAIN of loads. Changes nothing.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "api/api.h"
#include "compat.h"
#include "loader.h"
#include "publish/merge.h"
#include "publish/publish.h"
#include "schema/live.h"
#include "sink/storage.h"

#define SAMPLE_ROWS 20000		/* of a job's file that loader_plan reads to count or estimate */

PG_FUNCTION_INFO_V1(loader_plan);

typedef struct PlanOutput
{
	ReturnSetInfo *rsinfo;
	int			step;
} PlanOutput;

static void
plan_put(PlanOutput *out, const char *action, const char *object, const char *detail)
{
	Datum		values[] = {Int32GetDatum(++out->step), CStringGetTextDatum(action),
	LDR_TEXT_ARG(object), LDR_TEXT_ARG(detail)};
	bool		nulls[] = {false, false, object == NULL, detail == NULL};

	tuplestore_putvalues(out->rsinfo->setResult, out->rsinfo->setDesc, values, nulls);
}

/* The changes that migrate makes, or those that publish makes. */
static void
plan_put_changes(PlanOutput *out, const LdrPlan *plan, const LdrOptions *options, bool migrate)
{
	for (int i = 0; i < plan->ntables; i++)
		for (int c = 0; c < plan->tables[i].nchanges; c++)
		{
			LdrChange  *change = &plan->tables[i].changes[c];

			if (change->kind == LDR_KEEP_TYPE || ldr_change_migrates(change) != migrate)
				continue;
			plan_put(out, change->kind == LDR_CREATE_TABLE ? "create table" : "add column",
					 quote_qualified_identifier(plan->dataset, change->table->name),
					 psprintf("%s%s", ldr_change_sql(plan->dataset, change,
													 options->create_indexes),
							  migrate ? ", before the load, in a transaction of its own" : ""));
		}
}

static void
plan_put_differences(PlanOutput *out, const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
		for (int c = 0; c < plan->tables[i].nchanges; c++)
		{
			LdrChange  *change = &plan->tables[i].changes[c];
			LdrError	err = {0};
			char		type[128];

			if (change->kind != LDR_KEEP_TYPE ||
				ldr_column_type(change->column, change->table->file_format, type, sizeof(type),
								&err) != LDR_OK)
				continue;
			plan_put(out, "keep type",
					 psprintf("%s.%s",
							  quote_qualified_identifier(plan->dataset, change->table->name),
							  quote_identifier(change->column->name)),
					 psprintf("the table has %s, the package has %s: values are converted to %s",
							  change->live_type, type,
							  change->live_type));
		}
}

/* "120 rows" if the sample holds the whole file, else an estimate by bytes read. */
static char *
plan_count_rows(LdrPackageDir *dir, LdrPackageFile *file, const LdrSchemaTable *table,
				const LdrOptions *options)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader plan",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	LdrColumnName *names = palloc0(sizeof(LdrColumnName) * Max(table->ncolumns, 1));
	LdrReader  *reader;
	LdrError	err = {0};
	LdrRow		row;
	LdrStatus	status = LDR_OK;
	int64		rows = 0;
	uint64		consumed;
	uint64		text = 0;		/* of the rows, with their ends */
	int			n = 0;
	char		answer[128];

	for (int i = 0; i < table->ncolumns; i++)
		if (table->columns[i].type != LDR_TYPE_NONE)
			names[n++].name = table->columns[i].name;
	reader = ldr_load_reader(dir, file->file_name, &file->stamp, file->format, names, n, options);
	while (rows < SAMPLE_ROWS &&
		   ((status = ldr_reader_next(reader, &row, &err)) == LDR_OK || options->reject))
	{
		if (status == LDR_END ||
			(status != LDR_OK && (status = ldr_reader_skip(reader, &row, &err)) != LDR_OK))
			break;
		CHECK_FOR_INTERRUPTS();
		rows++;
		text += reader->raw_len + 1;
	}
	/* of a file that is not compressed, more was read than the rows that we have seen */
	consumed = Min(reader->source->consumed(reader->source), text);
	if (status == LDR_END)
		snprintf(answer, sizeof(answer), INT64_FORMAT " row%s", rows, rows == 1 ? "" : "s");
	else if (status == LDR_OK)
		snprintf(answer, sizeof(answer), "about %.0f rows", consumed
				 ? (double) rows * file->stamp.size / consumed : (double) rows);
	else
		snprintf(answer, sizeof(answer), "unreadable after " INT64_FORMAT " rows: %s", rows,
				 err.message);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	return pstrdup(answer);
}

/* The same of a table that publish creates, where its transaction fills it, too. */
static const char *
plan_new_sink(const LdrPackageDir *dir, const LdrSchemaTable *table, const LdrOptions *options)
{
	uint64		bytes = 0;
	bool		has_indexes = false;
	ListCell   *lc;

	if (!options->atomic || XLogLogicalInfoActive())
		return "heap";
	foreach(lc, dir->files)
	{
		const LdrPackageFile *file = lfirst(lc);

		if (strcmp(file->table, table->name) == 0)
			bytes += file->stamp.size;
	}
	for (int i = 0; i < table->ncolumns; i++)
		has_indexes |= options->create_indexes && table->columns[i].unique;
	return ldr_storage_pays(bytes, has_indexes) ? "storage" : "heap";
}

/* Which sink takes the rows of a table that gets them straight. */
static const char *
plan_sink(const LdrPackageDir *dir, const LdrPlanTable *t, const LdrOptions *options,
		  const char **reason)
{
	const char *sink = "heap";
	Relation	rel;

	if (!OidIsValid(t->relid))
		return plan_new_sink(dir, t->table, options);
	rel = table_open(t->relid, AccessShareLock);
	if (ldr_sink_choose(rel, reason) == LDR_SINK_EXECUTOR)
		sink = "executor";
	table_close(rel, AccessShareLock);
	return sink;
}

static void
plan_put_job(PlanOutput *out, LdrPackageDir *dir, LdrPackageFile *file, const LdrPlanTable *t,
			 const LdrOptions *options, const char *staging)
{
	const char *rows = plan_count_rows(dir, file, t->table, options);
	const char *stage = ldr_way_stage(t->way);
	const char *reason = NULL;
	char	   *where;

	if (stage == NULL)
	{
		where = psprintf("append through sink %s", plan_sink(dir, t, options, &reason));
		if (reason)
			where = psprintf("%s: %s", where, reason);
	}
	else if (strcmp(stage, LDR_STAGE_SWAP) == 0)
		where = "into a swap heap";
	else
		where = psprintf("into staging table %s",
						 quote_qualified_identifier(staging, t->table->name));
	plan_put(out, "load", file->job_id,
			 psprintf(UINT64_FORMAT " bytes, %s, %s", file->stamp.size, rows, where));
}

/* Who holds locks now that conflict with mode on the table. */
static char *
plan_lock_holders(Oid relid, const char *conflicting)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(relid)};
	char	   *holders = NULL;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(psprintf("SELECT pg_catalog.string_agg(pg_catalog.format('pid %%s "
									   "holds %%s', l.pid, l.mode), '; ' ORDER BY l.pid, l.mode) "
									   "FROM pg_catalog.pg_locks l WHERE l.locktype "
									   "OPERATOR(pg_catalog.=) 'relation' AND l.relation "
									   "OPERATOR(pg_catalog.=) $1 AND l.granted AND l.database "
									   "OPERATOR(pg_catalog.=) (SELECT d.oid FROM "
									   "pg_catalog.pg_database d WHERE d.datname "
									   "OPERATOR(pg_catalog.=) pg_catalog.current_database()) AND "
									   "l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() "
									   "AND l.mode IN (%s)", conflicting),
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_locks");
	if (SPI_processed == 1)
		holders = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (holders)
		holders = strcpy(SPI_palloc(strlen(holders) + 1), holders);
	SPI_finish();
	return holders;
}

/* What publish wants of a table, and which modes of others are in its way. */
static const char *
plan_lock_mode(const LdrPlanTable *t, const char **conflicting)
{
	bool		strong = t->way == LDR_WAY_SWAP;

	for (int c = 0; c < t->nchanges; c++)
		strong |= t->changes[c].kind != LDR_KEEP_TYPE;
	*conflicting = strong ?
		"'AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', "
		"'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'" :
		"'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'";
	if (t->way == LDR_WAY_SWAP)
		return "ShareUpdateExclusiveLock, and at the end AccessExclusiveLock for the swap";
	return strong ? "AccessExclusiveLock, for the change of the table; RowExclusiveLock, for the "
		"load" : "RowExclusiveLock";
}

static void
plan_put_locks(PlanOutput *out, const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		LdrPlanTable *t = &plan->tables[i];
		const char *conflicting;
		const char *mode = plan_lock_mode(t, &conflicting);
		char	   *holders;

		if (!OidIsValid(t->relid) ||
			(t->is_system && !t->has_jobs && t->nchanges == 0 && !t->truncated))
			continue;
		holders = plan_lock_holders(t->relid, conflicting);
		plan_put(out, "lock", quote_qualified_identifier(plan->dataset, t->table->name),
				 psprintf("%s%s%s", mode, holders ? "; now " : "; free now", holders
						  ? holders : ""));
	}
	for (int i = 0; i < plan->ndrops; i++)
	{
		char	   *holders = plan_lock_holders(plan->drops[i].relid, "l.mode");

		plan_put(out, "lock", quote_qualified_identifier(plan->dataset, plan->drops[i].name),
				 psprintf("AccessExclusiveLock, to drop it; %s%s", holders ? "now "
						  : "free now", holders ? holders : ""));
	}
}

static void
plan_put_drops(PlanOutput *out, const LdrPlan *plan)
{
	for (int i = 0; i < plan->ndrops; i++)
	{
		char	   *name = quote_qualified_identifier(plan->dataset, plan->drops[i].name);

		plan_put(out, "drop table", name, psprintf("DROP TABLE %s, for the package's refresh",
												   name));
	}
}

/* How the rows of a table are replaced or merged, and why not by a swap. */
static void
plan_put_way(PlanOutput *out, const LdrPlan *plan, const LdrPlanTable *t)
{
	static const char *const actions[] = {
		[LDR_WAY_APPEND] = NULL,
		[LDR_WAY_MERGE] = NULL,
		[LDR_WAY_SWAP] = "swap",
		[LDR_WAY_DIFF] = "diff",
		[LDR_WAY_REFILL] = "refill",
		[LDR_WAY_EMPTY] = "empty"
	};
	static const char *const details[] = {
		[LDR_WAY_SWAP] = "a filled and indexed heap takes the place of the table's own",
		[LDR_WAY_DIFF] = "rows that differ are deleted, updated and inserted",
		[LDR_WAY_REFILL] = "all rows are deleted, and those of the package inserted",
		[LDR_WAY_EMPTY] = "all rows are deleted, and none come"
	};

	if (t->way == LDR_WAY_MERGE && t->truncated && OidIsValid(t->relid))
		plan_put(out, "empty", quote_qualified_identifier(plan->dataset, t->table->name),
				 "all rows are deleted before the merge, for the package's refresh");
	if (actions[t->way] == NULL)
		return;
	plan_put(out, actions[t->way], quote_qualified_identifier(plan->dataset, t->table->name),
			 psprintf("%s%s%s%s", !t->truncates ? details[t->way]
					  : t->way == LDR_WAY_EMPTY ? "truncated at the end, and no rows come"
					  : "truncated at the end, and filled with the rows of the package",
					  t->truncated ? ", for the package's refresh" : "",
					  t->reason ? "; no swap: " : "", t->reason ? t->reason : ""));
}

/* The statements of a merge, as far as they can be told without running any. */
static void
plan_put_statements(PlanOutput *out, const LdrPlan *plan, const LdrPackageDir *dir,
					LdrPlanTable **chain, int n, const char *staging)
{
	LdrMerge	merge = {0};
	ListCell   *lc;

	merge.tables = palloc0(sizeof(LdrMergeTable) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (chain[i]->way == LDR_WAY_MERGE)
			merge.tables[merge.ntables++].table = chain[i]->table;
	if (merge.ntables == 0)
		return;
	merge.dataset = plan->dataset;
	merge.staging = staging;
	merge.created_at = dir->state->created_at;
	merge.dry_run = true;
	ldr_merge_run(&merge);
	foreach(lc, merge.statements)
		plan_put(out, "statement", merge.tables[0].table->name, lfirst(lc));
}

/* Does a table of the plan get its rows by way of the staging dataset? */
static bool
plan_needs_staging(const LdrPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		const char *stage = ldr_way_stage(plan->tables[i].way);

		if (stage && strcmp(stage, LDR_STAGE_STAGING) == 0)
			return true;
	}
	return false;
}

/*
 * Each chain of tables that is replaced, merged or emptied: strategy, tables, what is done to them.
 */
static void
plan_put_chains(PlanOutput *out, const LdrPlan *plan, const LdrPackageDir *dir, const char *staging)
{
	List	   *followed = ldr_follow_roots(dir);
	ListCell   *lc;

	foreach(lc, followed)
	{
		const LdrSchemaTable *root = lfirst(lc);
		int			n;
		LdrPlanTable **chain = ldr_plan_chain(plan, root, &n);
		StringInfoData names;

		initStringInfo(&names);
		for (int i = 0; i < n; i++)
			appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
							 quote_identifier(chain[i]->table->name));
		plan_put(out, root->disposition == LDR_MERGE ? "merge" : "replace",
				 quote_qualified_identifier(plan->dataset, root->name),
				 psprintf("strategy %s, tables %s", n > 0 && chain[0]->strategy
						  ? chain[0]->strategy : "", names.data));
		for (int i = 0; i < n; i++)
			plan_put_way(out, plan, chain[i]);
		plan_put_statements(out, plan, dir, chain, n, staging);
	}
	foreach(lc, ldr_follow_truncated(plan, followed))
	{
		int			n;
		LdrPlanTable **chain = ldr_plan_chain(plan, lfirst(lc), &n);

		for (int i = 0; i < n; i++)
			plan_put_way(out, plan, chain[i]);
	}
}

static void
plan_put_jobs(PlanOutput *out, LdrPackageDir *dir, const LdrPlan *plan, const LdrOptions *options,
			  const char *staging)
{
	ListCell   *lc;

	foreach(lc, dir->files)
	{
		LdrPackageFile *file = lfirst(lc);

		plan_put_job(out, dir, file, ldr_plan_table(plan, file->table), options, staging);
	}
}

static void
plan_put_rejects(PlanOutput *out, const char *dataset, const LdrOptions *options)
{
	plan_put(out, "on error", quote_identifier(dataset),
			 options->max_rejects
			 ? psprintf("bad rows are set aside in loader.rejects; more than %s%s fail the package",
						options->max_rejects,
						options->max_rejected_rows >= 0 ? "" : " of all rows")
			 : "bad rows are set aside in loader.rejects, however many there are");
}

/*
 * loader_plan(source, dataset, ...): what loading the package would do.
 */
Datum
loader_plan(PG_FUNCTION_ARGS)
{
	PlanOutput	out = {(ReturnSetInfo *) fcinfo->resultinfo, 0};
	LdrOptions *options;
	LdrPackageDir *dir;
	LdrPlan    *plan;
	List	   *tables = NIL;
	char	   *dataset;
	char	   *staging;
	ListCell   *lc;

	ldr_srf_begin(fcinfo);
	options = ldr_options_from_args(fcinfo, 2);
	dir = ldr_package_read(ldr_api_text(fcinfo, 0, "source"));
	dataset = ldr_api_dataset(fcinfo, 1, dir, options);
	ldr_api_check_supported(dir, dataset, options);
	foreach(lc, dir->files)
		tables = lappend(tables, ((LdrPackageFile *) lfirst(lc))->table);
	plan = ldr_plan_make(dir->schema, dir->state, dataset, tables);
	ldr_ways_choose(plan, options);

	plan_put(&out, "package", dir->load_id,
			 psprintf("schema \"%s\" version " INT64_FORMAT ", %d job%s, into dataset \"%s\" as "
					  "role \"%s\"", dir->schema->name,
					  dir->schema->version, list_length(dir->files),
					  list_length(dir->files) == 1 ? "" : "s", dataset,
					  GetUserNameFromId(GetUserId(), false)));
	if (ldr_system_is_loaded(dir->schema, dataset, dir->load_id))
	{
		plan_put(&out, "nothing", dir->load_id,
				 "the dataset's record of loads has this load_id: it is loaded already");
		return (Datum) 0;
	}
	staging = plan_needs_staging(plan) ? ldr_options_staging(options, dataset) : NULL;
	plan_put_changes(&out, plan, options, true);
	plan_put_drops(&out, plan);
	if (!OidIsValid(plan->namespace))
		plan_put(&out, "create schema", quote_identifier(dataset), ldr_dataset_sql(dataset));
	plan_put_changes(&out, plan, options, false);
	plan_put_differences(&out, plan);
	plan_put_locks(&out, plan);
	if (options->reject)
		plan_put_rejects(&out, dataset, options);
	plan_put_jobs(&out, dir, plan, options, staging);
	plan_put_chains(&out, plan, dir, staging);
	plan_put(&out, options->atomic ? "publish" : "record", quote_identifier(dataset),
			 psprintf("%s; INSERT INTO %s", options->atomic ? "rows, new tables and the load "
					  "record in one commit"
					  : "each job commits by itself, the load record comes last",
					  quote_qualified_identifier(dataset, dir->schema->loads_table->name)));
	return (Datum) 0;
}
