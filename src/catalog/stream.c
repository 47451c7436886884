/*
 * catalog/stream.c: loader.package_stream, what a sync does to each stream; loader.stream, what the
 * next sync of a table has to know; loader.stream_state, where sources go on.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog/loader_catalog.h"
#include "schema/airbyte.h"

#define ID_ARG(id)		Int64GetDatum((id) == LDR_NO_ID ? 0 : (id))
#define ID_NULL(id)		((id) == LDR_NO_ID ? 'n' : ' ')

static int64
stream_id(HeapTuple t, TupleDesc d, int column)
{
	bool		isnull;

	(void) SPI_getbinval(t, d, column, &isnull);
	return isnull ? LDR_NO_ID : ldr_catalog_int(t, d, column);
}

/* --- what a sync does -------------------------------------------------------------------------- */

void
ldr_package_stream_insert(int64 package_id, const LdrPackageStream *s)
{
	Oid			types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(s->ordinal),
		LDR_TEXT_ARG(s->name_space), CStringGetTextDatum(s->name), CStringGetTextDatum(s->dataset),
	CStringGetTextDatum(s->table_name), CStringGetTextDatum(s->mode)};
	char		nulls[] = {' ', ' ', LDR_TEXT_NULL(s->name_space), ' ', ' ', ' ', ' '};

	ldr_catalog_execute("INSERT INTO loader.package_stream (package_id, ordinal, namespace, "
						"stream, dataset, table_name, mode) VALUES ($1, $2, $3, $4, $5, $6, $7)",
						7, types, values, nulls, SPI_OK_INSERT, false, NULL, NULL);
}

/* Status and counters as they are now; part of the transaction that makes them true. */
void
ldr_package_stream_update(int64 package_id, const LdrPackageStream *s)
{
	Oid			types[] = {INT8OID, INT4OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	BOOLOID};
	Datum		values[] = {Int64GetDatum(package_id), Int32GetDatum(s->ordinal),
		CStringGetTextDatum(s->status), Int64GetDatum(s->records), Int64GetDatum(s->bytes),
		Int64GetDatum(s->states), Int64GetDatum(s->nulled_values), Int64GetDatum(s->position),
	BoolGetDatum(s->finished)};

	ldr_catalog_execute("UPDATE loader.package_stream SET status = $3, records = $4, bytes = $5, "
						"states = $6, nulled_values = $7, position = $8, finished = $9 "
						"WHERE package_id = $1 AND ordinal = $2",
						9, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL);
}

static void
package_stream_append(HeapTuple t, TupleDesc d, void *arg)
{
	LdrPackageStream *s = palloc0(sizeof(LdrPackageStream));

	s->ordinal = (int) ldr_catalog_int(t, d, 1);
	s->status = ldr_catalog_text(t, d, 2);
	s->records = ldr_catalog_int(t, d, 3);
	s->bytes = ldr_catalog_int(t, d, 4);
	s->states = ldr_catalog_int(t, d, 5);
	s->nulled_values = ldr_catalog_int(t, d, 6);
	s->position = ldr_catalog_int(t, d, 7);
	s->finished = ldr_catalog_int(t, d, 8) != 0;
	*(List **) arg = lappend(*(List **) arg, s);
}

/* Status and counters of all streams of a sync, in order: a List of LdrPackageStream. */
List *
ldr_package_stream_list(int64 package_id)
{
	List	   *streams = NIL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT ordinal, status, records, bytes, states, nulled_values, position, "
						"finished::integer FROM loader.package_stream WHERE package_id = $1 ORDER BY ordinal",
						1, types, values, NULL, SPI_OK_SELECT, false, package_stream_append,
						&streams);
	return streams;
}

