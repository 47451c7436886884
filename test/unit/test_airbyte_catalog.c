/*
 * test/unit/test_airbyte_catalog.c: the configured catalog of an Airbyte sync.
 */
#include <stdlib.h>

#include "schema/airbyte.h"
#include "unit.h"

#define CATALOG(streams) "{\"streams\":[" streams "]}"
#define ENTRY(name, properties, more) \
	"{\"stream\":{\"name\":\"" name "\",\"json_schema\":{\"type\":\"object\",\"properties\":{" \
	properties "}}}" more "}"
#define HOW(sync, mode) ",\"sync_mode\":\"" sync "\",\"destination_sync_mode\":\"" mode "\""
#define IDS "\"id\":{\"type\":\"integer\"},\"at\":{\"type\":\"string\",\"format\":\"date-time\"}," \
	"\"at2\":{},\"Odd\":{},\"odd\":{},\"Name\":{}"
#define APPEND(more) CATALOG(ENTRY("s", IDS, HOW("incremental", "append") more))
#define DEDUP(more) CATALOG(ENTRY("s", IDS, HOW("incremental", "append_dedup") more))
#define KEY ",\"primary_key\":[[\"id\"]]"

static LdrAirbyteCatalog *
parse(const char *json, const LdrAirbyteChoice *choice, LdrStatus *status, LdrError *err)
{
	LdrAirbyteCatalog *catalog;

	memset(err, 0, sizeof(*err));
	*status = ldr_airbyte_catalog_parse(json, strlen(json), choice, &catalog, err);
	return catalog;
}

/* One document, what it must give, and a part of the message. */
typedef struct DocumentCase
{
	const char *json;
	LdrStatus	status;
	const char *message;
} DocumentCase;

