/*
 * test/unit/test_package_state.c: dlt's load_package_state.json and the pipeline state in it.
 */
#include <jansson.h>
#include <stdlib.h>
#include <zlib.h>

#include "schema/schema.h"
#include "unit.h"

typedef struct StateCase
{
	const char *json;
	LdrStatus	status;
	const char *created_at;
	const char *pipeline;
	const char *dataset;
} StateCase;

/* zlib of {"dataset_name":"d1","default_schema_name":"s1","pipeline_name":"inner"} */
#define PACKED "eJyrVkpJLEksTi2Jz0vMTVWyUkoxVNJRSklNSyzNKYkvTs5IzU2ESRWDpAoyC1JzMvNSYYKZ" \
	"eXmpRUq1AI2KGN0="

static const StateCase states[] = {
	{"{}", LDR_OK, NULL, NULL, NULL},
	{"[]", LDR_BAD_SCHEMA, NULL, NULL, NULL},
	{"{", LDR_BAD_JSON, NULL, NULL, NULL},
	{"{\"created_at\":\"2026-01-02T03:04:05+00:00\"}", LDR_OK, "2026-01-02T03:04:05+00:00",
	NULL, NULL},
	{"{\"created_at\":\"\xef\x80\xa7" "2026-01-02\"}", LDR_OK, "2026-01-02", NULL, NULL},
	{"{\"created_at\":\"\\uf0272026-01-02\"}", LDR_OK, "2026-01-02", NULL, NULL},
	{"{\"created_at\":\"\\uf926\"}", LDR_OK, "\xef\xa4\xa6", NULL, NULL},
	{"{\"created_at\":17}", LDR_BAD_SCHEMA, NULL, NULL, NULL},
	{"{\"created_at\":\"a\\u0000b\"}", LDR_NUL_CHARACTER, NULL, NULL, NULL},
	{"{\"refresh\":[]}", LDR_BAD_SCHEMA, NULL, NULL, NULL},
	{"{\"dropped_tables\":{}}", LDR_BAD_SCHEMA, NULL, NULL, NULL},
	{"{\"destination_state\":{\"a\":\"\\u0000\",\"b\":18446744073709551615}}", LDR_OK,
	NULL, NULL, NULL},
	{"{\"pipeline_state\":null}", LDR_OK, NULL, NULL, NULL},
	{"{\"pipeline_state\":3}", LDR_BAD_SCHEMA, NULL, NULL, NULL},
	{"{\"pipeline_state\":{\"pipeline_name\":\"p\"}}", LDR_OK, NULL, "p", NULL},
	{"{\"pipeline_state\":{\"pipeline_name\":\"p\",\"state\":\"" PACKED "\"}}", LDR_OK,
	NULL, "p", "d1"},
	{"{\"pipeline_state\":{\"state\":\"" PACKED "\"}}", LDR_OK, NULL, "inner", "d1"},
	{"{\"pipeline_state\":{\"state\":\"{\\\"dataset_name\\\":\\\"raw\\\"}\"}}", LDR_OK,
	NULL, NULL, "raw"},
	{"{\"pipeline_state\":{\"state\":\"{\\\"dataset_name\\\":null}\"}}", LDR_OK, NULL, NULL, NULL},
	{"{\"pipeline_state\":{\"state\":\"{\\\"dataset_name\\\":5}\"}}", LDR_BAD_SCHEMA,
	NULL, NULL, NULL},
	{"{\"pipeline_state\":{\"state\":\"\"}}", LDR_BAD_JSON, NULL, NULL, NULL},
	{"{\"pipeline_state\":{\"state\":\"abc\"}}", LDR_BAD_JSON, NULL, NULL, NULL},
	{"{\"pipeline_state\":{\"state\":\"abcd\"}}", LDR_CORRUPT, NULL, NULL, NULL},
	{"{\"pipeline_state\":{\"state\":\"eNqrVkpJLEks\"}}", LDR_CORRUPT, NULL, NULL, NULL},
	{"{\"pipeline_state\":{\"state\":\"=NqrVkpJLEks\"}}", LDR_BAD_JSON, NULL, NULL, NULL},
	{"{\"pipeline_state\":{\"state\":\"====\"}}", LDR_BAD_JSON, NULL, NULL, NULL}
};

