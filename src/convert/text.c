/*
 * convert/text.c: text, varchar and char(n): verified, brought to the server's encoding and copied
 * once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"

#include "compat.h"
#include "convert/convert.h"
#include "convert/encoding.h"
#include "convert/put.h"

/* The varlena of some text in the server's encoding; lets the text go. */
static inline Datum
text_datum(const LdrText *text)
{
	struct varlena *result;

	/* a conversion may have made it longer than the reader's limit */
	if (unlikely(text->len > MaxAllocSize - VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value of %zu bytes is too long", text->len)));

	result = palloc(text->len + VARHDRSZ);
	SET_VARSIZE(result, text->len + VARHDRSZ);
	memcpy(VARDATA(result), text->data, text->len);
	ldr_text_free(text);
	return PointerGetDatum(result);
}

static Datum
text_convert(LdrConverter *c, const LdrField *f)
{
	LdrText		text = ldr_server_text(c, f);

	return text_datum(&text);
}

/*
 * A value of at most n bytes has at most n characters. What has more characters goes to the input
 * function, which cuts trailing spaces or says that it is too long.
 */
static Datum
text_varchar(LdrConverter *c, const LdrField *f)
{
	LdrText		text = ldr_server_text(c, f);
	size_t		limit = c->typmod - VARHDRSZ;

	if (c->typmod >= (int32) VARHDRSZ && text.len > limit &&
		pg_mbstrlen_with_len(text.data, (int) text.len) > limit)
	{
		ldr_text_free(&text);
		return ldr_convert_input(c, f);
	}
	return text_datum(&text);
}

/* char(n): ASCII of up to n bytes is filled up with spaces; all else is the input function's. */
static Datum
text_bpchar(LdrConverter *c, const LdrField *f)
{
	size_t		n = c->typmod - VARHDRSZ;
	struct varlena *result;

	if (c->typmod < (int32) VARHDRSZ)
		return text_convert(c, f);
	if (f->len > n || !ldr_is_plain_ascii(f->data, f->len))
		return ldr_convert_input(c, f);
	result = palloc(n + VARHDRSZ);
	SET_VARSIZE(result, n + VARHDRSZ);
	memcpy(VARDATA(result), f->data, f->len);
	memset(VARDATA(result) + f->len, ' ', n - f->len);
	return PointerGetDatum(result);
}

/* The bytes are valid text of the server's encoding as they are. */
static inline bool
text_is_valid(const LdrConverter *c, const char *s, size_t len)
{
	return c->encoding == c->server_encoding &&
		pg_encoding_verifymbstr(c->encoding, s, (int) len) == (int) len;
}

/* All texts but those that a conversion has to be made for, or that are too long for the column. */
static char *
text_put(const LdrConverter *c, const LdrField *f, char *dst)
{
	if (unlikely(f->len > c->max_length))
		return NULL;
	dst = ldr_put_varlena(dst, f->len);
	if (unlikely(!ldr_copy_plain_ascii(dst, f->data, f->len)) &&
		!text_is_valid(c, f->data, f->len))
		return NULL;
	return dst + f->len;
}

/*
 * The same for what is known to be ASCII. A short text is copied with what is behind it, which is
 * less work than to ask for its length.
 */
static char *
text_put_ascii(const LdrConverter *c, const LdrField *f, char *dst)
{
	if (unlikely(f->len > c->max_length))
		return NULL;
	dst = ldr_put_varlena(dst, f->len);
	memcpy(dst, f->data, LDR_FIELD_SLACK);
	if (unlikely(f->len > LDR_FIELD_SLACK))
		memcpy(dst + LDR_FIELD_SLACK, f->data + LDR_FIELD_SLACK, f->len - LDR_FIELD_SLACK);
	return dst + f->len;
}

static char *
text_put_bpchar(const LdrConverter *c, const LdrField *f, char *dst)
{
	if (unlikely(f->len > c->max_length))
		return NULL;
	dst = ldr_put_varlena(dst, c->max_length);
	if (unlikely(!ldr_copy_plain_ascii(dst, f->data, f->len)))
		return NULL;
	memset(dst + f->len, ' ', c->max_length - f->len);
	return dst + c->max_length;
}

bool
ldr_text_converter(LdrConverter *c)
{
	bool		has_length = c->typid != TEXTOID && c->typmod >= (int32) VARHDRSZ;

	c->max_length = has_length ? c->typmod - VARHDRSZ : SIZE_MAX;
	switch (c->typid)
	{
		case TEXTOID:
			c->fn = text_convert;
			c->put = text_put;
			c->put_ascii = text_put_ascii;
			return true;
		case VARCHAROID:
			c->fn = text_varchar;
			c->put = text_put;
			c->put_ascii = text_put_ascii;
			return true;
		case BPCHAROID:
			c->fn = text_bpchar;
			c->put = has_length ? text_put_bpchar : text_put;
			if (has_length)
				c->put_slack += c->max_length;
			else
				c->put_ascii = text_put_ascii;
			return true;
		default:
			return false;
	}
}
