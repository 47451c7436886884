/*
 * test/unit/test_schema.c: dlt's schema.json, types of columns, difference from live tables.
 */
#include <jansson.h>
#include <stdlib.h>

#include "schema/schema.h"
#include "unit.h"

#define HEAD(engine) "{\"version\":3,\"version_hash\":\"h=\",\"engine_version\":" engine \
	",\"name\":\"shop\",\"tables\":{"
#define OWN "\"_dlt_version\":{\"columns\":{\"version\":{\"data_type\":\"bigint\"}}}," \
	"\"_dlt_loads\":{\"columns\":{\"load_id\":{\"data_type\":\"text\",\"precision\":64}}}"
#define DOC(tables) HEAD("11") OWN "," tables "}}"
#define TABLE(body) DOC("\"t\":{" body "\"columns\":{}}")
#define COLUMN(body) DOC("\"t\":{\"columns\":{\"c\":{" body "}}}")
#define MERGE_HINTS "\"x-normalizer\":{\"seen-data\":true},\"x-merge-source-filter\":\"a > 1\"," \
	"\"x-merge-destination-scope\":\"b = 2\",\"x-boundary-timestamp\":\"2026-01-02T03:04:05Z\"," \
	"\"x-merge-skip-unchanged-rows\":true,\"x-stage-data-deduplicated\":true,"
#define SCD2_HINTS "\"x-row-version\":true,\"x-valid-from\":true,\"x-valid-to\":true," \
	"\"x-active-record-timestamp\":\"9999-12-31\""
#define NAME16 "abcdefghijklmnop"
#define NAME63 NAME16 NAME16 NAME16 "abcdefghijklmno"

static LdrSchema *
parse(const char *json, LdrStatus *status, LdrError *err)
{
	LdrSchema  *schema;

	memset(err, 0, sizeof(*err));
	*status = ldr_schema_parse(json, strlen(json), &schema, err);
	return schema;
}

/* One document, what it must give, and a part of the message. */
typedef struct DocumentCase
{
	const char *json;
	LdrStatus	status;
	const char *message;		/* NULL: any */
} DocumentCase;

