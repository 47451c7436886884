/*
 * test/unit/test_update.c: changes of a schema's tables as dlt describes them.
 */
#include <jansson.h>
#include <stdlib.h>

#include "schema/schema.h"
#include "unit.h"

#define OWN "\"_dlt_version\":{\"columns\":{}},\"_dlt_loads\":{\"columns\":{}}"
#define SCHEMA(tables) "{\"engine_version\":11,\"version\":1,\"version_hash\":\"h\"," \
	"\"name\":\"s\",\"tables\":{" OWN "," tables "}}"

typedef struct UpdateCase
{
	const char *tables;			/* the document */
	const char *table;			/* that is created ... */
	const char *column;			/* or gets this column */
	const char *strategy;
	const char *update;			/* what it must be, in whatever order */
} UpdateCase;

static const UpdateCase cases[] = {
	/* all columns with a type, with what they say; the rest of the table comes along */
	{SCHEMA("\"a\":{\"columns\":{\"z\":{\"data_type\":\"text\",\"x-y\":[1]},\"n\":{},"
			"\"b\":{\"data_type\":\"bigint\",\"nullable\":false}},\"x-z\":{\"k\":null}}"),
		"a", NULL, NULL,
		"{\"a\":{\"name\":\"a\",\"write_disposition\":\"append\",\"resource\":\"a\","
		"\"x-z\":{\"k\":null},\"columns\":{\"z\":{\"name\":\"z\",\"data_type\":\"text\","
	"\"x-y\":[1]},\"b\":{\"name\":\"b\",\"data_type\":\"bigint\",\"nullable\":false}}}}"},
	/* one column */
	{SCHEMA("\"a\":{\"name\":\"a\",\"resource\":\"r\",\"columns\":{\"c\":{\"data_type\":\"text\"},"
			"\"d\":{\"data_type\":\"date\"}}}"), "a", "d", NULL,
		"{\"a\":{\"name\":\"a\",\"write_disposition\":\"append\",\"resource\":\"r\","
	"\"columns\":{\"d\":{\"name\":\"d\",\"data_type\":\"date\"}}}}"},
	/* a nested table has what its ancestors say, and neither resource nor disposition of its own */
	{SCHEMA("\"a\":{\"write_disposition\":\"merge\",\"x-merge-strategy\":\"upsert\","
			"\"table_format\":\"native\",\"file_format\":\"csv\",\"columns\":{}},"
			"\"a__b\":{\"parent\":\"a\",\"file_format\":\"jsonl\",\"columns\":{}},"
			"\"a__b__c\":{\"parent\":\"a__b\",\"columns\":{\"d\":{\"data_type\":\"date\"}}}"),
		"a__b__c", NULL, "diff",
		"{\"a__b__c\":{\"name\":\"a__b__c\",\"parent\":\"a__b\",\"write_disposition\":\"merge\","
		"\"x-merge-strategy\":\"upsert\",\"table_format\":null,\"file_format\":\"jsonl\","
	"\"columns\":{\"d\":{\"name\":\"d\",\"data_type\":\"date\"}}}}"},
	/* what is said to be null is not inherited */
	{SCHEMA("\"a\":{\"file_format\":\"csv\",\"write_disposition\":\"skip\",\"columns\":{}},"
			"\"b\":{\"parent\":\"a\",\"file_format\":null,"
			"\"columns\":{\"d\":{\"data_type\":\"date\"}}}"), "b", NULL, NULL,
		"{\"b\":{\"name\":\"b\",\"parent\":\"a\",\"write_disposition\":\"skip\","
		"\"file_format\":null,\"columns\":{\"d\":{\"name\":\"d\","
	"\"data_type\":\"date\"}}}}"},
	/* how a table is replaced: as configured, as its hint says, by default */
	{SCHEMA("\"a\":{\"write_disposition\":\"replace\",\"x-replace-strategy\":\"diff\","
			"\"columns\":{\"d\":{\"data_type\":\"date\"}}}"), "a", NULL, "staging-optimized",
		"{\"a\":{\"name\":\"a\",\"resource\":\"a\",\"write_disposition\":\"replace\","
		"\"x-replace-strategy\":\"staging-optimized\",\"columns\":{\"d\":{\"name\":\"d\","
	"\"data_type\":\"date\"}}}}"},
	{SCHEMA("\"a\":{\"write_disposition\":\"replace\",\"x-replace-strategy\":\"diff\","
			"\"columns\":{}},\"b\":{\"parent\":\"a\",\"columns\":"
			"{\"d\":{\"data_type\":\"date\"}}}"), "b", NULL, NULL,
		"{\"b\":{\"name\":\"b\",\"parent\":\"a\",\"write_disposition\":\"replace\","
		"\"x-replace-strategy\":\"diff\",\"columns\":{\"d\":{\"name\":\"d\","
	"\"data_type\":\"date\"}}}}"},
	{SCHEMA("\"a\":{\"write_disposition\":\"replace\","
			"\"columns\":{\"d\":{\"data_type\":\"date\"}}}"), "a", NULL, NULL,
		"{\"a\":{\"name\":\"a\",\"resource\":\"a\",\"write_disposition\":\"replace\","
		"\"x-replace-strategy\":\"truncate-and-insert\",\"columns\":{\"d\":{\"name\":\"d\","
	"\"data_type\":\"date\"}}}}"},
	/* nothing to change */
	{SCHEMA("\"a\":{\"columns\":{}}"), NULL, NULL, NULL, "{}"}
};

