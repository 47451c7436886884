/*
 * test/unit/rows.h: read a whole file and write down what came out, in a form to compare.
 *
 *	a=b:12|s:text|N|A|j:{}		one line per row: kind and value of each field of the table
 *
 * Fields stand in the order of the file. Nothing is escaped, as tests choose their data.
 */
#ifndef LDR_ROWS_H
#define LDR_ROWS_H

#include <stdlib.h>

#include "reader/reader.h"
#include "reader/window.h"
#include "unit.h"

typedef struct Rows
{
	LdrStatus	status;			/* LDR_END, or what failed */
	LdrError	err;
	int			n;
	char	   *text;
	size_t		len;
	size_t		size;
	size_t		raw_end;		/* where the raw text of the last row ends in the file */
	size_t		last;			/* where the last row begins in text */
} Rows;

typedef struct RowsOptions
{
	LdrFormat	format;
	LdrReaderOptions reader;
	size_t		window;			/* 0: the default */
	size_t		step;			/* bytes that the source gives at once, 0: all */
} RowsOptions;

/* A source that gives few bytes at a time and then fails or ends. */
typedef struct StepSource
{
	LdrSource	base;
	const char *data;
	size_t		len;
	size_t		pos;
	size_t		step;
} StepSource;

static ssize_t __attribute__((unused))
step_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	StepSource *s = (StepSource *) self;
	size_t		left = s->len - s->pos;

	(void) err;
	if (n > s->step)
		n = s->step;
	if (n > left)
		n = left;
	if (n > 0)
		memcpy(buf, s->data + s->pos, n);
	s->pos += n;
	return (ssize_t) n;
}

static void __attribute__((unused))
step_close(LdrSource *self)
{
	free(self);
}

static uint64_t __attribute__((unused))
step_consumed(const LdrSource *self)
{
	return ((const StepSource *) self)->pos;
}

static LdrSource * __attribute__((unused))
step_source(const char *data, size_t len, size_t step)
{
	StepSource *s = calloc(1, sizeof(StepSource));

	s->base.read = step_read;
	s->base.close = step_close;
	s->base.consumed = step_consumed;
	s->data = data;
	s->len = len;
	s->step = step > 0 ? step : len + 1;
	return &s->base;
}

static void __attribute__((unused))
rows_put(Rows *rows, const char *data, size_t len)
{
	if (rows->len + len + 1 > rows->size)
	{
		rows->size = (rows->len + len + 1) * 2;
		rows->text = realloc(rows->text, rows->size);
	}
	if (len > 0)
		memcpy(rows->text + rows->len, data, len);
	rows->len += len;
	rows->text[rows->len] = '\0';
}

/* The kind of a field, a letter, and its value. */
static void __attribute__((unused))
rows_put_field(Rows *rows, const LdrField *f)
{
	rows_put(rows, &"NAbsji"[f->kind], 1);
	if (f->kind == LDR_NULL || f->kind == LDR_ABSENT)
		return;
	rows_put(rows, ":", 1);
	rows_put(rows, f->data, f->len);
}

/* Behind each field there is what LDR_FIELD_SLACK says: a sanitizer sees it. */
static void __attribute__((unused))
rows_touch_slack(const LdrField *f)
{
	static volatile char touched;

	for (uint32_t i = 0; f->data != NULL && i < LDR_FIELD_SLACK; i++)
		touched = f->data[f->len + i];
	(void) touched;
}

static bool __attribute__((unused))
rows_is_ascii(const LdrField *f)
{
	for (uint32_t i = 0; f->data != NULL && i < f->len; i++)
		if ((signed char) f->data[i] <= 0)
			return false;
	return true;
}

static void __attribute__((unused))
rows_put_row(Rows *rows, const LdrReader *r, const LdrRow *row)
{
	rows->last = rows->len;
	for (int i = 0; i < r->ncolumns; i++)
	{
		if (row->ascii)
			CHECK(rows_is_ascii(&row->fields[i]));
		rows_touch_slack(&row->fields[i]);
		rows_put(rows, "|", i > 0);
		rows_put_field(rows, &row->fields[i]);
	}
	rows_put(rows, "\n", 1);
	rows->n++;
}

/* Where a line begins in data, but not before pos. */
static size_t __attribute__((unused))
rows_line(const char *data, size_t len, int64_t line, LdrFormat format, size_t pos)
{
	size_t		begin = 0;

	if (len >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0)
		begin = 3;
	while (line > 1 && begin < len)
	{
		char		c = data[begin++];

		if (c == '\n' || (c == '\r' && format == LDR_CSV && (begin == len || data[begin] != '\n')))
			line--;
	}
	return begin > pos ? begin : pos;
}