/* What became of a sync, as loader_airbyte_close returns it but for states: the text of an object. */
char *
ldr_sync_report(int64 package_id)
{
	char	   *report = NULL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT json_build_object('package_id', p.package_id, 'state', p.state, "
						"'started_at', p.started_at, 'finished_at', p.finished_at, "
						"'records', coalesce(s.records, 0), 'bytes', coalesce(s.bytes, 0), "
						"'streams', coalesce(s.streams, '[]'), 'warnings', (SELECT "
						"coalesce(json_agg(concat_ws(': ', e.object, e.detail) "
						"ORDER BY e.event_id), '[]') FROM loader.event e "
						"WHERE e.package_id = p.package_id AND e.kind = 'warning'), 'error', "
						"CASE WHEN p.sqlstate IS NOT NULL THEN json_build_object('sqlstate', "
						"p.sqlstate, 'message', p.message, 'detail', p.detail, 'hint', p.hint) "
						"END)::text "
						"FROM loader.package p LEFT JOIN LATERAL (SELECT sum(c.records) AS records, "
						"sum(c.bytes) AS bytes, json_agg(json_build_object('name', c.stream, "
						"'namespace', c.namespace, 'dataset', c.dataset, 'table', c.table_name, "
						"'mode', c.mode, 'status', c.status, 'records', c.records, "
						"'bytes', c.bytes, 'states', c.states, "
						"'rows_inserted', coalesce(t.rows_inserted, 0), "
						"'rows_updated', coalesce(t.rows_updated, 0), "
						"'rows_deleted', coalesce(t.rows_deleted, 0), "
						"'nulled_values', c.nulled_values, 'started_at', j.started_at, "
						"'finished_at', j.finished_at) ORDER BY c.ordinal) AS streams "
						"FROM loader.package_stream c "
						"JOIN loader.job j USING (package_id, ordinal) "
						"LEFT JOIN loader.package_table t ON t.package_id = c.package_id "
						"AND t.table_name = j.table_name "
						"WHERE c.package_id = p.package_id) s ON true WHERE p.package_id = $1",
						1, types, values, NULL, SPI_OK_SELECT, true, ldr_catalog_read_text, &report);
	return report;
}

/*
 * Syncs before this one that have not ended and have a table of it, a List of int64 pointers. One
 * that was registered but never started, or came with a restored dump, is none.
 */
List *
ldr_sync_rivals(int64 package_id)
{
	List	   *ids = NIL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT DISTINCT e.package_id FROM loader.package p "
						"JOIN loader.package_stream a ON a.package_id = p.package_id "
						"JOIN loader.package_stream b ON b.dataset = a.dataset "
						"AND b.table_name = a.table_name "
						"JOIN loader.package e ON e.package_id = b.package_id "
						"WHERE p.package_id = $1 AND e.package_id < $1 AND e.wanted "
						"AND e.state IN ('new', 'loading') "
						"AND e.system_identifier = p.system_identifier "
						"AND e.database_oid = p.database_oid ORDER BY e.package_id",
						1, types, values, NULL, SPI_OK_SELECT, false, ldr_catalog_append_id, &ids);
	return ids;
}

/* --- what the next sync has to know ------------------------------------------------------------ */

static void
stream_read(HeapTuple t, TupleDesc d, void *arg)
{
	LdrStreamRecord *s = palloc0(sizeof(LdrStreamRecord));

	s->dataset = ldr_catalog_text(t, d, 1);
	s->table_name = ldr_catalog_text(t, d, 2);
	s->mode = ldr_catalog_text(t, d, 3);
	s->generation_id = stream_id(t, d, 4);
	s->sync_id = stream_id(t, d, 5);
	s->complete = ldr_catalog_int(t, d, 6) != 0;
	s->stage_schema = ldr_catalog_text(t, d, 7);
	s->stage_name = ldr_catalog_text(t, d, 8);
	s->stage_generation_id = stream_id(t, d, 9);
	*(LdrStreamRecord **) arg = s;
}

/* NULL: no sync has written to the table yet. */
LdrStreamRecord *
ldr_stream_get(const char *dataset, const char *table_name)
{
	LdrStreamRecord *s = NULL;
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(dataset), CStringGetTextDatum(table_name)};

	ldr_catalog_execute("SELECT dataset, table_name, mode, generation_id, sync_id, "
						"complete::integer, stage_schema, stage_name, stage_generation_id "
						"FROM loader.stream WHERE dataset = $1 AND table_name = $2",
						2, types, values, NULL, SPI_OK_SELECT, true, stream_read, &s);
	return s;
}

void
ldr_stream_put(const LdrStreamRecord *s)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID, BOOLOID, TEXTOID, TEXTOID,
	INT8OID};
	Datum		values[] = {CStringGetTextDatum(s->dataset), CStringGetTextDatum(s->table_name),
		CStringGetTextDatum(s->mode), ID_ARG(s->generation_id), ID_ARG(s->sync_id),
		BoolGetDatum(s->complete), LDR_TEXT_ARG(s->stage_schema), LDR_TEXT_ARG(s->stage_name),
	ID_ARG(s->stage_generation_id)};
	char		nulls[] = {' ', ' ', ' ', ID_NULL(s->generation_id), ID_NULL(s->sync_id), ' ',
		LDR_TEXT_NULL(s->stage_schema), LDR_TEXT_NULL(s->stage_name),
	ID_NULL(s->stage_generation_id)};

	ldr_catalog_execute("INSERT INTO loader.stream (dataset, table_name, mode, generation_id, "
						"sync_id, complete, stage_schema, stage_name, stage_generation_id) "
						"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
						"ON CONFLICT (dataset, table_name) DO UPDATE SET mode = $3, "
						"generation_id = $4, sync_id = $5, complete = $6, stage_schema = $7, "
						"stage_name = $8, stage_generation_id = $9",
						9, types, values, nulls, SPI_OK_INSERT, false, NULL, NULL);
}

