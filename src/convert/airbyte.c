/*
 * convert/airbyte.c: a field of an Airbyte record -> a Datum, or the reason why there is none.
 *
 * What a property allows is checked here, by its type in the stream. Where the column has the type
 * that the property asks for, the Datum is then made in a way that cannot raise an error: by our
 * own routines, or by the input function of the type on text that it is known to take. Any other
 * column gets the text through its input function, whose errors are caught, which before
 * PostgreSQL 16 takes a subtransaction for each value.
 *
 * Such a column may be of any type. jsonb and json get what to_jsonb would make of the value, text
 * the text that stands in the record (of a JSON value what ->> would make of it), dates and times
 * the value in a form that does not depend on settings.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "convert/airbyte_value.h"

const char *
ldr_nulled_reason(LdrNulled nulled)
{
	switch (nulled)
	{
		case LDR_NULLED_SERIALIZATION:
			return "DESTINATION_SERIALIZATION_ERROR";
		case LDR_NULLED_SIZE:
			return "DESTINATION_FIELD_SIZE_LIMITATION";
		case LDR_NULLED_NOT:
			break;
	}
	return NULL;
}

/* Copy a value out of c->cxt, which was entered from the caller's, and leave it empty. */
static LdrNulled
stream_leave(LdrStreamConverter *c, MemoryContext caller, LdrNulled nulled, Datum *value)
{
	MemoryContextSwitchTo(caller);
	if (nulled == LDR_NULLED_NOT)
		*value = datumCopy(*value, c->column.typbyval, c->typlen);
	MemoryContextReset(c->cxt);
	return nulled;
}

/*
 * An integer: a JSON number without fraction, however it is written, or a string of digits with
 * an optional sign.
 */
static LdrNulled
stream_check_bigint(const LdrField *f, int64 *value)
{
	LdrNumber	n;

	if (likely((f->kind == LDR_BARE || f->kind == LDR_STRING) && ldr_parse_int64(f, value)))
		return LDR_NULLED_NOT;
	if (f->kind == LDR_RAW_JSON || !ldr_number_split(f->data, f->len, &n))
		return LDR_NULLED_SERIALIZATION;
	if (f->kind == LDR_STRING)
	{
		/* digits only: no point, no exponent */
		for (uint32_t i = 1; i < f->len; i++)
		{
			if ((unsigned char) (f->data[i] - '0') > 9)
				return LDR_NULLED_SERIALIZATION;
		}
		if (f->data[0] == '.')
			return LDR_NULLED_SERIALIZATION;
	}
	return ldr_number_int64(&n, value);
}

/* bigint, and the smaller integers that a column may have become. */
static LdrNulled
stream_bigint(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	int64		number;
	LdrNulled	nulled = stream_check_bigint(f, &number);

	if (unlikely(nulled != LDR_NULLED_NOT))
		return nulled;
	switch (c->column.typid)
	{
		case INT8OID:
			*value = Int64GetDatum(number);
			return LDR_NULLED_NOT;
		case INT4OID:
			*value = Int32GetDatum((int32) number);
			return number == (int32) number ? LDR_NULLED_NOT : LDR_NULLED_SIZE;
		default:
			*value = Int16GetDatum((int16) number);
			return number == (int16) number ? LDR_NULLED_NOT : LDR_NULLED_SIZE;
	}
}

/* A JSON number or a string of one. */
static LdrNulled
stream_check_numeric(const LdrField *f, LdrNumber *n)
{
	if (f->kind == LDR_RAW_JSON || !ldr_number_split(f->data, f->len, n))
		return LDR_NULLED_SERIALIZATION;
	return ldr_number_check(n);
}

static LdrNulled
stream_numeric(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	LdrNumber	n;
	LdrNulled	nulled = stream_check_numeric(f, &n);
	int32		typmod = c->column.typmod - VARHDRSZ;

	if (typmod >= 0 && nulled != LDR_NULLED_SERIALIZATION)
	{
		int			scale = ((typmod & 0x7ff) ^ 1024) - 1024;

		/*
		 * With one digit to spare, for rounding may add one. Too many digits behind the point do
		 * not matter here.
		 */
		if (nulled == LDR_NULLED_SIZE || ldr_number_magnitude(&n) >= (typmod >> 16) - scale)
		{
			MemoryContext caller = MemoryContextSwitchTo(c->cxt);

			nulled = ldr_stream_input_text(c, f->data, f->len, value);
			return stream_leave(c, caller, nulled, value);
		}
	}
	if (unlikely(nulled != LDR_NULLED_NOT))
		return nulled;
	*value = c->column.fn(&c->column, f);
	return LDR_NULLED_NOT;
}

