/*
 * reader/insert_values.c: rows of a file of INSERT … VALUES statements, as dlt writes them.
 * No postgres.h.
 *
 *	INSERT INTO {}("c1","c2")
 *	VALUES
 *	(1,E'one'),
 *	(2,NULL);
 *
 * The text is read by the grammar of what dlt writes and never executed. A literal is NULL, a
 * number, True, False, nan, inf, infinity, '...' or E'...', and nothing else. An empty job has no
 * rows and no semicolon. Several statements may follow each other if they name the same columns.
 */
#include "reader/reader.h"

#include <string.h>

#include "fault.h"
#include "reader/literal.h"
#include "reader/scan.h"


/* Is it the first statement that is in work? Without a row of it yet. */
static inline bool
iv_is_first(const LdrReaderBase *b)
{
	return b->state == LDR_AT_FIRST || b->state == LDR_AT_FIRST_VALUES;
}

static inline bool
iv_is_header(const LdrReaderBase *b)
{
	return b->state == LDR_AT_FIRST || b->state == LDR_AT_STATEMENT;
}

/* Are these bytes, 16 at most, digits with a point among them or not? */
#if defined(__SSE2__)
static inline bool
iv_is_decimal(const char *p, size_t len)
{
	__m128i		x = _mm_loadu_si128((const __m128i *) p);
	__m128i		digit = _mm_sub_epi8(x, _mm_set1_epi8('0'));
	unsigned int keep = (1U << len) - 1;
	unsigned int points = (unsigned int) _mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('.')));
	unsigned int digits;

	digits = (unsigned int) _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)),
															 digit));
	points &= keep;
	return (keep & ~(digits | points)) == 0 && (points & (points - 1)) == 0 && points != keep;
}
#else
static inline bool
iv_is_decimal(const char *p, size_t len)
{
	uint64_t	points = 0;

	for (size_t i = 0; i < len; i += 8)
	{
		uint64_t	x = ldr_scan_load(p + i);
		uint64_t	keep = len - i >= 8 ? ~UINT64_C(0) : (UINT64_C(1) << 8 * (len - i)) - 1;
		uint64_t	point = ldr_scan_equal_all(x, LDR_ONES * '.') & keep;

		if ((ldr_scan_not_digit(x) & keep) != point)
			return false;
		points += ((point >> 7) * LDR_ONES) >> 56;
	}
	return points < len && points < 2;
}
#endif

/* A value without quotes: a number, NULL, True or False, as dlt writes them. */
static inline bool
iv_plain_bare(const char *begin, size_t len, LdrField *field)
{
	size_t		sign = (*begin == '-');

	*field = (LdrField) {begin, (uint32_t) len, LDR_BARE};
	if (*begin == 'N' && len == 4 && memcmp(begin, "NULL", 4) == 0)
		*field = (LdrField) {NULL, 0, LDR_NULL};
	else if (*begin == 'T')
		return len == 4 && memcmp(begin, "True", 4) == 0;
	else if (*begin == 'F')
		return len == 5 && memcmp(begin, "False", 5) == 0;
	else
		return len > sign && len <= 16 && iv_is_decimal(begin + sign, len - sign);
	return true;
}

/* Where a last value without quotes ends, which is no mark: at the parenthesis, if that is near. */
static inline const char *
iv_last_end(const char *begin)
{
	const char *p = begin;

	while (p < begin + 17 && *p != ')' && *p != '\0')
		p++;
	return p;
}

/*
 * A value as nearly all are, with no space around it: a string without escapes and ends of line, or
 * iv_plain_bare. Steps over it and sets *p to the comma or the parenthesis behind it. False, with
 * the marks anywhere, if it is anything else, be that right or wrong.
 */
