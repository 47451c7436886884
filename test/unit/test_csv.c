/*
 * test/unit/test_csv.c: the csv reader.
 */
#include "rows.h"

static const LdrColumnName columns[] = {{"a", false}, {"b", false}, {"c d", false}, {"e\"f", true}};

static const RowsCase with_header[] = {
	/* what is plain */
	{"", 0, "", LDR_NO_HEADER, 0, NULL},
	{"\xEF\xBB\xBF", 0, "", LDR_NO_HEADER, 0, NULL},
	{"a,b", 0, "", LDR_OK, 0, NULL},
	{"a,b\n", 0, "", LDR_OK, 0, NULL},
	{"a,b\n1,2\n", 0, "b:1|b:2\n", LDR_OK, 0, NULL},
	{"a,b\n1,2", 0, "b:1|b:2\n", LDR_OK, 0, NULL},
	{"b,a\n1,2\n3,4\n", 0, "b:1|b:2\nb:3|b:4\n", LDR_OK, 0, NULL},
	{"\xEF\xBB\xBF\"a\",b\n1,2\n", 0, "b:1|b:2\n", LDR_OK, 0, NULL},
	{"\"c d\",\"e\"\"f\"\nx,y\n", 0, "b:x|b:y\n", LDR_OK, 0, NULL},
	{"a\n1\n", 0, "b:1\n", LDR_OK, 0, NULL},
	/* empty fields, quoted or not */
	{"a,b\n,\n\"\",\n,\"\"\n", 0, "b:|b:\ns:|b:\nb:|s:\n", LDR_OK, 0, NULL},
	{"a\n\n\"\"\n", 0, "b:\ns:\n", LDR_OK, 0, NULL},
	{"a\n1\n\n", 0, "b:1\nb:\n", LDR_OK, 0, NULL},
	{"a,b\n1,2\n\n", 0, "b:1|b:2\n", LDR_TOO_FEW_FIELDS, 3, "b"},
	/* quotes */
	{"a,b\n\"x,y\",\"say \"\"hi\"\"\"\n", 0, "s:x,y|s:say \"hi\"\n", LDR_OK, 0, NULL},
	{"a,b\n\"line\nbreak\",\"\r\n\"\n1,2\n", 0, "s:line\nbreak|s:\r\n\nb:1|b:2\n", LDR_OK, 0, NULL},
	{"a,b\nab\"cd\"ef,\"x\"y\n", 0, "s:abcdef|s:xy\n", LDR_OK, 0, NULL},
	{"a,b\nab\"c,\"\"d\"ef\"\",\"x\"\"\"\n", 0, "s:abc,\"def|s:x\"\n", LDR_OK, 0, NULL},
	{"a,b\n\"\"\"\",\"\"\"\"\"\"\n", 0, "s:\"|s:\"\"\n", LDR_OK, 0, NULL},
	{"a,b\n\"a\"\"b\" \"c\nd\",1\n", 0, "s:a\"b c\nd|b:1\n", LDR_OK, 0, NULL},
	{"a\n\"x\"", 0, "s:x\n", LDR_OK, 0, NULL},
	{"a\n\"x\"y", 0, "s:xy\n", LDR_OK, 0, NULL},
	/* \. and backslashes mean nothing */
	{"a\n\\.\n\"\\.\"\n\\n\n", 0, "b:\\.\ns:\\.\nb:\\n\n", LDR_OK, 0, NULL},
	/* ends of rows */
	{"a,b\r\n1,2\r\n3,4\r\n", 0, "b:1|b:2\nb:3|b:4\n", LDR_OK, 0, NULL},
	{"a,b\r1,2\r3,4\r", 0, "b:1|b:2\nb:3|b:4\n", LDR_OK, 0, NULL},
	{"a,b\n1,2\r\n3,4\r5,6", 0, "b:1|b:2\nb:3|b:4\nb:5|b:6\n", LDR_OK, 0, NULL},
	{"a,b\r\n\"1\"\"\",\"2\"\r\n", 0, "s:1\"|s:2\n", LDR_OK, 0, NULL},
	/* other control characters and UTF-8 are data */
	{"a,b\n\x01\t\x1f,z\xC5\xBC\xF0\x9F\x98\x80\x7f\n", 0,
	"b:\x01\t\x1f|b:z\xC5\xBC\xF0\x9F\x98\x80\x7f\n", LDR_OK, 0, NULL},
	{"a\n\"\x01\t12345678\x1f,\"\n", 0, "s:\x01\t12345678\x1f,\n", LDR_OK, 0, NULL},
	{"a\n 1 \n", 0, "b: 1 \n", LDR_OK, 0, NULL},
	/* wrong numbers of fields */
	{"a,b\n1\n", 0, "", LDR_TOO_FEW_FIELDS, 2, "b"},
	{"a,b\n1,2\n\n3,4\n", 0, "b:1|b:2\n", LDR_TOO_FEW_FIELDS, 3, "b"},
	{"a,b\n1,2\n3,4,\n", 0, "b:1|b:2\n", LDR_TOO_MANY_FIELDS, 3, ""},
	{"a,b\n1,2,3", 0, "", LDR_TOO_MANY_FIELDS, 2, ""},
	{"a\n1,2", 0, "", LDR_TOO_MANY_FIELDS, 2, ""},
	/* quotes without an end: the line where they began */
	{"a,b\n1,\"x\n\n3,4\n", 0, "", LDR_UNTERMINATED_QUOTE, 2, "b"},
	{"a,b\n\"1\n\",\"x\n\n3,4\n", 0, "", LDR_UNTERMINATED_QUOTE, 3, "b"},
	{"a,b\n1,\"x\"\"\n\n3,4\n", 0, "", LDR_UNTERMINATED_QUOTE, 2, "b"},
	{"a,b\n1,\"x\"\n\n\"", 0, "b:1|s:x\n", LDR_TOO_FEW_FIELDS, 3, "b"},
	{"a\n\"", 0, "", LDR_UNTERMINATED_QUOTE, 2, "a"},
	{"a\nx\"", 0, "", LDR_UNTERMINATED_QUOTE, 2, "a"},
	{"a,\"b", 0, "", LDR_UNTERMINATED_QUOTE, 1, ""},
	/* zero bytes */
	{"a,b\n1,x\0y\n", 10, "", LDR_NUL_CHARACTER, 2, "b"},
	{"a,b\n1,\"x\n\0y\"\n", 13, "", LDR_NUL_CHARACTER, 3, "b"},
	{"a,b\n1,\"x\"\"\0y\"\n", 15, "", LDR_NUL_CHARACTER, 2, "b"},
	{"a,b\n1,\"x\"\0", 10, "", LDR_NUL_CHARACTER, 2, "b"},
	{"a,b\0", 4, "", LDR_NUL_CHARACTER, 1, ""},
	{"\0", 1, "", LDR_NUL_CHARACTER, 1, ""},
	/* headers */
	{"\n1\n", 0, "", LDR_NO_HEADER, 1, ""},
	{"\"\"\n1\n", 0, "", LDR_NO_HEADER, 1, ""},
	{"a,x\n1,2\n", 0, "", LDR_UNKNOWN_COLUMN, 1, "x"},
	{"a,A\n1,2\n", 0, "", LDR_UNKNOWN_COLUMN, 1, "A"},
	{"a,\n1,2\n", 0, "", LDR_UNKNOWN_COLUMN, 1, ""},
	{"a,b,a\n1,2,3\n", 0, "", LDR_DUPLICATE_COLUMN, 1, "a"},
	{"a,b,c d,\"e\"\"f\",b,b,b,b,b\n", 0, "", LDR_DUPLICATE_COLUMN, 1, "b"},
};

