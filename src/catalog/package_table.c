/*
 * catalog/package_table.c: loader.package_table, what a package did to each table.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "catalog/loader_catalog.h"

/* Add to what is known of the table; part of the transaction that holds the rows. */
void
ldr_package_table_insert(int64 package_id, const LdrTableStats *s)
{
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID,
	INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(s->table_name),
		CStringGetTextDatum(s->chain),
		CStringGetTextDatum(s->disposition), LDR_TEXT_ARG(s->sink), LDR_TEXT_ARG(s->reason),
		Int64GetDatum(s->rows_read), Int64GetDatum(s->rows_inserted), Int64GetDatum(s->bytes),
		Int64GetDatum(s->lock_wait_us), Int64GetDatum(s->lock_hold_us),
		LDR_TEXT_ARG(s->strategy), LDR_TEXT_ARG(s->stage), Int64GetDatum(s->rows_updated),
	Int64GetDatum(s->rows_deleted), Int64GetDatum(s->rows_rejected)};
	char		nulls[] = {' ', ' ', ' ', ' ', LDR_TEXT_NULL(s->sink), LDR_TEXT_NULL(s->reason),
		' ', ' ', ' ',
		s->lock_wait_us < 0 ? 'n' : ' ', s->lock_hold_us < 0 ? 'n' : ' ',
	LDR_TEXT_NULL(s->strategy), LDR_TEXT_NULL(s->stage), ' ', ' ', ' '};

	ldr_catalog_execute("INSERT INTO loader.package_table AS t (package_id, table_name, chain, "
						"disposition, sink, reason, rows_read, rows_inserted, bytes, lock_wait, "
						"lock_hold, strategy, stage, rows_updated, rows_deleted, rows_rejected) "
						"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10 * interval '1 us', "
						"$11 * interval '1 us', $12, $13, $14, $15, $16) "
						"ON CONFLICT (package_id, table_name) "
						"DO UPDATE SET chain = excluded.chain, disposition = excluded.disposition, "
						"sink = coalesce(excluded.sink, t.sink), "
						"reason = coalesce(excluded.reason, t.reason), "
						"strategy = coalesce(excluded.strategy, t.strategy), "
						"stage = excluded.stage, "
						"rows_read = t.rows_read + excluded.rows_read, "
						"rows_inserted = t.rows_inserted + excluded.rows_inserted, "
						"rows_updated = t.rows_updated + excluded.rows_updated, "
						"rows_deleted = t.rows_deleted + excluded.rows_deleted, "
						"rows_rejected = t.rows_rejected + excluded.rows_rejected, "
						"bytes = t.bytes + excluded.bytes, "
						"lock_wait = coalesce(t.lock_wait + excluded.lock_wait, t.lock_wait, "
						"excluded.lock_wait), lock_hold = coalesce(t.lock_hold + "
						"excluded.lock_hold, t.lock_hold, excluded.lock_hold)",
						16, types, values, nulls, SPI_OK_INSERT, false, NULL, NULL);
}

/*
 * Forget what was counted of tables none of whose jobs is completed: their rows come again. Not
 * those of a sync, which commits parts of a job.
 */
void
ldr_package_table_recount(int64 package_id)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("UPDATE loader.package_table t SET rows_read = 0, rows_inserted = 0, "
						"rows_updated = 0, rows_deleted = 0, rows_rejected = 0, bytes = 0 "
						"WHERE package_id = $1 AND EXISTS (SELECT FROM loader.package p "
						"WHERE p.package_id = $1 AND p.catalog IS NULL) AND (rows_read, rows_inserted, rows_updated, "
						"rows_deleted, rows_rejected, bytes) <> (0, 0, 0, 0, 0, 0) "
						"AND NOT EXISTS (SELECT FROM loader.job j WHERE j.package_id = $1 "
						"AND j.table_name = t.table_name AND j.kind = 'load' "
						"AND j.state = 'completed')",
						1, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
}

typedef struct PackageTableRows
{
	int64		read;
	int64		inserted;
} PackageTableRows;

static void
package_table_read_rows(HeapTuple t, TupleDesc d, void *arg)
{
	PackageTableRows *rows = arg;

	rows->read = ldr_catalog_int(t, d, 1);
	rows->inserted = ldr_catalog_int(t, d, 2);
}

/* What is known of all tables of a chain together. */
void
ldr_package_table_chain_rows(int64 package_id, const char *chain, int64 *read, int64 *inserted)
{
	PackageTableRows rows = {0, 0};
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(chain)};

	ldr_catalog_execute("SELECT sum(rows_read)::bigint, sum(rows_inserted)::bigint "
						"FROM loader.package_table WHERE package_id = $1 AND chain = $2",
						2, types, values, NULL, SPI_OK_SELECT, false, package_table_read_rows,
						&rows);
	*read = rows.read;
	*inserted = rows.inserted;
}

/* Where the table's jobs put their rows before publish; NULL: nowhere, or nothing is known. */
char *
ldr_package_table_stage(int64 package_id, const char *table_name)
{
	char	   *stage = NULL;
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(table_name)};

	ldr_catalog_execute("SELECT stage FROM loader.package_table "
						"WHERE package_id = $1 AND table_name = $2",
						2, types, values, NULL, SPI_OK_SELECT, false, ldr_catalog_read_text,
						&stage);
	return stage;
}

/* Are there unsettled rejects of the table, of the last package before that has loaded it? */
bool
ldr_package_table_has_rejects(const LdrPackage *package, const char *table_name)
{
	Oid			types[] = {OIDOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {
		ObjectIdGetDatum(package->role), CStringGetTextDatum(package->schema_name),
		CStringGetTextDatum(package->dataset), CStringGetTextDatum(table_name)
	};

	return ldr_catalog_execute("SELECT FROM (SELECT package_id FROM loader.package p "
							   "JOIN loader.package_table t USING (package_id) "
							   "WHERE p.role_oid = $1 AND p.schema_name = $2 AND p.dataset = $3 "
							   "AND p.state = 'loaded' AND t.table_name = $4 "
							   "ORDER BY package_id DESC LIMIT 1) AS last "
							   "JOIN loader.job j USING (package_id) "
							   "JOIN loader.reject r USING (package_id, job_id) "
							   "WHERE j.table_name = $4 LIMIT 1",
							   4, types, values, NULL, SPI_OK_SELECT, false, NULL, NULL) > 0;
}
