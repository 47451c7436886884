/*
 * reader/mask.c: masks of blocks, once for each set of instructions. No postgres.h.
 */
#include "reader/mask.h"

#include <string.h>

#include "reader/scan.h"

/* --- eight bytes at a time, everywhere --------------------------------------------------------- */

/* Exact, unlike ldr_scan_equal: the high bit of each byte that is zero, and no other. */
static inline uint64_t
word_zero(uint64_t x)
{
	return ~(((x & ~LDR_HIGHS) + ~LDR_HIGHS) | x | ~LDR_HIGHS);
}

/* The high bits of eight bytes, moved together. */
static inline uint64_t
word_gather(uint64_t highs)
{
	return ((highs >> 7) * UINT64_C(0x0102040810204080)) >> 56;
}

static uint64_t
word_find(const char *p, size_t n, const LdrByteSet *set, uint64_t *masks)
{
	uint64_t	low = LDR_ONES * set->low;
	uint64_t	a = ldr_scan_repeat(set->c[0]);
	uint64_t	b = ldr_scan_repeat(set->c[1]);
	uint64_t	c = ldr_scan_repeat(set->c[2]);
	uint64_t	wide = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint64_t	mask = 0;
		uint64_t	high = 0;

		for (int j = 0; j < LDR_BLOCK; j += 8, p += 8)
		{
			uint64_t	x = ldr_scan_load(p);
			uint64_t	hit = ~((x | LDR_HIGHS) - low) & ~x & LDR_HIGHS;

			hit |= word_zero(x ^ a) | word_zero(x ^ b) | word_zero(x ^ c);
			mask |= word_gather(hit) << j;
			high |= x & LDR_HIGHS;
		}
		masks[i] = mask;
		wide |= (uint64_t) (high != 0) << i;
	}
	return wide;
}

static void
word_tally(const char *p, size_t n, const char *c, size_t *counts)
{
	for (int k = 0; k < 3; k++)
	{
		uint64_t	repeated = ldr_scan_repeat(c[k]);

		counts[k] = 0;
		for (size_t i = 0; i < n * LDR_BLOCK; i += 8)
		{
			uint64_t	hit = word_zero(ldr_scan_load(p + i) ^ repeated) >> 7;

			counts[k] += (hit * LDR_ONES) >> 56;
		}
	}
}

static const LdrMaskWay word_way = {"words", word_find, word_tally};

/* --- x86-64 ------------------------------------------------------------------------------------ */

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Bytes of a vector that may be counted before one of them overflows. */
#define TALLY_VECTORS 255

static uint64_t
sse2_find(const char *p, size_t n, const LdrByteSet *set, uint64_t *masks)
{
	__m128i		low = _mm_set1_epi8((char) set->low);
	__m128i		a = _mm_set1_epi8(set->c[0]);
	__m128i		b = _mm_set1_epi8(set->c[1]);
	__m128i		c = _mm_set1_epi8(set->c[2]);
	uint64_t	wide = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint64_t	mask = 0;
		__m128i		all = _mm_setzero_si128();

		for (int j = 0; j < LDR_BLOCK; j += 16, p += 16)
		{
			__m128i		x = _mm_loadu_si128((const __m128i *) p);
			__m128i		hit = _mm_or_si128(_mm_cmpeq_epi8(x, a), _mm_cmpeq_epi8(x, b));
			__m128i		not_low = _mm_cmpeq_epi8(_mm_max_epu8(x, low), x);

			hit = _mm_or_si128(hit, _mm_cmpeq_epi8(x, c));
			hit = _mm_andnot_si128(hit, not_low);
			mask |= (uint64_t) (uint16_t) ~_mm_movemask_epi8(hit) << j;
			all = _mm_or_si128(all, x);
		}
		masks[i] = mask;
		wide |= (uint64_t) (_mm_movemask_epi8(all) != 0) << i;
	}
	return wide;
}

static size_t
sse2_sum(__m128i counts)
{
	__m128i		sum = _mm_sad_epu8(counts, _mm_setzero_si128());

	return (size_t) (_mm_cvtsi128_si64(sum) + _mm_cvtsi128_si64(_mm_srli_si128(sum, 8)));
}

