/*
 * reader/mask.h: look at 64 bytes at once. No postgres.h.
 *
 * A mask has a bit for each byte of a block of 64, the first one lowest. Both functions are chosen
 * when the first of them is called, by what the processor has: AVX2, SSE2, NEON, or nothing. They read
 * whole blocks, so up to 63 bytes behind the last one that matters.
 */
#ifndef LDR_MASK_H
#define LDR_MASK_H

#include <stddef.h>
#include <stdint.h>

#define LDR_BLOCK	64			/* bytes of a mask */

/* Bytes to look for: all below low, which is 128 at most, and three others (or the same twice). */
typedef struct LdrByteSet
{
	unsigned char low;
	char		c[3];
} LdrByteSet;

/* What there is to choose from; also for tests. */
typedef struct LdrMaskWay
{
	const char *name;
	/*
	 * Masks of n blocks, 64 at most: which bytes are of the set. Returns a mask of the blocks that have
	 * a byte beyond ASCII.
	 */
	uint64_t	(*find) (const char *p, size_t n, const LdrByteSet *set, uint64_t *masks);
	/* How often each of three bytes comes in n blocks. */
	void		(*tally) (const char *p, size_t n, const char *c, size_t *counts);
} LdrMaskWay;

/* The way in use. Never changes, but by tests. */
extern const LdrMaskWay *ldr_mask_way;

/* The ways that this processor has, the slowest first; ends with a NULL. */
extern const LdrMaskWay *const *ldr_mask_ways(void);

#endif							/* LDR_MASK_H */
