/*
 * form_test.c: run rows of random values through convert/form.c, and through the types' input
 * functions and heap_form_tuple: the same tuple, to the bit, or the error of the first bad field.
 */
#include "postgres.h"

#include <time.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "convert/form.h"
#include "generate.h"
#include "guard.h"

PG_FUNCTION_INFO_V1(convert_form);
PG_FUNCTION_INFO_V1(convert_form_time);

#define MAX_COLUMNS 32
#define BATCH		50			/* rows */

/* A table under test, and how many rows of it came out in which way */
typedef struct Rows
{
	Relation	rel;
	TupleDesc	desc;
	LdrForm    *form;
	int			n;				/* columns in the file */
	AttrNumber	attnums[MAX_COLUMNS];	/* in the order of the file */
	LdrConverter converters[MAX_COLUMNS];
	FmgrInfo	inputs[MAX_COLUMNS];
	LdrField	fields[MAX_COLUMNS];
	StringInfoData texts[MAX_COLUMNS];
	MemoryContext cxt;			/* of a batch */
	MemoryContext caller_cxt;
	ResourceOwner caller_owner;
	int64		formed,
				others,
				errors,
				differences;
	char	   *example;
} Rows;

static void
rows_begin(Rows *rows, Oid relid, bool reverse, LdrFormat format, int encoding)
{
	memset(rows, 0, sizeof(*rows));
	rows->rel = table_open(relid, AccessShareLock);
	rows->desc = RelationGetDescr(rows->rel);
	rows->caller_cxt = CurrentMemoryContext;
	rows->caller_owner = CurrentResourceOwner;
	rows->cxt = AllocSetContextCreate(CurrentMemoryContext, "rows", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < rows->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rows->desc, reverse ? rows->desc->natts - 1 - i : i);

		/* columns of this name are not in the file; bytea in jsonl is not what the type reads */
		if (att->attisdropped || strncmp(NameStr(att->attname), "missing", 7) == 0 ||
			(format == LDR_JSONL && att->atttypid == BYTEAOID))
			continue;
		if (rows->n == MAX_COLUMNS)
			elog(ERROR, "too many columns");
		rows->attnums[rows->n] = att->attnum;
		ldr_converter_init(&rows->converters[rows->n], att->atttypid, att->atttypmod,
						   !att->attnotnull, format, encoding);
		fmgr_info(rows->converters[rows->n].input.fn_oid, &rows->inputs[rows->n]);
		initStringInfo(&rows->texts[rows->n++]);
	}
	rows->form = ldr_form_create(rows->rel, rows->converters, rows->attnums, rows->n);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(rows->caller_cxt);
}

static void
rows_end(Rows *rows)
{
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(rows->caller_cxt);
	CurrentResourceOwner = rows->caller_owner;
	table_close(rows->rel, AccessShareLock);
}

/* An error came out: returns it, in the context of the batch. */
static ErrorData *
rows_catch(Rows *rows)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(rows->cxt);
	edata = CopyErrorData();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(rows->cxt);
	return edata;
}

/* What the server makes of field i; an error comes back in *edata. */
static Datum
rows_input(Rows *rows, int i, bool *isnull, ErrorData **edata)
{
	const LdrField *f = &rows->fields[i];
	LdrConverter *c = &rows->converters[i];
	volatile Datum value = (Datum) 0;

	*isnull = f->kind == LDR_NULL || f->kind == LDR_ABSENT ||
		(f->len == 0 && c->format == LDR_CSV && c->empty_is_null);
	*edata = NULL;
	if (*isnull)
		return value;
	PG_TRY();
	{
		char	   *text = pg_any_to_server(f->data, (int) f->len, c->encoding);

		if (text == f->data)
			text = pnstrdup(f->data, f->len);
		value = InputFunctionCall(&rows->inputs[i], text, c->typioparam, c->typmod);
	}
	PG_CATCH();
	{
		*edata = rows_catch(rows);
	}
	PG_END_TRY();
	return value;
}

/* Fill the fields of a row; at_guard ends where the memory ends. */
static void
rows_generate(Rows *rows, Random *random, int nulls, int longs)
{
	int			at_guard = (int) (random_next(random) % rows->n);

	for (int i = 0; i < rows->n; i++)
	{
		LdrConverter *c = &rows->converters[i];
		StringInfo	text = &rows->texts[i];
		LdrField   *f = &rows->fields[i];
		ErrorData  *edata;
		bool		isnull;

		/* mostly valid ones, or hardly any row would be */
		for (int attempt = random_next(random) % 20 == 0 ? 1 : 10; attempt > 0; attempt--)
		{
			generate_value(random, getBaseType(c->typid), c->typmod, text);
			if (nulls > 0 && random_next(random) % nulls == 0)
				resetStringInfo(text);
			else if (longs > 0 && random_next(random) % longs == 0 && text->len < GUARDED_SIZE)
			{
				int			more = (int) (random_next(random) % 200 * (random_next(random) % 200));

				enlargeStringInfo(text, more);
				memset(text->data + text->len, 'x', more);
				text->len += more;
			}
			enlargeStringInfo(text, LDR_FIELD_SLACK);
			*f = (LdrField) {text->data, (uint32_t) text->len, LDR_STRING};
			/* the slack of the others is in their texts */
			if (i == at_guard && text->len <= GUARDED_SIZE - LDR_FIELD_SLACK)
				*f = guarded_slack_field(f);
			if (nulls > 0 && text->len == 0)
				f->kind = c->format == LDR_JSONL && random_next(random) % 3 == 0 ? LDR_ABSENT
					: LDR_NULL;
			rows_input(rows, i, &isnull, &edata);
			if (edata == NULL)
				break;
		}
	}
}

