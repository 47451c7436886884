/*
 * connection.c: a session of the server, and the extension in it.
 *
 * The extension may be installed in a schema that is not in the search path, and somebody may have
 * put functions of the same names where the search path begins. So its schema is looked up, and
 * everything is called by its whole name.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "connector.h"
#include "version.h"

/* --- connecting ------------------------------------------------------------------------------- */

static time_t
monotonic_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/*
 * Go through the steps of connecting. The caller's own loop, since an error message is asked for
 * verbosely, which can only be done between the start and the first step; libpq leaves the
 * timeout to who has such a loop.
 */
static bool
connection_poll(PGconn *conn, int timeout)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	time_t		end = monotonic_seconds() + timeout;

	if (PQstatus(conn) == CONNECTION_BAD)
		return true;
	while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED)
	{
		struct pollfd p = {PQsocket(conn), status == PGRES_POLLING_READING ? POLLIN : POLLOUT};
		time_t		left = end - monotonic_seconds();

		if (timeout > 0 && left <= 0)
			return false;
		if (poll(&p, 1, timeout > 0 ? left * 1000 : -1) > 0)
			status = PQconnectPoll(conn);
	}
	return true;
}

/* What the server says beside its results. */
static void
connection_notice(void *arg, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	const char *level = "INFO";

	if (severity != NULL && strcmp(severity, "WARNING") == 0)
		level = "WARN";
	else if (severity != NULL && strncmp(severity, "DEBUG", 5) == 0)
		level = "DEBUG";
	ldr_out_log(level, "%s%s%s%s%s", message == NULL ? PQresultErrorMessage(result) : message,
				detail == NULL ? "" : ". ", detail == NULL ? "" : detail,
				hint == NULL ? "" : detail == NULL ? ". " : " ", hint == NULL ? "" : hint);
}

