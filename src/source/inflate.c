/*
 * source/inflate.c: gzip by zlib or by ISA-L. No postgres.h.
 *
 * ISA-L is given the deflated data and the checksum behind them. The header of a member is read
 * here: ISA-L's own routine lets flags pass that nobody has given a meaning yet, and cannot tell a
 * damaged header from bytes that are none.
 */
#include "source/inflate.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INFLATE_MAX	((size_t) 1 << 30)	/* bytes of a step: both libraries count in 32 bits */

static inline size_t
inflate_bound(size_t n)
{
	return n < INFLATE_MAX ? n : INFLATE_MAX;
}

#ifdef LDR_ISAL

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#define GZIP_FIXED	10			/* bytes that every header has */

/* flags of a header */
#define GZIP_HCRC	0x02
#define GZIP_EXTRA	0x04
#define GZIP_NAME	0x08
#define GZIP_COMMENT 0x10
#define GZIP_UNKNOWN 0xe0

/* Where in a member we are; the parts of a header in their order. */
typedef enum GzipPart
{
	PART_FIXED,
	PART_EXTRA_LEN,
	PART_EXTRA,
	PART_NAME,
	PART_COMMENT,
	PART_HCRC,
	PART_DATA
} GzipPart;

struct LdrInflate
{
	struct inflate_state isal;
	GzipPart	part;
	size_t		pos;			/* in this part */
	size_t		extra_len;
	unsigned char head[GZIP_FIXED];
	unsigned char hcrc[2];
	uint32_t	crc;			/* of the header */
};

LdrInflate *
ldr_inflate_new(void)
{
	LdrInflate *x = calloc(1, sizeof(LdrInflate));

	if (x == NULL)
		return NULL;
	isal_inflate_init(&x->isal);
	return x;
}

void
ldr_inflate_free(LdrInflate *x)
{
	free(x);
}

static LdrInflateStatus
inflate_damaged(LdrInflateStep *step, const char *message)
{
	step->message = message;
	return LDR_INFLATE_DAMAGED;
}

/* A byte of the part that every header has: it is looked at as zlib does, two at a time. */
static LdrInflateStatus
inflate_fixed(LdrInflate *x, unsigned char c, LdrInflateStep *step)
{
	x->head[x->pos++] = c;
	if (x->pos == 2 && (x->head[0] != 0x1f || x->head[1] != 0x8b))
		return LDR_INFLATE_NO_MEMBER;
	if (x->pos == 4 && x->head[2] != 8)
		return inflate_damaged(step, "unknown compression method");
	if (x->pos == 4 && (x->head[3] & GZIP_UNKNOWN) != 0)
		return inflate_damaged(step, "unknown header flags set");
	return LDR_INFLATE_MORE;
}

/* Is the part in work complete, or one that this header does not have? */
static bool
inflate_part_done(const LdrInflate *x)
{
	unsigned char flags = x->head[3];

	switch (x->part)
	{
		case PART_FIXED:
			return x->pos == GZIP_FIXED;
		case PART_EXTRA_LEN:
			return !(flags & GZIP_EXTRA) || x->pos == 2;
		case PART_EXTRA:
			return x->pos == x->extra_len;
		case PART_NAME:
			return !(flags & GZIP_NAME) || x->pos == SIZE_MAX;
		case PART_COMMENT:
			return !(flags & GZIP_COMMENT) || x->pos == SIZE_MAX;
		case PART_HCRC:
			return !(flags & GZIP_HCRC) || x->pos == 2;
		case PART_DATA:
			break;
	}
	return false;
}

/* Take a byte of a header. */
static LdrInflateStatus
inflate_head_byte(LdrInflate *x, unsigned char c, LdrInflateStep *step)
{
	switch (x->part)
	{
		case PART_FIXED:
			return inflate_fixed(x, c, step);
		case PART_EXTRA_LEN:
			x->extra_len |= (size_t) c << (8 * x->pos++);
			break;
		case PART_EXTRA:
			x->pos++;
			break;
		case PART_NAME:
		case PART_COMMENT:
			if (c == '\0')
				x->pos = SIZE_MAX;
			break;
		case PART_HCRC:
			x->hcrc[x->pos++] = c;
			if (x->pos == 2 && (x->hcrc[0] | x->hcrc[1] << 8) != (int) (x->crc & 0xffff))
				return inflate_damaged(step, "header crc mismatch");
			break;
		case PART_DATA:
			break;
	}
	return LDR_INFLATE_MORE;
}

