/*
 * schema/update.c: changes of tables as dlt describes them: its tables, each as its schema has it,
 * with only the columns that are new. No postgres.h.
 *
 * Works on the JSON tree, not on LdrSchema: whatever a table or a column says is handed on, in the
 * order of the document. A table gets what it inherits from its ancestors, as dlt's loader sees it.
 */
#include "json.h"
#include <stdlib.h>
#include <string.h>

#include "schema/names.h"

typedef struct UpdateBuild
{
	json_t	   *tables;			/* of the document */
	json_t	   *update;			/* what comes out */
	const char *replace_strategy;
} UpdateBuild;

/* A hint of the table or, if it does not have the key, of its nearest ancestor that does. */
static json_t *
update_hint(const UpdateBuild *b, json_t *table, const char *key)
{
	/* the schema was parsed before, so no table is its own ancestor */
	while (table != NULL && json_object_get(table, key) == NULL)
	{
		const char *parent = json_string_value(json_object_get(table, "parent"));

		table = parent == NULL || parent[0] == '\0' ? NULL : json_object_get(b->tables, parent);
	}
	return table == NULL ? NULL : json_object_get(table, key);
}

/* False: memory is out. */
static bool
update_set_text(json_t *object, const char *key, const char *text)
{
	return json_object_set_new(object, key, json_string_nocheck(text)) == 0;
}

/* A root table that does not say them has these. */
static bool
update_root_defaults(json_t *table, const char *name)
{
	const char *parent = json_string_value(json_object_get(table, "parent"));
	json_t	   *disposition = json_object_get(table, "write_disposition");
	json_t	   *resource = json_object_get(table, "resource");

	if (parent != NULL && parent[0] != '\0')
		return true;
	return ((disposition != NULL && !json_is_null(disposition)) ||
			update_set_text(table, "write_disposition", "append")) &&
		((resource != NULL && !json_is_null(resource)) ||
		 update_set_text(table, "resource", name));
}

/* What dlt fills in before it loads into a table. */
static bool
update_inherited(const UpdateBuild *b, json_t *own, json_t *table)
{
	static const char *const keys[] = {"write_disposition", "table_format", "file_format",
	"x-merge-strategy"};
	const char *text;
	json_t	   *hint;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		hint = update_hint(b, own, keys[i]);
		if (json_object_get(table, keys[i]) == NULL && hint != NULL && !json_is_null(hint) &&
			json_object_set(table, keys[i], hint) != 0)
			return false;
	}
	text = json_string_value(json_object_get(table, "table_format"));
	if (text != NULL && strcmp(text, "native") == 0 &&
		json_object_set_new(table, "table_format", json_null()) != 0)
		return false;

	text = json_string_value(json_object_get(table, "write_disposition"));
	if (text == NULL || strcmp(text, "replace") != 0)
		return true;
	hint = update_hint(b, own, "x-replace-strategy");
	if (b->replace_strategy != NULL)
		return update_set_text(table, "x-replace-strategy", b->replace_strategy);
	if (json_is_string(hint))
		return json_object_set(table, "x-replace-strategy", hint) == 0;
	return update_set_text(table, "x-replace-strategy", "truncate-and-insert");
}

/* The table's entry in the update, without columns at first. NULL: memory is out. */
static json_t *
update_table(UpdateBuild *b, const char *name)
{
	json_t	   *own = json_object_get(b->tables, name);
	json_t	   *table = json_object_get(b->update, name);

	if (table != NULL)
		return table;
	table = json_copy(own);		/* shares what is in it */
	if (table == NULL || json_object_set_new(b->update, name, table) != 0 ||
		!update_set_text(table, "name", name) ||
		!update_root_defaults(table, name) || !update_inherited(b, own, table) ||
		json_object_set_new(table, "columns", ldr_json_object()) != 0)
		return NULL;
	return table;
}

static bool
update_column(UpdateBuild *b, const LdrSchemaTable *in, const LdrSchemaColumn *column)
{
	json_t	   *table = update_table(b, in->name);
	json_t	   *own = json_object_get(json_object_get(b->tables, in->name), "columns");
	json_t	   *copy = table == NULL ? NULL : json_copy(json_object_get(own, column->name));

	/* takes over the copy, also if it fails */
	return copy != NULL &&
		json_object_set_new(json_object_get(table, "columns"), column->name, copy) == 0 &&
		update_set_text(copy, "name", column->name);
}

static bool
update_change(UpdateBuild *b, const LdrChange *change)
{
	if (change->kind == LDR_ADD_COLUMN)
		return update_column(b, change->table, change->column);
	for (int i = 0; change->kind == LDR_CREATE_TABLE && i < change->table->ncolumns; i++)
		if (change->table->columns[i].type != LDR_TYPE_NONE &&
			!update_column(b, change->table, &change->table->columns[i]))
			return false;
	return true;
}

LdrStatus
ldr_schema_update(const char *json, size_t len, const LdrChange *changes, int nchanges,
				  const char *replace_strategy, char **out, LdrError *err)
{
	UpdateBuild b = {.replace_strategy = replace_strategy};
	json_t	   *root;
	bool		built;
	LdrStatus	status;

	*out = NULL;
	status = ldr_json_load_bounded(json, len, JSON_REJECT_DUPLICATES, "schema", &root, err);
	if (status != LDR_OK)
		return status;
	b.tables = json_object_get(root, "tables");
	b.update = ldr_json_object();
	built = b.update != NULL;
	for (int i = 0; i < nchanges && built; i++)
		built = update_change(&b, &changes[i]);
	if (built)
		*out = json_dumps(b.update, 0);
	json_decref(b.update);
	json_decref(root);
	return *out != NULL ? LDR_OK : ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
}
