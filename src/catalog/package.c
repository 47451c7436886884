/*
 * catalog/package.c: loader.package.
 *
 *	new ---> (loading) ---> loaded
 *	 |          |  '------> failed, cancelled
 *	 '----------'---------> and back to new by resume or by registering again
 *
 * A package that publishes in one transaction goes from new straight to loaded: what is between
 * is not committed, and a crash leaves it new. "wanted" says that it was started.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/loader_catalog.h"
#include "fault.h"
#include "loader.h"

#define PACKAGE_COLUMNS \
	"package_id, load_id, schema_name, schema_hash, dataset, pipeline_name, source, state, " \
	"wanted, cancel_requested, attempts, options, settings, schema_size, schema_inode, " \
	"schema_mtime_ns, role_oid, role_name, system_identifier, database_oid, xmin, " \
	"sqlstate, message, detail, hint, state_size, state_inode, state_mtime_ns, dropped, " \
	"mode, destination_name, catalog, " \
	"(extract(epoch FROM clock_timestamp() - begun_at) * 1000)::bigint"

static void
package_read(HeapTuple t, TupleDesc d, void *arg)
{
	LdrPackage *p = palloc0(sizeof(LdrPackage));

	p->package_id = ldr_catalog_int(t, d, 1);
	p->load_id = ldr_catalog_text(t, d, 2);
	p->schema_name = ldr_catalog_text(t, d, 3);
	p->schema_hash = ldr_catalog_text(t, d, 4);
	p->dataset = ldr_catalog_text(t, d, 5);
	p->pipeline_name = ldr_catalog_text(t, d, 6);
	p->source = ldr_catalog_text(t, d, 7);
	p->state = ldr_catalog_text(t, d, 8);
	p->wanted = ldr_catalog_int(t, d, 9) != 0;
	p->cancel_requested = ldr_catalog_int(t, d, 10) != 0;
	p->attempts = (int) ldr_catalog_int(t, d, 11);
	p->options = ldr_catalog_text(t, d, 12);
	p->settings = ldr_catalog_text(t, d, 13);
	p->stamps.schema.size = ldr_catalog_int(t, d, 14);
	p->stamps.schema.inode = ldr_catalog_int(t, d, 15);
	p->stamps.schema.mtime_ns = ldr_catalog_int(t, d, 16);
	p->role = (Oid) ldr_catalog_int(t, d, 17);
	p->role_name = ldr_catalog_text(t, d, 18);
	p->system_identifier = ldr_catalog_int(t, d, 19);
	p->database = (Oid) ldr_catalog_int(t, d, 20);
	p->xmin = (TransactionId) ldr_catalog_int(t, d, 21);
	p->sqlstate = ldr_catalog_text(t, d, 22);
	p->message = ldr_catalog_text(t, d, 23);
	p->detail = ldr_catalog_text(t, d, 24);
	p->hint = ldr_catalog_text(t, d, 25);
	p->stamps.state.size = ldr_catalog_int(t, d, 26);
	p->stamps.state.inode = ldr_catalog_int(t, d, 27);
	p->stamps.state.mtime_ns = ldr_catalog_int(t, d, 28);
	p->dropped = ldr_catalog_int(t, d, 29) != 0;
	p->mode = ldr_catalog_text(t, d, 30);
	p->destination_name = ldr_catalog_text(t, d, 31);
	p->catalog = ldr_catalog_text(t, d, 32);
	p->begun_ms = ldr_catalog_int(t, d, 33);
	*(LdrPackage **) arg = p;
}

/*
 * The statements that change (or lock) one package by its id and nothing else: true if it matched.
 * The statement's WHERE says from which states.
 */
static bool
package_update(const char *sql, int64 package_id, int expect)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	return ldr_catalog_execute(sql, 1, types, values, NULL, expect, false, NULL, NULL) > 0;
}

