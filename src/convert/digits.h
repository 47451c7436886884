/*
 * convert/digits.h: decimal digits, two and eight at a time, and fractions of a second.
 */
#ifndef LDR_CONVERT_DIGITS_H
#define LDR_CONVERT_DIGITS_H

#include <math.h>

#include "datatype/timestamp.h"
#include "port/pg_bswap.h"

#define LDR_EIGHT_ZEROS UINT64CONST(0x3030303030303030) /* "00000000" */

/*
 * One if the bytes are the same, else zero. By a subtraction: an instruction that sets one byte has
 * to wait for who last wrote the rest of the register, which may be the value before.
 */
static inline unsigned int
ldr_same_byte(char a, char b)
{
	return ((unsigned int) (unsigned char) (a ^ b) - 1) >> 31;
}

/* The eight bytes at p, the first of them lowest. */
static inline uint64
ldr_load_eight(const char *p)
{
	uint64		w;

	memcpy(&w, p, sizeof(w));
#ifdef WORDS_BIGENDIAN
	w = pg_bswap64(w);
#endif
	return w;
}

/* Up to eight bytes at p, at least one, behind as many "0" as make eight of them. */
static inline uint64
ldr_load_short(const char *p, size_t len)
{
	uint64		w;
	int			shift = (int) (8 * (8 - len));

	if (len == 8)
		return ldr_load_eight(p);
	if (len >= 4)
	{
		uint32		first,
					last;

		memcpy(&first, p, sizeof(first));
		memcpy(&last, p + len - 4, sizeof(last));
#ifdef WORDS_BIGENDIAN
		first = pg_bswap32(first);
		last = pg_bswap32(last);
#endif
		w = first | (uint64) last << (8 * (len - 4));
	}
	else
		/* one to three bytes: some of them twice */
		w = (uint64) (unsigned char) p[0] | (uint64) (unsigned char) p[len / 2] << (8 * (len / 2)) |
			(uint64) (unsigned char) p[len - 1] << (8 * (len - 1));
	return w << shift | (LDR_EIGHT_ZEROS & ((UINT64CONST(1) << shift) - 1));
}

/* Eight digits without their high halves -> whether they are digits at all. */
static inline bool
ldr_are_digits(uint64 w)
{
	/* all high halves are zero, also after adding 6, which carries beyond 9 */
	return ((w | (w + UINT64CONST(0x0606060606060606))) & UINT64CONST(0xf0f0f0f0f0f0f0f0)) == 0;
}

/* The number of eight digits without their high halves. */
static inline uint64
ldr_digits_value(uint64 w)
{
	/* pairs of digits, then both halves of four digits at once */
	w = w * 10 + (w >> 8);
#define PAIRS UINT64CONST(0x000000ff000000ff)
	return ((w & PAIRS) * UINT64CONST(0x000f424000000064) +
			((w >> 16) & PAIRS) * UINT64CONST(0x0000271000000001)) >> 32;
#undef PAIRS
}

/* If the eight bytes are digits, set *value to their number; else return false. */
static inline bool
ldr_word_digits(uint64 w, uint64 *value)
{
	w ^= LDR_EIGHT_ZEROS;
	if (!ldr_are_digits(w))
		return false;
	*value = ldr_digits_value(w);
	return true;
}

/* The same of one to eight bytes at p, of which eight can be read. */
static inline bool
ldr_wide_digits(const char *p, size_t len, uint64 *value)
{
	uint64		w = (ldr_load_eight(p) ^ LDR_EIGHT_ZEROS) << (8 * (8 - len));

	if (!ldr_are_digits(w))
		return false;
	*value = ldr_digits_value(w);
	return true;
}

static inline bool
ldr_eight_digits(const char *p, uint64 *value)
{
	return ldr_word_digits(ldr_load_eight(p), value);
}

/* Two digits -> their value, or 100 and more if they are not digits. */
static inline unsigned int
ldr_two_digits(const char *p)
{
	unsigned int high = (unsigned char) p[0] - '0';
	unsigned int low = (unsigned char) p[1] - '0';

	return (high > 9 || low > 9) ? 100 : high * 10 + low;
}

/*
 * Up to this many digits a fraction is the quotient of two integers that a double holds exactly,
 * and so what strtod makes of it.
 */
#define LDR_MAX_FRACTION 15

/*
 * Parse digits at *p as the fraction of a second, in microseconds, possibly a whole second after
 * rounding; false if there are none or too many.
 */
static inline bool
ldr_fraction(const char **p, const char *end, int64 *usecs)
{
	static const int ten[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
	static const double double_ten[] = {1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
	const char *start = *p;
	const char *s = start;
	int64		value = 0;
	int			ndigits;

	for (; s < end; s++)
	{
		unsigned int digit = (unsigned char) *s - '0';

		if (digit > 9)
			break;
		if (s - start >= LDR_MAX_FRACTION)
			return false;
		value = value * 10 + digit;
	}
	ndigits = (int) (s - start);
	if (ndigits == 0)
		return false;
	*p = s;
	if (ndigits <= 6)
		*usecs = value * ten[ndigits];
	else
		/* the server's own arithmetic, so that ties fall the same way */
		*usecs = (int64) rint((double) value / double_ten[ndigits - 7] * USECS_PER_SEC);
	return true;
}

#endif							/* LDR_CONVERT_DIGITS_H */
