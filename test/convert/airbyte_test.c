/*
 * airbyte_test.c: values of Airbyte records through our converters. What must come out is told by
 * the caller (cases), or by the type's input function on a text that needs no care (random values).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"

#include "compat.h"
#include "convert/airbyte.h"
#include "generate.h"
#include "guard.h"

PG_FUNCTION_INFO_V1(airbyte_convert);
PG_FUNCTION_INFO_V1(airbyte_random);
PG_FUNCTION_INFO_V1(airbyte_junk);
PG_FUNCTION_INFO_V1(airbyte_time);

#define PICK(r, list) ((list)[random_next(r) % lengthof(list)])

/* The properties, by their names, and the type that each asks for */
static const struct
{
	const char *name;
	LdrStreamType type;
	Oid			typid;
}			properties[] =
{
	{"varchar", LDR_STREAM_VARCHAR, VARCHAROID},
	{"bigint", LDR_STREAM_BIGINT, INT8OID},
	{"numeric", LDR_STREAM_NUMERIC, NUMERICOID},
	{"bool", LDR_STREAM_BOOL, BOOLOID},
	{"date", LDR_STREAM_DATE, DATEOID},
	{"timestamptz", LDR_STREAM_TIMESTAMPTZ, TIMESTAMPTZOID},
	{"timestamp", LDR_STREAM_TIMESTAMP, TIMESTAMPOID},
	{"timetz", LDR_STREAM_TIMETZ, TIMETZOID},
	{"time", LDR_STREAM_TIME, TIMEOID},
	{"object", LDR_STREAM_OBJECT, JSONBOID},
	{"array", LDR_STREAM_ARRAY, JSONBOID},
	{"json", LDR_STREAM_JSON, JSONBOID}
};

static int
property_from_text(text *name)
{
	char	   *s = text_to_cstring(name);

	for (int i = 0; i < lengthof(properties); i++)
	{
		if (strcmp(s, properties[i].name) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown property type \"%s\"", s)));
}

static LdrFieldKind
kind_from_text(text *name)
{
	static const char *const names[] = {"null", "absent", "bare", "string", "raw", "invalid"};
	static const LdrFieldKind kinds[] = {
		LDR_NULL, LDR_ABSENT, LDR_BARE, LDR_STRING, LDR_RAW_JSON, LDR_INVALID
	};
	char	   *s = text_to_cstring(name);

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(s, names[i]) == 0)
			return kinds[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of field \"%s\"", s)));
}