/* The parameters that insert and reregister share. */
static void
package_args(const LdrPackage *p, Datum *values, char *nulls)
{
	Datum		v[] = {
		LDR_TEXT_ARG(p->load_id), LDR_TEXT_ARG(p->schema_name), LDR_TEXT_ARG(p->schema_hash),
		LDR_TEXT_ARG(p->dataset), LDR_TEXT_ARG(p->pipeline_name), LDR_TEXT_ARG(p->source),
		LDR_TEXT_ARG(p->options), LDR_TEXT_ARG(p->settings),
		Int64GetDatum(p->stamps.schema.size), Int64GetDatum(p->stamps.schema.inode),
		Int64GetDatum(p->stamps.schema.mtime_ns), ObjectIdGetDatum(p->role),
		LDR_TEXT_ARG(p->role_name), Int64GetDatum(p->system_identifier),
		ObjectIdGetDatum(p->database),
		Int64GetDatum(p->stamps.state.size), Int64GetDatum(p->stamps.state.inode),
		Int64GetDatum(p->stamps.state.mtime_ns), LDR_TEXT_ARG(p->destination_name),
		LDR_TEXT_ARG(p->catalog), LDR_TEXT_ARG(p->mode), Int64GetDatum(p->package_id)
	};

	memcpy(values, v, sizeof(v));
	memset(nulls, ' ', lengthof(v));
	nulls[4] = LDR_TEXT_NULL(p->pipeline_name);
	nulls[5] = LDR_TEXT_NULL(p->source);
	nulls[18] = LDR_TEXT_NULL(p->destination_name);
	nulls[19] = LDR_TEXT_NULL(p->catalog);
}

static Oid	package_arg_types[] = {
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	INT8OID, INT8OID, INT8OID, OIDOID, TEXTOID, INT8OID, OIDOID, INT8OID, INT8OID, INT8OID, TEXTOID,
	TEXTOID, TEXTOID, INT8OID
};

/* A package of the current role, here and now; whoever registers it fills in the rest. */
LdrPackage *
ldr_package_make(const char *mode)
{
	LdrPackage *package = palloc0(sizeof(LdrPackage));

	package->mode = pstrdup(mode);
	package->state = "new";
	package->role = GetUserId();
	package->role_name = GetUserNameFromId(package->role, false);
	package->system_identifier = (int64) GetSystemIdentifier();
	package->database = MyDatabaseId;
	return package;
}

bool
ldr_package_has_ended(const LdrPackage *package)
{
	return strcmp(package->state, "new") != 0 && strcmp(package->state, "loading") != 0;
}

/* Enter a package as new. Returns its id, or 0 if another session was first. */
int64
ldr_package_insert(const LdrPackage *package)
{
	Datum		values[lengthof(package_arg_types)];
	char		nulls[lengthof(package_arg_types)];
	int64		id = 0;

	package_args(package, values, nulls);
	LDR_FAULT("state: registered");
	ldr_catalog_execute("INSERT INTO loader.package (load_id, schema_name, schema_hash, dataset, "
						"pipeline_name, source, options, settings, schema_size, schema_inode, "
						"schema_mtime_ns, role_oid, role_name, system_identifier, database_oid, "
						"state_size, state_inode, state_mtime_ns, destination_name, catalog, mode) "
						"VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9, $10, $11, $12, "
						"$13, $14, $15, $16, $17, $18, $19, $20::json, $21) "
						"ON CONFLICT (dataset, schema_name, load_id) "
						"WHERE NOT superseded DO NOTHING "
						"RETURNING package_id",
						21, package_arg_types, values, nulls, SPI_OK_INSERT_RETURNING, false,
						ldr_catalog_read_int, &id);
	return id;
}

/* A package that failed or was cancelled is registered again: as new, from what lies there now. */
void
ldr_package_reregister(const LdrPackage *package)
{
	Datum		values[lengthof(package_arg_types)];
	char		nulls[lengthof(package_arg_types)];

	package_args(package, values, nulls);
	LDR_FAULT("state: registered anew");
	if (ldr_catalog_execute("UPDATE loader.package "
							"SET load_id = $1, schema_name = $2, schema_hash = $3, dataset = $4, "
							"pipeline_name = $5, source = $6, options = $7::jsonb, "
							"settings = $8::jsonb, schema_size = $9, schema_inode = $10, "
							"schema_mtime_ns = $11, role_oid = $12, role_name = $13, "
							"system_identifier = $14, database_oid = $15, state_size = $16, "
							"state_inode = $17, state_mtime_ns = $18, destination_name = $19, "
							"catalog = $20::json, mode = $21, state = 'new', "
							"wanted = false, cancel_requested = false, dropped = false, "
							"attempts = 0, registered_at = clock_timestamp(), started_at = NULL, "
							"finished_at = NULL, sqlstate = NULL, message = NULL, detail = NULL, "
							"hint = NULL "
							"WHERE package_id = $22 AND state IN ('failed', 'cancelled')",
							22, package_arg_types, values, nulls, SPI_OK_UPDATE, false, NULL,
							NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("package " INT64_FORMAT " was resumed or forgotten by another session",
						package->package_id)));
}