static const DocumentCase documents[] = {
	{APPEND(""), LDR_OK, ""},
	{"", LDR_BAD_JSON, "catalog"},
	{"null", LDR_BAD_JSON, "catalog"},
	{"[]", LDR_BAD_SCHEMA, "an array \"streams\""},
	{"{}", LDR_BAD_SCHEMA, "an array \"streams\""},
	{"{\"streams\":{}}", LDR_BAD_SCHEMA, "an array \"streams\""},
	{"{\"streams\":[]}", LDR_BAD_SCHEMA, "no streams"},
	{APPEND("") "x", LDR_BAD_JSON, "catalog"},
	{CATALOG("7"), LDR_BAD_SCHEMA, "entry 1 of the catalog has no \"stream\""},
	{CATALOG("{\"stream\":[]}"), LDR_BAD_SCHEMA, "entry 1"},
	{CATALOG(ENTRY("s", "", HOW("incremental", "append")) ",{\"stream\":{}}"), LDR_BAD_SCHEMA,
	"the stream of entry 2 of the catalog has no name"},
	{CATALOG(ENTRY("", "", HOW("incremental", "append"))), LDR_BAD_SCHEMA, "has no name"},
	{CATALOG(ENTRY("a\\u0000b", "", HOW("incremental", "append"))), LDR_BAD_SCHEMA, "no name"},
	{CATALOG("{\"stream\":{\"name\":7}}"), LDR_BAD_SCHEMA, "has no name"},
	/* what a source can give is no configured catalog */
	{CATALOG("{\"name\":\"s\",\"json_schema\":{}}"), LDR_BAD_SCHEMA, "has no \"stream\""},
	/* schemas */
	{CATALOG("{\"stream\":{\"name\":\"s\"}" HOW("full_refresh", "append") "}"), LDR_OK, ""},
	{CATALOG("{\"stream\":{\"name\":\"s\",\"json_schema\":null}" HOW("full_refresh", "append")
			 "}"), LDR_OK, ""},
	{CATALOG("{\"stream\":{\"name\":\"s\",\"json_schema\":{\"properties\":null}}"
			 HOW("full_refresh", "append") "}"), LDR_OK, ""},
	{CATALOG("{\"stream\":{\"name\":\"s\",\"json_schema\":[]}" HOW("full_refresh", "append") "}"),
	LDR_BAD_SCHEMA, "\"json_schema\" of stream \"s\" must be an object"},
	{CATALOG("{\"stream\":{\"name\":\"s\",\"json_schema\":{\"properties\":[]}}"
			 HOW("full_refresh", "append") "}"),
	LDR_BAD_SCHEMA, "\"properties\" of stream \"s\" must be an object"},
	{CATALOG("{\"stream\":{\"name\":\"s\",\"namespace\":1}}"), LDR_BAD_SCHEMA,
	"\"namespace\" of stream \"s\" must be a string"},
	{APPEND(",\"destination_object_name\":[]"), LDR_BAD_SCHEMA, "\"destination_object_name\""},
	/* numbers that no integer can hold, and zero characters, are of no concern in a JSON schema */
	{CATALOG(ENTRY("s", "\"n\":{\"type\":\"integer\",\"maximum\":18446744073709551615}",
				   HOW("incremental", "append") ",\"generation_id\":3")), LDR_OK, ""},
	{CATALOG(ENTRY("s", "\"n\":{\"type\":\"string\",\"pattern\":\"[^\\u0000]\"}",
				   HOW("incremental", "append"))), LDR_OK, ""},
	{CATALOG(ENTRY("s", "\"n\\u0000\":{}", HOW("incremental", "append"))), LDR_BAD_JSON, "NUL"},
	/* modes */
	{CATALOG(ENTRY("s", "", ",\"destination_sync_mode\":\"append\"")), LDR_OK, ""},
	{CATALOG(ENTRY("s", "", HOW("sometimes", "append"))), LDR_BAD_SCHEMA,
	"\"sync_mode\" of stream \"s\" must be full_refresh or incremental"},
	{CATALOG(ENTRY("s", "", ",\"sync_mode\":\"incremental\"")), LDR_BAD_SCHEMA,
	"\"destination_sync_mode\" of stream \"s\" must be append, overwrite or append_dedup"},
	{CATALOG(ENTRY("s", "", HOW("incremental", "update"))), LDR_BAD_SCHEMA,
	"\"destination_sync_mode\" of stream \"s\" is \"update\", which is not supported"},
	{CATALOG(ENTRY("s", "", HOW("incremental", "soft_delete"))), LDR_BAD_SCHEMA, "not supported"},
	{CATALOG(ENTRY("s", "", HOW("incremental", "overwrite_dedup"))), LDR_BAD_SCHEMA,
	"not supported"},
	{CATALOG(ENTRY("s", "", HOW("incremental", "APPEND"))), LDR_BAD_SCHEMA, "not supported"},
	/* keys and cursors */
	{DEDUP(KEY), LDR_OK, ""},
	{DEDUP(KEY ",\"cursor_field\":[\"at\"]"), LDR_OK, ""},
	{DEDUP(KEY ",\"cursor_field\":[]"), LDR_OK, ""},
	{DEDUP(KEY ",\"cursor_field\":null"), LDR_OK, ""},
	{DEDUP(""), LDR_BAD_SCHEMA, "stream \"s\" has no primary key, and append_dedup needs one"},
	{DEDUP(",\"primary_key\":[]"), LDR_BAD_SCHEMA, "no primary key"},
	{DEDUP(",\"primary_key\":null"), LDR_BAD_SCHEMA, "no primary key"},
	{DEDUP(",\"primary_key\":\"id\""), LDR_BAD_SCHEMA,
	"\"primary_key\" of stream \"s\" must be an array"},
	{DEDUP(",\"primary_key\":[\"id\"]"), LDR_BAD_SCHEMA,
	"\"primary_key\" of stream \"s\" must be a list of paths, such as [[\"id\"]]"},
	{DEDUP(",\"primary_key\":[[]]"), LDR_BAD_SCHEMA, "a list of paths"},
	{DEDUP(",\"primary_key\":[[1]]"), LDR_BAD_SCHEMA, "a list of paths"},
	{DEDUP(",\"primary_key\":[[\"id\",\"x\"]]"), LDR_BAD_SCHEMA,
	"\"primary_key\" of stream \"s\" is nested in property \"id\""},
	{DEDUP(",\"primary_key\":[[\"no\"]]"), LDR_BAD_SCHEMA,
	"\"primary_key\" of stream \"s\" is \"no\", which it does not have"},
	{DEDUP(",\"primary_key\":[[\"ODD\"]]"), LDR_BAD_SCHEMA, "several properties"},
	{DEDUP(",\"primary_key\":[[\"id\"],[\"id\"],[\"ID\"],[\"at\"]]"), LDR_OK, ""},
	{DEDUP(",\"primary_key\":[[\"id\"],[\"id\"],[\"id\"],[\"id\"],[\"id\"],[\"id\"],[\"id\"]]"),
	LDR_BAD_SCHEMA, "more columns than the stream"},
	{DEDUP(KEY ",\"cursor_field\":\"at\""), LDR_BAD_SCHEMA,
	"\"cursor_field\" of stream \"s\" must be an array"},
	{DEDUP(KEY ",\"cursor_field\":[null]"), LDR_BAD_SCHEMA, "must be a path, such as [\"id\"]"},
	{DEDUP(KEY ",\"cursor_field\":[\"at\",\"x\"]"), LDR_BAD_SCHEMA, "nested in property \"at\""},
	{DEDUP(KEY ",\"cursor_field\":[\"no\"]"), LDR_BAD_SCHEMA, "does not have"},
	/* where rows are only added, the source may have any */
	{APPEND(",\"primary_key\":[[\"a\",\"b\"]],\"cursor_field\":[\"no\"]"), LDR_OK, ""},
	/* generations */
	{APPEND(",\"generation_id\":null,\"minimum_generation_id\":null,\"sync_id\":null"), LDR_OK, ""},
	{APPEND(",\"generation_id\":5,\"minimum_generation_id\":0,\"sync_id\":9"), LDR_OK, ""},
	{APPEND(",\"generation_id\":5,\"minimum_generation_id\":5"), LDR_OK, ""},
	{APPEND(",\"generation_id\":5"), LDR_OK, ""},
	{APPEND(",\"minimum_generation_id\":0"), LDR_OK, ""},
	{APPEND(",\"minimum_generation_id\":1"), LDR_BAD_SCHEMA, "neither 0 nor its"},
	{APPEND(",\"generation_id\":5,\"minimum_generation_id\":4"), LDR_BAD_SCHEMA,
	"\"minimum_generation_id\" of stream \"s\" is neither 0 nor its \"generation_id\""},
	{APPEND(",\"generation_id\":5,\"minimum_generation_id\":6"), LDR_BAD_SCHEMA, "neither 0"},
	{APPEND(",\"generation_id\":-1"), LDR_BAD_SCHEMA,
	"\"generation_id\" of stream \"s\" must be an integer that is not negative"},
	{APPEND(",\"generation_id\":1.5"), LDR_BAD_SCHEMA, "\"generation_id\""},
	{APPEND(",\"generation_id\":1e300"), LDR_BAD_SCHEMA, "\"generation_id\""},
	{APPEND(",\"generation_id\":9223372036854775808"), LDR_BAD_SCHEMA, "\"generation_id\""},
	{APPEND(",\"sync_id\":\"1\""), LDR_BAD_SCHEMA, "\"sync_id\""},
	{APPEND(",\"sync_id\":1.0"), LDR_OK, ""},
	/* streams of one name */
	{CATALOG(ENTRY("s", "", HOW("incremental", "append")) ","
			 ENTRY("t", "", HOW("incremental", "append")) ","
			 ENTRY("s", "", HOW("incremental", "append"))),
	LDR_BAD_SCHEMA, "stream \"s\" is in the catalog twice"},
	{CATALOG(ENTRY("s", "", HOW("incremental", "append")) ",{\"stream\":{\"name\":\"s\","
			 "\"namespace\":\"n\"}" HOW("incremental", "append") "}"), LDR_OK, ""},
	{CATALOG("{\"stream\":{\"name\":\"s\",\"namespace\":\"n\"}" HOW("incremental", "append") "},"
			 "{\"stream\":{\"name\":\"s\",\"namespace\":\"n\"}" HOW("incremental", "append") "}"),
	LDR_BAD_SCHEMA, "stream \"n.s\" is in the catalog twice"}
};

