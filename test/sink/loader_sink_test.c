/* loader_sink_test.c: drive the sinks from SQL. */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "sink/index.h"
#include "sink/sink.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(sink_load);
PG_FUNCTION_INFO_V1(sink_generate);
PG_FUNCTION_INFO_V1(sink_index_memory);

#define TEST_ABSENT "<absent>"

typedef struct TestInput
{
	FmgrInfo	fn;
	Oid			ioparam;
	int32		typmod;
} TestInput;

static LdrSinkKind
test_kind(Relation rel, const char *kind, const char **reason)
{
	LdrSinkKind chosen = ldr_sink_choose(rel, reason);

	if (strcmp(kind, "heap") == 0)
		return LDR_SINK_HEAP;
	if (strcmp(kind, "executor") == 0)
		return LDR_SINK_EXECUTOR;
	return chosen;
}

/* Column names -> numbers. Returns how many. */
static int
test_columns(Relation rel, ArrayType *cols, AttrNumber **attnums)
{
	Datum	   *names;
	int			n;

	deconstruct_array(cols, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &n);
	*attnums = palloc(sizeof(AttrNumber) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		char	   *name = TextDatumGetCString(names[i]);

		(*attnums)[i] = get_attnum(RelationGetRelid(rel), name);
		if ((*attnums)[i] == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" does not exist", name)));
	}
	return n;
}

/* One value of the current row: text -> the sink's slot. */
static void
test_set(LdrSink *sink, TestInput *input, AttrNumber attnum, Datum value, bool isnull)
{
	MemoryContext oldcxt;
	char	   *string;

	sink->absent[attnum - 1] = false;
	sink->slot->tts_isnull[attnum - 1] = true;
	if (isnull)
		return;
	string = TextDatumGetCString(value);
	if (strcmp(string, TEST_ABSENT) == 0)
		sink->absent[attnum - 1] = true;
	else
	{
		oldcxt = MemoryContextSwitchTo(sink->batch_cxt);
		sink->slot->tts_values[attnum - 1] =
			InputFunctionCall(&input->fn, string, input->ioparam, input->typmod);
		sink->slot->tts_isnull[attnum - 1] = false;
		MemoryContextSwitchTo(oldcxt);
		sink->batch_bytes += strlen(string);
	}
	pfree(string);
}

static void
test_put_rows(LdrSink *sink, ArrayType *data)
{
	TestInput  *inputs = palloc0(sizeof(TestInput) * (sink->nattrs + 1));
	Datum	   *values;
	bool	   *nulls;
	int			n;
	int			width = ARR_NDIM(data) == 2 ? ARR_DIMS(data)[1] : 1;

	for (int i = 0; i < sink->nattrs; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(sink->rel), sink->attnums[i] - 1);
		Oid			fn;

		getTypeInputInfo(att->atttypid, &fn, &inputs[i].ioparam);
		fmgr_info(fn, &inputs[i].fn);
		inputs[i].typmod = att->atttypmod;
	}
	deconstruct_array(data, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int row = 0; row * width < n; row++)
	{
		/* An error of the input function is of this line; the sink knows only its own errors. */
		sink->line = row + 1;
		sink->error_line = sink->line;
		for (int i = 0; i < sink->nattrs && i < width; i++)
			test_set(sink, &inputs[i], sink->attnums[i], values[row * width + i],
					 nulls[row * width + i]);
		ldr_sink_put(sink);
	}
}

/* Raise the current error again, with the line in its detail. */
static void
test_rethrow(LdrSink *sink, MemoryContext cxt)
{
	ErrorData  *error;
	const char *sep;

	MemoryContextSwitchTo(cxt);
	error = CopyErrorData();
	FlushErrorState();
	sep = error->detail ? " " : "";
	if (error->detail == NULL)
		error->detail = "";
	if (sink == NULL)
		error->detail = psprintf("%s%sNo line.", error->detail, sep);
	else if (sink->error_line > 0)
		error->detail = psprintf("%s%sLine %lld.", error->detail, sep,
								 (long long) sink->error_line);
	else
		error->detail = psprintf("%s%sLines %lld to %lld.", error->detail, sep,
								 (long long) sink->first_line, (long long) sink->line);
	ReThrowError(error);
}

Datum
sink_load(PG_FUNCTION_ARGS)
{
	MemoryContext cxt = CurrentMemoryContext;
	Relation	rel = relation_open(PG_GETARG_OID(0), RowExclusiveLock);
	LdrSink    *volatile sink = NULL;
	const char *volatile reason = NULL;
	uint64		inserted = 0;
	const char *name = NULL;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	PG_TRY();
	{
		AttrNumber *attnums;
		const char *why = NULL;
		LdrSinkKind kind = test_kind(rel, text_to_cstring(PG_GETARG_TEXT_PP(1)), &why);
		int			nattrs = test_columns(rel, PG_GETARG_ARRAYTYPE_P(2), &attnums);

		reason = why;
		sink = ldr_sink_open(rel, NULL, kind, attnums, nattrs);
		name = sink->ops->name;
		test_put_rows(sink, PG_GETARG_ARRAYTYPE_P(3));
		/* The number is final only when all is written, and the sink is gone after close. */
		sink->ops->flush(sink);
		inserted = sink->inserted;
		ldr_sink_close(sink);
	}
	PG_CATCH();
	{
		test_rethrow(sink, cxt);
	}
	PG_END_TRY();
	relation_close(rel, NoLock);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum((int64) inserted);
	values[1] = CStringGetTextDatum(name);
	nulls[2] = reason == NULL;
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(reason);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
sink_generate(PG_FUNCTION_ARGS)
{
	Relation	rel = relation_open(PG_GETARG_OID(0), RowExclusiveLock);
	int64		n = PG_GETARG_INT64(2);
	AttrNumber	attnums[] = {1, 2, 3};
	const char *reason;
	LdrSinkKind kind = test_kind(rel, text_to_cstring(PG_GETARG_TEXT_PP(1)), &reason);
	LdrSink    *sink = ldr_sink_open(rel, NULL, kind, attnums, 3);

	for (int64 i = 0; i < n; i++)
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(sink->batch_cxt);
		char		buf[32];

		CHECK_FOR_INTERRUPTS();
		sink->line = i + 1;
		snprintf(buf, sizeof(buf), "row number %lld", (long long) i);
		sink->slot->tts_values[0] = Int64GetDatum(i);
		sink->slot->tts_values[1] = Int32GetDatum((int32) (i % 1000));
		sink->slot->tts_values[2] = CStringGetTextDatum(buf);
		memset(sink->slot->tts_isnull, false, 3);
		MemoryContextSwitchTo(oldcxt);
		sink->batch_bytes += 32;
		ldr_sink_put(sink);
	}
	ldr_sink_close(sink);
	relation_close(rel, NoLock);
	PG_RETURN_INT64(n);
}

Datum
sink_index_memory(PG_FUNCTION_ARGS)
{
	ldr_index_memory = PG_GETARG_INT32(0);
	PG_RETURN_VOID();
}
