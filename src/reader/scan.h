/*
 * reader/scan.h: find the next byte that matters, eight at a time. No postgres.h.
 *
 * Each loop stops at control characters (below 0x20) too, so at the zero bytes behind a window,
 * which therefore needs no comparison with its end. A mask has the high bit set in the bytes that
 * match; bytes above a match may be set wrongly by the borrow, so only the lowest one counts.
 */
#ifndef LDR_SCAN_H
#define LDR_SCAN_H

#include <stdint.h>
#include <string.h>

#define LDR_ONES	UINT64_C(0x0101010101010101)
#define LDR_HIGHS	UINT64_C(0x8080808080808080)

/* The byte c in each of eight. */
static inline uint64_t
ldr_scan_repeat(char c)
{
	return LDR_ONES * (unsigned char) c;
}

/* Eight bytes, the first of them lowest. */
static inline uint64_t
ldr_scan_load(const char *p)
{
	uint64_t	x;

	memcpy(&x, p, sizeof(x));
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	return x;
}

static inline uint64_t
ldr_scan_equal(uint64_t x, uint64_t repeated)
{
	x ^= repeated;
	return (x - LDR_ONES) & ~x & LDR_HIGHS;
}

/* Exact in all of the bytes. */
static inline uint64_t
ldr_scan_equal_all(uint64_t x, uint64_t repeated)
{
	x ^= repeated;
	return ~(((x & ~LDR_HIGHS) + ~LDR_HIGHS) | x | ~LDR_HIGHS);
}

/* Bytes that are no digits, exact too. */
static inline uint64_t
ldr_scan_not_digit(uint64_t x)
{
	x ^= LDR_ONES * '0';
	return (((x & ~LDR_HIGHS) + LDR_ONES * 0x76) | x) & LDR_HIGHS;
}

static inline uint64_t
ldr_scan_control(uint64_t x)
{
	return (x - LDR_ONES * 0x20) & ~x & LDR_HIGHS;
}

/* The first control character or one of two others, from p on. */
static inline const char *
ldr_scan_two(const char *p, uint64_t a, uint64_t b)
{
	for (;;)
	{
		uint64_t	x = ldr_scan_load(p);
		uint64_t	hit = ldr_scan_control(x) | ldr_scan_equal(x, a) | ldr_scan_equal(x, b);

		if (hit != 0)
			return p + (__builtin_ctzll(hit) >> 3);
		p += 8;
	}
}

/* The first control character or another, from p on. */
static inline const char *
ldr_scan_one(const char *p, uint64_t a)
{
	for (;;)
	{
		uint64_t	x = ldr_scan_load(p);
		uint64_t	hit = ldr_scan_control(x) | ldr_scan_equal(x, a);

		if (hit != 0)
			return p + (__builtin_ctzll(hit) >> 3);
		p += 8;
	}
}

#endif							/* LDR_SCAN_H */