static inline bool
iv_plain_value(LdrMarks *marks, LdrMarksHand *hand, const char **p, bool last, LdrField *field)
{
	const size_t limit = ldr_reader_limits.field;
	const char *begin = *p;
	const char *q = ldr_marks_hand_step(marks, hand);
	/* without an instruction that sets one byte, as the next address would wait for it */
	size_t		escapes = ((unsigned int) (unsigned char) (*begin ^ 'E') - 1) >> 31;

	if (q == begin + escapes && *q == '\'')
	{
		begin = q + 1;
		do
			q = ldr_marks_hand_step(marks, hand);
		while (*q == ',' || (*q == '\\' && !escapes));
		if (*q != '\'' || (q[1] != ',' && q[1] != ')') || (size_t) (q - begin) > limit)
			return false;
		*field = (LdrField) {begin, (uint32_t) (q - begin), LDR_STRING};
		*p = q + 1;
		if (q[1] == ',')
			(void) ldr_marks_hand_step(marks, hand);
	}
	else
	{
		if (last)
			q = iv_last_end(begin);
		if (*q != (last ? ')' : ',') || (size_t) (q - begin) > limit ||
			!iv_plain_bare(begin, (size_t) (q - begin), field))
			return false;
		*p = q;
	}
	return true;
}

/* Any value at s->p, with space around it. Leaves s->p on a comma or on the closing parenthesis. */
static LdrStatus
iv_value(LdrLiteralScan *s, LdrField *field)
{
	LdrStatus	status;

	ldr_literal_space(s);
	status = ldr_literal(s, field);
	if (status != LDR_OK)
		return status;
	ldr_literal_space(s);
	if (*s->p != ',' && *s->p != ')')
		return ldr_literal_unexpected(s, "where a comma or a closing parenthesis is expected");
	return LDR_OK;
}

/* The values of a row, from its parenthesis at p to behind the closing one. */
static LdrStatus
iv_values(LdrLiteralScan *s)
{
	LdrReaderBase *b = s->base;
	LdrMarks   *marks = &b->marks;
	LdrMarksHand hand;
	const char *p = s->p + 1;
	int			ncolumns = b->pub.ncolumns;
	int			n;

	ldr_marks_row(marks, p, b->w.end);
	hand = ldr_marks_take(marks);
	for (n = 1;; n++)
	{
		LdrField   *field = &b->fields[n - 1];
		const char *begin = p;

		if (!iv_plain_value(marks, &hand, &p, n == ncolumns, field))
		{
			LdrStatus	status;

			s->p = begin;
			s->field = n;
			status = iv_value(s, field);
			if (status != LDR_OK)
				return status;
			p = s->p;
			ldr_marks_seek(marks, p + 1);
			hand = ldr_marks_take(marks);
		}
		if (*p == ')' || n == ncolumns)
			break;
		p++;
	}
	s->p = p;
	s->field = n;
	if (*p != ')')
		return ldr_reader_fail(b, s->err, LDR_TOO_MANY_FIELDS, ldr_literal_place(s, p, s->line),
							   "row has more than %d values", ncolumns);
	if (n < ncolumns)
	{
		s->field = n + 1;
		return ldr_reader_fail(b, s->err, LDR_TOO_FEW_FIELDS,
							   ldr_literal_place(s, b->w.cur, s->line),
							   "row has %d values where %d are expected", n, ncolumns);
	}
	s->field = 0;
	s->p++;
	return LDR_OK;
}

/*
 * One attempt at a row: parenthesis, values and the comma or semicolon behind it, without which
 * the row may have been cut from others.
 */
static LdrStatus
iv_row(LdrReaderBase *b, LdrRow *out, LdrError *err)
{
	LdrWindow  *w = &b->w;
	LdrLiteralScan s = {b, err, w->cur, b->line, 0};
	const char *begin;
	LdrStatus	status;

	b->scratch_pos = b->scratch;
	ldr_literal_space(&s);
	if (s.p == w->end && w->eof && (b->goes_on || b->state == LDR_AT_FIRST_VALUES))
	{
		w->cur = w->end;
		return LDR_END;			/* of a block, or of a job without rows */
	}
	if (*s.p != '(')
		return ldr_literal_unexpected(&s, "where a row is expected");
	begin = w->cur = (char *) s.p;	/* what lies before it is done with */
	b->line = s.line;
	status = iv_values(&s);
	if (status != LDR_OK)
		return status;
	b->pub.raw = begin;
	b->pub.raw_len = (size_t) (s.p - begin);
	ldr_literal_space(&s);
	if (*s.p != ',' && *s.p != ';')
		return ldr_literal_unexpected(&s, "where a comma or a semicolon is expected");
	b->state = (*s.p == ',') ? LDR_AT_ROW : LDR_AT_STATEMENT;
	out->fields = b->fields;
	out->line = b->line;
	out->ascii = ldr_marks_row_end(&b->marks, NULL);
	b->line = s.line;
	w->cur = (char *) s.p + 1;
	return LDR_OK;
}