/* The text of a value in ISO form and UTC, whatever the session's settings are. */
static char *
output_text(Oid typid, Datum value)
{
	int			level = NewGUCNestLevel();
	Oid			output;
	bool		varlena;
	char	   *result;

	(void) set_config_option("TimeZone", "UTC", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	(void) set_config_option("IntervalStyle", "postgres", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("DateStyle", "ISO, YMD", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	getTypeOutputInfo(typid, &output, &varlena);
	result = OidOutputFunctionCall(output, value);
	AtEOXact_GUC(true, level);
	return result;
}

/* Convert, and see that the Datum is in the caller's context and the current one untouched. */
static char *
convert_text(LdrStreamConverter *c, Oid typid, const LdrField *f)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext cxt = AllocSetContextCreate(caller, "value", ALLOCSET_DEFAULT_SIZES);
	int16		typlen;
	bool		typbyval;
	Datum		value;
	bool		isnull;
	LdrNulled	nulled;

	MemoryContextSwitchTo(cxt);
	nulled = ldr_stream_convert(c, f, &value, &isnull);
	if (CurrentMemoryContext != cxt)
		elog(ERROR, "the converter left another context behind");
	MemoryContextSwitchTo(caller);
	if (isnull)
		return nulled == LDR_NULLED_NOT ? "NULL" : psprintf("NULL %s", ldr_nulled_reason(nulled));
	if (nulled != LDR_NULLED_NOT)
		elog(ERROR, "a value that is nulled is not NULL");
	get_typlenbyval(typid, &typlen, &typbyval);
	if (!typbyval && GetMemoryChunkContext(DatumGetPointer(value)) != cxt)
		elog(ERROR, "the Datum is not in the caller's context");
	return output_text(typid, value);
}

Datum
airbyte_convert(PG_FUNCTION_ARGS)
{
	int			property = property_from_text(PG_GETARG_TEXT_PP(0));
	LdrFieldKind kind = kind_from_text(PG_GETARG_TEXT_PP(1));
	bytea	   *bytes = PG_GETARG_BYTEA_PP(2);
	Oid			typid = PG_GETARG_OID(3);
	size_t		len = VARSIZE_ANY_EXHDR(bytes);
	const char *data = VARDATA_ANY(bytes);
	LdrStreamConverter *c;
	LdrField	f;

	if (!OidIsValid(typid))
		typid = properties[property].typid;
	c = ldr_stream_converter(properties[property].type, typid, PG_GETARG_INT32(4));
	if (len <= GUARDED_SIZE)
		data = memcpy(guarded_end() - len, data, len);
	f = (LdrField) {data, (uint32_t) len, kind};
	/* twice: what the first one leaves behind must not matter */
	convert_text(c, typid, &f);
	PG_RETURN_TEXT_P(cstring_to_text(convert_text(c, typid, &f)));
}

/* A value as a record has it, and as the input function of the type takes it */
typedef struct Pair
{
	StringInfoData ours;
	StringInfoData theirs;
	LdrFieldKind kind;
} Pair;

static int
below(Random *r, int n)
{
	return (int) (random_next(r) % (uint64) n);
}

static bool
one_in(Random *r, int n)
{
	return below(r, n) == 0;
}

static void
append_both(Pair *p, const char *s)
{
	appendStringInfoString(&p->ours, s);
	appendStringInfoString(&p->theirs, s);
}

static void
append_digits(Random *r, Pair *p, int n)
{
	while (n-- > 0)
		append_both(p, (const char *[]) {"0", "9", "5", "1", "4"}[below(r, 5)]);
}

/* A whole number as JSON may write it: 12, 12.0, 1.2e1, 120e-1 */
static void
generate_bigint(Random *r, Pair *p)
{
	static const char *const edges[] = {
		"9223372036854775807", "-9223372036854775808", "9223372036854775808",
		"-9223372036854775809", "0", "-0", "10000000000000000000"
	};
	int64		value = (int64) random_next(r) >> below(r, 64);
	char		digits[32];
	int			len;

	snprintf(digits, sizeof(digits), INT64_FORMAT, value);
	if (one_in(r, 20))
		strcpy(digits, PICK(r, edges));
	len = strlen(digits);
	appendStringInfoString(&p->theirs, digits);
	p->kind = LDR_BARE;
	switch (below(r, 6))
	{
		case 0:
			appendStringInfo(&p->ours, "%s.%.*s", digits, 1 + below(r, 30),
							 "000000000000000000000000000000");
			break;
		case 1:
			/* the point somewhere inside, and an exponent that moves it back */
			{
				int			first = (digits[0] == '-') + 1;
				int			moved = len > first ? below(r, len - first) : 0;

				if (moved == 0)
					appendStringInfo(&p->ours, "%se%s0", digits, one_in(r, 2) ? "+" : "-");
				else
					appendStringInfo(&p->ours, "%.*s.%s%s%d", len - moved, digits,
									 digits + len - moved, one_in(r, 2) ? "E" : "e+", moved);
			}
			break;
		case 2:
			{
				int			zeros = below(r, 20);

				appendStringInfo(&p->ours, "%s%.*se-%d", digits, zeros, "00000000000000000000",
								 zeros);
			}
			break;
		default:
			p->kind = one_in(r, 2) ? LDR_STRING : LDR_BARE;
			if (p->kind == LDR_STRING && digits[0] != '-' && one_in(r, 4))
				appendStringInfoChar(&p->ours, '+');
			appendStringInfoString(&p->ours, digits);
	}
}

static void
generate_number(Random *r, Pair *p)
{
	p->kind = one_in(r, 2) ? LDR_STRING : LDR_BARE;
	if (one_in(r, 3))
		append_both(p, "-");
	append_both(p, one_in(r, 3) ? "0" : "7");
	append_digits(r, p, one_in(r, 50) ? below(r, 2000) : below(r, 20));
	if (one_in(r, 2))
	{
		append_both(p, ".");
		append_digits(r, p, 1 + (one_in(r, 50) ? below(r, 17000) : below(r, 20)));
	}
	if (one_in(r, 3))
	{
		char		exponent[16];

		snprintf(exponent, sizeof(exponent), "%c%s%d", one_in(r, 2) ? 'e' : 'E',
				 one_in(r, 3) ? "+" : one_in(r, 2) ? "-" : "",
				 below(r, one_in(r, 9) ? 150000 : 40));
		append_both(p, exponent);
	}
}

static void
generate_date_pair(Random *r, Pair *p, bool bc)
{
	static const int years[] = {1, 4, 100, 999, 1582, 1900, 2000, 2024, 4713, 4714, 9999, 10000,
	294276, 294277, 5874897, 5874898, 9999999};
	char		separator = "-/. "[one_in(r, 2) ? 0 : below(r, 4)];
	int			year = one_in(r, 3) ? PICK(r, years) : 1900 + below(r, 200);
	int			month = 1 + below(r, one_in(r, 50) ? 13 : 12);
	int			day = 1 + below(r, one_in(r, 8) ? 31 : 28);
	bool		narrow = one_in(r, 20);

	if (bc && year > 100000)
		year = 4700;
	appendStringInfo(&p->theirs, "%04d-%02d-%02d", year, month, day);
	appendStringInfo(&p->ours, narrow ? "%04d%c%d%c%d" : "%04d%c%02d%c%02d", year, separator, month,
					 separator, day);
}

static void
generate_time_pair(Random *r, Pair *p)
{
	bool		odd = one_in(r, 50);
	char		text[16];

	snprintf(text, sizeof(text), "%02d:%02d", below(r, odd ? 26 : 24), below(r, odd ? 61 : 60));
	append_both(p, text);
	if (one_in(r, 10))
		return;
	snprintf(text, sizeof(text), ":%02d", one_in(r, 4) ? 59 : below(r, odd ? 62 : 60));
	append_both(p, text);
	if (one_in(r, 2))
	{
		appendStringInfoChar(&p->theirs, '.');
		appendStringInfoChar(&p->ours, one_in(r, 8) ? ',' : '.');
		append_digits(r, p, 1 + (one_in(r, 3) ? below(r, 30) : below(r, 6)));
	}
}

/* An offset; a column without time zone does not show it to the input function. */
static void
generate_offset(Random *r, Pair *p, bool zoned)
{
	int			hour = below(r, one_in(r, 20) ? 18 : 15);
	int			minute = 15 * below(r, 4);
	int			second = below(r, 60);
	char		sign = one_in(r, 2) ? '+' : '-';
	int			form = below(r, 7);

	if (one_in(r, 10))
		appendStringInfoChar(&p->ours, ' ');
	if (form < 2)
	{
		/* none, or Z */
		if (form == 1)
			appendStringInfoChar(&p->ours, one_in(r, 8) ? 'z' : 'Z');
		else if (p->ours.data[p->ours.len - 1] == ' ')
			p->ours.data[--p->ours.len] = '\0';
		if (zoned)
			appendStringInfoString(&p->theirs, "+00");
		return;
	}
	if (form == 2)
		minute = 0;
	if (form < 5)
		second = 0;
	if (hour > 15 && !zoned)
		hour = 15;				/* the one who would refuse it does not see it */
	appendStringInfo(&p->ours, "%c%02d", sign, hour);
	if (form != 2)
		appendStringInfo(&p->ours, form == 3 || form == 6 ? "%02d" : ":%02d", minute);
	if (form >= 5)
		appendStringInfo(&p->ours, form == 6 ? "%02d" : ":%02d", second);
	if (zoned)
		appendStringInfo(&p->theirs, "%c%02d:%02d:%02d", sign, hour, minute, second);
}

static void
generate_moment(Random *r, Pair *p, LdrStreamType type)
{
	bool		dated = type != LDR_STREAM_TIME && type != LDR_STREAM_TIMETZ;
	bool		zoned = type == LDR_STREAM_TIMESTAMPTZ || type == LDR_STREAM_TIMETZ;
	bool		bc = dated && one_in(r, 12);

	p->kind = LDR_STRING;
	if (dated)
	{
		generate_date_pair(r, p, bc);
		if (!one_in(r, type == LDR_STREAM_DATE ? 3 : 12))
		{
			appendStringInfoChar(&p->ours, "T T t"[below(r, 5)]);
			if (type != LDR_STREAM_DATE)
			{
				appendStringInfoChar(&p->theirs, ' ');
				generate_time_pair(r, p);
				generate_offset(r, p, zoned);
			}
			else
				/* any time will do, since the date is what is left */
				appendStringInfoString(&p->ours, "23:59:59.5-11:00");
		}
		else if (zoned)
			appendStringInfoString(&p->theirs, " 00:00:00+00");
	}
	else
	{
		generate_time_pair(r, p);
		generate_offset(r, p, zoned);
	}
	if (bc)
	{
		appendStringInfoString(&p->ours, one_in(r, 2) ? " BC" : "BC");
		appendStringInfoString(&p->theirs, " BC");
	}
}

static void
append_json_string(Random *r, Pair *p)
{
	static const char *const pieces[] = {
		"a", "Z", " ", "0", "{", "]", ",", ":", "\\\"", "\\\\", "\\/", "\\n", "\\t", "\\b", "\\u0041",
		"\\u00e4", "\\u20ac", "\\ud83d\\ude00", "\\uD834\\uDD1E", "\303\244", "\342\202\254",
		"\360\237\230\200", "\\\\u0000", "\\u0001", "\\ufffe"
	};

	append_both(p, "\"");
	for (int i = below(r, 8); i > 0; i--)
	{
		if (one_in(r, 8))
			appendStringInfoString(&p->ours, "\\u0000");
		append_both(p, PICK(r, pieces));
	}
	append_both(p, "\"");
}

static void
append_json(Random *r, Pair *p, int depth)
{
	char		text[32];
	int			n;

	switch (below(r, depth > 4 ? 5 : 8))
	{
		case 0:
			append_both(p, (const char *[]) {"true", "false", "null"}[below(r, 3)]);
			break;
		case 1:
		case 2:
			append_json_string(r, p);
			break;
		case 3:
			append_both(p, (const char *[]) {"0", "-1", "1.50", "1e3", "-0.0", "1E-7"}[below(r, 6)]);
			break;
		case 4:
			snprintf(text, sizeof(text), INT64_FORMAT, (int64) random_next(r) >> below(r, 64));
			append_both(p, text);
			break;
		case 5:
			append_both(p, "[");
			n = below(r, 4);
			for (int i = 0; i < n; i++)
			{
				append_both(p, i > 0 ? ", " : "");
				append_json(r, p, depth + 1);
			}
			append_both(p, "]");
			break;
		default:
			append_both(p, "{");
			n = below(r, 4);
			for (int i = 0; i < n; i++)
			{
				append_both(p, i > 0 ? "," : " ");
				append_json_string(r, p);
				append_both(p, ":");
				append_json(r, p, depth + 1);
			}
			append_both(p, "}");
	}
}

/* A value that the property allows, most of the time. */
static void
generate_pair(Random *r, LdrStreamType type, Pair *p)
{
	resetStringInfo(&p->ours);
	resetStringInfo(&p->theirs);
	switch (type)
	{
		case LDR_STREAM_VARCHAR:
			p->kind = LDR_STRING;
			generate_value(r, TEXTOID, -1, &p->ours);
			appendBinaryStringInfo(&p->theirs, p->ours.data, p->ours.len);
			break;
		case LDR_STREAM_BIGINT:
			generate_bigint(r, p);
			break;
		case LDR_STREAM_NUMERIC:
			generate_number(r, p);
			break;
		case LDR_STREAM_BOOL:
			p->kind = LDR_BARE;
			append_both(p, one_in(r, 2) ? "true" : "false");
			break;
		case LDR_STREAM_DATE:
		case LDR_STREAM_TIMESTAMPTZ:
		case LDR_STREAM_TIMESTAMP:
		case LDR_STREAM_TIMETZ:
		case LDR_STREAM_TIME:
			generate_moment(r, p, type);
			break;
		case LDR_STREAM_OBJECT:
		case LDR_STREAM_ARRAY:
		case LDR_STREAM_JSON:
			p->kind = LDR_RAW_JSON;
			append_json(r, p, 0);
	}
}

/* What the input function makes of it; NULL if it raises an error. */
static bool
input_theirs(FmgrInfo *input, char *text, size_t len, Oid ioparam, int32 typmod, Datum *value)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool ok = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		char	   *server = pg_any_to_server(text, (int) len, PG_UTF8);

		*value = InputFunctionCall(input, server, ioparam, typmod);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		ok = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	return ok;
}

/* Is an object wanted, and it is none, or an array? */
static bool
wrong_kind(LdrStreamType type, const char *json)
{
	return (type == LDR_STREAM_OBJECT && json[0] != '{') ||
		(type == LDR_STREAM_ARRAY && json[0] != '[');
}

static char *
printable(const char *s, size_t len)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (size_t i = 0; i < len && i < 300; i++)
		appendStringInfo(&buf, s[i] >= ' ' && s[i] <= '~' ? "%c" : "<%02x>", (unsigned char) s[i]);
	return buf.data;
}

