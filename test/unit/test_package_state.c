/*
 * test/unit/test_package_state.c: dlt's load_package_state.json and the pipeline state in it.
 */
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

static void
test_state_refresh(void)
{
	static const char json[] = "{\"refresh\":\"drop_sources\",\"dropped_tables\":"
		"[{\"name\":\"t\"}],\"truncated_tables\":[]}";
	LdrError	err = {0};
	LdrPackageState *state;

	CHECK(ldr_package_state_parse(json, sizeof(json) - 1, &state, &err) == LDR_OK);
	if (state == NULL)
		return;
	CHECK_STR(state->refresh, "drop_sources");
	CHECK(state->ndropped == 1 && state->ntruncated == 0 && state->truncated_tables == NULL);
	CHECK_STR(state->dropped_tables[0], "t");
	ldr_package_state_free(state);
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

int
main(void)
{
	test_states();
	test_state_refresh();
	test_state_size();
	return unit_report("test_package_state");
}