/* Read data to its end or to the first error. The caller frees the result with rows_free. */
static Rows __attribute__((unused))
rows_read(const char *data, size_t len, const RowsOptions *options)
{
	Rows		rows = {0};
	LdrRow		row;
	size_t		window = ldr_reader_limits.window;
	LdrReader  *r;

	rows_put(&rows, "", 0);
	if (options->window > 0)
		ldr_reader_limits.window = options->window;
	r = ldr_reader_open(options->format, step_source(data, len, options->step),
						&options->reader, &rows.err);
	rows.status = (r == NULL) ? rows.err.status : LDR_OK;
	while (rows.status == LDR_OK)
	{
		rows.status = ldr_reader_next(r, &row, &rows.err);
		if (rows.status == LDR_OK)
		{
			rows_put_row(&rows, r, &row);
			/* the raw text must be what the file has there; only in csv a row begins a line */
			rows.raw_end = rows_line(data, len, row.line, options->format, rows.raw_end);
			while (rows.raw_end + r->raw_len <= len && options->format != LDR_CSV &&
				   memcmp(data + rows.raw_end, r->raw, r->raw_len) != 0)
				rows.raw_end++;
			if (rows.raw_end + r->raw_len <= len &&
				memcmp(data + rows.raw_end, r->raw, r->raw_len) != 0)
				rows.raw_end = len;
			rows.raw_end += r->raw_len;
			if (!CHECK_MSG(rows.raw_end <= len, "raw text of row %d is not the file's", rows.n))
				rows.status = LDR_END;
		}
	}
	ldr_reader_close(r);
	ldr_reader_limits.window = window;
	return rows;
}

static void __attribute__((unused))
rows_free(Rows *rows)
{
	free(rows->text);
}

/* One case of a table: what a file gives, or how and where it fails. */
typedef struct RowsCase
{
	const char *data;
	size_t		len;			/* 0: up to the first zero byte */
	const char *text;			/* rows, also those before the error */
	LdrStatus	status;			/* LDR_OK stands for the end of the file */
	int64_t		line;			/* of the error */
	const char *column;			/* of the error, NULL: not checked */
} RowsCase;

/* May the file have been cut here without a reader noticing? Given the bytes after the last row. */
typedef bool (*RowsRest) (const char *data, size_t len, int nrows);

static void __attribute__((unused))
rows_case(const RowsCase *c, int i, RowsOptions options, RowsRest rest)
{
	size_t		len = c->len > 0 ? c->len : strlen(c->data);
	LdrStatus	want = c->status == LDR_OK ? LDR_END : c->status;
	Rows		whole = rows_read(c->data, len, &options);

	CHECK_MSG(whole.status == want, "case %d: status %d (%s), not %d", i, whole.status,
			  whole.err.message, want);
	CHECK_MSG(strcmp(whole.text, c->text) == 0, "case %d: rows\n%snot\n%s", i, whole.text, c->text);
	if (want != LDR_END)
	{
		CHECK_MSG(whole.err.line == c->line, "case %d: line %lld, not %lld (%s)", i,
				  (long long) whole.err.line, (long long) c->line, whole.err.message);
		CHECK_MSG(whole.err.message[0] != '\0' && whole.err.status == want, "case %d: err", i);
	}
	if (c->column != NULL)
		CHECK_MSG(strcmp(whole.err.column, c->column) == 0, "case %d: column \"%s\", not \"%s\"",
				  i, whole.err.column, c->column);

	/* a small window and a slow source change nothing, whatever the edges fall on */
	for (size_t window = 1; window <= len + 2; window += (window < 24 ? 1 : 13))
	{
		RowsOptions small = options;
		Rows		rows;

		small.window = window;
		small.step = window % 3;
		rows = rows_read(c->data, len, &small);
		CHECK_MSG(rows.status == whole.status && strcmp(rows.text, whole.text) == 0 &&
				  rows.err.line == whole.err.line && rows.err.column_no == whole.err.column_no &&
				  strcmp(rows.err.message, whole.err.message) == 0 &&
				  strcmp(rows.err.column, whole.err.column) == 0,
				  "case %d: window of %zu bytes: %d \"%s\" line %lld, not %d \"%s\" line %lld\n%s",
				  i, window, rows.status, rows.err.message, (long long) rows.err.line,
				  whole.status, whole.err.message, (long long) whole.err.line, rows.text);
		rows_free(&rows);
	}

	/* cut short anywhere: an error, or all rows that the bytes before the cut hold */
	for (size_t cut = 0; cut < len; cut++)
	{
		char	   *data = malloc(cut + 1);	/* of its own, so that a sanitizer sees its end */
		size_t		same;
		Rows		rows;

		memcpy(data, c->data, cut);
		options.step = cut % 2;
		rows = rows_read(data, cut, &options);
		if (rows.status == LDR_END)
			CHECK_MSG(rest(data + rows.raw_end, cut - rows.raw_end, rows.n),
					  "case %d: cut at %zu of %zu bytes: rows were lost", i, cut, len);
		/*
		 * The last row of a csv file may be cut in its last field, and what is wrong behind a row
		 * may be cut off.
		 */
		same = (options.format == LDR_CSV) ? rows.last : rows.len;
		if (want != LDR_END && same > whole.len)
			same = whole.len;
		CHECK_MSG(strncmp(rows.text, whole.text, same) == 0, "case %d: cut at %zu: other rows", i,
				  cut);
		rows_free(&rows);
		free(data);
	}
	rows_free(&whole);
}

#endif							/* LDR_ROWS_H */