static LdrNulled
stream_check_bool(const LdrField *f, bool *value)
{
	if (f->kind != LDR_BARE)
		return LDR_NULLED_SERIALIZATION;
	*value = (f->len == 4 && memcmp(f->data, "true", 4) == 0);
	if (*value || (f->len == 5 && memcmp(f->data, "false", 5) == 0))
		return LDR_NULLED_NOT;
	return LDR_NULLED_SERIALIZATION;
}

static LdrNulled
stream_bool(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	bool		truth;
	LdrNulled	nulled = stream_check_bool(f, &truth);

	if (nulled == LDR_NULLED_NOT)
		*value = BoolGetDatum(truth);
	return nulled;
}

/* The varlena of text in the server's encoding, as far as it fits the column. */
static LdrNulled
stream_store_text(LdrStreamConverter *c, const LdrText *text, Datum *value)
{
	size_t		len = text->len;
	struct varlena *result;

	if (c->column.typmod >= (int32) VARHDRSZ && len > (size_t) (c->column.typmod - VARHDRSZ))
	{
		size_t		fits = pg_mbcharcliplen(text->data, (int) Min(len, PG_INT32_MAX),
											c->column.typmod - VARHDRSZ);

		/* as the server does it, blanks at the end do not make it too long */
		for (size_t i = fits; i < len; i++)
		{
			if (text->data[i] != ' ')
				return LDR_NULLED_SIZE;
		}
		len = fits;
	}
	if (len > MaxAllocSize - VARHDRSZ)
		return LDR_NULLED_SIZE;
	result = palloc(len + VARHDRSZ);
	SET_VARSIZE(result, len + VARHDRSZ);
	memcpy(VARDATA(result), text->data, len);
	*value = PointerGetDatum(result);
	return LDR_NULLED_NOT;
}

/* Text that is not plain ASCII, or is JSON with escapes in it. */
static LdrNulled
stream_varchar_slow(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	MemoryContext caller = MemoryContextSwitchTo(c->cxt);
	const char *data = f->data;
	size_t		len = f->len;
	LdrText		text;
	LdrNulled	nulled;

	if (f->kind == LDR_RAW_JSON && memchr(data, '\\', len) != NULL)
	{
		LdrJsonText json;

		ldr_json_strip(data, len, &json);
		data = json.data;
		len = json.len;
	}
	nulled = ldr_stream_text(c, data, len, &text);
	MemoryContextSwitchTo(caller);
	if (nulled == LDR_NULLED_NOT)
		nulled = stream_store_text(c, &text, value);
	MemoryContextReset(c->cxt);
	return nulled;
}

/* Anything, as the text that it is in JSON; of a string what is between its quotes. */
static LdrNulled
stream_varchar(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	LdrText		text = {f->data, f->len, false};

	if (unlikely(f->kind == LDR_RAW_JSON || !ldr_is_plain_ascii(f->data, f->len)))
		return stream_varchar_slow(c, f, value);
	return stream_store_text(c, &text, value);
}

static LdrNulled
stream_check_date(const LdrField *f, DateADT *date)
{
	if (f->kind != LDR_STRING)
		return LDR_NULLED_SERIALIZATION;
	return ldr_iso_date(f->data, f->len, date);
}

static LdrNulled
stream_date(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	DateADT		date = 0;
	LdrNulled	nulled = stream_check_date(f, &date);

	*value = DateADTGetDatum(date);
	return nulled;
}

/* A timestamp, with time zone or without, rounded to the typmod. */
static inline LdrNulled
stream_check_timestamp(const LdrField *f, bool zoned, int32 typmod, Timestamp *timestamp)
{
	int			offset;
	LdrNulled	nulled;

	if (f->kind != LDR_STRING)
		return LDR_NULLED_SERIALIZATION;
	nulled = ldr_iso_timestamp(f->data, f->len, timestamp, &offset);
	if (nulled != LDR_NULLED_NOT)
		return nulled;
	if (zoned)
		*timestamp -= offset * USECS_PER_SEC;
	if (unlikely(typmod >= 0))
		*timestamp = ldr_round_timestamp(*timestamp, typmod);
	return IS_VALID_TIMESTAMP(*timestamp) ? LDR_NULLED_NOT : LDR_NULLED_SIZE;
}

