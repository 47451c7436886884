/*
 * convert/float.c: float4 and float8 from decimal numbers, correctly rounded, as strtof and
 * strtod do it.
 *
 * A number is read as mantissa * 10^exponent with an integer mantissa of at most 19 digits. Small
 * ones are one exact floating-point operation (Clinger); the others with an exponent of at most
 * 27 are computed in integers of 128 bits and rounded once, straight to the target's precision:
 * so float4 sees no double rounding. Anything else is the input function's.
 */
#include "postgres.h"

#include <float.h>

#include "catalog/pg_type.h"
#include "port/pg_bitutils.h"

#include "convert/convert.h"
#include "convert/digits.h"
#include "convert/put.h"

#define MAX_DIGITS		19		/* of these every mantissa fits 64 bits */
#define MAX_EXPONENT	27		/* 5^27 is the largest below 2^63 */

/* Is the result of an operation on doubles (floats) a rounded double (float)? Not on an x87. */
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
#define EXACT_OPERATIONS 1
#else
#define EXACT_OPERATIONS 0
#endif

/* Powers of ten that the types hold exactly */
static const double double_ten[] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22
};
static const float float_ten[] = {
	1e0f, 1e1f, 1e2f, 1e3f, 1e4f, 1e5f, 1e6f, 1e7f, 1e8f, 1e9f, 1e10f
};

typedef struct FloatDecimal
{
	uint64		mantissa;
	int			exponent;		/* of ten */
	bool		negative;
} FloatDecimal;

/* The digits of an exponent at p; false if it is malformed or far beyond what we take. */
static bool
float_parse_exponent(const char *p, const char *end, int *exponent)
{
	bool		negative = false;
	int			value = 0;

	if (p < end && (*p == '-' || *p == '+'))
		negative = (*p++ == '-');
	if (p == end || end - p > 3)
		return false;
	for (; p < end; p++)
	{
		unsigned int digit = (unsigned char) *p - '0';

		if (digit > 9)
			return false;
		value = value * 10 + digit;
	}
	*exponent = negative ? -value : value;
	return true;
}

/* Add the run of digits at *p to the mantissa; returns how many. */
static inline int
float_parse_digits(const char **p, const char *end, uint64 *mantissa)
{
	const char *start = *p;
	const char *s = start;
	uint64		sum = *mantissa,
				eight;

	while (end - s >= 8 && ldr_eight_digits(s, &eight))
	{
		sum = sum * 100000000 + eight;
		s += 8;
	}
	for (; s < end; s++)
	{
		unsigned int digit = (unsigned char) *s - '0';

		if (digit > 9)
			break;
		sum = sum * 10 + digit;
	}
	*mantissa = sum;
	*p = s;
	return (int) (s - start);
}

/* How many digits of [s, end), which is digits and a point, are zeros before any other. */
static int
float_leading_zeros(const char *s, const char *end)
{
	int			n = 0;

	for (; s < end && (*s == '0' || *s == '.'); s++)
		n += (*s == '0');
	return n;
}

/* Parse [sign] digits [. digits] [e exponent]; false for anything else, or too many digits. */
static bool
float_parse(const LdrField *f, FloatDecimal *d)
{
	const char *p = f->data;
	const char *end = p + f->len;
	const char *start;
	int			ndigits,
				nfraction = 0;

	d->negative = false;
	d->mantissa = 0;
	d->exponent = 0;

	/* keeps all counts small; what is longer has too many digits anyway */
	if (f->len == 0 || f->len > 64)
		return false;
	if (*p == '-' || *p == '+')
		d->negative = (*p++ == '-');

	start = p;
	ndigits = float_parse_digits(&p, end, &d->mantissa);
	if (p < end && *p == '.')
	{
		p++;
		nfraction = float_parse_digits(&p, end, &d->mantissa);
		ndigits += nfraction;
	}
	if (ndigits == 0)
		return false;
	/* beyond that the mantissa has overflowed, unless the first digits are zeros */
	if (ndigits > MAX_DIGITS && ndigits - float_leading_zeros(start, p) > MAX_DIGITS)
		return false;
	if (p < end)
	{
		if ((*p != 'e' && *p != 'E') || !float_parse_exponent(p + 1, end, &d->exponent))
			return false;
	}
	d->exponent -= nfraction;
	return true;
}

