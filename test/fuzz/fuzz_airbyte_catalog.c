/*
 * test/fuzz/fuzz_airbyte_catalog.c: any bytes as the configured catalog of an Airbyte sync.
 */
#include <stdlib.h>
#include <string.h>

#include "schema/airbyte.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A position among the columns. */
static void
fuzz_use_column(const LdrStream *s, int column)
{
	if (column < 0 || column >= s->ncolumns)
		abort();
}

/* What was accepted must hold together. */
static void
fuzz_use_stream(const LdrStream *s, const LdrAirbyteChoice *choice)
{
	if (s->name[0] == '\0' || (s->name_space != NULL && s->name_space[0] == '\0') ||
		s->ncolumns > LDR_STREAM_MAX_COLUMNS || s->dataset != NULL || s->table != NULL)
		abort();
	for (int i = 0; i < s->ncolumns; i++)
	{
		if (s->columns[i].name != NULL || ldr_stream_type_name(s->columns[i].type)[0] == '\0')
			abort();
		for (int k = 0; k < i; k++)
			if (strcmp(s->columns[i].property, s->columns[k].property) == 0)
				abort();
	}
	if ((s->mode == LDR_STREAM_APPEND_DEDUP) != (s->nkeys > 0))
		abort();
	for (int i = 0; i < s->nkeys; i++)
	{
		fuzz_use_column(s, s->keys[i]);
		for (int k = 0; k < i; k++)
			if (s->keys[i] == s->keys[k])
				abort();
	}
	if (s->cursor != -1)
		fuzz_use_column(s, s->cursor);
	if (s->deleted != -1)
		fuzz_use_column(s, s->deleted);
	if (s->minimum_generation_id != LDR_NO_ID && s->minimum_generation_id != 0 &&
		s->minimum_generation_id != s->generation_id)
		abort();
	if (choice != NULL && (!s->full_refresh || s->mode == LDR_STREAM_OVERWRITE))
		abort();
}

/* Returns how many streams there are; -1: it was refused. */
static int
fuzz_catalog(const uint8_t *data, size_t size, const LdrAirbyteChoice *choice)
{
	LdrError	err = {0};
	LdrAirbyteCatalog *catalog;
	int			n;

	if (ldr_airbyte_catalog_parse((const char *) data, size, choice, &catalog, &err) != LDR_OK)
	{
		if (catalog != NULL || err.message[0] == '\0' || err.hint[0] == '\0')
			abort();
		return -1;
	}
	n = catalog->nstreams;
	if (n == 0 || err.status != LDR_OK)
		abort();
	for (int i = 0; i < n; i++)
		fuzz_use_stream(&catalog->streams[i], choice);
	ldr_airbyte_catalog_free(catalog);
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const LdrAirbyteChoice choice = {.write_strategy = "merge", .force_full_refresh = true};
	int			n = fuzz_catalog(data, size, NULL);
	int			chosen = fuzz_catalog(data, size, &choice);

	if (n >= 0 && chosen >= 0 && n != chosen)
		abort();
	return 0;
}