static LdrNulled
stream_timestamptz(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	Timestamp	timestamp = 0;
	LdrNulled	nulled = stream_check_timestamp(f, true, c->column.typmod, &timestamp);

	*value = TimestampTzGetDatum(timestamp);
	return nulled;
}

static LdrNulled
stream_timestamp(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	Timestamp	timestamp = 0;
	LdrNulled	nulled = stream_check_timestamp(f, false, c->column.typmod, &timestamp);

	*value = TimestampGetDatum(timestamp);
	return nulled;
}

/* A time of the day, rounded to the typmod. */
static LdrNulled
stream_check_time(const LdrField *f, int32 typmod, TimeTzADT *time)
{
	int			offset;
	LdrNulled	nulled;

	if (f->kind != LDR_STRING)
		return LDR_NULLED_SERIALIZATION;
	nulled = ldr_iso_time(f->data, f->len, &time->time, &offset);
	if (nulled != LDR_NULLED_NOT)
		return nulled;
	AdjustTimeForTypmod(&time->time, typmod);
	time->zone = -offset;		/* it counts from the west */
	return LDR_NULLED_NOT;
}

static LdrNulled
stream_timetz(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	TimeTzADT	time;
	TimeTzADT  *result;
	LdrNulled	nulled = stream_check_time(f, c->column.typmod, &time);

	if (nulled != LDR_NULLED_NOT)
		return nulled;
	result = palloc(sizeof(*result));
	*result = time;
	*value = TimeTzADTPGetDatum(result);
	return LDR_NULLED_NOT;
}

static LdrNulled
stream_time(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	TimeTzADT	time;
	LdrNulled	nulled = stream_check_time(f, c->column.typmod, &time);

	if (nulled == LDR_NULLED_NOT)
		*value = TimeADTGetDatum(time.time);
	return nulled;
}

/* Is the field of the kind that the property allows? */
static LdrNulled
stream_check_json(LdrStreamType type, const LdrField *f)
{
	char		opening = type == LDR_STREAM_OBJECT ? '{' : '[';

	if (type == LDR_STREAM_JSON || (f->kind == LDR_RAW_JSON && f->data[0] == opening))
		return LDR_NULLED_NOT;
	return LDR_NULLED_SERIALIZATION;
}

/*
 * The field through jsonb's, or json's, input function. c->cxt is the current context. json keeps
 * its escapes, which its input function does not look into.
 */
static LdrNulled
stream_input_json(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	LdrJsonText json;
	LdrText		text;
	LdrNulled	nulled;
	bool		known = c->column.typid == JSONBOID || c->column.typid == JSONOID;

	if (f->kind == LDR_STRING)
		nulled = ldr_json_quote(f->data, f->len, &json);
	else
		nulled = ldr_json_safe(f->data, f->len, c->base == JSONBOID, &json);
	if (nulled == LDR_NULLED_NOT)
		nulled = ldr_stream_text(c, json.data, json.len, &text);
	if (nulled != LDR_NULLED_NOT)
		return nulled;
	if (text.len >= MaxAllocSize)
		return LDR_NULLED_SIZE;
	if (known && ldr_json_build(&c->column, text.data, text.len, value))
		return LDR_NULLED_NOT;
	return ldr_stream_input(c, unconstify(char *, text.data), !known || json.huge, value);
}

static LdrNulled
stream_json(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	LdrNulled	nulled = stream_check_json(c->type, f);
	MemoryContext caller;

	if (nulled != LDR_NULLED_NOT)
		return nulled;
	caller = MemoryContextSwitchTo(c->cxt);
	nulled = stream_input_json(c, f, value);
	return stream_leave(c, caller, nulled, value);
}

/* What stream_check found out about a value */
typedef struct StreamValue
{
	int64		integer;
	bool		whole;			/* integer is the value */
	Timestamp	timestamp;		/* of all dates and times */
	TimeTzADT	time;
} StreamValue;

