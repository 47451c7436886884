/*
 * reader/csv.c: rows of a csv file, as COPY reads them (RFC 4180 and a little more). No postgres.h.
 *
 * As in COPY, a quote may open and close anywhere in a field. Unlike there, a row may end with
 * LF, CR LF or CR regardless of how the others end, a UTF-8 byte order mark is skipped, and \.
 * means nothing, as dlt does not quote it on purpose. A blank line is a row with one empty field,
 * also the last one: in a table of several columns that is an error, as in COPY.
 */
#include "reader/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fault.h"
#include "reader/base.h"
#include "reader/scan.h"

#define CSV_LIKELY(x)	__builtin_expect((x) != 0, 1)
#define CSV_UNLIKELY(x)	__builtin_expect((x) != 0, 0)

typedef struct CsvReader
{
	LdrReaderBase base;
	char		delimiter;
} CsvReader;

/* One attempt at a row. */
typedef struct CsvRow
{
	const char *p;
	int64_t		line;			/* of p */
	int			n;				/* fields so far */
	bool		header;
	bool		ascii;
} CsvRow;

static LdrPlace
csv_place(const CsvReader *r, const CsvRow *row, const char *at)
{
	LdrPlace	place = {at, row->line, row->n + 1, -1};

	if (!row->header && row->n < r->base.pub.ncolumns)
		place.column = r->base.pub.columns[row->n];
	return place;
}

static LdrStatus
csv_nul(CsvReader *r, const CsvRow *row, LdrError *err)
{
	strcpy(err->hint, "PostgreSQL cannot store zero bytes; remove them from the data.");
	return ldr_reader_fail(&r->base, err, LDR_NUL_CHARACTER, csv_place(r, row, row->p),
						   "the data contains a zero byte");
}

/* The end of the window inside quotes that were opened at quote, on the given line. */
static LdrStatus
csv_open_quote(CsvReader *r, CsvRow *row, const char *quote, int64_t line, size_t decoded,
			   LdrError *err)
{
	if (decoded > ldr_reader_limits.field)
		return ldr_reader_too_long(&r->base, err, csv_place(r, row, quote));
	if (!r->base.w.eof)
		return LDR_MORE;
	row->line = line;
	strcpy(err->hint, "The file was cut, or a quote in the data is not doubled.");
	return ldr_reader_fail(&r->base, err, LDR_UNTERMINATED_QUOTE, csv_place(r, row, quote),
						   "quoted field has no end");
}

/*
 * Find the quote that ends or interrupts a quoted text, from row->p on. Counts lines: LF, or CR
 * without LF. LDR_OK with row->p on the quote; otherwise row->p is where it failed.
 */
static inline LdrStatus
csv_find_quote(CsvReader *r, CsvRow *row)
{
	const char *p = row->p;

	for (;; p++)
	{
		p = ldr_scan_one(p, '"');
		if (*p == '"')
			break;
		if (*p == '\n' || (*p == '\r' && p[1] != '\n'))
			row->line++;
		else if (*p == '\0')
		{
			row->p = p;
			return p == r->base.w.end ? LDR_MORE : LDR_NUL_CHARACTER;
		}
	}
	row->p = p;
	return LDR_OK;
}

/*
 * The rest of a field into scratch: quotes are dropped, doubled ones inside quotes become one. The
 * field's text so far is given as prefix; row->p is on a quote. Leaves row->p on the byte that ends
 * the field.
 */
