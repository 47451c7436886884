/*
 * reader/json.c: strings, numbers and nested values of JSON, by RFC 8259. No postgres.h.
 */
#include "reader/json.h"

#include <stdio.h>
#include <string.h>

#include "reader/json_escape.h"
#include "reader/scan.h"


LdrStatus
ldr_json_unexpected(LdrJson *j, const char *where)
{
	LdrReaderBase *b = j->base;
	char		shown[8];

	j->place.at = j->p;
	if (j->p == j->end)
	{
		if (!b->w.eof)
			return LDR_MORE;
		strcpy(j->err->hint, "The file was cut; copy or make it again.");
		return ldr_reader_fail(b, j->err, LDR_TRUNCATED, j->place,
							   "the file ends inside a row");
	}
	if (*j->p == '\n')
	{
		strcpy(j->err->hint, "Each row must be one JSON object on one line.");
		return ldr_reader_fail(b, j->err, LDR_UNEXPECTED, j->place, "the line ends %s", where);
	}
	return ldr_reader_fail(b, j->err, LDR_UNEXPECTED, j->place, "unexpected character %s %s",
						   ldr_reader_show(shown, *j->p), where);
}

/* A control character in a string, at p. */
static LdrStatus
json_control(LdrJson *j)
{
	if (j->p == j->end || *j->p == '\n')
		return ldr_json_unexpected(j, "inside a string");
	j->place.at = j->p;
	if (*j->p == '\0')
	{
		strcpy(j->err->hint, "PostgreSQL cannot store zero bytes; remove them from the data.");
		return ldr_reader_fail(j->base, j->err, LDR_NUL_CHARACTER, j->place,
							   "the data contains a zero byte");
	}
	strcpy(j->err->hint, "JSON wants control characters in strings to be escaped.");
	return ldr_json_unexpected(j, "inside a string");
}

static LdrStatus
json_bad_escape(LdrJson *j, const char *at, const char *message)
{
	j->place.at = at;
	return ldr_reader_fail(j->base, j->err, LDR_BAD_ESCAPE, j->place, "%s", message);
}

/*
 * The four digits of \u at p. Leaves p behind them; the window may end among them: then the
 * status is that of an end, which the caller returns.
 */
static LdrStatus
json_hex4(LdrJson *j, const char *escape, uint32_t *code)
{
	int64_t		value = ldr_hex(j->p, 4);

	if (value < 0)
	{
		while (ldr_hex(j->p, 1) >= 0)
			j->p++;
		if (j->p == j->end)
			return ldr_json_unexpected(j, "");
		return json_bad_escape(j, escape, "\\u must be followed by four hexadecimal digits");
	}
	*code = (uint32_t) value;
	j->p += 4;
	return LDR_OK;
}

/* Is the escape at p a low surrogate? */
static bool
json_low_surrogate(const char *p)
{
	int64_t		code;

	if (p[0] != '\\' || p[1] != 'u')
		return false;
	code = ldr_hex(p + 2, 4);
	return code >= 0xDC00 && code <= 0xDFFF;
}

/* The low surrogate at p, which belongs to the high one in *code; leaves the character in *code. */
static LdrStatus
json_pair(LdrJson *j, const char *escape, uint32_t *code)
{
	uint32_t	low;
	LdrStatus	status;

	for (int i = 0; i < 2; i++, j->p++)
	{
		if (j->p == j->end)
			return ldr_json_unexpected(j, "");
		if (*j->p != "\\u"[i])
			return json_bad_escape(j, escape, "high surrogate without a low one after it");
	}
	status = json_hex4(j, j->p - 2, &low);
	if (status != LDR_OK)
		return status;
	if (low < 0xDC00 || low > 0xDFFF)
		return json_bad_escape(j, escape, "high surrogate without a low one after it");
	*code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
	return LDR_OK;
}

/*
 * A \u escape or a pair of them; p is behind the u of the first, which begins at escape. *valid
 * becomes false for a lone surrogate that is no error.
 */
static LdrStatus
json_unicode(LdrJson *j, const char *escape, char **out, bool *valid)
{
	uint32_t	code;
	LdrStatus	status = json_hex4(j, escape, &code);
	bool		low;

	j->base->marks.row_wide = true;
	if (status != LDR_OK)
		return status;
	if (code == 0)
	{
		if (j->lenient)
			return LDR_OK;
		j->place.at = escape;
		strcpy(j->err->hint, "PostgreSQL cannot store zero bytes; remove them from the data.");
		return ldr_reader_fail(j->base, j->err, LDR_NUL_CHARACTER, j->place,
							   "the data contains \\u0000");
	}
	low = (code >= 0xDC00 && code <= 0xDFFF);
	if (low || (code >= 0xD800 && code <= 0xDBFF))
	{
		/* what stands behind a lone one is looked at by itself */
		if (j->lenient && (low || !json_low_surrogate(j->p)))
		{
			*valid = false;
			return LDR_OK;
		}
		if (low)
			return json_bad_escape(j, escape, "low surrogate without a high one before it");
		status = json_pair(j, escape, &code);
		if (status != LDR_OK)
			return status;
	}
	*out = ldr_utf8_put(*out, code);
	return LDR_OK;
}