static const DocumentCase documents[] = {
	{DOC("\"t\":{\"columns\":{}}"), LDR_OK, NULL},
	{HEAD("11") OWN "}}", LDR_OK, NULL},
	{"", LDR_BAD_JSON, NULL},
	{"null", LDR_BAD_JSON, NULL},
	{"[]", LDR_BAD_SCHEMA, "must be an object"},
	{"{}", LDR_BAD_SCHEMA, "\"engine_version\" of the schema must be an integer"},
	{HEAD("11") OWN "}} x", LDR_BAD_JSON, NULL},
	{HEAD("11") OWN "},\"name\":\"again\"}", LDR_BAD_JSON, "duplicate"},
	{HEAD("11") OWN ",\"t\":{\"columns\":{\"c\":{},\"c\":{}}}}}", LDR_BAD_JSON, "duplicate"},
	{HEAD("99999999999999999999") OWN "}}", LDR_BAD_JSON, NULL},
	{HEAD("11.0") OWN "}}", LDR_BAD_SCHEMA, "engine_version"},
	{HEAD("\"11\"") OWN "}}", LDR_BAD_SCHEMA, "engine_version"},
	{HEAD("null") OWN "}}", LDR_BAD_SCHEMA, "engine_version"},
	{COLUMN("\"data_type\":\"te\\u0000xt\""), LDR_BAD_JSON, NULL},
	{COLUMN("\"data_type\":\"\xff\""), LDR_BAD_JSON, NULL},
	/* dlt's own tables */
	{HEAD("11") "}}", LDR_BAD_SCHEMA, "_dlt_version"},
	{HEAD("11") "\"_dlt_version\":{\"columns\":{}}}}", LDR_BAD_SCHEMA, "_dlt_loads"},
	{HEAD("11") "\"_DLT_VERSION\":{\"columns\":{}},\"_Dlt_Loads\":{\"columns\":{}}}}",
	LDR_OK, NULL},
	/* other engine versions */
	{HEAD("12") OWN "}}", LDR_OK, NULL},
	{HEAD("9") OWN ",\"t\":{\"x-new\":1,\"columns\":{\"c\":{\"data_type\":\"complex\","
		"\"x-y\":1}}}}}",
	LDR_OK, NULL},
	{HEAD("12") OWN "},\"layers\":1}", LDR_UNKNOWN_KEY, "version 12 has unknown keys: \"layers\""},
	{HEAD("12") OWN ",\"t\":{\"zone\":1,\"columns\":{\"c\":{\"data_type\":\"uuid\",\"hue\":1}}}}}",
	LDR_UNKNOWN_KEY, "\"zone\", \"hue\""},
	{HEAD("12") OWN ",\"t\":7}}", LDR_BAD_SCHEMA, NULL},
	{HEAD("11") OWN ",\"t\":{\"zone\":1,\"columns\":{\"c\":{\"hue\":1}}}},\"layers\":1}",
	LDR_OK, NULL},
	/* wrong types */
	{"{\"version\":1,\"version_hash\":\"h\",\"engine_version\":11,\"name\":\"\","
		"\"tables\":{" OWN "}}",
	LDR_BAD_SCHEMA, "\"name\" of the schema"},
	{"{\"version\":1,\"version_hash\":\"h\",\"engine_version\":11,\"name\":\"ä" NAME63 "\","
		"\"tables\":{" OWN "}}",
	LDR_OK, NULL},
	{"{\"version\":1,\"version_hash\":\"h\",\"engine_version\":11,\"name\":\"ab" NAME63 "\","
		"\"tables\":{" OWN "}}",
	LDR_BAD_SCHEMA, "\"name\" of the schema must be of at most 64 characters"},
	{"{\"version\":1,\"version_hash\":7,\"engine_version\":11,\"name\":\"n\",\"tables\":{" OWN "}}",
	LDR_BAD_SCHEMA, "version_hash"},
	{"{\"version\":true,\"version_hash\":\"h\",\"engine_version\":11,\"name\":\"n\","
		"\"tables\":{" OWN "}}",
	LDR_BAD_SCHEMA, "\"version\""},
	{"{\"version\":1,\"version_hash\":\"h\",\"engine_version\":11,\"name\":\"n\",\"tables\":[]}",
	LDR_BAD_SCHEMA, "\"tables\""},
	{"{\"version\":1,\"version_hash\":\"h\",\"engine_version\":11,\"name\":\"n\"}",
	LDR_BAD_SCHEMA, "\"tables\""},
	{DOC("\"t\":[]"), LDR_BAD_SCHEMA, "\"t\""},
	{DOC("\"t\":{}"), LDR_BAD_SCHEMA, "\"columns\" of table \"t\""},
	{DOC("\"t\":{\"columns\":[]}"), LDR_BAD_SCHEMA, "\"columns\" of table \"t\""},
	{DOC("\"t\":{\"columns\":{\"c\":3}}"), LDR_BAD_SCHEMA, "\"c\" of table \"t\""},
	{COLUMN("\"data_type\":1"), LDR_BAD_SCHEMA, "\"data_type\" of column \"c\" of table \"t\""},
	{COLUMN("\"data_type\":\"TEXT\""), LDR_BAD_SCHEMA, "data type of dlt"},
	{COLUMN("\"data_type\":null"), LDR_OK, NULL},
	{COLUMN("\"nullable\":\"yes\""), LDR_BAD_SCHEMA, "true or false"},
	{COLUMN("\"nullable\":null,\"timezone\":null,\"unique\":null"), LDR_OK, NULL},
	{COLUMN("\"precision\":-1"), LDR_BAD_SCHEMA, "\"precision\""},
	{COLUMN("\"precision\":1.5"), LDR_BAD_SCHEMA, "\"precision\""},
	{COLUMN("\"precision\":9223372036854775807"), LDR_OK, NULL},
	{COLUMN("\"precision\":9223372036854775808"), LDR_BAD_JSON, NULL},
	{COLUMN("\"scale\":\"2\""), LDR_BAD_SCHEMA, "\"scale\""},
	{COLUMN("\"dedup_sort\":\"up\""), LDR_BAD_SCHEMA, "\"dedup_sort\""},
	{COLUMN("\"dedup_sort\":false"), LDR_OK, NULL},
	{COLUMN("\"name\":\"c\""), LDR_OK, NULL},
	{COLUMN("\"name\":\"d\""), LDR_BAD_SCHEMA, "\"name\" of column \"c\""},
	{COLUMN("\"name\":4"), LDR_BAD_SCHEMA, "\"name\""},
	{TABLE("\"name\":\"u\","), LDR_BAD_SCHEMA, "\"name\" of table \"t\""},
	{TABLE("\"resource\":{},"), LDR_BAD_SCHEMA, "\"resource\""},
	{TABLE("\"file_format\":5,"), LDR_BAD_SCHEMA, "\"file_format\""},
	{TABLE("\"write_disposition\":\"upsert\","), LDR_BAD_SCHEMA, "write_disposition"},
	{TABLE("\"write_disposition\":{\"disposition\":\"merge\"},"), LDR_BAD_SCHEMA,
	"write_disposition"},
	{TABLE("\"write_disposition\":null,"), LDR_OK, NULL},
	/* hints of merges: all of them, none, of another type */
	{TABLE(MERGE_HINTS), LDR_OK, NULL},
	{COLUMN(SCD2_HINTS), LDR_OK, NULL},
	{HEAD("12") OWN ",\"t\":{" MERGE_HINTS "\"columns\":{\"c\":{" SCD2_HINTS "}}}}}", LDR_OK, NULL},
	{TABLE("\"x-normalizer\":null,\"x-merge-source-filter\":null,"
		   "\"x-merge-destination-scope\":null,\"x-boundary-timestamp\":null,"
		   "\"x-merge-skip-unchanged-rows\":null,\"x-stage-data-deduplicated\":null,"),
	LDR_OK, NULL},
	{COLUMN("\"x-row-version\":null,\"x-valid-from\":null,\"x-valid-to\":null,"
			"\"x-active-record-timestamp\":null"), LDR_OK, NULL},
	{TABLE("\"x-normalizer\":true,"), LDR_BAD_SCHEMA,
	"\"x-normalizer\" of table \"t\" must be an object"},
	{TABLE("\"x-normalizer\":[\"seen-data\"],"), LDR_BAD_SCHEMA, "\"x-normalizer\" of table \"t\""},
	{TABLE("\"x-merge-source-filter\":true,"), LDR_BAD_SCHEMA,
	"\"x-merge-source-filter\" of table \"t\" must be a string"},
	{TABLE("\"x-merge-source-filter\":[\"a > 1\"],"), LDR_BAD_SCHEMA, "\"x-merge-source-filter\""},
	{TABLE("\"x-merge-source-filter\":\"a\\u0000b\","), LDR_BAD_JSON, NULL},
	{TABLE("\"x-merge-destination-scope\":{},"), LDR_BAD_SCHEMA,
	"\"x-merge-destination-scope\" of table \"t\" must be a string"},
	{TABLE("\"x-boundary-timestamp\":[1700000000],"), LDR_BAD_SCHEMA,
	"\"x-boundary-timestamp\" of table \"t\" must be a string or a number"},
	{TABLE("\"x-merge-skip-unchanged-rows\":\"true\","), LDR_BAD_SCHEMA,
	"\"x-merge-skip-unchanged-rows\" of table \"t\" must be true or false"},
	{TABLE("\"x-stage-data-deduplicated\":1,"), LDR_BAD_SCHEMA,
	"\"x-stage-data-deduplicated\" of table \"t\" must be true or false"},
	{COLUMN("\"x-row-version\":1"), LDR_BAD_SCHEMA,
	"\"x-row-version\" of column \"c\" of table \"t\" must be true or false"},
	{COLUMN("\"x-valid-from\":\"yes\""), LDR_BAD_SCHEMA, "\"x-valid-from\" of column \"c\""},
	{COLUMN("\"x-valid-to\":{}"), LDR_BAD_SCHEMA, "\"x-valid-to\" of column \"c\""},
	{COLUMN("\"x-active-record-timestamp\":{}"), LDR_BAD_SCHEMA,
	"\"x-active-record-timestamp\" of column \"c\" of table \"t\" must be a string or a number"},
	{COLUMN("\"x-active-record-timestamp\":false"), LDR_BAD_SCHEMA,
	"\"x-active-record-timestamp\""},
	{COLUMN("\"x-active-record-timestamp\":\"9999\\u0000\""), LDR_BAD_JSON, NULL},
	/* chains */
	{TABLE("\"parent\":\"missing\","), LDR_BAD_SCHEMA, "\"parent\" of table \"t\""},
	{TABLE("\"parent\":\"t\","), LDR_BAD_SCHEMA, "not nested in this one"},
	{TABLE("\"parent\":\"\","), LDR_OK, NULL},
	{DOC("\"a\":{\"parent\":\"b\",\"columns\":{}},\"b\":{\"parent\":\"c\",\"columns\":{}},"
		 "\"c\":{\"parent\":\"b\",\"columns\":{}}"), LDR_BAD_SCHEMA, "not nested in this one"},
	/* names */
	{DOC("\"" NAME63 "\":{\"columns\":{\"" NAME63 "\":{}}}"), LDR_OK, NULL},
	{DOC("\"\":{\"columns\":{\"\":{}}}"), LDR_BAD_NAME, ": \"\", \".\""},
	{DOC("\"" NAME63 "q\":{\"columns\":{}}"), LDR_BAD_NAME, "\"" NAME16 NAME16},
	{DOC("\"t\":{\"columns\":{\"" NAME63 "\xc3\xa9\":{}}}"), LDR_BAD_NAME, "\"t." NAME16},
	{DOC("\"t\":{\"columns\":{\"a" NAME63 "\":{},\"b" NAME63 "\":{},\"c" NAME63 "\":{},\"d" NAME63
		 "\":{},\"e" NAME63 "\":{},\"f" NAME63 "\":{}}}"), LDR_BAD_NAME, " more"}
};