/* A word of the header, in any case. */
static LdrStatus
iv_keyword(LdrLiteralScan *s, const char *word)
{
	ldr_literal_space(s);
	for (; *word != '\0'; word++, s->p++)
		if (*s->p != *word && (*s->p < 'a' || *s->p > 'z' || *s->p - 'a' + 'A' != *word))
			return ldr_literal_unexpected(s, "where INSERT INTO {}(...) VALUES is expected");
	return LDR_OK;
}

static bool
iv_in_name(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) ||
		(!first && ((c >= '0' && c <= '9') || c == '$'));
}

/* A name without quotes, which SQL folds to lower case. dlt writes none; people do. */
static LdrStatus
iv_bare_name(LdrLiteralScan *s, LdrField *name)
{
	LdrReaderBase *b = s->base;
	char	   *out = b->scratch_pos;

	if (!iv_in_name(*s->p, true))
		return ldr_literal_unexpected(s, "where a column name is expected");
	for (name->data = out; iv_in_name(*s->p, false); s->p++)
		*out++ = (*s->p >= 'A' && *s->p <= 'Z') ? (char) (*s->p - 'A' + 'a') : *s->p;
	if (s->p == b->w.end)
		return ldr_literal_end(s, s->line, "a column name");
	name->len = (uint32_t) (out - name->data);
	return LDR_OK;
}

/* A name, at p. Leaves p behind it. */
static LdrStatus
iv_name(LdrLiteralScan *s, LdrField *name)
{
	LdrReaderBase *b = s->base;
	const char *begin;
	char	   *out;
	LdrStatus	status = ldr_reader_scratch(b, s->err);

	if (status != LDR_OK)
		return status;
	if (*s->p != '"')
		return iv_bare_name(s, name);
	name->data = out = b->scratch_pos;
	for (begin = ++s->p;; begin = s->p)
	{
		s->p = ldr_scan_one(s->p, '"');
		memcpy(out, begin, (size_t) (s->p - begin));
		out += s->p - begin;
		if (s->p == b->w.end)
			return ldr_literal_end(s, s->line, "a column name");
		if (*s->p == '\0')
			return ldr_literal_nul(s, s->p);
		if (*s->p != '"' || s->p[1] == '"')
		{
			s->line += (*s->p == '\n');
			*out++ = *s->p;
			s->p += (*s->p == '"') ? 2 : 1;
		}
		else if (s->p + 1 == b->w.end)
			return ldr_literal_end(s, s->line, "a column name");
		else
			break;
	}
	s->p++;
	name->len = (uint32_t) (out - name->data);
	return LDR_OK;
}

/* The n-th name of a header, at p: note its column, or compare it with that of the first header. */
static LdrStatus
iv_header_column(LdrLiteralScan *s, int n)
{
	LdrReaderBase *b = s->base;
	LdrPlace	place = {s->p, s->line, n + 1, -1};
	LdrField	name = {0};
	int			column;
	LdrStatus	status = iv_name(s, &name);

	if (status != LDR_OK)
		return status;
	column = ldr_reader_column(b, name.data, name.len);
	if (column < 0)
		return ldr_reader_unknown_column(b, s->err, place, name.data, name.len);
	place.column = column;
	if (!iv_is_first(b))
	{
		if (n < b->pub.ncolumns && b->pub.columns[n] == column)
			return LDR_OK;
		strcpy(s->err->hint, "All statements of a file must name the same columns.");
		return ldr_reader_fail(b, s->err, LDR_UNEXPECTED, place,
							   "column list differs from that of the file's first statement");
	}
	for (int i = 0; i < n; i++)
		if (b->pub.columns[i] == column)
			return ldr_reader_fail(b, s->err, LDR_DUPLICATE_COLUMN, place,
								   "the header names column \"%s\" twice",
								   b->index.keys[column].name);
	b->pub.columns[n] = column;
	return LDR_OK;
}

