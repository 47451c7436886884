/*
 * convert/bytea.c: bytea. In jsonl a value is base64, as dlt writes it; in the other formats it is
 * what the input function reads: hex behind \x, else bytes with escapes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "compat.h"
#include "convert/convert.h"
#include "convert/encoding.h"
#include "convert/put.h"

#define XX 0xff					/* in the tables: not a digit */

/* A digit of base 16 and of base 64 -> its value */
static uint8 hex_value[256];
static uint8 base64_value[256];

static void
bytea_init_tables(void)
{
	static const char hex[] = "0123456789abcdef";
	static const char base64[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	if (hex_value['1'] == 1)
		return;					/* done before */
	memset(base64_value, XX, sizeof(base64_value));
	for (int i = 0; i < 64; i++)
		base64_value[(unsigned char) base64[i]] = i;
	memset(hex_value, XX, sizeof(hex_value));
	for (int i = 0; i < 16; i++)
	{
		hex_value[(unsigned char) hex[i]] = i;
		if (i > 9)
			hex_value[(unsigned char) hex[i] - 'a' + 'A'] = i;
	}
}

static inline struct varlena *
bytea_alloc(size_t len)
{
	struct varlena *result = palloc(len + VARHDRSZ);

	SET_VARSIZE(result, len + VARHDRSZ);
	return result;
}

/* Hex digits in pairs; false if there is anything else, spaces included. */
static bool
bytea_decode_hex(const unsigned char *src, size_t nbytes, unsigned char *dst)
{
	uint8		bad = 0;

	for (size_t i = 0; i < nbytes; i++)
	{
		uint8		high = hex_value[src[2 * i]];
		uint8		low = hex_value[src[2 * i + 1]];

		/* looked at once at the end: only XX has a bit above the fourth */
		bad |= high | low;
		dst[i] = (uint8) (high << 4 | (low & 0x0f));
	}
	return (bad & 0xf0) == 0;
}

static Datum
bytea_convert(LdrConverter *c, const LdrField *f)
{
	struct varlena *result;

	if (f->len >= 2 && f->len % 2 == 0 && f->data[0] == '\\' && f->data[1] == 'x')
	{
		size_t		nbytes = (f->len - 2) / 2;

		result = bytea_alloc(nbytes);
		if (bytea_decode_hex((const unsigned char *) f->data + 2, nbytes,
							 (unsigned char *) VARDATA(result)))
			return PointerGetDatum(result);
		pfree(result);
	}
	else if (memchr(f->data, '\\', f->len) == NULL && ldr_is_plain_ascii(f->data, f->len))
	{
		/* no escapes: the bytes are the value */
		result = bytea_alloc(f->len);
		memcpy(VARDATA(result), f->data, f->len);
		return PointerGetDatum(result);
	}
	return ldr_convert_input(c, f);
}

static void
bytea_invalid_base64(LdrConverter *c, const LdrField *f)
{
	char		start[64];

	/* it may be in any encoding, or in none; only ASCII is safe to show */
	ldr_excerpt(start, sizeof(start), f->data, f->len);
	if (!ldr_is_plain_ascii(start, strlen(start)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid base64 value for type %s", "bytea")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid base64 value for type %s: \"%s\"", "bytea", start)));
}

/* Groups of four digits -> three bytes each; false if there is anything else. */
static bool
bytea_decode_base64(const unsigned char *src, size_t ngroups, unsigned char *dst)
{
	uint8		bad = 0;

	for (size_t i = 0; i < ngroups; i++, src += 4, dst += 3)
	{
		uint8		a = base64_value[src[0]];
		uint8		b = base64_value[src[1]];
		uint8		d = base64_value[src[2]];
		uint8		e = base64_value[src[3]];

		bad |= a | b | d | e;
		dst[0] = (uint8) (a << 2 | (b & 0x3f) >> 4);
		dst[1] = (uint8) (b << 4 | (d & 0x3f) >> 2);
		dst[2] = (uint8) (d << 6 | (e & 0x3f));
	}
	return (bad & 0xc0) == 0;
}

/*
 * jsonl: padded base64 without line breaks. The last group is decoded apart, with its padding
 * replaced by zero digits.
 */
static Datum
bytea_base64(LdrConverter *c, const LdrField *f)
{
	const unsigned char *src = (const unsigned char *) f->data;
	unsigned char last[4],
				tail[3];
	size_t		ngroups = f->len / 4;
	int			npad = 0;
	struct varlena *result;
	unsigned char *dst;

	/* a number or an object is no base64, whatever its letters */
	if (f->kind != LDR_STRING || f->len % 4 != 0)
		bytea_invalid_base64(c, f);
	if (ngroups == 0)
		return PointerGetDatum(bytea_alloc(0));

	ngroups--;
	memcpy(last, src + 4 * ngroups, 4);
	if (last[3] == '=')
	{
		last[3] = 'A';
		npad = 1;
		if (last[2] == '=')
		{
			last[2] = 'A';
			npad = 2;
		}
	}

	result = bytea_alloc(3 * ngroups + 3 - npad);
	dst = (unsigned char *) VARDATA(result);
	if (!bytea_decode_base64(src, ngroups, dst) || !bytea_decode_base64(last, 1, tail))
		bytea_invalid_base64(c, f);
	memcpy(dst + 3 * ngroups, tail, 3 - npad);
	return PointerGetDatum(result);
}

/* Hex alone; dst has room for what the digits stand for, so for that. */
static char *
bytea_put_hex(const LdrConverter *c, const LdrField *f, char *dst)
{
	size_t		nbytes = f->len / 2 - 1;

	if (f->len < 2 || f->len % 2 != 0 || f->data[0] != '\\' || f->data[1] != 'x')
		return NULL;
	dst = ldr_put_varlena(dst, nbytes);
	if (!bytea_decode_hex((const unsigned char *) f->data + 2, nbytes, (unsigned char *) dst))
		return NULL;
	return dst + nbytes;
}

bool
ldr_bytea_converter(LdrConverter *c)
{
	if (c->typid != BYTEAOID)
		return false;
	bytea_init_tables();
	c->fn = c->format == LDR_JSONL ? bytea_base64 : bytea_convert;
	c->put = c->format == LDR_JSONL ? NULL : bytea_put_hex;
	return true;
}