/*
 * Did the sync that last completed this table's stream not come to its end? Another stream may not
 * have been complete, or it was interrupted when all of them were.
 */
bool
ldr_stream_was_cut_off(const char *dataset, const char *table_name)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(dataset), CStringGetTextDatum(table_name)};

	return ldr_catalog_execute("SELECT FROM loader.package p WHERE p.package_id = "
						"(SELECT max(t.package_id) FROM loader.package_stream t "
						"WHERE t.dataset = $1 AND t.table_name = $2 AND t.status = 'complete') "
						"AND (p.state <> 'loaded' OR EXISTS (SELECT FROM loader.package_stream o "
						"WHERE o.package_id = p.package_id AND o.status <> 'complete'))",
						2, types, values, NULL, SPI_OK_SELECT, true, NULL, NULL) > 0;
}

/* --- where sources go on ----------------------------------------------------------------------- */

/*
 * Keep a state, as it was received; part of the transaction that has the records before it. A
 * source has states of its streams or one of the whole: the other kind goes.
 */
void
ldr_stream_state_put(const LdrPackage *package, const char *source_name, const LdrSourceState *s)
{
	const char *destination = package->destination_name ? package->destination_name : "";
	bool		of_stream = strcmp(s->kind, "stream") == 0;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	INT8OID, OIDOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(package->role_name),
		CStringGetTextDatum(destination), CStringGetTextDatum(source_name),
		CStringGetTextDatum(s->name_space ? s->name_space : ""),
		CStringGetTextDatum(s->name ? s->name : ""), CStringGetTextDatum(s->kind),
		CStringGetTextDatum(s->state), CStringGetTextDatum(package->dataset),
		Int64GetDatum(package->package_id), ObjectIdGetDatum(package->role),
	Int64GetDatum(package->system_identifier)};

	ldr_catalog_execute(of_stream ?
						"DELETE FROM loader.stream_state WHERE role_name = $1 "
						"AND destination_name = $2 AND source_name = $3 AND kind <> 'stream'" :
						"DELETE FROM loader.stream_state WHERE role_name = $1 "
						"AND destination_name = $2 AND source_name = $3 AND kind = 'stream'",
						3, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
	ldr_catalog_execute("INSERT INTO loader.stream_state (role_name, destination_name, "
						"source_name, namespace, stream, kind, state, dataset, package_id, "
						"role_oid, system_identifier) "
						"VALUES ($1, $2, $3, $4, $5, $6, $7::json, $8, $9, $10, $11) "
						"ON CONFLICT (role_name, destination_name, source_name, namespace, stream) "
						"DO UPDATE SET kind = $6, state = $7::json, dataset = $8, "
						"package_id = $9, role_oid = $10, system_identifier = $11, "
						"updated_at = clock_timestamp()",
						11, types, values, NULL, SPI_OK_INSERT, false, NULL, NULL);
}

/*
 * The states of a source of the current role, as the source takes them: an array of states, a
 * legacy state's data as it is; "[]" if there are none. Names may be NULL: not said; streams, an
 * array of text or 0, are the names of those that are wanted. A state is looked into only where it
 * must be: what JSON can say by codes is more than the database may be able to.
 */
char *
ldr_stream_states(const char *source_name, const char *destination_name, Datum streams)
{
	char	   *states = NULL;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID};
	Datum		values[] = {CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)),
		CStringGetTextDatum(destination_name ? destination_name : ""),
	CStringGetTextDatum(source_name ? source_name : ""), streams};
	char		nulls[] = {' ', ' ', ' ', streams == (Datum) 0 ? 'n' : ' '};

	ldr_catalog_execute("SELECT CASE WHEN min(kind) = 'legacy' "
						"THEN (array_agg(state -> 'data') FILTER (WHERE kind = 'legacy'))[1]::text "
						"ELSE coalesce('[' || string_agg(state::text, ', ' "
						"ORDER BY namespace, stream) || ']', '[]') END "
						"FROM loader.stream_state WHERE role_name = $1 AND destination_name = $2 "
						"AND source_name = $3 "
						"AND ($4 IS NULL OR kind <> 'stream' OR stream = ANY ($4))",
						4, types, values, nulls, SPI_OK_SELECT, true, ldr_catalog_read_text, &states);
	return states;
}