static void
test_documents(void)
{
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
	{
		const DocumentCase *d = &documents[i];
		LdrError	err;
		LdrStatus	status;
		LdrAirbyteCatalog *catalog = parse(d->json, NULL, &status, &err);

		CHECK_MSG(status == d->status, "document %zu: status %d (%s), not %d", i, status,
				  err.message, d->status);
		CHECK_MSG((catalog != NULL) == (status == LDR_OK), "document %zu: output", i);
		CHECK_MSG(err.status == status, "document %zu: status in the error", i);
		CHECK_MSG((err.hint[0] != '\0') == (status != LDR_OK), "document %zu: hint", i);
		CHECK_MSG(strstr(err.message, d->message) != NULL, "document %zu: \"%s\" lacks \"%s\"",
				  i, err.message, d->message);
		ldr_airbyte_catalog_free(catalog);
	}
}

/* What a property becomes. */
typedef struct TypeCase
{
	const char *schema;
	LdrStreamType type;
} TypeCase;

#define WELL_KNOWN(name) "{\"$ref\":\"WellKnownTypes.json#/definitions/" name "\"}"
#define STRING(more) "{\"type\":\"string\"," more "}"
#define TIMESTAMP(type) STRING("\"format\":\"date-time\",\"airbyte_type\":\"" type "\"")

