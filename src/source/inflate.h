/*
 * source/inflate.h: one member of a gzip file after the other. No postgres.h.
 *
 * By ISA-L where the build has found it (LDR_ISAL), which is twice as fast, else by zlib. Both take
 * and refuse the same bytes.
 */
#ifndef LDR_INFLATE_H
#define LDR_INFLATE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct LdrInflate LdrInflate;

typedef enum LdrInflateStatus
{
	LDR_INFLATE_MORE,			/* went as far as bytes and room reached */
	LDR_INFLATE_END,			/* the member has ended and was checked; the next call begins another */
	LDR_INFLATE_NO_MEMBER,		/* what should begin a member does not */
	LDR_INFLATE_DAMAGED,
	LDR_INFLATE_NO_MEMORY
} LdrInflateStatus;

/* What is taken from and what is put to; each step moves both on. */
typedef struct LdrInflateStep
{
	const char *in;
	size_t		in_len;
	char	   *out;
	size_t		out_len;
	const char *message;		/* what is damaged */
} LdrInflateStep;

/* NULL: out of memory. */
extern LdrInflate *ldr_inflate_new(void);

/*
 * Take bytes and put what they stand for, as far as they and the room reach. A step without bytes
 * may still put what there was no room for before.
 */
extern LdrInflateStatus ldr_inflate(LdrInflate *x, LdrInflateStep *step);

/* NULL is allowed. */
extern void ldr_inflate_free(LdrInflate *x);

#endif							/* LDR_INFLATE_H */
