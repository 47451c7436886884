/*
 * test/fuzz/fuzz_schema.c: any bytes as schema.json.
 */
#include <stdlib.h>
#include <string.h>

#include "schema/schema.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted must hold together. */
static void
fuzz_use(const LdrSchema *schema)
{
	const LdrLiveTable none = {0};

	for (int i = 0; i < schema->ntables; i++)
	{
		const LdrSchemaTable *table = &schema->tables[i];
		LdrError	err = {0};
		LdrChange  *changes;
		int			n;

		if (ldr_schema_table(schema, table->name) != table || table->root->parent != NULL)
			abort();
		if (table->parent != NULL && ldr_schema_table(schema, table->parent)->root != table->root)
			abort();
		for (int c = 0; c < table->ncolumns; c++)
			if (ldr_schema_column(table, table->columns[c].name) != &table->columns[c])
				abort();
		if (ldr_schema_diff(table, &none, &changes, &n, &err) == LDR_OK)
			free(changes);
		else if (changes != NULL || err.message[0] == '\0')
			abort();
	}
}

/* What can be parsed can be described: all its tables, as if they were new. */
static void
fuzz_update(const char *json, size_t len, const LdrSchema *schema)
{
	LdrChange  *changes = calloc(schema->ntables + 1, sizeof(LdrChange));
	LdrError	err = {0};
	char	   *text;

	for (int i = 0; i < schema->ntables; i++)
		changes[i] = (LdrChange) {.kind = LDR_CREATE_TABLE, .table = &schema->tables[i]};
	if (ldr_schema_update(json, len, changes, schema->ntables, NULL, &text, &err) != LDR_OK ||
		text[0] != '{')
		abort();
	free(text);
	free(changes);
}

static bool
fuzz_keep(const char *table, void *arg)
{
	return arg != NULL || strlen(table) % 2 == 0;
}

/* A trimmed text trims to itself; with all tables kept, it is as good as the text it was. */
static void
fuzz_trim(const char *json, size_t len, void *all, bool accepted)
{
	LdrError	err = {0};
	LdrSchema  *schema;
	char	   *text;
	char	   *content;
	char	   *again;
	char	   *other;

	if (ldr_schema_trim(json, len, fuzz_keep, all, &text, &content, &err) != LDR_OK)
	{
		if (text != NULL || err.message[0] == '\0' || accepted)
			abort();
		return;
	}
	if (ldr_schema_trim(text, strlen(text), fuzz_keep, all, &again, &other, &err) != LDR_OK ||
		strcmp(text, again) != 0 || strcmp(content, other) != 0)
		abort();
	if (all != NULL && (ldr_schema_parse(text, strlen(text), &schema, &err) == LDR_OK) != accepted)
		abort();
	if (all != NULL)
		ldr_schema_free(schema);
	free(text);
	free(content);
	free(again);
	free(other);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LdrError	err = {0};
	LdrSchema  *schema;

	if (ldr_schema_parse((const char *) data, size, &schema, &err) == LDR_OK)
	{
		fuzz_use(schema);
		fuzz_update((const char *) data, size, schema);
	}
	else if (schema != NULL || err.message[0] == '\0')
		abort();
	fuzz_trim((const char *) data, size, NULL, schema != NULL);
	fuzz_trim((const char *) data, size, &err, schema != NULL);
	ldr_schema_free(schema);
	return 0;
}
