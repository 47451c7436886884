/*
 * test/unit/test_memory.c: no memory. What reads documents, rows and messages is given the corpus of
 * the fuzzers again and again, and each time another allocation fails: then it says so, or does
 * without, and gives back what it had (the sanitizer looks for leaks).
 *
 * The linker puts the functions below in the place of malloc and its like, in our own files; jansson is
 * told of them. While jansson parses, nothing fails: it does not survive that itself (2.14 writes to
 * where it got no memory).
 */
#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "reader/airbyte.h"
#include "reader/reader.h"
#include "reader/split.h"
#include "reader/window.h"
#include "schema/airbyte.h"
#include "schema/schema.h"
#include "source/archive.h"
#include "unit.h"

#define MEMORY_MAX_FILE (1 << 16)
/* of each file: so many failures at most, spread over all of its allocations */
#define MEMORY_FAILURES 400

extern void *__real_malloc(size_t size);
extern void *__real_calloc(size_t n, size_t size);
extern void *__real_realloc(void *p, size_t size);
extern char *__real_strdup(const char *s);
extern char *__real_strndup(const char *s, size_t n);
extern json_t *__real_json_loadb(const char *buf, size_t len, size_t flags, json_error_t *err);
extern json_t *__wrap_json_loadb(const char *buf, size_t len, size_t flags, json_error_t *err);
extern json_t *__real_json_loads(const char *text, size_t flags, json_error_t *err);
extern json_t *__wrap_json_loads(const char *text, size_t flags, json_error_t *err);
extern void *__wrap_malloc(size_t size);
extern void *__wrap_calloc(size_t n, size_t size);
extern void *__wrap_realloc(void *p, size_t size);
extern char *__wrap_strdup(const char *s);
extern char *__wrap_strndup(const char *s, size_t n);

static long memory_calls;
static long memory_fails_at;	/* 0: never */
static bool memory_parses;

static bool
memory_fails(void)
{
	return !memory_parses && ++memory_calls == memory_fails_at;
}

void *
__wrap_malloc(size_t size)
{
	return memory_fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return memory_fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return memory_fails() ? NULL : __real_realloc(p, size);
}

char *
__wrap_strdup(const char *s)
{
	return memory_fails() ? NULL : __real_strdup(s);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return memory_fails() ? NULL : __real_strndup(s, n);
}

json_t *
__wrap_json_loadb(const char *buf, size_t len, size_t flags, json_error_t *err)
{
	json_t	   *root;

	memory_parses = true;
	root = __real_json_loadb(buf, len, flags, err);
	memory_parses = false;
	return root;
}

json_t *
__wrap_json_loads(const char *text, size_t flags, json_error_t *err)
{
	json_t	   *root;

	memory_parses = true;
	root = __real_json_loads(text, flags, err);
	memory_parses = false;
	return root;
}

/* --- what is tried, with one input each; the status it ends with ------------------------------- */

typedef LdrStatus (*MemoryTry) (const char *data, size_t len);

static LdrStatus
memory_rows(LdrFormat format, const char *data, size_t len)
{
	static const LdrColumnName columns[] = {{"id", false}, {"name", false}, {"js", true}, {"b", false}};
	LdrReaderOptions options = {columns, 4, 0, false};
	LdrError	err = {0};
	LdrSource  *source = ldr_memory_source(data, len);
	LdrReader  *r;
	LdrRow		row;
	LdrStatus	status = LDR_OK;

	if (source == NULL)
		return LDR_OUT_OF_MEMORY;
	source = ldr_codec_source(source, &err);
	r = source != NULL ? ldr_reader_open(format, source, &options, &err) : NULL;
	while (r != NULL && status == LDR_OK)
		status = ldr_reader_next(r, &row, &err);
	ldr_reader_close(r);
	return r == NULL ? err.status : status;
}

