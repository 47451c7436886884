/*
 * schema/airbyte_catalog.c: the configured catalog of an Airbyte sync -> LdrAirbyteCatalog. No
 * postgres.h.
 *
 * A member may be null wherever it may be missing. Of a member that comes twice the last one
 * counts, and the members of an object stay in the order of the document: jansson does both.
 * Nothing of the JSON tree outlives the parse.
 */
#include "json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/airbyte.h"
#include "schema/airbyte_types.h"
#include "schema/names.h"

/* The longest part of one name that a message shows. */
#define CATALOG_SHOWN 64

/* Integers up to here are the same as a double. */
#define CATALOG_MAX_EXACT 9007199254740992.0

#define CATALOG_COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef enum CatalogStrategy
{
	CATALOG_AS_IT_SAYS,
	CATALOG_AUTO,
	CATALOG_APPEND,
	CATALOG_MERGE,
	CATALOG_REPLACE
} CatalogStrategy;

typedef struct CatalogParse
{
	const LdrAirbyteChoice *choice;
	CatalogStrategy strategy;
	LdrError   *err;
	char		stream[2 * CATALOG_SHOWN];	/* the one we are at, for messages */
} CatalogParse;

/* Fail, with what to do. */
static LdrStatus __attribute__((format(printf, 4, 5)))
catalog_fail(CatalogParse *p, LdrStatus status, const char *hint, const char *fmt,...)
{
	char		message[sizeof(p->err->message)];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	snprintf(p->err->hint, sizeof(p->err->hint), "%s", hint);
	return ldr_fail(p->err, status, "%s", message);
}

static LdrStatus
catalog_no_memory(CatalogParse *p)
{
	return ldr_fail(p->err, LDR_OUT_OF_MEMORY, "out of memory");
}

/* Fail for a member of the stream that is not what it must be. */
static LdrStatus
catalog_wrong(CatalogParse *p, const char *key, const char *expected)
{
	return catalog_fail(p, LDR_BAD_SCHEMA,
						"Pass the configured catalog as the Airbyte protocol defines it.",
						"\"%s\" of stream \"%s\" must be %s", key, p->stream, expected);
}

/* An optional text, copied; *out stays NULL if there is none or if it is empty. */
static LdrStatus
catalog_copy(CatalogParse *p, json_t *object, const char *key, char **out)
{
	json_t	   *value = ldr_json_get(object, key);
	const char *text = ldr_json_text(value);

	if (value == NULL)
		return LDR_OK;
	if (text == NULL)
		return catalog_wrong(p, key, "a string");
	if (text[0] != '\0' && (*out = strdup(text)) == NULL)
		return catalog_no_memory(p);
	return LDR_OK;
}

/*
 * An optional id, not negative. One may come as 1.0; so do all of them where the catalog holds a
 * number too large for an integer somewhere.
 */
static LdrStatus
catalog_id(CatalogParse *p, json_t *object, const char *key, int64_t *out)
{
	json_t	   *value = ldr_json_get(object, key);
	double		real = json_real_value(value);

	*out = LDR_NO_ID;
	if (value == NULL)
		return LDR_OK;
	if (json_is_integer(value) && json_integer_value(value) >= 0)
		*out = json_integer_value(value);
	else if (json_is_real(value) && real >= 0 && real <= CATALOG_MAX_EXACT &&
			 real == (double) (int64_t) real)
		*out = (int64_t) real;
	else
		return catalog_wrong(p, key, "an integer that is not negative");
	return LDR_OK;
}

