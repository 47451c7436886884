/*
 * convert/airbyte_value.h: what the parts of convert/airbyte*.c share: the accepted forms of
 * numbers, dates and JSON, and the way through input functions. For src/convert only. Nothing here
 * raises an error that a value is to blame for.
 */
#ifndef LDR_CONVERT_AIRBYTE_VALUE_H
#define LDR_CONVERT_AIRBYTE_VALUE_H

#include "utils/date.h"
#include "utils/timestamp.h"

#include "convert/airbyte.h"
#include "convert/encoding.h"

/* A number in text, [sign] digits [. digits] [e [sign] digits], without zeros at either end */
typedef struct LdrNumber
{
	const char *integer;
	const char *fraction;
	int64		ninteger;
	int64		nfraction;
	int64		scale;			/* digits behind the point as it was written, below 0: none */
	int64		exponent;
	bool		negative;
} LdrNumber;

/* Take the text apart; false if it is no number. NaN and infinity are none. */
extern bool ldr_number_split(const char *s, size_t len, LdrNumber *n);

/* Exactly the number, if it is whole. */
extern LdrNulled ldr_number_int64(const LdrNumber *n, int64 *value);

/* Is it within the limits of numeric? */
extern LdrNulled ldr_number_check(const LdrNumber *n);

/* Digits before the point, negative for zeros right behind it: 3 for 123, 0 for 0.1, -1 for 0.01 */
extern int64 ldr_number_magnitude(const LdrNumber *n);

/*
 * ISO 8601. The offset from UTC is in seconds, positive in the east, 0 if there is none. The
 * timestamp is that of the clock, and may be beyond the type's range by two days, since its offset
 * is still to be subtracted. A date may come with a time, a timestamp without one.
 */
extern LdrNulled ldr_iso_date(const char *s, size_t len, DateADT *date);
extern LdrNulled ldr_iso_timestamp(const char *s, size_t len, Timestamp *timestamp, int *offset);
extern LdrNulled ldr_iso_time(const char *s, size_t len, TimeADT *time, int *offset);

/* JSON text of our own, terminated, in UTF-8 */
typedef struct LdrJsonText
{
	char	   *data;
	size_t		len;
	bool		huge;			/* the server's limits of jsonb may matter */
} LdrJsonText;

/* What jsonb is known to take whatever is in it: its limits are 16 times as far. */
#define LDR_JSON_NOT_HUGE (16 * 1024 * 1024)

/*
 * A copy of JSON, which the reader has checked, that jsonb takes: without \u0000. Not if there is
 * a lone surrogate, or a number or an array too large for jsonb. Bytes that are not UTF-8 stay.
 * decode: escapes of what is not ASCII become the characters, which is how the server can do
 * without its own conversion of them, whose errors it raises.
 */
extern LdrNulled ldr_json_safe(const char *json, size_t len, bool decode, LdrJsonText *out);

/* A copy of JSON without the \u0000 in it, everything else as it stands. */
extern void ldr_json_strip(const char *json, size_t len, LdrJsonText *out);

/* Text as a JSON string, without zero bytes. */
extern LdrNulled ldr_json_quote(const char *s, size_t len, LdrJsonText *out);

/* The text that a JSON string with its quotes stands for. */
extern LdrNulled ldr_json_unquote(const char *json, size_t len, LdrJsonText *out);

/* f is never LDR_NULL, LDR_ABSENT or LDR_INVALID. */
typedef LdrNulled (*LdrStreamFn) (LdrStreamConverter *c, const LdrField *f, Datum *value);

struct LdrStreamConverter
{
	LdrStreamFn	fn;
	LdrStreamType type;
	LdrConverter column;		/* its type, its routine and input function */
	int16		typlen;
	Oid			base;			/* the type, or that below a domain */
	char		category;		/* of the base type */
	bool		soft;			/* the input function gives all its errors back */
	bool		converts;		/* text is not stored as UTF-8 */
	Oid			conversion;		/* from UTF-8; none: only ASCII can be stored */
	MemoryContext cxt;			/* what is needed for one value; empty between them */
};

/*
 * UTF-8 in the server's encoding, or a reason why not. The following three are called in c->cxt,
 * which frees what they allocate.
 */
extern LdrNulled ldr_stream_text(LdrStreamConverter *c, const char *data, size_t len, LdrText *out);

/*
 * What the input function makes of a terminated text in the server's encoding. raises: it may have
 * errors that it raises instead of giving them back.
 */
extern LdrNulled ldr_stream_input(LdrStreamConverter *c, char *text, bool raises, Datum *value);

/* The same for a text in UTF-8 that need not be terminated. */
extern LdrNulled ldr_stream_input_text(LdrStreamConverter *c, const char *data, size_t len,
									   Datum *value);

#endif							/* LDR_CONVERT_AIRBYTE_VALUE_H */