static bool
same(const char *got, const char *want)
{
	return got == NULL || want == NULL ? got == want : strcmp(got, want) == 0;
}

static void
test_states(void)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
	{
		const StateCase *c = &states[i];
		LdrError	err = {0};
		LdrPackageState *state;
		LdrStatus	status = ldr_package_state_parse(c->json, strlen(c->json), &state, &err);

		CHECK_MSG(status == c->status, "state %zu: status %d (%s), not %d", i, status, err.message,
				  c->status);
		CHECK_MSG((state != NULL) == (status == LDR_OK), "state %zu: output", i);
		if (state != NULL)
			CHECK_MSG(same(state->created_at, c->created_at) &&
					  same(state->pipeline_name, c->pipeline) &&
					  same(state->dataset_name, c->dataset), "state %zu: texts", i);
		ldr_package_state_free(state);
	}
}

#define NAME16 "abcdefghijklmnop"
#define NAME63 NAME16 NAME16 NAME16 "abcdefghijklmno"

/* A list of tables, the names that must come of it, each followed by a blank, or the failure. */
typedef struct ListCase
{
	const char *list;
	LdrStatus	status;
	const char *names;			/* or a part of the message */
} ListCase;

static const ListCase lists[] = {
	{"null", LDR_OK, ""},
	{"[]", LDR_OK, ""},
	{"[{\"name\":\"t\"}]", LDR_OK, "t "},
	/* the order of the list, also with duplicates in it; case matters */
	{"[{\"name\":\"z\",\"columns\":{\"c\":{}},\"parent\":null},{\"name\":\"a\"},{\"name\":\"z\"},"
	"{\"name\":\"A\"},{\"name\":\"a\"},{\"name\":\"z\"}]", LDR_OK, "z a A "},
	{"[{\"name\":\"\\u00e9; DROP \\\"\"}]", LDR_OK, "\xc3\xa9; DROP \" "},
	{"[{\"name\":\"t\",\"x\":\"\\u0000\",\"y\":18446744073709551615}]", LDR_OK, "t "},
	{"[{\"name\":\"" NAME63 "\"}]", LDR_OK, NAME63 " "},
	{"{}", LDR_BAD_SCHEMA, "must be a list"},
	{"\"t\"", LDR_BAD_SCHEMA, "must be a list"},
	{"true", LDR_BAD_SCHEMA, "must be a list"},
	{"[\"t\"]", LDR_BAD_SCHEMA, "objects that have a \"name\""},
	{"[null]", LDR_BAD_SCHEMA, "objects that have a \"name\""},
	{"[[{\"name\":\"t\"}]]", LDR_BAD_SCHEMA, "objects that have a \"name\""},
	{"[{}]", LDR_BAD_SCHEMA, "objects that have a \"name\""},
	{"[{\"name\":null}]", LDR_BAD_SCHEMA, "objects that have a \"name\""},
	{"[{\"name\":5}]", LDR_BAD_SCHEMA, "objects that have a \"name\""},
	{"[{\"name\":\"t\"},{\"Name\":\"t\"}]", LDR_BAD_SCHEMA, "objects that have a \"name\""},
	{"[{\"name\":\"t\",\"name\":\"u\"}]", LDR_BAD_JSON, "duplicate"},
	{"[{\"name\":\"t\\u0000u\"}]", LDR_NUL_CHARACTER, "a zero character"},
	{"[{\"name\":\"\\u0000\"}]", LDR_NUL_CHARACTER, "a zero character"},
	{"[{\"name\":\"\"}]", LDR_BAD_NAME, "empty or longer than 63 bytes: \"\""},
	{"[{\"name\":\"t\"},{\"name\":\"q" NAME63 "\"},{\"name\":\"\"}]", LDR_BAD_NAME, "\"q" NAME16},
	{"[{\"name\":\"" NAME63 "\xc3\xa9\"}]", LDR_BAD_NAME, "longer than 63 bytes: \"" NAME16},
	{"[{\"name\":\"a" NAME63 "\"},{\"name\":\"b" NAME63 "\"},{\"name\":\"c" NAME63 "\"},"
	"{\"name\":\"d" NAME63 "\"},{\"name\":\"e" NAME63 "\"}]", LDR_BAD_NAME, " more"}
};

