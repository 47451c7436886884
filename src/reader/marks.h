/*
 * reader/marks.h: step from one byte that matters to the next, over a window. For src/reader only.
 * No postgres.h.
 *
 * The masks of mask.h are made for 4 kB at a time and used up bit by bit, row after row, as long as
 * the window stays where it is. The zero byte at the end of the window matters in every set: who
 * steps stops there at the latest.
 */
#ifndef LDR_MARKS_H
#define LDR_MARKS_H

#include <stdbool.h>

#include "reader/mask.h"

#define LDR_MARKS_BLOCKS 64

typedef struct LdrMarks
{
	LdrByteSet	set;
	bool		valid;			/* the window has not moved since the masks were made */
	const char *at;				/* they are used up to here, where the next row is expected */
	const char *chunk;			/* where masks begin */
	const char *end;			/* of the window */
	size_t		nblocks;		/* of masks */
	size_t		block;			/* the one in work */
	uint64_t	mask;			/* what is left of it */
	size_t		row_block;		/* where the row began, 0 if that was in an earlier chunk */
	uint64_t	wide;			/* blocks with bytes beyond ASCII */
	bool		row_wide;		/* there were some in the row's earlier chunks */
	uint64_t	masks[LDR_MARKS_BLOCKS];
} LdrMarks;

/* Make the masks from p on. */
static inline void
ldr_marks_make(LdrMarks *m, const char *p)
{
	m->nblocks = (size_t) (m->end - p) / LDR_BLOCK + 1;
	if (m->nblocks > LDR_MARKS_BLOCKS)
		m->nblocks = LDR_MARKS_BLOCKS;
	m->chunk = p;
	m->wide = ldr_mask_way->find(p, m->nblocks, &m->set, m->masks);
	m->block = 0;
	m->mask = m->masks[0];
}

/* Go to p. */
static inline void
ldr_marks_seek(LdrMarks *m, const char *p)
{
	size_t		offset = (size_t) (p - m->chunk);

	if (offset >= m->nblocks * LDR_BLOCK)
	{
		/* nobody has looked at what lies between */
		m->row_wide = true;
		m->row_block = 0;
		ldr_marks_make(m, p);
		return;
	}
	m->block = offset / LDR_BLOCK;
	m->mask = m->masks[m->block] & (~UINT64_C(0) << offset % LDR_BLOCK);
}

/* A row begins at p, in a window that ends at end. */
static inline void
ldr_marks_row(LdrMarks *m, const char *p, const char *end)
{
	if (m->valid && m->at != p)
		ldr_marks_seek(m, p);
	else if (!m->valid)
	{
		m->end = end;
		m->valid = true;
		ldr_marks_make(m, p);
	}
	m->at = NULL;				/* a row that fails leaves them anywhere */
	m->row_wide = false;
	m->row_block = m->block;
}

/* The row ends at p, where the next one begins. Returns whether it is all ASCII. */
static inline bool
ldr_marks_row_end(LdrMarks *m, const char *p)
{
	m->at = p;
	return !m->row_wide &&
		((m->wide >> m->row_block) << (63 - (m->block - m->row_block))) == 0;
}

/* There is nothing more in this block: go on to the next with something in it. */
static inline void
ldr_marks_next_block(LdrMarks *m)
{
	do
	{
		if (++m->block < m->nblocks)
			m->mask = m->masks[m->block];
		else
		{
			m->row_wide = m->row_wide || (m->wide >> m->row_block) != 0;
			m->row_block = 0;
			ldr_marks_make(m, m->chunk + m->nblocks * LDR_BLOCK);
		}
	} while (m->mask == 0);
}

/* The next byte that matters; it is used up. */
static inline const char *
ldr_marks_step(LdrMarks *m)
{
	const char *p;

	if (m->mask == 0)
		ldr_marks_next_block(m);
	p = m->chunk + m->block * LDR_BLOCK + __builtin_ctzll(m->mask);
	m->mask &= m->mask - 1;
	return p;
}

/* What a loop that does nothing but step keeps in registers, between take and give. */
typedef struct LdrMarksHand
{
	uint64_t	mask;
	const char *base;
} LdrMarksHand;

static inline LdrMarksHand
ldr_marks_take(const LdrMarks *m)
{
	return (LdrMarksHand) {m->mask, m->chunk + m->block * LDR_BLOCK};
}

static inline void
ldr_marks_give(LdrMarks *m, LdrMarksHand hand)
{
	m->mask = hand.mask;
}

static inline const char *
ldr_marks_hand_step(LdrMarks *m, LdrMarksHand *hand)
{
	const char *p;

	if (hand->mask == 0)
	{
		ldr_marks_next_block(m);
		*hand = ldr_marks_take(m);
	}
	p = hand->base + __builtin_ctzll(hand->mask);
	hand->mask &= hand->mask - 1;
	return p;
}

#endif							/* LDR_MARKS_H */