/* The columns: the properties of json_schema, if it has any. */
static LdrStatus
catalog_columns(CatalogParse *p, json_t *object, LdrStream *stream)
{
	json_t	   *schema = ldr_json_get(object, "json_schema");
	json_t	   *properties = ldr_json_get(schema, "properties");
	const char *name;
	json_t	   *property;

	if (schema != NULL && !json_is_object(schema))
		return catalog_wrong(p, "json_schema", "an object");
	if (properties == NULL)
		return LDR_OK;
	if (!json_is_object(properties))
		return catalog_wrong(p, "properties", "an object");
	if (json_object_size(properties) > LDR_STREAM_MAX_COLUMNS)
		return catalog_fail(p, LDR_TOO_LONG, "Select fewer fields of the stream in the source.",
							"stream \"%s\" has %zu properties, and a table can take %d", p->stream,
							json_object_size(properties), LDR_STREAM_MAX_COLUMNS);
	stream->columns = calloc(json_object_size(properties) + 1, sizeof(*stream->columns));
	if (stream->columns == NULL)
		return catalog_no_memory(p);
	json_object_foreach(properties, name, property)
	{
		LdrStreamColumn *column = &stream->columns[stream->ncolumns];

		column->property = strdup(name);
		if (column->property == NULL)
			return catalog_no_memory(p);
		column->type = ldr_stream_type(property);
		stream->ncolumns++;
	}
	return LDR_OK;
}

/*
 * Keys and cursors. The catalog's primary_key and cursor_field matter where rows are merged; a
 * source may tell them of a stream that is only appended, too, nested ones included.
 */

/*
 * The column that a path means: one name, and if there is no such property, one that differs in
 * letter case only, for names of properties may have been lower-cased on the way. key says what it
 * is a path of.
 */
static LdrStatus
catalog_path(CatalogParse *p, const LdrStream *stream, json_t *path, const char *key, int *out)
{
	const char *name = ldr_json_text(json_array_get(path, 0));
	char		shown[CATALOG_SHOWN];
	int			found = -1;
	int			alike = 0;

	if (name == NULL)
		return catalog_wrong(p, key, strcmp(key, "cursor_field") == 0
							 ? "a path, such as [\"id\"]" : "a list of paths, such as [[\"id\"]]");
	ldr_excerpt(shown, sizeof(shown), name, strlen(name));
	if (json_array_size(path) > 1)
		return catalog_fail(p, LDR_BAD_SCHEMA,
							"Choose a top-level property, or write the stream by append.",
							"\"%s\" of stream \"%s\" is nested in property \"%s\"", key, p->stream,
							shown);
	for (int i = 0; i < stream->ncolumns; i++)
	{
		if (strcmp(stream->columns[i].property, name) == 0)
		{
			*out = i;
			return LDR_OK;
		}
		if (ldr_name_same(stream->columns[i].property, name))
		{
			found = i;
			alike++;
		}
	}
	if (alike != 1)
		return catalog_fail(p, LDR_BAD_SCHEMA,
							"Choose one of the properties of its json_schema, or write the stream "
							"by append.",
							alike == 0 ? "\"%s\" of stream \"%s\" is \"%s\", which it does not have"
							: "\"%s\" of stream \"%s\" is \"%s\", which differs from several "
							"properties in letter case",
							key, p->stream, shown);
	*out = found;
	return LDR_OK;
}

/* Add a column to the keys, once. */
static void
catalog_add_key(LdrStream *stream, int column)
{
	for (int i = 0; i < stream->nkeys; i++)
		if (stream->keys[i] == column)
			return;
	stream->keys[stream->nkeys++] = column;
}

static LdrStatus
catalog_keys(CatalogParse *p, LdrStream *stream, json_t *paths)
{
	json_t	   *path;
	size_t		i;

	/* this also keeps the search for them short */
	if (json_array_size(paths) > (size_t) stream->ncolumns)
		return catalog_fail(p, LDR_BAD_SCHEMA, "Name each column of the key once.",
							"the primary key of stream \"%s\" has more columns than the stream",
							p->stream);
	stream->keys = calloc(json_array_size(paths) + 1, sizeof(*stream->keys));
	if (stream->keys == NULL)
		return catalog_no_memory(p);
	json_array_foreach(paths, i, path)
	{
		int			column;
		LdrStatus	status = catalog_path(p, stream, path, "primary_key", &column);

		if (status != LDR_OK)
			return status;
		catalog_add_key(stream, column);
	}
	return LDR_OK;
}