static void
test_documents(void)
{
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
	{
		const DocumentCase *d = &documents[i];
		LdrError	err;
		LdrStatus	status;
		LdrSchema  *schema = parse(d->json, &status, &err);

		CHECK_MSG(status == d->status, "document %zu: status %d (%s), not %d", i, status,
				  err.message, d->status);
		CHECK_MSG((schema != NULL) == (status == LDR_OK), "document %zu: output", i);
		CHECK_MSG(err.status == status, "document %zu: status in the error", i);
		if (d->message != NULL)
			CHECK_MSG(strstr(err.message, d->message) != NULL, "document %zu: \"%s\" lacks \"%s\"",
					  i, err.message, d->message);
		if (status == LDR_BAD_JSON && d->json[0] != '\0')
			CHECK_MSG(err.line == 1, "document %zu: line", i);
		ldr_schema_free(schema);
	}
}

static const char family[] =
	DOC("\"z\":{" MERGE_HINTS "\"write_disposition\":\"merge\",\"x-merge-strategy\":\"upsert\","
		"\"resource\":\"zz\",\"file_format\":\"parquet\",\"columns\":{"
		"\"zeta\":{\"data_type\":\"text\",\"nullable\":false,\"primary_key\":true,\"unique\":true},"
		"\"alpha\":{\"data_type\":\"timestamp\",\"timezone\":false,\"dedup_sort\":\"desc\"},"
		"\"mid\":{" SCD2_HINTS ",\"hard_delete\":true,\"merge_key\":true}}},\n"
		"\"z__b__c\":{\"parent\":\"z__b\",\"columns\":{\"j\":{\"data_type\":\"json\"}}},\n"
		"\"z__b\":{\"parent\":\"z\",\"columns\":{\"r\":{\"row_key\":true,\"root_key\":true,"
		"\"parent_key\":true,\"dedup_sort\":\"asc\"}}},\n"
		"\"z__own\":{\"parent\":\"z\",\"write_disposition\":\"replace\",\"file_format\":null,"
		"\"x-replace-strategy\":\"diff\",\"columns\":{}},\n"
		"\"z__own__x\":{\"parent\":\"z__own\",\"columns\":{}},\n"
		"\"plain\":{\"columns\":{}},\n"
		"\"_dlt_pipeline_state\":{\"write_disposition\":\"skip\",\"columns\":{}}");