/* The string between its quotes is too long, or not text: an error, or a field of its own kind. */
static LdrStatus
json_invalid(LdrJson *j, const char *quote, LdrField *field)
{
	if (!j->lenient)
	{
		j->place.at = quote + 1;
		return ldr_reader_too_long(j->base, j->err, j->place);
	}
	field->data = quote;
	field->len = (uint32_t) (j->p - quote);
	field->kind = LDR_INVALID;
	return LDR_OK;
}

/* The escape at p, whose character goes to *out. */
static LdrStatus
json_decode_escape(LdrJson *j, char **out, bool *valid)
{
	const char *escape = j->p;
	char		c = ldr_json_escape(escape[1]);

	j->p += 2;
	if (c != '\0')
	{
		*(*out)++ = c;
		return LDR_OK;
	}
	if (escape[1] == 'u')
		return json_unicode(j, escape, out, valid);
	if (escape + 1 == j->end)
	{
		j->p = j->end;
		return ldr_json_unexpected(j, "");
	}
	return json_bad_escape(j, escape, "invalid escape in a string");
}

/* The rest of a string that has an escape at p into scratch; it begins at quote. */
static LdrStatus
json_decode(LdrJson *j, const char *quote, LdrField *field)
{
	LdrReaderBase *b = j->base;
	LdrStatus	status = ldr_reader_scratch(b, j->err);
	const char *begin = quote + 1;
	char	   *out = b->scratch_pos;
	char	   *decoded = out;
	bool		valid = true;

	if (status != LDR_OK)
		return status;
	for (;;)
	{
		const char *stop = ldr_scan_two(j->p, '"', '\\');

		memcpy(out, begin, (size_t) (stop - begin));
		out += stop - begin;
		j->p = stop;
		if ((size_t) (out - decoded) > ldr_reader_limits.field)
		{
			if (!j->lenient)
				return json_invalid(j, quote, field);
			valid = false;
		}
		if (*stop == '"')
			break;
		if (*stop != '\\')
			return json_control(j);
		status = json_decode_escape(j, &out, &valid);
		if (status != LDR_OK)
			return status;
		begin = j->p;
	}
	j->p++;
	if (!valid)
		return json_invalid(j, quote, field);
	field->data = decoded;
	field->len = (uint32_t) (out - decoded);
	field->kind = LDR_STRING;
	b->scratch_pos = out;
	return LDR_OK;
}

LdrStatus
ldr_json_string(LdrJson *j, LdrField *field)
{
	const char *quote = j->p;
	const char *stop = ldr_scan_two(quote + 1, '"', '\\');
	size_t		len = (size_t) (stop - quote - 1);

	j->p = stop;
	if (*stop == '\\')
		return json_decode(j, quote, field);
	if (len > ldr_reader_limits.field && !j->lenient)
		return json_invalid(j, quote, field);
	if (*stop != '"')
		return json_control(j);
	j->p = stop + 1;
	if (len > ldr_reader_limits.field)
		return json_invalid(j, quote, field);
	field->data = quote + 1;
	field->len = (uint32_t) len;
	field->kind = LDR_STRING;
	return LDR_OK;
}

/* Step over the string at p. */
static LdrStatus
json_skip_string(LdrJson *j)
{
	j->p++;
	for (;;)
	{
		const char *stop = ldr_scan_two(j->p, '"', '\\');
		uint32_t	code;

		j->p = stop;
		if (*stop == '"')
			break;
		if (*stop != '\\')
			return json_control(j);
		if (stop[1] == 'u')
		{
			LdrStatus	status;

			j->p += 2;
			status = json_hex4(j, stop, &code);
			if (status != LDR_OK)
				return status;
		}
		else if (ldr_json_escape(stop[1]) != '\0')
			j->p += 2;
		else if (stop + 1 == j->end)
		{
			j->p = j->end;
			return ldr_json_unexpected(j, "");
		}
		else
			return json_bad_escape(j, stop, "invalid escape in a string");
	}
	j->p++;
	return LDR_OK;
}

