/*
 * convert/put.h: how values lie in a tuple. For the routines of src/convert that put them there.
 */
#ifndef LDR_CONVERT_PUT_H
#define LDR_CONVERT_PUT_H

#include "compat.h"

/* The most bytes that a varlena of one byte's header holds. */
#define LDR_SHORT_MAX	(VARATT_SHORT_MAX - VARHDRSZ_SHORT)

/* The next aligned place; the bytes before it become zeros, as in every tuple. */
static inline char *
ldr_put_align(char *dst, size_t align)
{
	memset(dst, 0, align);
	return (char *) TYPEALIGN(align, dst);
}

static inline char *
ldr_put_int16(char *dst, int16 value)
{
	dst = ldr_put_align(dst, ALIGNOF_SHORT);
	memcpy(dst, &value, sizeof(value));
	return dst + sizeof(value);
}

static inline char *
ldr_put_int32(char *dst, int32 value)
{
	dst = ldr_put_align(dst, ALIGNOF_INT);
	memcpy(dst, &value, sizeof(value));
	return dst + sizeof(value);
}

static inline char *
ldr_put_int64(char *dst, int64 value)
{
	dst = ldr_put_align(dst, ALIGNOF_DOUBLE);
	memcpy(dst, &value, sizeof(value));
	return dst + sizeof(value);
}

/*
 * The header of a varlena of len bytes, for a type that is aligned as int. Returns where those are
 * to be written.
 */
static inline char *
ldr_put_varlena(char *dst, size_t len)
{
	if (likely(len <= LDR_SHORT_MAX))
	{
		SET_VARSIZE_SHORT(dst, len + VARHDRSZ_SHORT);
		return dst + VARHDRSZ_SHORT;
	}
	dst = ldr_put_align(dst, ALIGNOF_INT);
	SET_VARSIZE(dst, len + VARHDRSZ);
	return dst + VARHDRSZ;
}

#endif							/* LDR_CONVERT_PUT_H */
