/*
 * test/unit/test_skip.c: reading on behind a row that is wrong.
 */
#include "rows.h"

static const LdrColumnName columns[] = {{"a", false}, {"b", false}};

/* Rows as rows.h writes them, "!line:raw" for a row that was passed over; the end, or the error. */
typedef struct SkipCase
{
	LdrFormat	format;
	const char *data;
	size_t		len;			/* 0: up to the first zero byte */
	const char *text;
	LdrStatus	status;
} SkipCase;

#define IV "INSERT INTO {}(\"a\",\"b\") VALUES\n"

static const SkipCase cases[] = {
	/* csv: too few, too many, zero bytes; quotes hide ends of lines */
	{LDR_CSV, "a,b\n1\n2,3\n", 0, "!2:1\nb:2|b:3\n", LDR_END},
	{LDR_CSV, "a,b\n\n\n1,2,3\n4,5", 0, "!2:\n!3:\n!4:1,2,3\nb:4|b:5\n", LDR_END},
	{LDR_CSV, "a,b\r\n1\r\n2,3\r\n4\r5,6", 0, "!2:1\nb:2|b:3\n!4:4\nb:5|b:6\n", LDR_END},
	{LDR_CSV, "a,b\n1,\"x\ny\",\"\"\"\n,\"\n2,3\n", 0, "!2:1,\"x\ny\",\"\"\"\n,\"\nb:2|b:3\n", LDR_END},
	{LDR_CSV, "a,b\n1,x\"\r\n\r\"y\"\n\",3\n2,3\n7\n", 0, "!2:1,x\"\r\n\r\"y\"\n\",3\nb:2|b:3\n!7:7\n", LDR_END},
	{LDR_CSV, "a,b\n1,x\0y\n2,3\n", 14, "!2:1,x\0y\nb:2|b:3\n", LDR_END},
	{LDR_CSV, "a,b\n1", 0, "!2:1\n", LDR_END},
	{LDR_CSV, "a,b\n1\r", 0, "!2:1\n", LDR_END},
	{LDR_CSV, "a,b\n1,2,3", 0, "!2:1,2,3\n", LDR_END},
	{LDR_CSV, "a,b\n1,2,3,\"x", 0, "", LDR_TOO_MANY_FIELDS},
	{LDR_CSV, "a,b\n1\n2,\"x\n", 0, "!2:1\n", LDR_UNTERMINATED_QUOTE},
	/* jsonl: a row is a line */
	{LDR_JSONL, "{\"a\":}\n{\"a\":1}\n", 0, "!1:{\"a\":}\nb:1|A\n", LDR_END},
	{LDR_JSONL, "[1]\n\n x\n{\"c\":1}\n{\"a\":\"\\u0000\"}\n{\"a\":\"\\ud800\"}\n{\"a\":1} {\n{}", 0,
	"!1:[1]\n!3:x\n!4:{\"c\":1}\n!5:{\"a\":\"\\u0000\"}\n!6:{\"a\":\"\\ud800\"}\n!7:{\"a\":1} {\nA|A\n", LDR_END},
	{LDR_JSONL, "{\"a\":tru}", 0, "!1:{\"a\":tru}\n", LDR_END},
	{LDR_JSONL, "x\n{\"a\":\"", 0, "!1:x\n", LDR_TRUNCATED},
	/* insert_values: literals by their outlines */
	{LDR_INSERT_VALUES, IV "(1),(2,3),(4,5,6)\n,\n(7,8);\n", 0, "!2:(1)\nb:2|b:3\n!2:(4,5,6)\nb:7|b:8\n", LDR_END},
	{LDR_INSERT_VALUES, IV "(1);\n" IV "(2,3);", 0, "!2:(1)\nb:2|b:3\n", LDR_END},
	{LDR_INSERT_VALUES, IV "(1,E'\\uD800'),\n(2,E'a\\x00'),(3,'it''s)'),(4,E'\\'),('),(E'\n\\\n''','),(',5,NULL)  ;", 0,
	"!2:(1,E'\\uD800')\n!3:(2,E'a\\x00')\nb:3|s:it's)\nb:4|s:'),(\n!3:(E'\n\\\n''','),(',5,NULL)\n", LDR_END},
	{LDR_INSERT_VALUES, IV "(1,'a\0b'),(2,3);", sizeof(IV "(1,'a\0b'),(2,3);") - 1, "!2:(1,'a\0b')\nb:2|b:3\n", LDR_END},
	{LDR_INSERT_VALUES, IV "(2,3),(1,now()),(4,5);", 0, "b:2|b:3\n", LDR_UNEXPECTED},
	{LDR_INSERT_VALUES, IV "(2,3),(1,'it's'),(4,5);", 0, "b:2|b:3\n", LDR_UNEXPECTED},
	{LDR_INSERT_VALUES, IV "(2,3),(1)", 0, "b:2|b:3\n", LDR_TOO_FEW_FIELDS},
	{LDR_INSERT_VALUES, IV "(2,3),(1) x", 0, "b:2|b:3\n", LDR_TOO_FEW_FIELDS},
	{LDR_INSERT_VALUES, IV "(1,2,3,'x", 0, "", LDR_TOO_MANY_FIELDS},
	{LDR_INSERT_VALUES, IV "(1,2,3 4),(5,6);", 0, "", LDR_TOO_MANY_FIELDS},
	{LDR_INSERT_VALUES, IV "(1,2,3,(4)),(5,6);", 0, "", LDR_TOO_MANY_FIELDS},
};

