/*
 * test/unit/test_split.c: blocks of a file, read one by one, give what the file gives.
 */
#include "../fuzz/fuzz_rows.h"
#include "reader/mask.h"
#include "rows.h"

static const LdrColumnName columns[] = {{"a", false}, {"b", false}, {"c", true}};
static const LdrReaderOptions options = {columns, 3, 0, false};

static uint32_t seed;

static uint32_t
split_random(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static void
put(Rows *file, const char *text)
{
	rows_put(file, text, strlen(text));
}

/* Some pieces of text, of a list that ends with NULL. */
static void
put_some(Rows *file, const char *const *pieces, uint32_t most)
{
	uint32_t	n = 0;

	while (pieces[n] != NULL)
		n++;
	for (uint32_t i = split_random(most); i > 0; i--)
		put(file, pieces[split_random(n)]);
}

/* Long values are rare: the length of one. */
static uint32_t
value_length(void)
{
	return split_random(60) == 0 ? 400 : 8;
}

static void
make_csv(Rows *file, int rows)
{
	static const char *const plain[] = {"a", "bc", "1", "\xC3\xA4", " ", "\t", "'", "\\", NULL};
	static const char *const quoted[] = {"a", "\"\"", ",", "\n", "\r", "\r\n", "\xC3\xA4", "x\"\"",
	NULL};
	static const char *const ends[] = {"\n", "\r\n", "\r"};

	put(file, "a,b,c\n");
	for (int i = 0; i < rows; i++)
		for (int n = 0; n < 3; n++)
		{
			switch (split_random(4))
			{
				case 0:
					put(file, "\"");
					put_some(file, quoted, value_length());
					put(file, "\"");
					break;
				case 1:			/* quotes inside of a field */
					put_some(file, plain, 4);
					put(file, "\"");
					put_some(file, quoted, 4);
					put(file, "\"");
					put_some(file, plain, 4);
					break;
				default:
					put_some(file, plain, value_length());
			}
			put(file, n < 2 ? "," : ends[split_random(3)]);
		}
}

static void
put_literal(Rows *file)
{
	static const char *const escaped[] = {"a", "''", "\\'", "\\\\", "\n", "),", ");", "(",
	"\\n", "\\)", "\"", NULL};
	static const char *const plain[] = {"a", "''", "\\", "\n", "),", ");", "(", "E", "\"", NULL};
	static const char *const bare[] = {"NULL", "1", "-2.5", "True", "nan", "1e5"};
	bool		escapes = split_random(2) == 0;

	if (split_random(3) == 0)
	{
		put(file, bare[split_random(6)]);
		return;
	}
	put(file, escapes ? "E'" : "'");
	put_some(file, escapes ? escaped : plain, value_length());
	put(file, "'");
}

static void
make_insert_values(Rows *file, int rows)
{
	static const char *const space[] = {" ", "\n", "\r\n", "\t", NULL};

	for (int i = 0; i < rows; i++)
	{
		bool		last = i + 1 == rows || split_random(7) == 0;

		if (i == 0 || file->text[file->len - 1] == ';')
			put(file, i % 2 ? "\nINSERT INTO {}(\"a\",b,\"c\")\nVALUES\n" :
				"INSERT INTO {}(a,b,c) VALUES(");
		if (file->text[file->len - 1] != '(')
			put(file, "(");
		for (int n = 0; n < 3; n++)
		{
			put_some(file, space, 2);
			put_literal(file);
			put(file, n < 2 ? "," : ")");
		}
		put_some(file, space, 2);
		put(file, last ? ";" : ",");
		if (!last)
			put_some(file, space, 2);
	}
}

static void
make_jsonl(Rows *file, int rows)
{
	static const char *const text[] = {"a", "\\\"", "\\\\", "\\n", "}", "{", ",", "\xC3\xA4",
	"\\u00e4", NULL};
	static const char *const ends[] = {"\n", "\r\n", "\n\n", " \n \n"};

	for (int i = 0; i < rows; i++)
	{
		put(file, "{\"a\":");
		put(file, i % 3 ? "1" : "null");
		put(file, ", \"b\": \"");
		put_some(file, text, value_length());
		put(file, "\",\"c\":{\"x\":[1,2,\"");
		put_some(file, text, 5);
		put(file, "\"]}}");
		put(file, ends[split_random(4)]);
	}
}

/* Read it whole and in blocks of all sizes. Returns how the whole ended. */
static LdrStatus
check_split(LdrFormat format, const char *data, size_t len, const LdrReaderOptions *how)
{
	static const size_t sizes[] = {1, 2, 7, 20, 63, 64, 65, 100, 128, 200, 500, 1000, 4095,
	4096, 4097, 6000};
	size_t		window = ldr_reader_limits.window;
	const uint8_t *bytes = (const uint8_t *) data;
	FuzzResult	whole = fuzz_read_rows(format, how, bytes, len, 1 << 16, len + 1);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) + 3; i++)
	{
		size_t		size = i < 3 ? len + i - (len > 0) : sizes[i - 3];
		FuzzResult	got = fuzz_split_rows(format, how, bytes, len, size, i % 3 ? len + 1 : 1 + i);

		CHECK_MSG(got.status == whole.status && got.rows == whole.rows && got.hash == whole.hash &&
				  got.err.line == whole.err.line && got.err.column_no == whole.err.column_no &&
				  strcmp(got.err.message, whole.err.message) == 0 &&
				  strcmp(got.err.hint, whole.err.hint) == 0 &&
				  strcmp(got.err.column, whole.err.column) == 0,
				  "format %d, %zu bytes in blocks of %zu: %lld rows, %d \"%s\" line %lld, "
				  "not %lld, %d \"%s\" line %lld",
				  format, len, size, (long long) got.rows, got.status, got.err.message,
				  (long long) got.err.line, (long long) whole.rows, whole.status,
				  whole.err.message, (long long) whole.err.line);
	}
	ldr_reader_limits.window = window;
	return whole.status;
}

