/*
 * test/unit/test_trim.c: the text of a schema without some of its tables.
 */
#include <jansson.h>
#include <stdlib.h>

#include "schema/schema.h"
#include "unit.h"

#define OWN "\"_dlt_version\":{\"columns\":{}},\"_dlt_loads\":{\"columns\":{}}"

/* The same, when the content is of no interest: it comes with the text, or not at all. */
static LdrStatus
trim(const char *json, size_t len, bool (*keep) (const char *table, void *arg), void *arg,
	 char **text, LdrError *err)
{
	char	   *content;
	LdrStatus	status = ldr_schema_trim(json, len, keep, arg, text, &content, err);

	CHECK((*text == NULL) == (content == NULL));
	free(content);
	return status;
}

/* Keep the tables whose names are in the text, each followed by a blank; note who is asked. */
typedef struct Wanted
{
	const char *names;
	char		asked[64];
} Wanted;

static bool
wanted(const char *table, void *arg)
{
	Wanted	   *w = arg;
	char		item[80];

	snprintf(item, sizeof(item), "%.60s ", table);
	if (strlen(w->asked) + strlen(item) < sizeof(w->asked))
		strcat(w->asked, item);
	return strstr(w->names, item) != NULL;
}

typedef struct TrimCase
{
	const char *json;
	const char *keep;
	LdrStatus	status;
	const char *text;			/* or a part of the message */
	const char *asked;
} TrimCase;

static const TrimCase cases[] = {
	/* the rest stays as it is and where it is, blanks go */
	{"{ \"version\" : 3,\n\"tables\":{\"b\":{\"z\":1,\"a\":[ ]}, " OWN ",\"c\":{},\"a\":{}},"
		"\"name\":\"s\"}", "b a ", LDR_OK,
		"{\"version\":3,\"tables\":{\"b\":{\"z\":1,\"a\":[]}," OWN ",\"a\":{}},"
	"\"name\":\"s\"}", "b c a "},
	{"{\"tables\":{\"b\":{}," OWN ",\"a\":{}}}", "", LDR_OK, "{\"tables\":{" OWN "}}", "b a "},
	/* dlt's own, in any case, are not asked for */
	{"{\"tables\":{\"_DLT_VERSION\":{},\"_Dlt_Loads\":1,\"_dlt_pipeline_state\":[],"
		"\"_dlt_pipeline_STATE\":null}}", "", LDR_OK,
		"{\"tables\":{\"_DLT_VERSION\":{},\"_Dlt_Loads\":1,\"_dlt_pipeline_state\":[],"
	"\"_dlt_pipeline_STATE\":null}}", ""},
	{"{\"tables\":{\"_dlt_version_\":{},\"_dlt_load\":{},\"dlt_loads\":{},\"\":{}}}", "", LDR_OK,
	"{\"tables\":{}}", "_dlt_version_ _dlt_load dlt_loads  "},
	{"{\"tables\":{}}", "", LDR_OK, "{\"tables\":{}}", ""},
	/* text and numbers mean the same afterwards */
	{"{\"tables\":{\"\\u00e9\":{\"x\":\"\\u00e9\\ud83d\\ude00\\\\ \\\"\\/\\n\\u001f\"}}}",
		"\xc3\xa9 ", LDR_OK,
		"{\"tables\":{\"\xc3\xa9\":{\"x\":\"\xc3\xa9\xf0\x9f\x98\x80\\\\ \\\"/\\n\\u001F\"}}}",
	"\xc3\xa9 "},
	{"{\"tables\":{},\"n\":[9223372036854775807,-1,0.5,1e3,true,null]}", "", LDR_OK,
	"{\"tables\":{},\"n\":[9223372036854775807,-1,0.5,1000.0,true,null]}", ""},
	/* what is no schema */
	{"", "", LDR_BAD_JSON, "invalid JSON in the schema", ""},
	{"{\"tables\":{}", "", LDR_BAD_JSON, "invalid JSON in the schema", ""},
	{"{\"tables\":{}} x", "", LDR_BAD_JSON, "invalid JSON in the schema", ""},
	{"{\"tables\":{\"a\":{},\"a\":{}}}", "", LDR_BAD_JSON, "duplicate", ""},
	{"{\"tables\":{\"a\\u0000b\":{}}}", "", LDR_BAD_JSON, NULL, ""},
	{"{\"tables\":{\"\xff\":{}}}", "", LDR_BAD_JSON, NULL, ""},
	{"{\"tables\":{},\"n\":99999999999999999999}", "", LDR_BAD_JSON, NULL, ""},
	{"[]", "", LDR_BAD_SCHEMA, "must be an object", ""},
	{"[{\"tables\":{}}]", "", LDR_BAD_SCHEMA, "must be an object", ""},
	{"{}", "", LDR_BAD_SCHEMA, "\"tables\" of the schema must be an object", ""},
	{"{\"tables\":null}", "", LDR_BAD_SCHEMA, "\"tables\"", ""},
	{"{\"tables\":[\"a\"]}", "", LDR_BAD_SCHEMA, "\"tables\"", ""}
};

static void
test_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const TrimCase *c = &cases[i];
		Wanted		w = {.names = c->keep};
		LdrError	err = {0};
		char	   *text;
		LdrStatus	status = trim(c->json, strlen(c->json), wanted, &w, &text, &err);

		CHECK_MSG(status == c->status, "case %zu: status %d (%s)", i, status, err.message);
		CHECK_MSG((text != NULL) == (status == LDR_OK), "case %zu: output", i);
		if (text != NULL)
			CHECK_MSG(strcmp(text, c->text) == 0, "case %zu: %s", i, text);
		else if (c->text != NULL)
			CHECK_MSG(strstr(err.message, c->text) != NULL, "case %zu: %s", i, err.message);
		CHECK_MSG(strcmp(w.asked, c->asked) == 0, "case %zu: asked for \"%s\"", i, w.asked);
		free(text);
	}
}