/* One attempt at INSERT INTO {}("c1","c2") VALUES. */
static LdrStatus
iv_header(LdrReaderBase *b, LdrError *err)
{
	LdrLiteralScan s = {b, err, b->w.cur, b->line, 0};
	LdrStatus	status;
	int			n = 0;

	b->scratch_pos = b->scratch;
	if ((status = iv_keyword(&s, "INSERT")) != LDR_OK ||
		(status = iv_keyword(&s, "INTO")) != LDR_OK ||
		(status = iv_keyword(&s, "{}")) != LDR_OK ||
		(status = iv_keyword(&s, "(")) != LDR_OK)
		return status;
	for (;;)
	{
		ldr_literal_space(&s);
		status = iv_header_column(&s, n++);
		if (status != LDR_OK)
			return status;
		ldr_literal_space(&s);
		if (*s.p == ')')
			break;
		if (*s.p != ',')
			return ldr_literal_unexpected(&s, "where a comma or a closing parenthesis is expected");
		s.p++;
	}
	s.p++;
	if (!iv_is_first(b) && n != b->pub.ncolumns)
	{
		strcpy(err->hint, "All statements of a file must name the same columns.");
		return ldr_reader_fail(b, err, LDR_UNEXPECTED, ldr_literal_place(&s, b->w.cur, s.line),
							   "column list differs from that of the file's first statement");
	}
	status = iv_keyword(&s, "VALUES");
	if (status != LDR_OK)
		return status;
	if (*s.p != ' ' && *s.p != '\t' && *s.p != '\r' && *s.p != '\n' && *s.p != '(')
		return ldr_literal_unexpected(&s, "after VALUES");
	b->pub.ncolumns = n;
	b->line = s.line;
	b->w.cur = (char *) s.p;
	b->state = iv_is_first(b) ? LDR_AT_FIRST_VALUES : LDR_AT_VALUES;
	return LDR_OK;
}

/* Before a statement: read its header, LDR_END if the file ends here. */
static LdrStatus
iv_statement(LdrReaderBase *b, LdrError *err)
{
	LdrWindow  *w = &b->w;
	LdrLiteralScan s = {b, err, w->cur, b->line, 0};

	ldr_literal_space(&s);
	w->cur = (char *) s.p;
	b->line = s.line;
	if (s.p < w->end)
		return iv_header(b, err);
	return w->eof ? LDR_END : LDR_MORE;
}

static LdrStatus
iv_next(LdrReader *pub, LdrRow *out, LdrError *err)
{
	LdrReaderBase *b = (LdrReaderBase *) pub;
	LdrStatus	status;

	LDR_FAULT("read: insert_values");
	for (;;)
	{
		bool		header = iv_is_header(b);

		status = header ? iv_statement(b, err) : iv_row(b, out, err);
		if (status == LDR_MORE)
			status = ldr_reader_more(b, err);
		else if (status != LDR_OK || !header)
			return status;
		if (status != LDR_OK)
			return status;
	}
}

/*
 * Pass over a literal's characters, whatever they mean: a string, or a bare word. False at the end
 * of the window, or where none can begin.
 */