static LdrStatus
csv_unquote(CsvReader *r, CsvRow *row, const char *prefix, bool quoted, const char *quote,
			int64_t quote_line, LdrField *field, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	const char *end = b->w.end;
	const char *begin = prefix;
	char	   *out;
	LdrStatus	status = ldr_reader_scratch(b, err);

	if (status != LDR_OK)
		return status;
	field->data = out = b->scratch_pos;
	for (;;)
	{
		/* begin .. row->p is text, and row->p is at a quote or at the end of the field */
		memcpy(out, begin, (size_t) (row->p - begin));
		out += row->p - begin;
		if (*row->p != '"')
			break;
		if (quoted && row->p[1] == '"')
			*out++ = '"', row->p += 2;
		else if (quoted && row->p + 1 == end && !b->w.eof)
			return LDR_MORE;
		else
		{
			quoted = !quoted;
			quote = row->p++;
			quote_line = row->line;
		}
		begin = row->p;
		if (quoted)
		{
			status = csv_find_quote(r, row);
			if (status == LDR_MORE)
				return csv_open_quote(r, row, quote, quote_line,
									  (size_t) (out - field->data + (row->p - begin)), err);
			if (status != LDR_OK)
				return csv_nul(r, row, err);
			continue;
		}
		for (;; row->p++)
		{
			row->p = ldr_scan_two(row->p, r->delimiter, '"');
			if (*row->p == r->delimiter || *row->p == '"' || *row->p == '\n' || *row->p == '\r')
				break;
			if (row->p == end && !b->w.eof)
				return LDR_MORE;
			if (row->p == end)
				break;
			if (*row->p == '\0')
				return csv_nul(r, row, err);
		}
	}
	field->len = (uint32_t) (out - field->data);
	if ((size_t) (out - field->data) > ldr_reader_limits.field)
		return ldr_reader_too_long(b, err, csv_place(r, row, prefix));
	b->scratch_pos = out;
	ldr_marks_seek(&b->marks, row->p);
	(void) ldr_marks_step(&b->marks);
	return LDR_OK;
}

/*
 * A field that has a quote at row->p and began at begin. Leaves row->p on the byte that ends it,
 * and the marks behind that byte.
 */
static LdrStatus
csv_quoted(CsvReader *r, CsvRow *row, const char *begin, LdrField *field, LdrError *err)
{
	const char *quote = row->p;
	int64_t		line = row->line;
	const char *p;
	char		next;

	if (quote != begin)
		return csv_unquote(r, row, begin, false, quote, line, field, err);

	/* nearly always the quotes are around the whole field and there are no others in it */
	while (*(p = ldr_marks_step(&r->base.marks)) != '"')
	{
		if (*p == '\n' || (*p == '\r' && p[1] != '\n'))
			row->line++;
		else if (*p == '\0')
		{
			row->p = p;
			if (p != r->base.w.end)
				return csv_nul(r, row, err);
			return csv_open_quote(r, row, quote, line, (size_t) (p - quote - 1), err);
		}
	}
	row->p = p;
	next = p[1];
	if (next != r->delimiter && next != '\n' && next != '\r')
	{
		if (p + 1 != r->base.w.end)
			return csv_unquote(r, row, quote + 1, true, quote, line, field, err);
		if (!r->base.w.eof)
			return LDR_MORE;
	}
	field->data = quote + 1;
	field->len = (uint32_t) (p - quote - 1);
	if ((size_t) (p - quote - 1) > ldr_reader_limits.field)
		return ldr_reader_too_long(&r->base, err, csv_place(r, row, quote));
	row->p++;
	(void) ldr_marks_step(&r->base.marks);	/* the byte that ends the field, or the zero byte */
	return LDR_OK;
}

/*
 * A field that neither a delimiter nor an end of line ends at once: row->p is on something else
 * that matters. Leaves row->p on the byte that ends the field, and the marks behind that byte.
 */
static LdrStatus
csv_odd_field(CsvReader *r, CsvRow *row, const char *begin, LdrField *field, LdrError *err)
{
	LdrMarks   *marks = &r->base.marks;

	for (;; row->p = ldr_marks_step(marks))
	{
		char		c = *row->p;

		if (c == '"')
		{
			LdrStatus	status = csv_quoted(r, row, begin, field, err);

			field->kind = LDR_STRING;
			return status;
		}
		if (c == r->delimiter || c == '\n' || c == '\r')
			break;
		if (c != '\0')
			continue;			/* some other control character */
		if (row->p != r->base.w.end)
			return csv_nul(r, row, err);
		if (!r->base.w.eof)
			return LDR_MORE;
		break;
	}
	field->data = begin;
	field->len = (uint32_t) (row->p - begin);
	field->kind = LDR_BARE;
	if ((size_t) (row->p - begin) > ldr_reader_limits.field)
		return ldr_reader_too_long(&r->base, err, csv_place(r, row, begin));
	return LDR_OK;
}

