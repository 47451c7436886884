/*
 * reader/literal.c: SQL literals as text, with the escapes that PostgreSQL knows. No postgres.h.
 */
#include "reader/literal.h"

#include <string.h>
#include <strings.h>

#include "reader/scan.h"


LdrPlace
ldr_literal_place(const LdrLiteralScan *s, const char *at, int64_t line)
{
	const LdrReader *pub = &s->base->pub;
	LdrPlace	place = {at, line, s->field, -1};

	if (s->field > 0 && s->field <= pub->ncolumns)
		place.column = pub->columns[s->field - 1];
	return place;
}

LdrStatus
ldr_literal_end(LdrLiteralScan *s, int64_t line, const char *what)
{
	LdrReaderBase *b = s->base;

	if (!b->w.eof)
		return LDR_MORE;
	strcpy(s->err->hint, "The file was cut; copy or make it again.");
	return ldr_reader_fail(b, s->err, LDR_TRUNCATED, ldr_literal_place(s, b->w.cur, line),
						   "the file ends inside %s", what);
}

LdrStatus
ldr_literal_unexpected(LdrLiteralScan *s, const char *where)
{
	LdrReaderBase *b = s->base;
	char		shown[8];

	if (s->p == b->w.end)
		return ldr_literal_end(s, s->line, s->field > 0 ? "a row" : "a statement");
	return ldr_reader_fail(b, s->err, LDR_UNEXPECTED, ldr_literal_place(s, s->p, s->line),
						   "unexpected character %s %s", ldr_reader_show(shown, *s->p), where);
}

LdrStatus
ldr_literal_nul(LdrLiteralScan *s, const char *at)
{
	strcpy(s->err->hint, "PostgreSQL cannot store zero bytes; remove them from the data.");
	return ldr_reader_fail(s->base, s->err, LDR_NUL_CHARACTER, ldr_literal_place(s, at, s->line),
						   "the data contains a zero byte");
}

static LdrStatus
literal_bad_escape(LdrLiteralScan *s, const char *at, const char *message)
{
	return ldr_reader_fail(s->base, s->err, LDR_BAD_ESCAPE, ldr_literal_place(s, at, s->line),
						   "%s", message);
}

/* The code of \uXXXX or \UXXXXXXXX at p; leaves p behind it. */
static LdrStatus
literal_code(LdrLiteralScan *s, int64_t begin_line, uint32_t *code)
{
	const char *escape = s->p;
	int			digits = (escape[1] == 'u') ? 4 : 8;
	int64_t		value = ldr_hex(escape + 2, digits);

	if (value < 0)
	{
		s->p += 2;
		while (ldr_hex(s->p, 1) >= 0)
			s->p++;
		if (s->p == s->base->w.end)
			return ldr_literal_end(s, begin_line, "a string");
		return literal_bad_escape(s, escape, digits == 4 ?
							 "\\u must be followed by four hexadecimal digits" :
							 "\\U must be followed by eight hexadecimal digits");
	}
	if (value > 0x10FFFF)
		return literal_bad_escape(s, escape, "escape is not a character of Unicode");
	s->p += 2 + digits;
	*code = (uint32_t) value;
	return LDR_OK;
}

