/*
 * catalog/reject.c: loader.reject, rows that were refused. Those of a job commit with its other
 * rows; who makes a job run again removes them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog/loader_catalog.h"

#define RENEW_ROWS	1000		/* at once */

/* A copy in the current context. */
LdrReject *
ldr_reject_copy(const LdrReject *from)
{
	LdrReject  *copy = palloc(sizeof(LdrReject));
	char	   *raw = palloc(from->raw_len + 1);

	*copy = *from;
	copy->column = from->column ? pstrdup(from->column) : NULL;
	copy->sqlstate = pstrdup(from->sqlstate);
	copy->message = pstrdup(from->message);
	copy->detail = from->detail ? pstrdup(from->detail) : NULL;
	memcpy(raw, from->raw, from->raw_len);
	copy->raw = raw;
	return copy;
}

/* The columns of rejects as arrays, for one statement. */
typedef struct RejectArrays
{
	int			n;
	int			filled;
	Datum	   *values[7];
	bool	   *nulls[7];
} RejectArrays;

static void
reject_arrays(RejectArrays *a, int n, int columns)
{
	a->n = n;
	a->filled = 0;
	for (int i = 0; i < columns; i++)
	{
		a->values[i] = palloc(sizeof(Datum) * n);
		a->nulls[i] = palloc(sizeof(bool) * n);
	}
}

static void
reject_put(RejectArrays *a, int column, Datum value, bool isnull)
{
	a->values[column][a->filled] = value;
	a->nulls[column][a->filled] = isnull;
}

static Datum
reject_bytea(const char *raw, size_t len)
{
	bytea	   *value = palloc(VARHDRSZ + len);

	SET_VARSIZE(value, VARHDRSZ + len);
	memcpy(VARDATA(value), raw, len);
	return PointerGetDatum(value);
}

static void
reject_append(RejectArrays *a, const LdrReject *r)
{
	reject_put(a, 0, Int64GetDatum(r->line), false);
	reject_put(a, 1, LDR_TEXT_ARG(r->column), r->column == NULL);
	reject_put(a, 2, CStringGetTextDatum(r->sqlstate), false);
	reject_put(a, 3, CStringGetTextDatum(r->message), false);
	reject_put(a, 4, LDR_TEXT_ARG(r->detail), r->detail == NULL);
	reject_put(a, 5, reject_bytea(r->raw, r->raw_len), false);
	reject_put(a, 6, Int64GetDatum((int64) r->raw_size), false);
	a->filled++;
}

static Datum
reject_array(const RejectArrays *a, int column, Oid type)
{
	int			dims[1] = {a->n};
	int			lower[1] = {1};
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array(a->values[column], a->nulls[column], 1, dims, lower,
											  type, len, byval, align));
}

/* Some of a job's, a List of LdrReject; part of the transaction that holds the job's rows. */
void
ldr_reject_insert(int64 package_id, const char *job_id, List *rejects)
{
	static const Oid elements[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, INT8OID};
	Oid			types[] = {INT8OID, TEXTOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID, BYTEAARRAYOID, INT8ARRAYOID};
	Datum		values[9] = {Int64GetDatum(package_id), CStringGetTextDatum(job_id)};
	RejectArrays a;
	ListCell   *lc;

	reject_arrays(&a, list_length(rejects), lengthof(elements));
	foreach(lc, rejects)
		reject_append(&a, lfirst(lc));
	for (int i = 0; i < lengthof(elements); i++)
		values[2 + i] = reject_array(&a, i, elements[i]);
	ldr_catalog_execute("INSERT INTO loader.reject (package_id, job_id, line, column_name, "
						"sqlstate, message, detail, raw, raw_size) "
						"SELECT $1, $2, r.* FROM unnest($3, $4, $5, $6, $7, $8, $9) AS r",
						9, types, values, NULL, SPI_OK_INSERT, false, NULL, NULL);
}