static void
test_state_lists(void)
{
	for (size_t i = 0; i < 2 * sizeof(lists) / sizeof(lists[0]); i++)
	{
		const ListCase *c = &lists[i / 2];
		const char *key = i % 2 ? "truncated_tables" : "dropped_tables";
		char		json[1024];
		char		names[256] = "";
		LdrError	err = {0};
		LdrPackageState *state;
		LdrStatus	status;

		snprintf(json, sizeof(json), "{\"%s\":%s}", key, c->list);
		status = ldr_package_state_parse(json, strlen(json), &state, &err);
		CHECK_MSG(status == c->status, "list %zu: status %d (%s), not %d", i, status, err.message,
				  c->status);
		CHECK_MSG((state != NULL) == (status == LDR_OK), "list %zu: output", i);
		if (state == NULL)
		{
			CHECK_MSG(strstr(err.message, c->names) != NULL, "list %zu: \"%s\" lacks \"%s\"", i,
					  err.message, c->names);
			if (status == LDR_BAD_SCHEMA || status == LDR_NUL_CHARACTER || status == LDR_BAD_NAME)
				CHECK_MSG(strstr(err.message, key) != NULL, "list %zu: %s", i, err.message);
			continue;
		}
		for (int k = 0; k < (i % 2 ? state->ntruncated : state->ndropped); k++)
		{
			strcat(names, (i % 2 ? state->truncated_tables : state->dropped_tables)[k]);
			strcat(names, " ");
		}
		CHECK_MSG(strcmp(names, c->names) == 0, "list %zu: \"%s\"", i, names);
		CHECK_INT(i % 2 ? state->ndropped : state->ntruncated, 0);
		ldr_package_state_free(state);
	}
}

/* Both lists at once; then every shorter text of it, which must not leave names behind. */
static void
test_state_refresh(void)
{
	static const char json[] = "{\"refresh\":\"drop_sources\",\"dropped_tables\":"
		"[{\"name\":\"t\"},{\"name\":\"u\"}],\"truncated_tables\":[{\"name\":\"t\"}]}";
	LdrError	err = {0};
	LdrPackageState *state;

	CHECK(ldr_package_state_parse(json, sizeof(json) - 1, &state, &err) == LDR_OK);
	if (state == NULL)
		return;
	CHECK_STR(state->refresh, "drop_sources");
	if (CHECK(state->ndropped == 2 && state->ntruncated == 1))
	{
		CHECK_STR(state->dropped_tables[0], "t");
		CHECK_STR(state->dropped_tables[1], "u");
		CHECK_STR(state->truncated_tables[0], "t");
	}
	ldr_package_state_free(state);
	for (size_t len = 0; len < sizeof(json) - 1; len++)
		CHECK(ldr_package_state_parse(json, len, &state, &err) == LDR_BAD_JSON && state == NULL);
}

/* A long list of few tables, and one of many: neither takes long. */
static void
test_state_many(void)
{
	const int	n = 200000;

	for (int distinct = 3; distinct <= n; distinct += n - 3)
	{
		char	   *json = malloc((size_t) n * 24 + 100);
		char	   *at = json + sprintf(json, "{\"dropped_tables\":[");
		LdrError	err = {0};
		LdrPackageState *state;

		for (int i = 0; i < n; i++)
			at += sprintf(at, "%s{\"name\":\"t%d\"}", i > 0 ? "," : "", i % distinct);
		strcpy(at, "]}");
		CHECK_INT(ldr_package_state_parse(json, strlen(json), &state, &err), LDR_OK);
		if (CHECK(state != NULL))
		{
			CHECK_INT(state->ndropped, distinct);
			CHECK_STR(state->dropped_tables[2], "t2");
		}
		ldr_package_state_free(state);
		free(json);
	}
}