Datum
airbyte_random(PG_FUNCTION_ARGS)
{
	int			property = property_from_text(PG_GETARG_TEXT_PP(0));
	LdrStreamType type = properties[property].type;
	Oid			typid = properties[property].typid;
	int32		typmod = PG_GETARG_INT32(1);
	int64		n = PG_GETARG_INT64(2);
	Random		random = {PG_GETARG_INT32(3)};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext cxt = AllocSetContextCreate(caller, "value", ALLOCSET_DEFAULT_SIZES);
	LdrStreamConverter *c = ldr_stream_converter(type, typid, typmod);
	int64		differences = 0,
				nulls = 0;
	char	   *example = NULL;
	int16		typlen;
	bool		typbyval;
	Oid			inputid,
				ioparam;
	FmgrInfo	input;
	Pair		p;
	TupleDesc	desc;
	Datum		values[3];
	bool		isnulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	get_typlenbyval(typid, &typlen, &typbyval);
	getTypeInputInfo(typid, &inputid, &ioparam);
	fmgr_info(inputid, &input);
	initStringInfo(&p.ours);
	initStringInfo(&p.theirs);
	for (int64 i = 0; i < n; i++)
	{
		Datum		ours = 0,
					theirs = 0;
		bool		isnull,
					expected;
		LdrField	f;

		CHECK_FOR_INTERRUPTS();
		generate_pair(&random, type, &p);
		f = (LdrField) {memcpy(guarded_end() - p.ours.len, p.ours.data, p.ours.len),
		p.ours.len, p.kind};
		MemoryContextReset(cxt);
		MemoryContextSwitchTo(cxt);
		ldr_stream_convert(c, &f, &ours, &isnull);
		expected = !wrong_kind(type, p.ours.data) &&
			input_theirs(&input, p.theirs.data, p.theirs.len, ioparam, typmod, &theirs);
		nulls += isnull;
		MemoryContextSwitchTo(caller);
		if (expected == !isnull && (isnull || datumIsEqual(ours, theirs, typbyval, typlen)))
			continue;
		if (differences++ == 0)
			example = psprintf("%s: ours: %s; theirs: %s, of %s", printable(f.data, f.len),
							   isnull ? "NULL" : output_text(typid, ours),
							   expected ? output_text(typid, theirs) : "an error",
							   printable(p.theirs.data, p.theirs.len));
	}
	values[0] = Int64GetDatum(differences);
	values[1] = Int64GetDatum(nulls);
	isnulls[2] = (example == NULL);
	if (example != NULL)
		values[2] = CStringGetTextDatum(example);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnulls)));
}