/* The row has more fields than max; row->p is on the delimiter behind the last of these. */
static LdrStatus
csv_too_many(CsvReader *r, CsvRow *row, int max, LdrError *err)
{
	strcpy(err->hint, "Quote values that contain the delimiter.");
	return ldr_reader_fail(&r->base, err, LDR_TOO_MANY_FIELDS, csv_place(r, row, row->p),
						   "row has more than %d fields", max);
}

/* The end of a row at row->p: step over it. */
static LdrStatus
csv_row_end(CsvReader *r, CsvRow *row)
{
	LdrReaderBase *b = &r->base;
	LdrWindow  *w = &b->w;

	b->pub.raw = w->cur;
	b->pub.raw_len = (size_t) (row->p - w->cur);
	if (*row->p == '\r')
	{
		if (row->p + 1 == w->end && !w->eof)
			return LDR_MORE;	/* LF may follow */
		if (row->p[1] == '\n')
		{
			row->p++;
			(void) ldr_marks_step(&b->marks);
		}
		row->p++;
	}
	else if (*row->p == '\n')
		row->p++;
	row->ascii = ldr_marks_row_end(&b->marks, row->p);
	return LDR_OK;
}

/*
 * Is the field whose opening quote is at *p one of those that nearly all are: nothing in it but
 * text and delimiters, and nothing behind its closing quote but what ends it? Then *p is on that,
 * and the marks are behind it. Else they are anywhere.
 */
static inline bool
csv_plain_quotes(LdrMarks *marks, LdrMarksHand *hand, const char **p, char delimiter)
{
	const char *q;

	do
		q = ldr_marks_hand_step(marks, hand);
	while (*q == delimiter);
	if (CSV_UNLIKELY(*q != '"' || (q[1] != delimiter && q[1] != '\n')))
		return false;
	*p = ldr_marks_hand_step(marks, hand);
	return true;
}

/*
 * One attempt at the row at w.cur, of up to max fields. LDR_OK moves row->p behind it; in a header
 * more than max is no error, the rest is left.
 */
static LdrStatus
csv_row(CsvReader *r, CsvRow *row, int max, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	LdrWindow  *w = &b->w;
	LdrMarks   *marks = &b->marks;
	const size_t limit = ldr_reader_limits.field;
	const char	delimiter = r->delimiter;
	const char *begin = w->cur;
	LdrField   *field = b->fields;
	LdrField   *behind = field + max;
	LdrMarksHand hand;

	row->p = begin;
	row->line = b->line;
	row->n = 0;
	b->scratch_pos = b->scratch;
	if (begin == w->end)
		return w->eof ? LDR_END : LDR_MORE;
	ldr_marks_row(marks, begin, w->end);
	hand = ldr_marks_take(marks);
	for (;;)
	{
		const char *p = ldr_marks_hand_step(marks, &hand);

		if (CSV_LIKELY((*p == delimiter || *p == '\n') && (size_t) (p - begin) <= limit))
			*field++ = (LdrField) {begin, (uint32_t) (p - begin), LDR_BARE};
		else if (*p == '"' && p == begin &&
				 csv_plain_quotes(marks, &hand, &p, delimiter) && (size_t) (p - begin - 2) <= limit)
			*field++ = (LdrField) {begin + 1, (uint32_t) (p - begin - 2), LDR_STRING};
		else
		{
			LdrStatus	status;

			if (*begin == '"')
			{
				p = begin;
				ldr_marks_seek(marks, begin + 1);
				hand = ldr_marks_take(marks);
			}
			row->p = p;
			row->n = (int) (field - b->fields);
			ldr_marks_give(marks, hand);
			status = csv_odd_field(r, row, begin, field++, err);
			if (status != LDR_OK)
				return status;
			hand = ldr_marks_take(marks);
			p = row->p;
		}
		begin = p + 1;
		if (CSV_UNLIKELY(*p != delimiter || field == behind))
		{
			row->p = p;
			break;
		}
	}
	ldr_marks_give(marks, hand);
	row->n = (int) (field - b->fields);
	if (*row->p != delimiter)
		return csv_row_end(r, row);
	return row->header ? LDR_OK : csv_too_many(r, row, max, err);
}

