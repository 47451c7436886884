/*
 * worker/environment.c: who a worker is, and with which settings.
 *
 * A worker connects without a role, which makes it the bootstrap superuser, and becomes the
 * caller's role twice over: by SetSessionAuthorization for the session, and in each transaction,
 * right after its start, by a user id with SECURITY_LOCAL_USERID_CHANGE, which forbids SET ROLE,
 * RESET ROLE and SET SESSION AUTHORIZATION. The second is undone only after the commit: deferred
 * triggers and cursors of the user's tables run during it. With either one alone a trigger in a
 * user's table could become superuser. From 17 on the worker connects as the role itself.
 *
 * Settings: the superuser's own would apply otherwise, and the role's would not; so the caller's
 * are stored with the package and set here one by one. What was in force in the caller's session
 * was allowed there: the server's own settings are set whatever the role may, or triggers would be
 * off because they are for the superuser. Those of extensions are set with the role's rights, since
 * nobody has checked them where the extension was not loaded.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/snapmgr.h"

#include "catalog/loader_catalog.h"
#include "compat.h"
#include "fault.h"
#include "json.h"				/* its macros shadow the server's functions: last */
#include "loader.h"
#include "worker/worker.h"

static Oid	worker_role = InvalidOid;

/* Set in any case, whatever the caller's value came from: they change what is stored or read. */
static const char *const always[] = {
	"TimeZone", "DateStyle", "IntervalStyle", "search_path", "session_replication_role",
	"row_security",
	"check_function_bodies", "default_tablespace", "temp_tablespaces",
	"default_table_access_method",
	"default_toast_compression", "extra_float_digits", "bytea_output", "lc_monetary", "lc_numeric",
	"lc_time",
	"xmlbinary", "xmloption", "work_mem", "maintenance_work_mem", "synchronous_commit",
	"timezone_abbreviations",
	"array_nulls", "standard_conforming_strings", "transform_null_equals", "jit"
};

/* The worker's own business, or the session's. */
static const char *const never[] = {
	"application_name", "client_encoding", "client_min_messages", "statement_timeout",
	"lock_timeout",
	"deadlock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout",
	"idle_session_timeout",
	"role", "session_authorization", "is_superuser", "transaction_isolation",
	"transaction_read_only",
	"transaction_deferrable", "default_transaction_isolation", "default_transaction_read_only",
	"default_transaction_deferrable", "seed", "force_parallel_mode", "debug_parallel_query",
	"log_min_messages"
};

