/*
 * schema/dlt_schema.c: dlt's schema.json -> LdrSchema. No postgres.h.
 *
 * The document is read in this order: JSON, header, (another engine version only) a search for
 * unknown keys, tables and columns, names, chains of nested tables. A key may be null wherever it
 * may be missing. Nothing of the JSON tree outlives the parse.
 */
#include "json.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schema/names.h"

/* What a table says itself; the texts belong to the JSON tree. */
typedef struct DltOwn
{
	const char *disposition;	/* NULL: not said */
	const char *merge_strategy;
	const char *replace_strategy;
	const char *file_format;
	bool		has_file_format;	/* said, perhaps to be null: then nothing is inherited */
	bool		visiting;
	LdrSchemaTable *parent;
} DltOwn;

typedef struct DltParse
{
	LdrSchema  *schema;
	LdrError   *err;
	DltOwn	   *own;			/* one per table */
	LdrNameList bad_names;
	/* where we are, for messages; NULL: outside */
	const char *table;
	const char *column;
} DltParse;

static const struct
{
	const char *name;
	LdrDataType type;
}			dlt_types[] = {
	{"text", LDR_TYPE_TEXT},
	{"bigint", LDR_TYPE_BIGINT},
	{"double", LDR_TYPE_DOUBLE},
	{"bool", LDR_TYPE_BOOL},
	{"timestamp", LDR_TYPE_TIMESTAMP},
	{"time", LDR_TYPE_TIME},
	{"date", LDR_TYPE_DATE},
	{"decimal", LDR_TYPE_DECIMAL},
	{"wei", LDR_TYPE_WEI},
	{"binary", LDR_TYPE_BINARY},
	{"json", LDR_TYPE_JSON},
	{"complex", LDR_TYPE_JSON}	/* its name before engine version 10 */
};

/* A key that is true or false, and where it goes. */
typedef struct DltFlag
{
	const char *key;
	size_t		offset;
	bool		missing;		/* what a missing key means */
} DltFlag;

static const DltFlag dlt_column_flags[] = {
	{"nullable", offsetof(LdrSchemaColumn, nullable), true},
	{"timezone", offsetof(LdrSchemaColumn, timezone), true},
	{"unique", offsetof(LdrSchemaColumn, unique), false},
	{"primary_key", offsetof(LdrSchemaColumn, primary_key), false},
	{"merge_key", offsetof(LdrSchemaColumn, merge_key), false},
	{"row_key", offsetof(LdrSchemaColumn, row_key), false},
	{"parent_key", offsetof(LdrSchemaColumn, parent_key), false},
	{"root_key", offsetof(LdrSchemaColumn, root_key), false},
	{"hard_delete", offsetof(LdrSchemaColumn, hard_delete), false},
	{"x-row-version", offsetof(LdrSchemaColumn, row_version), false},
	{"x-valid-from", offsetof(LdrSchemaColumn, valid_from), false},
	{"x-valid-to", offsetof(LdrSchemaColumn, valid_to), false},
	{"x-postgres-geometry", offsetof(LdrSchemaColumn, geometry), false}
};

static const DltFlag dlt_table_flags[] = {
	{"x-merge-skip-unchanged-rows", offsetof(LdrSchemaTable, skip_unchanged), false},
	{"x-stage-data-deduplicated", offsetof(LdrSchemaTable, deduplicated), false}
};

#define DLT_DEFAULT_SRID 4326
#define DLT_MAX_SCHEMA_NAME 64	/* characters */
#define DLT_COUNT(a) (sizeof(a) / sizeof((a)[0]))

static LdrStatus
dlt_no_memory(DltParse *p)
{
	return ldr_fail(p->err, LDR_OUT_OF_MEMORY, "out of memory");
}

/* Fail for a value that is not what its key must hold. Keeps the names in the message short. */
static LdrStatus
dlt_wrong(DltParse *p, const char *name, const char *expected)
{
	char		key[LDR_MAX_NAME + 1];
	char		table[LDR_MAX_NAME + 1];
	char		column[LDR_MAX_NAME + 1];

	ldr_excerpt(key, sizeof(key), name, strlen(name));
	if (p->table == NULL)
		return ldr_fail(p->err, LDR_BAD_SCHEMA, "\"%s\" of the schema must be %s", key, expected);
	ldr_excerpt(table, sizeof(table), p->table, strlen(p->table));
	if (p->column == NULL)
		return ldr_fail(p->err, LDR_BAD_SCHEMA, "\"%s\" of table \"%s\" must be %s",
						key, table, expected);
	ldr_excerpt(column, sizeof(column), p->column, strlen(p->column));
	memcpy(p->err->column, column, sizeof(column));
	return ldr_fail(p->err, LDR_BAD_SCHEMA, "\"%s\" of column \"%s\" of table \"%s\" must be %s",
					key, column, table, expected);
}

