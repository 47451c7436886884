/*
 * test/unit/test_jsonl.c: the jsonl reader.
 */
#include "rows.h"

static const LdrColumnName columns[] = {{"a", false}, {"b", false}, {"js", true},
{"q\"\\\n", false}};

static const RowsCase cases[] = {
	/* what is plain */
	{"", 0, "", LDR_OK, 0, NULL},
	{"\n \r\n\t\n", 0, "", LDR_OK, 0, NULL},
	{"{}\n", 0, "A|A|A|A\n", LDR_OK, 0, NULL},
	{"\xEF\xBB\xBF{}", 0, "A|A|A|A\n", LDR_OK, 0, NULL},
	{"{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n", 0,
	"b:1|s:x|A|A\nb:2|s:y|A|A\n", LDR_OK, 0, NULL},
	{"{\"a\":1,\"b\":\"x\"}\r\n\r\n{\"b\":\"y\",\"a\":2}", 0, "b:1|s:x|A|A\nb:2|s:y|A|A\n",
	LDR_OK, 0, NULL},
	{" { \"a\" :\t1 , \"b\" : null } \r\n", 0, "b:1|N|A|A\n", LDR_OK, 0, NULL},
	{"{\"b\":true}\n{\"a\":false}\n{\"b\":null}\n", 0, "A|b:true|A|A\nb:false|A|A|A\nA|N|A|A\n",
	LDR_OK, 0, NULL},
	/* the last of two equal keys counts */
	{"{\"a\":1,\"a\":\"x\"}\n{\"a\":1,\"a\":null}\n{\"a\":2,\"b\":3,\"a\":4,\"b\":5,\"a\":6}", 0,
	"s:x|A|A|A\nN|A|A|A\nb:6|b:5|A|A\n", LDR_OK, 0, NULL},
	/* numbers */
	{"{\"a\":0}{", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":-0,\"b\":0.5}\n{\"a\":1e5,\"b\":-12.30E-05}\n{\"a\":9E+1}", 0,
	"b:-0|b:0.5|A|A\nb:1e5|b:-12.30E-05|A|A\nb:9E+1|A|A|A\n", LDR_OK, 0, NULL},
	{"{\"a\":01}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":-}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":+1}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":.5}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":1.}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":1e}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":1e+}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":0x1}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":NaN}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":Infinity}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":nul}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":True}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":truex}", 0, "", LDR_UNEXPECTED, 1, "a"},
	/* strings */
	{"{\"a\":\"\",\"b\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", 0,
	"s:|s:\"\\/\b\f\n\r\t|A|A\n", LDR_OK, 0, NULL},
	{"{\"a\":\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00.\"}", 0,
	"s:A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80.|A|A|A\n", LDR_OK, 0, NULL},
	{"{\"a\":\"0123456789 abcdef\\n0123456789\",\"b\":\"x\\ty\"}", 0,
	"s:0123456789 abcdef\n0123456789|s:x\ty|A|A\n", LDR_OK, 0, NULL},
	{"{\"a\":\"\xFF\xC5\xBC\x7f\"}", 0, "s:\xFF\xC5\xBC\x7f|A|A|A\n", LDR_OK, 0, NULL},
	{"{\"a\":\"x\\q\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"\\u12g4\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"\\U0041\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"\\ud83d\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"\\ud83dx\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"\\ud83d\\n\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"\\ud83d\\ud83d\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"\\ud83d\\u0041\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"\\ude00\"}", 0, "", LDR_BAD_ESCAPE, 1, "a"},
	{"{\"a\":\"x\\u0000\"}", 0, "", LDR_NUL_CHARACTER, 1, "a"},
	{"{\"a\":\"x\0\"}", 10, "", LDR_NUL_CHARACTER, 1, "a"},
	{"{\"a\":\"x\ty\"}", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{}\n{\"a\":\"x\ny\"}", 0, "A|A|A|A\n", LDR_UNEXPECTED, 2, "a"},
	/* keys that need escapes, and keys that do not but have them */
	{"{\"q\\\"\\\\\\n\":1}\n{\"q\\\"\\\\\\n\":2}\n", 0, "A|A|A|b:1\nA|A|A|b:2\n", LDR_OK, 0, NULL},
	{"{\"\\u0061\":1}\n{\"a\":2}\n{\"j\\u0073\":\"\"}", 0,
	"b:1|A|A|A\nb:2|A|A|A\nA|A|j:\"\"|A\n", LDR_OK, 0, NULL},
	/* nested values, in columns of json and in others */
	{"{\"js\":{\"k\":[1,2,{\"x\":null}],\"l\":{}},\"a\":[ ]}", 0,
	"j:[ ]|A|j:{\"k\":[1,2,{\"x\":null}],\"l\":{}}|A\n", LDR_OK, 0, NULL},
	{"{\"js\":\"x\\u0000\\ud800\\n\",\"a\":{\"b\":\"}\"}}\n"
	"{\"js\":null}\n{\"js\":-1.5}\n{\"js\":true}", 0,
	"j:{\"b\":\"}\"}|A|j:\"x\\u0000\\ud800\\n\"|A\nA|A|N|A\nA|A|j:-1.5|A\nA|A|j:true|A\n",
	LDR_OK, 0, NULL},
	{"{\"js\":[[[]],[],{},[{}]] }", 0, "A|A|j:[[[]],[],{},[{}]]|A\n", LDR_OK, 0, NULL},
	{"{\"js\":[1,]}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":[,1]}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":[1 2]}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":[1}}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":{\"a\":1]}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":{\"a\":1,}}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":{a:1}}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":{\"a\"}}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":{1:2}}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":[\"\\x\"]}", 0, "", LDR_BAD_ESCAPE, 1, "js"},
	{"{\"js\":[\"\\u00\"]}", 0, "", LDR_BAD_ESCAPE, 1, "js"},
	{"{\"js\":[\n1]}", 0, "", LDR_UNEXPECTED, 1, "js"},
	{"{\"js\":[1", 0, "", LDR_TRUNCATED, 1, "js"},
	/* what is not an object per line */
	{"[{\"a\":1}]", 0, "", LDR_UNEXPECTED, 1, ""},
	{"1\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"\n\n\"x\"\n", 0, "", LDR_UNEXPECTED, 3, ""},
	{"{}\n\0", 4, "A|A|A|A\n", LDR_UNEXPECTED, 2, ""},
	{"{} {}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{}\r{}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{},\n{}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\n\"a\":1}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":1,}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\" 1}\n", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":}\n", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{'a':1}\n", 0, "", LDR_UNEXPECTED, 1, ""},
	{"{\"a\":1;\"b\":2}\n", 0, "", LDR_UNEXPECTED, 1, "a"},
	{"{\"a\":1", 0, "", LDR_TRUNCATED, 1, "a"},
	{"{}\n{\"a", 0, "A|A|A|A\n", LDR_TRUNCATED, 2, ""},
	/* keys that are no columns */
	{"{\"a\":1}\n{\"zz\":1}\n", 0, "b:1|A|A|A\n", LDR_UNKNOWN_COLUMN, 2, "zz"},
	{"{\"zz\":null}\n", 0, "", LDR_UNKNOWN_COLUMN, 1, "zz"},
	{"{\"A\":1}\n", 0, "", LDR_UNKNOWN_COLUMN, 1, "A"},
	{"{\"\":1}\n", 0, "", LDR_UNKNOWN_COLUMN, 1, ""},
	{"{\"aa\":1}\n", 0, "", LDR_UNKNOWN_COLUMN, 1, "aa"},
	{"{\"a\\u0000\":1}\n", 0, "", LDR_NUL_CHARACTER, 1, ""},
};