static void
test_tables(void)
{
	LdrError	err;
	LdrStatus	status;
	LdrSchema  *s = parse(family, &status, &err);
	LdrSchemaTable *z;
	LdrSchemaTable *t;

	if (!CHECK_MSG(s != NULL, "%s", err.message))
		return;
	CHECK_STR(s->name, "shop");
	CHECK_STR(s->version_hash, "h=");
	CHECK_INT(s->version, 3);
	CHECK_INT(s->engine_version, 11);
	CHECK_INT(s->ntables, 9);
	CHECK(s->version_table == &s->tables[0] && s->loads_table == &s->tables[1]);
	CHECK(s->state_table == &s->tables[8]);
	CHECK(ldr_schema_table(s, "Z") == NULL && ldr_schema_table(s, "") == NULL);

	z = ldr_schema_table(s, "z");
	CHECK(z == &s->tables[2] && z->root == z && z->parent == NULL);
	CHECK_STR(z->resource, "zz");
	CHECK_INT(z->ncolumns, 3);
	CHECK_STR(z->columns[0].name, "zeta");
	CHECK_STR(z->columns[1].name, "alpha");
	CHECK_STR(z->columns[2].name, "mid");
	CHECK(ldr_schema_column(z, "alpha") == &z->columns[1]);
	CHECK(ldr_schema_column(z, "beta") == NULL);
	CHECK(!z->columns[0].nullable && z->columns[0].primary_key && z->columns[0].unique);
	CHECK(z->columns[0].timezone && z->columns[0].precision == -1 && z->columns[0].scale == -1);
	CHECK(z->columns[1].nullable && !z->columns[1].timezone && z->columns[1].dedup_sort == -1);
	CHECK(z->columns[2].type == LDR_TYPE_NONE && z->columns[2].hard_delete &&
		  z->columns[2].merge_key);

	/* a grandchild that stands before its parent */
	t = ldr_schema_table(s, "z__b__c");
	CHECK(t->root == z && t->disposition == LDR_MERGE);
	CHECK_STR(t->strategy, "upsert");
	CHECK_STR(t->file_format, "parquet");
	t = ldr_schema_table(s, "z__b");
	CHECK(t->columns[0].row_key && t->columns[0].root_key && t->columns[0].parent_key &&
		  t->columns[0].dedup_sort == 1);

	/* what a nested table says itself goes first, for its own children too */
	t = ldr_schema_table(s, "z__own__x");
	CHECK(t->root == z && t->disposition == LDR_REPLACE && t->file_format == NULL);
	CHECK_STR(t->strategy, "diff");
	t = ldr_schema_table(s, "plain");
	CHECK(t->disposition == LDR_APPEND && t->strategy == NULL);
	CHECK(s->state_table->disposition == LDR_SKIP);
	CHECK(ldr_schema_column(t, "any") == NULL);
	ldr_schema_free(s);

	/* the exact name goes before one in another case */
	s = parse(DOC("\"_DLT_LOADS\":{\"columns\":{}}"), &status, &err);
	CHECK(s != NULL && s->loads_table == ldr_schema_table(s, "_dlt_loads"));
	ldr_schema_free(s);
}