/* Remember the start of an offending text. */
static void
dlt_set_value(DltParse *p, const char *value)
{
	ldr_excerpt(p->err->value, sizeof(p->err->value), value, strlen(value));
}

/* An optional text; *out is NULL if there is none, else it belongs to the JSON tree. */
static LdrStatus
dlt_text(DltParse *p, json_t *object, const char *key, const char **out)
{
	json_t	   *value = json_object_get(object, key);

	*out = NULL;
	if (value == NULL || json_is_null(value))
		return LDR_OK;
	if (!json_is_string(value))
		return dlt_wrong(p, key, "a string");
	*out = json_string_value(value);
	return LDR_OK;
}

/* The same, copied; *out stays NULL if there is none. */
static LdrStatus
dlt_copy(DltParse *p, json_t *object, const char *key, char **out)
{
	const char *text;
	LdrStatus	status = dlt_text(p, object, key, &text);

	if (status == LDR_OK && text != NULL && (*out = strdup(text)) == NULL)
		return dlt_no_memory(p);
	return status;
}

/* The same for a text that says nothing if it is empty, as for dlt. */
static LdrStatus
dlt_copy_filled(DltParse *p, json_t *object, const char *key, char **out)
{
	json_t	   *value = json_object_get(object, key);

	if (json_is_string(value) && json_string_length(value) == 0)
		return LDR_OK;
	return dlt_copy(p, object, key, out);
}

/* A moment, copied: a text, or a number of seconds, which dlt takes too. */
static LdrStatus
dlt_moment(DltParse *p, json_t *object, const char *key, char **out)
{
	json_t	   *value = json_object_get(object, key);
	char		number[40];

	if (json_is_integer(value))
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(number, sizeof(number), "%.17g", json_real_value(value));
	else if (value == NULL || json_is_null(value) || json_is_string(value))
		return dlt_copy(p, object, key, out);
	else
		return dlt_wrong(p, key, "a string or a number");
	*out = strdup(number);
	return *out == NULL ? dlt_no_memory(p) : LDR_OK;
}

/* A text that must be there and not be empty, copied. */
static LdrStatus
dlt_required_text(DltParse *p, json_t *object, const char *key, char **out)
{
	LdrStatus	status = dlt_copy_filled(p, object, key, out);

	if (status == LDR_OK && *out == NULL)
		return dlt_wrong(p, key, "a string that is not empty");
	return status;
}

static LdrStatus
dlt_required_integer(DltParse *p, json_t *object, const char *key, int64_t *out)
{
	json_t	   *value = json_object_get(object, key);

	if (!json_is_integer(value))
		return dlt_wrong(p, key, "an integer");
	*out = json_integer_value(value);
	return LDR_OK;
}

/*
 * An optional number from zero up. One that is too large for an int becomes INT_MAX: no type has
 * such a precision, and only whoever needs the type shall fail for it.
 */
static LdrStatus
dlt_size(DltParse *p, json_t *object, const char *key, int missing, int *out)
{
	json_t	   *value = json_object_get(object, key);

	*out = missing;
	if (value == NULL || json_is_null(value))
		return LDR_OK;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return dlt_wrong(p, key, "an integer that is not negative");
	*out = json_integer_value(value) > INT_MAX ? INT_MAX : (int) json_integer_value(value);
	return LDR_OK;
}

/* The SRID of a geometry. PostGIS takes all that are not positive for 0, which is "unknown". */
static LdrStatus
dlt_srid(DltParse *p, json_t *object, LdrSchemaColumn *column)
{
	json_t	   *value = json_object_get(object, "x-postgres-srid");

	column->srid = 0;
	if (json_is_integer(value) && json_integer_value(value) < 0)
		return LDR_OK;
	return dlt_size(p, object, "x-postgres-srid", DLT_DEFAULT_SRID, &column->srid);
}

