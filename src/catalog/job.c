/*
 * catalog/job.c: loader.job.
 *
 * A job's rows and its 'completed' mark commit together; a crash leaves the job 'new'. Running is
 * never stored: it follows from the row lock of a claim, or from the publish transaction.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/loader_catalog.h"
#include "fault.h"
#include "loader.h"

#define JOB_COLUMNS \
	"j.ordinal, j.job_id, j.file_name, j.table_name, j.format, j.state, j.retry_count, j.size, " \
	"j.inode, j.mtime_ns, j.kind, j.definition, j.source"

void
ldr_job_insert(int64 package_id, const LdrJob *job)
{
	Oid			types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID,
	INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(job->ordinal),
		CStringGetTextDatum(job->job_id), CStringGetTextDatum(job->file_name),
		CStringGetTextDatum(job->table_name), CStringGetTextDatum(job->format),
		Int64GetDatum(job->stamp.size), Int64GetDatum(job->stamp.inode),
		Int64GetDatum(job->stamp.mtime_ns),
		Int32GetDatum(job->retry_count), CStringGetTextDatum(job->kind),
	LDR_TEXT_ARG(job->definition), LDR_TEXT_ARG(job->source)};
	char		nulls[] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ',
	LDR_TEXT_NULL(job->definition), LDR_TEXT_NULL(job->source)};

	ldr_catalog_execute("INSERT INTO loader.job (package_id, ordinal, job_id, file_name, "
						"table_name, format, size, inode, mtime_ns, retry_count, kind, "
						"definition, source) "
						"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::json, $13)",
						13, types, values, nulls, SPI_OK_INSERT, false, NULL, NULL);
}

static void
job_append(HeapTuple t, TupleDesc d, void *arg)
{
	LdrJob	   *j = palloc0(sizeof(LdrJob));

	j->ordinal = (int) ldr_catalog_int(t, d, 1);
	j->job_id = ldr_catalog_text(t, d, 2);
	j->file_name = ldr_catalog_text(t, d, 3);
	j->table_name = ldr_catalog_text(t, d, 4);
	j->format = ldr_catalog_text(t, d, 5);
	j->state = ldr_catalog_text(t, d, 6);
	j->retry_count = (int) ldr_catalog_int(t, d, 7);
	j->stamp.size = ldr_catalog_int(t, d, 8);
	j->stamp.inode = ldr_catalog_int(t, d, 9);
	j->stamp.mtime_ns = ldr_catalog_int(t, d, 10);
	j->kind = ldr_catalog_text(t, d, 11);
	j->definition = ldr_catalog_text(t, d, 12);
	j->source = ldr_catalog_text(t, d, 13);
	*(List **) arg = lappend(*(List **) arg, j);
}

static void
job_append_text(HeapTuple t, TupleDesc d, void *arg)
{
	*(List **) arg = lappend(*(List **) arg, ldr_catalog_text(t, d, 1));
}

/* A copy in the current context. */
LdrJob *
ldr_job_copy(const LdrJob *job)
{
	LdrJob	   *copy = palloc(sizeof(LdrJob));

	*copy = *job;
	copy->job_id = pstrdup(job->job_id);
	copy->file_name = pstrdup(job->file_name);
	copy->table_name = pstrdup(job->table_name);
	copy->format = pstrdup(job->format);
	copy->state = pstrdup(job->state);
	copy->kind = pstrdup(job->kind);
	copy->definition = job->definition ? pstrdup(job->definition) : NULL;
	copy->source = job->source ? pstrdup(job->source) : NULL;
	return copy;
}

/* One job, seen with a fresh snapshot; NULL if there is none of that id. */
LdrJob *
ldr_job_find(int64 package_id, const char *job_id)
{
	List	   *jobs = NIL;
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(job_id)};

	ldr_catalog_execute("SELECT " JOB_COLUMNS " FROM loader.job j "
						"WHERE package_id = $1 AND job_id = $2",
						2, types, values, NULL, SPI_OK_SELECT, true, job_append, &jobs);
	return jobs ? linitial(jobs) : NULL;
}

