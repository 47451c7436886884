/* loader_swap_test.c: drive the swap from SQL. */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "publish/swap.h"
#include "sink/storage.h"

PG_FUNCTION_INFO_V1(swap_choose);
PG_FUNCTION_INFO_V1(sink_fill);
PG_FUNCTION_INFO_V1(sink_index);
PG_FUNCTION_INFO_V1(swap_make);
PG_FUNCTION_INFO_V1(swap_exchange);
PG_FUNCTION_INFO_V1(swap_relations);
PG_FUNCTION_INFO_V1(swap_report);
PG_FUNCTION_INFO_V1(swap_drop);
PG_FUNCTION_INFO_V1(swap_heaps);

#define TEST_PACKAGE 1
#define TEST_FETCH 1000

static Datum
test_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

Datum
swap_choose(PG_FUNCTION_ARGS)
{
	static const char *const ways[] = {"swap", "diff", "refill"};
	Relation	rel = relation_open(PG_GETARG_OID(0), AccessShareLock);
	const char *reason;
	LdrReplaceWay way = ldr_swap_choose(rel, &reason);
	Datum		values[2] = {CStringGetTextDatum(ways[way])};
	bool		nulls[2] = {false, reason == NULL};

	if (reason)
		values[1] = CStringGetTextDatum(reason);
	relation_close(rel, AccessShareLock);
	return test_row(fcinfo, values, nulls);
}

/* The row that SPI fetched -> the sink's slot. */
static void
test_put(LdrSink *sink, HeapTuple tuple, TupleDesc desc)
{
	MemoryContext old = MemoryContextSwitchTo(sink->batch_cxt);

	for (int i = 0; i < sink->nattrs; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AttrNumber	attnum = sink->attnums[i];
		bool		isnull;
		Datum		value = SPI_getbinval(tuple, desc, i + 1, &isnull);

		if (att->atttypid != getBaseType(TupleDescAttr(RelationGetDescr(sink->rel),
													   attnum - 1)->atttypid))
			elog(ERROR, "column %d has another type", i + 1);
		sink->slot->tts_isnull[attnum - 1] = isnull;
		if (!isnull)
			sink->slot->tts_values[attnum - 1] = datumCopy(value, att->attbyval, att->attlen);
		sink->batch_bytes += isnull ? 0 : datumGetSize(value, att->attbyval, att->attlen);
	}
	MemoryContextSwitchTo(old);
	sink->line++;
	ldr_sink_put(sink);
}

/* As a job would: one sink for one query. */
static void
test_fill(Relation rel, Relation heap, LdrSinkKind kind, AttrNumber *attnums, int nattrs,
		  const char *query)
{
	LdrSink    *sink;
	SPIPlanPtr	plan;
	Portal		portal;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	sink = ldr_sink_open(rel, heap, kind, attnums, nattrs);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, TEST_FETCH);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
			test_put(sink, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	ldr_sink_close(sink);
	SPI_finish();
}

static int
test_texts(ArrayType *array, char ***texts)
{
	Datum	   *datums;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &datums, NULL, &n);
	*texts = palloc(sizeof(char *) * (n + 1));
	for (int i = 0; i < n; i++)
		(*texts)[i] = TextDatumGetCString(datums[i]);
	return n;
}

