/*
 * loader_convert_test.c: run values through our converters and through the types' input functions
 * and say whether both do the same, to the bit or to the text of the error.
 */
#include "postgres.h"

#include "access/tupmacs.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"

#include "compat.h"
#include "convert/convert.h"
#include "generate.h"
#include "guard.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(convert_compare);
PG_FUNCTION_INFO_V1(convert_compare_bytes);
PG_FUNCTION_INFO_V1(convert_random);
PG_FUNCTION_INFO_V1(convert_bytea);
PG_FUNCTION_INFO_V1(convert_time);

/* What came of one conversion */
typedef struct Outcome
{
	Datum		value;
	ErrorData  *error;			/* NULL: none */
} Outcome;

/* A column under test, and the subtransaction that errors end */
typedef struct Trial
{
	LdrConverter c;
	FmgrInfo	input;			/* theirs, apart from the one that ours falls back to */
	int16		typlen;
	char		typalign;
	MemoryContext cxt;			/* of both outcomes; reset for each value */
	MemoryContext caller_cxt;
	ResourceOwner caller_owner;
	int64		errors;
} Trial;

/* How often ours called the input function */
static PGFunction counted_function;
static int64 counted_calls;

static Datum
counting_input(PG_FUNCTION_ARGS)
{
	counted_calls++;
	return counted_function(fcinfo);
}

static LdrFormat
format_from_text(const char *name)
{
	if (strcmp(name, "csv") == 0)
		return LDR_CSV;
	if (strcmp(name, "jsonl") == 0)
		return LDR_JSONL;
	if (strcmp(name, "insert_values") == 0)
		return LDR_INSERT_VALUES;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format \"%s\"", name)));
}

static int
encoding_from_name(const char *name)
{
	int			encoding = pg_char_to_encoding(name);

	if (encoding < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown encoding \"%s\"", name)));
	return encoding;
}

static LdrField
make_field(const char *data, size_t len, LdrFormat format)
{
	return (LdrField) {data, (uint32_t) len, format == LDR_CSV ? LDR_BARE : LDR_STRING};
}

/* The caller ends with trial_end; what it keeps is allocated in the current context. */
static void
trial_begin(Trial *t, Oid typid, int32 typmod, LdrFormat format, int encoding)
{
	bool		byval;

	memset(t, 0, sizeof(*t));
	ldr_converter_init(&t->c, typid, typmod, false, format, encoding);
	fmgr_info(t->c.input.fn_oid, &t->input);
	get_typlenbyvalalign(typid, &t->typlen, &byval, &t->typalign);
	t->caller_cxt = CurrentMemoryContext;
	t->caller_owner = CurrentResourceOwner;
	t->cxt = AllocSetContextCreate(CurrentMemoryContext, "trial", ALLOCSET_DEFAULT_SIZES);

	counted_function = t->c.input.fn_addr;
	counted_calls = 0;
	t->c.input.fn_addr = counting_input;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(t->caller_cxt);
}

static void
trial_end(Trial *t)
{
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(t->caller_cxt);
	CurrentResourceOwner = t->caller_owner;
	MemoryContextDelete(t->cxt);
}

/* What the server does with a value of a file, as COPY would do it. */
static Datum
convert_theirs(Trial *t, const LdrField *f)
{
	char	   *text = pg_any_to_server(f->data, (int) f->len, t->c.encoding);

	if (text == f->data)
		text = pnstrdup(f->data, f->len);
	return InputFunctionCall(&t->input, text, t->c.typioparam, t->c.typmod);
}