static void
sse2_tally(const char *p, size_t n, const char *c, size_t *counts)
{
	const char *end = p + n * LDR_BLOCK;
	__m128i		c0 = _mm_set1_epi8(c[0]);
	__m128i		c1 = _mm_set1_epi8(c[1]);
	__m128i		c2 = _mm_set1_epi8(c[2]);

	counts[0] = counts[1] = counts[2] = 0;
	while (p < end)
	{
		__m128i		n0 = _mm_setzero_si128();
		__m128i		n1 = n0;
		__m128i		n2 = n0;

		for (int i = 0; i < TALLY_VECTORS && p < end; i++, p += 16)
		{
			__m128i		x = _mm_loadu_si128((const __m128i *) p);

			n0 = _mm_sub_epi8(n0, _mm_cmpeq_epi8(x, c0));
			n1 = _mm_sub_epi8(n1, _mm_cmpeq_epi8(x, c1));
			n2 = _mm_sub_epi8(n2, _mm_cmpeq_epi8(x, c2));
		}
		counts[0] += sse2_sum(n0);
		counts[1] += sse2_sum(n1);
		counts[2] += sse2_sum(n2);
	}
}

AVX2 static uint64_t
avx2_find(const char *p, size_t n, const LdrByteSet *set, uint64_t *masks)
{
	__m256i		low = _mm256_set1_epi8((char) set->low);
	__m256i		a = _mm256_set1_epi8(set->c[0]);
	__m256i		b = _mm256_set1_epi8(set->c[1]);
	__m256i		c = _mm256_set1_epi8(set->c[2]);
	uint64_t	wide = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint64_t	mask = 0;
		__m256i		all = _mm256_setzero_si256();

		for (int j = 0; j < LDR_BLOCK; j += 32, p += 32)
		{
			__m256i		x = _mm256_loadu_si256((const __m256i *) p);
			__m256i		hit = _mm256_or_si256(_mm256_cmpeq_epi8(x, a), _mm256_cmpeq_epi8(x, b));
			__m256i		not_low = _mm256_cmpeq_epi8(_mm256_max_epu8(x, low), x);

			hit = _mm256_or_si256(hit, _mm256_cmpeq_epi8(x, c));
			hit = _mm256_andnot_si256(hit, not_low);
			mask |= (uint64_t) (uint32_t) ~_mm256_movemask_epi8(hit) << j;
			all = _mm256_or_si256(all, x);
		}
		masks[i] = mask;
		wide |= (uint64_t) (_mm256_movemask_epi8(all) != 0) << i;
	}
	return wide;
}

AVX2 static size_t
avx2_sum(__m256i counts)
{
	return sse2_sum(_mm256_castsi256_si128(counts)) +
		sse2_sum(_mm256_extracti128_si256(counts, 1));
}

AVX2 static void
avx2_tally(const char *p, size_t n, const char *c, size_t *counts)
{
	const char *end = p + n * LDR_BLOCK;
	__m256i		c0 = _mm256_set1_epi8(c[0]);
	__m256i		c1 = _mm256_set1_epi8(c[1]);
	__m256i		c2 = _mm256_set1_epi8(c[2]);

	counts[0] = counts[1] = counts[2] = 0;
	while (p < end)
	{
		__m256i		n0 = _mm256_setzero_si256();
		__m256i		n1 = n0;
		__m256i		n2 = n0;

		for (int i = 0; i < TALLY_VECTORS && p < end; i++, p += 32)
		{
			__m256i		x = _mm256_loadu_si256((const __m256i *) p);

			n0 = _mm256_sub_epi8(n0, _mm256_cmpeq_epi8(x, c0));
			n1 = _mm256_sub_epi8(n1, _mm256_cmpeq_epi8(x, c1));
			n2 = _mm256_sub_epi8(n2, _mm256_cmpeq_epi8(x, c2));
		}
		counts[0] += avx2_sum(n0);
		counts[1] += avx2_sum(n1);
		counts[2] += avx2_sum(n2);
	}
}

static const LdrMaskWay sse2_way = {"SSE2", sse2_find, sse2_tally};
static const LdrMaskWay avx2_way = {"AVX2", avx2_find, avx2_tally};

#endif							/* x86-64 */

/* --- 64-bit ARM -------------------------------------------------------------------------------- */

#if defined(__aarch64__) && defined(__ARM_NEON)

#include <arm_neon.h>

