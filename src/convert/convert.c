/*
 * convert/convert.c: choose the routine for a column, and the way through the input function.
 * Owns the converter and its scratch space.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/lsyscache.h"

#include "convert/convert.h"
#include "convert/encoding.h"

#define SCRATCH_MIN		256
#define SCRATCH_KEEP	(1024 * 1024)	/* not kept beyond the value that needed more */

/* The routines for the type, or the input function if no family has them. */
static void
converter_choose(LdrConverter *c)
{
	c->put_slack = LDR_PUT_SLACK;
	if (!ldr_integer_converter(c) && !ldr_float_converter(c) && !ldr_numeric_converter(c) &&
		!ldr_bool_converter(c) && !ldr_datetime_converter(c) && !ldr_text_converter(c) &&
		!ldr_bytea_converter(c) && !ldr_uuid_converter(c) && !ldr_json_converter(c))
		c->fn = ldr_convert_input;
	if (c->put_ascii == NULL)
		c->put_ascii = c->put;
}

void
ldr_converter_init(LdrConverter *c, Oid typid, int32 typmod, bool nullable,
				   LdrFormat format, int encoding)
{
	Oid			input;
	int16		typlen;

	memset(c, 0, sizeof(*c));
	c->typid = typid;
	c->typmod = typmod;
	c->format = format;
	c->encoding = encoding;
	c->server_encoding = GetDatabaseEncoding();
	c->cxt = CurrentMemoryContext;
	c->empty_is_null = (format == LDR_CSV && nullable);

	get_typlenbyval(typid, &typlen, &c->typbyval);
	getTypeInputInfo(typid, &input, &c->typioparam);
	fmgr_info_cxt(input, &c->input, c->cxt);
	converter_choose(c);
}

/* Give the scratch space at least size bytes; what was in it is lost. */
static void
scratch_reserve(LdrConverter *c, size_t size)
{
	size_t		newsize = Max(c->scratch_size, SCRATCH_MIN);

	if (c->scratch_size > SCRATCH_KEEP)
		newsize = SCRATCH_MIN;	/* an error kept the last value from shrinking it */
	else if (size <= c->scratch_size)
		return;

	while (newsize < size && newsize < SCRATCH_KEEP)
		newsize *= 2;
	newsize = Max(newsize, size);

	/* consistent at any time: the allocation may fail */
	if (c->scratch != NULL)
		pfree(c->scratch);
	c->scratch = NULL;
	c->scratch_size = 0;
	c->scratch = MemoryContextAllocHuge(c->cxt, newsize);
	c->scratch_size = newsize;
}

/* Let a huge scratch space go, so that memory stays bounded by the batch. */
static inline void
scratch_shrink(LdrConverter *c)
{
	if (c->scratch_size > SCRATCH_KEEP)
	{
		pfree(c->scratch);
		c->scratch = NULL;
		c->scratch_size = 0;
	}
}

Datum
ldr_convert_input(LdrConverter *c, const LdrField *f)
{
	LdrText		text = ldr_server_text(c, f);
	char	   *terminated;
	Datum		result;

	if (text.owned)
		terminated = unconstify(char *, text.data); /* a conversion terminates its result */
	else
	{
		scratch_reserve(c, text.len + 1);
		memcpy(c->scratch, text.data, text.len);
		c->scratch[text.len] = '\0';
		terminated = c->scratch;
	}

	result = InputFunctionCall(&c->input, terminated, c->typioparam, c->typmod);

	ldr_text_free(&text);
	scratch_shrink(c);
	return result;
}