/* Those of a job that is about to run, again. */
void
ldr_reject_delete_job(int64 package_id, const char *job_id)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(job_id)};

	ldr_catalog_execute("DELETE FROM loader.reject WHERE package_id = $1 AND job_id = $2",
						2, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
}

/* Jobs became new, or have gone: their rows are lost, and so are these. */
void
ldr_reject_delete_unfinished(int64 package_id)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("DELETE FROM loader.reject r WHERE package_id = $1 AND NOT EXISTS "
						"(SELECT FROM loader.job j WHERE j.package_id = $1 "
						"AND j.job_id = r.job_id AND j.state = 'completed')",
						1, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
}

typedef struct RejectTotal
{
	int64		rejected;
	int64		read;
} RejectTotal;

static void
reject_read_total(HeapTuple t, TupleDesc d, void *arg)
{
	RejectTotal *total = arg;

	total->rejected = ldr_catalog_int(t, d, 1);
	total->read = ldr_catalog_int(t, d, 2);
}

/* Rows that the completed jobs of a package have rejected, but for one (0: all); and read. */
int64
ldr_reject_total(int64 package_id, int but, int64 *read)
{
	RejectTotal total = {0, 0};
	Oid			types[] = {INT8OID, INT4OID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(but)};

	ldr_catalog_execute("SELECT sum(rows_rejected)::bigint, sum(rows_read)::bigint "
						"FROM loader.job WHERE package_id = $1 AND ordinal <> $2 "
						"AND kind = 'load' AND state = 'completed'",
						2, types, values, NULL, SPI_OK_SELECT, false, reject_read_total, &total);
	if (read)
		*read = total.read;
	return total.rejected;
}

/* Where the first one of a package stands, and why, for a message; NULL: there is none. */
char *
ldr_reject_first(int64 package_id)
{
	char	   *first = NULL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT format('File \"%s\", line %s%s: %s', j.file_name, r.line, "
						"', column \"' || r.column_name || '\"', r.message) "
						"FROM loader.reject r JOIN loader.job j USING (package_id, job_id) "
						"WHERE package_id = $1 ORDER BY j.ordinal, r.reject_id LIMIT 1",
						1, types, values, NULL, SPI_OK_SELECT, false, ldr_catalog_read_text,
						&first);
	return first;
}

/* Remove those of a package, or of one of its tables. Returns how many. */
int64
ldr_reject_discard(int64 package_id, const char *table_name)
{
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), LDR_TEXT_ARG(table_name)};
	char		nulls[] = {' ', LDR_TEXT_NULL(table_name)};

	return ldr_catalog_execute("DELETE FROM loader.reject r USING loader.job j "
							   "WHERE r.package_id = $1 AND j.package_id = r.package_id "
							   "AND j.job_id = r.job_id "
							   "AND j.table_name = coalesce($2, j.table_name)",
							   2, types, values, nulls, SPI_OK_DELETE, false, NULL, NULL);
}

static void
reject_append_job(HeapTuple t, TupleDesc d, void *arg)
{
	LdrRejectJob *r = palloc0(sizeof(LdrRejectJob));

	r->job = palloc0(sizeof(LdrJob));
	r->job->ordinal = (int) ldr_catalog_int(t, d, 1);
	r->job->job_id = ldr_catalog_text(t, d, 2);
	r->job->file_name = ldr_catalog_text(t, d, 3);
	r->job->table_name = ldr_catalog_text(t, d, 4);
	r->job->format = ldr_catalog_text(t, d, 5);
	r->disposition = ldr_catalog_text(t, d, 6);
	r->replaced_by = ldr_catalog_int(t, d, 7);
	r->superseded = ldr_catalog_int(t, d, 8) != 0;
	r->chain = ldr_catalog_text(t, d, 9);
	*(List **) arg = lappend(*(List **) arg, r);
}