static const TypeCase types[] = {
	{"{\"type\":\"string\"}", LDR_STREAM_VARCHAR},
	{"\"string\"", LDR_STREAM_VARCHAR},
	{STRING("\"format\":\"uri\""), LDR_STREAM_VARCHAR},
	{STRING("\"format\":null"), LDR_STREAM_VARCHAR},
	{STRING("\"format\":\"date\""), LDR_STREAM_DATE},
	{STRING("\"format\":\"date-time\""), LDR_STREAM_TIMESTAMPTZ},
	{TIMESTAMP("timestamp_with_timezone"), LDR_STREAM_TIMESTAMPTZ},
	{TIMESTAMP("timestamp_without_timezone"), LDR_STREAM_TIMESTAMP},
	{STRING("\"format\":\"time\""), LDR_STREAM_TIMETZ},
	{STRING("\"format\":\"time\",\"airbyte_type\":\"time_with_timezone\""), LDR_STREAM_TIMETZ},
	{STRING("\"format\":\"time\",\"airbyte_type\":\"time_without_timezone\""), LDR_STREAM_TIME},
	{"{\"type\":\"integer\"}", LDR_STREAM_BIGINT},
	{"{\"type\":\"int\"}", LDR_STREAM_BIGINT},
	{"{\"type\":\"number\"}", LDR_STREAM_NUMERIC},
	{"{\"type\":\"number\",\"airbyte_type\":\"integer\"}", LDR_STREAM_BIGINT},
	{"{\"type\":\"boolean\"}", LDR_STREAM_BOOL},
	{"{\"type\":\"object\"}", LDR_STREAM_OBJECT},
	{"{\"type\":\"object\",\"properties\":{\"a\":{}}}", LDR_STREAM_OBJECT},
	{"{\"type\":\"object\",\"oneOf\":[{\"type\":\"string\"}]}", LDR_STREAM_OBJECT},
	{"{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", LDR_STREAM_ARRAY},
	{"{\"type\":\"array\"}", LDR_STREAM_ARRAY},
	/* null is dropped */
	{"{\"type\":[\"null\",\"string\"]}", LDR_STREAM_VARCHAR},
	{"{\"type\":[\"string\",\"null\"],\"format\":\"date\"}", LDR_STREAM_DATE},
	{"{\"type\":[\"null\",\"array\"]}", LDR_STREAM_ARRAY},
	{"{\"type\":[\"integer\",\"integer\"]}", LDR_STREAM_BIGINT},
	{"{\"type\":[{\"type\":\"string\"},\"null\"]}", LDR_STREAM_VARCHAR},
	{"{\"oneOf\":[{\"type\":\"null\"},{\"type\":\"boolean\"}]}", LDR_STREAM_BOOL},
	{"{\"anyOf\":[{\"type\":[\"null\",\"number\"]},{\"type\":\"number\"}]}", LDR_STREAM_NUMERIC},
	{"{\"allOf\":[{\"oneOf\":[{\"type\":\"object\"}]}]}", LDR_STREAM_OBJECT},
	{"{\"oneOf\":null,\"anyOf\":[{\"type\":\"string\"}]}", LDR_STREAM_VARCHAR},
	/* what allows nothing, several types, or something unknown */
	{"{}", LDR_STREAM_JSON},
	{"true", LDR_STREAM_JSON},
	{"null", LDR_STREAM_JSON},
	{"[]", LDR_STREAM_JSON},
	{"{\"type\":null}", LDR_STREAM_JSON},
	{"{\"type\":\"null\"}", LDR_STREAM_JSON},
	{"{\"type\":[\"null\"]}", LDR_STREAM_JSON},
	{"{\"type\":[]}", LDR_STREAM_JSON},
	{"{\"type\":7}", LDR_STREAM_JSON},
	{"{\"type\":\"any\"}", LDR_STREAM_JSON},
	{"{\"type\":[\"string\",\"integer\"]}", LDR_STREAM_JSON},
	{"{\"type\":[\"object\",\"array\",\"null\"]}", LDR_STREAM_JSON},
	{"{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"string\",\"format\":\"date\"}]}",
	LDR_STREAM_JSON},
	{"{\"anyOf\":[{\"type\":\"string\"},{}]}", LDR_STREAM_JSON},
	{"{\"allOf\":[]}", LDR_STREAM_JSON},
	{"{\"$ref\":\"#/definitions/String\"}", LDR_STREAM_JSON},
	{WELL_KNOWN("Text"), LDR_STREAM_JSON},
	/* version 1 of the types */
	{WELL_KNOWN("String"), LDR_STREAM_VARCHAR},
	{WELL_KNOWN("BinaryData"), LDR_STREAM_VARCHAR},
	{WELL_KNOWN("Boolean"), LDR_STREAM_BOOL},
	{WELL_KNOWN("Integer"), LDR_STREAM_BIGINT},
	{WELL_KNOWN("Number"), LDR_STREAM_NUMERIC},
	{WELL_KNOWN("Date"), LDR_STREAM_DATE},
	{WELL_KNOWN("TimestampWithTimezone"), LDR_STREAM_TIMESTAMPTZ},
	{WELL_KNOWN("TimestampWithoutTimezone"), LDR_STREAM_TIMESTAMP},
	{WELL_KNOWN("TimeWithTimezone"), LDR_STREAM_TIMETZ},
	{WELL_KNOWN("TimeWithoutTimezone"), LDR_STREAM_TIME}
};