LdrPackage *
ldr_package_get(int64 package_id, bool fresh)
{
	LdrPackage *p = NULL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT " PACKAGE_COLUMNS " FROM loader.package WHERE package_id = $1",
						1, types, values, NULL, SPI_OK_SELECT, fresh, package_read, &p);
	return p;
}

/* The current package of that name in the dataset, seen with a fresh snapshot. NULL if none. */
LdrPackage *
ldr_package_find(const char *dataset, const char *schema_name, const char *load_id)
{
	LdrPackage *p = NULL;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(dataset), CStringGetTextDatum(schema_name),
	CStringGetTextDatum(load_id)};

	ldr_catalog_execute("SELECT " PACKAGE_COLUMNS " FROM loader.package WHERE dataset = $1 AND "
						"schema_name = $2 AND load_id = $3 AND NOT "
						"superseded",
						3, types, values, NULL, SPI_OK_SELECT, true, package_read, &p);
	return p;
}

/* The dataset of a loaded package was dropped: its row stays as history and makes room. */
void
ldr_package_supersede(int64 package_id)
{
	package_update("UPDATE loader.package SET superseded = true WHERE package_id = $1", package_id,
				   SPI_OK_UPDATE);
}

/*
 * Lock a package in job mode until the end of the transaction. False if there is none any more, or
 * it is none of job mode.
 */
bool
ldr_package_take(int64 package_id, LdrTake how)
{
	return package_update(how == LDR_TAKE_TO_END
						  ? "SELECT FROM loader.package WHERE package_id = $1 AND mode = 'job' "
						  "FOR UPDATE"
						  : "SELECT FROM loader.package WHERE package_id = $1 AND mode = 'job' "
						  "FOR SHARE", package_id, SPI_OK_SELECT);
}

/* Bring a stopped package in job mode back: its client may go on. False if it was loaded. */
bool
ldr_package_reopen(int64 package_id)
{
	LDR_FAULT("state: reopened");
	return package_update("UPDATE loader.package SET state = 'loading', cancel_requested = false, "
						  "finished_at = NULL, sqlstate = NULL, message = NULL, detail = NULL, "
						  "hint = NULL "
						  "WHERE package_id = $1 AND mode = 'job' AND state <> 'loaded'",
						  package_id, SPI_OK_UPDATE);
}

static bool
package_adopt(const char *sql, int64 package_id, int64 system_identifier, Oid database,
			  const char *role_name)
{
	Oid			types[] = {INT8OID, INT8OID, OIDOID, TEXTOID};
	Datum		values[] = {Int64GetDatum(package_id), Int64GetDatum(system_identifier),
		ObjectIdGetDatum(database),
	LDR_TEXT_ARG(role_name)};

	return ldr_catalog_execute(sql, role_name ? 4 : 3, types, values, NULL, SPI_OK_UPDATE, false,
							   NULL, NULL) > 0;
}

/* One more beginning of the package. */
void
ldr_package_count_attempt(int64 package_id)
{
	package_update("UPDATE loader.package SET attempts = attempts + 1, "
				   "begun_at = clock_timestamp() WHERE package_id = $1",
				   package_id, SPI_OK_UPDATE);
}

/* Mark a package as started. False if it has ended. */
bool
ldr_package_want(int64 package_id, int64 system_identifier, Oid database)
{
	LDR_FAULT("state: wanted");
	return package_adopt("UPDATE loader.package "
						 "SET wanted = true, cancel_requested = false, "
						 "system_identifier = $2, database_oid = $3 "
						 "WHERE package_id = $1 AND state IN ('new', 'loading')",
						 package_id, system_identifier, database, NULL);
}

/* Bring a stopped package back; its role is bound to this server's OID again. False if loaded. */
bool
ldr_package_resume(int64 package_id, const char *role_name, int64 system_identifier, Oid database)
{
	LDR_FAULT("state: resumed");
	return package_adopt("UPDATE loader.package "
						 "SET state = 'new', wanted = true, cancel_requested = false, "
						 "attempts = 0, system_identifier = $2, database_oid = $3, "
						 "role_oid = quote_ident($4)::regrole::oid, role_name = $4, "
						 "finished_at = NULL, sqlstate = NULL, message = NULL, detail = NULL, "
						 "hint = NULL "
						 "WHERE package_id = $1 AND state <> 'loaded'",
						 package_id, system_identifier, database, role_name);
}