/* The jobs of a package, or of one of its tables, that have rejects; in order. */
List *
ldr_reject_jobs(int64 package_id, const char *table_name)
{
	List	   *jobs = NIL;
	ListCell   *lc;
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), LDR_TEXT_ARG(table_name)};
	char		nulls[] = {' ', LDR_TEXT_NULL(table_name)};

	/* what a refresh has dropped or emptied stands in the events alone */
	ldr_catalog_execute("SELECT j.ordinal, j.job_id, j.file_name, j.table_name, j.format, "
						"t.disposition, (SELECT min(q.package_id) FROM loader.package q "
						"WHERE q.dataset = p.dataset AND q.state = 'loaded' "
						"AND q.package_id <> p.package_id AND q.finished_at > p.finished_at "
						"AND (EXISTS (SELECT FROM loader.package_table u "
						"WHERE u.package_id = q.package_id AND u.table_name = j.table_name "
						"AND u.disposition = 'replace') "
						"OR EXISTS (SELECT FROM loader.event e WHERE e.package_id = q.package_id "
						"AND e.object = j.table_name AND e.kind IN ('drop table', 'empty table'))))"
						", p.superseded, t.chain "
						"FROM loader.job j JOIN loader.package p USING (package_id) "
						"JOIN loader.package_table t USING (package_id, table_name) "
						"WHERE j.package_id = $1 AND j.table_name = coalesce($2, j.table_name) "
						"AND EXISTS (SELECT FROM loader.reject r WHERE r.package_id = $1 "
						"AND r.job_id = j.job_id) ORDER BY j.ordinal",
						2, types, values, nulls, SPI_OK_SELECT, false, reject_append_job, &jobs);
	foreach(lc, jobs)
	{
		LdrRejectJob *r = lfirst(lc);

		r->columns = ldr_job_columns(package_id, r->job->ordinal);
	}
	return jobs;
}

static void
reject_append_row(HeapTuple t, TupleDesc d, void *arg)
{
	LdrReject  *r = palloc0(sizeof(LdrReject));
	bool		isnull;
	bytea	   *raw = DatumGetByteaPCopy(SPI_getbinval(t, d, 3, &isnull));

	r->id = ldr_catalog_int(t, d, 1);
	r->line = ldr_catalog_int(t, d, 2);
	r->raw = VARDATA(raw);
	r->raw_len = VARSIZE(raw) - VARHDRSZ;
	r->raw_size = (size_t) ldr_catalog_int(t, d, 4);
	*(List **) arg = lappend(*(List **) arg, r);
}

/*
 * Some of a job's, in order, after the one of that id: List of LdrReject, without the reasons. No
 * more than limit, and no more when they have that many bytes; one at least.
 */
List *
ldr_reject_list(int64 package_id, const char *job_id, int64 after, int limit, int bytes)
{
	List	   *rejects = NIL;
	Oid			types[] = {INT8OID, TEXTOID, INT8OID, INT4OID, INT4OID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(job_id),
	Int64GetDatum(after), Int32GetDatum(limit), Int32GetDatum(bytes)};

	/* the length of a value is known without reading it */
	ldr_catalog_execute("SELECT reject_id, line, raw, raw_size FROM (SELECT reject_id, line, raw, "
						"raw_size, sum(octet_length(raw)) OVER (ORDER BY reject_id) "
						"- octet_length(raw) AS before FROM (SELECT reject_id, line, raw, raw_size "
						"FROM loader.reject WHERE package_id = $1 AND job_id = $2 "
						"AND reject_id > $3 ORDER BY reject_id LIMIT $4) r) q "
						"WHERE before < $5 ORDER BY reject_id",
						5, types, values, NULL, SPI_OK_SELECT, false, reject_append_row, &rejects);
	return rejects;
}

/* Remove these, a List of LdrReject. Returns how many of them were still there. */
uint64
ldr_reject_delete(const List *rejects)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(list_length(rejects), 1));
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[1];
	const ListCell *lc;
	int16		len;
	bool		byval;
	char		align;
	int			n = 0;

	if (rejects == NIL)
		return 0;
	foreach(lc, rejects)
		ids[n++] = Int64GetDatum(((LdrReject *) lfirst(lc))->id);
	get_typlenbyvalalign(INT8OID, &len, &byval, &align);
	values[0] = PointerGetDatum(construct_array(ids, n, INT8OID, len, byval, align));
	return ldr_catalog_execute("DELETE FROM loader.reject WHERE reject_id = ANY ($1)",
							   1, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
}

