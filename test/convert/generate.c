/*
 * generate.c: random text for a type: valid values, edge values, and both with a few bytes
 * changed. Depends on nothing but its seed.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"

#include "generate.h"

#define PICK(r, list) ((list)[random_below(r, lengthof(list))])

uint64
random_next(Random *r)
{
	/* splitmix64 */
	uint64		z = (r->state += UINT64CONST(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int
random_below(Random *r, int n)
{
	return (int) (random_next(r) % (uint64) n);
}

static bool
one_in(Random *r, int n)
{
	return random_below(r, n) == 0;
}

/* n digits: any, or runs of the ones at which carries and ties happen */
static void
append_digits(Random *r, StringInfo buf, int n)
{
	static const char edge[] = "00099945";
	int			style = random_below(r, 4);
	char		run = PICK(r, "0950");

	for (int i = 0; i < n; i++)
	{
		if (style == 0)
			appendStringInfoChar(buf, edge[random_below(r, 8)]);
		else if (style == 1 && run != '\0' && !one_in(r, 8))
			appendStringInfoChar(buf, run);
		else
			appendStringInfoChar(buf, '0' + random_below(r, 10));
	}
}

static void
append_sign(Random *r, StringInfo buf)
{
	int			n = random_below(r, 8);

	if (n < 3)
		appendStringInfoChar(buf, n == 0 ? '+' : '-');
}

static void
generate_integer(Random *r, StringInfo buf)
{
	static const char *const edges[] = {
		"32767", "32768", "-32768", "-32769", "2147483647", "2147483648", "-2147483648",
		"-2147483649", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
		"-9223372036854775809", "999999999999999999", "1000000000000000000", "0", "-0", "+0",
		"", "-", "+", "--1", "18446744073709551616", "00000000000000000000001", "0x1F", "1_000",
		"1e3", "1.0", "True"
	};

	if (one_in(r, 8))
	{
		appendStringInfoString(buf, PICK(r, edges));
		return;
	}
	append_sign(r, buf);
	append_digits(r, buf, one_in(r, 4) ? random_below(r, 24) : 1 + random_below(r, 5));
}

/* A number in the middle between two floats (doubles), where rounding is decided, or next to it. */
static void
append_tie(Random *r, StringInfo buf)
{
	int			precision = one_in(r, 2) ? 24 : 53;
	uint64		odd = (random_next(r) >> (64 - precision - 1)) | 1;
	int			exponent = random_below(r, 60) - 50;
	char		text[400];

	snprintf(text, sizeof(text), "%.*f", exponent < 0 ? -exponent : 0,
			 ldexp((double) odd, exponent));
	if (precision == 53)
		/* has 54 digits, so the double is rounded, but the integer is not */
		snprintf(text, sizeof(text), UINT64_FORMAT, odd);
	appendStringInfoString(buf, text);
	if (one_in(r, 2))
		appendStringInfo(buf, "%s%d", strchr(text, '.') ? "" : ".", random_below(r, 3));
	else if (one_in(r, 4))
		appendStringInfo(buf, "e%d", random_below(r, 60) - 30);
}

static void
generate_float(Random *r, StringInfo buf)
{
	static const char *const edges[] = {
		"NaN", "nan", "inf", "Infinity", "-infinity", "+inf", "-Inf", "0", "-0", "-0.0", "0e0",
		"-0e99", "0e400", "1e308", "1.7976931348623157e308", "1.7976931348623159e308", "1e309",
		"4.9e-324", "2e-324", "1e-400", "2.2250738585072014e-308", "2.2250738585072011e-308",
		"3.4028234e38", "3.4028235e38", "3.4028236e38", "3.40282356e38", "3.40282357e38",
		"1.17549435e-38", "1e-45", "1e-46", "7e-46", "9007199254740991", "9007199254740992",
		"9007199254740993", "9007199254740993.0", "16777217", "16777216", "16777219",
		"1e22", "1e23", "1e-22", "1e-23", "1e27", "1e28", "1e-27", "1e-28", "8.5e10", "1e10",
		"1e11", "1e-10", "1e-11", "9999999999999999999", "18446744073709551615",
		"18446744073709551616", "18446744073709551617", "10000000000000000000", "", ".", "e5",
		"1e", "1e+", "1.e5", ".5", "5.", "0x1p3", "1e99999999999", "True", "1_0",
		"0.00000000000000000000000000001", "00000000000000000000000000000000000000000000001.5",
		"0000000000000000000000000000000000000000000000000000000000000000000000000000000000001"
	};
	char		text[64];
	double		d;
	float		f4;
	uint64		bits = random_next(r);
	uint32		bits4 = (uint32) bits;

	switch (random_below(r, 8))
	{
		case 0:
			appendStringInfoString(buf, PICK(r, edges));
			break;
		case 1:
			memcpy(&d, &bits, sizeof(d));
			snprintf(text, sizeof(text), "%.*g", 15 + random_below(r, 4), d);
			appendStringInfoString(buf, text);
			break;
		case 2:
			memcpy(&f4, &bits4, sizeof(f4));
			snprintf(text, sizeof(text), "%.*g", 6 + random_below(r, 5), f4);
			appendStringInfoString(buf, text);
			break;
		case 3:
			/* like most values there are */
			d = (double) (bits >> 11) / (UINT64CONST(1) << 53);
			snprintf(text, sizeof(text), "%.*g", 15 + random_below(r, 4),
					 d * pow(10, random_below(r, 30) - 10));
			appendStringInfoString(buf, text);
			break;
		case 4:
			append_sign(r, buf);
			append_tie(r, buf);
			break;
		default:
			append_sign(r, buf);
			append_digits(r, buf, random_below(r, 14));
			if (!one_in(r, 3))
			{
				appendStringInfoChar(buf, '.');
				append_digits(r, buf, random_below(r, 12));
			}
			if (one_in(r, 3))
				appendStringInfo(buf, "%c%s%d", one_in(r, 2) ? 'e' : 'E', one_in(r, 4) ? "+" : "",
								 random_below(r, 80) - 40);
	}
}

static void
generate_numeric(Random *r, int32 typmod, StringInfo buf)
{
	static const char *const edges[] = {
		"NaN", "nan", "Infinity", "-inf", "0", "-0", "0.0", "-0.000", "", "-", ".", "+.", ".5",
		"5.", "1e5", "1E-5", "1e", "0x1F", "1_000", "1_000.5", "00.00", "1..2", "1.2.3", "0.5",
		"-0.5", "0.4", "9.5", "99.95", "9999.5", "9999.99995", "0.00005", "0.00004", "1e400",
		"0.9999999995", "99999999999999999999999999999.9999999995", "True", "10000", "100000000"
	};
	int			before = random_below(r, 12);
	int			behind = random_below(r, 12);

	if (one_in(r, 10))
	{
		appendStringInfoString(buf, PICK(r, edges));
		return;
	}
	if (one_in(r, 4))
	{
		before = random_below(r, 90);
		behind = random_below(r, 90);
	}
	else if (one_in(r, 30))
	{
		before = random_below(r, 200);
		behind = random_below(r, 200);
	}
	else if (typmod >= 0 && one_in(r, 3))
	{
		/* as many digits as fit, or one more or less */
		int			precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
		int			scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;

		before = Max(precision - scale, 0) + random_below(r, 3) - 1;
		behind = Max(scale, 0) + random_below(r, 4) - 1;
	}
	append_sign(r, buf);
	append_digits(r, buf, before);
	if (!one_in(r, 4))
	{
		appendStringInfoChar(buf, '.');
		append_digits(r, buf, behind);
	}
}

static void
generate_bool(Random *r, StringInfo buf)
{
	static const char *const words[] = {
		"true", "false", "True", "False", "TRUE", "FALSE", "t", "f", "T", "F", "1", "0", "yes",
		"no", "on", "off", "y", "n", "tr", "fal", "o", "", "2", "01", " true ", "TrUe", "truee"
	};

	appendStringInfoString(buf, PICK(r, words));
}

static void
append_date(Random *r, StringInfo buf)
{
	static const int years[] = {0, 1, 4, 99, 100, 1582, 1600, 1899, 1900, 1970, 1999, 2000, 2001,
	2024, 2038, 2100, 9999, 10000, 294276};
	int			year = one_in(r, 3) ? PICK(r, years) : 1900 + random_below(r, 200);
	int			month = one_in(r, 20) ? random_below(r, 15) : 1 + random_below(r, 12);
	int			day = one_in(r, 10) ? random_below(r, 34) : 1 + random_below(r, 28);

	if (one_in(r, 10))
		year = 1 + random_below(r, 9999);
	if (one_in(r, 20))
		day = 28 + random_below(r, 4);
	if (one_in(r, 60))
		appendStringInfo(buf, "%d-%d-%d", year, month, day);
	else if (one_in(r, 60))
		appendStringInfo(buf, "%02d%c%02d%c%04d", month, PICK(r, "-/. "), day,
						 PICK(r, "-/. "), year);
	else
		appendStringInfo(buf, "%04d-%02d-%02d", year, month, day);
}

static void
append_time(Random *r, StringInfo buf)
{
	bool		odd = one_in(r, 20);

	appendStringInfo(buf, "%02d:%02d", random_below(r, odd ? 27 : 24),
					 random_below(r, odd ? 62 : 60));
	if (one_in(r, 60))
		return;
	appendStringInfo(buf, ":%02d", one_in(r, 4) ? 59 : random_below(r, odd ? 63 : 60));
	if (one_in(r, 2))
	{
		appendStringInfoChar(buf, '.');
		append_digits(r, buf, one_in(r, 3) ? random_below(r, 19) : 1 + random_below(r, 6));
	}
}

static void
append_offset(Random *r, StringInfo buf)
{
	static const char *const zones[] = {
		"Z", "z", "+00", "-00", "+00:00", "+0000", "-00:30", "+15:59", "+15:60", "+16", "-15:59",
		"-16:00", "+05:30", "+0530", "+05:30:15", " +05", " UTC", "UTC", " Europe/Berlin", " EST",
		"", "+5", "+053", "-", "+", "+1:30", " Z", "+05:3", "+05:", "-05:00 BC", "+05.5"
	};

	if (one_in(r, 2))
		appendStringInfo(buf, "%c%02d:%02d", PICK(r, "+-+") == '-' ? '-' : '+',
						 random_below(r, 15), 15 * random_below(r, 4));
	else
		appendStringInfoString(buf, PICK(r, zones));
}

static void
generate_datetime(Random *r, Oid typid, StringInfo buf)
{
	static const char *const edges[] = {
		"infinity", "-infinity", "epoch", "now", "today", "", "24:00:00", "23:59:60",
		"23:59:59.9999995", "23:59:59.999999", "00:00:00", "2000-01-01", "2024-02-29",
		"2023-02-29", "1900-02-29", "2000-02-29", "allballs", "2024-01-01 24:00:00",
		"2024-01-01T24:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.9999999Z",
		"0001-01-01T00:00:00+15:59", "0001-01-01 00:00:00 BC", "2024-01-01", "J2451187",
		"2024-01-01 10:00:00 PM", "12:00:00Z", "12:00:00+02", "2024-W01-1", "2024-001",
		"1999-12-31T23:59:59.5Z", "1999-12-31T23:59:59.4999995Z", "20240101T000000Z"
	};

	if (one_in(r, 20))
	{
		appendStringInfoString(buf, PICK(r, edges));
		return;
	}
	if (typid != TIMEOID)
		append_date(r, buf);
	if (typid == DATEOID && !one_in(r, 20))
		return;
	if (typid != TIMEOID)
	{
		if (one_in(r, 40))
			return;
		appendStringInfoChar(buf, one_in(r, 20) ? PICK(r, "t_ ,") : PICK(r, "TT T"));
		if (buf->data[buf->len - 1] == '\0')
			buf->data[buf->len - 1] = ' ';
	}
	append_time(r, buf);
	if (typid == TIMESTAMPTZOID ? !one_in(r, 10) : one_in(r, 10))
		append_offset(r, buf);
}

/* A character of UTF-8, any length, seldom a code that is none. */
static void
append_character(Random *r, StringInfo buf)
{
	static const int limits[] = {0x80, 0x100, 0x800, 0x10000, 0x110000};
	int			code = random_below(r, PICK(r, limits));

	if (code < 0x80)
		appendStringInfoChar(buf, code == 0 && !one_in(r, 10) ? 'a' : code);
	else if (code < 0x800)
		appendStringInfo(buf, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 0x3f));
	else if (code < 0x10000)
		appendStringInfo(buf, "%c%c%c", 0xe0 | code >> 12, 0x80 | (code >> 6 & 0x3f),
						 0x80 | (code & 0x3f));
	else
		appendStringInfo(buf, "%c%c%c%c", 0xf0 | code >> 18, 0x80 | (code >> 12 & 0x3f),
						 0x80 | (code >> 6 & 0x3f), 0x80 | (code & 0x3f));
}

static void
generate_text(Random *r, int32 typmod, StringInfo buf)
{
	int			n = random_below(r, one_in(r, 10) ? 300 : 24);
	int			spaces = one_in(r, 4) ? random_below(r, 12) : 0;
	int			style = random_below(r, 4);

	if (typmod >= (int32) VARHDRSZ && one_in(r, 2))
		n = Max(0, typmod - (int32) VARHDRSZ + random_below(r, 5) - 2);
	for (int i = 0; i < n; i++)
	{
		if (style == 0)
			append_character(r, buf);
		else if (style == 1 && one_in(r, 10))
			appendStringInfo(buf, "%c%c", 0xc3, 0x80 + random_below(r, 64));
		else
			appendStringInfoChar(buf, ' ' + random_below(r, 95));
	}
	for (int i = 0; i < spaces; i++)
		appendStringInfoChar(buf, ' ');
	if (buf->len > 0 && one_in(r, 50))
		buf->data[random_below(r, buf->len)] = random_below(r, 256);
}

static void
generate_bytea(Random *r, StringInfo buf)
{
	int			n = random_below(r, 40);
	int			style = random_below(r, 3);

	if (style == 0)
		appendStringInfoString(buf, "\\x");
	for (int i = 0; i < n; i++)
	{
		int			byte = random_below(r, 256);

		if (style == 0)
			appendStringInfo(buf, one_in(r, 2) ? "%02x" : "%02X", byte);
		else if (style == 1 && (byte < 32 || byte > 126))
			appendStringInfo(buf, "\\%03o", byte);
		else
			appendStringInfoChar(buf, ' ' + byte % 95);
	}
}

static void
generate_uuid(Random *r, StringInfo buf)
{
	static const char *const edges[] = {
		"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
		"a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "",
		"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
		"a0eebc999-c0b-4ef8-bb6d-6bb9bd380a11", "-a0eebc99-9c0b-4ef8-bb6d6bb9bd380a11",
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
		"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
		"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1G", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1@"
	};
	bool		dashes = one_in(r, 4) ? false : true;
	const char *digits = one_in(r, 2) ? "0123456789abcdef" : "0123456789ABCDEF";

	if (one_in(r, 10))
	{
		appendStringInfoString(buf, PICK(r, edges));
		return;
	}
	for (int i = 0; i < 32; i++)
	{
		if (dashes && (i == 8 || i == 12 || i == 16 || i == 20))
			appendStringInfoChar(buf, '-');
		appendStringInfoChar(buf, digits[random_below(r, 16)]);
	}
	/* any byte at any place */
	if (one_in(r, 4))
		buf->data[random_below(r, buf->len)] = random_below(r, 256);
}

static void
generate_other(Random *r, StringInfo buf)
{
	static const char *const values[] = {
		"{}", "{\"a\": [1, 2.50, null, \"\\u00e9\"]}", "[]", "null", "{\"a\"",
		"{1,2,3}", "{a,NULL}",
		"1 day 02:03:04", "P1Y2M3DT4H5M6S", "-1 mon", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
		"a0eebc999c0b4ef8bb6d6bb9bd380a11", "1", "-1", "5", "abc", "", "12:00:00+02", "(1,2)"
	};

	appendStringInfoString(buf, PICK(r, values));
}

/* Change, insert or remove a few bytes. */
static void
mutate(Random *r, StringInfo buf)
{
	static const char bytes[] = "0123456789+-.eE:TZ \t\nx\\_,/an\x80\xc3\xff";
	int			n = 1 + random_below(r, 2);

	for (int i = 0; i < n; i++)
	{
		int			at = random_below(r, buf->len + 1);
		char		c = bytes[random_below(r, sizeof(bytes) - (one_in(r, 4) ? 0 : 4))];

		switch (random_below(r, 3))
		{
			case 0:
				if (at < buf->len)
					buf->data[at] = c;
				break;
			case 1:
				appendStringInfoChar(buf, c);
				memmove(buf->data + at + 1, buf->data + at, buf->len - at - 1);
				buf->data[at] = c;
				break;
			default:
				if (at < buf->len)
				{
					memmove(buf->data + at, buf->data + at + 1, buf->len - at);
					buf->len--;
				}
		}
	}
}

void
generate_value(Random *r, Oid typid, int32 typmod, StringInfo buf)
{
	resetStringInfo(buf);
	switch (typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			generate_integer(r, buf);
			break;
		case FLOAT4OID:
		case FLOAT8OID:
			generate_float(r, buf);
			break;
		case NUMERICOID:
			generate_numeric(r, typmod, buf);
			break;
		case BOOLOID:
			generate_bool(r, buf);
			break;
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			generate_datetime(r, typid, buf);
			break;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			generate_text(r, typmod, buf);
			break;
		case UUIDOID:
			generate_uuid(r, buf);
			break;
		case BYTEAOID:
			generate_bytea(r, buf);
			break;
		default:
			generate_other(r, buf);
	}
	if (one_in(r, 10))
		mutate(r, buf);
}