static LdrStatus
csv_too_few(CsvReader *r, CsvRow *row, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	LdrPlace	place = csv_place(r, row, b->w.cur);

	strcpy(err->hint, "Every row needs as many fields as the header; blank lines have one.");
	return ldr_reader_fail(b, err, LDR_TOO_FEW_FIELDS, place,
						   "row has %d fields where %d are expected", row->n, b->pub.ncolumns);
}

static LdrStatus
csv_next(LdrReader *pub, LdrRow *out, LdrError *err)
{
	CsvReader  *r = (CsvReader *) pub;
	LdrReaderBase *b = &r->base;
	CsvRow		row = {.header = false};
	LdrStatus	status;

	LDR_FAULT("read: csv");
	while ((status = csv_row(r, &row, pub->ncolumns, err)) == LDR_MORE)
	{
		status = ldr_reader_more(b, err);
		if (status != LDR_OK)
			return status;
	}
	if (status != LDR_OK)
		return status;
	if (row.n < pub->ncolumns)
		return csv_too_few(r, &row, err);
	out->fields = b->fields;
	out->line = b->line;
	out->ascii = row.ascii;
	b->line = row.line + 1;
	b->w.cur = (char *) row.p;
	return LDR_OK;
}

/*
 * The end of the row at w.cur, as far as quotes tell it: row->p is on the end of line behind it, or
 * at the end of the file; row->line is counted on. LDR_MORE, or LDR_UNTERMINATED_QUOTE: not known.
 */
static LdrStatus
csv_find_end(CsvReader *r, CsvRow *row)
{
	const LdrWindow *w = &r->base.w;
	bool		quoted = false;

	row->line = r->base.line;
	for (row->p = w->cur; row->p < w->end; row->p++)
	{
		char		c = *row->p;

		if (c == '"')
			quoted = !quoted;
		else if (c == '\n' || c == '\r')
		{
			if (c == '\r' && row->p + 1 == w->end && !w->eof)
				return LDR_MORE;	/* LF may follow */
			if (!quoted)
				return LDR_OK;
			if (c == '\n' || row->p[1] != '\n')
				row->line++;
		}
	}
	if (!w->eof)
		return LDR_MORE;
	return quoted ? LDR_UNTERMINATED_QUOTE : LDR_OK;
}

static LdrStatus
csv_skip(LdrReader *pub, LdrRow *out, LdrError *err)
{
	CsvReader  *r = (CsvReader *) pub;
	LdrReaderBase *b = &r->base;
	CsvRow		row = {.header = false};
	const char *end;
	LdrStatus	status;

	while ((status = csv_find_end(r, &row)) == LDR_MORE)
		if ((status = ldr_reader_more(b, err)) != LDR_OK)
			return status;
	if (status != LDR_OK)
	{
		/* else what it failed on may be a consequence only, lines behind the quote */
		if (err->status != LDR_UNTERMINATED_QUOTE)
			snprintf(err->hint, sizeof(err->hint), "A quote in the row that begins on line %" PRId64
					 " has no end, so nobody knows where the next row begins.", b->line);
		return err->status;
	}
	end = row.p;
	if (row.p < b->w.end)
		row.p += (row.p[0] == '\r' && row.p[1] == '\n') ? 2 : 1;
	return ldr_reader_pass(b, out, end, row.p, row.line + 1);
}

/* Check the names of a header and note the order of the columns. */
static LdrStatus
csv_take_header(CsvReader *r, CsvRow *row, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	LdrPlace	place = {b->w.cur, b->line, 0, -1};

	if (row->n == 1 && b->fields[0].len == 0)
	{
		strcpy(err->hint, "The first line must name the columns.");
		return ldr_reader_fail(b, err, LDR_NO_HEADER, place, "the header names no column");
	}
	for (int i = 0; i < row->n; i++)
	{
		const LdrField *f = &b->fields[i];
		int			column = ldr_reader_column(b, f->data, f->len);

		place.field = i + 1;
		if (column < 0)
			return ldr_reader_unknown_column(b, err, place, f->data, f->len);
		for (int j = 0; j < i; j++)
			if (b->pub.columns[j] == column)
			{
				place.column = column;
				return ldr_reader_fail(b, err, LDR_DUPLICATE_COLUMN, place,
									   "the header names column \"%s\" twice",
									   b->index.keys[column].name);
			}
		b->pub.columns[i] = column;
	}
	b->pub.ncolumns = row->n;
	return LDR_OK;
}