static void
check_text(const char *got, const char *want)
{
	CHECK_MSG(got == NULL || want == NULL ? got == want : strcmp(got, want) == 0,
			  "\"%s\", not \"%s\"", got == NULL ? "NULL" : got, want == NULL ? "NULL" : want);
}

/* All of the hints of merges are there, and none of them is inherited. */
static void
test_merge_hints(void)
{
	LdrError	err;
	LdrStatus	status;
	LdrSchema  *s = parse(DOC("\"t\":{" MERGE_HINTS "\"columns\":{\"c\":{" SCD2_HINTS "},\"d\":{},"
							  "\"e\":{\"x-valid-to\":false,\"x-active-record-timestamp\":\"\"},"
							  "\"f\":{\"x-active-record-timestamp\":253402214400}}},"
							  "\"t__n\":{\"parent\":\"t\",\"columns\":{}},"
							  "\"u\":{\"x-merge-source-filter\":\"\",\"x-merge-destination-scope\":"
							  "\"\",\"x-boundary-timestamp\":\"\",\"x-merge-skip-unchanged-rows\":"
							  "false,\"x-stage-data-deduplicated\":false,\"columns\":{}},"
							  "\"v\":{\"x-boundary-timestamp\":-1704067200.25,\"columns\":{}}"),
						  &status, &err);
	LdrSchemaTable *t;

	if (!CHECK_MSG(s != NULL, "%s", err.message))
		return;
	t = ldr_schema_table(s, "t");
	CHECK(t->seen_data && t->skip_unchanged && t->deduplicated);
	check_text(t->source_filter, "a > 1");
	check_text(t->destination_scope, "b = 2");
	check_text(t->boundary_timestamp, "2026-01-02T03:04:05Z");
	CHECK(t->columns[0].row_version && t->columns[0].valid_from && t->columns[0].valid_to);
	check_text(t->columns[0].active_timestamp, "9999-12-31");
	CHECK(!t->columns[1].row_version && !t->columns[1].valid_from && !t->columns[1].valid_to);
	check_text(t->columns[1].active_timestamp, NULL);
	CHECK(!t->columns[2].valid_to);
	check_text(t->columns[2].active_timestamp, "");
	check_text(t->columns[3].active_timestamp, "253402214400");
	check_text(ldr_schema_table(s, "v")->boundary_timestamp, "-1704067200.25");

	for (int i = 0; i < 2; i++)
	{
		t = ldr_schema_table(s, i == 0 ? "t__n" : "u");
		CHECK(!t->seen_data && !t->skip_unchanged && !t->deduplicated);
		check_text(t->source_filter, NULL);
		check_text(t->destination_scope, NULL);
		check_text(t->boundary_timestamp, i == 0 ? NULL : "");
	}
	ldr_schema_free(s);
}

/* Only true says that a table has seen data; for dlt, too, anything else does not. */
static void
test_seen_data(void)
{
	static const struct
	{
		const char *json;
		bool		seen;
	}			cases[] = {
		{TABLE("\"x-normalizer\":{\"seen-data\":true,\"max_nesting\":2},"), true},
		{TABLE("\"x-normalizer\":{\"seen-data\":false},"), false},
		{TABLE("\"x-normalizer\":{\"seen-data\":null},"), false},
		{TABLE("\"x-normalizer\":{\"seen-data\":\"true\"},"), false},
		{TABLE("\"x-normalizer\":{\"seen-data\":1},"), false},
		{TABLE("\"x-normalizer\":{\"seen_data\":true},"), false},
		{TABLE("\"x-normalizer\":{},"), false},
		{TABLE("\"x-normalizer\":null,"), false},
		{TABLE("\"seen-data\":true,"), false},
		{TABLE(""), false}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		LdrError	err;
		LdrStatus	status;
		LdrSchema  *s = parse(cases[i].json, &status, &err);

		if (CHECK_MSG(s != NULL, "seen data %zu: %s", i, err.message))
			CHECK_MSG(ldr_schema_table(s, "t")->seen_data == cases[i].seen, "seen data %zu", i);
		ldr_schema_free(s);
	}
}

/* Every shorter text of a good document is broken JSON, and says so without a leak. */
static void
test_cut(void)
{
	for (size_t len = 0; len < sizeof(family) - 1; len++)
	{
		LdrError	err = {0};
		LdrSchema  *schema;
		char	   *copy = malloc(len + 1);
		LdrStatus	status;

		memcpy(copy, family, len);
		status = ldr_schema_parse(copy, len, &schema, &err);
		CHECK_MSG(status == LDR_BAD_JSON && schema == NULL, "cut at %zu: %d", len, status);
		free(copy);
	}
}