/*
 * In job mode: a job that is not completed comes again, under a name with another retry count. One
 * that a session still works on stays as it is: that session will want the package, which the
 * caller has locked, so nobody may wait for it here.
 */
void
ldr_job_renew(int64 package_id, const LdrJob *job)
{
	Oid			types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT4OID,
	TEXTOID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(job->ordinal),
		CStringGetTextDatum(job->file_name), CStringGetTextDatum(job->format),
		Int64GetDatum(job->stamp.size), Int64GetDatum(job->stamp.inode),
		Int64GetDatum(job->stamp.mtime_ns), Int32GetDatum(job->retry_count),
	LDR_TEXT_ARG(job->source), LDR_TEXT_ARG(job->definition)};
	char		nulls[] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', LDR_TEXT_NULL(job->source),
	LDR_TEXT_NULL(job->definition)};

	ldr_catalog_execute("UPDATE loader.job SET state = 'new', file_name = $3, format = $4, "
						"size = $5, inode = $6, mtime_ns = $7, source = $9, definition = $10::json, "
						"retry_count = greatest(retry_count, $8), "
						"finished_at = NULL, sqlstate = NULL, exception = NULL "
						"WHERE package_id = $1 AND ordinal IN (SELECT ordinal FROM loader.job "
						"WHERE package_id = $1 AND ordinal = $2 AND state <> 'completed' "
						"FOR UPDATE SKIP LOCKED)",
						10, types, values, nulls, SPI_OK_UPDATE, false, NULL, NULL);
}

/*
 * In job mode: lock a job until the end of the transaction, for as long as it takes if a session
 * whose client has gone still works on it. False if it was completed meanwhile, or has gone.
 */
bool
ldr_job_hold(int64 package_id, int ordinal)
{
	Oid			types[] = {INT8OID, INT4OID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(ordinal)};

	return ldr_catalog_execute("SELECT FROM loader.job WHERE package_id = $1 AND ordinal = $2 "
							   "AND state <> 'completed' FOR UPDATE",
							   2, types, values, NULL, SPI_OK_SELECT, false, NULL, NULL) > 0;
}

/*
 * The jobs of a chain's tables that have put rows somewhere, or once had; in order, seen with a
 * fresh snapshot.
 */
List *
ldr_job_list_chain(int64 package_id, const char *chain)
{
	List	   *jobs = NIL;
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(chain)};

	ldr_catalog_execute("SELECT " JOB_COLUMNS " FROM loader.job j "
						"JOIN loader.package_table t USING (package_id, table_name) "
						"WHERE package_id = $1 AND t.chain = $2 AND j.kind = 'load' "
						"ORDER BY ordinal",
						2, types, values, NULL, SPI_OK_SELECT, true, job_append, &jobs);
	return jobs;
}

List *
ldr_job_sources(int64 package_id)
{
	List	   *sources = NIL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT source FROM loader.job "
						"WHERE package_id = $1 AND source IS NOT NULL",
						1, types, values, NULL, SPI_OK_SELECT, false, job_append_text, &sources);
	return sources;
}

/* The jobs of a package that load files, or those that follow for chains; in order. */
List *
ldr_job_list(int64 package_id, bool followup)
{
	List	   *jobs = NIL;
	Oid			types[] = {INT8OID, BOOLOID};
	Datum		values[] = {Int64GetDatum(package_id), BoolGetDatum(followup)};

	ldr_catalog_execute("SELECT " JOB_COLUMNS " FROM loader.job j "
						"WHERE package_id = $1 AND (kind <> 'load') = $2 ORDER BY ordinal",
						2, types, values, NULL, SPI_OK_SELECT, false, job_append, &jobs);
	return jobs;
}

static void
job_read_int(HeapTuple t, TupleDesc d, void *arg)
{
	*(int *) arg = (int) ldr_catalog_int(t, d, 1);
}

