/*
 * schema/names.c: what the parsers of src/schema share: loading JSON within bounds, names that can
 * be used, keys that are known, finding things by name. No postgres.h.
 *
 * Tables and columns stay in the order of the document; beside each array lies an order by name,
 * which is what the look-ups search.
 */
#include "schema/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The longest part of one name that a message shows. */
#define NAMES_SHOWN 48

static const char *const keys_schema[] = {
	"version", "version_hash", "previous_hashes", "imported_version_hash", "engine_version",
	"name", "description", "settings", "tables", "normalizers", NULL
};

static const char *const keys_table[] = {
	"name", "description", "schema_contract", "table_sealed", "parent", "filters", "columns",
	"resource", "table_format", "file_format", "variant_name", "write_disposition", "references",
	NULL
};

static const char *const keys_column[] = {
	"name", "description", "data_type", "precision", "scale", "timezone", "nullable", "variant",
	"partition", "cluster", "primary_key", "sort", "unique", "merge_key", "row_key", "parent_key",
	"root_key", "hard_delete", "dedup_sort", "incremental", NULL
};

/*
 * jansson's allocator while a tree is loaded: the budget, and what to call. jansson has one for
 * the whole process, and so have we; nothing here runs in threads.
 */
static size_t json_budget;
static bool json_over_budget;
static json_malloc_t json_real_malloc;

static void *
json_malloc_bounded(size_t size)
{
	if (size > json_budget)
	{
		json_over_budget = true;
		return NULL;
	}
	json_budget -= size;
	return json_real_malloc(size);
}

/*
 * Parse a document, what is its name for messages. A tree can be a hundred times as large as its
 * text ("[[],[],..."), so its size is bounded; what is freed on the way is not given back, which
 * only makes the bound a little narrower. On failure *root is NULL.
 */
LdrStatus
ldr_json_load_bounded(const char *json, size_t len, size_t flags, const char *what,
					  json_t **root, LdrError *err)
{
	json_error_t jerr;
	json_free_t real_free;

	*root = NULL;
	/* the library passes over those behind a value, and whoever takes the text for one stops there */
	if (memchr(json, '\0', len) != NULL)
		return ldr_fail(err, LDR_BAD_JSON, "invalid JSON in the %s: it contains a zero byte", what);
	json_get_alloc_funcs(&json_real_malloc, &real_free);
	json_budget = LDR_MAX_JSON_MEMORY;
	json_over_budget = false;
	json_set_alloc_funcs(json_malloc_bounded, real_free);
	*root = json_loadb(json, len, flags, &jerr);
	json_set_alloc_funcs(json_real_malloc, real_free);
	if (*root != NULL)
		return LDR_OK;

	if (json_over_budget)
		return ldr_fail(err, LDR_TOO_LONG, "the %s needs more than %d MB of memory", what,
						LDR_MAX_JSON_MEMORY >> 20);
	/* jansson does not always say that memory was out: then it may say nothing */
	if (json_error_code(&jerr) == json_error_out_of_memory || jerr.text[0] == '\0')
		return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
	err->line = jerr.line > 0 ? jerr.line : 0;
	/* the library's own words would name a flag of its interface */
	if (json_error_code(&jerr) == json_error_null_character)
		return ldr_fail(err, LDR_BAD_JSON, "invalid JSON in the %s: \\u0000 is not allowed", what);
	return ldr_fail(err, LDR_BAD_JSON, "invalid JSON in the %s: %s", what, jerr.text);
}

/*
 * Can this be an identifier as it stands? PostgreSQL would cut a longer one silently. A zero byte
 * cannot occur: it ends the string, and the JSON parser refuses it.
 */
bool
ldr_name_usable(const char *name)
{
	return name[0] != '\0' && strlen(name) <= LDR_MAX_NAME;
}

/* Equal but for the case of ASCII letters, whatever the locale. */
bool
ldr_name_same(const char *a, const char *b)
{
	for (; *a != '\0' && *b != '\0'; a++, b++)
	{
		int			x = *a >= 'A' && *a <= 'Z' ? *a - 'A' + 'a' : *a;
		int			y = *b >= 'A' && *b <= 'Z' ? *b - 'A' + 'a' : *b;

		if (x != y)
			return false;
	}
	return *a == *b;
}

/*
 * Add "table.name" (or just the name if table is NULL) to the list. Once one does not fit the
 * others are counted only, so that the list never shows a name from the middle of it.
 */
void
ldr_name_list_add(LdrNameList *list, const char *table, const char *name)
{
	/* leaves room for " and 2147483647 more" */
	const size_t room = sizeof(list->text) - 24;
	char		shown[NAMES_SHOWN];
	char		owner[NAMES_SHOWN];
	char		item[2 * NAMES_SHOWN + 8];
	int			n;

	if (list->total++ > list->shown)
		return;
	ldr_excerpt(shown, sizeof(shown), name, strlen(name));
	if (table != NULL)
	{
		ldr_excerpt(owner, sizeof(owner), table, strlen(table));
		n = snprintf(item, sizeof(item), "\"%s.%s\"", owner, shown);
	}
	else
		n = snprintf(item, sizeof(item), "\"%s\"", shown);

	if (list->len + n + 2 > room)
		return;
	if (list->len > 0)
	{
		memcpy(list->text + list->len, ", ", 2);
		list->len += 2;
	}
	memcpy(list->text + list->len, item, n + 1);
	list->len += n;
	list->shown++;
}

