/*
 * convert/integer.c: int2, int4, int8 from plain decimal digits with an optional sign. Anything
 * else (spaces, too many digits, out of range) is the input function's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "convert/convert.h"
#include "convert/digits.h"

#define MAX_DIGITS 19			/* of these every number fits a uint64, without a check per digit */

/* Parse the field; false if it is not digits alone, too many of them, or beyond an int64. */
static inline bool
integer_parse(const LdrField *f, int64 *value)
{
	const char *p = f->data;
	const char *end = p + f->len;
	bool		negative = false;
	uint64		sum = 0,
				eight;

	if (p < end && (*p == '-' || *p == '+'))
		negative = (*p++ == '-');
	if (p == end || end - p > MAX_DIGITS)
		return false;
	for (; end - p >= 8; p += 8)
	{
		if (unlikely(!ldr_eight_digits(p, &eight)))
			return false;
		sum = sum * 100000000 + eight;
	}
	for (; p < end; p++)
	{
		unsigned int digit = (unsigned char) *p - '0';

		if (unlikely(digit > 9))
			return false;
		sum = sum * 10 + digit;
	}
	if (sum > PG_INT64_MAX)
		return false;			/* the least int64 too: its magnitude is none */
	*value = negative ? -(int64) sum : (int64) sum;
	return true;
}

bool
ldr_parse_int64(const LdrField *f, int64 *value)
{
	return integer_parse(f, value);
}

static Datum
integer_int2(LdrConverter *c, const LdrField *f)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value) || value < PG_INT16_MIN || value > PG_INT16_MAX))
		return ldr_convert_input(c, f);
	return Int16GetDatum((int16) value);
}

static Datum
integer_int4(LdrConverter *c, const LdrField *f)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value) || value < PG_INT32_MIN || value > PG_INT32_MAX))
		return ldr_convert_input(c, f);
	return Int32GetDatum((int32) value);
}

static Datum
integer_int8(LdrConverter *c, const LdrField *f)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value)))
		return ldr_convert_input(c, f);
	return Int64GetDatum(value);
}

LdrConvertFn
ldr_integer_converter(Oid typid)
{
	switch (typid)
	{
		case INT2OID:
			return integer_int2;
		case INT4OID:
			return integer_int4;
		case INT8OID:
			return integer_int8;
		default:
			return NULL;
	}
}