/* An optional object's own "name" must be the key under which it stands. */
static LdrStatus
dlt_check_own_name(DltParse *p, json_t *object, const char *key)
{
	const char *name;
	LdrStatus	status = dlt_text(p, object, "name", &name);

	if (status == LDR_OK && name != NULL && strcmp(name, key) != 0)
	{
		dlt_set_value(p, name);
		return dlt_wrong(p, "name", "the key under which it stands");
	}
	return status;
}

/* Set the flags of a column or a table, which starts at base. */
static LdrStatus
dlt_flags(DltParse *p, json_t *object, const DltFlag *flags, size_t n, void *base)
{
	for (size_t i = 0; i < n; i++)
	{
		bool	   *flag = (bool *) ((char *) base + flags[i].offset);
		json_t	   *value = json_object_get(object, flags[i].key);

		*flag = flags[i].missing;
		if (value == NULL || json_is_null(value))
			continue;
		if (!json_is_boolean(value))
			return dlt_wrong(p, flags[i].key, "true or false");
		*flag = json_is_true(value);
	}
	return LDR_OK;
}

static LdrStatus
dlt_column_type(DltParse *p, json_t *object, LdrSchemaColumn *column)
{
	const char *name;
	LdrStatus	status = dlt_text(p, object, "data_type", &name);

	column->type = LDR_TYPE_NONE;
	if (status != LDR_OK || name == NULL || name[0] == '\0')
		return status;
	for (size_t i = 0; i < DLT_COUNT(dlt_types); i++)
	{
		if (strcmp(name, dlt_types[i].name) == 0)
		{
			column->type = dlt_types[i].type;
			return LDR_OK;
		}
	}
	dlt_set_value(p, name);
	return dlt_wrong(p, "data_type", "a data type of dlt");
}

/* "asc" or "desc"; false says the same as nothing. */
static LdrStatus
dlt_column_dedup_sort(DltParse *p, json_t *object, LdrSchemaColumn *column)
{
	json_t	   *value = json_object_get(object, "dedup_sort");
	const char *text = json_string_value(value);

	column->dedup_sort = 0;
	if (value == NULL || json_is_null(value) || json_is_false(value))
		return LDR_OK;
	if (text != NULL && strcmp(text, "asc") == 0)
		column->dedup_sort = 1;
	else if (text != NULL && strcmp(text, "desc") == 0)
		column->dedup_sort = -1;
	else
		return dlt_wrong(p, "dedup_sort", "\"asc\" or \"desc\"");
	return LDR_OK;
}

static LdrStatus
dlt_column(DltParse *p, const char *name, json_t *object, LdrSchemaColumn *column)
{
	LdrStatus	status;

	if (!json_is_object(object))
		return dlt_wrong(p, name, "an object");
	p->column = name;
	if (!ldr_name_usable(name))
		ldr_name_list_add(&p->bad_names, p->table, name);
	column->name = strdup(name);
	if (column->name == NULL)
		return dlt_no_memory(p);
	if ((status = dlt_check_own_name(p, object, name)) == LDR_OK &&
		(status = dlt_column_type(p, object, column)) == LDR_OK &&
		(status = dlt_size(p, object, "precision", -1, &column->precision)) == LDR_OK &&
		(status = dlt_size(p, object, "scale", -1, &column->scale)) == LDR_OK &&
		(status = dlt_flags(p, object, dlt_column_flags, DLT_COUNT(dlt_column_flags),
							column)) == LDR_OK &&
		(status = dlt_column_dedup_sort(p, object, column)) == LDR_OK &&
		(status = dlt_moment(p, object, "x-active-record-timestamp",
							 &column->active_timestamp)) == LDR_OK)
		status = dlt_srid(p, object, column);
	p->column = NULL;
	return status;
}

/* All columns of a table, in the order of the document (jansson keeps it). */
static LdrStatus
dlt_columns(DltParse *p, json_t *object, LdrSchemaTable *table)
{
	json_t	   *columns = json_object_get(object, "columns");
	const char *name;
	json_t	   *value;

	if (!json_is_object(columns))
		return dlt_wrong(p, "columns", "an object");
	table->columns = calloc(json_object_size(columns) + 1, sizeof(*table->columns));
	if (table->columns == NULL)
		return dlt_no_memory(p);
	json_object_foreach(columns, name, value)
	{
		LdrStatus	status = dlt_column(p, name, value, &table->columns[table->ncolumns++]);

		if (status != LDR_OK)
			return status;
	}
	return LDR_OK;
}