#ifdef HAVE_INT128

/* value = (digits + something below one if sticky) * 2^exponent */
typedef struct FloatBinary
{
	uint64		digits;
	int			exponent;
	bool		sticky;
} FloatBinary;

static const uint64 five[MAX_EXPONENT + 1] = {
	UINT64CONST(1), UINT64CONST(5), UINT64CONST(25), UINT64CONST(125), UINT64CONST(625),
	UINT64CONST(3125), UINT64CONST(15625), UINT64CONST(78125), UINT64CONST(390625),
	UINT64CONST(1953125), UINT64CONST(9765625), UINT64CONST(48828125), UINT64CONST(244140625),
	UINT64CONST(1220703125), UINT64CONST(6103515625), UINT64CONST(30517578125),
	UINT64CONST(152587890625), UINT64CONST(762939453125), UINT64CONST(3814697265625),
	UINT64CONST(19073486328125), UINT64CONST(95367431640625), UINT64CONST(476837158203125),
	UINT64CONST(2384185791015625), UINT64CONST(11920928955078125),
	UINT64CONST(59604644775390625), UINT64CONST(298023223876953125),
	UINT64CONST(1490116119384765625), UINT64CONST(7450580596923828125)
};

/*
 * mantissa * 10^exponent as at least 55 binary digits and a sticky bit, or exactly. mantissa is
 * not 0, and exponent is within MAX_EXPONENT.
 */
static FloatBinary
float_binary(const FloatDecimal *d)
{
	FloatBinary b;

	if (d->exponent >= 0)
	{
		uint128		product = (uint128) d->mantissa * five[d->exponent];
		uint64		high = (uint64) (product >> 64);
		int			shift = high == 0 ? 0 : pg_leftmost_one_pos64(high) + 1;

		b.digits = (uint64) (product >> shift);
		b.sticky = ((product >> shift) << shift) != product;
		b.exponent = d->exponent + shift;
	}
	else
	{
		/* with these two shifts the quotient has 63 or 64 digits: one division of 128 by 64 bits */
		uint64		divisor = five[-d->exponent];
		int			mantissa_shift = 63 - pg_leftmost_one_pos64(d->mantissa);
		int			divisor_shift = 63 - pg_leftmost_one_pos64(divisor);
		uint128		dividend = (uint128) (d->mantissa << mantissa_shift) << 63;

		divisor <<= divisor_shift;
		b.digits = (uint64) (dividend / divisor);
		b.sticky = (uint128) b.digits * divisor != dividend;
		b.exponent = divisor_shift - mantissa_shift - 63 + d->exponent;
	}
	return b;
}

/*
 * Round to the given number of binary digits, to nearest and to even, so that the digits' top bit
 * stands at position precision - 1. The caller knows that the result is a normal number.
 */
static void
float_round(FloatBinary *b, int precision)
{
	int			shift = pg_leftmost_one_pos64(b->digits) + 1 - precision;
	uint64		rest,
				half;

	b->exponent += shift;
	if (shift <= 0)
	{
		b->digits <<= -shift;	/* short ones are exact */
		return;
	}
	rest = b->digits & ((UINT64CONST(1) << shift) - 1);
	half = UINT64CONST(1) << (shift - 1);
	b->digits >>= shift;
	if (rest > half || (rest == half && (b->sticky || (b->digits & 1))))
	{
		b->digits++;
		if (b->digits >> precision)
		{
			b->digits >>= 1;
			b->exponent++;
		}
	}
}

/* The magnitude of d; false if it is not in our range. All doubles within it are normal. */
static bool
float_wide_double(const FloatDecimal *d, double *value)
{
	FloatBinary b;
	uint64		bits;

	if (d->exponent < -MAX_EXPONENT || d->exponent > MAX_EXPONENT)
		return false;
	b = float_binary(d);
	float_round(&b, DBL_MANT_DIG);
	bits = (uint64) (b.exponent + DBL_MANT_DIG - 1 + 1023) << (DBL_MANT_DIG - 1) |
		(b.digits & ((UINT64CONST(1) << (DBL_MANT_DIG - 1)) - 1));
	memcpy(value, &bits, sizeof(bits));
	return true;
}