static bool
environment_lists(const char *const *names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (pg_strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

static void
environment_append_name(HeapTuple t, TupleDesc d, void *arg)
{
	*(List **) arg = lappend(*(List **) arg, ldr_catalog_text(t, d, 1));
}

/* What the superuser that workers connect as has settings for: each has to be undone. */
static List *
environment_of_superuser(void)
{
	List	   *names = NIL;
	Oid			types[] = {OIDOID, OIDOID};
	Datum		values[] = {ObjectIdGetDatum(BOOTSTRAP_SUPERUSERID),
	ObjectIdGetDatum(MyDatabaseId)};

	ldr_catalog_execute("SELECT DISTINCT split_part(s, '=', 1) FROM pg_db_role_setting, "
						"unnest(setconfig) s WHERE setrole = $1 AND setdatabase IN (0, $2)",
						2, types, values, NULL, SPI_OK_SELECT, true, environment_append_name,
						&names);
	return names;
}

static void
environment_store(json_t *object, const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	if (value == NULL)
		value = "";
	/* JSON is UTF-8. A failure leaves the setting out; only lack of memory makes one. */
	value = pg_server_to_any(value, strlen(value), PG_UTF8);
	(void) json_object_set_new(object, name, json_string_nocheck(value));
}

/* The settings of this session that a worker needs, as the text of a JSON object. */
char *
ldr_environment_collect(void)
{
	List	   *undo = environment_of_superuser();
	ListCell   *lc;
	json_t	   *object = ldr_json_object();
	int			n;
	struct config_generic **vars = ldr_guc_variables(&n);
	char	   *text,
			   *copy;

	for (int i = 0; i < n; i++)
	{
		struct config_generic *var = vars[i];

		if ((var->context != PGC_USERSET && var->context != PGC_SUSET) ||
			environment_lists(never, lengthof(never), var->name))
			continue;
		if (environment_lists(always, lengthof(always), var->name) ||
			(var->source >= PGC_S_GLOBAL && var->source != PGC_S_OVERRIDE))
			environment_store(object, var->name);
	}
	foreach(lc, undo)
		if (!environment_lists(never, lengthof(never), lfirst(lc)))
			environment_store(object, lfirst(lc));
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (text == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	copy = pstrdup(pg_any_to_server(text, strlen(text), PG_UTF8));
	free(text);
	return copy;
}

static void
environment_set(const char *name, const char *value, GucContext context)
{
	(void) set_config_option(name, value, context, PGC_S_SESSION, GUC_ACTION_SET, true, LOG, false);
}

/*
 * Apply what ldr_environment_collect stored, and then the worker's own.
 * Caller is in a transaction as the caller's role.
 */
void
ldr_environment_apply(const char *settings)
{
	json_error_t error;
	json_t	   *object = json_loads(pg_server_to_any(settings, strlen(settings), PG_UTF8), 0,
									&error);
	const char *name;
	json_t	   *value;
	GucContext	context = superuser() ? PGC_SUSET : PGC_USERSET;
	char		ms[32];

	if (object == NULL)
		elog(ERROR, "stored settings are broken: %s", error.text);
	json_object_foreach(object, name, value)
		if (json_is_string(value))
		{
			const char *text = json_string_value(value);

			environment_set(name, pg_any_to_server(text, strlen(text), PG_UTF8),
							strchr(name, '.') ? context : PGC_SUSET);
		}
	json_decref(object);

	environment_set("statement_timeout", "0", PGC_SUSET);
	environment_set("idle_in_transaction_session_timeout", "0", PGC_SUSET);
	environment_set("default_transaction_isolation", "read committed", PGC_SUSET);
	environment_set("default_transaction_read_only", "off", PGC_SUSET);
	environment_set("default_transaction_deferrable", "off", PGC_SUSET);
	environment_set("track_activities", "on", PGC_SUSET);
	/* of rows and keys of others, say; the locks on tables have their own, shorter limit */
	snprintf(ms, sizeof(ms), "%d", ldr_lock_deadline);
	environment_set("lock_timeout", ms, PGC_SUSET);
	/* below that shorter limit, or an autovacuum that is in the way would never be cancelled */
	snprintf(ms, sizeof(ms), "%d", Max(1, Min(DeadlockTimeout, ldr_lock_timeout / 2)));
	environment_set("deadlock_timeout", ms, PGC_SUSET);
}

/* Become the role for the rest of the session. Call it in a transaction, before any other work. */
void
ldr_role_assume(Oid role)
{
	worker_role = role;
	ldr_set_session_role(role, superuser_arg(role));
}

/* Start a transaction as the caller's role, with a snapshot. */
void
ldr_xact_begin(void)
{
	Assert(OidIsValid(worker_role));
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SetUserIdAndSecContext(worker_role, SECURITY_LOCAL_USERID_CHANGE);
	PushActiveSnapshot(GetTransactionSnapshot());
	LDR_FAULT("transaction begun");
}

/* Commit it. The identity is undone last: deferred triggers run inside the commit. */
void
ldr_xact_commit(void)
{
	LDR_FAULT("before commit");
	PopActiveSnapshot();
	CommitTransactionCommand();
	SetUserIdAndSecContext(worker_role, 0);
	LDR_FAULT("after commit");
}

void
ldr_xact_abort(void)
{
	AbortOutOfAnyTransaction();
	SetUserIdAndSecContext(worker_role, 0);
}