/* What the table says of its place among the others; what it inherits is found out later. */
static LdrStatus
dlt_table_hints(DltParse *p, json_t *object, LdrSchemaTable *table, DltOwn *own)
{
	LdrStatus	status;

	/* an empty parent is none, as for dlt */
	if ((status = dlt_copy_filled(p, object, "parent", &table->parent)) != LDR_OK ||
		(status = dlt_copy(p, object, "resource", &table->resource)) != LDR_OK ||
		(status = dlt_text(p, object, "write_disposition", &own->disposition)) != LDR_OK ||
		(status = dlt_text(p, object, "x-merge-strategy", &own->merge_strategy)) != LDR_OK ||
		(status = dlt_text(p, object, "x-replace-strategy", &own->replace_strategy)) != LDR_OK ||
		(status = dlt_text(p, object, "file_format", &own->file_format)) != LDR_OK)
		return status;
	own->has_file_format = json_object_get(object, "file_format") != NULL;
	return LDR_OK;
}

/* dlt's marks of what normalize did; of seen-data only true counts, and nothing else is wrong. */
static LdrStatus
dlt_table_seen_data(DltParse *p, json_t *object, LdrSchemaTable *table)
{
	json_t	   *marks = json_object_get(object, "x-normalizer");

	if (marks != NULL && !json_is_null(marks) && !json_is_object(marks))
		return dlt_wrong(p, "x-normalizer", "an object");
	table->seen_data = json_is_true(json_object_get(marks, "seen-data"));
	return LDR_OK;
}

/* What a merge of the table is to heed. Nothing of it is inherited: a merge asks the root table. */
static LdrStatus
dlt_table_merge(DltParse *p, json_t *object, LdrSchemaTable *table)
{
	LdrStatus	status;

	if ((status = dlt_copy_filled(p, object, "x-merge-source-filter",
								  &table->source_filter)) != LDR_OK ||
		(status = dlt_copy_filled(p, object, "x-merge-destination-scope",
								  &table->destination_scope)) != LDR_OK ||
		(status = dlt_moment(p, object, "x-boundary-timestamp",
							 &table->boundary_timestamp)) != LDR_OK)
		return status;
	return dlt_flags(p, object, dlt_table_flags, DLT_COUNT(dlt_table_flags), table);
}

static LdrStatus
dlt_table(DltParse *p, const char *name, json_t *object, int i)
{
	LdrSchemaTable *table = &p->schema->tables[i];
	LdrStatus	status;

	if (!json_is_object(object))
		return dlt_wrong(p, name, "an object");
	p->table = name;
	if (!ldr_name_usable(name))
		ldr_name_list_add(&p->bad_names, NULL, name);
	table->name = strdup(name);
	if (table->name == NULL)
		return dlt_no_memory(p);
	if ((status = dlt_check_own_name(p, object, name)) == LDR_OK &&
		(status = dlt_table_hints(p, object, table, &p->own[i])) == LDR_OK &&
		(status = dlt_table_seen_data(p, object, table)) == LDR_OK &&
		(status = dlt_table_merge(p, object, table)) == LDR_OK)
		status = dlt_columns(p, object, table);
	p->table = NULL;
	return status;
}

/* All tables with their columns; p->own is allocated here and freed by the caller. */
static LdrStatus
dlt_tables(DltParse *p, json_t *root)
{
	json_t	   *tables = json_object_get(root, "tables");
	const char *name;
	json_t	   *value;
	LdrStatus	status;

	if (!json_is_object(tables))
		return dlt_wrong(p, "tables", "an object");
	p->schema->tables = calloc(json_object_size(tables) + 1, sizeof(*p->schema->tables));
	p->own = calloc(json_object_size(tables) + 1, sizeof(*p->own));
	if (p->schema->tables == NULL || p->own == NULL)
		return dlt_no_memory(p);
	json_object_foreach(tables, name, value)
	{
		status = dlt_table(p, name, value, p->schema->ntables++);
		if (status != LDR_OK)
			return status;
	}
	if (p->bad_names.total == 0)
		return LDR_OK;
	snprintf(p->err->hint, sizeof(p->err->hint),
			 "Names are not cut. Let the pipeline shorten them to %d bytes.", LDR_MAX_NAME);
	return ldr_fail(p->err, LDR_BAD_NAME, "names that are empty or longer than %d bytes: %s",
					LDR_MAX_NAME, ldr_name_list_text(&p->bad_names));
}