static void
test_line(void)
{
	LdrError	err;
	LdrStatus	status;

	CHECK(parse("{\n\n\"a\": tru\n}", &status, &err) == NULL);
	CHECK_INT(status, LDR_BAD_JSON);
	CHECK_INT(err.line, 3);
}

/* More nesting than the JSON parser takes must fail, not exhaust the stack. */
static void
test_deep(void)
{
	const size_t n = 200000;
	char	   *json = malloc(n + 1);
	LdrError	err;
	LdrStatus	status;

	memset(json, '[', n);
	json[n] = '\0';
	CHECK(parse(json, &status, &err) == NULL);
	CHECK_INT(status, LDR_BAD_JSON);
	free(json);
}

/* A small text whose tree would be huge is refused before memory is. */
static void
test_bloated(void)
{
	const size_t n = 16 * 1024 * 1024;
	char	   *json = malloc(n + 1);
	LdrError	err;
	LdrStatus	status;

	for (size_t i = 0; i < n; i++)
		json[i] = "{},"[i % 3];
	json[0] = '[';
	json[1] = ' ';
	json[2] = ' ';
	json[n] = '\0';
	CHECK(parse(json, &status, &err) == NULL);
	CHECK_INT(status, LDR_TOO_LONG);
	free(json);
}

/* 10,000 tables, each nested in the one before it, the root last; and a ring of them. */
static void
test_many(void)
{
	const int	n = 10000;

	for (int ring = 0; ring < 2; ring++)
	{
		size_t		size = 4096 + (size_t) n * 160;
		char	   *json = malloc(size);
		size_t		at = snprintf(json, size, "%s", HEAD("11") OWN);
		LdrError	err;
		LdrStatus	status;
		LdrSchema  *schema;

		for (int i = 0; i < n; i++)
			at += snprintf(json + at, size - at, ",\"t%d\":{\"parent\":\"t%d\",\"columns\":"
						   "{\"a\":{\"data_type\":\"text\"},\"b\":{\"data_type\":\"bool\"}}}",
						   i, ring ? (i + 1) % n : i + 1);
		snprintf(json + at, size - at,
				 ",\"t%d\":{\"write_disposition\":\"merge\",\"columns\":{}}}}", n);
		schema = parse(json, &status, &err);
		CHECK_INT(status, ring ? LDR_BAD_SCHEMA : LDR_OK);
		if (schema != NULL)
		{
			CHECK_INT(schema->ntables, n + 3);
			CHECK(ldr_schema_table(schema, "t0")->root == ldr_schema_table(schema, "t10000"));
			CHECK_INT(ldr_schema_table(schema, "t0")->disposition, LDR_MERGE);
		}
		ldr_schema_free(schema);
		free(json);
	}
}

/* Memory runs out at the n-th call of the JSON parser. */
static int	calls_left;

static void *
failing_malloc(size_t size)
{
	return calls_left-- > 0 ? malloc(size) : NULL;
}

static void
test_no_memory(void)
{
	json_malloc_t old_malloc;
	json_free_t old_free;
	LdrStatus	status = LDR_OUT_OF_MEMORY;

	json_get_alloc_funcs(&old_malloc, &old_free);
	json_set_alloc_funcs(failing_malloc, free);
	for (int n = 0; status != LDR_OK && n < 10000; n++)
	{
		LdrError	err;

		calls_left = n;
		ldr_schema_free(parse(family, &status, &err));
		/* jansson reports some of its failed allocations as broken JSON */
		CHECK_MSG(status == LDR_OK || status == LDR_OUT_OF_MEMORY || status == LDR_BAD_JSON,
				  "memory for %d: status %d (%s)", n, status, err.message);
	}
	CHECK_INT(status, LDR_OK);
	json_set_alloc_funcs(old_malloc, old_free);
}

typedef struct TypeCase
{
	LdrDataType type;
	int			precision;
	int			scale;
	bool		timezone;
	const char *format;
	const char *want;			/* NULL: LDR_UNSUPPORTED */
} TypeCase;