/* The first of two lists that is there and not empty; NULL: neither. */
static LdrStatus
catalog_list(CatalogParse *p, json_t *object, const char *key, json_t *instead,
			 const char *instead_key, json_t **out)
{
	*out = ldr_json_get(object, key);
	if (*out != NULL && !json_is_array(*out))
		return catalog_wrong(p, key, "an array");
	if (json_array_size(*out) > 0)
		return LDR_OK;
	*out = ldr_json_get(instead, instead_key);
	if (*out != NULL && !json_is_array(*out))
		return catalog_wrong(p, instead_key, "an array");
	if (json_array_size(*out) == 0)
		*out = NULL;
	return LDR_OK;
}

/* How the stream is written, as the catalog says itself. */
static LdrStatus
catalog_own_mode(CatalogParse *p, json_t *entry, LdrStreamMode *mode)
{
	static const char key[] = "destination_sync_mode";
	const char *name = ldr_json_text(ldr_json_get(entry, key));
	char		shown[CATALOG_SHOWN];

	if (name == NULL)
		return catalog_wrong(p, key, "append, overwrite or append_dedup");
	if (strcmp(name, "append") == 0)
		*mode = LDR_STREAM_APPEND;
	else if (strcmp(name, "overwrite") == 0)
		*mode = LDR_STREAM_OVERWRITE;
	else if (strcmp(name, "append_dedup") == 0)
		*mode = LDR_STREAM_APPEND_DEDUP;
	else
	{
		ldr_excerpt(shown, sizeof(shown), name, strlen(name));
		return catalog_fail(p, LDR_BAD_SCHEMA,
							strcmp(name, "overwrite_dedup") == 0
							? "The protocol writes it as append_dedup, with a "
							"minimum_generation_id that is the generation_id."
							: "Use append, overwrite or append_dedup, or choose a write strategy.",
							"\"%s\" of stream \"%s\" is \"%s\", which is not supported",
							key, p->stream, shown);
	}
	return LDR_OK;
}

/* How the stream is written, and its key and cursor, where that needs them. */
static LdrStatus
catalog_mode(CatalogParse *p, json_t *entry, json_t *object, LdrStream *stream)
{
	bool		chosen = p->strategy != CATALOG_AS_IT_SAYS;
	json_t	   *keys;
	json_t	   *cursor;
	LdrStatus	status;

	if (!chosen && (status = catalog_own_mode(p, entry, &stream->mode)) != LDR_OK)
		return status;
	/* what the source defines always counts for a key; for a cursor, where we make the choice */
	if ((status = catalog_list(p, entry, "primary_key", object, "source_defined_primary_key",
							   &keys)) != LDR_OK ||
		(status = catalog_list(p, entry, "cursor_field", chosen ? object : NULL,
							   "default_cursor_field", &cursor)) != LDR_OK)
		return status;
	if (p->strategy == CATALOG_APPEND ||
		(p->strategy == CATALOG_AUTO && keys == NULL && cursor != NULL))
		stream->mode = LDR_STREAM_APPEND;
	else if (p->strategy == CATALOG_REPLACE || (p->strategy == CATALOG_AUTO && keys == NULL))
		stream->mode = LDR_STREAM_OVERWRITE;
	else if (chosen)
		stream->mode = LDR_STREAM_APPEND_DEDUP;
	if (stream->mode != LDR_STREAM_APPEND_DEDUP)
		return LDR_OK;
	if (keys == NULL)
		return catalog_fail(p, LDR_BAD_SCHEMA,
							"Set its primary key in the source, or write it by append or "
							"overwrite.",
							"stream \"%s\" has no primary key, and %s needs one", p->stream,
							chosen ? "write strategy merge" : "append_dedup");
	status = catalog_keys(p, stream, keys);
	if (status == LDR_OK && cursor != NULL)
		status = catalog_path(p, stream, cursor, "cursor_field", &stream->cursor);
	return status;
}

static LdrStatus
catalog_sync_mode(CatalogParse *p, json_t *entry, LdrStream *stream)
{
	json_t	   *mode = ldr_json_get(entry, "sync_mode");

	stream->full_refresh = mode == NULL || ldr_json_is(mode, "full_refresh") ||
		(p->choice != NULL && p->choice->force_full_refresh);
	if (!stream->full_refresh && !ldr_json_is(mode, "incremental"))
		return catalog_wrong(p, "sync_mode", "full_refresh or incremental");
	return LDR_OK;
}