/* A Unicode escape at p, a pair of surrogates included. */
static LdrStatus
literal_unicode(LdrLiteralScan *s, int64_t begin_line, char **out)
{
	const char *escape = s->p;
	const char *end = s->base->w.end;
	uint32_t	code;
	uint32_t	low;
	LdrStatus	status = literal_code(s, begin_line, &code);

	s->base->marks.row_wide = true;
	if (status != LDR_OK)
		return status;
	if (code == 0)
		return ldr_literal_nul(s, escape);
	if (code >= 0xDC00 && code <= 0xDFFF)
		return literal_bad_escape(s, escape, "low surrogate without a high one before it");
	if (code >= 0xD800 && code <= 0xDBFF)
	{
		if (s->p == end || (*s->p == '\\' && s->p + 1 == end))
		{
			s->p = end;
			return ldr_literal_end(s, begin_line, "a string");
		}
		if (*s->p != '\\' || (s->p[1] != 'u' && s->p[1] != 'U'))
			return literal_bad_escape(s, escape, "high surrogate without a low one after it");
		status = literal_code(s, begin_line, &low);
		if (status != LDR_OK)
			return status;
		if (low < 0xDC00 || low > 0xDFFF)
			return literal_bad_escape(s, escape, "high surrogate without a low one after it");
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	*out = ldr_utf8_put(*out, code);
	return LDR_OK;
}

/* An escape by number: up to three octal digits, or x and up to two hexadecimal ones. */
static LdrStatus
literal_byte(LdrLiteralScan *s, int64_t begin_line, char **out)
{
	const char *escape = s->p;
	const char *p = escape + 1;
	unsigned int value = 0;

	s->base->marks.row_wide = true;
	if (*p == 'x')
	{
		for (p++; p < escape + 4 && ldr_hex(p, 1) >= 0; p++)
			value = value * 16 + (unsigned int) ldr_hex(p, 1);
	}
	else
		for (; p < escape + 4 && *p >= '0' && *p <= '7'; p++)
			value = value * 8 + (unsigned int) (*p - '0');
	if (p == s->base->w.end)	/* a digit may follow, a quote must */
	{
		s->p = p;
		return ldr_literal_end(s, begin_line, "a string");
	}
	if (p == escape + 2 && *(escape + 1) == 'x')
		value = 'x';			/* no digits: the letter, as in PostgreSQL */
	if ((value & 0xFF) == 0)
		return ldr_literal_nul(s, escape);
	*(*out)++ = (char) value;	/* \777 keeps eight bits, as in PostgreSQL */
	s->p = p;
	return LDR_OK;
}

/* The backslash at p and what it stands for. */
static LdrStatus
literal_escape(LdrLiteralScan *s, int64_t begin_line, char **out)
{
	char		c = s->p[1];

	switch (c)
	{
		case 'b':
			c = '\b';
			break;
		case 'f':
			c = '\f';
			break;
		case 'n':
			c = '\n';
			break;
		case 'r':
			c = '\r';
			break;
		case 't':
			c = '\t';
			break;
		case 'u':
		case 'U':
			return literal_unicode(s, begin_line, out);
		case 'v':
			/* the letter to older servers, a vertical tab to newer ones: do not guess */
			return literal_bad_escape(s, s->p, "\\v means different things to different servers");
		case 'x':
		case '0':
		case '1':
		case '2':
		case '3':
		case '4':
		case '5':
		case '6':
		case '7':
			return literal_byte(s, begin_line, out);
		case '\n':
			s->line++;
			break;
		case '\0':
			if (s->p + 1 != s->base->w.end)
				return ldr_literal_nul(s, s->p + 1);
			s->p++;
			return ldr_literal_end(s, begin_line, "a string");
		default:				/* stands for itself, as in PostgreSQL */
			break;
	}
	*(*out)++ = c;
	s->p += 2;
	return LDR_OK;
}

/* The first byte from p on that is a quote, or a backslash in an E string; LDR_MORE at the end. */
static inline LdrStatus
literal_find(LdrLiteralScan *s, bool escapes)
{
	const char *p = s->p;

	for (;; p++)
	{
		p = escapes ? ldr_scan_two(p, '\'', '\\') :
			ldr_scan_one(p, '\'');
		if (*p == '\'' || (*p == '\\' && escapes))
			break;
		if (*p == '\n')
			s->line++;
		else if (*p == '\0')
		{
			s->p = p;
			return p == s->base->w.end ? LDR_MORE : ldr_literal_nul(s, p);
		}
	}
	s->p = p;
	return LDR_OK;
}

/*
 * The rest of a string from begin on into scratch. p is on its first quote or backslash; leaves
 * p behind the closing quote. line is where the string began.
 */
static LdrStatus
literal_decode(LdrLiteralScan *s, const char *begin, bool escapes, int64_t line, LdrField *field)
{
	LdrReaderBase *b = s->base;
	LdrStatus	status = ldr_reader_scratch(b, s->err);
	char	   *out = b->scratch_pos;
	char	   *decoded = out;

	while (status == LDR_OK)
	{
		memcpy(out, begin, (size_t) (s->p - begin));
		out += s->p - begin;
		if ((size_t) (out - decoded) > ldr_reader_limits.field)
			return ldr_reader_too_long(b, s->err, ldr_literal_place(s, begin, s->line));
		if (s->p == b->w.end)
			return ldr_literal_end(s, line, "a string");
		if (*s->p == '\'' && s->p[1] == '\'')
		{
			*out++ = '\'';
			s->p += 2;
		}
		else if (*s->p == '\'')
			break;
		else
			status = literal_escape(s, line, &out);
		if (status != LDR_OK)
			return status;
		begin = s->p;
		status = literal_find(s, escapes);
		if (status == LDR_MORE)
			status = LDR_OK;	/* the end of the window: seen above */
	}
	if (status != LDR_OK)
		return status;
	s->p++;
	field->data = decoded;
	field->len = (uint32_t) (out - decoded);
	b->scratch_pos = out;
	return LDR_OK;
}

/* A string; p is on its opening quote. */
static LdrStatus
literal_string(LdrLiteralScan *s, bool escapes, LdrField *field)
{
	LdrReaderBase *b = s->base;
	const char *begin = ++s->p;
	int64_t		line = s->line;
	LdrStatus	status = literal_find(s, escapes);

	field->kind = LDR_STRING;
	if (status != LDR_OK && status != LDR_MORE)
		return status;
	if ((size_t) (s->p - begin) > ldr_reader_limits.field)
		return ldr_reader_too_long(b, s->err, ldr_literal_place(s, begin, line));
	if (status == LDR_MORE)
		return ldr_literal_end(s, line, "a string");
	if (*s->p == '\\' || s->p[1] == '\'')
		return literal_decode(s, begin, escapes, line, field);
	field->data = begin;
	field->len = (uint32_t) (s->p - begin);
	s->p++;						/* a quote that would double this one is found missing later */
	return LDR_OK;
}

static inline bool
literal_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Is the text a number? */
static bool
literal_is_number(const char *p, const char *end)
{
	const char *digits;
	bool		any;

	if (p < end && (*p == '+' || *p == '-'))
		p++;
	digits = p;
	while (p < end && literal_digit(*p))
		p++;
	any = (p > digits);
	if (p < end && *p == '.')
	{
		digits = ++p;
		while (p < end && literal_digit(*p))
			p++;
		any = any || p > digits;
	}
	if (!any)
		return false;
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		while (p < end && literal_digit(*p))
			p++;
		if (p == digits)
			return false;
	}
	return p == end;
}

