/*
 * test/fuzz/fuzz_rows.h: read the same bytes twice, with a large window and with a tiny one that a
 * slow source fills; both must give the same rows or the same error.
 */
#ifndef LDR_FUZZ_ROWS_H
#define LDR_FUZZ_ROWS_H

#include "../fuzz/fuzz_source.h"
#include "reader/reader.h"

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
		{
			/* a bad row, behind which the file may go on */
			if (result.status == LDR_END ||
				(result.status = ldr_reader_skip(r, &row, &result.err)) != LDR_OK)
				break;
			fuzz_hash(&result, &row.line, sizeof(row.line));
			fuzz_hash(&result, r->raw, r->raw_len);
			continue;
		}
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

	fuzz_same(&large, &small, window);
}

#endif							/* LDR_FUZZ_ROWS_H */