/* Check a field by its property alone. */
static LdrNulled
stream_check(LdrStreamType type, const LdrField *f, StreamValue *v)
{
	LdrNumber	n;
	DateADT		date;
	bool		truth;
	LdrNulled	nulled;

	v->whole = false;
	switch (type)
	{
		case LDR_STREAM_VARCHAR:
			return LDR_NULLED_NOT;
		case LDR_STREAM_BIGINT:
			v->whole = true;
			return stream_check_bigint(f, &v->integer);
		case LDR_STREAM_NUMERIC:
			nulled = stream_check_numeric(f, &n);
			if (nulled == LDR_NULLED_NOT)
				v->whole = (ldr_number_int64(&n, &v->integer) == LDR_NULLED_NOT);
			return nulled;
		case LDR_STREAM_BOOL:
			return stream_check_bool(f, &truth);
		case LDR_STREAM_DATE:
			nulled = stream_check_date(f, &date);
			if (nulled == LDR_NULLED_NOT)
				v->integer = date;
			return nulled;
		case LDR_STREAM_TIMESTAMPTZ:
			return stream_check_timestamp(f, true, -1, &v->timestamp);
		case LDR_STREAM_TIMESTAMP:
			return stream_check_timestamp(f, false, -1, &v->timestamp);
		case LDR_STREAM_TIMETZ:
		case LDR_STREAM_TIME:
			return stream_check_time(f, -1, &v->time);
		case LDR_STREAM_OBJECT:
		case LDR_STREAM_ARRAY:
		case LDR_STREAM_JSON:
			return stream_check_json(type, f);
	}
	return LDR_NULLED_SERIALIZATION;
}

/* A date or time in the form of ISO 8601 that the server itself writes; buf has MAXDATELEN + 1. */
static void
stream_print_time(LdrStreamType type, const StreamValue *v, char *buf)
{
	struct pg_tm tm = {0};
	fsec_t		fsec;

	switch (type)
	{
		case LDR_STREAM_DATE:
			j2date((int) v->integer + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
			EncodeDateOnly(&tm, USE_ISO_DATES, buf);
			break;
		case LDR_STREAM_TIMESTAMPTZ:
		case LDR_STREAM_TIMESTAMP:
			/* cannot fail: it is in range, and no time zone is asked for */
			timestamp2tm(v->timestamp, NULL, &tm, &fsec, NULL, NULL);
			EncodeDateTime(&tm, fsec, type == LDR_STREAM_TIMESTAMPTZ, 0, NULL, USE_ISO_DATES, buf);
			break;
		default:
			time2tm(v->time.time, &tm, &fsec);
			EncodeTimeOnly(&tm, fsec, type == LDR_STREAM_TIMETZ, v->time.zone, USE_ISO_DATES, buf);
	}
}

/* Does the type of the property hold dates or times? */
static inline bool
stream_is_time(LdrStreamType type)
{
	return type == LDR_STREAM_DATE || type == LDR_STREAM_TIMESTAMPTZ ||
		type == LDR_STREAM_TIMESTAMP || type == LDR_STREAM_TIMETZ || type == LDR_STREAM_TIME;
}

/* The text of a checked field through the input function of another type than the property's. */
static LdrNulled
stream_input_other(LdrStreamConverter *c, const LdrField *f, const StreamValue *v, Datum *value)
{
	char		buf[MAXDATELEN + 1];
	LdrJsonText json = {0};

	if (c->base == JSONBOID || c->base == JSONOID)
		return stream_input_json(c, f, value);
	if (f->kind == LDR_RAW_JSON && f->data[0] == '"')
	{
		LdrNulled	nulled = ldr_json_unquote(f->data, f->len, &json);

		if (nulled != LDR_NULLED_NOT)
			return nulled;
	}
	else if (f->kind == LDR_RAW_JSON)
		ldr_json_strip(f->data, f->len, &json);
	if (json.data != NULL)
		return ldr_stream_input_text(c, json.data, json.len, value);

	if (stream_is_time(c->type) && c->category == TYPCATEGORY_DATETIME)
	{
		stream_print_time(c->type, v, buf);
		return ldr_stream_input_text(c, buf, strlen(buf), value);
	}
	if (v->whole && c->category == TYPCATEGORY_NUMERIC)
	{
		int			len = pg_lltoa(v->integer, buf);

		return ldr_stream_input_text(c, buf, len, value);
	}
	return ldr_stream_input_text(c, f->data, f->len, value);
}

static LdrNulled
stream_other(LdrStreamConverter *c, const LdrField *f, Datum *value)
{
	StreamValue v;
	LdrNulled	nulled = stream_check(c->type, f, &v);
	MemoryContext caller;

	if (nulled != LDR_NULLED_NOT)
		return nulled;
	caller = MemoryContextSwitchTo(c->cxt);
	nulled = stream_input_other(c, f, &v, value);
	return stream_leave(c, caller, nulled, value);
}

/* The routine for a property and its column; most pairs have none of their own. */
static LdrStreamFn
stream_choose(LdrStreamType type, Oid typid)
{
	switch (type)
	{
		case LDR_STREAM_VARCHAR:
			return typid == VARCHAROID || typid == TEXTOID ? stream_varchar : stream_other;
		case LDR_STREAM_BIGINT:
			return typid == INT8OID || typid == INT4OID || typid == INT2OID ?
				stream_bigint : stream_other;
		case LDR_STREAM_NUMERIC:
			return typid == NUMERICOID ? stream_numeric : stream_other;
		case LDR_STREAM_BOOL:
			return typid == BOOLOID ? stream_bool : stream_other;
		case LDR_STREAM_DATE:
			return typid == DATEOID ? stream_date : stream_other;
		case LDR_STREAM_TIMESTAMPTZ:
			return typid == TIMESTAMPTZOID ? stream_timestamptz : stream_other;
		case LDR_STREAM_TIMESTAMP:
			return typid == TIMESTAMPOID ? stream_timestamp : stream_other;
		case LDR_STREAM_TIMETZ:
			return typid == TIMETZOID ? stream_timetz : stream_other;
		case LDR_STREAM_TIME:
			return typid == TIMEOID ? stream_time : stream_other;
		case LDR_STREAM_OBJECT:
		case LDR_STREAM_ARRAY:
		case LDR_STREAM_JSON:
			return typid == JSONBOID ? stream_json : stream_other;
	}
	return stream_other;
}

/* Types whose input functions give back all their errors, where the server has such functions. */
static bool
stream_is_soft(Oid typid)
{
	switch (typid)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BYTEAOID:
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
		case UUIDOID:
			return LDR_SOFT_INPUT;
		default:
			return false;
	}
}