static void
test_types(void)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
	{
		char		json[512];
		LdrError	err;
		LdrStatus	status;
		LdrAirbyteCatalog *catalog;
		LdrStreamType type;

		snprintf(json, sizeof(json), CATALOG(ENTRY("s", "\"p\":%s", HOW("full_refresh", "append"))),
				 types[i].schema);
		catalog = parse(json, NULL, &status, &err);
		if (!CHECK_MSG(catalog != NULL, "%s: %s", types[i].schema, err.message))
			continue;
		type = catalog->streams[0].columns[0].type;
		CHECK_MSG(type == types[i].type, "%s is %s (%d), not %s (%d)", types[i].schema,
				  ldr_stream_type_name(type), type, ldr_stream_type_name(types[i].type),
				  types[i].type);
		ldr_airbyte_catalog_free(catalog);
	}
}

/* A schema that is nested as deep as the JSON parser takes, and one level more. */
static void
test_depth(void)
{
	static const char open[] = "{\"anyOf\":[";

	for (int depth = 1000; depth <= 1100; depth += 100)
	{
		char	   *json = calloc(depth, sizeof(open) + 2);
		char	   *whole = calloc(depth, sizeof(open) + 4);
		LdrError	err;
		LdrStatus	status;
		LdrAirbyteCatalog *catalog;

		for (int i = 0; i < depth; i++)
			strcat(json, open);
		strcat(json, "\"string\"");
		for (int i = 0; i < depth; i++)
			strcat(json, "]}");
		sprintf(whole, CATALOG(ENTRY("s", "\"p\":%s", HOW("full_refresh", "append"))), json);
		catalog = parse(whole, NULL, &status, &err);
		CHECK_INT(status, depth == 1000 ? LDR_OK : LDR_BAD_JSON);
		if (catalog != NULL)
			CHECK_INT(catalog->streams[0].columns[0].type, LDR_STREAM_VARCHAR);
		ldr_airbyte_catalog_free(catalog);
		free(json);
		free(whole);
	}
}

