/*
 * convert/airbyte_input.c: text of an Airbyte record in the server's encoding, and through an input
 * function, with all errors that the value is to blame for caught.
 *
 * Before PostgreSQL 16 every input function raises its errors, and later many still raise some;
 * these calls are made in a subtransaction each, which costs nothing but time: it has no
 * transaction id of its own unless the function writes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/resowner.h"

#include "compat.h"
#include "convert/airbyte_value.h"

/*
 * Convert piece by piece: the size of the whole in the worst case is beyond what a conversion
 * takes. Its end may lie in the middle of a character, which then begins the next piece.
 */
static LdrNulled
input_convert_text(LdrStreamConverter *c, const char *src, size_t len, LdrText *out)
{
	const size_t piece = Min(len, 64 * 1024);
	const char *end = src + len;
	size_t		size = len + piece * MAX_CONVERSION_GROWTH + 1;
	size_t		used = 0;
	char	   *dst;

	if (!OidIsValid(c->conversion))
		return LDR_NULLED_SERIALIZATION;
	dst = palloc_extended(size, MCXT_ALLOC_HUGE);
	while (src < end)
	{
		size_t		n = Min(piece, (size_t) (end - src));
		int			done;

		if (size - used <= n * MAX_CONVERSION_GROWTH)
		{
			size += len / 2 + piece * MAX_CONVERSION_GROWTH;
			dst = repalloc_huge(dst, size);
		}
		done = pg_do_encoding_conversion_buf(c->conversion, PG_UTF8, GetDatabaseEncoding(),
											 (unsigned char *) src, (int) n,
											 (unsigned char *) dst + used,
											 (int) (n * MAX_CONVERSION_GROWTH + 1), true);
		if (done <= 0)
			return LDR_NULLED_SERIALIZATION;
		src += done;
		used += strlen(dst + used);
	}
	*out = (LdrText) {dst, used, true};
	return LDR_NULLED_NOT;
}

LdrNulled
ldr_stream_text(LdrStreamConverter *c, const char *data, size_t len, LdrText *out)
{
	*out = (LdrText) {data, len, false};
	if (likely(ldr_is_plain_ascii(data, len)))
		return LDR_NULLED_NOT;
	if (!pg_verify_mbstr(PG_UTF8, data, (int) len, true))
		return LDR_NULLED_SERIALIZATION;
	return c->converts ? input_convert_text(c, data, len, out) : LDR_NULLED_NOT;
}

/* Why an input function's error is the value's: 0 if it is not. */
static LdrNulled
input_nulled_by(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE:
		case ERRCODE_DATETIME_VALUE_OUT_OF_RANGE:
		case ERRCODE_INTERVAL_FIELD_OVERFLOW:
		case ERRCODE_STRING_DATA_RIGHT_TRUNCATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_STATEMENT_TOO_COMPLEX: /* too deep */
			return LDR_NULLED_SIZE;
	}
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
			return LDR_NULLED_SERIALIZATION;
	}
	return LDR_NULLED_NOT;
}

/* The input function in a subtransaction, which ends the trouble that an error leaves behind. */
static int
input_caught(LdrStreamConverter *c, char *text, Datum *value)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int code = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		code = ldr_input_softly(&c->column.input, text, c->column.typioparam, c->column.typmod,
								value);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		code = error->sqlerrcode;
		if (input_nulled_by(code) == LDR_NULLED_NOT)
			ReThrowError(error);
	}
	PG_END_TRY();
	return code;
}

LdrNulled
ldr_stream_input(LdrStreamConverter *c, char *text, bool raises, Datum *value)
{
	int			code;
	LdrNulled	nulled;

	if (raises)
		code = input_caught(c, text, value);
	else
		code = ldr_input_softly(&c->column.input, text, c->column.typioparam, c->column.typmod,
								value);
	if (code == 0)
		return LDR_NULLED_NOT;
	nulled = input_nulled_by(code);
	return nulled == LDR_NULLED_NOT ? LDR_NULLED_SERIALIZATION : nulled;
}

LdrNulled
ldr_stream_input_text(LdrStreamConverter *c, const char *data, size_t len, Datum *value)
{
	LdrText		text;
	LdrNulled	nulled = ldr_stream_text(c, data, len, &text);

	if (nulled != LDR_NULLED_NOT)
		return nulled;
	if (text.len >= MaxAllocSize)
		return LDR_NULLED_SIZE;
	return ldr_stream_input(c, pnstrdup(text.data, text.len), !c->soft, value);
}