/* Is the text one of the words that stand for a value? Signs are for the last three. */
static bool
literal_is_word(const char *p, size_t len)
{
	static const char *const words[] = {"true", "false", "nan", "inf", "infinity"};
	size_t		sign = (len > 0 && (*p == '+' || *p == '-'));

	for (size_t i = sign ? 2 : 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (len - sign == strlen(words[i]) && strncasecmp(p + sign, words[i], len - sign) == 0)
			return true;
	return false;
}

/* A literal without quotes; p is on its first byte. */
static LdrStatus
literal_bare(LdrLiteralScan *s, LdrField *field)
{
	LdrReaderBase *b = s->base;
	const char *begin = s->p;
	const char *p = begin;
	size_t		len;

	while (literal_digit(*p) || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		   *p == '.' || *p == '-' || *p == '+' || *p == '_')
		p++;
	len = (size_t) (p - begin);
	if (p == b->w.end)
	{
		s->p = p;
		return ldr_literal_end(s, s->line, "a row");
	}
	if (len == 0)
		return ldr_literal_unexpected(s, "where a value is expected");
	if (len > ldr_reader_limits.field)
		return ldr_reader_too_long(b, s->err, ldr_literal_place(s, begin, s->line));
	if (len == 4 && strncasecmp(begin, "null", 4) == 0)
		*field = (LdrField) {NULL, 0, LDR_NULL};
	else if (literal_is_number(begin, p) || literal_is_word(begin, len))
		*field = (LdrField) {begin, (uint32_t) len, LDR_BARE};
	else
	{
		char		shown[40];

		ldr_excerpt(shown, sizeof(shown), begin, len);
		strcpy(s->err->hint, "Values are NULL, True, False, numbers, '...' and E'...', as dlt"
			   " writes them; expressions are not evaluated.");
		return ldr_reader_fail(b, s->err, LDR_UNEXPECTED, ldr_literal_place(s, begin, s->line),
							   "\"%s\" is not a value", shown);
	}
	s->p = p;
	return LDR_OK;
}

LdrStatus
ldr_literal(LdrLiteralScan *s, LdrField *field)
{
	const char *p = s->p;

	if (*p == '\'')
		return literal_string(s, false, field);
	if ((*p == 'E' || *p == 'e') && p[1] == '\'')
	{
		s->p++;
		return literal_string(s, true, field);
	}
	return literal_bare(s, field);
}