/* Some of them. Most are refused for the same reason as before: nothing is to be written then. */
static void
reject_renew_some(const List *rejects, int from, int n)
{
	static const Oid elements[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Oid			types[] = {INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[lengthof(elements)];
	RejectArrays a;

	reject_arrays(&a, n, lengthof(elements));
	for (a.filled = 0; a.filled < n; a.filled++)
	{
		const LdrReject *r = list_nth(rejects, from + a.filled);

		reject_put(&a, 0, Int64GetDatum(r->id), false);
		reject_put(&a, 1, LDR_TEXT_ARG(r->column), r->column == NULL);
		reject_put(&a, 2, CStringGetTextDatum(r->sqlstate), false);
		reject_put(&a, 3, CStringGetTextDatum(r->message), false);
		reject_put(&a, 4, LDR_TEXT_ARG(r->detail), r->detail == NULL);
	}
	for (int i = 0; i < lengthof(elements); i++)
		values[i] = reject_array(&a, i, elements[i]);
	ldr_catalog_execute("UPDATE loader.reject r SET column_name = n.column_name, "
						"sqlstate = n.sqlstate, message = n.message, detail = n.detail "
						"FROM unnest($1, $2, $3, $4, $5) "
						"AS n (id, column_name, sqlstate, message, detail) "
						"WHERE r.reject_id = n.id "
						"AND (r.column_name, r.sqlstate, r.message, r.detail) IS DISTINCT FROM "
						"(n.column_name, n.sqlstate, n.message, n.detail)",
						lengthof(types), types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
}

/* They (List of LdrReject) were refused again: why. */
void
ldr_reject_renew(const List *rejects)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader renewed rejects",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);

	for (int from = 0; from < list_length(rejects); from += RENEW_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		reject_renew_some(rejects, from, Min(RENEW_ROWS, list_length(rejects) - from));
		MemoryContextReset(cxt);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/* So many rejects of a job are none any more, and so many rows came of them. */
void
ldr_reject_settled_job(int64 package_id, const LdrJob *job, int64 settled, int64 inserted)
{
	Oid			types[] = {INT8OID, INT8OID, INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), Int64GetDatum(settled),
	Int64GetDatum(inserted), CStringGetTextDatum(job->job_id)};

	ldr_catalog_execute("UPDATE loader.job SET rows_rejected = rows_rejected - $2, "
						"rows_inserted = rows_inserted + $3 "
						"WHERE package_id = $1 AND job_id = $4",
						4, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
}

/* The same, and of its table. */
void
ldr_reject_settled(int64 package_id, const LdrJob *job, int64 settled, int64 inserted)
{
	Oid			types[] = {INT8OID, INT8OID, INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), Int64GetDatum(settled),
	Int64GetDatum(inserted), CStringGetTextDatum(job->table_name)};

	ldr_reject_settled_job(package_id, job, settled, inserted);
	ldr_catalog_execute("UPDATE loader.package_table SET rows_rejected = rows_rejected - $2, "
						"rows_inserted = rows_inserted + $3 "
						"WHERE package_id = $1 AND table_name = $4",
						4, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
}

/* How many there are of a package, or of one of its tables. */
int64
ldr_reject_count(int64 package_id, const char *table_name)
{
	int64		count = 0;
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), LDR_TEXT_ARG(table_name)};
	char		nulls[] = {' ', LDR_TEXT_NULL(table_name)};

	ldr_catalog_execute("SELECT count(*) FROM loader.reject r JOIN loader.job j "
						"USING (package_id, job_id) "
						"WHERE package_id = $1 AND j.table_name = coalesce($2, j.table_name)",
						2, types, values, nulls, SPI_OK_SELECT, false, ldr_catalog_read_int,
						&count);
	return count;
}
