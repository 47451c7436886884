/*
 * options.c: the named arguments of loader_start and its kin.
 */
#include "postgres.h"

#include <errno.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "loader.h"
#include "json.h"				/* its macros shadow the server's functions: last */
#include "options.h"

/* Positions of the arguments, counted from replace_strategy. */
enum
{
	ARG_REPLACE_STRATEGY,
	ARG_DEFAULT_SCHEMA_NAME,
	ARG_STAGING_LAYOUT,
	ARG_CREATE_INDEXES,
	ARG_CSV_FORMAT,
	ARG_TRUNCATE_STAGING,
	ARG_WORKERS,
	ARG_ATOMIC,
	ARG_ON_ERROR,
	ARG_MAX_REJECTS,
	ARG_COMPLETE_WITH_FAILED,
	ARG_DESTINATION_NAME
};

static void
__attribute__((noreturn))
options_refuse(const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value \"%s\" for argument \"%s\"", value, name),
			 errhint("%s", hint)));
}

/* csv_format => '{"delimiter": ";", "header": false, "encoding": "latin1"}' */
static void
options_read_csv(LdrOptions *options, json_t *csv)
{
	const char *key;
	json_t	   *value;
	const char *hint = "It is an object with the keys delimiter (one character), include_header or "
		"header, which mean the same (boolean), and encoding (a name).";

	if (!json_is_object(csv))
		options_refuse("csv_format", "not an object", hint);
	json_object_foreach(csv, key, value)
	{
		if (strcmp(key, "delimiter") == 0 && json_is_string(value) &&
			json_string_length(value) == 1 &&
			strchr("\"\r\n", json_string_value(value)[0]) == NULL &&
			json_string_value(value)[0] != '\0')
			options->csv_delimiter = json_string_value(value)[0];
		else if ((strcmp(key, "header") == 0 || strcmp(key, "include_header") == 0) &&
				 json_is_boolean(value))
			options->csv_header = json_is_true(value);
		else if (strcmp(key, "encoding") == 0 && json_is_string(value))
			options->csv_encoding = pstrdup(json_string_value(value));
		else
		{
			char	   *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
			char	   *pair = psprintf("%s: %s", key, text ? text : "");

			free(text);
			options_refuse("csv_format", pair, hint);
		}
	}
}

static json_t *
options_parse(const char *json)
{
	json_error_t error;
	json_t	   *object = json_loads(pg_server_to_any(json, strlen(json), PG_UTF8), JSON_DECODE_ANY,
									&error);

	if (object == NULL)
		elog(ERROR, "unreadable options: %s", error.text);
	return object;
}

static void
options_read_jsonb(LdrOptions *options, Jsonb *csv_format)
{
	json_t	   *csv = options_parse(JsonbToCString(NULL, &csv_format->root,
												   VARSIZE(csv_format)));

	PG_TRY();
	{
		options_read_csv(options, csv);
	}
	PG_FINALLY();
	{
		json_decref(csv);
	}
	PG_END_TRY();
}

/* The encoding of csv files; one whose bytes can look like our delimiters is not for us. */
int
ldr_options_encoding(const LdrOptions *options)
{
	const char *name = options->csv_encoding;
	int			encoding;

	if (name == NULL || pg_strcasecmp(name, "utf-8") == 0)
		return PG_UTF8;
	encoding = pg_char_to_encoding(name);
	if (encoding < 0 || !PG_VALID_BE_ENCODING(encoding))
		options_refuse("csv_format", name, "encoding is a server encoding of PostgreSQL, such as "
					   "UTF8, LATIN1 or WIN1252; convert the file for others.");
	return encoding;
}

static char *
options_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static bool
options_bool(FunctionCallInfo fcinfo, int arg, bool otherwise)
{
	return PG_ARGISNULL(arg) ? otherwise : PG_GETARG_BOOL(arg);
}

static LdrOptions *
options_default(void)
{
	LdrOptions *options = palloc0(sizeof(LdrOptions));

	options->create_indexes = options->atomic = options->csv_header = true;
	options->csv_delimiter = ',';
	options->max_rejected_rows = -1;
	options->max_rejected_share = -1;
	return options;
}

bool
ldr_options_is_replace_strategy(const char *name)
{
	static const char *const strategies[] = {"truncate-and-insert", "insert-from-staging",
	"staging-optimized", "diff"};

	for (size_t i = 0; i < lengthof(strategies); i++)
		if (strcmp(strategies[i], name) == 0)
			return true;
	return false;
}

