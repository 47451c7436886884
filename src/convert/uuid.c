/*
 * convert/uuid.c: uuid from 32 hex digits, with dashes where everybody writes them, or without.
 * Braces and other places of dashes are the input function's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/uuid.h"

#include "convert/convert.h"
#include "convert/digits.h"

#define LENGTH_PLAIN	(2 * UUID_LEN)
#define LENGTH_DASHES	(LENGTH_PLAIN + 4)

#define ONES			UINT64CONST(0x0101010101010101)
#define HIGHS			UINT64CONST(0x8080808080808080)

/*
 * Eight hex digits, the first of them lowest -> four bytes. Sums stay below 256 in each byte, once
 * no byte has its high bit: they set that bit where the byte is above a limit.
 */
static inline bool
uuid_four_bytes(uint64 w, unsigned char *dst)
{
	uint64		small = w | ONES * 0x20;	/* letters; digits have that bit already */
	uint64		digit,
				letter,
				value;

	if (w & HIGHS)
		return false;
	digit = (w + ONES * (0x80 - '0')) & ~(w + ONES * (0x80 - '9' - 1)) & HIGHS;
	letter = (small + ONES * (0x80 - 'a')) & ~(small + ONES * (0x80 - 'f' - 1)) & HIGHS;
	if ((digit | letter) != HIGHS)
		return false;
	/* of a letter the low half is 1 to 6 */
	value = (w & ONES * 0x0f) + (letter >> 7) * 9;
	/* pairs: the first digit is the high half; then the four bytes next to each other */
	value = (value << 4 | value >> 8) & UINT64CONST(0x00ff00ff00ff00ff);
	value = (value | value >> 8) & UINT64CONST(0x0000ffff0000ffff);
	value = value | value >> 16;
	dst[0] = (unsigned char) value;
	dst[1] = (unsigned char) (value >> 8);
	dst[2] = (unsigned char) (value >> 16);
	dst[3] = (unsigned char) (value >> 24);
	return true;
}

static inline bool
uuid_parse(const LdrField *f, unsigned char *dst)
{
	const char *p = f->data;
	char		digits[LENGTH_PLAIN];

	if (f->len == LENGTH_DASHES)
	{
		if (p[8] != '-' || p[13] != '-' || p[18] != '-' || p[23] != '-')
			return false;
		memcpy(digits, p, 8);
		memcpy(digits + 8, p + 9, 4);
		memcpy(digits + 12, p + 14, 4);
		memcpy(digits + 16, p + 19, 4);
		memcpy(digits + 20, p + 24, 12);
		p = digits;
	}
	else if (f->len != LENGTH_PLAIN)
		return false;
	for (int i = 0; i < 4; i++)
	{
		if (!uuid_four_bytes(ldr_load_eight(p + 8 * i), dst + 4 * i))
			return false;
	}
	return true;
}

static Datum
uuid_convert(LdrConverter *c, const LdrField *f)
{
	pg_uuid_t	value;
	pg_uuid_t  *result;

	if (unlikely(!uuid_parse(f, value.data)))
		return ldr_convert_input(c, f);
	result = palloc(sizeof(pg_uuid_t));
	*result = value;
	return UUIDPGetDatum(result);
}

/* A uuid is not aligned. */
static char *
uuid_put(const LdrConverter *c, const LdrField *f, char *dst)
{
	return likely(uuid_parse(f, (unsigned char *) dst)) ? dst + UUID_LEN : NULL;
}

bool
ldr_uuid_converter(LdrConverter *c)
{
	if (c->typid != UUIDOID)
		return false;
	c->fn = uuid_convert;
	c->put = uuid_put;
	return true;
}
