/*
 * test/fuzz/fuzz_rows.h: read the same bytes in several ways: with a large window, with a tiny one
 * that a slow source fills, and cut into blocks; all must give the same rows or the same error.
 */
#ifndef LDR_FUZZ_ROWS_H
#define LDR_FUZZ_ROWS_H

#include "../fuzz/fuzz_source.h"
#include "reader/reader.h"
#include "reader/split.h"

/* Behind each field there is what LDR_FIELD_SLACK says: a sanitizer sees it. */
static void
fuzz_touch_slack(const LdrField *f)
{
	static volatile char touched;

	for (uint32_t i = 0; f->data != NULL && i < LDR_FIELD_SLACK; i++)
		touched = f->data[f->len + i];
	(void) touched;
}

/* The next row of a reader, or one that it fails on but can skip. */
static LdrStatus
fuzz_next_row(FuzzResult *result, LdrReader *r)
{
	LdrRow		row;
	LdrStatus	status = ldr_reader_next(r, &row, &result->err);

	if (status == LDR_END)
		return status;
	if (status != LDR_OK)
	{
		/* a bad row, behind which the file may go on */
		status = ldr_reader_skip(r, &row, &result->err);
		if (status != LDR_OK)
			return status;
		fuzz_hash(result, &row.line, sizeof(row.line));
		fuzz_hash(result, r->raw, r->raw_len);
		return LDR_OK;
	}
	result->rows++;
	fuzz_hash(result, &row.line, sizeof(row.line));
	fuzz_hash(result, r->raw, r->raw_len);
	for (int i = 0; i < r->ncolumns; i++)
	{
		fuzz_hash(result, &row.fields[i].kind, sizeof(LdrFieldKind));
		fuzz_hash(result, &row.fields[i].len, sizeof(uint32_t));
		fuzz_hash(result, row.fields[i].data, row.fields[i].len);
		fuzz_touch_slack(&row.fields[i]);
		for (uint32_t j = 0; row.ascii && row.fields[i].data != NULL && j < row.fields[i].len; j++)
			if ((signed char) row.fields[i].data[j] <= 0)
				abort();
	}
	return LDR_OK;
}

static FuzzResult
fuzz_read_rows(LdrFormat format, const LdrReaderOptions *options, const uint8_t *data, size_t len,
			   size_t window, size_t step)
{
	FuzzSource	source = {{fuzz_read, fuzz_close, fuzz_consumed}, data, len, 0, step};
	FuzzResult	result = {LDR_OK, 0, 0, {0}};
	LdrReader  *r;

	ldr_reader_limits.window = window;
	r = ldr_reader_open(format, &source.base, options, &result.err);
	if (r == NULL)
		result.status = result.err.status;
	while (result.status == LDR_OK)
		result.status = fuzz_next_row(&result, r);
	ldr_reader_close(r);
	return result;
}

/* The same by blocks of that size, and of rows that are longer by the reader itself. */
static FuzzResult
fuzz_split_rows(LdrFormat format, const LdrReaderOptions *options, const uint8_t *data, size_t len,
				size_t size, size_t step)
{
	FuzzSource	source = {{fuzz_read, fuzz_close, fuzz_consumed}, data, len, 0, step};
	FuzzResult	result = {LDR_OK, 0, 0, {0}};
	char	   *buf = malloc(size + LDR_BLOCK_SLACK);
	LdrReader  *r = ldr_reader_open(format, &source.base, options, &result.err);
	LdrReader  *of_blocks = NULL;
	LdrBlock	block;

	if (r == NULL)
		result.status = result.err.status;
	else
		of_blocks = ldr_block_reader_open(format, options, r->columns, r->ncolumns, &result.err);
	while (result.status == LDR_OK)
	{
		LdrStatus	status = ldr_reader_split(r, buf, size, &block, &result.err);

		if (status == LDR_TOO_LONG && result.status == LDR_OK)
			result.status = fuzz_next_row(&result, r);
		else if (status != LDR_OK)
			result.status = status;
		else
		{
			ldr_block_reader_begin(of_blocks, buf, &block);
			while ((status = fuzz_next_row(&result, of_blocks)) == LDR_OK)
				;
			if (status != LDR_END)
				result.status = status;
		}
	}
	ldr_reader_close(of_blocks);
	ldr_reader_close(r);
	free(buf);
	return result;
}

/* One input of a format. Aborts if a window's edge makes a difference, or a block's. */
static void __attribute__((unused))
fuzz_rows(LdrFormat format, const LdrReaderOptions *options, const uint8_t *data, size_t len)
{
	FuzzResult	large = fuzz_read_rows(format, options, data, len, 1 << 16, len + 1);
	size_t		window = len > 0 ? 1 + data[0] % 16 : 1;
	FuzzResult	small = fuzz_read_rows(format, options, data, len, window, 1);
	size_t		size = len > 0 ? 1 + data[len / 2] : 1;
	FuzzResult	blocks = fuzz_split_rows(format, options, data, len, size, len + 1);

	fuzz_same(&large, &small, "window", window);
	fuzz_same(&large, &blocks, "block", size);
	blocks = fuzz_split_rows(format, options, data, len, size, window);
	fuzz_same(&large, &blocks, "block of bytes that come slowly", size);
}

#endif							/* LDR_FUZZ_ROWS_H */
