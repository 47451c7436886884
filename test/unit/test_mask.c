/*
 * test/unit/test_mask.c: masks of blocks: all ways that this processor has find the same.
 */
#include <stdlib.h>

#include "reader/mask.h"
#include "unit.h"

#define MASK_BLOCKS	64

static uint32_t
mask_random(void)
{
	static uint32_t x = 1;

	x = x * 1664525 + 1013904223;
	return x >> 8;
}

static bool
mask_has(const LdrByteSet *set, char c)
{
	return (unsigned char) c < set->low || c == set->c[0] || c == set->c[1] || c == set->c[2];
}

static void
mask_check(const LdrMaskWay *way, const char *p, size_t n, const LdrByteSet *set)
{
	uint64_t	masks[MASK_BLOCKS];
	uint64_t	wide = way->find(p, n, set, masks);
	size_t		counts[3];
	size_t		want[3] = {0, 0, 0};
	int			wrong = 0;

	way->tally(p, n, set->c, counts);
	for (size_t i = 0; i < n; i++)
	{
		uint64_t	mask = 0;
		bool		high = false;

		for (int j = 0; j < LDR_BLOCK; j++)
		{
			char		c = p[i * LDR_BLOCK + (size_t) j];

			mask |= (uint64_t) mask_has(set, c) << j;
			high = high || (c & 0x80);
			for (int k = 0; k < 3; k++)
				want[k] += (c == set->c[k]);
		}
		wrong += (mask != masks[i]) + (high != ((wide >> i) & 1));
	}
	CHECK_MSG(wrong == 0, "%s: %d masks of %zu blocks", way->name, wrong, n);
	for (int k = 0; k < 3; k++)
		CHECK_MSG(counts[k] == want[k], "%s: counted %zu, not %zu", way->name, counts[k], want[k]);
}

int
main(void)
{
	static const LdrByteSet sets[] = {
		{0x0e, {',', '"', '"'}}, {0x20, {'"', '\\', '\\'}}, {0, {'\'', '\\', ')'}},
		{0x80, {'\x80', '\xff', '\x81'}}, {1, {'\0', '\x7f', '\xfe'}}, {0, {'\0', '\0', '\0'}},
	};
	const LdrMaskWay *const *ways = ldr_mask_ways();
	size_t		size = MASK_BLOCKS * LDR_BLOCK;
	char	   *bytes = malloc(size + 1);	/* just as long, so that a sanitizer sees its end */

	for (int i = 0; i < 300; i++)
	{
		size_t		n = 1 + mask_random() % MASK_BLOCKS;
		char	   *p = bytes + i % 2 + size - n * LDR_BLOCK;

		/* all bytes, few high ones, and those of the sets */
		for (size_t j = 0; j < n * LDR_BLOCK; j++)
			p[j] = (char) (i % 3 == 0 ? mask_random() :
						   i % 3 == 1 ? mask_random() % 0x7f + (mask_random() % 100 == 0) * 0x80 :
						   (uint32_t) ",\"\\')\n\r \x1f\x0d\x0e!a"[mask_random() % 13]);
		for (int k = 0; ways[k] != NULL; k++)
			for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++)
				mask_check(ways[k], p, n, &sets[s]);
	}
	/* more of one byte than a byte can count */
	memset(bytes, ',', size);
	for (int k = 0; ways[k] != NULL; k++)
		mask_check(ways[k], bytes, MASK_BLOCKS, &sets[0]);
	free(bytes);
	return unit_report("test_mask");
}