/*
 * A running package is asked to stop, one that waits is cancelled here and now. False if it had
 * ended.
 */
bool
ldr_package_request_cancel(int64 package_id, bool running)
{
	LDR_FAULT("state: to be cancelled");
	return package_update(running ?
						  "UPDATE loader.package SET cancel_requested = true "
						  "WHERE package_id = $1 AND state IN ('new', 'loading')" :
						  "UPDATE loader.package "
						  "SET cancel_requested = true, state = 'cancelled', wanted = false, "
						  "finished_at = clock_timestamp() "
						  "WHERE package_id = $1 AND state IN ('new', 'loading')",
						  package_id, SPI_OK_UPDATE);
}

/* A failed package is given up; others need not wait for it any more. */
bool
ldr_package_give_up(int64 package_id)
{
	LDR_FAULT("state: given up");
	return package_update("UPDATE loader.package SET state = 'cancelled' "
						  "WHERE package_id = $1 AND state = 'failed'",
						  package_id, SPI_OK_UPDATE);
}

/*
 * Has a package of the role that is still to be loaded, or could be resumed, this source, or in
 * job mode a job with a file in it? Asked with a fresh snapshot.
 */
bool
ldr_package_source_is_live(const char *source, Oid role)
{
	Oid			types[] = {TEXTOID, OIDOID};
	Datum		values[] = {CStringGetTextDatum(source), ObjectIdGetDatum(role)};

	return ldr_catalog_execute("SELECT FROM loader.package p WHERE role_oid = $2 "
							   "AND state IN ('new', 'loading', 'failed') "
							   "AND (source = $1 OR (mode = 'job' AND EXISTS "
							   "(SELECT FROM loader.job j WHERE j.package_id = p.package_id "
							   "AND starts_with(j.source, $1 || '/')))) LIMIT 1",
							   2, types, values, NULL, SPI_OK_SELECT, true, NULL, NULL) > 0;
}

/*
 * Was a package of the role loaded from this source, here, and has ended at that time or later?
 * Asked with a fresh snapshot.
 */
bool
ldr_package_source_is_loaded(const char *source, Oid role, TimestampTz since)
{
	Oid			types[] = {TEXTOID, OIDOID, TIMESTAMPTZOID, INT8OID, OIDOID};
	Datum		values[] = {CStringGetTextDatum(source), ObjectIdGetDatum(role),
		TimestampTzGetDatum(since), Int64GetDatum((int64) GetSystemIdentifier()),
	ObjectIdGetDatum(MyDatabaseId)};

	return ldr_catalog_execute("SELECT FROM loader.package WHERE source = $1 AND role_oid = $2 "
							   "AND state = 'loaded' AND finished_at >= $3 "
							   "AND system_identifier = $4 AND database_oid = $5 LIMIT 1",
							   5, types, values, NULL, SPI_OK_SELECT, true, NULL, NULL) > 0;
}

/*
 * Is this directory in the catalog as a package of the role, which after a restore has the name but
 * another OID, for that dataset or (NULL) for any?
 */
bool
ldr_package_source_is_known(const char *source, Oid role, const char *dataset)
{
	Oid			types[] = {TEXTOID, OIDOID, TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(source), ObjectIdGetDatum(role),
		LDR_TEXT_ARG(dataset),
	CStringGetTextDatum(GetUserNameFromId(role, false))};
	char		nulls[] = {' ', ' ', LDR_TEXT_NULL(dataset), ' '};

	return ldr_catalog_execute("SELECT 1 FROM loader.package "
							   "WHERE source = $1 AND (role_oid = $2 OR role_name = $4) "
							   "AND NOT superseded AND ($3 IS NULL OR dataset = $3) LIMIT 1",
							   4, types, values, nulls, SPI_OK_SELECT, true, NULL, NULL) > 0;
}

bool
ldr_package_forget(int64 package_id)
{
	LDR_FAULT("state: forgotten");
	return package_update("DELETE FROM loader.package WHERE package_id = $1", package_id,
						  SPI_OK_DELETE);
}