static bool
session_connect(LdrSession *session, const LdrConfig *config, LdrFailure *failure)
{
	const char *timeout = ldr_config_parameter(config, "connect_timeout");
	bool		in_time;

	session->conn = PQconnectStartParams(config->keywords, config->values, 0);
	if (session->conn == NULL)
		return ldr_failure_set(failure, LDR_SYSTEM_ERROR, "out of memory");
	PQsetErrorVerbosity(session->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(session->conn, connection_notice, NULL);
	in_time = connection_poll(session->conn, timeout == NULL ? 0 : atoi(timeout));
	/* libpq has read them by now; a new connection of it would be one that we do not make */
	ldr_certificates_remove();
	if (!in_time)
		return ldr_failure_set(failure, LDR_TRANSIENT_ERROR,
							   "could not connect to the server: no answer in %s s", timeout);
	return PQstatus(session->conn) == CONNECTION_OK || ldr_failure_connect(failure, session->conn);
}

/* --- the extension ---------------------------------------------------------------------------- */

/* Run a statement; NULL if it failed. */
static PGresult *
session_query(LdrSession *session, const char *sql, int nparams, const char *const *params,
			  LdrFailure *failure)
{
	PGresult   *result = PQexecParams(session->conn, sql, nparams, NULL, params, NULL, NULL, 0);

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	ldr_failure_result(failure, result);
	PQclear(result);
	return NULL;
}

char *
ldr_session_value(LdrSession *session, const char *sql, int nparams, const char *const *params,
				  LdrFailure *failure)
{
	PGresult   *result = session_query(session, sql, nparams, params, failure);
	char	   *value = NULL;

	if (result == NULL)
		return NULL;
	if (PQntuples(result) == 1 && !PQgetisnull(result, 0, 0))
		value = ldr_text("%s", PQgetvalue(result, 0, 0));
	else
		ldr_failure_set(failure, LDR_SYSTEM_ERROR, "the server gave no answer");
	PQclear(result);
	return value;
}

/*
 * A sync is as long as its source: time limits that the role has for queries, or for sessions
 * without any, are not meant for it. The setting of 17 is looked for, not assumed.
 */
static bool
session_lift_limits(LdrSession *session, LdrFailure *failure)
{
	static const char sql[] =
		"SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings"
		" WHERE name OPERATOR(pg_catalog.=) ANY"
		" ('{statement_timeout,idle_session_timeout,transaction_timeout}')";
	PGresult   *result = session_query(session, sql, 0, NULL, failure);

	PQclear(result);
	return result != NULL;
}

/*
 * Columns: the extension's schema and version, may it be used, which of our functions it has not,
 * which of them the role may not call.
 */
static const char find_extension[] =
"SELECT pg_catalog.quote_ident(n.nspname), e.extversion,"
"  pg_catalog.has_schema_privilege(n.oid, 'USAGE'),"
"  (SELECT pg_catalog.string_agg(f, ', ') FROM pg_catalog.unnest($1::pg_catalog.text[]) f"
"   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_proc p"
"    WHERE p.pronamespace OPERATOR(pg_catalog.=) n.oid"
"     AND p.proname::pg_catalog.text OPERATOR(pg_catalog.=) f)),"
"  (SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', n.nspname, p.proname), ', ')"
"   FROM pg_catalog.pg_proc p WHERE p.pronamespace OPERATOR(pg_catalog.=) n.oid"
"    AND p.proname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])"
"    AND NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))"
" FROM pg_catalog.pg_extension e"
"  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace"
" WHERE e.extname OPERATOR(pg_catalog.=) 'loader'";

/* Is what was found of use? The row is that of the query above. */
static bool
extension_usable(const LdrSession *session, const PGresult *row, LdrFailure *failure)
{
	const char *role = PQuser(session->conn);

	if (strcmp(PQgetvalue(row, 0, 2), "t") != 0)
		return ldr_failure_set(failure, LDR_CONFIG_ERROR,
							   "role \"%s\" may not use the schema of the extension loader. Run"
							   " GRANT USAGE ON SCHEMA %s TO \"%s\".", role, session->schema, role);
	if (!PQgetisnull(row, 0, 3))
		return ldr_failure_set(failure, LDR_CONFIG_ERROR,
							   "the extension loader has version %s in database \"%s\", which"
							   " lacks %s; this is " LDR_PROGRAM " %s. Run ALTER EXTENSION loader"
							   " UPDATE.", session->version, PQdb(session->conn),
							   PQgetvalue(row, 0, 3), LDR_VERSION);
	if (!PQgetisnull(row, 0, 4))
		return ldr_failure_set(failure, LDR_CONFIG_ERROR,
							   "role \"%s\" may not call what a sync needs. Run"
							   " GRANT EXECUTE ON FUNCTION %s TO \"%s\".",
							   role, PQgetvalue(row, 0, 4), role);
	return true;
}

static bool
session_find_extension(LdrSession *session, LdrFailure *failure)
{
	const char *functions =
		"{loader_airbyte_check,loader_airbyte_open,loader_airbyte_write,loader_airbyte_close}";
	PGresult   *result = session_query(session, find_extension, 1, &functions, failure);
	bool		usable;

	if (result == NULL)
		return false;
	if (PQntuples(result) == 0)
	{
		PQclear(result);
		return ldr_failure_set(failure, LDR_CONFIG_ERROR,
							   "the extension loader is not installed in database \"%s\". Run"
							   " CREATE EXTENSION loader there.", PQdb(session->conn));
	}
	session->schema = ldr_text("%s", PQgetvalue(result, 0, 0));
	session->version = ldr_text("%s", PQgetvalue(result, 0, 1));
	usable = extension_usable(session, result, failure);
	PQclear(result);
	return usable;
}

bool
ldr_session_open(LdrSession *session, const LdrConfig *config, LdrFailure *failure)
{
	memset(session, 0, sizeof(*session));
	return session_connect(session, config, failure) &&
		session_lift_limits(session, failure) &&
		session_find_extension(session, failure);
}

void
ldr_session_close(LdrSession *session)
{
	PQfinish(session->conn);
	free(session->schema);
	free(session->version);
	memset(session, 0, sizeof(*session));
}
