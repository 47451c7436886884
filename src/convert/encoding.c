/*
 * convert/encoding.c: text of a file -> text in the server's encoding. Owns the rule that no text
 * reaches a Datum unverified.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "convert/encoding.h"

#define HIGH_BITS	UINT64CONST(0x8080808080808080)
#define LOW_BITS	UINT64CONST(0x0101010101010101)

/* Sixteen bytes; compilers have a way to compare them at once on every machine that matters. */
typedef signed char Bytes __attribute__((vector_size(16)));
typedef uint64 Words __attribute__((vector_size(16)));

/*
 * Of eight bytes without a high bit, subtracting one from each sets a high bit exactly if one of
 * them is zero; so this sees both kinds of bytes that are not plain.
 */
static inline uint64
not_plain(const char *s)
{
	uint64		word;

	memcpy(&word, s, sizeof(word));
	return (word | (word - LOW_BITS)) & HIGH_BITS;
}

/* The same for 64 bytes, which is where long texts spend their time. */
static inline uint64
not_plain_64(const char *s)
{
	Bytes		b1,
				b2,
				b3,
				b4;
	Words		bad;

	memcpy(&b1, s, sizeof(b1));
	memcpy(&b2, s + 16, sizeof(b2));
	memcpy(&b3, s + 32, sizeof(b3));
	memcpy(&b4, s + 48, sizeof(b4));
	bad = (Words) ((b1 <= 0) | (b2 <= 0) | (b3 <= 0) | (b4 <= 0));
	return bad[0] | bad[1];
}

bool
ldr_is_plain_ascii(const char *s, size_t len)
{
	const char *last;

	if (len < 8)
	{
		for (; len > 0; s++, len--)
		{
			if ((signed char) *s <= 0)
				return false;
		}
		return true;
	}

	/* the last word overlaps what was looked at before, which saves the loop over single bytes */
	last = s + len - 8;
	for (; last - s >= 64; s += 64)
	{
		if (not_plain_64(s))
			return false;
	}
	for (; s < last; s += 8)
	{
		if (not_plain(s))
			return false;
	}
	return not_plain(last) == 0;
}

bool
ldr_copy_plain_ascii(char *dst, const char *s, size_t len)
{
	if (len >= 16)
	{
		const char *last = s + len - 16;
		Bytes		b,
					bad;
		Words		words;

		memcpy(&b, last, sizeof(b));
		memcpy(dst + len - 16, &b, sizeof(b));
		bad = (Bytes) (b <= 0);
		for (; s < last; s += 16, dst += 16)
		{
			memcpy(&b, s, sizeof(b));
			memcpy(dst, &b, sizeof(b));
			bad |= (Bytes) (b <= 0);
		}
		words = (Words) bad;
		return (words[0] | words[1]) == 0;
	}
	if (len >= 8)
	{
		uint64		first,
					last;

		memcpy(&first, s, sizeof(first));
		memcpy(&last, s + len - 8, sizeof(last));
		memcpy(dst, &first, sizeof(first));
		memcpy(dst + len - 8, &last, sizeof(last));
		return (((first | (first - LOW_BITS)) | (last | (last - LOW_BITS))) & HIGH_BITS) == 0;
	}
	if (len >= 4)
	{
		uint32		first,
					last;
		uint64		both;

		memcpy(&first, s, sizeof(first));
		memcpy(&last, s + len - 4, sizeof(last));
		memcpy(dst, &first, sizeof(first));
		memcpy(dst + len - 4, &last, sizeof(last));
		both = first | (uint64) last << 32;
		return ((both | (both - LOW_BITS)) & HIGH_BITS) == 0;
	}
	for (size_t i = 0; i < len; i++)
		dst[i] = s[i];
	return ldr_is_plain_ascii(s, len);
}

LdrText
ldr_server_text_convert(const LdrConverter *c, const LdrField *f)
{
	const char *nul;
	char	   *converted;

	/* verifies, which refuses a zero byte, also where it has nothing to convert */
	converted = pg_any_to_server(f->data, (int) f->len, c->encoding);
	if (converted == f->data)
		return (LdrText) {f->data, f->len, false};

	/* not left to the conversion alone, whose routine anyone can define: strlen would cut there */
	nul = memchr(f->data, '\0', f->len);
	if (nul != NULL)
		report_invalid_encoding(c->encoding, nul, 1);
	return (LdrText) {converted, strlen(converted), true};
}
