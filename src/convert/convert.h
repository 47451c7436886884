/*
 * convert/convert.h: one field of a row -> one Datum of the live column's type.
 *
 * The common types have routines of their own; each either returns exactly the Datum that the
 * type's input function would return, or hands the text to that function, which then also says
 * what is wrong with it. So an error is always PostgreSQL's own, with its own SQLSTATE.
 */
#ifndef LDR_CONVERT_H
#define LDR_CONVERT_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "reader/reader.h"
#include "utils/memutils.h"

typedef struct LdrConverter LdrConverter;

/* Returns the Datum, allocated in the current context. f is never LDR_NULL or LDR_ABSENT. */
typedef Datum (*LdrConvertFn) (LdrConverter *c, const LdrField *f);

/*
 * Writes the same value as it lies in a tuple (aligned, and with the short header, where it has
 * one) from dst on, which need not be aligned, and returns its end. dst has room for
 * f->len + put_slack bytes, all of which may be written. Behind the field there are LDR_FIELD_SLACK
 * bytes that can be read. NULL if the value is one for LdrConvertFn; never raises an error.
 */
typedef char *(*LdrPutFn) (const LdrConverter *c, const LdrField *f, char *dst);

#define LDR_PUT_SLACK	(32 + LDR_FIELD_SLACK)	/* of most types */

struct LdrConverter
{
	LdrConvertFn fn;
	LdrPutFn	put;			/* NULL: the type has none */
	LdrPutFn	put_ascii;		/* the same for a field that is ASCII without a zero byte */
	size_t		put_slack;
	/* the column */
	Oid			typid;
	int32		typmod;
	bool		typbyval;
	size_t		max_length;		/* of text, by its typmod */
	int			scale;			/* numeric: that of the column, -1: none */
	int			before;			/* how many digits it may have before the point */
	int			behind;			/* and behind it, to be put the direct way */
	bool		empty_is_null;	/* csv: "" in a nullable column; see ldr_converter_init */
	/* the file */
	LdrFormat	format;
	int			encoding;		/* of the file's text; the converter brings it to the server's */
	int			server_encoding;
	/* the type's own input function, for what fn does not take */
	FmgrInfo	input;
	Oid			typioparam;
	void	   *state;			/* of fn, if it keeps any */
	/* where input functions get a terminated copy; grows, kept for the converter's life */
	char	   *scratch;
	size_t		scratch_size;
	MemoryContext cxt;
};

/*
 * Prepare *c for a column of type typid/typmod, fed from a file of the given format and encoding.
 * What the converter keeps is allocated in the current context. Raises an error if the type has
 * no input function.
 *
 * NULL in csv follows dlt: an empty field, quoted or not, is NULL in a nullable column; in a NOT
 * NULL column it stays an empty string.
 */
extern void ldr_converter_init(LdrConverter *c, Oid typid, int32 typmod, bool nullable,
							   LdrFormat format, int encoding);

/*
 * Convert a field; sets *isnull. Call it in the context in which the Datum is to live. LDR_ABSENT
 * is the caller's business (a default) and not allowed here. Raises the input function's errors.
 */
static inline Datum
ldr_convert(LdrConverter *c, const LdrField *f, bool *isnull)
{
	if (f->kind == LDR_NULL || (f->len == 0 && c->empty_is_null))
	{
		*isnull = true;
		return (Datum) 0;
	}
	*isnull = false;
	return c->fn(c, f);
}

/* The type's input function on a field: every fast routine ends here for what it does not take. */
extern Datum ldr_convert_input(LdrConverter *c, const LdrField *f);

/* The routines, one file per type family: set fn and put, or return false. */
extern bool ldr_integer_converter(LdrConverter *c);
extern bool ldr_float_converter(LdrConverter *c);
extern bool ldr_numeric_converter(LdrConverter *c);
extern bool ldr_bool_converter(LdrConverter *c);
extern bool ldr_datetime_converter(LdrConverter *c);
extern bool ldr_text_converter(LdrConverter *c);
extern bool ldr_bytea_converter(LdrConverter *c);
extern bool ldr_uuid_converter(LdrConverter *c);
extern bool ldr_json_converter(LdrConverter *c);

/* What they are made of. Digits with an optional sign; false for anything else and some extremes. */
extern bool ldr_parse_int64(const LdrField *f, int64 *value);

/*
 * The numeric of a number of at most 64 characters, sign, digits and a point between digits, with a
 * header of four bytes; dst is aligned and has room for len + 32 bytes. Returns its end.
 */
extern char *ldr_write_numeric(const char *text, size_t len, char *dst);

/*
 * The json or jsonb of a valid text in the server's encoding, for a converter of that type; false
 * if it is not valid JSON, or the input function has to read it.
 */
extern bool ldr_json_build(LdrConverter *c, const char *text, size_t len, Datum *value);

/* The routine that puts a numeric on every processor. For tests where there is a faster one. */
extern char *ldr_put_numeric(const LdrConverter *c, const LdrField *f, char *dst);

/* To the precision of timestamp(p), as the server rounds; may leave the type's range. */
extern Timestamp ldr_round_timestamp(Timestamp timestamp, int32 typmod);

#endif							/* LDR_CONVERT_H */
