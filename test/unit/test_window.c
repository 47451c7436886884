/*
 * test/unit/test_window.c: the growing buffer: long rows, limits, how often it reads and moves.
 */
#include <stdlib.h>

#include "reader/base.h"
#include "rows.h"

static const LdrColumnName columns[] = {{"a", false}, {"b", true}};

/* A source that makes its bytes up: head, then fill n times, then tail. */
typedef struct LongSource
{
	LdrSource	base;
	const char *head;
	const char *tail;
	char		fill;
	size_t		n;
	size_t		pos;
	int			reads;
} LongSource;

static ssize_t
long_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	LongSource *s = (LongSource *) self;
	size_t		head = strlen(s->head);
	size_t		i = 0;

	(void) err;
	s->reads++;
	while (i < n && s->pos < head)
		buf[i++] = s->head[s->pos++];
	if (i < n && s->pos < head + s->n)
	{
		size_t		left = head + s->n - s->pos;

		left = left < n - i ? left : n - i;
		memset(buf + i, s->fill, left);
		i += left;
		s->pos += left;
	}
	while (i < n && s->pos < head + s->n + strlen(s->tail))
		buf[i++] = s->tail[s->pos++ - head - s->n];
	return (ssize_t) i;
}

static void
long_close(LdrSource *self)
{
	(void) self;
}

static uint64_t
long_consumed(const LdrSource *self)
{
	return ((const LongSource *) self)->pos;
}

typedef struct LongCase
{
	LdrFormat	format;
	const char *head;
	const char *tail;
	char		fill;
	size_t		per_fill;		/* raw bytes of one byte of the value */
} LongCase;

static const LongCase cases[] = {
	{LDR_CSV, "a\n", "\n2\n", 'x', 1},
	{LDR_CSV, "a\n\"", "\"\n2\n", 'x', 1},
	{LDR_CSV, "a\n\"\n", "\"\n2\n", '"', 2},
	{LDR_CSV, "a\n\"", "\"\n2\n", '\n', 1},
	{LDR_JSONL, "{\"a\":\"", "\"}\n{\"a\":2}\n", 'x', 1},
	{LDR_JSONL, "{\"a\":\"\\n", "\"}\n{\"a\":2}\n", 'x', 1},
	{LDR_JSONL, "{\"a\":\"", "\"}\n{\"a\":2}\n", '\\', 2},
	{LDR_JSONL, "{\"b\":\"", "\"}\n{\"b\":2}\n", 'x', 1},
	{LDR_JSONL, "{\"a\":", "}\n{\"a\":2}\n", '7', 1},
	{LDR_INSERT_VALUES, "INSERT INTO {}(\"a\")\nVALUES\n('", "'),\n(2);", 'x', 1},
	{LDR_INSERT_VALUES, "INSERT INTO {}(\"a\")\nVALUES\n('", "'),\n(2);", '\'', 2},
	{LDR_INSERT_VALUES, "INSERT INTO {}(\"a\")\nVALUES\n(E'", "'),\n(2);", '\\', 2},
	{LDR_INSERT_VALUES, "INSERT INTO {}(\"a\")\nVALUES\n(", "),\n(2);", '7', 1},
};

/* Read a first row with a value of about len bytes and a short second one. */
static LdrStatus
read_long(const LongCase *c, size_t len, size_t *got, int *reads, LdrError *err)
{
	LdrReaderOptions options = {columns, 2, 0, false};
	LongSource	source = {{long_read, long_close, long_consumed}, c->head, c->tail, c->fill,
		len * c->per_fill, 0, 0};
	LdrReader  *r = ldr_reader_open(c->format, &source.base, &options, err);
	LdrStatus	status = (r == NULL) ? err->status : LDR_OK;
	LdrRow		row;
	int			n = 0;

	*got = 0;
	while (status == LDR_OK)
	{
		status = ldr_reader_next(r, &row, err);
		if (status != LDR_OK)
			break;
		for (int i = 0; i < r->ncolumns; i++)
			if (row.fields[i].len > *got)
				*got = row.fields[i].len;
		if (n++ == 1)
			CHECK(r->raw_len < 10);
	}
	if (status == LDR_END)
		CHECK_INT(n, 2);
	*reads = source.reads;
	ldr_reader_close(r);
	return status;
}