static const TypeCase types[] = {
	{LDR_TYPE_TEXT, -1, -1, true, NULL, "character varying"},
	{LDR_TYPE_TEXT, 8, -1, true, NULL, "character varying(8)"},
	{LDR_TYPE_TEXT, 10485760, -1, true, NULL, "character varying(10485760)"},
	{LDR_TYPE_TEXT, 10485761, -1, true, NULL, NULL},
	{LDR_TYPE_TEXT, 0, -1, true, NULL, NULL},
	{LDR_TYPE_BIGINT, -1, -1, true, NULL, "bigint"},
	{LDR_TYPE_BIGINT, 0, -1, true, NULL, "smallint"},
	{LDR_TYPE_BIGINT, 16, -1, true, NULL, "smallint"},
	{LDR_TYPE_BIGINT, 17, -1, true, NULL, "integer"},
	{LDR_TYPE_BIGINT, 32, -1, true, NULL, "integer"},
	{LDR_TYPE_BIGINT, 33, -1, true, NULL, "bigint"},
	{LDR_TYPE_BIGINT, 64, -1, true, NULL, "bigint"},
	{LDR_TYPE_BIGINT, 65, -1, true, NULL, NULL},
	{LDR_TYPE_BIGINT, 2147483647, -1, true, NULL, NULL},
	{LDR_TYPE_DOUBLE, 53, -1, true, NULL, "double precision"},
	{LDR_TYPE_BOOL, -1, -1, true, NULL, "boolean"},
	{LDR_TYPE_DATE, -1, -1, true, NULL, "date"},
	{LDR_TYPE_TIMESTAMP, -1, -1, true, NULL, "timestamp with time zone"},
	{LDR_TYPE_TIMESTAMP, 3, -1, true, NULL, "timestamp(3) with time zone"},
	{LDR_TYPE_TIMESTAMP, 0, -1, false, NULL, "timestamp(0) without time zone"},
	{LDR_TYPE_TIMESTAMP, -1, -1, false, NULL, "timestamp without time zone"},
	{LDR_TYPE_TIMESTAMP, 6, -1, false, NULL, "timestamp(6) without time zone"},
	{LDR_TYPE_TIMESTAMP, 7, -1, true, NULL, NULL},
	{LDR_TYPE_TIME, -1, -1, true, NULL, "time without time zone"},
	{LDR_TYPE_TIME, 0, -1, true, NULL, "time(0) without time zone"},
	{LDR_TYPE_TIME, 9, -1, true, NULL, "time(6) without time zone"},
	{LDR_TYPE_DECIMAL, -1, -1, true, NULL, "numeric(38,9)"},
	{LDR_TYPE_DECIMAL, 10, -1, true, NULL, "numeric(10,9)"},
	{LDR_TYPE_DECIMAL, 10, 0, true, NULL, "numeric(10,0)"},
	{LDR_TYPE_DECIMAL, -1, 2, true, NULL, "numeric(38,2)"},
	{LDR_TYPE_DECIMAL, 1000, 1000, true, NULL, "numeric(1000,1000)"},
	{LDR_TYPE_DECIMAL, 1001, 1, true, NULL, NULL},
	{LDR_TYPE_DECIMAL, 0, 0, true, NULL, NULL},
	{LDR_TYPE_DECIMAL, 10, 1001, true, NULL, NULL},
	{LDR_TYPE_WEI, -1, -1, true, NULL, "numeric(156,78)"},
	{LDR_TYPE_WEI, 40, 10, true, NULL, "numeric(40,10)"},
	{LDR_TYPE_BINARY, 16, -1, true, NULL, "bytea"},
	{LDR_TYPE_JSON, -1, -1, true, NULL, "jsonb"},
	{LDR_TYPE_JSON, -1, -1, true, "csv", "jsonb"},
	{LDR_TYPE_JSON, -1, -1, true, "parquet", "json"},
	{LDR_TYPE_NONE, -1, -1, true, NULL, NULL}
};

static void
test_types(void)
{
	LdrSchemaColumn place = {.name = "p", .type = LDR_TYPE_TEXT, .precision = -1,
		.geometry = true, .srid = 4326};
	LdrError	err = {0};
	char		buf[64];

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
	{
		const TypeCase *t = &types[i];
		LdrSchemaColumn column = {.name = "c", .type = t->type, .precision = t->precision,
			.scale = t->scale, .timezone = t->timezone};
		LdrStatus	status;

		status = ldr_column_type(&column, t->format, buf, sizeof(buf), &err);
		CHECK_MSG(status == (t->want == NULL ? LDR_UNSUPPORTED : LDR_OK), "type %zu: %d", i,
				  status);
		if (status == LDR_OK && t->want != NULL)
		{
			bool		keyword = strcmp(t->want, "jsonb") != 0 && strcmp(t->want, "json") != 0 &&
				strcmp(t->want, "bytea") != 0 && strcmp(t->want, "date") != 0;

			CHECK_STR(buf, t->want);
			CHECK(ldr_column_type_sql(&column, t->format, buf, sizeof(buf), &err) == LDR_OK);
			CHECK((strncmp(buf, "pg_catalog.", 11) == 0) == !keyword);
			CHECK_STR(keyword ? buf : buf + 11, t->want);
			CHECK(ldr_column_type_sql(&column, t->format, buf, strlen(buf), &err) == LDR_TOO_LONG);
		}
		else
			CHECK(ldr_column_type_sql(&column, t->format, buf, sizeof(buf), &err) ==
				  LDR_UNSUPPORTED);
	}
	CHECK(ldr_column_type_sql(&place, NULL, buf, sizeof(buf), &err) == LDR_OK);
	CHECK_STR(buf, "geometry(Geometry,4326)");
	CHECK(ldr_column_type(&place, NULL, buf, sizeof(buf), &err) == LDR_OK);
	CHECK_STR(buf, "geometry(Geometry,4326)");
	CHECK(ldr_column_type(&place, NULL, buf, 10, &err) == LDR_TOO_LONG);
	place.srid = 0;
	CHECK(ldr_column_type_sql(&place, NULL, buf, sizeof(buf), &err) == LDR_OK);
	CHECK_STR(buf, "geometry(Geometry,0)");
	CHECK(ldr_column_type(&place, NULL, buf, sizeof(buf), &err) == LDR_OK);
	CHECK_STR(buf, "geometry");
}