/* Jobs of this package commit one by one from now on. */
void
ldr_package_loading(int64 package_id)
{
	LDR_FAULT("state: loading");
	package_update("UPDATE loader.package "
				   "SET state = 'loading', started_at = coalesce(started_at, clock_timestamp()) "
				   "WHERE package_id = $1", package_id, SPI_OK_UPDATE);
}

/* What its refresh drops goes with this transaction; it must not be dropped again. */
void
ldr_package_dropped(int64 package_id)
{
	package_update("UPDATE loader.package SET dropped = true WHERE package_id = $1", package_id,
				   SPI_OK_UPDATE);
}

/* Part of the publish transaction. Raises an error if somebody took the package away meanwhile. */
void
ldr_package_loaded(int64 package_id, TimestampTz started_at)
{
	Oid			types[] = {INT8OID, TIMESTAMPTZOID};
	Datum		values[] = {Int64GetDatum(package_id), TimestampTzGetDatum(started_at)};

	LDR_FAULT("state: loaded");
	if (ldr_catalog_execute("UPDATE loader.package "
							"SET state = 'loaded', wanted = false, "
							"started_at = coalesce(started_at, $2), "
							"finished_at = clock_timestamp() "
							"WHERE package_id = $1 AND state IN ('new', 'loading') "
							"AND NOT cancel_requested",
							2, types, values, NULL, SPI_OK_UPDATE, false, NULL, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("package " INT64_FORMAT " was cancelled", package_id)));
}

/*
 * The package does not end before this transaction does. Last thing before the commit of a job that
 * commits by itself: what ends a package lets go of what is staged, and there must be no more.
 * Raises 57014 if it has ended.
 */
void
ldr_package_hold(int64 package_id)
{
	if (!package_update("SELECT FROM loader.package WHERE package_id = $1 "
						"AND state IN ('new', 'loading') AND NOT cancel_requested FOR SHARE",
						package_id, SPI_OK_SELECT))
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("package " INT64_FORMAT " has ended", package_id)));
}

/*
 * Record the end of a package that was not published; state is failed or cancelled. Streams of a
 * sync that had not come to their end are incomplete.
 */
void
ldr_package_failed(int64 package_id, const char *state, TimestampTz started_at, ErrorData *edata)
{
	const ErrorData *shown = ldr_error_printable(edata);
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
	const char *sqlstate = unpack_sql_state(edata->sqlerrcode);
	Datum		values[] = {Int64GetDatum(package_id), CStringGetTextDatum(state),
		CStringGetTextDatum(sqlstate),
		LDR_TEXT_ARG(shown->message), LDR_TEXT_ARG(shown->detail), LDR_TEXT_ARG(shown->hint),
	TimestampTzGetDatum(started_at)};
	char		nulls[] = {' ', ' ', ' ', LDR_TEXT_NULL(shown->message),
		LDR_TEXT_NULL(shown->detail),
	LDR_TEXT_NULL(shown->hint), ' '};

	LDR_FAULT("state: failed");
	ldr_catalog_execute("UPDATE loader.package "
						"SET state = $2, wanted = false, sqlstate = $3, message = $4, "
						"detail = $5, hint = $6, started_at = coalesce(started_at, $7), "
						"finished_at = clock_timestamp() "
						"WHERE package_id = $1 AND state IN ('new', 'loading')",
						7, types, values, nulls, SPI_OK_UPDATE, false, NULL, NULL);
	LDR_FAULT("state: package failed");
	package_update("UPDATE loader.package_stream SET status = 'incomplete' "
				   "WHERE package_id = $1 AND status IN ('new', 'running')",
				   package_id, SPI_OK_UPDATE);
}

/* Looked at from inside a long transaction, hence fresh. True also if the package has gone. */
bool
ldr_package_cancel_requested(int64 package_id)
{
	int64		going = 0;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT 1 FROM loader.package "
						"WHERE package_id = $1 AND NOT cancel_requested "
						"AND state IN ('new', 'loading')",
						1, types, values, NULL, SPI_OK_SELECT, true, ldr_catalog_read_int, &going);
	return going == 0;
}

/*
 * Packages of the same dataset go in order of registration where they touch the same tables; a
 * failed one holds back all later ones of its dataset and schema, but only of roles that could
 * resume or cancel it, and not if it is a sync, which the next sync goes on with. One that was
 * registered but never started, that came with a restored dump, or whose role has changed, holds
 * nobody back: it might never go on.
 *
 * Of rows of loader.package called e, the earlier one, and p. It has to be quick with any number of
 * finished packages and of jobs, and before anybody has analyzed the tables: so it says what the
 * index package_unfinished is for, and asks for a common table without letting the planner think of
 * a hash of all jobs.
 */