/* All rows of older generations are kept, or none. */
static LdrStatus
catalog_generation(CatalogParse *p, json_t *entry, LdrStream *stream)
{
	LdrStatus	status;

	if ((status = catalog_id(p, entry, "generation_id", &stream->generation_id)) != LDR_OK ||
		(status = catalog_id(p, entry, "minimum_generation_id",
							 &stream->minimum_generation_id)) != LDR_OK ||
		(status = catalog_id(p, entry, "sync_id", &stream->sync_id)) != LDR_OK)
		return status;
	if (stream->minimum_generation_id == LDR_NO_ID || stream->minimum_generation_id == 0 ||
		stream->minimum_generation_id == stream->generation_id)
		return LDR_OK;
	return catalog_fail(p, LDR_BAD_SCHEMA,
						"It is 0 to keep older generations, or the same as generation_id to "
						"replace them.",
						"\"minimum_generation_id\" of stream \"%s\" is neither 0 nor its "
						"\"generation_id\"", p->stream);
}

/* Remember how messages call the stream. */
static void
catalog_set_stream(CatalogParse *p, const LdrStream *stream)
{
	char		name[CATALOG_SHOWN];
	char		name_space[CATALOG_SHOWN - 1];

	ldr_excerpt(name, sizeof(name), stream->name, strlen(stream->name));
	if (stream->name_space == NULL)
	{
		memcpy(p->stream, name, sizeof(name));
		return;
	}
	ldr_excerpt(name_space, sizeof(name_space), stream->name_space, strlen(stream->name_space));
	snprintf(p->stream, sizeof(p->stream), "%s.%s", name_space, name);
}

/* One stream that takes part; its name is there already. */
static LdrStatus
catalog_stream(CatalogParse *p, json_t *entry, json_t *object, LdrStream *stream)
{
	LdrStatus	status;

	catalog_set_stream(p, stream);
	if ((status = catalog_copy(p, object, "namespace", &stream->name_space)) != LDR_OK)
		return status;
	catalog_set_stream(p, stream);
	if ((status = catalog_copy(p, entry, "destination_object_name",
							   &stream->object_name)) != LDR_OK ||
		(status = catalog_columns(p, object, stream)) != LDR_OK ||
		(status = catalog_sync_mode(p, entry, stream)) != LDR_OK ||
		(status = catalog_generation(p, entry, stream)) != LDR_OK ||
		(status = catalog_mode(p, entry, object, stream)) != LDR_OK)
		return status;
	for (int i = 0; i < stream->ncolumns; i++)
		if (strcmp(stream->columns[i].property, "_ab_cdc_deleted_at") == 0)
			stream->deleted = i;
	return LDR_OK;
}

/* Does it take part? */
static bool
catalog_chosen(const CatalogParse *p, const char *name)
{
	if (p->choice == NULL || p->choice->streams == NULL)
		return true;
	for (int i = 0; i < p->choice->nstreams; i++)
		if (strcmp(p->choice->streams[i], name) == 0)
			return true;
	return false;
}

/* An entry of streams, the n-th from 1, and the name of its stream. */
static LdrStatus
catalog_entry(CatalogParse *p, json_t *entry, size_t n, json_t **object, const char **name)
{
	*object = ldr_json_get(entry, "stream");
	if (!json_is_object(*object))
		return catalog_fail(p, LDR_BAD_SCHEMA,
							ldr_json_get(entry, "json_schema") != NULL
							? "This looks like what a source can give, not like what was "
							"configured. Each entry is an object with \"stream\", \"sync_mode\" "
							"and \"destination_sync_mode\"."
							: "Pass the configured catalog as the Airbyte protocol defines it.",
							"entry %zu of the catalog has no \"stream\"", n);
	*name = ldr_json_text(ldr_json_get(*object, "name"));
	if (*name == NULL || (*name)[0] == '\0')
		return catalog_fail(p, LDR_BAD_SCHEMA,
							"Pass the configured catalog as the Airbyte protocol defines it.",
							"the stream of entry %zu of the catalog has no name", n);
	return LDR_OK;
}