static Outcome
attempt(Trial *t, const LdrField *f, bool ours)
{
	Outcome		o = {0};

	MemoryContextSwitchTo(t->cxt);
	PG_TRY();
	{
		o.value = ours ? t->c.fn(&t->c, f) : convert_theirs(t, f);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(t->cxt);
		o.error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		BeginInternalSubTransaction(NULL);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(t->caller_cxt);
	return o;
}

static char *
outcome_text(Trial *t, const Outcome *o)
{
	Oid			output;
	bool		varlena;
	char	   *text;

	if (o->error != NULL)
		return psprintf("error %s %s (%s)", unpack_sql_state(o->error->sqlerrcode),
						o->error->message, o->error->detail ? o->error->detail : "");
	getTypeOutputInfo(t->c.typid, &output, &varlena);
	text = OidOutputFunctionCall(output, o->value);
	if (t->typlen == -1)
		text = psprintf("%s in %zu bytes", text, (size_t) VARSIZE_ANY(DatumGetPointer(o->value)));
	return text;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/*
 * Does the routine that writes into a tuple write the value too, if it takes the field, and nothing
 * behind the room that it has? Aligned or not, as the field's length has it.
 */
static bool
put_is_same(Trial *t, LdrPutFn put, const LdrField *f, const Outcome *o)
{
	char	   *dst = guarded_output_end() - f->len - t->c.put_slack;
	LdrField	slack;
	char	   *end;
	char	   *p;
	struct varlena *value;

	if (put == NULL || f->len + t->c.put_slack > GUARDED_SIZE)
		return true;
	slack = guarded_slack_field(f);
	end = put(&t->c, &slack, dst);
	if (end == NULL)
		return true;
	if (o->error != NULL)
		return false;
	p = (char *) att_align_pointer(dst, t->typalign, t->typlen, dst);
	for (char *pad = dst; pad < p; pad++)
		if (*pad != 0)
			return false;
	if (t->typlen != -1)
		return end == p + t->typlen &&
			datumIsEqual(fetch_att(p, t->c.typbyval, t->typlen), o->value, t->c.typbyval, t->typlen);
	value = (struct varlena *) DatumGetPointer(o->value);
	return end == p + VARSIZE_ANY(p) && VARSIZE_ANY_EXHDR(p) == VARSIZE_ANY_EXHDR(value) &&
		(VARATT_IS_SHORT(p) || !VARATT_CAN_MAKE_SHORT(value)) &&
		memcmp(VARDATA_ANY(p), VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)) == 0;
}

/* All routines for that. */
static bool
puts_are_same(Trial *t, const LdrField *f, const Outcome *o)
{
	return put_is_same(t, t->c.put, f, o) &&
		(!field_is_ascii(f) || put_is_same(t, t->c.put_ascii, f, o)) &&
		(t->c.put == NULL || t->c.typid != NUMERICOID || put_is_same(t, ldr_put_numeric, f, o));
}

/* NULL if both do the same with the field, else a description in the context of the trial. */
static char *
trial_compare(Trial *t, const LdrField *f)
{
	Outcome		ours,
				theirs;
	bool		put_same;
	char	   *result;

	MemoryContextReset(t->cxt);
	ours = attempt(t, f, true);
	theirs = attempt(t, f, false);
	if (theirs.error != NULL)
		t->errors++;

	put_same = puts_are_same(t, f, &theirs);
	if (ours.error != NULL && theirs.error != NULL)
	{
		if (put_same && ours.error->sqlerrcode == theirs.error->sqlerrcode &&
			same_text(ours.error->message, theirs.error->message) &&
			same_text(ours.error->detail, theirs.error->detail))
			return NULL;
	}
	else if (put_same && ours.error == NULL && theirs.error == NULL &&
			 datumIsEqual(ours.value, theirs.value, t->c.typbyval, t->typlen))
		return NULL;

	MemoryContextSwitchTo(t->cxt);
	result = psprintf("ours: %s; theirs: %s%s", outcome_text(t, &ours), outcome_text(t, &theirs),
					  put_same ? "" : "; ours in a tuple is another");
	MemoryContextSwitchTo(t->caller_cxt);
	return result;
}

static Datum
compare_one(Oid typid, int32 typmod, struct varlena *value, const char *format, int encoding)
{
	Trial		t;
	LdrField	f = make_field(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value),
							   format_from_text(format));
	char	   *difference;
	text	   *result;

	trial_begin(&t, typid, typmod, format_from_text(format), encoding);
	difference = trial_compare(&t, &f);
	result = cstring_to_text(difference == NULL ? "same" : difference);
	trial_end(&t);
	PG_RETURN_TEXT_P(result);
}

Datum
convert_compare(PG_FUNCTION_ARGS)
{
	return compare_one(PG_GETARG_OID(0), PG_GETARG_INT32(1), PG_GETARG_VARLENA_PP(2),
					   text_to_cstring(PG_GETARG_TEXT_PP(3)), GetDatabaseEncoding());
}

Datum
convert_compare_bytes(PG_FUNCTION_ARGS)
{
	return compare_one(PG_GETARG_OID(0), PG_GETARG_INT32(1), PG_GETARG_VARLENA_PP(2),
					   text_to_cstring(PG_GETARG_TEXT_PP(3)),
					   encoding_from_name(NameStr(*PG_GETARG_NAME(4))));
}