typedef void (*MakeFile) (Rows *file, int rows);

static const MakeFile make[] = {
	[LDR_CSV] = make_csv,[LDR_INSERT_VALUES] = make_insert_values,[LDR_JSONL] = make_jsonl
};

/* Good files, the same cut anywhere, and with a byte changed. */
static void
random_files(LdrFormat format)
{
	for (int i = 0; i < 40; i++)
	{
		Rows		file = {0};

		rows_put(&file, "", 0);
		seed = (uint32_t) i;
		make[format] (&file, i < 20 ? i : (int) split_random(200));
		if (i > 0 || format == LDR_CSV)
			CHECK_INT(check_split(format, file.text, file.len, &options), LDR_END);
		for (int j = 0; j < 10 && file.len > 0; j++)
		{
			size_t		at = split_random((uint32_t) file.len);
			char		was = file.text[at];

			check_split(format, file.text, at, &options);
			file.text[at] = "\"'\\,;()\n\r x{}\0E"[split_random(16)];
			check_split(format, file.text, file.len, &options);
			file.text[at] = was;
		}
		rows_free(&file);
	}
}

/* What is easily got wrong. */
static void
edges(void)
{
	static const struct
	{
		LdrFormat	format;
		const char *text;
		LdrStatus	status;
	}			cases[] = {
		{LDR_CSV, "", LDR_NO_HEADER},
		{LDR_CSV, "a,b", LDR_END},
		{LDR_CSV, "\xEF\xBB\xBF" "a\n1\n2", LDR_END},
		{LDR_CSV, "a\r1\r\r\n\n\r\"\r\n\"\r\"\n\r\"\r\n", LDR_END},
		{LDR_CSV, "a\n1\n\"2\n3\n", LDR_UNTERMINATED_QUOTE},
		{LDR_CSV, "a\n1\n2,\"\n\"\n3\n", LDR_END},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES\n", LDR_END},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES (1);\n \n", LDR_END},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES (1),", LDR_TRUNCATED},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES (1), (2) ", LDR_TRUNCATED},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES (1);INSERT INTO {}(a) VALUES", LDR_TRUNCATED},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES (1);INSERT INTO {}(\"it's)\",a) VALUES (1);",
		LDR_UNKNOWN_COLUMN},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES (1);INSERT INTO {}(b) VALUES (1);",
		LDR_UNEXPECTED},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES ('\\'), (E'\\'),'), ('E'), (''';'), (E'''\\''), ('''');",
		LDR_END},
		{LDR_INSERT_VALUES, "INSERT INTO {}(a) VALUES (1), (1,2), (E'\\v),('), (3);", LDR_END},
		{LDR_JSONL, "", LDR_END},
		{LDR_JSONL, "\n\n", LDR_END},
		{LDR_JSONL, "  ", LDR_END},
		{LDR_JSONL, "\xEF\xBB\xBF{\"a\":1}\n{\"b\":1}", LDR_END},
		{LDR_JSONL, "{\"a\":1}\n{\"b\":1", LDR_TRUNCATED},
		{LDR_JSONL, "{\"a\":1}\n{\"b\":\n1}", LDR_END},
	};
	LdrReaderOptions none = {columns, 3, ';', true};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		LdrStatus	status = check_split(cases[i].format, cases[i].text, strlen(cases[i].text),
										 &options);

		CHECK_MSG(status == cases[i].status, "case %zu: %d, not %d", i, status, cases[i].status);
	}
	CHECK_INT(check_split(LDR_CSV, "1;\"2\n;\"\n3;4\n", 12, &none), LDR_END);
	CHECK_INT(check_split(LDR_CSV, "", 0, &none), LDR_END);
}

/* Names of columns that would end a row elsewhere: they come again with each statement. */
static void
names(void)
{
	static const LdrColumnName odd[] = {{"x),(", false}, {"it's", false}, {"\"E", false}};
	LdrReaderOptions how = {odd, 3, 0, false};
	const char *text = "INSERT INTO {}(\"x),(\",\"it's\",\"\"\"E\") VALUES (1,2,3);\n"
		"INSERT INTO {}(\"x),(\",\"it's\",\"\"\"E\") VALUES (1,2,3),(4,5,6);"
		"INSERT INTO {}(\"x),(\",\"it's\",\"\"\"E\") VALUES (1,'2',3);";

	CHECK_INT(check_split(LDR_INSERT_VALUES, text, strlen(text), &how), LDR_END);
}

/* A block has as many rows as fit, and only a row that does not fit is left to the reader. */
static void
fullness(LdrFormat format)
{
	Rows		file = {0};
	LdrError	err = {0};
	LdrReader  *r;
	LdrRow		row;
	LdrBlock	block;
	LdrStatus	status;
	size_t		size = 300;
	char	   *buf = malloc(size + LDR_BLOCK_SLACK);
	int			blocks = 0;

	seed = 5;
	rows_put(&file, "", 0);
	make[format] (&file, 2000);
	r = ldr_reader_open(format, step_source(file.text, file.len, 0), &options, &err);
	while ((status = ldr_reader_split(r, buf, size, &block, &err)) != LDR_END)
	{
		CHECK(status == LDR_OK || status == LDR_TOO_LONG);
		if (status == LDR_TOO_LONG)
		{
			CHECK_INT(ldr_reader_next(r, &row, &err), LDR_OK);
			CHECK(r->raw_len + 60 > size);	/* a header and space may come before it */
			continue;
		}
		blocks++;
		CHECK(block.len <= size);
		for (int i = 0; i < LDR_BLOCK_SLACK; i++)
			CHECK(buf[block.len + (size_t) i] == '\0');
	}
	/* most rows are short */
	CHECK_MSG((size_t) blocks * size < file.len * 3 / 2,
			  "%d blocks of %zu bytes", blocks, file.len);
	CHECK_INT(ldr_reader_split(r, buf, size, &block, &err), LDR_END);
	ldr_reader_close(r);
	rows_free(&file);
	free(buf);
}

/* Gives some bytes, then fails, each time with another message. */
static ssize_t
failing_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	StepSource *s = (StepSource *) self;
	ssize_t		got = step_read(self, buf, n, err);

	if (got > 0)
		return got;
	ldr_fail(err, LDR_CORRUPT, "failure %zu", ++s->step);
	return -1;
}

/*
 * Rows before a damage come out, then the damage. The reader of the file gives those that its
 * window has: some or all of them.
 */
static void
failing(LdrFormat format)
{
	Rows		file = {0};
	char		buf[200 + LDR_BLOCK_SLACK];
	size_t		window = ldr_reader_limits.window;

	ldr_reader_limits.window = 64;
	seed = 3;
	rows_put(&file, "", 0);
	make[format] (&file, 20);
	for (size_t len = 150; len < file.len; len++)
	{
		LdrError	err = {0};
		LdrSource  *source = step_source(file.text, len, 50);
		LdrReader  *r;
		LdrReader  *of_blocks;
		LdrRow		row;
		LdrBlock	block;
		LdrStatus	status;
		int			want = 0;
		int			got = 0;

		source->read = failing_read;
		r = ldr_reader_open(format, source, &options, &err);
		while ((status = ldr_reader_next(r, &row, &err)) == LDR_OK)
			want++;
		CHECK_INT(status, LDR_CORRUPT);
		CHECK(strcmp(err.message, "failure 51") == 0);
		ldr_reader_close(r);

		memset(&err, 0, sizeof(err));
		source = step_source(file.text, len, 50);
		source->read = failing_read;
		r = ldr_reader_open(format, source, &options, &err);
		of_blocks = ldr_block_reader_open(format, &options, r->columns, r->ncolumns, &err);
		do
		{
			status = ldr_reader_split(r, buf, 200, &block, &err);
			if (status == LDR_OK)
			{
				ldr_block_reader_begin(of_blocks, buf, &block);
				while ((status = ldr_reader_next(of_blocks, &row, &err)) == LDR_OK)
					got++;
				CHECK_INT(status, LDR_END);
				status = LDR_OK;
			}
			else if (status == LDR_TOO_LONG)
			{
				status = ldr_reader_next(r, &row, &err);
				got += (status == LDR_OK);
			}
		} while (status == LDR_OK);
		CHECK_INT(status, LDR_CORRUPT);
		CHECK_MSG(strcmp(err.message, "failure 51") == 0, "\"%s\"", err.message);
		CHECK_MSG(got >= want, "format %d, %zu bytes: %d rows, not %d", format, len, got, want);
		ldr_reader_close(of_blocks);
		ldr_reader_close(r);
	}
	ldr_reader_limits.window = window;
	rows_free(&file);
}

int
main(void)
{
	const LdrMaskWay *const *ways = ldr_mask_ways();

	for (int i = 0; ways[i] != NULL; i++)
	{
		ldr_mask_way = ways[i];
		edges();
		names();
		for (LdrFormat format = LDR_INSERT_VALUES; format <= LDR_JSONL; format++)
		{
			random_files(format);
			fullness(format);
			failing(format);
		}
	}
	return unit_report("test_split");
}
