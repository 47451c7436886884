/*
 * publish/stream_options.c: what the caller chose for a sync, as it is stored with the package, and
 * the catalog as that has it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "json.h"				/* its macros shadow the server's functions: last */
#include "loader.h"
#include "options.h"
#include "publish/stream.h"

static void
options_set(json_t *object, const char *key, const char *value)
{
	if (value)
		json_object_set_new(object, key, json_string(pg_server_to_any(value, strlen(value),
																	  PG_UTF8)));
}

char *
ldr_sync_options_to_json(const LdrSyncOptions *o)
{
	json_t	   *object = ldr_json_object();
	char	   *text;
	char	   *copy;

	options_set(object, "schema", o->schema);
	options_set(object, "raw_data_schema", o->raw_data_schema);
	options_set(object, "source_name", o->source_name);
	options_set(object, "write_strategy", o->write_strategy);
	json_object_set_new(object, "soft_delete", json_boolean(o->soft_delete));
	json_object_set_new(object, "fail_on_bad_value", json_boolean(o->fail_on_bad_value));
	json_object_set_new(object, "force_full_refresh", json_boolean(o->force_full_refresh));
	json_object_set_new(object, "store_state", json_boolean(o->store_state));
	if (o->streams)
	{
		json_t	   *names = json_array();

		for (int i = 0; i < o->nstreams; i++)
			json_array_append_new(names, json_string(o->streams[i]));
		json_object_set_new(object, "streams", names);
	}
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (text == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	copy = ldr_sync_text(text);
	free(text);
	return copy;
}

char *
ldr_sync_text(const char *utf8)
{
	return utf8 ? pstrdup(pg_any_to_server(utf8, strlen(utf8), PG_UTF8)) : NULL;
}

/* NULL if there is no such member. */
static char *
options_get(const json_t *object, const char *key)
{
	return ldr_sync_text(json_string_value(json_object_get(object, key)));
}

LdrSyncOptions *
ldr_sync_options_from_json(const char *json)
{
	LdrSyncOptions *o = palloc0(sizeof(LdrSyncOptions));
	json_error_t error;
	json_t	   *object = json_loads(pg_server_to_any(json, strlen(json), PG_UTF8), 0, &error);
	json_t	   *names;

	if (object == NULL)
		elog(ERROR, "options of a sync are not valid: %s", error.text);
	o->schema = options_get(object, "schema");
	o->raw_data_schema = options_get(object, "raw_data_schema");
	o->source_name = options_get(object, "source_name");
	o->write_strategy = options_get(object, "write_strategy");
	o->soft_delete = json_is_true(json_object_get(object, "soft_delete"));
	o->fail_on_bad_value = json_is_true(json_object_get(object, "fail_on_bad_value"));
	o->force_full_refresh = json_is_true(json_object_get(object, "force_full_refresh"));
	o->store_state = json_is_true(json_object_get(object, "store_state"));
	names = json_object_get(object, "streams");
	if (names)
	{
		o->nstreams = (int) json_array_size(names);
		o->streams = palloc(sizeof(char *) * Max(o->nstreams, 1));
		for (int i = 0; i < o->nstreams; i++)
			o->streams[i] = pstrdup(json_string_value(json_array_get(names, i)));
	}
	json_decref(object);
	return o;
}

static void
sync_free_catalog(void *catalog)
{
	ldr_airbyte_catalog_free(catalog);
}

static void
sync_check_schema(const char *schema)
{
	if (ldr_options_is_reserved(schema))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("schema name \"%s\" is reserved", schema),
				 errhint("Take another \"schema\" in the configuration.")));
}

LdrAirbyteCatalog *
ldr_sync_catalog(const char *json, const LdrSyncOptions *options)
{
	char	   *utf8 = pg_server_to_any(json, strlen(json), PG_UTF8);
	LdrAirbyteChoice choice = {
		.write_strategy = options->write_strategy,
		.streams = (const char *const *) options->streams,
		.nstreams = options->nstreams,
		.force_full_refresh = options->force_full_refresh
	};
	LdrAirbyteCatalog *catalog;
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));
	LdrError	err = {0};

	if (ldr_airbyte_catalog_parse(utf8, strlen(utf8), &choice, &catalog, &err) != LDR_OK)
		ldr_raise_in(&err, "Argument \"catalog\"");
	cb->func = sync_free_catalog;
	cb->arg = catalog;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, cb);
	if (ldr_airbyte_name(catalog, options->schema, &err) != LDR_OK)
		ldr_raise_in(&err, "Argument \"catalog\"");
	sync_check_schema(options->raw_data_schema);
	for (int i = 0; i < catalog->nstreams; i++)
		sync_check_schema(catalog->streams[i].dataset);
	return catalog;
}