/*
 * The last ordinal that is taken, 0 if there are no jobs; with a fresh snapshot, since in job mode
 * the caller may have waited for others that enter jobs, under any isolation level.
 */
int
ldr_job_last(int64 package_id)
{
	int			last = 0;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT max(ordinal) FROM loader.job WHERE package_id = $1",
						1, types, values, NULL, SPI_OK_SELECT, true, job_read_int, &last);
	return last;
}

/* Does the package have a file for that table? */
bool
ldr_job_has_table(int64 package_id, const char *table_name)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(table_name)};

	return ldr_catalog_execute("SELECT FROM loader.job WHERE package_id = $1 AND table_name = $2 "
							   "AND kind = 'load' LIMIT 1",
							   2, types, values, NULL, SPI_OK_SELECT, false, NULL, NULL) > 0;
}

/*
 * Of a row of loader.job called j: are its rows in a table of the dataset $2 that is still there?
 */
#define JOB_HAS_ROWS \
	"(j.state = 'completed' AND EXISTS (SELECT FROM pg_class c " \
	"JOIN pg_namespace n ON n.oid = c.relnamespace " \
	"WHERE n.nspname = $2 AND c.relname = j.table_name AND c.oid = j.relation))"

/*
 * Make room for jobs that are registered anew: all go, but for those whose rows are in the tables
 * already.
 */