bool
ldr_options_is_reserved(const char *dataset)
{
	return strncmp(dataset, "pg_", 3) == 0 || strcmp(dataset, "information_schema") == 0 ||
		strcmp(dataset, "loader") == 0 || strcmp(dataset, "loader_swap") == 0;
}

int
ldr_options_workers(const LdrOptions *options)
{
	return options->workers > 0 ? options->workers : ldr_workers;
}

char *
ldr_options_staging(const LdrOptions *options, const char *dataset)
{
	const char *layout = options->staging_dataset_name_layout ?
		options->staging_dataset_name_layout : "%s_staging";
	const char *place = strstr(layout, "%s");
	/* without a place for the dataset's name it is the whole name */
	char	   *staging = place == NULL ? pstrdup(layout)
		: psprintf("%.*s%s%s", (int) (place - layout), layout, dataset, place + 2);

	if (strlen(staging) >= NAMEDATALEN || strcmp(staging, dataset) == 0 || staging[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("staging dataset name \"%s\" is %s", staging,
						strlen(staging) >= NAMEDATALEN ? "longer than 63 bytes"
						: staging[0] == '\0' ? "empty" : "that of the dataset"),
				 errhint("Choose another staging_dataset_name_layout, such as 's_%%s'.")));
	if (ldr_options_is_reserved(staging))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("staging dataset name \"%s\" is reserved", staging),
				 errhint("Choose another staging_dataset_name_layout, such as 's_%%s'.")));
	return staging;
}

/* max_rejects => '100' or '0.5%'. A share without its sign is refused: '1' would be either. */
static void
options_read_max_rejects(LdrOptions *o)
{
	const char *text = o->max_rejects;
	size_t		digits = strspn(text, "0123456789");
	char	   *end;

	errno = 0;
	if (digits > 0 && text[digits] == '\0')
	{
		o->max_rejected_rows = strtoll(text, NULL, 10);
		if (errno == 0)
			return;
	}
	else if (digits > 0 && strspn(text, "0123456789.%") == strlen(text))
	{
		o->max_rejected_share = strtod(text, &end) / 100;
		if (errno == 0 && strcmp(end, "%") == 0 && o->max_rejected_share <= 1)
			return;
	}
	options_refuse("max_rejects", text, "It is a number of rows, such as '100', or a share of "
				   "the rows that the package has, such as '0.5%'.");
}

/* What must hold between arguments. */
static void
options_check(const LdrOptions *o, const char *on_error)
{
	if (o->replace_strategy && !ldr_options_is_replace_strategy(o->replace_strategy))
		options_refuse("replace_strategy", o->replace_strategy,
					   "It is " LDR_REPLACE_STRATEGIES ".");
	if (o->workers < 0)
		options_refuse("workers", psprintf("%d", o->workers), "It is a positive number.");
	if (on_error && strcmp(on_error, "abort") != 0 && strcmp(on_error, "reject") != 0)
		options_refuse("on_error", on_error, "It is abort or reject.");
	if (o->max_rejects && !o->reject)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rejects needs on_error => 'reject'"),
				 errdetail("The first bad row fails the package.")));
	if (o->complete_with_failed_jobs && o->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("complete_with_failed_jobs needs atomic => false"),
				 errdetail("An atomic package is published whole or not at all.")));
	(void) ldr_options_encoding(o);
}

LdrOptions *
ldr_options_from_args(FunctionCallInfo fcinfo, int first)
{
	LdrOptions *o = options_default();
	char	   *on_error;

	o->replace_strategy = options_text(fcinfo, first + ARG_REPLACE_STRATEGY);
	o->default_schema_name = options_text(fcinfo, first + ARG_DEFAULT_SCHEMA_NAME);
	o->staging_dataset_name_layout = options_text(fcinfo, first + ARG_STAGING_LAYOUT);
	o->create_indexes = options_bool(fcinfo, first + ARG_CREATE_INDEXES, true);
	o->truncate_staging_dataset = options_bool(fcinfo, first + ARG_TRUNCATE_STAGING, false);
	o->workers = PG_ARGISNULL(first + ARG_WORKERS) ? 0 : PG_GETARG_INT32(first + ARG_WORKERS);
	if (!PG_ARGISNULL(first + ARG_WORKERS) && o->workers < 1)
		options_refuse("workers", psprintf("%d", o->workers), "It is a positive number.");
	o->atomic = options_bool(fcinfo, first + ARG_ATOMIC, true);
	o->complete_with_failed_jobs = options_bool(fcinfo, first + ARG_COMPLETE_WITH_FAILED, false);
	if (!PG_ARGISNULL(first + ARG_CSV_FORMAT))
		options_read_jsonb(o, PG_GETARG_JSONB_P(first + ARG_CSV_FORMAT));
	o->destination_name = options_text(fcinfo, first + ARG_DESTINATION_NAME);
	on_error = options_text(fcinfo, first + ARG_ON_ERROR);
	o->reject = on_error && strcmp(on_error, "reject") == 0;
	o->max_rejects = options_text(fcinfo, first + ARG_MAX_REJECTS);
	if (o->max_rejects)
		options_read_max_rejects(o);
	options_check(o, on_error);
	return o;
}

