/*
 * report.c: how a sync has ended: the server's report, for the log, and the failure if it is one.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "connector.h"

static const char *
report_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool
report_is(const json_t *object, const char *key, const char *value)
{
	const char *text = report_text(object, key);

	return text != NULL && strcmp(text, value) == 0;
}

static long long
report_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void
report_streams(const json_t *streams)
{
	const json_t *s;
	size_t		i;

	json_array_foreach(streams, i, s)
	{
		const char *name_space = report_text(s, "namespace");

		ldr_out_log("INFO", "stream \"%s%s%s\" is %s: %lld records; %lld rows inserted,"
					" %lld updated, %lld deleted; %lld values set to NULL",
					name_space == NULL ? "" : name_space, name_space == NULL ? "" : ".",
					report_text(s, "name"), report_text(s, "status"), report_number(s, "records"),
					report_number(s, "rows_inserted"), report_number(s, "rows_updated"),
					report_number(s, "rows_deleted"), report_number(s, "nulled_values"));
	}
}

/* The descriptor of the stream that is to blame, as JSON: the only one that is incomplete. */
static char *
report_incomplete(const json_t *streams)
{
	const json_t *found = NULL;
	const json_t *s;
	size_t		i;
	json_t	   *descriptor;
	char	   *text;

	json_array_foreach(streams, i, s)
	{
		if (!report_is(s, "status", "incomplete"))
			continue;
		if (found != NULL)
			return NULL;
		found = s;
	}
	if (found == NULL)
		return NULL;
	descriptor = json_pack("{s:s, s:s*}", "name", report_text(found, "name"),
						   "namespace", report_text(found, "namespace"));
	text = json_dumps(descriptor, JSON_COMPACT);
	json_decref(descriptor);
	return text;
}

/* The cause of a failed sync in its report is better than how a call came to know of it. */
static void
report_error(const json_t *report, LdrFailure *failure)
{
	const json_t *error = json_object_get(report, "error");

	/* but if it is ours, what the server misses is what we could not read */
	if (!json_is_object(error) || (failure->message != NULL && failure->internal == NULL))
		return;
	free(failure->message);
	free(failure->internal);
	memset(failure, 0, sizeof(*failure));
	ldr_failure_sql(failure, report_text(error, "sqlstate"), report_text(error, "message"),
					report_text(error, "detail"), report_text(error, "hint"));
	failure->stream = report_incomplete(json_object_get(report, "streams"));
}

void
ldr_report(const char *text, const char *package_id, LdrFailure *failure)
{
	json_t	   *report = json_loads(text, 0, NULL);
	const json_t *warning;
	size_t		i;

	if (report == NULL)
	{
		ldr_failure_set(failure, LDR_SYSTEM_ERROR, "the report of sync %s cannot be read",
						package_id);
		return;
	}
	json_array_foreach(json_object_get(report, "warnings"), i, warning)
		ldr_out_log("WARN", "%s", json_string_value(warning));
	report_streams(json_object_get(report, "streams"));
	report_error(report, failure);
	ldr_out_log("INFO", "sync %s: %s, %lld records and %lld bytes are committed", package_id,
				report_text(report, "state"), report_number(report, "records"),
				report_number(report, "bytes"));
	if (!report_is(report, "state", "loaded"))
		ldr_failure_set(failure, LDR_SYSTEM_ERROR, "sync %s: %s", package_id,
						report_text(report, "state"));
	json_decref(report);
}