Datum
sink_fill(PG_FUNCTION_ARGS)
{
	Relation	rel = table_open(PG_GETARG_OID(0), RowExclusiveLock);
	Relation	into = PG_ARGISNULL(1) ? NULL : table_open(PG_GETARG_OID(1), AccessExclusiveLock);
	const char *use = text_to_cstring(PG_GETARG_TEXT_PP(2));
	bool		builds_indexes = PG_GETARG_BOOL(3);
	LdrSinkKind kind = into ? LDR_SINK_SWAP : LDR_SINK_HEAP;
	char	  **queries;
	int			n = test_texts(PG_GETARG_ARRAYTYPE_P(4), &queries);
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * RelationGetNumberOfAttributes(rel));
	int			nattrs = 0;

	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
		if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped &&
			TupleDescAttr(RelationGetDescr(rel), i)->attgenerated == '\0')
			attnums[nattrs++] = i + 1;
	ldr_storage_use = strcmp(use, "on") == 0 ? LDR_STORAGE_ON : LDR_STORAGE_OFF;
	kind = ldr_storage_choose(kind, rel, into, 0, builds_indexes);
	for (int i = 0; i < n; i++)
		test_fill(rel, into, kind, attnums, nattrs, queries[i]);
	if (into)
		table_close(into, NoLock);
	table_close(rel, NoLock);
	PG_RETURN_TEXT_P(cstring_to_text(kind == LDR_SINK_STORAGE ? "storage"
									 : kind == LDR_SINK_SWAP ? "swap heap" : "heap"));
}

Datum
sink_index(PG_FUNCTION_ARGS)
{
	ldr_storage_index(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

Datum
swap_make(PG_FUNCTION_ARGS)
{
	Relation	rel = table_open(PG_GETARG_OID(0), AccessShareLock);
	Oid			heap_id = ldr_swap_make(rel, TEST_PACKAGE);
	Relation	heap = table_open(heap_id, AccessExclusiveLock);
	char	  **names,
			  **queries;
	int			nattrs = test_texts(PG_GETARG_ARRAYTYPE_P(1), &names);
	int			nqueries = test_texts(PG_GETARG_ARRAYTYPE_P(2), &queries);
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * (nattrs + 1));
	Datum		values[2];
	bool		nulls[2] = {false, false};

	for (int i = 0; i < nattrs; i++)
		attnums[i] = get_attnum(RelationGetRelid(rel), names[i]);
	for (int i = 0; i < nqueries; i++)
		test_fill(rel, heap, LDR_SINK_SWAP, attnums, nattrs, queries[i]);
	table_close(heap, NoLock);
	ldr_swap_complete(rel, heap_id);
	values[0] = ObjectIdGetDatum(heap_id);
	values[1] = Int64GetDatum(ldr_swap_fingerprint(rel));
	table_close(rel, NoLock);
	return test_row(fcinfo, values, nulls);
}

Datum
swap_exchange(PG_FUNCTION_ARGS)
{
	Oid			target = PG_GETARG_OID(0);
	LdrSwap    *swap;
	ListCell   *lc;
	TimestampTz begin;

	LockRelationOid(target, ShareUpdateExclusiveLock);
	swap = ldr_swap_prepare(target, PG_GETARG_OID(1), PG_GETARG_INT64(2));
	foreach(lc, ldr_swap_relations(swap))
		LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
	begin = GetCurrentTimestamp();
	ldr_swap_exchange(swap);
	PG_RETURN_FLOAT8((GetCurrentTimestamp() - begin) / 1000.0);
}

Datum
swap_relations(PG_FUNCTION_ARGS)
{
	Oid			target = PG_GETARG_OID(0);
	ArrayBuildState *array = initArrayResult(REGCLASSOID, CurrentMemoryContext, false);
	ListCell   *lc;

	LockRelationOid(target, ShareUpdateExclusiveLock);
	foreach(lc, ldr_swap_relations(ldr_swap_prepare(target, PG_GETARG_OID(1),
												   PG_GETARG_INT64(2))))
		array = accumArrayResult(array, ObjectIdGetDatum(lfirst_oid(lc)), false, REGCLASSOID,
								 CurrentMemoryContext);
	PG_RETURN_DATUM(makeArrayResult(array, CurrentMemoryContext));
}

Datum
swap_report(PG_FUNCTION_ARGS)
{
	ldr_swap_report(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

Datum
swap_drop(PG_FUNCTION_ARGS)
{
	ldr_swap_drop(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

Datum
swap_heaps(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(list_length(ldr_swap_heaps()));
}