/* Every name that was chosen must be one of a stream; names is a set of them. */
static LdrStatus
catalog_check_choice(CatalogParse *p, json_t *names)
{
	for (int i = 0; p->choice != NULL && p->choice->streams != NULL && i < p->choice->nstreams; i++)
	{
		LdrNameList list = {0};
		char		hint[sizeof(p->err->hint)];
		char		shown[CATALOG_SHOWN];
		const char *name;
		json_t	   *unused;

		if (json_object_get(names, p->choice->streams[i]) != NULL)
			continue;
		json_object_foreach(names, name, unused)
			ldr_name_list_add(&list, NULL, name);
		(void) unused;
		snprintf(hint, sizeof(hint), "Its streams are %s.", ldr_name_list_text(&list));
		ldr_excerpt(shown, sizeof(shown), p->choice->streams[i], strlen(p->choice->streams[i]));
		return catalog_fail(p, LDR_BAD_SCHEMA, hint, "the catalog has no stream \"%s\"", shown);
	}
	return LDR_OK;
}

static int
catalog_compare(const void *a, const void *b)
{
	const LdrStream *x = *(const LdrStream *const *) a;
	const LdrStream *y = *(const LdrStream *const *) b;
	int			order = strcmp(x->name, y->name);

	if (order != 0)
		return order;
	if (x->name_space == NULL || y->name_space == NULL)
		return (x->name_space != NULL) - (y->name_space != NULL);
	return strcmp(x->name_space, y->name_space);
}

/* A message must tell its stream. */
static LdrStatus
catalog_check_twice(CatalogParse *p, const LdrAirbyteCatalog *catalog)
{
	const LdrStream **order = malloc((catalog->nstreams + 1) * sizeof(*order));
	LdrStatus	status = LDR_OK;

	if (order == NULL)
		return catalog_no_memory(p);
	for (int i = 0; i < catalog->nstreams; i++)
		order[i] = &catalog->streams[i];
	qsort(order, catalog->nstreams, sizeof(*order), catalog_compare);
	for (int i = 1; i < catalog->nstreams && status == LDR_OK; i++)
	{
		if (catalog_compare(&order[i - 1], &order[i]) != 0)
			continue;
		catalog_set_stream(p, order[i]);
		status = catalog_fail(p, LDR_BAD_SCHEMA, "Leave one of them out.",
							  "stream \"%s\" is in the catalog twice", p->stream);
	}
	free(order);
	return status;
}

/* Fill the catalog with those streams that take part; names is an empty object. */
static LdrStatus
catalog_streams(CatalogParse *p, json_t *entries, json_t *names, LdrAirbyteCatalog *catalog)
{
	json_t	   *entry;
	size_t		i;
	LdrStatus	status;

	catalog->streams = calloc(json_array_size(entries) + 1, sizeof(*catalog->streams));
	if (catalog->streams == NULL)
		return catalog_no_memory(p);
	json_array_foreach(entries, i, entry)
	{
		LdrStream  *stream = &catalog->streams[catalog->nstreams];
		const char *name = NULL;
		json_t	   *object = NULL;

		if ((status = catalog_entry(p, entry, i + 1, &object, &name)) != LDR_OK)
			return status;
		if (json_object_set_new_nocheck(names, name, json_true()) != 0)
			return catalog_no_memory(p);
		if (!catalog_chosen(p, name))
			continue;
		catalog->nstreams++;
		stream->cursor = stream->deleted = -1;
		if ((stream->name = strdup(name)) == NULL)
			return catalog_no_memory(p);
		if ((status = catalog_stream(p, entry, object, stream)) != LDR_OK)
			return status;
	}
	if ((status = catalog_check_choice(p, names)) != LDR_OK)
		return status;
	if (catalog->nstreams == 0)
		return catalog_fail(p, LDR_BAD_SCHEMA, "Choose at least one stream.", "%s",
							json_array_size(entries) == 0 ? "the catalog has no streams"
							: "no stream of the catalog was chosen");
	return catalog_check_twice(p, catalog);
}