#define PACKAGE_BLOCKS \
	"e.dataset = p.dataset AND e.package_id < p.package_id " \
	"AND e.state IN ('new', 'loading', 'failed') AND NOT e.superseded AND (" \
	"(e.state = 'failed' AND e.schema_name = p.schema_name AND e.catalog IS NULL " \
	"AND pg_has_role(p.role_oid, e.role_oid, 'USAGE')) " \
	"OR (e.wanted AND e.state <> 'failed' " \
	"AND e.system_identifier = p.system_identifier " \
	"AND e.database_oid = p.database_oid " \
	"AND e.role_oid = to_regrole(quote_ident(e.role_name))::oid " \
	"AND (SELECT true FROM loader.job a JOIN loader.job b USING (table_name) " \
	"WHERE a.package_id = e.package_id AND b.package_id = p.package_id LIMIT 1)))"

/*
 * Those that were started, have not ended, and need not wait for another one; in order, those that
 * run among them. A List of int64 pointers, no more than that many.
 *
 * The queue may be long, and everybody who ends a package looks into it. So it is sorted first, and
 * the question who is in the way of whom is asked of one after the other until there are enough.
 */
List *
ldr_package_startable(int64 system_identifier, Oid database, int limit)
{
	List	   *ids = NIL;
	Oid			types[] = {INT8OID, OIDOID, INT4OID};
	Datum		values[] = {Int64GetDatum(system_identifier), ObjectIdGetDatum(database),
	Int32GetDatum(limit)};

	ldr_catalog_execute("SELECT package_id FROM (SELECT * FROM loader.package "
						"WHERE wanted AND state IN ('new', 'loading') AND system_identifier = $1 "
						"AND database_oid = $2 "
						"AND role_oid = to_regrole(quote_ident(role_name))::oid "
						"ORDER BY package_id OFFSET 0) p "
						"WHERE (SELECT e.package_id FROM loader.package e "
						"WHERE " PACKAGE_BLOCKS " LIMIT 1) IS NULL LIMIT $3",
						3, types, values, NULL, SPI_OK_SELECT, true, ldr_catalog_append_id, &ids);
	return ids;
}

int64
ldr_package_running(const char *dataset)
{
	List	   *ids = NIL;
	Oid			types[] = {TEXTOID, INT8OID, OIDOID};
	Datum		values[] = {CStringGetTextDatum(dataset),
	Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId)};

	ldr_catalog_execute("SELECT package_id FROM loader.package WHERE dataset = $1 "
						"AND NOT superseded AND mode = 'package' "
						"AND ((state = 'new' AND wanted) OR state = 'loading') "
						"AND system_identifier = $2 AND database_oid = $3 "
						"ORDER BY package_id LIMIT 1",
						3, types, values, NULL, SPI_OK_SELECT, true, ldr_catalog_append_id, &ids);
	return ids == NIL ? 0 : *(int64 *) linitial(ids);
}

typedef struct BlockerRow
{
	int64		package_id;
	bool		failed;
} BlockerRow;

static void
package_read_blocker(HeapTuple t, TupleDesc d, void *arg)
{
	BlockerRow *b = arg;

	b->package_id = ldr_catalog_int(t, d, 1);
	b->failed = ldr_catalog_int(t, d, 2) != 0;
}

/* The first of those that are in the way of a package, a failed one before others; 0: none. */
int64
ldr_package_blocker(int64 package_id, bool *failed)
{
	BlockerRow	row = {0, false};
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(package_id)};

	ldr_catalog_execute("SELECT e.package_id, e.state = 'failed' "
						"FROM loader.package p JOIN loader.package e ON " PACKAGE_BLOCKS
						" WHERE p.package_id = $1 "
						"ORDER BY e.state = 'failed' DESC, e.package_id LIMIT 1",
						1, types, values, NULL, SPI_OK_SELECT, true, package_read_blocker, &row);
	*failed = row.failed;
	return row.package_id;
}

static void
package_append_text(HeapTuple t, TupleDesc d, void *arg)
{
	*(List **) arg = lappend(*(List **) arg, ldr_catalog_text(t, d, 1));
}