/* A value with its odd bytes shown in hex, for a message that is valid in any encoding */
static char *
printable(const char *s, size_t len)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (size_t i = 0; i < len; i++)
	{
		if (s[i] >= ' ' && s[i] <= '~')
			appendStringInfoChar(&buf, s[i]);
		else
			appendStringInfo(&buf, "<%02x>", (unsigned char) s[i]);
	}
	return buf.data;
}

Datum
convert_random(PG_FUNCTION_ARGS)
{
	Oid			typid = PG_GETARG_OID(0);
	int32		typmod = PG_GETARG_INT32(1);
	int64		n = PG_GETARG_INT64(2);
	Random		random = {PG_GETARG_INT32(3)};
	int			encoding = encoding_from_name(NameStr(*PG_GETARG_NAME(4)));
	int64		differences = 0,
				fast = 0;
	char	   *example = NULL;
	StringInfoData buf;
	char	   *guard = guarded_end();
	Trial		t;
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	initStringInfo(&buf);
	trial_begin(&t, typid, typmod, LDR_CSV, encoding);
	for (int64 i = 0; i < n; i++)
	{
		int64		calls = counted_calls;
		LdrField	f;
		char	   *difference;

		CHECK_FOR_INTERRUPTS();
		generate_value(&random, typid, typmod, &buf);
		Assert(buf.len <= GUARDED_SIZE);
		f = make_field(memcpy(guard - buf.len, buf.data, buf.len), buf.len, LDR_CSV);
		difference = trial_compare(&t, &f);
		if (calls == counted_calls)
			fast++;
		if (difference != NULL && differences++ == 0)
			example = psprintf("\"%s\": %s", printable(f.data, f.len),
							   printable(difference, strlen(difference)));
	}
	trial_end(&t);

	values[0] = Int64GetDatum(differences);
	values[1] = Int64GetDatum(t.errors);
	values[2] = Int64GetDatum(fast);
	nulls[3] = (example == NULL);
	if (example != NULL)
		values[3] = CStringGetTextDatum(example);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
convert_bytea(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	LdrFormat	format = format_from_text(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	LdrField	f = make_field(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), format);
	LdrConverter c;

	ldr_converter_init(&c, BYTEAOID, -1, false, format, GetDatabaseEncoding());
	PG_RETURN_DATUM(c.fn(&c, &f));
}

/* Nanoseconds per call of one of the two over the samples, n times. */
static double
time_loop(LdrConverter *c, LdrField *fields, char **strings, int nsamples, int64 n, bool ours)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "batch",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(cxt);
	instr_time	start,
				duration;
	bool		isnull;

	INSTR_TIME_SET_CURRENT(start);
	for (int64 i = 0; i < n; i++)
	{
		if (i % 64 == 0)
			MemoryContextReset(cxt);
		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < nsamples; j++)
		{
			if (ours)
				(void) ldr_convert(c, &fields[j], &isnull);
			else
			{
				/* COPY verifies its text too */
				char	   *text = pg_any_to_server(strings[j], (int) fields[j].len, c->encoding);

				(void) InputFunctionCall(&c->input, text, c->typioparam, c->typmod);
			}
		}
	}
	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, start);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(cxt);
	return INSTR_TIME_GET_DOUBLE(duration) * 1e9 / ((double) n * nsamples);
}

Datum
convert_time(PG_FUNCTION_ARGS)
{
	Datum	   *samples;
	int			nsamples;
	int64		n = PG_GETARG_INT64(3);
	LdrConverter c;
	LdrField   *fields;
	char	  **strings;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT,
					  &samples, NULL, &nsamples);
	fields = palloc(nsamples * sizeof(*fields));
	strings = palloc(nsamples * sizeof(*strings));
	for (int i = 0; i < nsamples; i++)
	{
		strings[i] = TextDatumGetCString(samples[i]);
		fields[i] = make_field(strings[i], strlen(strings[i]), LDR_CSV);
	}
	ldr_converter_init(&c, PG_GETARG_OID(0), PG_GETARG_INT32(1), false, LDR_CSV,
					   GetDatabaseEncoding());
	values[0] = Float8GetDatum(time_loop(&c, fields, strings, nsamples, n, true));
	values[1] = Float8GetDatum(time_loop(&c, fields, strings, nsamples, n, false));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