static LdrStatus
dlt_disposition(DltParse *p, const char *text, LdrDisposition *out)
{
	static const char *const names[] = {
		[LDR_APPEND] = "append",
		[LDR_REPLACE] = "replace",
		[LDR_MERGE] = "merge",
		[LDR_SKIP] = "skip"
	};

	for (size_t i = 0; i < DLT_COUNT(names); i++)
	{
		if (strcmp(text, names[i]) == 0)
		{
			*out = (LdrDisposition) i;
			return LDR_OK;
		}
	}
	dlt_set_value(p, text);
	return dlt_wrong(p, "write_disposition", "append, replace, merge or skip");
}

/* Complete a table whose parent (if any) is complete. */
static LdrStatus
dlt_inherit(DltParse *p, LdrSchemaTable *table)
{
	DltOwn	   *own = &p->own[table - p->schema->tables];
	const DltOwn *from = NULL;
	const char *strategy = NULL;
	LdrStatus	status;

	table->root = table;
	if (own->parent != NULL)
	{
		from = &p->own[own->parent - p->schema->tables];
		table->root = own->parent->root;
		table->depth = own->parent->depth + 1;
		if (own->disposition == NULL)
			own->disposition = from->disposition;
		if (own->merge_strategy == NULL)
			own->merge_strategy = from->merge_strategy;
		if (own->replace_strategy == NULL)
			own->replace_strategy = from->replace_strategy;
		if (!own->has_file_format)
			own->file_format = from->file_format;
	}
	else if (own->disposition == NULL)
		own->disposition = "append";

	p->table = table->name;
	status = dlt_disposition(p, own->disposition, &table->disposition);
	p->table = NULL;
	if (status != LDR_OK)
		return status;
	if (table->disposition == LDR_MERGE)
		strategy = own->merge_strategy;
	else if (table->disposition == LDR_REPLACE)
		strategy = own->replace_strategy;
	if (strategy != NULL && (table->strategy = strdup(strategy)) == NULL)
		return dlt_no_memory(p);
	if (own->file_format != NULL && (table->file_format = strdup(own->file_format)) == NULL)
		return dlt_no_memory(p);
	return LDR_OK;
}

/*
 * Collect the table and its ancestors up to the first that is complete already, lowest first.
 * Fails for a parent that does not exist and for a table that is its own ancestor.
 */
static LdrStatus
dlt_climb(DltParse *p, LdrSchemaTable *table, LdrSchemaTable **path, int *depth)
{
	*depth = 0;
	while (table != NULL && table->root == NULL)
	{
		DltOwn	   *own = &p->own[table - p->schema->tables];

		p->table = table->name;
		if (own->visiting)
			return dlt_wrong(p, "parent", "a table that is not nested in this one");
		own->visiting = true;
		path[(*depth)++] = table;
		if (table->parent != NULL)
		{
			own->parent = ldr_schema_table(p->schema, table->parent);
			if (own->parent == NULL)
			{
				dlt_set_value(p, table->parent);
				return dlt_wrong(p, "parent", "a table of the schema");
			}
		}
		table = own->parent;
	}
	p->table = NULL;
	return LDR_OK;
}

/*
 * Find every table's root and what it inherits. Each table is visited once, and there is no
 * recursion: a hostile document may nest its tables as deep as it likes.
 */
static LdrStatus
dlt_chains(DltParse *p)
{
	LdrSchemaTable **path = malloc((p->schema->ntables + 1) * sizeof(*path));
	LdrStatus	status = LDR_OK;

	if (path == NULL)
		return dlt_no_memory(p);
	for (int i = 0; i < p->schema->ntables && status == LDR_OK; i++)
	{
		int			depth;

		status = dlt_climb(p, &p->schema->tables[i], path, &depth);
		while (status == LDR_OK && depth > 0)
			status = dlt_inherit(p, path[--depth]);
	}
	free(path);
	return status;
}

/*
 * One of dlt's own tables. A naming convention may have changed the case of its name; the exact
 * name goes first.
 */