static const RowsCase without_header[] = {
	{"", 0, "", LDR_OK, 0, NULL},
	{"1;2;3;4\n", 0, "b:1|b:2|b:3|b:4\n", LDR_OK, 0, NULL},
	{"\xEF\xBB\xBF" "1,5;\"2;\";3;4", 0, "b:1,5|s:2;|b:3|b:4\n", LDR_OK, 0, NULL},
	{"1;2;3\n", 0, "b:1|b:2|b:3\n", LDR_OK, 0, NULL},
	{"1;2;3", 0, "", LDR_TOO_FEW_FIELDS, 1, "e\"f"},
	{"1;2;3\n1;2\n", 0, "b:1|b:2|b:3\n", LDR_TOO_FEW_FIELDS, 2, "c d"},
	{"1;2;3\n1;2;3;4\n", 0, "b:1|b:2|b:3\n", LDR_TOO_MANY_FIELDS, 2, ""},
	{"1;2;3;4;5\n", 0, "", LDR_TOO_MANY_FIELDS, 1, ""},
};

static const RowsCase with_tabs[] = {
	{"a\tb\n1\t2\n\"x\ty\"\t,\n", 0, "b:1|b:2\ns:x\ty|b:,\n", LDR_OK, 0, NULL},
};

/* All rows are there if nothing but ends of line lies behind the last one. */
static bool
nothing_left(const char *data, size_t len, int nrows)
{
	if (nrows == 0)				/* a header at most */
	{
		const char *eol = memchr(data, '\n', len);

		return eol == NULL || eol == data + len - 1;
	}
	for (size_t i = 0; i < len; i++)
		if (data[i] != '\n' && data[i] != '\r')
			return false;
	return true;
}

