/*
 * reader/scan.h: find the next byte that matters, sixteen or eight at a time. No postgres.h.
 *
 * Each loop stops at control characters (below 0x20) too, so at the zero bytes behind a window,
 * which therefore needs no comparison with its end. For short ways; mask.h is for long ones.
 *
 * A mask of eight bytes has the high bit set in those that match; bytes above a match may be set
 * wrongly by the borrow, so only the lowest one counts.
 */
#ifndef LDR_SCAN_H
#define LDR_SCAN_H

#include <stdbool.h>
#include <stddef.h>
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

#if defined(__SSE2__)

#include <emmintrin.h>

/* Which of sixteen bytes are control characters or one of two others, a bit for each. */
static inline unsigned int
ldr_scan_sixteen(const char *p, char a, char b)
{
	__m128i		x = _mm_loadu_si128((const __m128i *) p);
	__m128i		hit = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(a)),
								   _mm_cmpeq_epi8(x, _mm_set1_epi8(b)));

	hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x));
	return (unsigned int) _mm_movemask_epi8(hit);
}

/* The first control character or one of two others, from p on. */
static inline const char *
ldr_scan_two(const char *p, char a, char b)
{
	for (;; p += 16)
	{
		unsigned int hit = ldr_scan_sixteen(p, a, b);

		if (hit != 0)
			return p + __builtin_ctz(hit);
	}
}

#else

/* The first control character or one of two others, from p on. */
static inline const char *
ldr_scan_two(const char *p, char a, char b)
{
	uint64_t	a8 = ldr_scan_repeat(a);
	uint64_t	b8 = ldr_scan_repeat(b);

	for (;; p += 8)
	{
		uint64_t	x = ldr_scan_load(p);
		uint64_t	hit = ldr_scan_control(x) | ldr_scan_equal(x, a8) | ldr_scan_equal(x, b8);

		if (hit != 0)
			return p + (__builtin_ctzll(hit) >> 3);
	}
}

#endif

/* The first control character or another, from p on. */
static inline const char *
ldr_scan_one(const char *p, char a)
{
	return ldr_scan_two(p, a, a);
}

/* Are all bytes below 0x80? */
static inline bool
ldr_scan_is_ascii(const char *p, size_t len)
{
	const char *end = p + len;
	uint64_t	all = 0;

	for (; end - p >= 32; p += 32)
		all |= (ldr_scan_load(p) | ldr_scan_load(p + 8)) |
			(ldr_scan_load(p + 16) | ldr_scan_load(p + 24));
	for (; end - p >= 8; p += 8)
		all |= ldr_scan_load(p);
	for (; p < end; p++)
		all |= (unsigned char) *p;
	return (all & LDR_HIGHS) == 0;
}

#endif							/* LDR_SCAN_H */
