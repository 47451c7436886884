/*
 * convert/text.c: text and varchar: verified, brought to the server's encoding and copied once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"

#include "compat.h"
#include "convert/convert.h"
#include "convert/encoding.h"

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

LdrConvertFn
ldr_text_converter(Oid typid)
{
	switch (typid)
	{
		case TEXTOID:
			return text_convert;
		case VARCHAROID:
			return text_varchar;
		default:
			return NULL;
	}
}
