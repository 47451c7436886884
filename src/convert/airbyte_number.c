/*
 * convert/airbyte_number.c: numbers in text, of any length, as integers and within the limits of
 * numeric.
 */
#include "postgres.h"

#include "convert/airbyte_value.h"

/* Of numeric, as its documentation has them */
#define MAX_DIGITS_BEFORE	131072
#define MAX_DIGITS_BEHIND	16383

/* Beyond it an exponent is too large for a number of any length; the server refuses it even of 0 */
#define MAX_EXPONENT		(PG_INT32_MAX / 2)

static inline const char *
number_skip_digits(const char *p, const char *end)
{
	while (p < end && (unsigned char) (*p - '0') <= 9)
		p++;
	return p;
}

/* The exponent at p, behind its letter; false if there is none, or anything behind it. */
static bool
number_exponent(const char *p, const char *end, int64 *exponent)
{
	bool		negative = false;
	int64		value = 0;

	if (p < end && (*p == '-' || *p == '+'))
		negative = (*p++ == '-');
	if (p == end)
		return false;
	for (; p < end; p++)
	{
		unsigned int digit = (unsigned char) *p - '0';

		if (digit > 9)
			return false;
		if (value <= MAX_EXPONENT)
			value = value * 10 + digit;
	}
	*exponent = negative ? -value : value;
	return true;
}

/* Leave out zeros at both ends, which do not count as digits. */
static void
number_strip(LdrNumber *n)
{
	while (n->ninteger > 0 && *n->integer == '0')
	{
		n->integer++;
		n->ninteger--;
	}
	while (n->nfraction > 0 && n->fraction[n->nfraction - 1] == '0')
		n->nfraction--;
}

bool
ldr_number_split(const char *s, size_t len, LdrNumber *n)
{
	const char *p = s;
	const char *end = s + len;

	n->negative = (p < end && *p == '-');
	if (p < end && (*p == '-' || *p == '+'))
		p++;
	n->integer = p;
	p = number_skip_digits(p, end);
	n->ninteger = p - n->integer;
	n->fraction = p;
	n->nfraction = 0;
	if (p < end && *p == '.')
	{
		n->fraction = ++p;
		p = number_skip_digits(p, end);
		n->nfraction = p - n->fraction;
	}
	if (n->ninteger + n->nfraction == 0)
		return false;
	n->exponent = 0;
	if (p < end && ((*p | 0x20) != 'e' || !number_exponent(p + 1, end, &n->exponent)))
		return false;
	n->scale = n->nfraction - n->exponent;
	number_strip(n);
	return true;
}

/* Is it 0? Both parts are without zeros at their outer ends. */
static inline bool
number_is_zero(const LdrNumber *n)
{
	return n->ninteger == 0 && n->nfraction == 0;
}

static inline char
number_digit(const LdrNumber *n, int64 i)
{
	return i < n->ninteger ? n->integer[i] : n->fraction[i - n->ninteger];
}

LdrNulled
ldr_number_int64(const LdrNumber *n, int64 *value)
{
	int64		begin = 0,
				end = n->ninteger + n->nfraction;
	int64		zeros = n->exponent - n->nfraction;
	uint64		sum = 0;

	*value = 0;
	while (end > 0 && number_digit(n, end - 1) == '0')
	{
		end--;
		zeros++;
	}
	while (begin < end && number_digit(n, begin) == '0')
		begin++;
	if (begin == end)
		return LDR_NULLED_NOT;
	if (zeros < 0)
		return LDR_NULLED_SERIALIZATION;	/* has a fraction */
	if (end - begin + zeros > 19)
		return LDR_NULLED_SIZE;
	for (; begin < end; begin++)
		sum = sum * 10 + (number_digit(n, begin) - '0');
	for (; zeros > 0; zeros--)
		sum *= 10;
	if (sum > (uint64) PG_INT64_MAX + n->negative)
		return LDR_NULLED_SIZE;
	*value = (int64) (n->negative ? 0 - sum : sum);
	return LDR_NULLED_NOT;
}

int64
ldr_number_magnitude(const LdrNumber *n)
{
	int64		zeros = 0;

	if (n->ninteger > 0)
		return n->ninteger + n->exponent;
	while (zeros < n->nfraction && n->fraction[zeros] == '0')
		zeros++;
	return n->exponent - zeros;
}

LdrNulled
ldr_number_check(const LdrNumber *n)
{
	if (n->exponent >= MAX_EXPONENT || n->exponent <= -MAX_EXPONENT ||
		n->scale > MAX_DIGITS_BEHIND)
		return LDR_NULLED_SIZE;
	if (!number_is_zero(n) && ldr_number_magnitude(n) > MAX_DIGITS_BEFORE)
		return LDR_NULLED_SIZE;
	return LDR_NULLED_NOT;
}