/*
 * Strings that were made for any type, and often broken after that: whatever they are, no error
 * may come out. Returns how many became values.
 */
Datum
airbyte_junk(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {
		INT8OID, FLOAT8OID, NUMERICOID, BOOLOID, DATEOID, TIMEOID, TIMESTAMPOID, TIMESTAMPTZOID,
		TEXTOID, BYTEAOID, UUIDOID
	};
	int			property = property_from_text(PG_GETARG_TEXT_PP(0));
	Oid			typid = PG_GETARG_OID(1);
	int64		n = PG_GETARG_INT64(3);
	Random		random = {PG_GETARG_INT32(4)};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext cxt = AllocSetContextCreate(caller, "value", ALLOCSET_DEFAULT_SIZES);
	LdrStreamConverter *c;
	StringInfoData buf;
	int64		made = 0;

	c = ldr_stream_converter(properties[property].type, typid, PG_GETARG_INT32(2));
	initStringInfo(&buf);
	for (int64 i = 0; i < n; i++)
	{
		LdrField	f;
		Datum		value;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		generate_value(&random, PICK(&random, types), -1, &buf);
		f = (LdrField) {memcpy(guarded_end() - buf.len, buf.data, buf.len), buf.len, LDR_STRING};
		MemoryContextReset(cxt);
		MemoryContextSwitchTo(cxt);
		ldr_stream_convert(c, &f, &value, &isnull);
		MemoryContextSwitchTo(caller);
		made += !isnull;
	}
	PG_RETURN_INT64(made);
}