/* The list as text, with the number of those that are not shown. Call it once, at the end. */
const char *
ldr_name_list_text(LdrNameList *list)
{
	if (list->total > list->shown)
		snprintf(list->text + list->len, sizeof(list->text) - list->len, " and %d more",
				 list->total - list->shown);
	return list->text;
}

/* Keys that begin with "x-" are hints, which dlt hands through. */
static bool
keys_known(const char *key, const char *const *known)
{
	if (strncmp(key, "x-", 2) == 0)
		return true;
	for (int i = 0; known[i] != NULL; i++)
		if (strcmp(known[i], key) == 0)
			return true;
	return false;
}

/* Add the unknown keys of an object to the list, each once: seen holds those that are in it. */
static LdrStatus
keys_collect(json_t *object, const char *const *known, json_t *seen, LdrNameList *list,
			 LdrError *err)
{
	for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at))
	{
		const char *key = json_object_iter_key(at);

		if (keys_known(key, known) || json_object_get(seen, key) != NULL)
			continue;
		if (json_object_set_new(seen, key, json_true()) != 0)
			return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
		ldr_name_list_add(list, NULL, key);
	}
	return LDR_OK;
}

/* The same for the whole document. What is not an object has no keys; the parse complains of it. */
static LdrStatus
keys_collect_all(json_t *root, json_t *seen, LdrNameList *list, LdrError *err)
{
	LdrStatus	status = keys_collect(root, keys_schema, seen, list, err);
	const char *name;
	json_t	   *table;

	json_object_foreach(json_object_get(root, "tables"), name, table)
	{
		const char *column_name;
		json_t	   *column;

		if (status == LDR_OK)
			status = keys_collect(table, keys_table, seen, list, err);
		json_object_foreach(json_object_get(table, "columns"), column_name, column)
			if (status == LDR_OK)
				status = keys_collect(column, keys_column, seen, list, err);
	}
	return status;
}

/*
 * LDR_UNKNOWN_KEY if the document has a key that engine version LDR_ENGINE_VERSION has not. To be
 * asked only for another version: adapters add keys of their own to schemas of the one we know.
 */
LdrStatus
ldr_schema_check_keys(json_t *root, int64_t engine_version, LdrError *err)
{
	LdrNameList unknown = {0};
	json_t	   *seen = ldr_json_object();
	LdrStatus	status;

	if (seen == NULL)
		return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
	status = keys_collect_all(root, seen, &unknown, err);
	json_decref(seen);
	if (status != LDR_OK || unknown.total == 0)
		return status;
	snprintf(err->hint, sizeof(err->hint),
			 "Engine version %d is supported in full, others as far as their keys are known.",
			 LDR_ENGINE_VERSION);
	return ldr_fail(err, LDR_UNKNOWN_KEY, "schema of engine version %lld has unknown keys: %s",
					(long long) engine_version, ldr_name_list_text(&unknown));
}

static int
names_compare_tables(const void *a, const void *b)
{
	return strcmp((*(LdrSchemaTable *const *) a)->name, (*(LdrSchemaTable *const *) b)->name);
}

static int
names_compare_columns(const void *a, const void *b)
{
	return strcmp((*(LdrSchemaColumn *const *) a)->name, (*(LdrSchemaColumn *const *) b)->name);
}

/* Build the order by name of one table's columns. */
static bool
names_index_columns(LdrSchemaTable *table)
{
	if (table->ncolumns == 0)
		return true;
	table->by_name = malloc(table->ncolumns * sizeof(*table->by_name));
	if (table->by_name == NULL)
		return false;
	for (int i = 0; i < table->ncolumns; i++)
		table->by_name[i] = &table->columns[i];
	qsort(table->by_name, table->ncolumns, sizeof(*table->by_name), names_compare_columns);
	return true;
}

/*
 * Build schema->index and each table's by_name. The arrays must not move afterwards. What was
 * built is freed with the schema, also if this fails.
 */
LdrStatus
ldr_schema_build_index(LdrSchema *schema, LdrError *err)
{
	LdrSchemaTable **order = malloc((schema->ntables + 1) * sizeof(*order));

	if (order == NULL)
		return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
	schema->index = order;
	for (int i = 0; i < schema->ntables; i++)
	{
		order[i] = &schema->tables[i];
		if (!names_index_columns(order[i]))
			return ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
	}
	qsort(order, schema->ntables, sizeof(*order), names_compare_tables);
	return LDR_OK;
}

LdrSchemaTable *
ldr_schema_table(const LdrSchema *schema, const char *name)
{
	LdrSchemaTable key = {.name = (char *) name};
	LdrSchemaTable *keyp = &key;
	LdrSchemaTable **found;

	if (schema->ntables == 0)
		return NULL;
	found = bsearch(&keyp, schema->index, schema->ntables, sizeof(keyp), names_compare_tables);
	return found == NULL ? NULL : *found;
}

/* A table that somebody put together by hand has no order by name: then look through them all. */
LdrSchemaColumn *
ldr_schema_column(const LdrSchemaTable *table, const char *name)
{
	LdrSchemaColumn key = {.name = (char *) name};
	LdrSchemaColumn *keyp = &key;
	LdrSchemaColumn **found;

	if (table->by_name == NULL)
	{
		for (int i = 0; i < table->ncolumns; i++)
			if (strcmp(table->columns[i].name, name) == 0)
				return &table->columns[i];
		return NULL;
	}
	found = bsearch(&keyp, table->by_name, table->ncolumns, sizeof(keyp), names_compare_columns);
	return found == NULL ? NULL : *found;
}
