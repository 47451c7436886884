/*
 * convert/airbyte_json.c: JSON that the reader has checked -> JSON that jsonb takes, and strings
 * into JSON and out of it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "convert/airbyte_value.h"
#include "reader/json_escape.h"

/* A number that is shorter and has no exponent is within the limits of numeric. */
#define SHORT_NUMBER 16000

/* What stands where in the text */
typedef struct JsonScan
{
	const char *p;
	const char *end;
	char	   *out;			/* where the copy goes on */
	bool		decode;			/* escapes of what is not ASCII */
} JsonScan;

static inline void
json_end(LdrJsonText *out, char *end)
{
	*end = '\0';
	out->len = end - out->data;
	out->huge = out->len > LDR_JSON_NOT_HUGE;
}

/* The code of \uXXXX at p, whose digits the reader has checked; -1 if no such escape is there. */
static int32
json_code(const char *p, const char *end)
{
	int32		code = 0;

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		int			c = p[i] | 0x20;	/* makes letters small, and leaves digits alone */

		code = code << 4 | (c >= 'a' ? c - 'a' + 10 : c - '0');
	}
	return code;
}

/*
 * The escape or pair of escapes at p as one code, and how many bytes it takes; -1 if it is half a
 * pair.
 */
static int32
json_code_point(const char *p, const char *end, int *len)
{
	int32		code = json_code(p, end);
	int32		low;

	*len = 6;
	if ((code & 0xf800) != 0xd800)
		return code;
	low = json_code(p + 6, end);
	if (code >= 0xdc00 || low < 0xdc00 || low > 0xdfff)
		return -1;
	*len = 12;
	return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* The UTF-8 of a code that is not 0; returns its end. */
static char *
json_put(char *dst, int32 code)
{
	unicode_to_utf8(code, (unsigned char *) dst);
	return dst + pg_utf_mblen((unsigned char *) dst);
}

/* Copy the escape at s->p, unless it is \u0000; false if it is half a pair. */
static bool
json_copy_escape(JsonScan *s)
{
	int			len = 2;

	if (s->p[1] == 'u')
	{
		int32		code = json_code_point(s->p, s->end, &len);

		if (code < 0)
			return false;
		if (code == 0 || (code > 0x7f && s->decode))
		{
			if (code > 0)
				s->out = json_put(s->out, code);
			s->p += len;
			return true;
		}
	}
	memcpy(s->out, s->p, len);
	s->out += len;
	s->p += len;
	return true;
}

/* Copy the string whose quote was copied. */
static bool
json_copy_string(JsonScan *s)
{
	while (s->p < s->end)
	{
		char		c = *s->p;

		if (c == '\\' && s->end - s->p >= 2)
		{
			if (!json_copy_escape(s))
				return false;
			continue;
		}
		*s->out++ = c;
		s->p++;
		if (c == '"')
			break;
	}
	return true;
}

/* Copy the number at s->p. */
static LdrNulled
json_copy_number(JsonScan *s)
{
	const char *begin = s->p;
	bool		plain = true;
	LdrNumber	n;
	size_t		len;

	for (; s->p < s->end; s->p++)
	{
		char		c = *s->p;

		if ((c | 0x20) == 'e')
			plain = false;
		else if ((c < '0' || c > '9') && c != '.' && c != '-' && c != '+')
			break;
		*s->out++ = c;
	}
	len = s->p - begin;
	if (plain && len < SHORT_NUMBER)
		return LDR_NULLED_NOT;
	if (!ldr_number_split(begin, len, &n))
		return LDR_NULLED_SERIALIZATION;
	return ldr_number_check(&n);
}

static LdrNulled
json_copy(JsonScan *s)
{
	while (s->p < s->end)
	{
		char		c = *s->p;

		if ((c >= '0' && c <= '9') || c == '-')
		{
			LdrNulled	nulled = json_copy_number(s);

			if (nulled != LDR_NULLED_NOT)
				return nulled;
			continue;
		}
		*s->out++ = c;
		s->p++;
		if (c == '"' && !json_copy_string(s))
			return LDR_NULLED_SERIALIZATION;
	}
	return LDR_NULLED_NOT;
}

/* How many of such items the server has room for while it reads an array or object. */
static size_t
json_limit(size_t item)
{
	size_t		n = 4;

	/* it doubles what it has */
	while (n * 2 * item <= MaxAllocSize)
		n *= 2;
	return n;
}

/*
 * Has some array or object more members than the server can read? It says so by an error that is
 * none of a value's (an invalid size of memory). Only a huge text has so many.
 */
static bool
json_too_many(const char *p, const char *end)
{
	size_t		limits[2] = {json_limit(sizeof(JsonbValue)), json_limit(sizeof(JsonbPair))};
	size_t		commas[LDR_MAX_DEPTH + 1] = {0};
	bool		object[LDR_MAX_DEPTH + 1] = {0};
	int			depth = 0;

	for (; p < end; p++)
	{
		switch (*p)
		{
			case '"':
				for (p++; p < end && *p != '"'; p++)
					p += (*p == '\\');
				break;
			case '{':
			case '[':
				if (++depth > LDR_MAX_DEPTH)
					return true;
				commas[depth] = 0;
				object[depth] = (*p == '{');
				break;
			case '}':
			case ']':
				depth--;
				break;
			case ',':
				if (++commas[depth] >= limits[object[depth]])
					return true;
		}
	}
	return false;
}

LdrNulled
ldr_json_safe(const char *json, size_t len, bool decode, LdrJsonText *out)
{
	JsonScan	s = {.p = json, .end = json + len, .decode = decode};
	LdrNulled	nulled;

	out->data = s.out = palloc(len + 1);
	nulled = json_copy(&s);
	json_end(out, s.out);
	if (nulled == LDR_NULLED_NOT && out->huge && json_too_many(out->data, s.out))
		return LDR_NULLED_SIZE;
	return nulled;
}

void
ldr_json_strip(const char *json, size_t len, LdrJsonText *out)
{
	const char *end = json + len;
	const char *p = json;
	char	   *dst;

	out->data = dst = palloc(len + 1);
	while (p < end)
	{
		int			n = 1;

		if (*p == '\\' && end - p >= 2)
		{
			if (json_code(p, end) == 0)
			{
				p += 6;
				continue;
			}
			n = 2;				/* what is escaped is no backslash of another escape */
		}
		memcpy(dst, p, n);
		dst += n;
		p += n;
	}
	json_end(out, dst);
}

/* The letter of a short escape of c, 0 if it has none. */
static inline char
json_escape_of(char c)
{
	switch (c)
	{
		case '"':
		case '\\':
			return c;
		case '\b':
			return 'b';
		case '\f':
			return 'f';
		case '\n':
			return 'n';
		case '\r':
			return 'r';
		case '\t':
			return 't';
		default:
			return '\0';
	}
}

LdrNulled
ldr_json_quote(const char *s, size_t len, LdrJsonText *out)
{
	static const char hex[] = "0123456789abcdef";
	size_t		size = len + 3;
	char	   *dst;

	for (size_t i = 0; i < len; i++)
	{
		if (json_escape_of(s[i]))
			size += 1;
		else if ((unsigned char) s[i] < ' ')
			size += 5;
	}
	if (size > MaxAllocSize)
		return LDR_NULLED_SIZE;
	out->data = dst = palloc(size);
	*dst++ = '"';
	for (size_t i = 0; i < len; i++)
	{
		char		letter = json_escape_of(s[i]);

		if (s[i] == '\0')
			continue;
		if (letter != '\0')
		{
			*dst++ = '\\';
			*dst++ = letter;
		}
		else if ((unsigned char) s[i] < ' ')
		{
			memcpy(dst, "\\u00", 4);
			dst[4] = hex[s[i] >> 4];
			dst[5] = hex[s[i] & 15];
			dst += 6;
		}
		else
			*dst++ = s[i];
	}
	*dst++ = '"';
	json_end(out, dst);
	return LDR_NULLED_NOT;
}

LdrNulled
ldr_json_unquote(const char *json, size_t len, LdrJsonText *out)
{
	const char *p = json + 1;
	const char *end = json + len - 1;
	char	   *dst;

	out->data = dst = palloc(len);
	while (p < end)
	{
		if (*p != '\\')
			*dst++ = *p++;
		else if (p[1] != 'u')
		{
			*dst++ = ldr_json_escape(p[1]);
			p += 2;
		}
		else
		{
			int			n;
			int32		code = json_code_point(p, end, &n);

			if (code < 0)
				return LDR_NULLED_SERIALIZATION;
			p += n;
			if (code > 0)
				dst = json_put(dst, code);
		}
	}
	json_end(out, dst);
	return LDR_NULLED_NOT;
}