/* The same by blocks. */
static LdrStatus
memory_blocks(LdrFormat format, const char *data, size_t len)
{
	static const LdrColumnName columns[] = {{"id", false}, {"name", false}, {"js", true}, {"b", false}};
	LdrReaderOptions options = {columns, 4, 0, false};
	static char buf[100 + LDR_BLOCK_SLACK];
	LdrError	err = {0};
	LdrSource  *source = ldr_memory_source(data, len);
	LdrReader  *r;
	LdrReader  *of_blocks = NULL;
	LdrBlock	block;
	LdrRow		row;
	LdrStatus	status = LDR_OK;

	if (source == NULL)
		return LDR_OUT_OF_MEMORY;
	source = ldr_codec_source(source, &err);
	r = source != NULL ? ldr_reader_open(format, source, &options, &err) : NULL;
	if (r != NULL)
		of_blocks = ldr_block_reader_open(format, &options, r->columns, r->ncolumns, &err);
	if (of_blocks == NULL)
		status = err.status;
	while (status == LDR_OK)
	{
		status = ldr_reader_split(r, buf, sizeof(buf) - LDR_BLOCK_SLACK, &block, &err);
		if (status == LDR_TOO_LONG)
			status = ldr_reader_next(r, &row, &err);
		else if (status == LDR_OK)
		{
			ldr_block_reader_begin(of_blocks, buf, &block);
			while ((status = ldr_reader_next(of_blocks, &row, &err)) == LDR_OK)
				;
			if (status == LDR_END)
				status = LDR_OK;
		}
	}
	ldr_reader_close(of_blocks);
	ldr_reader_close(r);
	return status;
}

static LdrStatus
memory_csv_blocks(const char *data, size_t len)
{
	return memory_blocks(LDR_CSV, data, len);
}

static LdrStatus
memory_jsonl_blocks(const char *data, size_t len)
{
	return memory_blocks(LDR_JSONL, data, len);
}

static LdrStatus
memory_insert_values_blocks(const char *data, size_t len)
{
	return memory_blocks(LDR_INSERT_VALUES, data, len);
}

static LdrStatus
memory_csv(const char *data, size_t len)
{
	return memory_rows(LDR_CSV, data, len);
}

static LdrStatus
memory_jsonl(const char *data, size_t len)
{
	return memory_rows(LDR_JSONL, data, len);
}

static LdrStatus
memory_insert_values(const char *data, size_t len)
{
	return memory_rows(LDR_INSERT_VALUES, data, len);
}

static LdrStatus
memory_messages(const char *data, size_t len)
{
	static const LdrColumnName users[] = {{"id", false}, {"Name", false}, {"js", true}};
	static const LdrMessageStream streams[] = {{"users", NULL, users, 3}, {"x", "ns", NULL, 0}};
	LdrError	err = {0};
	LdrSource  *source = ldr_memory_source(data, len);
	LdrAirbyteReader *r = source != NULL ? ldr_airbyte_open(source, streams, 2, &err) : NULL;
	LdrMessage	m;
	LdrStatus	status = LDR_OK;

	if (source == NULL)
		return LDR_OUT_OF_MEMORY;
	while (r != NULL && status == LDR_OK)
		status = ldr_airbyte_next(r, &m, &err);
	ldr_airbyte_close(r);
	return r == NULL ? err.status : status;
}

static bool
memory_keep(const char *table, void *arg)
{
	(void) arg;
	return strlen(table) % 2 == 0;
}

static LdrStatus
memory_schema(const char *data, size_t len)
{
	const LdrLiveTable none = {0};
	LdrError	err = {0};
	LdrSchema  *schema;
	LdrStatus	status = ldr_schema_parse(data, len, &schema, &err);

	for (int i = 0; status == LDR_OK && i < schema->ntables; i++)
	{
		LdrChange  *changes;
		char	   *text;
		int			n;

		status = ldr_schema_diff(&schema->tables[i], &none, &changes, &n, &err);
		if (status == LDR_OK &&
			(status = ldr_schema_update(data, len, changes, n, NULL, &text, &err)) == LDR_OK)
			free(text);
		free(changes);
	}
	ldr_schema_free(schema);
	return status;
}

static LdrStatus
memory_trim(const char *data, size_t len)
{
	LdrError	err = {0};
	char	   *text;
	char	   *content;
	LdrStatus	status = ldr_schema_trim(data, len, memory_keep, NULL, &text, &content, &err);

	free(text);
	free(content);
	return status;
}

static LdrStatus
memory_state(const char *data, size_t len)
{
	LdrError	err = {0};
	LdrPackageState *state;
	LdrStatus	status = ldr_package_state_parse(data, len, &state, &err);

	ldr_package_state_free(state);
	return status;
}