static void
put_skipped(Rows *rows, const LdrReader *r, const LdrRow *row)
{
	char		line[32];

	snprintf(line, sizeof(line), "!%lld:", (long long) row->line);
	rows_put(rows, line, strlen(line));
	rows_put(rows, r->raw, r->raw_len);
	rows_put(rows, "\n", 1);
}

static Rows
read_on(const SkipCase *c, size_t len, size_t window, size_t step)
{
	LdrReaderOptions options = {columns, 2, 0, false};
	size_t		before = ldr_reader_limits.window;
	Rows		rows = {0};
	LdrRow		row;
	LdrReader  *r;

	rows_put(&rows, "", 0);
	if (window > 0)
		ldr_reader_limits.window = window;
	r = ldr_reader_open(c->format, step_source(c->data, len, step), &options, &rows.err);
	rows.status = r == NULL ? rows.err.status : LDR_OK;
	while (rows.status == LDR_OK)
	{
		rows.status = ldr_reader_next(r, &row, &rows.err);
		if (rows.status == LDR_OK)
			rows_put_row(&rows, r, &row);
		else if (rows.status != LDR_END)
		{
			LdrStatus	failed = rows.status;

			rows.status = ldr_reader_skip(r, &row, &rows.err);
			if (rows.status == LDR_OK)
				put_skipped(&rows, r, &row);
			else
				CHECK_MSG(rows.status == failed && rows.err.status == failed, "status %d, not %d",
						  rows.status, failed);
		}
	}
	ldr_reader_close(r);
	ldr_reader_limits.window = before;
	return rows;
}

/* The text of a case, which may hold zero bytes: as long as what came. */
static void
check(const SkipCase *c, int i, size_t window, size_t step)
{
	size_t		len = c->len > 0 ? c->len : strlen(c->data);
	Rows		rows = read_on(c, len, window, step);

	CHECK_MSG(rows.status == c->status, "case %d, window %zu: status %d (%s), not %d", i, window,
			  rows.status, rows.err.message, c->status);
	CHECK_MSG(memcmp(rows.text, c->text, rows.len + 1) == 0, "case %d, window %zu:\n%snot\n%s", i,
			  window, rows.text, c->text);
	rows_free(&rows);
}

int
main(void)
{
	for (int i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++)
	{
		check(&cases[i], i, 0, 0);
		for (size_t window = 1; window < 60; window++)
			check(&cases[i], i, window, window % 3);
	}
	return unit_report("test_skip");
}