/* Everything after the JSON itself. */
static LdrStatus
catalog_document(CatalogParse *p, json_t *root, LdrAirbyteCatalog *catalog)
{
	json_t	   *entries = ldr_json_get(root, "streams");
	json_t	   *names;
	LdrStatus	status;

	if (!json_is_array(entries))
		return catalog_fail(p, LDR_BAD_SCHEMA,
							"Pass the configured catalog as the Airbyte protocol defines it.",
							"the catalog must be an object with an array \"streams\"");
	names = ldr_json_object();
	if (names == NULL)
		return catalog_no_memory(p);
	status = catalog_streams(p, entries, names, catalog);
	json_decref(names);
	return status;
}

static LdrStatus
catalog_strategy(CatalogParse *p)
{
	static const char *const names[] = {
		[CATALOG_AUTO] = "auto",
		[CATALOG_APPEND] = "append",
		[CATALOG_MERGE] = "merge",
		[CATALOG_REPLACE] = "replace"
	};
	const char *name = p->choice == NULL ? NULL : p->choice->write_strategy;
	char		shown[CATALOG_SHOWN];

	p->strategy = CATALOG_AS_IT_SAYS;
	if (name == NULL)
		return LDR_OK;
	for (size_t i = CATALOG_AUTO; i < CATALOG_COUNT(names); i++)
	{
		if (ldr_name_same(name, names[i]))
		{
			p->strategy = (CatalogStrategy) i;
			return LDR_OK;
		}
	}
	ldr_excerpt(shown, sizeof(shown), name, strlen(name));
	return catalog_fail(p, LDR_BAD_SCHEMA,
						"It is auto, append, merge or replace; without one the catalog decides.",
						"unknown write strategy \"%s\"", shown);
}

/*
 * Load the JSON. A JSON schema may bound a number by one that no integer of ours can hold; then all
 * numbers are read as doubles. It may also hold zero characters, in a pattern.
 */
static LdrStatus
catalog_load(const char *json, size_t len, json_t **root, LdrError *err)
{
	LdrStatus	status = ldr_json_load_bounded(json, len, JSON_ALLOW_NUL, "catalog", root, err);

	if (status == LDR_BAD_JSON)
		status = ldr_json_load_bounded(json, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
									   "catalog", root, err);
	if (status == LDR_BAD_JSON)
		snprintf(err->hint, sizeof(err->hint),
				 "Pass the configured catalog as the Airbyte protocol defines it.");
	else if (status == LDR_OK)
		memset(err, 0, sizeof(*err));
	return status;
}

LdrStatus
ldr_airbyte_catalog_parse(const char *json, size_t len, const LdrAirbyteChoice *choice,
						  LdrAirbyteCatalog **out, LdrError *err)
{
	CatalogParse p = {.choice = choice, .err = err};
	LdrAirbyteCatalog *catalog;
	json_t	   *root;
	LdrStatus	status;

	*out = NULL;
	if ((status = catalog_strategy(&p)) != LDR_OK ||
		(status = catalog_load(json, len, &root, err)) != LDR_OK)
		return status;
	catalog = calloc(1, sizeof(*catalog));
	status = catalog == NULL ? catalog_no_memory(&p) : catalog_document(&p, root, catalog);
	json_decref(root);
	if (status != LDR_OK)
	{
		ldr_airbyte_catalog_free(catalog);
		return status;
	}
	*out = catalog;
	return LDR_OK;
}

void
ldr_airbyte_catalog_free(LdrAirbyteCatalog *catalog)
{
	if (catalog == NULL)
		return;
	for (int i = 0; i < catalog->nstreams; i++)
	{
		LdrStream  *stream = &catalog->streams[i];

		for (int c = 0; c < stream->ncolumns; c++)
		{
			free(stream->columns[c].property);
			free(stream->columns[c].name);
		}
		free(stream->columns);
		free(stream->keys);
		free(stream->name);
		free(stream->name_space);
		free(stream->object_name);
		free(stream->dataset);
		free(stream->table);
	}
	free(catalog->streams);
	free(catalog);
}