static inline bool
json_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Step over the number at p. */
static LdrStatus
json_skip_number(LdrJson *j)
{
	const char *p = j->p;

	if (*p == '-')
		p++;
	if (!json_digit(*p))
		goto wrong;
	if (*p == '0')
	{
		p++;
		if (json_digit(*p))		/* no leading zeros */
			goto wrong;
	}
	else
		while (json_digit(*p))
			p++;
	if (*p == '.')
	{
		p++;
		if (!json_digit(*p))
			goto wrong;
		while (json_digit(*p))
			p++;
	}
	if (*p == 'e' || *p == 'E')
	{
		p++;
		if (*p == '+' || *p == '-')
			p++;
		if (!json_digit(*p))
			goto wrong;
		while (json_digit(*p))
			p++;
	}
	j->p = p;
	return LDR_OK;

wrong:
	j->p = p;
	return ldr_json_unexpected(j, "in a number");
}

static LdrStatus
json_skip_word(LdrJson *j, const char *word)
{
	for (; *word != '\0'; word++, j->p++)
		if (*j->p != *word)
			return ldr_json_unexpected(j, "in a word that is not true, false or null");
	return LDR_OK;
}

/* Step over a value at p that is neither object nor array. */
static inline LdrStatus
json_skip_scalar(LdrJson *j)
{
	switch (*j->p)
	{
		case '"':
			return json_skip_string(j);
		case '-':
		case '0':
		case '1':
		case '2':
		case '3':
		case '4':
		case '5':
		case '6':
		case '7':
		case '8':
		case '9':
			return json_skip_number(j);
		case 't':
			return json_skip_word(j, "true");
		case 'f':
			return json_skip_word(j, "false");
		case 'n':
			return json_skip_word(j, "null");
		case 'N':
		case 'I':
			strcpy(j->err->hint, "JSON has no NaN or Infinity; write them as strings.");
			break;
	}
	return ldr_json_unexpected(j, "where a value is expected");
}

/* The key at p and its colon. */
static LdrStatus
json_skip_key(LdrJson *j)
{
	LdrStatus	status;

	if (*j->p != '"')
		return ldr_json_unexpected(j, "where a key is expected");
	status = json_skip_string(j);
	if (status != LDR_OK)
		return status;
	ldr_json_space(j);
	if (*j->p != ':')
		return ldr_json_unexpected(j, "where a colon is expected");
	j->p++;
	ldr_json_space(j);
	return LDR_OK;
}

/*
 * Step over what an object or an array begins with at p: the brace, and the first key. *empty if
 * it ends at once; then p is behind its end.
 */
static LdrStatus
json_enter(LdrJson *j, bool object, bool *empty)
{
	j->p++;
	ldr_json_space(j);
	*empty = (*j->p == (object ? '}' : ']'));
	if (*empty)
		j->p++;
	else if (object)
		return json_skip_key(j);
	return LDR_OK;
}

/*
 * Step over what follows a member of an object or array: a comma and, in an object, the next key,
 * or the end. *closed if it was the end.
 */
static LdrStatus
json_step(LdrJson *j, bool object, bool *closed)
{
	ldr_json_space(j);
	*closed = (*j->p == (object ? '}' : ']'));
	if (!*closed && *j->p != ',')
		return ldr_json_unexpected(j, object ?
								   "where a comma or the end of an object is expected" :
								   "where a comma or the end of an array is expected");
	j->p++;
	if (*closed)
		return LDR_OK;
	ldr_json_space(j);
	return object ? json_skip_key(j) : LDR_OK;
}

LdrStatus
ldr_json_skip(LdrJson *j)
{
	uint64_t	objects[LDR_MAX_DEPTH / 64 + 1] = {0};	/* a bit per level: it is an object */
	int			depth = 0;
	bool		closed;
	LdrStatus	status;

	if (*j->p != '{' && *j->p != '[')
		return json_skip_scalar(j);
	for (;;)
	{
		bool		object = (*j->p == '{');

		if (object || *j->p == '[')
		{
			/* the row itself is the first level */
			if (++depth + j->depth >= LDR_MAX_DEPTH)
			{
				j->place.at = j->p;
				return ldr_reader_fail(j->base, j->err, LDR_TOO_DEEP, j->place,
									   "JSON is nested more than %d levels deep", LDR_MAX_DEPTH);
			}
			if (object)
				objects[depth / 64] |= UINT64_C(1) << (depth % 64);
			else
				objects[depth / 64] &= ~(UINT64_C(1) << (depth % 64));
			status = json_enter(j, object, &closed);
		}
		else
		{
			status = json_skip_scalar(j);
			closed = false;
			if (status == LDR_OK)
				status = json_step(j, (objects[depth / 64] >> (depth % 64)) & 1, &closed);
		}
		/* an end is a value of the level above, and so something follows it there */
		while (status == LDR_OK && closed && --depth > 0)
			status = json_step(j, (objects[depth / 64] >> (depth % 64)) & 1, &closed);
		if (status != LDR_OK || depth == 0)
			return status;
	}
}