static void
test_case(const UpdateCase *c)
{
	LdrError	err = {0};
	LdrSchema  *schema;
	LdrChange	change = {0};
	char	   *text = NULL;
	json_t	   *got;
	json_t	   *want = json_loads(c->update, 0, NULL);

	if (!CHECK_INT(ldr_schema_parse(c->tables, strlen(c->tables), &schema, &err), LDR_OK))
		return;
	if (c->table != NULL)
	{
		change.table = ldr_schema_table(schema, c->table);
		change.kind = c->column ? LDR_ADD_COLUMN : LDR_CREATE_TABLE;
		change.column = c->column ? ldr_schema_column(change.table, c->column) : NULL;
	}
	CHECK_INT(ldr_schema_update(c->tables, strlen(c->tables), &change, c->table ? 1 : 0,
								c->strategy, &text, &err), LDR_OK);
	got = json_loads(text, 0, NULL);
	CHECK_MSG(json_equal(got, want), "%s, not %s", text, c->update);
	json_decref(got);
	json_decref(want);
	free(text);
	ldr_schema_free(schema);
}

/* Changes of a table make one entry, in the order of the changes; a kept type makes none. */
static void
test_order(void)
{
	const char *json = SCHEMA("\"a\":{\"name\":\"a\",\"resource\":\"a\",\"write_disposition\":"
							  "\"skip\",\"columns\":{\"y\":{\"name\":\"y\",\"data_type\":\"date\"},"
							  "\"x\":{\"name\":\"x\",\"data_type\":\"date\"}}}");
	LdrError	err = {0};
	LdrSchema  *schema;
	LdrChange	changes[3] = {0};
	char	   *text;

	CHECK_INT(ldr_schema_parse(json, strlen(json), &schema, &err), LDR_OK);
	for (int i = 0; i < 3; i++)
	{
		changes[i].table = ldr_schema_table(schema, "a");
		changes[i].kind = i == 2 ? LDR_KEEP_TYPE : LDR_ADD_COLUMN;
		changes[i].column = &changes[i].table->columns[i % 2];
	}
	CHECK_INT(ldr_schema_update(json, strlen(json), changes, 3, NULL, &text, &err), LDR_OK);
	CHECK_STR(text, "{\"a\": {\"name\": \"a\", \"resource\": \"a\", \"write_disposition\": "
			  "\"skip\", \"columns\": {\"y\": {\"name\": \"y\", \"data_type\": \"date\"}, "
			  "\"x\": {\"name\": \"x\", \"data_type\": \"date\"}}}}");
	free(text);
	ldr_schema_free(schema);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		test_case(&cases[i]);
	test_order();
	return unit_report("test_update");
}