/* Nanoseconds per value over the samples, n times. */
Datum
airbyte_time(PG_FUNCTION_ARGS)
{
	int			property = property_from_text(PG_GETARG_TEXT_PP(0));
	LdrFieldKind kind = kind_from_text(PG_GETARG_TEXT_PP(1));
	int64		n = PG_GETARG_INT64(3);
	Oid			typid = PG_GETARG_OID(4);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext cxt = AllocSetContextCreate(caller, "batch", ALLOCSET_DEFAULT_SIZES);
	Datum	   *samples;
	int			nsamples;
	LdrStreamConverter *c;
	LdrField   *fields;
	instr_time	start,
				duration;

	if (!OidIsValid(typid))
		typid = properties[property].typid;
	c = ldr_stream_converter(properties[property].type, typid, -1);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT,
					  &samples, NULL, &nsamples);
	fields = palloc(nsamples * sizeof(*fields));
	for (int i = 0; i < nsamples; i++)
	{
		char	   *s = TextDatumGetCString(samples[i]);

		fields[i] = (LdrField) {s, strlen(s), kind};
	}
	MemoryContextSwitchTo(cxt);
	INSTR_TIME_SET_CURRENT(start);
	for (int64 i = 0; i < n; i++)
	{
		if (i % 64 == 0)
			MemoryContextReset(cxt);
		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < nsamples; j++)
		{
			Datum		value;
			bool		isnull;

			ldr_stream_convert(c, &fields[j], &value, &isnull);
		}
	}
	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, start);
	MemoryContextSwitchTo(caller);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_DOUBLE(duration) * 1e9 / ((double) n * nsamples));
}