static LdrStatus
memory_catalog(const char *data, size_t len)
{
	LdrError	err = {0};
	LdrAirbyteCatalog *catalog;
	LdrStatus	status = ldr_airbyte_catalog_parse(data, len, NULL, &catalog, &err);

	ldr_airbyte_catalog_free(catalog);
	return status;
}

static LdrStatus
memory_config(const char *data, size_t len)
{
	LdrError	err = {0};
	LdrAirbyteConfig *config;
	LdrStatus	status = ldr_airbyte_config_parse(data, len, LDR_CONFIG_IN_SESSION, &config, &err);

	ldr_airbyte_config_free(config);
	return status;
}

static LdrStatus
memory_archive(const char *data, size_t len)
{
	LdrError	err = {0};
	LdrSource  *source = ldr_memory_source(data, len);
	LdrArchive *a;
	LdrMember	member;
	LdrStatus	status = LDR_OK;

	if (source == NULL)
		return LDR_OUT_OF_MEMORY;
	source = ldr_codec_source(source, &err);
	a = source != NULL ? ldr_archive_open(source, &err) : NULL;
	while (a != NULL && status == LDR_OK)
	{
		const char *bytes;
		ssize_t		got = 0;

		status = ldr_archive_next(a, &member, &err);
		while (status == LDR_OK && member.kind != LDR_MEMBER_SKIPPED &&
			   (got = ldr_archive_read(a, &bytes, &err)) > 0)
			;
		if (got < 0)
			status = err.status;
	}
	if (a != NULL)
		ldr_archive_close(a);
	return a == NULL ? err.status : status;
}

static const struct
{
	const char *corpus;
	MemoryTry	try;
}			memory_tries[] = {
	{"csv", memory_csv}, {"jsonl", memory_jsonl}, {"insert_values", memory_insert_values},
	{"csv", memory_csv_blocks}, {"jsonl", memory_jsonl_blocks},
	{"insert_values", memory_insert_values_blocks},
	{"codec", memory_csv}, {"airbyte", memory_messages}, {"schema", memory_schema},
	{"schema", memory_trim}, {"schema", memory_state}, {"airbyte_catalog", memory_catalog},
	{"airbyte_catalog", memory_config}, {"archive", memory_archive},
};

/* --- the corpus --------------------------------------------------------------------------------- */

static void
memory_file(MemoryTry try, const char *path, const char *data, size_t len)
{
	LdrStatus	whole;
	long		n;
	long		step;

	memory_calls = memory_fails_at = 0;
	whole = try(data, len);
	n = memory_calls;
	step = n / MEMORY_FAILURES + 1;
	for (long i = 1; i <= n; i += step)
	{
		LdrStatus	status;

		memory_calls = 0;
		memory_fails_at = i;
		status = try(data, len);
		CHECK_MSG(memory_calls >= i && (status == LDR_OUT_OF_MEMORY || status == whole),
				  "%s: allocation %ld of %ld fails, and the status is %d, not %d", path, i, n,
				  (int) status, (int) LDR_OUT_OF_MEMORY);
	}
	memory_fails_at = 0;
}

static void
memory_corpus(const char *name, MemoryTry try)
{
	static char data[MEMORY_MAX_FILE];
	char		path[4096];
	DIR		   *dir;
	struct dirent *entry;
	int			files = 0;

	snprintf(path, sizeof(path), "../fuzz/corpus/%s", name);
	if (!CHECK_MSG((dir = opendir(path)) != NULL, "%s: no corpus", path))
		return;
	while ((entry = readdir(dir)) != NULL)
	{
		FILE	   *f;
		size_t		len;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "../fuzz/corpus/%s/%s", name, entry->d_name);
		if (!CHECK_MSG((f = fopen(path, "rb")) != NULL, "%s: cannot be read", path))
			continue;
		len = fread(data, 1, sizeof(data), f);
		fclose(f);
		memory_file(try, path, data, len);
		files++;
	}
	closedir(dir);
	CHECK_MSG(files > 0, "%s: nothing in it", name);
}

int
main(void)
{
	json_set_alloc_funcs(__wrap_malloc, free);
	ldr_reader_limits.window = 64;	/* so that it grows */
	for (size_t i = 0; i < sizeof(memory_tries) / sizeof(memory_tries[0]); i++)
		memory_corpus(memory_tries[i].corpus, memory_tries[i].try);
	return unit_report("test_memory");
}