/* A value much longer than the window: all of it, with a number of reads that grows as its log. */
static void
test_long(void)
{
	for (int i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++)
	{
		size_t		len = (size_t) 32 * 1024 * 1024 / (cases[i].per_fill * cases[i].per_fill);
		size_t		got;
		int			reads;
		LdrError	err = {0};
		LdrStatus	status = read_long(&cases[i], len, &got, &reads, &err);

		CHECK_MSG(status == LDR_END, "case %d: status %d (%s)", i, status, err.message);
		CHECK_MSG(got >= len && got <= len + 3, "case %d: %zu bytes", i, got);
		CHECK_MSG(reads < 24, "case %d: %d reads", i, reads);
	}
}

/* Values and rows at their limits, and beyond. */
static void
test_limits(void)
{
	LdrReaderLimits saved = ldr_reader_limits;

	for (int i = 0; i < (int) (sizeof(cases) / sizeof(cases[0])); i++)
		for (size_t window = 8; window < 5000; window *= 5)
			for (size_t len = 994; len <= 1002; len++)
			{
				size_t		got;
				int			reads;
				LdrError	err = {0};
				LdrStatus	status;

				ldr_reader_limits = saved;
				ldr_reader_limits.window = window;
				status = read_long(&cases[i], len, &got, &reads, &err);
				CHECK_MSG(status == LDR_END, "case %d: status %d", i, status);

				/* just as long as allowed */
				ldr_reader_limits.field = got;
				CHECK_INT(read_long(&cases[i], len, &got, &reads, &err), LDR_END);
				ldr_reader_limits.field = got - 1;
				status = read_long(&cases[i], len, &got, &reads, &err);
				CHECK_MSG(status == LDR_TOO_LONG, "case %d: status %d with window %zu", i, status,
						  window);
				CHECK_MSG(err.line >= 1 && err.message[0] != '\0', "case %d: error", i);

				/* a row longer than its limit, which the window meets first */
				ldr_reader_limits.field = saved.field;
				ldr_reader_limits.record = 900;
				if (window < 900)
				{
					status = read_long(&cases[i], len, &got, &reads, &err);
					CHECK_MSG(status == LDR_TOO_LONG, "case %d: status %d", i, status);
				}
			}
	ldr_reader_limits = saved;
}

/* A quote without an end is noticed at the limit of a value, not at the end of a huge file. */
static void
test_endless(void)
{
	static const LongCase endless = {LDR_CSV, "a\n\"", "", 'x', 1};
	LdrReaderLimits saved = ldr_reader_limits;
	size_t		got;
	int			reads;
	LdrError	err = {0};

	ldr_reader_limits.field = 1000000;
	CHECK_INT(read_long(&endless, (size_t) 1 << 40, &got, &reads, &err), LDR_TOO_LONG);
	CHECK(reads < 10);
	ldr_reader_limits = saved;
}

/* What a huge row took is given back when short ones follow. */
static void
test_shrink(void)
{
	static char tail[8 * 1000 + 8];
	LdrReaderOptions options = {columns, 2, 0, false};
	/* so long that the window, when it holds this row, does not hold all others yet */
	LongSource	source = {{long_read, long_close, long_consumed}, "{\"a\":\"", tail, 'x',
		1020000, 0, 0};
	LdrReaderLimits saved = ldr_reader_limits;
	LdrError	err = {0};
	LdrReader  *r;
	LdrRow		row;
	int			n = 0;

	strcpy(tail, "\"}\n");
	for (int i = 0; i < 1000; i++)
		strcat(tail, "{\"a\":2}\n");
	ldr_reader_limits.window = 1000;
	r = ldr_reader_open(LDR_JSONL, &source.base, &options, &err);
	while (ldr_reader_next(r, &row, &err) == LDR_OK)
		if (n++ == 0)
			CHECK(((LdrReaderBase *) r)->w.size > 1000000);
		else
			CHECK(row.fields[0].len == 1 && *row.fields[0].data == '2');
	CHECK_INT(n, 1001);
	CHECK(((LdrReaderBase *) r)->w.size < 100000);
	ldr_reader_close(r);
	ldr_reader_limits = saved;
}

int
main(void)
{
	test_shrink();
	test_long();
	test_limits();
	test_endless();
	return unit_report("test_window");
}
