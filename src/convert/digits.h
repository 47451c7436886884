/*
 * convert/digits.h: eight decimal digits at a time.
 */
#ifndef LDR_CONVERT_DIGITS_H
#define LDR_CONVERT_DIGITS_H

#include "port/pg_bswap.h"

/* If the eight bytes at p are digits, set *value to their number; else return false. */
static inline bool
ldr_eight_digits(const char *p, uint64 *value)
{
	uint64		w;

	memcpy(&w, p, sizeof(w));
#ifdef WORDS_BIGENDIAN
	w = pg_bswap64(w);
#endif
	/* all high halves are 3, also after adding 6, which carries beyond '9' */
	if ((w & UINT64CONST(0xf0f0f0f0f0f0f0f0)) != UINT64CONST(0x3030303030303030) ||
		((w + UINT64CONST(0x0606060606060606)) & UINT64CONST(0xf0f0f0f0f0f0f0f0)) !=
		UINT64CONST(0x3030303030303030))
		return false;

	/* pairs of digits, then both halves of four digits at once */
	w &= UINT64CONST(0x0f0f0f0f0f0f0f0f);
	w = w * 10 + (w >> 8);
#define PAIRS UINT64CONST(0x000000ff000000ff)
	*value = ((w & PAIRS) * UINT64CONST(0x000f424000000064) +
			  ((w >> 16) & PAIRS) * UINT64CONST(0x0000271000000001)) >> 32;
#undef PAIRS
	return true;
}

#endif							/* LDR_CONVERT_DIGITS_H */