/* A dataset and whose package went into it. */
typedef struct DatasetRow
{
	char	   *dataset;
	Oid			owner;
} DatasetRow;

static void
package_append_dataset(HeapTuple t, TupleDesc d, void *arg)
{
	DatasetRow *row = palloc(sizeof(DatasetRow));

	row->dataset = ldr_catalog_text(t, d, 1);
	row->owner = ldr_owner((Oid) ldr_catalog_int(t, d, 2), ldr_catalog_text(t, d, 3),
						   ldr_catalog_int(t, d, 4));
	*(List **) arg = lappend(*(List **) arg, row);
}

/* Filtered here and not in the statement, which does not run as the one who asks. */
List *
ldr_package_datasets(void)
{
	List	   *rows = NIL;
	List	   *datasets = NIL;
	ListCell   *lc;

	ldr_catalog_execute("SELECT DISTINCT dataset, role_oid, role_name, system_identifier "
						"FROM loader.package "
						"WHERE state = 'loaded' "
						"ORDER BY dataset",
						0, NULL, NULL, NULL, SPI_OK_SELECT, false, package_append_dataset, &rows);
	foreach(lc, rows)
	{
		DatasetRow *row = lfirst(lc);

		if ((datasets == NIL || strcmp(llast(datasets), row->dataset) != 0) &&
			ldr_owner_may_see(row->owner))
			datasets = lappend(datasets, row->dataset);
	}
	return datasets;
}

static void
package_read_count(HeapTuple t, TupleDesc d, void *arg)
{
	*(int *) arg = (int) ldr_catalog_int(t, d, 1);
}

/* However many packages there are, the first and the last dataset are found by index. */
char *
ldr_package_last_dataset(Oid role, const char *schema_name, int *n)
{
	List	   *datasets = NIL;
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(role), CStringGetTextDatum(schema_name)};

#define PACKAGE_LOADED_BY \
	"FROM loader.package WHERE role_oid = $1 AND schema_name = $2 AND state = 'loaded' "

	ldr_catalog_execute("(SELECT dataset " PACKAGE_LOADED_BY
						"ORDER BY role_oid, schema_name, dataset LIMIT 1) UNION "
						"(SELECT dataset " PACKAGE_LOADED_BY
						"ORDER BY role_oid DESC, schema_name DESC, dataset DESC LIMIT 1)",
						2, types, values, NULL, SPI_OK_SELECT, false, package_append_text,
						&datasets);
	*n = list_length(datasets);
	if (*n > 1)					/* for the message */
		ldr_catalog_execute("SELECT count(DISTINCT dataset) " PACKAGE_LOADED_BY,
							2, types, values, NULL, SPI_OK_SELECT, false, package_read_count, n);
	return *n == 1 ? linitial(datasets) : NULL;
}

/*
 * Remove what ended well, or was cancelled, longer ago than that. Failed packages stay, and so do
 * those that left rows behind without a record in the dataset; but no syncs, whose records are of
 * their own. Nor do rejected rows go that somebody may still want, but for their own time (-1: none)
 * or if they can never be loaded, since their package was loaded anew.
 */
int64
ldr_package_sweep(int minutes, int reject_minutes)
{
	Oid			types[] = {INT4OID, INT4OID};
	Datum		values[] = {Int32GetDatum(minutes), Int32GetDatum(reject_minutes)};

	if (minutes < 0)
		return 0;
	return ldr_catalog_execute("DELETE FROM loader.package "
							   "WHERE package_id IN (SELECT package_id FROM loader.package p "
							   "WHERE (state = 'loaded' OR superseded OR (state = 'cancelled' "
							   "AND NOT EXISTS (SELECT FROM loader.job j "
							   "WHERE j.package_id = p.package_id AND j.state = 'completed')) "
							   "OR (catalog IS NOT NULL AND state IN ('failed', 'cancelled'))) "
							   "AND finished_at < (SELECT clock_timestamp() "
							   "- make_interval(mins => $1)) "
							   "AND (superseded OR NOT EXISTS (SELECT FROM loader.reject r "
							   "WHERE r.package_id = p.package_id) "
							   "OR ($2 >= 0 AND finished_at < (SELECT clock_timestamp() "
							   "- make_interval(mins => $2)))) "
							   "ORDER BY finished_at LIMIT 1000 FOR UPDATE SKIP LOCKED)",
							   2, types, values, NULL, SPI_OK_DELETE, false, NULL, NULL);
}