/* The server's tuple, or the error of the first bad field. */
static HeapTuple
rows_theirs(Rows *rows, ErrorData **edata)
{
	Datum		values[MAX_COLUMNS];
	bool		nulls[MAX_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	for (int i = 0; i < rows->n; i++)
	{
		int			att = rows->attnums[i] - 1;

		values[att] = rows_input(rows, i, &nulls[att], edata);
		if (*edata != NULL)
			return NULL;
	}
	return heap_form_tuple(rows->desc, values, nulls);
}

/* How many bytes has the row? Returns whether all of them are ASCII. */
static bool
rows_measure(const Rows *rows, size_t *bytes)
{
	bool		ascii = true;

	*bytes = 0;
	for (int i = 0; i < rows->n; i++)
	{
		*bytes += rows->fields[i].len;
		ascii &= field_is_ascii(&rows->fields[i]);
	}
	return ascii;
}

static HeapTuple
rows_ours(Rows *rows, ErrorData **edata, int *field)
{
	volatile HeapTuple tuple = NULL;
	size_t		bytes;
	bool		ascii = rows_measure(rows, &bytes);

	*edata = NULL;
	PG_TRY();
	{
		tuple = ldr_form_row(rows->form, rows->fields, bytes, ascii, field);
	}
	PG_CATCH();
	{
		*edata = rows_catch(rows);
	}
	PG_END_TRY();
	return tuple;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* NULL, or what is different. */
static const char *
rows_compare(Rows *rows)
{
	int			field = -1;
	ErrorData  *our_error,
			   *their_error;
	HeapTuple	ours = rows_ours(rows, &our_error, &field);
	HeapTuple	theirs = rows_theirs(rows, &their_error);

	if (our_error != NULL)
	{
		rows->errors++;
		if (their_error == NULL || field < 0)
			return psprintf("error %s of field %d", our_error->message, field);
		if (our_error->sqlerrcode != their_error->sqlerrcode ||
			!same_text(our_error->message, their_error->message) ||
			!same_text(our_error->detail, their_error->detail))
			return psprintf("error %s, not %s", our_error->message, their_error->message);
		return NULL;
	}
	if (field != -1)
		return "no error, but a field to blame";
	if (ours == NULL)
	{
		rows->others++;
		return NULL;
	}
	rows->formed++;
	if (their_error != NULL)
		return psprintf("no error %s", their_error->message);
	if (ours->t_len != theirs->t_len)
		return psprintf("%u bytes, not %u", ours->t_len, theirs->t_len);
	/* all but what heap_insert fills */
	if (((ours->t_data->t_infomask ^ theirs->t_data->t_infomask) & ~HEAP_XACT_MASK) != 0 ||
		((ours->t_data->t_infomask2 ^ theirs->t_data->t_infomask2) & ~HEAP2_XACT_MASK) != 0 ||
		ItemPointerIsValid(&ours->t_self) || OidIsValid(ours->t_tableOid))
		return "another header";
	for (uint32 i = offsetof(HeapTupleHeaderData, t_hoff); i < ours->t_len; i++)
	{
		if (((char *) ours->t_data)[i] != ((char *) theirs->t_data)[i])
			return psprintf("another byte at %u of %u", i, ours->t_len);
	}
	return NULL;
}

/* A batch: its tuples have to be there in the end. */
static void
rows_batch(Rows *rows, Random *random, int nulls, int longs)
{
	uint32		sums[BATCH];
	HeapTuple	tuples[BATCH];
	int			ntuples = 0;

	ldr_form_begin_batch(rows->form);
	for (int i = 0; i < BATCH; i++)
	{
		const char *difference;
		ErrorData  *edata;
		int			field = -1;

		rows_generate(rows, random, nulls, longs);
		difference = rows_compare(rows);
		if (difference != NULL && rows->differences++ == 0)
			rows->example = MemoryContextStrdup(rows->caller_cxt, difference);
		tuples[ntuples] = rows_ours(rows, &edata, &field);
		if (edata == NULL && tuples[ntuples] != NULL)
		{
			sums[ntuples] = tuples[ntuples]->t_len;
			for (uint32 j = 0; j < tuples[ntuples]->t_len; j++)
				sums[ntuples] = sums[ntuples] * 31 + ((unsigned char *) tuples[ntuples]->t_data)[j];
			ntuples++;
		}
	}
	for (int i = 0; i < ntuples; i++)
	{
		uint32		sum = tuples[i]->t_len;

		for (uint32 j = 0; j < tuples[i]->t_len; j++)
			sum = sum * 31 + ((unsigned char *) tuples[i]->t_data)[j];
		if (sum != sums[i] && rows->differences++ == 0)
			rows->example = MemoryContextStrdup(rows->caller_cxt, "a tuple has changed");
	}
}

Datum
convert_form(PG_FUNCTION_ARGS)
{
	int64		n = PG_GETARG_INT64(1);
	Random		random = {PG_GETARG_INT32(2)};
	int			nulls = PG_GETARG_INT32(3);
	int			longs = PG_GETARG_INT32(4);
	bool		reverse = PG_GETARG_BOOL(5);
	bool		jsonl = PG_GETARG_BOOL(6);
	int			encoding = pg_char_to_encoding(NameStr(*PG_GETARG_NAME(7)));
	Rows		rows;
	TupleDesc	desc;
	Datum		values[5];
	bool		isnull[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || encoding < 0)
		elog(ERROR, "return type must be a row type, and the encoding must exist");
	rows_begin(&rows, PG_GETARG_OID(0), reverse, jsonl ? LDR_JSONL : LDR_CSV, encoding);
	for (int64 i = 0; i < n && rows.form != NULL; i += BATCH)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(rows.cxt);
		MemoryContextSwitchTo(rows.cxt);
		rows_batch(&rows, &random, nulls, longs);
		MemoryContextSwitchTo(rows.caller_cxt);
	}
	rows_end(&rows);
	values[0] = Int64GetDatum(rows.formed);
	values[1] = Int64GetDatum(rows.others);
	values[2] = Int64GetDatum(rows.errors);
	values[3] = Int64GetDatum(rows.differences);
	isnull[4] = rows.example == NULL;
	if (rows.example != NULL)
		values[4] = CStringGetTextDatum(rows.example);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}

/* A row's Datums and its tuple, as a sink that is given Datums makes them. */
static HeapTuple
rows_by_datums(Rows *rows)
{
	Datum		values[MAX_COLUMNS];
	bool		nulls[MAX_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	for (int i = 0; i < rows->n; i++)
		values[rows->attnums[i] - 1] = ldr_convert(&rows->converters[i], &rows->fields[i],
												   &nulls[rows->attnums[i] - 1]);
	return heap_form_tuple(rows->desc, values, nulls);
}

/* Nanoseconds of CPU time per row of one of the two ways. */
static double
rows_time(Rows *rows, int64 n, bool formed)
{
	clock_t		start = clock();
	int			field = -1;
	size_t		bytes;
	bool		ascii = rows_measure(rows, &bytes);


	MemoryContextSwitchTo(rows->cxt);
	for (int64 i = 0; i < n; i++)
	{
		HeapTuple	tuple;

		if (i % 1000 == 0)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(rows->cxt);
			ldr_form_begin_batch(rows->form);
		}
		tuple = formed ? ldr_form_row(rows->form, rows->fields, bytes, ascii,
										&field)
			: rows_by_datums(rows);
		if (tuple == NULL)
			elog(ERROR, "the row cannot be formed");
	}
	MemoryContextSwitchTo(rows->caller_cxt);
	return (double) (clock() - start) / CLOCKS_PER_SEC * 1e9 / (double) n;
}

Datum
convert_form_time(PG_FUNCTION_ARGS)
{
	int64		n = PG_GETARG_INT64(2);
	Datum	   *samples;
	int			nsamples;
	Rows		rows;
	TupleDesc	desc;
	Datum		values[2];
	bool		isnull[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &samples, NULL,
					  &nsamples);
	rows_begin(&rows, PG_GETARG_OID(0), false, LDR_CSV, GetDatabaseEncoding());
	if (nsamples != rows.n || rows.form == NULL)
		elog(ERROR, "one value per column is needed");
	for (int i = 0; i < nsamples; i++)
	{
		LdrField	f = {VARDATA_ANY(DatumGetPointer(samples[i])),
			(uint32_t) VARSIZE_ANY_EXHDR(DatumGetPointer(samples[i])), LDR_BARE};

		rows.fields[i] = f;
		rows.fields[i].data = memcpy(palloc(f.len + LDR_FIELD_SLACK), f.data, f.len);
	}
	values[0] = Float8GetDatum(rows_time(&rows, n, true));
	values[1] = Float8GetDatum(rows_time(&rows, n, false));
	rows_end(&rows);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}
