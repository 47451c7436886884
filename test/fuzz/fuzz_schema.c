/*
 * test/fuzz/fuzz_schema.c: any bytes as schema.json and as load_package_state.json.
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	LdrError	err = {0};
	LdrSchema  *schema;
	LdrPackageState *state;

	if (ldr_schema_parse((const char *) data, size, &schema, &err) == LDR_OK)
		fuzz_use(schema);
	else if (schema != NULL || err.message[0] == '\0')
		abort();
	ldr_schema_free(schema);

	memset(&err, 0, sizeof(err));
	if (ldr_package_state_parse((const char *) data, size, &state, &err) != LDR_OK &&
		(state != NULL || err.message[0] == '\0'))
		abort();
	ldr_package_state_free(state);
	return 0;
}