void
ldr_job_delete(int64 package_id, const char *dataset)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(dataset)};

	ldr_catalog_execute("DELETE FROM loader.job j "
						"WHERE package_id = $1 AND (kind <> 'load' OR NOT " JOB_HAS_ROWS ")",
						2, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
	ldr_reject_delete_unfinished(package_id);
	ldr_catalog_execute("DELETE FROM loader.package_table "
						"WHERE package_id = $1 AND NOT EXISTS (SELECT FROM loader.job "
						"WHERE package_id = $1)",
						1, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
}

/*
 * Claim the oldest unfinished job of the package by a row lock, which ends with this transaction
 * or with this process; with staged_only, of those whose rows wait for publish elsewhere, and none
 * after one has failed. A table that is replaced by a swap heap is one piece of work: its first
 * job that has not failed stands for all. NULL if there is none that nobody works on.
 */
LdrJob *
ldr_job_claim(int64 package_id, bool staged_only)
{
	List	   *jobs = NIL;
	Oid			types[] = {INT8OID, BOOLOID};
	Datum		values[] = {Int64GetDatum(package_id), BoolGetDatum(staged_only)};

	ldr_catalog_execute("SELECT " JOB_COLUMNS " FROM loader.job j "
						"LEFT JOIN loader.package_table t USING (package_id, table_name) "
						"WHERE j.package_id = $1 AND j.kind = 'load' "
						"AND j.state IN ('new', 'retry') "
						"AND (NOT $2 OR (t.stage IS NOT NULL AND NOT EXISTS "
						"(SELECT FROM loader.job f WHERE f.package_id = $1 "
						"AND f.state = 'failed'))) "
						"AND NOT (t.stage IS NOT DISTINCT FROM 'swap heap' AND EXISTS "
						"(SELECT FROM loader.job e WHERE e.package_id = $1 "
						"AND e.table_name = j.table_name AND e.kind = 'load' "
						"AND e.state <> 'failed' AND e.ordinal < j.ordinal)) "
						"ORDER BY j.ordinal LIMIT 1 FOR UPDATE OF j SKIP LOCKED",
						2, types, values, NULL, SPI_OK_SELECT, false, job_append, &jobs);
	return jobs ? linitial(jobs) : NULL;
}

/* In the transaction that holds the job's rows. */
void
ldr_job_completed(int64 package_id, int ordinal, Oid relid, int64 rows_read, int64 rows_inserted,
				  int64 rows_rejected, TimestampTz started_at)
{
	Oid			types[] = {INT8OID, INT4OID, OIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(ordinal),
		ObjectIdGetDatum(relid), Int64GetDatum(rows_read), Int64GetDatum(rows_inserted),
	TimestampTzGetDatum(started_at), Int64GetDatum(rows_rejected)};

	LDR_FAULT("state: job completed");
	if (ldr_catalog_execute("UPDATE loader.job "
							"SET state = 'completed', relation = $3, rows_read = $4, "
							"rows_inserted = $5, rows_rejected = $7, started_at = $6, "
							"finished_at = clock_timestamp(), sqlstate = NULL, exception = NULL "
							"WHERE package_id = $1 AND ordinal = $2",
							7, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("package " INT64_FORMAT " has been forgotten", package_id)));
}

List *
ldr_job_columns(int64 package_id, int ordinal)
{
	List	   *columns = NIL;
	Oid			types[] = {INT8OID, INT4OID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(ordinal)};

	ldr_catalog_execute("SELECT unnest(columns) FROM loader.job "
						"WHERE package_id = $1 AND ordinal = $2",
						2, types, values, NULL, SPI_OK_SELECT, false, job_append_text, &columns);
	return columns;
}

/* The columns of a job's file: its rejected rows do not tell. A List of char *. */
void
ldr_job_set_columns(int64 package_id, int ordinal, const List *columns)
{
	Datum	   *names = palloc(sizeof(Datum) * Max(list_length(columns), 1));
	Oid			types[] = {INT8OID, INT4OID, TEXTARRAYOID};
	Datum		values[3] = {Int64GetDatum(package_id), Int32GetDatum(ordinal)};
	const ListCell *lc;
	int			n = 0;

	foreach(lc, columns)
		names[n++] = CStringGetTextDatum(lfirst(lc));
	values[2] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	ldr_catalog_execute("UPDATE loader.job SET columns = $3 WHERE package_id = $1 AND ordinal = $2",
						3, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
}

/* Record the error of a job, state failed or retry, in a transaction of its own. */
void
ldr_job_failed(int64 package_id, int ordinal, const char *state, TimestampTz started_at,
			   ErrorData *edata)
{
	const ErrorData *shown = ldr_error_printable(edata);
	char	   *exception = shown->detail ? psprintf("%s\n%s", shown->message, shown->detail)
		: shown->message;
	Oid			types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(ordinal),
		CStringGetTextDatum(state),
		CStringGetTextDatum(unpack_sql_state(edata->sqlerrcode)), LDR_TEXT_ARG(exception),
	TimestampTzGetDatum(started_at), LDR_TEXT_ARG(shown->hint)};
	char		nulls[] = {' ', ' ', ' ', ' ', LDR_TEXT_NULL(exception), ' ',
	LDR_TEXT_NULL(shown->hint)};

	LDR_FAULT("state: job failed");
	ldr_catalog_execute("UPDATE loader.job "
						"SET state = $3, sqlstate = $4, exception = $5, hint = $7, "
						"started_at = $6, "
						"finished_at = CASE WHEN $3 = 'failed' THEN clock_timestamp() END, "
						"retry_count = retry_count + CASE WHEN $3 = 'retry' THEN 1 ELSE 0 END "
						"WHERE package_id = $1 AND ordinal = $2 AND state <> 'completed'",
						7, types, values, nulls, SPI_OK_UPDATE, false, NULL, NULL);
}

#define JOB_NO_ROWS \
	"rows_read = NULL, rows_inserted = NULL, rows_rejected = NULL, columns = NULL"
#define JOB_UNDO \
	"UPDATE loader.job SET state = 'new', relation = NULL, finished_at = NULL, " JOB_NO_ROWS " " \
	"WHERE package_id = $1 AND kind = 'load' AND state = 'completed'"

/* Completed jobs become new, as that statement says which: what they have rejected goes with it. */
static void
job_undo(int64 package_id, const char *sql, int nargs, Oid *types, Datum *values)
{
	if (ldr_catalog_execute(sql, nargs, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL) > 0)
		ldr_reject_delete_unfinished(package_id);
}

/*
 * Completed jobs whose table has been dropped since, and perhaps made anew, have lost their rows,
 * and so have those whose rows waited in a relation that the package no longer has: they become
 * new. Called in the transaction that has created what was missing.
 */
void
ldr_job_recheck(int64 package_id, const char *dataset)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(dataset)};

	job_undo(package_id, "UPDATE loader.job j SET state = 'new', " JOB_NO_ROWS " "
			 "WHERE package_id = $1 AND state = 'completed' AND NOT " JOB_HAS_ROWS " "
			 "AND NOT EXISTS (SELECT FROM loader.stage s JOIN pg_class c ON c.oid = s.relation "
			 "WHERE s.package_id = j.package_id AND s.relation = j.relation) "
			 "AND NOT " LDR_JOB_IS_FOLLOWED, 2, types, values);
}