/* Every shorter text is broken JSON, and nothing is left of it. */
static void
test_cut(void)
{
	const char *json = cases[0].json;

	for (size_t len = 0; len < strlen(json); len++)
	{
		Wanted		w = {.names = ""};
		LdrError	err = {0};
		char	   *copy = malloc(len + 1);
		char	   *text;

		memcpy(copy, json, len);
		CHECK_MSG(trim(copy, len, wanted, &w, &text, &err) == LDR_BAD_JSON &&
				  text == NULL, "cut at %zu", len);
		free(copy);
	}
}

/* The same bounds as for the parse: a small text whose tree would be huge. */
static void
test_bloated(void)
{
	const size_t n = 16 * 1024 * 1024;
	char	   *json = malloc(n + 1);
	Wanted		w = {.names = ""};
	LdrError	err = {0};
	char	   *text;

	for (size_t i = 0; i < n; i++)
		json[i] = "{},"[i % 3];
	json[0] = '[';
	json[1] = ' ';
	json[2] = ' ';
	json[n] = '\0';
	CHECK(trim(json, n, wanted, &w, &text, &err) == LDR_TOO_LONG && text == NULL);
	memset(json, '[', n);
	CHECK(trim(json, n, wanted, &w, &text, &err) == LDR_BAD_JSON && text == NULL);
	free(json);
}

static bool
keep_even(const char *table, void *arg)
{
	(*(int *) arg)++;
	return (table[strlen(table) - 1] - '0') % 2 == 0;
}

/* Half of 20,000 tables go; those that stay are in their order. */
static void
test_many(void)
{
	const int	n = 20000;
	char	   *json = malloc((size_t) n * 40 + 100);
	char	   *want = malloc((size_t) n * 40 + 100);
	char	   *at = json + sprintf(json, "{\"tables\":{" OWN);
	char	   *wat = want + sprintf(want, "{\"tables\":{" OWN);
	int			asked = 0;
	LdrError	err = {0};
	char	   *text;

	for (int i = 0; i < n; i++)
	{
		at += sprintf(at, ",\"t%d\":{\"columns\":{}}", i);
		if (i % 2 == 0)
			wat += sprintf(wat, ",\"t%d\":{\"columns\":{}}", i);
	}
	strcpy(at, "}}");
	strcpy(wat, "}}");
	CHECK_INT(trim(json, strlen(json), keep_even, &asked, &text, &err), LDR_OK);
	CHECK(text != NULL && strcmp(text, want) == 0);
	CHECK_INT(asked, n);
	free(text);
	free(json);
	free(want);
}

/* Memory runs out at the n-th call of the JSON library. */
static int	calls_left;

static void *
failing_malloc(size_t size)
{
	return calls_left-- > 0 ? malloc(size) : NULL;
}

static void
test_no_memory(void)
{
	const char *json = cases[0].json;
	json_malloc_t old_malloc;
	json_free_t old_free;
	LdrStatus	status = LDR_OUT_OF_MEMORY;

	json_get_alloc_funcs(&old_malloc, &old_free);
	json_set_alloc_funcs(failing_malloc, free);
	for (int n = 0; status != LDR_OK && n < 1000; n++)
	{
		Wanted		w = {.names = "a "};
		LdrError	err = {0};
		char	   *text;

		calls_left = n;
		status = trim(json, strlen(json), wanted, &w, &text, &err);
		CHECK_MSG((text != NULL) == (status == LDR_OK) && err.status == status,
				  "memory for %d: status %d (%s)", n, status, err.message);
		free(text);
	}
	CHECK_INT(status, LDR_OK);
	json_set_alloc_funcs(old_malloc, old_free);
}

static bool
keep_all(const char *table, void *arg)
{
	(void) table;
	(void) arg;
	return true;
}

/* Versions and the order of keys make no other content; anything else does. */
static void
test_content(void)
{
	static const struct
	{
		const char *json;
		bool		same;
	}			cases[] = {
		{"{\"version\":1,\"tables\":{\"a\":{\"x\":1,\"y\":2}},\"name\":\"s\"}", true},
		{"{\"version\":2,\"version_hash\":\"h\",\"imported_version_hash\":null,"
		"\"previous_hashes\":[1],\"name\":\"s\",\"tables\":{\"a\":{\"y\":2,\"x\":1}}}", true},
		{"{\"tables\":{\"a\":{\"x\":1,\"y\":3}},\"name\":\"s\"}", false},
		{"{\"tables\":{\"a\":{\"x\":1,\"y\":2}},\"name\":\"t\"}", false}
	};
	char	   *first = NULL;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		LdrError	err = {0};
		char	   *text;
		char	   *content;

		CHECK_INT(ldr_schema_trim(cases[i].json, strlen(cases[i].json), keep_all, NULL, &text,
								  &content, &err), LDR_OK);
		if (i == 0)
			first = strdup(content);
		CHECK_MSG((strcmp(first, content) == 0) == cases[i].same, "case %zu", i);
		free(text);
		free(content);
	}
	free(first);
}

int
main(void)
{
	test_cases();
	test_cut();
	test_bloated();
	test_many();
	test_no_memory();
	test_content();
	return unit_report("test_trim");
}