/* Everything that a stream has; properties in the order of the document, the last of one name. */
static void
test_streams(void)
{
	LdrError	err;
	LdrStatus	status;
	LdrAirbyteCatalog *c = parse(CATALOG(
			"{\"stream\":{\"name\":\"orders\",\"namespace\":\"shop\",\"json_schema\":{"
			"\"properties\":{\"zeta\":{\"type\":\"string\"},\"Id\":{\"type\":\"string\"},\"\":{},"
			"\"_ab_cdc_deleted_at\":{\"type\":\"string\"},\"at\":{\"type\":\"number\"},"
			"\"Id\":{\"type\":\"integer\"},\"alpha\":{}}}},"
			"\"sync_mode\":\"incremental\",\"sync_mode\":\"full_refresh\","
			"\"destination_sync_mode\":\"append_dedup\",\"primary_key\":[[\"at\"],[\"id\"]],"
			"\"cursor_field\":[\"AT\"],\"generation_id\":9223372036854775807,"
			"\"minimum_generation_id\":9223372036854775807,\"sync_id\":0,"
			"\"destination_object_name\":\"o\"},"
			"{\"stream\":{\"name\":\"s\",\"namespace\":\"\"},\"destination_object_name\":\"\","
			"\"sync_mode\":\"incremental\",\"destination_sync_mode\":\"overwrite\"}"),
								 NULL, &status, &err);
	static const char *const properties[] = {"zeta", "Id", "", "_ab_cdc_deleted_at", "at",
	"alpha"};
	LdrStream  *s;

	if (!CHECK_MSG(c != NULL, "%s", err.message))
		return;
	CHECK_INT(c->nstreams, 2);
	s = &c->streams[0];
	CHECK_STR(s->name, "orders");
	CHECK_STR(s->name_space, "shop");
	CHECK_STR(s->object_name, "o");
	CHECK(s->dataset == NULL && s->table == NULL);
	CHECK_INT(s->ncolumns, 6);
	for (int i = 0; i < s->ncolumns; i++)
	{
		CHECK_STR(s->columns[i].property, properties[i]);
		CHECK(s->columns[i].name == NULL);
	}
	CHECK_INT(s->columns[1].type, LDR_STREAM_BIGINT);
	CHECK(s->full_refresh && s->mode == LDR_STREAM_APPEND_DEDUP);
	CHECK(s->nkeys == 2 && s->keys[0] == 4 && s->keys[1] == 1);
	CHECK_INT(s->cursor, 4);
	CHECK_INT(s->deleted, 3);
	CHECK(s->generation_id == INT64_MAX && s->minimum_generation_id == INT64_MAX);
	CHECK_INT(s->sync_id, 0);

	s = &c->streams[1];
	CHECK(s->name_space == NULL && s->object_name == NULL && s->ncolumns == 0);
	CHECK(!s->full_refresh && s->mode == LDR_STREAM_OVERWRITE);
	CHECK(s->nkeys == 0 && s->cursor == -1 && s->deleted == -1);
	CHECK(s->generation_id == LDR_NO_ID && s->minimum_generation_id == LDR_NO_ID &&
		  s->sync_id == LDR_NO_ID);
	ldr_airbyte_catalog_free(c);
}

/* One stream for each of what decides about AUTO. */
#define DEFINED(name, more) \
	"{\"stream\":{\"name\":\"" name "\",\"json_schema\":{\"properties\":{" IDS "}}" more "}"
static const char choices[] = CATALOG(
	DEFINED("keyed", "") ",\"sync_mode\":\"incremental\",\"destination_sync_mode\":\"append\""
	",\"primary_key\":[[\"id\"]],\"cursor_field\":[\"at\"]},"
	DEFINED("source", ",\"source_defined_primary_key\":[[\"at2\"]],"
			"\"default_cursor_field\":[\"at\"]")
	",\"sync_mode\":\"incremental\",\"destination_sync_mode\":\"append_dedup\",\"primary_key\":[]},"
	DEFINED("cursor", "") ",\"sync_mode\":\"incremental\",\"cursor_field\":[\"at\"],"
	"\"destination_sync_mode\":\"overwrite\"},"
	DEFINED("plain", "") ",\"sync_mode\":\"full_refresh\",\"destination_sync_mode\":\"append\"}");

#define A LDR_STREAM_APPEND
#define O LDR_STREAM_OVERWRITE
#define D LDR_STREAM_APPEND_DEDUP