/* A bit of each byte of four vectors that are all zeros or all ones in each. */
static inline uint64_t
neon_gather(uint8x16_t v0, uint8x16_t v1, uint8x16_t v2, uint8x16_t v3)
{
	static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
	uint8x16_t	bit = vld1q_u8(bits);
	uint8x16_t	s01 = vpaddq_u8(vandq_u8(v0, bit), vandq_u8(v1, bit));
	uint8x16_t	s23 = vpaddq_u8(vandq_u8(v2, bit), vandq_u8(v3, bit));
	uint8x16_t	s = vpaddq_u8(s01, s23);

	return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(s, s)), 0);
}

static uint64_t
neon_find(const char *p, size_t n, const LdrByteSet *set, uint64_t *masks)
{
	uint8x16_t	low = vdupq_n_u8(set->low);
	uint8x16_t	a = vdupq_n_u8((uint8_t) set->c[0]);
	uint8x16_t	b = vdupq_n_u8((uint8_t) set->c[1]);
	uint8x16_t	c = vdupq_n_u8((uint8_t) set->c[2]);
	uint64_t	wide = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint8x16_t	hit[4];
		uint8x16_t	all = vdupq_n_u8(0);

		for (int j = 0; j < 4; j++, p += 16)
		{
			uint8x16_t	x = vld1q_u8((const uint8_t *) p);

			hit[j] = vorrq_u8(vorrq_u8(vceqq_u8(x, a), vceqq_u8(x, b)),
							  vorrq_u8(vceqq_u8(x, c), vcltq_u8(x, low)));
			all = vorrq_u8(all, x);
		}
		masks[i] = neon_gather(hit[0], hit[1], hit[2], hit[3]);
		wide |= (uint64_t) (vmaxvq_u8(all) >= 0x80) << i;
	}
	return wide;
}

static void
neon_tally(const char *p, size_t n, const char *c, size_t *counts)
{
	uint8x16_t	c0 = vdupq_n_u8((uint8_t) c[0]);
	uint8x16_t	c1 = vdupq_n_u8((uint8_t) c[1]);
	uint8x16_t	c2 = vdupq_n_u8((uint8_t) c[2]);

	counts[0] = counts[1] = counts[2] = 0;
	for (size_t i = 0; i < n; i++)
	{
		uint8x16_t	n0 = vdupq_n_u8(0);
		uint8x16_t	n1 = n0;
		uint8x16_t	n2 = n0;

		for (int j = 0; j < 4; j++, p += 16)
		{
			uint8x16_t	x = vld1q_u8((const uint8_t *) p);

			n0 = vsubq_u8(n0, vceqq_u8(x, c0));
			n1 = vsubq_u8(n1, vceqq_u8(x, c1));
			n2 = vsubq_u8(n2, vceqq_u8(x, c2));
		}
		counts[0] += vaddvq_u8(n0);
		counts[1] += vaddvq_u8(n1);
		counts[2] += vaddvq_u8(n2);
	}
}

static const LdrMaskWay neon_way = {"NEON", neon_find, neon_tally};

#endif							/* 64-bit ARM */

/* --- which of them ------------------------------------------------------------------------------ */

const LdrMaskWay *const *
ldr_mask_ways(void)
{
	static const LdrMaskWay *ways[4] = {&word_way};

	if (ways[1] == NULL)
	{
#if defined(__x86_64__) && defined(__GNUC__)
		ways[1] = &sse2_way;
		if (__builtin_cpu_supports("avx2"))
			ways[2] = &avx2_way;
#elif defined(__aarch64__) && defined(__ARM_NEON)
		ways[1] = &neon_way;
#endif
	}
	return ways;
}

/* The way before one was chosen: choose it, and go it. */
static void
mask_choose(void)
{
	const LdrMaskWay *const *way = ldr_mask_ways();

	while (way[1] != NULL)
		way++;
	ldr_mask_way = *way;
}

static uint64_t
first_find(const char *p, size_t n, const LdrByteSet *set, uint64_t *masks)
{
	mask_choose();
	return ldr_mask_way->find(p, n, set, masks);
}

static void
first_tally(const char *p, size_t n, const char *c, size_t *counts)
{
	mask_choose();
	ldr_mask_way->tally(p, n, c, counts);
}

static const LdrMaskWay first_way = {"", first_find, first_tally};

const LdrMaskWay *ldr_mask_way = &first_way;