LdrOptions *
ldr_options_of_jobs(Jsonb *csv_format, char *replace_strategy, char *staging_dataset_name_layout,
					char *destination_name)
{
	LdrOptions *o = options_default();

	o->atomic = false;
	o->replace_strategy = replace_strategy;
	o->staging_dataset_name_layout = staging_dataset_name_layout;
	o->destination_name = destination_name;
	if (csv_format)
		options_read_jsonb(o, csv_format);
	options_check(o, NULL);
	return o;
}

/* JSON is UTF-8, whatever the database is. */
static json_t *
options_string(const char *value)
{
	return json_string_nocheck(pg_server_to_any(value, strlen(value), PG_UTF8));
}

static void
options_put(json_t *object, const char *key, json_t *value)
{
	if (value == NULL || json_object_set_new(object, key, value) != 0)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
}

char *
ldr_options_to_json(const LdrOptions *o)
{
	json_t	   *object = ldr_json_object();
	char		delimiter[2] = {o->csv_delimiter, '\0'};
	char	   *text,
			   *copy;

	if (o->replace_strategy)
		options_put(object, "replace_strategy", options_string(o->replace_strategy));
	if (o->default_schema_name)
		options_put(object, "default_schema_name", options_string(o->default_schema_name));
	if (o->staging_dataset_name_layout)
		options_put(object, "staging_dataset_name_layout",
					options_string(o->staging_dataset_name_layout));
	if (!o->create_indexes)
		options_put(object, "create_indexes", json_false());
	if (o->truncate_staging_dataset)
		options_put(object, "truncate_staging_dataset", json_true());
	if (o->workers)
		options_put(object, "workers", json_integer(o->workers));
	if (!o->atomic)
		options_put(object, "atomic", json_false());
	if (o->complete_with_failed_jobs)
		options_put(object, "complete_with_failed_jobs", json_true());
	if (o->reject)
		options_put(object, "on_error", json_string_nocheck("reject"));
	if (o->max_rejects)
		options_put(object, "max_rejects", options_string(o->max_rejects));
	if (o->csv_delimiter != ',')
		options_put(object, "csv_delimiter", json_string_nocheck(delimiter));
	if (!o->csv_header)
		options_put(object, "csv_header", json_false());
	if (o->csv_encoding)
		options_put(object, "csv_encoding", options_string(o->csv_encoding));
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (text == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	copy = pstrdup(pg_any_to_server(text, strlen(text), PG_UTF8));
	free(text);
	return copy;
}

static char *
options_get_text(json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? pstrdup(pg_any_to_server(value, strlen(value), PG_UTF8)) : NULL;
}

static bool
options_get_bool(json_t *object, const char *key, bool otherwise)
{
	json_t	   *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

LdrOptions *
ldr_options_from_json(const char *json)
{
	LdrOptions *o = options_default();
	json_t	   *object = options_parse(json);
	char	   *delimiter = options_get_text(object, "csv_delimiter");

	o->replace_strategy = options_get_text(object, "replace_strategy");
	o->default_schema_name = options_get_text(object, "default_schema_name");
	o->staging_dataset_name_layout = options_get_text(object, "staging_dataset_name_layout");
	o->create_indexes = options_get_bool(object, "create_indexes", true);
	o->truncate_staging_dataset = options_get_bool(object, "truncate_staging_dataset", false);
	o->workers = (int) json_integer_value(json_object_get(object, "workers"));
	o->atomic = options_get_bool(object, "atomic", true);
	o->complete_with_failed_jobs = options_get_bool(object, "complete_with_failed_jobs", false);
	o->reject = options_get_text(object, "on_error") != NULL;
	o->max_rejects = options_get_text(object, "max_rejects");
	if (o->max_rejects)
		options_read_max_rejects(o);
	o->csv_delimiter = delimiter ? delimiter[0] : ',';
	o->csv_header = options_get_bool(object, "csv_header", true);
	o->csv_encoding = options_get_text(object, "csv_encoding");
	json_decref(object);
	return o;
}