static void
test_strategies(void)
{
	static const char *const plain[] = {"plain", "cursor"};
	static const char *const keyed[] = {"source", "keyed", "source"};
	static const struct
	{
		const char *strategy;
		LdrStreamMode modes[4];
	}			cases[] = {
		{NULL, {A, D, O, A}},
		{"auto", {D, D, A, O}},
		{"AUTO", {D, D, A, O}},
		{"Append", {A, A, A, A}},
		{"replace", {O, O, O, O}}
	};
	LdrAirbyteChoice choice = {0};
	LdrError	err;
	LdrStatus	status;
	LdrAirbyteCatalog *c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		choice.write_strategy = cases[i].strategy;
		c = parse(choices, &choice, &status, &err);
		if (!CHECK_MSG(c != NULL && c->nstreams == 4, "%s", err.message))
			continue;
		for (int s = 0; s < 4; s++)
			CHECK_MSG(c->streams[s].mode == cases[i].modes[s], "%s, %s: mode %d, not %d",
					  cases[i].strategy == NULL ? "none" : cases[i].strategy, c->streams[s].name,
					  c->streams[s].mode, cases[i].modes[s]);
		/* a cursor that the source defines counts where the strategy decides */
		CHECK_INT(c->streams[1].cursor, cases[i].modes[1] == D && i > 0 ? 1 : -1);
		CHECK_INT(c->streams[0].cursor, cases[i].modes[0] == D ? 1 : -1);
		CHECK(c->streams[1].nkeys == (cases[i].modes[1] == D) &&
			  (c->streams[1].nkeys == 0 || c->streams[1].keys[0] == 2));
		CHECK(c->streams[3].full_refresh && !c->streams[0].full_refresh);
		ldr_airbyte_catalog_free(c);
	}

	choice.write_strategy = "merge";
	c = parse(choices, &choice, &status, &err);
	CHECK(c == NULL && status == LDR_BAD_SCHEMA);
	CHECK_STR(err.message,
			  "stream \"cursor\" has no primary key, and write strategy merge needs one");
	choice.streams = keyed;
	choice.nstreams = 3;
	choice.force_full_refresh = true;
	c = parse(choices, &choice, &status, &err);
	if (CHECK_MSG(c != NULL && c->nstreams == 2, "%s", err.message))
	{
		/* in the order of the catalog, each once */
		CHECK_STR(c->streams[0].name, "keyed");
		CHECK_STR(c->streams[1].name, "source");
		CHECK(c->streams[0].mode == D && c->streams[1].mode == D);
		CHECK(c->streams[0].full_refresh && c->streams[1].full_refresh);
	}
	ldr_airbyte_catalog_free(c);

	choice.streams = plain;
	choice.nstreams = 2;
	c = parse(choices, &choice, &status, &err);
	CHECK(c == NULL && status == LDR_BAD_SCHEMA);
	choice.write_strategy = "upsert";
	c = parse(choices, &choice, &status, &err);
	CHECK(c == NULL && status == LDR_BAD_SCHEMA);
	CHECK_STR(err.message, "unknown write strategy \"upsert\"");
	choice.write_strategy = "";
	c = parse(choices, &choice, &status, &err);
	CHECK(c == NULL && status == LDR_BAD_SCHEMA);
}

static void
test_chosen(void)
{
	static const char *const unknown[] = {"keyed", "Plain"};
	static const char *const good[] = {"good"};
	LdrAirbyteChoice choice = {.streams = unknown, .nstreams = 2};
	LdrError	err;
	LdrStatus	status;
	LdrAirbyteCatalog *c = parse(choices, &choice, &status, &err);

	CHECK(c == NULL && status == LDR_BAD_SCHEMA);
	CHECK_STR(err.message, "the catalog has no stream \"Plain\"");
	CHECK_STR(err.hint, "Its streams are \"keyed\", \"source\", \"cursor\", \"plain\".");

	/* an empty list chooses none */
	choice.nstreams = 0;
	c = parse(choices, &choice, &status, &err);
	CHECK(c == NULL && status == LDR_BAD_SCHEMA);
	CHECK_STR(err.message, "no stream of the catalog was chosen");

	/* what is wrong with the others does not matter */
	choice.streams = good;
	choice.nstreams = 1;
	c = parse(CATALOG(ENTRY("bad", "", HOW("incremental", "update")) ","
					  ENTRY("good", "", HOW("incremental", "append")) ","
					  ENTRY("bad", "", ",\"generation_id\":[]")), &choice, &status, &err);
	if (CHECK_MSG(c != NULL && c->nstreams == 1, "%s", err.message))
		CHECK_STR(c->streams[0].name, "good");
	ldr_airbyte_catalog_free(c);
}