/* The same for float: here large numbers overflow, and those are not ours. */
static bool
float_wide_float(const FloatDecimal *d, float *value)
{
	FloatBinary b;
	uint32		bits;

	if (d->exponent < -MAX_EXPONENT || d->exponent > MAX_EXPONENT)
		return false;
	b = float_binary(d);
	float_round(&b, FLT_MANT_DIG);
	if (b.exponent + FLT_MANT_DIG - 1 > FLT_MAX_EXP - 1)
		return false;
	bits = (uint32) (b.exponent + FLT_MANT_DIG - 1 + 127) << (FLT_MANT_DIG - 1) |
		((uint32) b.digits & ((1U << (FLT_MANT_DIG - 1)) - 1));
	memcpy(value, &bits, sizeof(bits));
	return true;
}

#else							/* !HAVE_INT128 */

#define float_wide_double(d, value) false
#define float_wide_float(d, value) false

#endif							/* HAVE_INT128 */

/* The nearest double; false if the field is not a number as we read it. */
static inline bool
float_read_double(const LdrField *f, double *value)
{
	FloatDecimal d;

	if (unlikely(!float_parse(f, &d)))
		return false;

	if (d.mantissa == 0)
		*value = 0;
	else if (EXACT_OPERATIONS && d.mantissa <= UINT64CONST(1) << DBL_MANT_DIG &&
			 d.exponent >= -22 && d.exponent <= 22)
	{
		/* both operands are exact, so one operation rounds once */
		*value = (double) d.mantissa;
		if (d.exponent < 0)
			*value /= double_ten[-d.exponent];
		else
			*value *= double_ten[d.exponent];
	}
	else if (!float_wide_double(&d, value))
		return false;

	if (d.negative)
		*value = -*value;
	return true;
}

/* The nearest float, likewise. */
static inline bool
float_read_float(const LdrField *f, float *value)
{
	FloatDecimal d;

	if (unlikely(!float_parse(f, &d)))
		return false;

	if (d.mantissa == 0)
		*value = 0;
	else if (EXACT_OPERATIONS && d.mantissa <= UINT64CONST(1) << FLT_MANT_DIG &&
			 d.exponent >= -10 && d.exponent <= 10)
	{
		*value = (float) d.mantissa;
		if (d.exponent < 0)
			*value /= float_ten[-d.exponent];
		else
			*value *= float_ten[d.exponent];
	}
	else if (!float_wide_float(&d, value))
		return false;

	if (d.negative)
		*value = -*value;
	return true;
}

static Datum
float_float8(LdrConverter *c, const LdrField *f)
{
	double		value;

	return likely(float_read_double(f, &value)) ? Float8GetDatum(value) : ldr_convert_input(c, f);
}

static Datum
float_float4(LdrConverter *c, const LdrField *f)
{
	float		value;

	return likely(float_read_float(f, &value)) ? Float4GetDatum(value) : ldr_convert_input(c, f);
}

static char *
float_put_float8(const LdrConverter *c, const LdrField *f, char *dst)
{
	double		value;
	int64		bits;

	if (unlikely(!float_read_double(f, &value)))
		return NULL;
	memcpy(&bits, &value, sizeof(bits));
	return ldr_put_int64(dst, bits);
}

static char *
float_put_float4(const LdrConverter *c, const LdrField *f, char *dst)
{
	float		value;
	int32		bits;

	if (unlikely(!float_read_float(f, &value)))
		return NULL;
	memcpy(&bits, &value, sizeof(bits));
	return ldr_put_int32(dst, bits);
}

bool
ldr_float_converter(LdrConverter *c)
{
	switch (c->typid)
	{
		case FLOAT4OID:
			c->fn = float_float4;
			c->put = float_put_float4;
			return true;
		case FLOAT8OID:
			c->fn = float_float8;
			c->put = float_put_float8;
			return true;
		default:
			return false;
	}
}