/* Memory runs out at the n-th call of the JSON parser, and of whoever uses its objects. */
static int	calls_left;

static void *
failing_malloc(size_t size)
{
	return calls_left-- > 0 ? malloc(size) : NULL;
}

static void
test_state_no_memory(void)
{
	static const char json[] = "{\"dropped_tables\":[{\"name\":\"t\"},{\"name\":\"u\"}],"
		"\"truncated_tables\":[{\"name\":\"t\"}]}";
	json_malloc_t old_malloc;
	json_free_t old_free;
	LdrStatus	status = LDR_OUT_OF_MEMORY;

	json_get_alloc_funcs(&old_malloc, &old_free);
	json_set_alloc_funcs(failing_malloc, free);
	for (int n = 0; status != LDR_OK && n < 1000; n++)
	{
		LdrError	err = {0};
		LdrPackageState *state;

		calls_left = n;
		status = ldr_package_state_parse(json, sizeof(json) - 1, &state, &err);
		CHECK_MSG((state != NULL) == (status == LDR_OK) && err.status == status,
				  "memory for %d: status %d (%s)", n, status, err.message);
		ldr_package_state_free(state);
	}
	CHECK_INT(status, LDR_OK);
	json_set_alloc_funcs(old_malloc, old_free);
}

/* Compress n blanks, then the text; wrap it as a package state. To be freed. */
static char *
packed_state(size_t n, const char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t		len = n + strlen(text);
	char	   *plain = malloc(len + 1);
	uLongf		zlen = compressBound(len);
	unsigned char *z = calloc(1, zlen + 3);
	char	   *json;
	char	   *at;

	memset(plain, ' ', n);
	strcpy(plain + n, text);
	compress2(z, &zlen, (unsigned char *) plain, len, 9);
	json = malloc(zlen * 2 + 100);
	at = json + sprintf(json, "{\"pipeline_state\":{\"state\":\"");
	for (size_t i = 0; i < zlen; i += 3)
	{
		*at++ = digits[z[i] >> 2];
		*at++ = digits[(z[i] & 3) << 4 | z[i + 1] >> 4];
		*at++ = i + 1 < zlen ? digits[(z[i + 1] & 15) << 2 | z[i + 2] >> 6] : '=';
		*at++ = i + 2 < zlen ? digits[z[i + 2] & 63] : '=';
	}
	strcpy(at, "\"}}");
	free(plain);
	free(z);
	return json;
}

/* A state that is much larger than its compressed form: up to the limit, and beyond it. */
static void
test_state_size(void)
{
	const size_t limit = 64 * 1024 * 1024;
	const char *text = "{\"dataset_name\":\"far\"}";

	for (int over = 0; over < 2; over++)
	{
		char	   *json = packed_state(limit - strlen(text) + over, text);
		LdrError	err = {0};
		LdrPackageState *state;
		LdrStatus	status = ldr_package_state_parse(json, strlen(json), &state, &err);

		CHECK_INT(status, over ? LDR_TOO_LONG : LDR_OK);
		if (state != NULL)
			CHECK_STR(state->dataset_name, "far");
		ldr_package_state_free(state);
		free(json);
	}
}

/* The library passes over a zero byte between a value and what follows it. */
static void
test_state_zero_byte(void)
{
	static const char json[] = "{\"a\":null\0,\"b\":1}";
	LdrError	err = {0};
	LdrPackageState *state;

	CHECK_INT(ldr_package_state_parse(json, sizeof(json) - 1, &state, &err), LDR_BAD_JSON);
	CHECK_MSG(state == NULL && strstr(err.message, "contains a zero byte") != NULL, "%s",
			  err.message);
	ldr_package_state_free(state);
}

int
main(void)
{
	test_states();
	test_state_lists();
	test_state_refresh();
	test_state_many();
	test_state_no_memory();
	test_state_size();
	test_state_zero_byte();
	return unit_report("test_package_state");
}