static bool
iv_skip_literal(LdrLiteralScan *s)
{
	const char *end = s->base->w.end;
	bool		escapes = (*s->p == 'E' || *s->p == 'e') && s->p[1] == '\'';

	if (*s->p != '\'' && !escapes)
	{
		const char *begin = s->p;

		while ((*s->p >= '0' && *s->p <= '9') || (*s->p >= 'a' && *s->p <= 'z') ||
			   (*s->p >= 'A' && *s->p <= 'Z') || *s->p == '+' || *s->p == '-' || *s->p == '.')
			s->p++;
		return s->p > begin && s->p < end;
	}
	for (s->p += escapes ? 2 : 1; s->p < end; s->p++)
	{
		if (*s->p == '\n')
			s->line++;
		if (*s->p == '\\' && escapes)
		{
			s->p++;
			s->line += (s->p < end && *s->p == '\n');
		}
		else if (*s->p == '\'' && s->p[1] == '\'')
			s->p++;
		else if (*s->p == '\'')
		{
			s->p++;
			return s->p < end;
		}
	}
	return false;
}

/*
 * Find the end of the row at w.cur, whose literals are such by their outlines: p is behind its
 * parenthesis then, and *next on the comma or semicolon. Anything else may be the rest of a string
 * whose quote was not doubled, and then nobody knows where the next row begins.
 */
static LdrStatus
iv_find_end(LdrLiteralScan *s, const char **next)
{
	const char *end = s->base->w.end;
	LdrLiteralScan behind;

	if (*s->p != '(')
		return LDR_UNEXPECTED;
	do
	{
		s->p++;
		ldr_literal_space(s);
		if (!iv_skip_literal(s))
			return s->p >= end ? LDR_MORE : LDR_UNEXPECTED;
		ldr_literal_space(s);
	} while (*s->p == ',');
	if (*s->p != ')')
		return s->p >= end ? LDR_MORE : LDR_UNEXPECTED;
	s->p++;
	behind = *s;
	ldr_literal_space(&behind);
	*next = behind.p;
	s->line = behind.line;
	if (behind.p >= end)
		return LDR_MORE;
	return *behind.p == ',' || *behind.p == ';' ? LDR_OK : LDR_UNEXPECTED;
}

static LdrStatus
iv_skip(LdrReader *pub, LdrRow *out, LdrError *err)
{
	LdrReaderBase *b = (LdrReaderBase *) pub;
	LdrLiteralScan s;
	const char *next = NULL;
	LdrStatus	status;

	if (iv_is_header(b) || err->status == LDR_UNEXPECTED)
		return err->status;
	for (;;)
	{
		s = (LdrLiteralScan) {b, err, b->w.cur, b->line, 0};
		status = iv_find_end(&s, &next);
		if (status != LDR_MORE)
			break;
		if (b->w.eof)
			return err->status;
		if ((status = ldr_reader_more(b, err)) != LDR_OK)
			return status;
	}
	if (status != LDR_OK)
		return err->status;
	b->state = (*next == ',') ? LDR_AT_ROW : LDR_AT_STATEMENT;
	return ldr_reader_pass(b, out, s.p, next + 1, s.line);
}

LdrReader *
ldr_insert_values_make(LdrSource *source, const LdrReaderOptions *options, LdrError *err)
{
	LdrReaderBase *b = ldr_reader_new(sizeof(LdrReaderBase), source, options, err);

	if (b == NULL)
		return NULL;
	b->format = LDR_INSERT_VALUES;
	b->marks.set = (LdrByteSet) {'\n' + 1, {'\'', '\\', ','}};
	b->pub.next = iv_next;
	b->pub.skip = iv_skip;
	b->state = LDR_AT_FIRST;
	return &b->pub;
}

LdrReader *
ldr_insert_values_open(LdrSource *source, const LdrReaderOptions *options, LdrError *err)
{
	LdrReader  *r = ldr_insert_values_make(source, options, err);
	LdrReaderBase *b = (LdrReaderBase *) r;
	LdrStatus	status;

	if (r == NULL)
		return NULL;
	while ((status = iv_statement(b, err)) == LDR_MORE)
		if ((status = ldr_reader_more(b, err)) != LDR_OK)
			break;
	if (status == LDR_OK)
		return r;
	if (status == LDR_END)
	{
		strcpy(err->hint, "The file must begin with INSERT INTO {}(...) VALUES.");
		ldr_fail(err, LDR_NO_HEADER, "the file is empty");
	}
	r->close(r);
	return NULL;
}