/*
 * The table's jobs have to put their rows into that relation (InvalidOid: nowhere that there is
 * yet): those that have put them elsewhere become new. Rows in the table itself, of jobs that
 * committed one by one before it had to be replaced, are replaced with it.
 */
void
ldr_job_restage(int64 package_id, const char *table_name, Oid relation)
{
	Oid			types[] = {INT8OID, TEXTOID, OIDOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(table_name),
	ObjectIdGetDatum(relation)};

	job_undo(package_id, JOB_UNDO " AND table_name = $2 AND relation IS DISTINCT FROM $3", 3, types,
			 values);
}

/* The rows of all jobs that were in one relation are in another one now. */
void
ldr_job_restage_trial(int64 package_id, Oid from, Oid to)
{
	Oid			types[] = {INT8OID, OIDOID, OIDOID};
	Datum		values[] = {Int64GetDatum(package_id), ObjectIdGetDatum(from),
	ObjectIdGetDatum(to)};

	ldr_catalog_execute("UPDATE loader.job SET relation = $3 "
						"WHERE package_id = $1 AND relation = $2 AND kind = 'load'",
						3, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
}

/* The same for rows that are in a table which is to be dropped. */
void
ldr_job_lost(int64 package_id, Oid relid)
{
	Oid			types[] = {INT8OID, OIDOID};
	Datum		values[] = {Int64GetDatum(package_id), ObjectIdGetDatum(relid)};

	job_undo(package_id, JOB_UNDO " AND relation = $2", 2, types, values);
}

typedef struct JobFailure
{
	char	   *sqlstate;
	char	   *exception;
	char	   *hint;
} JobFailure;

static void
job_read_failure(HeapTuple t, TupleDesc d, void *arg)
{
	JobFailure *f = arg;

	f->sqlstate = ldr_catalog_text(t, d, 1);
	f->exception = ldr_catalog_text(t, d, 2);
	f->hint = ldr_catalog_text(t, d, 3);
}

/* Raise an error as ldr_job_failed has stored it: the detail is behind the first line. */
static void
__attribute__((noreturn))
job_raise(const JobFailure *f)
{
	const char *sqlstate = f->sqlstate;
	char	   *exception = f->exception;
	char	   *detail = exception ? strchr(exception, '\n') : NULL;

	if (detail)
		*detail++ = '\0';
	ereport(ERROR,
			(errcode(sqlstate && strlen(sqlstate) == 5
					 ? MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3],
									 sqlstate[4]) : ERRCODE_DATA_EXCEPTION),
			 errmsg("%s", exception ? exception : "a job of the package failed"),
			 detail ? errdetail("%s", detail) : 0,
			 f->hint ? errhint("%s", f->hint) : 0));
}