#define RUN(cases, options) \
	for (int i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++) \
		rows_case(&cases[i], i, options, nothing_left)

/* A header of as many columns as a table can have, in reverse order. */
static void
many_columns(void)
{
	static LdrColumnName names[LDR_MAX_COLUMNS];
	RowsOptions options = {LDR_CSV, {names, LDR_MAX_COLUMNS, 0, false}, 100, 7};
	Rows		file = {0};
	Rows		got;

	for (int i = 0; i < LDR_MAX_COLUMNS; i++)
	{
		char		name[32];

		snprintf(name, sizeof(name), "column_%d", i);
		names[i].name = strdup(name);
	}
	for (int row = 0; row < 3; row++)
		for (int i = LDR_MAX_COLUMNS - 1; i >= 0; i--)
		{
			rows_put(&file, names[i].name, strlen(names[i].name));
			rows_put(&file, i > 0 ? "," : "\n", 1);
		}
	got = rows_read(file.text, file.len, &options);
	CHECK_INT(got.status, LDR_END);
	CHECK_INT(got.n, 2);
	CHECK(strncmp(got.text, "b:column_1599|b:column_1598|", 28) == 0);
	rows_free(&got);
	rows_free(&file);
	for (int i = 0; i < LDR_MAX_COLUMNS; i++)
		free((char *) names[i].name);
}

/* A reader knows which rows are ASCII, but for those near others that are not. */
static void
ascii(void)
{
	LdrReaderOptions options = {columns, 2, 0, false};
	Rows		file = {0};
	LdrError	err = {0};
	LdrReader  *r;
	LdrRow		row;
	int			known = 0;

	rows_put(&file, "a,b\n", 4);
	for (int i = 0; i < 3000; i++)
	{
		if (i % 1000 == 500)
			rows_put(&file, "\xC3\xA4,1\n", 5);
		else
			rows_put(&file, "some text,\"and \"\"more, of it\"\n", 30);
	}
	r = ldr_reader_open(LDR_CSV, step_source(file.text, file.len, 0), &options, &err);
	for (int i = 0; i < 3000; i++)
	{
		CHECK_INT(ldr_reader_next(r, &row, &err), LDR_OK);
		known += row.ascii;
		if (i % 1000 == 500)
			CHECK(!row.ascii);
	}
	CHECK_MSG(known > 2800, "%d rows of 2997 are known to be ASCII", known);
	ldr_reader_close(r);
	rows_free(&file);
}

static void
bad_delimiter(void)
{
	RowsOptions options = {LDR_CSV, {columns, 4, '"', false}, 0, 0};
	Rows		rows = rows_read("a\n", 2, &options);

	CHECK_INT(rows.status, LDR_UNSUPPORTED);
	rows_free(&rows);
}

int
main(void)
{
	RowsOptions header = {LDR_CSV, {columns, 4, 0, false}, 0, 0};
	RowsOptions none = {LDR_CSV, {columns, 4, ';', true}, 0, 0};
	RowsOptions tabs = {LDR_CSV, {columns, 4, '\t', false}, 0, 0};

	RUN(with_header, header);
	RUN(without_header, none);
	RUN(with_tabs, tabs);
	many_columns();
	ascii();
	bad_delimiter();
	return unit_report("test_csv");
}