static void
test_diff(void)
{
	static const LdrLiveColumn have[] = {
		{"zz_more", "text", true}, {"kept", "character varying", false},
		{"A", "integer", true}, {"same", "character varying(4)", true}
	};
	const LdrLiveTable live = {true, have, 4};
	const LdrLiveTable none = {false, NULL, 0};
	LdrError	err;
	LdrStatus	status;
	LdrSchema  *s;
	LdrSchemaTable *t;
	LdrChange  *changes;
	int			n;

	s = parse(DOC("\"t\":{\"columns\":{\"untyped\":{},"
				  "\"same\":{\"data_type\":\"text\",\"precision\":4},"
				  "\"new\":{\"data_type\":\"bool\"},\"kept\":{\"data_type\":\"bigint\"},"
				  "\"a\":{\"data_type\":\"bigint\"}}},"
				  "\"odd\":{\"columns\":{\"kept\":{\"data_type\":\"bigint\",\"precision\":128}}},"
				  "\"empty\":{\"columns\":{\"u\":{}}}"), &status, &err);
	if (!CHECK_MSG(s != NULL, "%s", err.message))
		return;
	t = ldr_schema_table(s, "t");
	CHECK(ldr_schema_diff(t, &live, &changes, &n, &err) == LDR_OK);
	if (CHECK(n == 3))
	{
		CHECK(changes[0].kind == LDR_ADD_COLUMN && changes[0].column == &t->columns[2]);
		CHECK(changes[1].kind == LDR_KEEP_TYPE && changes[1].column == &t->columns[3]);
		CHECK_STR(changes[1].live_type, "character varying");
		CHECK(changes[2].kind == LDR_ADD_COLUMN && changes[2].column == &t->columns[4]);
		CHECK(changes[2].table == t);
	}
	free(changes);
	CHECK(ldr_schema_diff(t, &none, &changes, &n, &err) == LDR_OK);
	CHECK(n == 1 && changes[0].kind == LDR_CREATE_TABLE && changes[0].column == NULL);
	free(changes);

	/* an impossible type harms only where the column would have to be made */
	t = ldr_schema_table(s, "odd");
	CHECK(ldr_schema_diff(t, &live, &changes, &n, &err) == LDR_OK);
	CHECK(n == 1 && changes[0].kind == LDR_KEEP_TYPE);
	free(changes);
	CHECK(ldr_schema_diff(t, &none, &changes, &n, &err) == LDR_UNSUPPORTED);
	CHECK(changes == NULL && n == 0);
	CHECK_STR(err.column, "kept");
	CHECK(ldr_schema_diff(ldr_schema_table(s, "empty"), &none, &changes, &n, &err) == LDR_OK);
	CHECK_INT(n, 0);
	free(changes);
	CHECK(ldr_schema_diff(ldr_schema_table(s, "empty"), &live, &changes, &n, &err) == LDR_OK);
	CHECK_INT(n, 0);
	free(changes);
	ldr_schema_free(s);
}

/* The library passes over a zero byte between a value and what follows it. */
static void
test_zero_byte(void)
{
	char		json[] = HEAD("11!") OWN "}}";
	LdrError	err = {0};
	LdrSchema  *schema;

	*strchr(json, '!') = '\0';
	CHECK_INT(ldr_schema_parse(json, sizeof(json) - 1, &schema, &err), LDR_BAD_JSON);
	CHECK_MSG(schema == NULL && strstr(err.message, "contains a zero byte") != NULL, "%s",
			  err.message);
	ldr_schema_free(schema);
}

int
main(void)
{
	test_documents();
	test_tables();
	test_merge_hints();
	test_seen_data();
	test_cut();
	test_line();
	test_deep();
	test_bloated();
	test_many();
	test_no_memory();
	test_types();
	test_diff();
	test_zero_byte();
	return unit_report("test_schema");
}
