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
	INT8OID, INT8OID, INT8OID};
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(s->table_name),
		CStringGetTextDatum(s->chain),
		CStringGetTextDatum(s->disposition), LDR_TEXT_ARG(s->sink), LDR_TEXT_ARG(s->reason),
		Int64GetDatum(s->rows_read), Int64GetDatum(s->rows_inserted), Int64GetDatum(s->bytes),
	Int64GetDatum(s->lock_wait_us), Int64GetDatum(s->lock_hold_us)};
	char		nulls[] = {' ', ' ', ' ', ' ', LDR_TEXT_NULL(s->sink), LDR_TEXT_NULL(s->reason),
		' ', ' ', ' ',
	s->lock_wait_us < 0 ? 'n' : ' ', s->lock_hold_us < 0 ? 'n' : ' '};

	ldr_catalog_execute("INSERT INTO loader.package_table AS t (package_id, table_name, chain, "
						"disposition, sink, reason, rows_read, rows_inserted, bytes, lock_wait, "
						"lock_hold) "
						"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10 * interval '1 us', "
						"$11 * interval '1 us') "
						"ON CONFLICT (package_id, table_name) "
						"DO UPDATE SET sink = coalesce(excluded.sink, t.sink), "
						"reason = coalesce(excluded.reason, t.reason), "
						"rows_read = t.rows_read + excluded.rows_read, "
						"rows_inserted = t.rows_inserted + excluded.rows_inserted, "
						"bytes = t.bytes + excluded.bytes, "
						"lock_wait = coalesce(t.lock_wait + excluded.lock_wait, t.lock_wait, "
						"excluded.lock_wait), lock_hold = coalesce(t.lock_hold + "
						"excluded.lock_hold, t.lock_hold, excluded.lock_hold)",
						11, types, values, nulls, SPI_OK_INSERT, false, NULL, NULL);
}