static LdrSchemaTable *
dlt_own_table(const LdrSchema *schema, const char *name)
{
	LdrSchemaTable *found = ldr_schema_table(schema, name);

	for (int i = 0; i < schema->ntables && found == NULL; i++)
		if (ldr_name_same(schema->tables[i].name, name))
			found = &schema->tables[i];
	return found;
}

static LdrStatus
dlt_own_tables(DltParse *p)
{
	LdrSchema  *schema = p->schema;

	schema->version_table = dlt_own_table(schema, "_dlt_version");
	schema->loads_table = dlt_own_table(schema, "_dlt_loads");
	schema->state_table = dlt_own_table(schema, "_dlt_pipeline_state");
	if (schema->version_table != NULL && schema->loads_table != NULL)
		return LDR_OK;
	snprintf(p->err->hint, sizeof(p->err->hint),
			 "The schema.json of a load package holds dlt's own tables too.");
	return ldr_fail(p->err, LDR_BAD_SCHEMA, "the schema has no table \"%s\"",
					schema->version_table == NULL ? "_dlt_version" : "_dlt_loads");
}

/* The schema's name, which is part of keys: of our catalog's and of those in dlt's tables. */
static LdrStatus
dlt_name(DltParse *p, json_t *root, LdrSchema *schema)
{
	LdrStatus	status = dlt_required_text(p, root, "name", &schema->name);
	size_t		length = 0;

	if (status != LDR_OK)
		return status;
	for (const char *s = schema->name; *s != '\0'; s++)
		length += ((unsigned char) *s & 0xC0) != 0x80;
	if (length <= DLT_MAX_SCHEMA_NAME)
		return LDR_OK;
	dlt_set_value(p, schema->name);
	return dlt_wrong(p, "name", "of at most 64 characters, as dlt has it");
}

/* Everything after the JSON itself. */
static LdrStatus
dlt_document(DltParse *p, json_t *root)
{
	LdrSchema  *schema = p->schema;
	LdrStatus	status;

	if (!json_is_object(root))
		return ldr_fail(p->err, LDR_BAD_SCHEMA, "the schema must be an object");
	if ((status = dlt_required_integer(p, root, "engine_version",
									   &schema->engine_version)) != LDR_OK)
		return status;
	if (schema->engine_version != LDR_ENGINE_VERSION &&
		(status = ldr_schema_check_keys(root, schema->engine_version, p->err)) != LDR_OK)
		return status;
	if ((status = dlt_name(p, root, schema)) != LDR_OK ||
		(status = dlt_required_integer(p, root, "version", &schema->version)) != LDR_OK ||
		(status = dlt_required_text(p, root, "version_hash", &schema->version_hash)) != LDR_OK ||
		(status = dlt_tables(p, root)) != LDR_OK ||
		(status = ldr_schema_build_index(schema, p->err)) != LDR_OK ||
		(status = dlt_own_tables(p)) != LDR_OK)
		return status;
	return dlt_chains(p);
}

LdrStatus
ldr_schema_parse(const char *json, size_t len, LdrSchema **out, LdrError *err)
{
	DltParse	p = {.err = err};
	json_t	   *root;
	LdrStatus	status;

	*out = NULL;
	status = ldr_json_load_bounded(json, len, JSON_REJECT_DUPLICATES, "schema", &root, err);
	if (status != LDR_OK)
		return status;

	p.schema = calloc(1, sizeof(*p.schema));
	status = p.schema == NULL ? dlt_no_memory(&p) : dlt_document(&p, root);
	free(p.own);
	json_decref(root);
	if (status != LDR_OK)
	{
		ldr_schema_free(p.schema);
		return status;
	}
	*out = p.schema;
	return LDR_OK;
}

void
ldr_schema_free(LdrSchema *schema)
{
	if (schema == NULL)
		return;
	for (int i = 0; i < schema->ntables; i++)
	{
		LdrSchemaTable *table = &schema->tables[i];

		for (int c = 0; c < table->ncolumns; c++)
		{
			free(table->columns[c].name);
			free(table->columns[c].active_timestamp);
		}
		free(table->columns);
		free(table->by_name);
		free(table->name);
		free(table->parent);
		free(table->resource);
		free(table->file_format);
		free(table->strategy);
		free(table->source_filter);
		free(table->destination_scope);
		free(table->boundary_timestamp);
	}
	free(schema->tables);
	free(schema->index);
	free(schema->name);
	free(schema->version_hash);
	free(schema);
}