LdrStreamConverter *
ldr_stream_converter(LdrStreamType type, Oid typid, int32 typmod)
{
	LdrStreamConverter *c = palloc0(sizeof(*c));
	int			encoding = GetDatabaseEncoding();
	bool		preferred;

	ldr_converter_init(&c->column, typid, typmod, true, LDR_JSONL, PG_UTF8);
	c->type = type;
	c->typlen = get_typlen(typid);
	c->base = getBaseType(typid);
	get_type_category_preferred(c->base, &c->category, &preferred);
	c->fn = stream_choose(type, typid);
	c->soft = stream_is_soft(typid);
	c->converts = (encoding != PG_UTF8 && encoding != PG_SQL_ASCII);
	if (c->converts)
		c->conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	c->cxt = AllocSetContextCreate(CurrentMemoryContext, "loader value", ALLOCSET_SMALL_SIZES);
	return c;
}

/*
 * A value that the reader handed out as it stands, though the property is no JSON (the column may
 * be): give it the kind that it would have had.
 */
static LdrNulled
stream_unwrapped(LdrStreamConverter *c, const LdrField *raw, Datum *value)
{
	MemoryContext caller = MemoryContextSwitchTo(c->cxt);
	LdrField	f = *raw;
	LdrNulled	nulled = LDR_NULLED_NOT;

	if (f.data[0] == '"')
	{
		LdrJsonText text;

		nulled = ldr_json_unquote(raw->data, raw->len, &text);
		f = (LdrField) {text.data, (uint32_t) text.len, LDR_STRING};
	}
	else if (f.data[0] != '{' && f.data[0] != '[')
		f.kind = LDR_BARE;
	MemoryContextSwitchTo(caller);
	if (nulled == LDR_NULLED_NOT)
		nulled = c->fn(c, &f, value);
	MemoryContextReset(c->cxt);
	return nulled;
}

LdrNulled
ldr_stream_convert(LdrStreamConverter *c, const LdrField *f, Datum *value, bool *isnull)
{
	LdrNulled	nulled;

	*isnull = true;
	if (f->kind == LDR_NULL || f->kind == LDR_ABSENT)
		return LDR_NULLED_NOT;
	if (unlikely(f->kind == LDR_INVALID))
		return f->len > LDR_MAX_FIELD ? LDR_NULLED_SIZE : LDR_NULLED_SERIALIZATION;
	if (unlikely(f->kind == LDR_RAW_JSON && c->type < LDR_STREAM_OBJECT))
		nulled = stream_unwrapped(c, f, value);
	else
		nulled = c->fn(c, f, value);
	*isnull = (nulled != LDR_NULLED_NOT);
	return nulled;
}