/*
 * No header: the columns are the expected ones in their order, as many of them as the first row
 * has fields. That row stays to be read. A short one must have its end of line: a file that was cut
 * inside its first row is not one with fewer columns.
 */
static LdrStatus
csv_assume_header(CsvReader *r, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	CsvRow		row = {.header = false};
	LdrStatus	status;

	for (int i = 0; i < b->options.ncolumns; i++)
		b->pub.columns[i] = i;
	b->pub.ncolumns = b->options.ncolumns;
	while ((status = csv_row(r, &row, b->options.ncolumns, err)) == LDR_MORE)
		if ((status = ldr_reader_more(b, err)) != LDR_OK)
			return status;
	if (status == LDR_OK && row.n < b->options.ncolumns && row.p[-1] != '\n' && row.p[-1] != '\r')
		return csv_too_few(r, &row, err);
	if (status == LDR_OK)
		b->pub.ncolumns = row.n;
	return status == LDR_END ? LDR_OK : status;
}

/*
 * Skip a byte order mark and read the header, if the file should have one: an empty file is then
 * not one without rows but one that was lost.
 */
static LdrStatus
csv_header(CsvReader *r, LdrError *err)
{
	LdrReaderBase *b = &r->base;
	LdrWindow  *w = &b->w;
	CsvRow		row = {.header = true};
	LdrStatus	status;

	while (w->end - w->cur < 3 && !w->eof)
		if ((status = ldr_reader_more(b, err)) != LDR_OK)
			return status;
	if (w->end - w->cur >= 3 && memcmp(w->cur, "\xEF\xBB\xBF", 3) == 0)
		w->cur += 3;
	if (b->options.no_header)
		return csv_assume_header(r, err);
	/* one field more than the table has columns: then one of them is unknown, or there twice */
	while ((status = csv_row(r, &row, b->options.ncolumns + 1, err)) == LDR_MORE)
		if ((status = ldr_reader_more(b, err)) != LDR_OK)
			return status;
	if (status == LDR_END)
	{
		strcpy(err->hint, "A csv file without rows still begins with its header.");
		return ldr_fail(err, LDR_NO_HEADER, "the file is empty");
	}
	if (status == LDR_OK)
		status = csv_take_header(r, &row, err);
	b->line = row.line + 1;
	w->cur = (char *) row.p;
	return status;
}

LdrReader *
ldr_csv_make(LdrSource *source, const LdrReaderOptions *options, LdrError *err)
{
	CsvReader  *r = (CsvReader *) ldr_reader_new(sizeof(CsvReader), source, options, err);

	if (r == NULL)
		return NULL;
	r->base.format = LDR_CSV;
	r->base.pub.next = csv_next;
	r->base.pub.skip = csv_skip;
	r->delimiter = options->delimiter != '\0' ? options->delimiter : ',';
	r->base.marks.set = (LdrByteSet) {'\r' + 1, {r->delimiter, '"', '"'}};
	if (r->delimiter != '"' && r->delimiter != '\n' && r->delimiter != '\r')
		return &r->base.pub;
	strcpy(err->hint, "Take one byte that is neither a quote nor an end of line.");
	ldr_fail(err, LDR_UNSUPPORTED, "invalid csv delimiter");
	r->base.pub.close(&r->base.pub);
	return NULL;
}

LdrReader *
ldr_csv_open(LdrSource *source, const LdrReaderOptions *options, LdrError *err)
{
	LdrReader  *r = ldr_csv_make(source, options, err);

	if (r == NULL || csv_header((CsvReader *) r, err) == LDR_OK)
		return r;
	r->close(r);
	return NULL;
}