/* All rows are there if only white space lies behind the last one. */
static bool
only_space(const char *data, size_t len, int nrows)
{
	(void) nrows;
	if (nrows == 0 && len > 0 && data[0] == '\xEF')
		return len == 3;
	for (size_t i = 0; i < len; i++)
		if (strchr(" \t\r\n", data[i]) == NULL || data[i] == '\0')
			return false;
	return true;
}

/* Nested as deep as allowed, and one level more. */
static void
depth(const RowsOptions *options)
{
	for (int extra = 0; extra < 2; extra++)
	{
		int			levels = LDR_MAX_DEPTH - 1 + extra;	/* the row is one, too */
		Rows		file = {0};
		Rows		got;

		rows_put(&file, "{\"js\":", 6);
		for (int i = 0; i < levels; i++)
			rows_put(&file, i % 3 ? "[" : "{\"k\":", i % 3 ? 1 : 5);
		rows_put(&file, "0", 1);
		for (int i = levels - 1; i >= 0; i--)
			rows_put(&file, i % 3 ? "]" : "}", 1);
		rows_put(&file, "}\n", 2);
		got = rows_read(file.text, file.len, options);
		CHECK_INT(got.status, extra ? LDR_TOO_DEEP : LDR_END);
		CHECK_INT(got.n, extra ? 0 : 1);
		rows_free(&got);
		rows_free(&file);
	}
}

/* Many columns, named in an order that changes from row to row. */
static void
many_columns(void)
{
	static LdrColumnName names[LDR_MAX_COLUMNS];
	RowsOptions options = {LDR_JSONL, {names, LDR_MAX_COLUMNS, 0, false}, 0, 0};
	Rows		file = {0};
	Rows		want = {0};
	Rows		got;
	char		text[64];

	for (int i = 0; i < LDR_MAX_COLUMNS; i++)
	{
		snprintf(text, sizeof(text), "c%d", i * 7919);
		names[i].name = strdup(text);
	}
	for (int row = 0; row < 5; row++)
	{
		for (int i = 0; i < LDR_MAX_COLUMNS; i++)
		{
			int			column = (i * (row < 2 ? 1 : 2 * row + 3)) % LDR_MAX_COLUMNS;

			column = row % 2 ? column : LDR_MAX_COLUMNS - 1 - column;
			rows_put(&file, text, (size_t) snprintf(text, sizeof(text), "%s\"%s\":\"%d\"",
													i ? "," : "{", names[column].name, column));
			rows_put(&want, text, (size_t) snprintf(text, sizeof(text), "%ss:%d", i ? "|" : "", i));
		}
		rows_put(&file, "}\n", 2);
		rows_put(&want, "\n", 1);
	}
	got = rows_read(file.text, file.len, &options);
	CHECK_INT(got.status, LDR_END);
	/* steps that divide the number of columns leave some out: count fields that are there */
	CHECK(strncmp(got.text, want.text, want.len / 5) == 0);
	CHECK_INT(got.n, 5);
	rows_free(&got);
	rows_free(&want);
	rows_free(&file);
	for (int i = 0; i < LDR_MAX_COLUMNS; i++)
		free((char *) names[i].name);
}

int
main(void)
{
	RowsOptions options = {LDR_JSONL, {columns, 4, 0, false}, 0, 0};

	for (int i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++)
		rows_case(&cases[i], i, options, only_space);
	depth(&options);
	many_columns();
	return unit_report("test_jsonl");
}
