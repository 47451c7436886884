/*
 * convert/integer.c: int2, int4, int8 from plain decimal digits with an optional sign. Anything
 * else (spaces, too many digits, out of range) is the input function's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "convert/convert.h"
#include "convert/digits.h"
#include "convert/put.h"

#define MAX_DIGITS 19			/* of these every number fits a uint64, without a check per digit */

/*
 * Parse the field; false if it is not digits alone, too many of them, or beyond an int64. wide:
 * what is behind the field can be read.
 */
static pg_attribute_always_inline bool
integer_parse(const LdrField *f, int64 *value, bool wide)
{
	const char *p = f->data;
	const char *end = p + f->len;
	bool		negative = false;
	size_t		first;
	uint64		sum = 0,
				eight;

	/* what there mostly is */
	if (wide && likely(f->len - 1 < 8 && ldr_wide_digits(p, f->len, &sum)))
	{
		*value = (int64) sum;
		return true;
	}
	if (p < end && (*p == '-' || *p == '+'))
		negative = (*p++ == '-');
	if (p == end || end - p > MAX_DIGITS)
		return false;
	/* the first word is what is left over from whole ones: no loop over single digits */
	first = (end - p - 1) % 8 + 1;
	if (unlikely(!(wide ? ldr_wide_digits(p, first, &sum)
				   : ldr_word_digits(ldr_load_short(p, first), &sum))))
		return false;
	for (p += first; p < end; p += 8)
	{
		if (unlikely(!ldr_eight_digits(p, &eight)))
			return false;
		sum = sum * 100000000 + eight;
	}
	if (sum > PG_INT64_MAX)
		return false;			/* the least int64 too: its magnitude is none */
	*value = negative ? -(int64) sum : (int64) sum;
	return true;
}

bool
ldr_parse_int64(const LdrField *f, int64 *value)
{
	return integer_parse(f, value, false);
}

static Datum
integer_int2(LdrConverter *c, const LdrField *f)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value, false) || value < PG_INT16_MIN || value > PG_INT16_MAX))
		return ldr_convert_input(c, f);
	return Int16GetDatum((int16) value);
}

static Datum
integer_int4(LdrConverter *c, const LdrField *f)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value, false) || value < PG_INT32_MIN || value > PG_INT32_MAX))
		return ldr_convert_input(c, f);
	return Int32GetDatum((int32) value);
}

static Datum
integer_int8(LdrConverter *c, const LdrField *f)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value, false)))
		return ldr_convert_input(c, f);
	return Int64GetDatum(value);
}

static char *
integer_put_int2(const LdrConverter *c, const LdrField *f, char *dst)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value, true) || value < PG_INT16_MIN || value > PG_INT16_MAX))
		return NULL;
	return ldr_put_int16(dst, (int16) value);
}

static char *
integer_put_int4(const LdrConverter *c, const LdrField *f, char *dst)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value, true) || value < PG_INT32_MIN || value > PG_INT32_MAX))
		return NULL;
	return ldr_put_int32(dst, (int32) value);
}

static char *
integer_put_int8(const LdrConverter *c, const LdrField *f, char *dst)
{
	int64		value;

	if (unlikely(!integer_parse(f, &value, true)))
		return NULL;
	return ldr_put_int64(dst, value);
}

bool
ldr_integer_converter(LdrConverter *c)
{
	switch (c->typid)
	{
		case INT2OID:
			c->fn = integer_int2;
			c->put = integer_put_int2;
			return true;
		case INT4OID:
			c->fn = integer_int4;
			c->put = integer_put_int4;
			return true;
		case INT8OID:
			c->fn = integer_int8;
			c->put = integer_put_int8;
			return true;
		default:
			return false;
	}
}
