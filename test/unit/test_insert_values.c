/*
 * test/unit/test_insert_values.c: the insert_values reader.
 */
#include <strings.h>

#include "rows.h"

static const LdrColumnName columns[] = {{"a", false}, {"b", false}, {"c\"d", false}};

#define H1 "INSERT INTO {}(\"a\")\nVALUES\n"
#define H2 "INSERT INTO {}(\"a\",\"b\")\nVALUES\n"

static const RowsCase cases[] = {
	/* what is plain */
	{H1, 0, "", LDR_OK, 0, NULL},
	{H2 "(1,E'x');", 0, "b:1|s:x\n", LDR_OK, 0, NULL},
	{H2 "(1,E'x'),\n(2,E'y');", 0, "b:1|s:x\nb:2|s:y\n", LDR_OK, 0, NULL},
	{H2 "(1,E'x'),\n(2,E'y');\n\n", 0, "b:1|s:x\nb:2|s:y\n", LDR_OK, 0, NULL},
	{"INSERT INTO {}( A , b)\nVALUES\n(1,2);", 0, "b:1|b:2\n", LDR_OK, 0, NULL},
	{"INSERT INTO {}(\"c\"\"d\",\"a\")\nVALUES\n(1,2);", 0, "b:1|b:2\n", LDR_OK, 0, NULL},
	{"\n insert  into {} ( \"a\" ,\r\n\t\"b\" ) values( 1 , 2 ) ,\n\n( 3\n,\n4 ) ;", 0,
	"b:1|b:2\nb:3|b:4\n", LDR_OK, 0, NULL},
	/* several statements */
	{H1 "(1),\n(2);\n" H1 "(3);" H1 "(4);\n", 0, "b:1\nb:2\nb:3\nb:4\n", LDR_OK, 0, NULL},
	{H1 "(1);\nINSERT INTO {}(\"b\")\nVALUES\n(2);", 0, "b:1\n", LDR_UNEXPECTED, 4, "b"},
	{H2 "(1,2);\n" H1 "(2);", 0, "b:1|b:2\n", LDR_UNEXPECTED, 4, ""},
	{H1 "(1);\n" H2 "(2,3);", 0, "b:1\n", LDR_UNEXPECTED, 4, "b"},
	{H1 "(1);\n" H1, 0, "b:1\n", LDR_TRUNCATED, 6, ""},
	{H1 "(1);\nx", 0, "b:1\n", LDR_UNEXPECTED, 4, ""},
	{H1 ";", 0, "", LDR_UNEXPECTED, 3, ""},
	{H1 "(1);;", 0, "b:1\n", LDR_UNEXPECTED, 3, ""},
	/* words and numbers */
	{H2 "(NULL,null),(True,FALSE),(nan,-inf),(Infinity,+InF);", 0,
	"N|N\nb:True|b:FALSE\nb:nan|b:-inf\nb:Infinity|b:+InF\n", LDR_OK, 0, NULL},
	{H2 "(0,-1),(+1.5,.5),(5.,1e10),(1.5E-7,-.5e+3);", 0,
	"b:0|b:-1\nb:+1.5|b:.5\nb:5.|b:1e10\nb:1.5E-7|b:-.5e+3\n", LDR_OK, 0, NULL},
	{H1 "(1.2.3);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(1e);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(.);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(-);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(1-1);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(--1);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(-true);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(0x1f);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(1_000);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(nullx);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(DEFAULT);", 0, "", LDR_UNEXPECTED, 3, "a"},
	/* nothing is executed */
	{H1 "(now());", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "((1));", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(1+1);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "('1'::int);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(1) RETURNING a;", 0, "", LDR_UNEXPECTED, 3, ""},
	{H1 "(1);DROP TABLE x;", 0, "b:1\n", LDR_UNEXPECTED, 3, ""},
	{H1 "(1 -- x\n);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(B'1');", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "('a'\n'b');", 0, "", LDR_UNEXPECTED, 4, "a"},
	{H1 "($$x$$);", 0, "", LDR_UNEXPECTED, 3, "a"},
	{"SELECT 1;", 0, "", LDR_UNEXPECTED, 1, ""},
	{"INSERT INTO t(\"a\") VALUES (1);", 0, "", LDR_UNEXPECTED, 1, ""},
	/* plain strings */
	{H2 "('',''''),('it''s','\\n\\x00'),('x\n\ny',' ');\n", 0,
	"s:|s:'\ns:it's|s:\\n\\x00\ns:x\n\ny|s: \n", LDR_OK, 0, NULL},
	{H1 "('\\xdeadbeef'),('\\');", 0, "s:\\xdeadbeef\ns:\\\n", LDR_OK, 0, NULL},
	/* E strings */
	{H2 "(E'',e''''),(E'it''s',E'it\\'s');", 0, "s:|s:'\ns:it's|s:it's\n", LDR_OK, 0, NULL},
	{H1 "(E'\\b\\f\\n\\r\\t\\\\\\'\\\"\\q\\\xC5\xBC');", 0,
	"s:\b\f\n\r\t\\'\"q\xC5\xBC\n", LDR_OK, 0, NULL},
	{H1 "(E'\\1\\12\\1018\\377\\401');", 0, "s:\x01\nA8\xff\x01\n", LDR_OK, 0, NULL},
	{H1 "(E'\\x1\\x41\\x411\\xg\\x');", 0, "s:\x01" "AA1xgx\n", LDR_OK, 0, NULL},
	{H1 "(E'\\u0041\\u20aC\\U0001F600\\ud83d\\ude00\\ud83d\\U0000de00');", 0,
	"s:A\xE2\x82\xAC\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\n", LDR_OK, 0, NULL},
	{H1 "(E'a\x01\x1f\t\r\n\xE2\x80\xA8\xff\\\nz\\n'),\n(1);", 0,
	"s:a\x01\x1f\t\r\n\xE2\x80\xA8\xff\nz\n\nb:1\n", LDR_OK, 0, NULL},
	{H2 "(E'0123456789abcdef\\\\',E'0123456789abcdef''');", 0,
	"s:0123456789abcdef\\|s:0123456789abcdef'\n", LDR_OK, 0, NULL},
	{H1 "(E'\\v');", 0, "", LDR_BAD_ESCAPE, 3, "a"},
	{H1 "(E'\\u12');", 0, "", LDR_BAD_ESCAPE, 3, "a"},
	{H1 "(E'\\U0001F60');", 0, "", LDR_BAD_ESCAPE, 3, "a"},
	{H1 "(E'\\U00110000');", 0, "", LDR_BAD_ESCAPE, 3, "a"},
	{H1 "(E'\\ud83d');", 0, "", LDR_BAD_ESCAPE, 3, "a"},
	{H1 "(E'\n\\ud83d\\n');", 0, "", LDR_BAD_ESCAPE, 4, "a"},
	{H1 "(E'\\ud83d\\u0041');", 0, "", LDR_BAD_ESCAPE, 3, "a"},
	{H1 "(E'\\udc00');", 0, "", LDR_BAD_ESCAPE, 3, "a"},
	{H1 "(E'x\\0');", 0, "", LDR_NUL_CHARACTER, 3, "a"},
	{H1 "(E'x\\x00');", 0, "", LDR_NUL_CHARACTER, 3, "a"},
	{H1 "(E'x\\400');", 0, "", LDR_NUL_CHARACTER, 3, "a"},
	{H1 "(E'x\\u0000');", 0, "", LDR_NUL_CHARACTER, 3, "a"},
	{H1 "('x\0');", sizeof(H1) + 6, "", LDR_NUL_CHARACTER, 3, "a"},
	{H1 "(E'\\n\0');", sizeof(H1) + 8, "", LDR_NUL_CHARACTER, 3, "a"},
	{H1 "(E'\\\0');", sizeof(H1) + 7, "", LDR_NUL_CHARACTER, 3, "a"},
	{H1 "(\0 1);", sizeof(H1) + 5, "", LDR_UNEXPECTED, 3, "a"},
	/* wrong numbers of values */
	{H2 "(1,2),\n(3);", 0, "b:1|b:2\n", LDR_TOO_FEW_FIELDS, 4, "b"},
	{H2 "(1,2),\n(3,4,5);", 0, "b:1|b:2\n", LDR_TOO_MANY_FIELDS, 4, "b"},
	{H1 "();", 0, "", LDR_UNEXPECTED, 3, "a"},
	{H1 "(,);", 0, "", LDR_UNEXPECTED, 3, "a"},
	/* cut */
	{H1 "(1)", 0, "", LDR_TRUNCATED, 3, ""},
	{H1 "(1),", 0, "b:1\n", LDR_TRUNCATED, 3, ""},
	{H1 "(1),\n(E'x\ny", 0, "b:1\n", LDR_TRUNCATED, 4, "a"},
	{H1 "(1),\n(2),;", 0, "b:1\nb:2\n", LDR_UNEXPECTED, 4, ""},
	{"INSERT INTO {}(\"a\")\nVALUES", 0, "", LDR_TRUNCATED, 2, ""},
	{"INSERT", 0, "", LDR_TRUNCATED, 1, ""},
	/* headers */
	{"", 0, "", LDR_NO_HEADER, 0, ""},
	{" \n", 0, "", LDR_NO_HEADER, 0, ""},
	{"INSERT INTO {}(\"a\",\"x\")\nVALUES\n(1,2);", 0, "", LDR_UNKNOWN_COLUMN, 1, "x"},
	{"INSERT INTO {}(\"a\",\n\"a\")\nVALUES\n(1,2);", 0, "", LDR_DUPLICATE_COLUMN, 2, "a"},
	{"INSERT INTO {}(\"a\",\"b\",\"c\"\"d\",\"a\")\nVALUES\n", 0, "", LDR_DUPLICATE_COLUMN, 1, "a"},
	{"INSERT INTO {}(X)\nVALUES\n(1);", 0, "", LDR_UNKNOWN_COLUMN, 1, "x"},
	{"INSERT INTO {}(1a)\nVALUES\n(1);", 0, "", LDR_UNEXPECTED, 1, ""},
	{"INSERT INTO {}(a b)\nVALUES\n(1);", 0, "", LDR_UNEXPECTED, 1, ""},
	{"INSERT INTO {}(a", 0, "", LDR_TRUNCATED, 1, ""},
	{"INSERT INTO {}()\nVALUES\n(1);", 0, "", LDR_UNEXPECTED, 1, ""},
	{"INSERT INTO {}(\"\")\nVALUES\n(1);", 0, "", LDR_UNKNOWN_COLUMN, 1, ""},
	{"INSERT INTO {}(\"a\") VALUESX (1);", 0, "", LDR_UNEXPECTED, 1, ""},
};

/*
 * All rows are there if the file ended with a semicolon, or if there is a header and no row at all.
 */
static bool
complete(const char *data, size_t len, int nrows)
{
	while (len > 0 && strchr(" \t\r\n", data[len - 1]) != NULL && data[len - 1] != '\0')
		len--;
	if (nrows > 0)
		return len == 1 + strspn(data, " \t\r\n") && data[len - 1] == ';';
	return len > 6 && strncasecmp(data + len - 6, "values", 6) == 0;
}

int
main(void)
{
	RowsOptions options = {LDR_INSERT_VALUES, {columns, 3, 0, false}, 0, 0};

	for (int i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++)
		rows_case(&cases[i], i, options, complete);
	return unit_report("test_insert_values");
}