/* Raise what the first failed job of the package said; nothing if none has failed. */
void
ldr_job_raise_first(int64 package_id)
{
	JobFailure	f = {0};
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	if (ldr_catalog_execute("SELECT sqlstate, exception, hint FROM loader.job "
							"WHERE package_id = $1 AND state = 'failed' ORDER BY ordinal LIMIT 1",
							1, types, values, NULL, SPI_OK_SELECT, true, job_read_failure,
							&f) > 0)
		job_raise(&f);
}

/* Raise the error that a job's record holds, if it holds one. Raises 42704 if there is no job. */
void
ldr_job_raise(int64 package_id, const char *job_id)
{
	JobFailure	f = {0};
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(job_id)};

	if (ldr_catalog_execute("SELECT sqlstate, exception, hint FROM loader.job "
							"WHERE package_id = $1 AND job_id = $2",
							2, types, values, NULL, SPI_OK_SELECT, true, job_read_failure,
							&f) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package " INT64_FORMAT " has no job \"%s\"", package_id, job_id)));
	if (f.exception)
		job_raise(&f);
}

/* Has a job of the package, by itself, left rows in a table that is still there? */
bool
ldr_job_has_rows(int64 package_id, const char *dataset)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(dataset)};

	return ldr_catalog_execute("SELECT 1 FROM loader.job j "
							   "WHERE package_id = $1 AND " JOB_HAS_ROWS " LIMIT 1",
							   2, types, values, NULL, SPI_OK_SELECT, true, NULL, NULL) > 0;
}

/* Failed jobs become new; what is completed stays. */
void
ldr_job_reset(int64 package_id)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("UPDATE loader.job "
						"SET state = 'new', finished_at = NULL, sqlstate = NULL, exception = NULL, "
						"hint = NULL "
						"WHERE package_id = $1 AND state IN ('failed', 'retry')",
						1, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
}

typedef struct JobCounts
{
	int			unfinished;
	int			failed;
} JobCounts;

static void
job_read_counts(HeapTuple t, TupleDesc d, void *arg)
{
	JobCounts  *c = arg;

	c->unfinished = (int) ldr_catalog_int(t, d, 1);
	c->failed = (int) ldr_catalog_int(t, d, 2);
}

/* Jobs that load files: how many are not finished, and failed; with staged_only as for a claim. */
void
ldr_job_counts(int64 package_id, bool staged_only, int *unfinished, int *failed)
{
	JobCounts	c = {0, 0};
	Oid			types[] = {INT8OID, BOOLOID};
	Datum		values[] = {Int64GetDatum(package_id), BoolGetDatum(staged_only)};

	ldr_catalog_execute("SELECT count(*) FILTER (WHERE j.state NOT IN ('completed', 'failed')), "
						"count(*) FILTER (WHERE j.state = 'failed') "
						"FROM loader.job j "
						"LEFT JOIN loader.package_table t USING (package_id, table_name) "
						"WHERE j.package_id = $1 AND j.kind = 'load' "
						"AND (NOT $2 OR t.stage IS NOT NULL)",
						2, types, values, NULL, SPI_OK_SELECT, true, job_read_counts, &c);
	*unfinished = c.unfinished;
	*failed = c.failed;
}

bool
ldr_package_tables_locked_by_me(int64 package_id, const char *dataset)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(dataset)};

	return ldr_catalog_execute("SELECT 1 FROM pg_locks l "
							   "JOIN pg_class c ON c.oid = l.relation "
							   "JOIN pg_namespace n ON n.oid = c.relnamespace "
							   "WHERE l.pid = pg_backend_pid() AND l.granted "
							   "AND l.database = (SELECT oid FROM pg_database "
							   "WHERE datname = current_database()) AND n.nspname = $2 "
							   "AND (c.relname ILIKE '\\_dlt\\_%' "
							   "OR c.relname IN (SELECT table_name FROM loader.job "
							   "WHERE package_id = $1 UNION ALL "
							   "SELECT table_name FROM loader.package_table "
							   "WHERE package_id = $1)) LIMIT 1",
							   2, types, values, NULL, SPI_OK_SELECT, true, NULL, NULL) > 0;
}