/* As many columns as a table can have, and one more. */
static void
test_columns(void)
{
	for (int n = LDR_STREAM_MAX_COLUMNS; n <= LDR_STREAM_MAX_COLUMNS + 1; n++)
	{
		char	   *properties = malloc(n * 16 + 1);
		char	   *json = malloc(n * 16 + 256);
		size_t		len = 0;
		LdrError	err;
		LdrStatus	status;
		LdrAirbyteCatalog *c;

		for (int i = 0; i < n; i++)
			len += sprintf(properties + len, "%s\"p%d\":{}", i > 0 ? "," : "", i);
		sprintf(json, CATALOG(ENTRY("s", "%s", HOW("incremental", "append"))), properties);
		c = parse(json, NULL, &status, &err);
		if (n == LDR_STREAM_MAX_COLUMNS)
			CHECK_MSG(c != NULL && c->streams[0].ncolumns == n, "%s", err.message);
		else
		{
			CHECK_INT(status, LDR_TOO_LONG);
			CHECK_STR(err.message, "stream \"s\" has 1501 properties, and a table can take 1500");
		}
		ldr_airbyte_catalog_free(c);
		free(properties);
		free(json);
	}
}

/* Names that are long, in messages; cut at every byte, a catalog is broken JSON. */
static void
test_hostile(void)
{
	static const char document[] = DEDUP(KEY ",\"generation_id\":1");
	char		name[4096];
	char		json[16384];
	LdrError	err;
	LdrStatus	status;
	LdrAirbyteCatalog *c;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(json, sizeof(json), CATALOG("{\"stream\":{\"name\":\"%s\",\"namespace\":\"%s\"},"
										 "\"destination_sync_mode\":\"%s\"}"), name, name, name);
	c = parse(json, NULL, &status, &err);
	CHECK(c == NULL && status == LDR_BAD_SCHEMA);
	CHECK(strstr(err.message, "xxx...\", which is not supported") != NULL);
	CHECK(strstr(err.message, "xxx....xxx") != NULL);

	for (size_t len = 0; len < sizeof(document) - 1; len++)
	{
		memset(&err, 0, sizeof(err));
		status = ldr_airbyte_catalog_parse(document, len, NULL, &c, &err);
		CHECK_MSG(status == LDR_BAD_JSON && c == NULL, "cut at %zu: status %d", len, status);
	}
}

/* The shape that real sources give it: every member there, null where it says nothing. */
static void
test_real(void)
{
	LdrError	err;
	LdrStatus	status;
	LdrAirbyteCatalog *c = parse(
		"{\"streams\": [{\"stream\": {\"name\": \"products\", \"json_schema\": {\"$schema\": "
		"\"http://json-schema.org/draft-07/schema#\", \"type\": \"object\", \"properties\": "
		"{\"id\": {\"type\": \"integer\"}, \"make\": {\"type\": \"string\"}, \"price\": {\"type\": "
		"\"number\"}, \"created_at\": {\"type\": \"string\", \"format\": \"date-time\", "
		"\"airbyte_type\": \"timestamp_with_timezone\"}, \"updated_at\": {\"type\": \"string\", "
		"\"format\": \"date-time\", \"airbyte_type\": \"timestamp_with_timezone\"}, \"address\": "
		"{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}}}}, "
		"\"supported_sync_modes\": [\"full_refresh\", \"incremental\"], \"source_defined_cursor\": "
		"true, \"default_cursor_field\": [\"updated_at\"], \"source_defined_primary_key\": "
		"[[\"id\"]], \"namespace\": null, \"is_resumable\": true, \"is_file_based\": null}, "
		"\"sync_mode\": \"incremental\", \"cursor_field\": [\"updated_at\"], "
		"\"destination_sync_mode\": \"append_dedup\", \"primary_key\": [[\"id\"]], "
		"\"generation_id\": 1, \"minimum_generation_id\": 1, \"sync_id\": 1, \"include_files\": "
		"null, \"destination_object_name\": null}]}", NULL, &status, &err);
	LdrStream  *s;

	if (!CHECK_MSG(c != NULL && c->nstreams == 1, "%s", err.message))
		return;
	s = &c->streams[0];
	CHECK(s->ncolumns == 6 && s->nkeys == 1 && s->keys[0] == 0 && s->cursor == 4);
	CHECK(s->columns[3].type == LDR_STREAM_TIMESTAMPTZ && s->columns[5].type == LDR_STREAM_OBJECT);
	CHECK(s->generation_id == 1 && s->minimum_generation_id == 1 && s->sync_id == 1);
	CHECK(!s->full_refresh && s->mode == LDR_STREAM_APPEND_DEDUP && s->name_space == NULL);
	ldr_airbyte_catalog_free(c);
}

int
main(void)
{
	test_documents();
	test_types();
	test_depth();
	test_streams();
	test_strategies();
	test_chosen();
	test_columns();
	test_hostile();
	test_real();
	return unit_report("test_airbyte_catalog");
}
