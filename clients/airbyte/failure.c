/*
 * failure.c: what went wrong, in the protocol's terms.
 *
 * The protocol asks whom a failure is for: the user (configuration), nobody (try again), or whoever
 * maintains the system. SQLSTATE says that.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connector.h"

static void
no_memory(void)
{
	fprintf(stderr, LDR_PROGRAM ": out of memory\n");
	ldr_certificates_remove();
	_Exit(1);
}

void *
ldr_realloc(void *old, size_t size)
{
	void	   *p = realloc(old, size);

	if (p == NULL)
		no_memory();
	return p;
}

void *
ldr_alloc(size_t size)
{
	return ldr_realloc(NULL, size);
}

char *
ldr_text(const char *fmt,...)
{
	char	   *text;
	va_list		args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		no_memory();
	va_end(args);
	return text;
}

/*
 * Classes and single codes of SQLSTATE, the longest prefix decides. What is in no line is for
 * whoever maintains the system: bad data, constraints, bugs.
 */
LdrFailureType
ldr_failure_type(const char *sqlstate)
{
	static const struct
	{
		const char *prefix;
		LdrFailureType type;
	}			types[] = {
		{"08", LDR_TRANSIENT_ERROR},	/* connection lost */
		{"0A", LDR_CONFIG_ERROR},	/* not supported */
		{"0LP01", LDR_CONFIG_ERROR},	/* may not be granted */
		{"22023", LDR_CONFIG_ERROR},	/* invalid parameter */
		{"25006", LDR_CONFIG_ERROR},	/* read-only: a standby */
		{"28", LDR_CONFIG_ERROR},	/* role or password */
		{"3D", LDR_CONFIG_ERROR},	/* no such database */
		{"3F", LDR_CONFIG_ERROR},	/* no such schema */
		{"40", LDR_TRANSIENT_ERROR},	/* deadlock, serialization */
		{"42", LDR_CONFIG_ERROR},	/* privileges, names */
		{"53", LDR_TRANSIENT_ERROR},	/* out of workers, connections, memory, disk */
		{"55000", LDR_TRANSIENT_ERROR}, /* a stream that its source did not complete */
		{"55006", LDR_TRANSIENT_ERROR}, /* its table is being loaded by another sync */
		{"55P03", LDR_TRANSIENT_ERROR}, /* lock timeout */
		{"57P", LDR_TRANSIENT_ERROR},	/* shut down, crash, start */
		{"58030", LDR_TRANSIENT_ERROR}, /* I/O error */
	};
	LdrFailureType type = LDR_SYSTEM_ERROR;
	size_t		longest = 0;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
	{
		size_t		len = strlen(types[i].prefix);

		if (len > longest && strncmp(sqlstate, types[i].prefix, len) == 0)
		{
			type = types[i].type;
			longest = len;
		}
	}
	return type;
}

bool
ldr_failure_set(LdrFailure *failure, LdrFailureType type, const char *fmt,...)
{
	va_list		args;

	if (failure->message != NULL)
		return false;
	va_start(args, fmt);
	if (vasprintf(&failure->message, fmt, args) < 0)
		no_memory();
	va_end(args);
	failure->type = type;
	return false;
}

bool
ldr_failure_sql(LdrFailure *failure, const char *sqlstate, const char *message, const char *detail,
				const char *hint)
{
	if (failure->message != NULL)
		return false;
	ldr_failure_set(failure, ldr_failure_type(sqlstate), "%s%s%s%s%s", message,
					detail == NULL && hint == NULL ? "" : ". ",
					detail == NULL ? "" : detail, detail == NULL || hint == NULL ? "" : " ",
					hint == NULL ? "" : hint);
	failure->internal = ldr_text("SQLSTATE %s", sqlstate);
	return false;
}

bool
ldr_failure_result(LdrFailure *failure, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	/* libpq's own, when the connection is lost, has neither code nor fields */
	if (sqlstate == NULL)
		return ldr_failure_set(failure, LDR_TRANSIENT_ERROR,
							   "the connection to the server is lost: %s",
							   PQresultErrorMessage(result));
	if (failure->message != NULL)
		return false;
	ldr_failure_sql(failure, sqlstate, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
					PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL),
					PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
	/* not the context: with log_parameter_max_length_on_error it holds messages */
	return false;
}

/* libpq's messages end with a line end, and may be of several lines. */
static char *
failure_trimmed(const char *text)
{
	char	   *trimmed = ldr_text("%s", text);
	size_t		len = strlen(trimmed);

	while (len > 0 && isspace((unsigned char) trimmed[len - 1]))
		trimmed[--len] = '\0';
	return trimmed;
}

/*
 * The code in the text of a failed connection, which was asked for verbosely: ":  28P01: ". Cut it
 * out, and the lines that name a place in the server's source. Of several attempts the last counts.
 */
static void
failure_take_code(char *text, char sqlstate[6])
{
	char	   *p = text;

	sqlstate[0] = '\0';
	while ((p = strstr(p, ":  ")) != NULL)
	{
		char	   *code = p + 3;

		if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 &&
			strncmp(code + 5, ": ", 2) == 0)
		{
			memcpy(sqlstate, code, 5);
			sqlstate[5] = '\0';
			memmove(code, code + 7, strlen(code + 7) + 1);
		}
		p = code;
	}
	while ((p = strstr(text, "\nLOCATION:  ")) != NULL)
	{
		char	   *end = p + 1 + strcspn(p + 1, "\n");

		memmove(p, end, strlen(end) + 1);
	}
}

bool
ldr_failure_connect(LdrFailure *failure, const PGconn *conn)
{
	char	   *text = failure_trimmed(PQerrorMessage(conn));
	char		sqlstate[6];

	failure_take_code(text, sqlstate);
	/* no code: nobody answered */
	ldr_failure_set(failure, sqlstate[0] == '\0' ? LDR_TRANSIENT_ERROR : ldr_failure_type(sqlstate),
					"%s", text[0] == '\0' ? "could not connect to the server" : text);
	if (failure->internal == NULL && sqlstate[0] != '\0')
		failure->internal = ldr_text("SQLSTATE %s", sqlstate);
	free(text);
	return false;
}

bool
ldr_failure_lost(LdrFailure *failure, const PGconn *conn)
{
	char	   *text = failure_trimmed(PQerrorMessage(conn));

	ldr_failure_set(failure, LDR_TRANSIENT_ERROR, "the connection to the server is lost: %s", text);
	free(text);
	return false;
}
