/*
 * test/fuzz/fuzz_rows.h: read the same bytes twice, with a large window and with a tiny one that a
 * slow source fills; both must give the same rows or the same error. Slices are read to their last
 * byte, so that a sanitizer sees one that points elsewhere.
 */
#ifndef LDR_FUZZ_ROWS_H
#define LDR_FUZZ_ROWS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader/reader.h"
#include "reader/window.h"

typedef struct FuzzResult
{
	LdrStatus	status;
	uint64_t	hash;			/* of all rows */
	int64_t		rows;
	LdrError	err;
} FuzzResult;

typedef struct FuzzSource
{
	LdrSource	base;
	const uint8_t *data;
	size_t		len;
	size_t		pos;
	size_t		step;
} FuzzSource;

static ssize_t
fuzz_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	FuzzSource *s = (FuzzSource *) self;
	size_t		left = s->len - s->pos;

	(void) err;
	n = n < s->step ? n : s->step;
	n = n < left ? n : left;
	if (n > 0)
		memcpy(buf, s->data + s->pos, n);
	s->pos += n;
	return (ssize_t) n;
}

static void
fuzz_close(LdrSource *self)
{
	(void) self;
}

static uint64_t
fuzz_consumed(const LdrSource *self)
{
	return ((const FuzzSource *) self)->pos;
}

static void
fuzz_hash(FuzzResult *result, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		result->hash = (result->hash ^ p[i]) * UINT64_C(1099511628211);
}

static FuzzResult
fuzz_read_rows(LdrFormat format, const LdrReaderOptions *options, const uint8_t *data, size_t len,
			   size_t window, size_t step)
{
	FuzzSource	source = {{fuzz_read, fuzz_close, fuzz_consumed}, data, len, 0, step};
	FuzzResult	result = {LDR_OK, 0, 0, {0}};
	LdrReader  *r;
	LdrRow		row;

	ldr_reader_limits.window = window;
	r = ldr_reader_open(format, &source.base, options, &result.err);
	if (r == NULL)
		result.status = result.err.status;
	while (result.status == LDR_OK)
	{
		result.status = ldr_reader_next(r, &row, &result.err);
		if (result.status != LDR_OK)
			break;
		result.rows++;
		fuzz_hash(&result, &row.line, sizeof(row.line));
		fuzz_hash(&result, r->raw, r->raw_len);
		for (int i = 0; i < r->ncolumns; i++)
		{
			fuzz_hash(&result, &row.fields[i].kind, sizeof(LdrFieldKind));
			fuzz_hash(&result, &row.fields[i].len, sizeof(uint32_t));
			fuzz_hash(&result, row.fields[i].data, row.fields[i].len);
		}
	}
	ldr_reader_close(r);
	return result;
}

/* One input of a format. Aborts if a window's edge makes a difference. */
static void
fuzz_rows(LdrFormat format, const LdrReaderOptions *options, const uint8_t *data, size_t len)
{
	FuzzResult	large = fuzz_read_rows(format, options, data, len, 1 << 16, len + 1);
	size_t		window = len > 0 ? 1 + data[0] % 16 : 1;
	FuzzResult	small = fuzz_read_rows(format, options, data, len, window, 1);

	/* the excerpt may be shorter, as a small window does not have the rest of the line yet */
	if (large.status != small.status || large.rows != small.rows || large.hash != small.hash ||
		large.err.line != small.err.line || large.err.column_no != small.err.column_no ||
		strcmp(large.err.column, small.err.column) != 0 ||
		strcmp(large.err.message, small.err.message) != 0)
	{
		fprintf(stderr, "a window of %zu bytes differs: \"%s\" line %lld, not \"%s\" line %lld\n",
				window, small.err.message, (long long) small.err.line, large.err.message,
				(long long) large.err.line);
		abort();
	}
	if (large.status == LDR_OK || (large.status != LDR_END && large.err.message[0] == '\0'))
		abort();
}

#endif							/* LDR_FUZZ_ROWS_H */