/* Read a header, as far as it is there: LDR_INFLATE_END behind it. */
static LdrInflateStatus
inflate_head(LdrInflate *x, LdrInflateStep *step)
{
	for (;;)
	{
		LdrInflateStatus status;
		unsigned char c;

		while (inflate_part_done(x))
		{
			x->part++;
			x->pos = 0;
		}
		if (x->part == PART_DATA)
			return LDR_INFLATE_END;
		if (step->in_len == 0)
			return LDR_INFLATE_MORE;
		c = (unsigned char) *step->in++;
		step->in_len--;
		status = inflate_head_byte(x, c, step);
		if (status != LDR_INFLATE_MORE)
			return status;
		if (x->part < PART_HCRC)
			x->crc = crc32_gzip_refl(x->crc, &c, 1);
	}
}

/* What ISA-L's code says in the words of zlib. */
static const char *
inflate_message(int code)
{
	switch (code)
	{
		case ISAL_INVALID_BLOCK:
			return "invalid block type";
		case ISAL_INVALID_SYMBOL:
			return "invalid literal/length code";
		case ISAL_INVALID_LOOKBACK:
			return "invalid distance too far back";
		case ISAL_INCORRECT_CHECKSUM:
			return "incorrect data check";
		default:
			return "data error";
	}
}

LdrInflateStatus
ldr_inflate(LdrInflate *x, LdrInflateStep *step)
{
	size_t		in_len;
	size_t		out_len = inflate_bound(step->out_len);
	int			code;

	if (x->part != PART_DATA)
	{
		LdrInflateStatus status = inflate_head(x, step);

		if (status != LDR_INFLATE_END)
			return status;
		isal_inflate_reset(&x->isal);
		x->isal.crc_flag = ISAL_GZIP_NO_HDR_VER;
	}
	in_len = inflate_bound(step->in_len);
	x->isal.next_in = (uint8_t *) step->in;
	x->isal.avail_in = (uint32_t) in_len;
	x->isal.next_out = (uint8_t *) step->out;
	x->isal.avail_out = (uint32_t) out_len;
	code = isal_inflate(&x->isal);
	/* of some damaged streams it says that it has taken more than there was */
	if (x->isal.avail_in > in_len || x->isal.avail_out > out_len)
		return inflate_damaged(step, "data error");
	step->in += in_len - x->isal.avail_in;
	step->in_len -= in_len - x->isal.avail_in;
	step->out += out_len - x->isal.avail_out;
	step->out_len -= out_len - x->isal.avail_out;
	if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT && code != ISAL_OUT_OVERFLOW)
		return inflate_damaged(step, inflate_message(code));
	if (x->isal.block_state != ISAL_BLOCK_FINISH)
		return LDR_INFLATE_MORE;
	x->part = PART_FIXED;
	x->pos = x->extra_len = 0;
	x->crc = 0;
	return LDR_INFLATE_END;
}

#else							/* zlib */

#include <zlib.h>

struct LdrInflate
{
	z_stream	z;
};

LdrInflate *
ldr_inflate_new(void)
{
	LdrInflate *x = calloc(1, sizeof(LdrInflate));

	/* 16: gzip only, neither raw deflate nor zlib's own header */
	if (x != NULL && inflateInit2(&x->z, 16 + MAX_WBITS) != Z_OK)
	{
		free(x);
		return NULL;
	}
	return x;
}

void
ldr_inflate_free(LdrInflate *x)
{
	if (x == NULL)
		return;
	inflateEnd(&x->z);
	free(x);
}

LdrInflateStatus
ldr_inflate(LdrInflate *x, LdrInflateStep *step)
{
	size_t		in_len = inflate_bound(step->in_len);
	size_t		out_len = inflate_bound(step->out_len);
	int			code;

	x->z.next_in = (Bytef *) step->in;
	x->z.avail_in = (uInt) in_len;
	x->z.next_out = (Bytef *) step->out;
	x->z.avail_out = (uInt) out_len;
	code = inflate(&x->z, Z_NO_FLUSH);
	step->in += in_len - x->z.avail_in;
	step->in_len -= in_len - x->z.avail_in;
	step->out += out_len - x->z.avail_out;
	step->out_len -= out_len - x->z.avail_out;
	switch (code)
	{
		case Z_OK:
		case Z_BUF_ERROR:
			return LDR_INFLATE_MORE;
		case Z_STREAM_END:
			(void) inflateReset(&x->z);
			return LDR_INFLATE_END;
		case Z_MEM_ERROR:
			return LDR_INFLATE_NO_MEMORY;
		default:
			/* wrong in the first two bytes of a member: it is none */
			if (x->z.total_out == 0 && x->z.total_in <= 2)
				return LDR_INFLATE_NO_MEMBER;
			step->message = x->z.msg != NULL ? x->z.msg : zError(code);
			/* the length is checked with the checksum by some, after it by others */
			if (strcmp(step->message, "incorrect length check") == 0)
				step->message = "incorrect data check";
			return LDR_INFLATE_DAMAGED;
	}
}

#endif							/* LDR_ISAL */
