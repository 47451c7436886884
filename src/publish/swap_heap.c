/*
 * publish/swap_heap.c: the swap heap before it is exchanged: made, indexed, analyzed, dropped.
 *
 * A swap heap is an ordinary table in the schema loader_swap, with the physical columns of its
 * target (dropped ones included) and without anything else that the target has: constraints and
 * defaults are the sink's business, which asks the target for them. Its owner is the target's, so
 * that index expressions and ANALYZE run as who they would run as there.
 *
 * An index copy need not say all that the original says, as only its storage is taken over: it
 * is never a constraint. What a constraint demands is checked when the copy is built.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/toasting.h"
#include "commands/vacuum.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/backend_progress.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "fault.h"
#include "publish/swap.h"
#include "publish/swap_internal.h"
#include "sink/storage.h"

/* The reloptions of a relation, as its row in pg_class has them; a copy, or 0. */
static Datum
heap_options(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Datum		options;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	options = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_reloptions, &isnull);
	options = isnull ? (Datum) 0 : datumCopy(options, false, -1);
	ReleaseSysCache(tuple);
	return options;
}

/*
 * The target's options shape the pages (fillfactor). Autovacuum would only be in the way: the
 * rows are frozen, and the statistics are made here. The option stays with the heap's row in
 * pg_class, which is not what the target takes over.
 */
static Datum
heap_storage_options(Oid target)
{
	DefElem    *off = makeDefElem("autovacuum_enabled", (Node *) makeString("false"), -1);

	return transformRelOptions(heap_options(target), list_make1(off), NULL, NULL, false, false);
}

/*
 * What creating a table does not take from a row type: attstattarget and attoptions of each
 * column, which ANALYZE looks at. The columns' numbers are the same.
 */
static void
heap_copy_column_settings(Oid from, Oid to, int natts)
{
	Relation	rel = table_open(AttributeRelationId, RowExclusiveLock);
	static const int settings[] = {Anum_pg_attribute_attstattarget, Anum_pg_attribute_attoptions};
	Datum		values[Natts_pg_attribute] = {0};
	bool		nulls[Natts_pg_attribute] = {0};
	bool		replace[Natts_pg_attribute] = {0};

	for (int attnum = 1; attnum <= natts; attnum++)
	{
		HeapTuple	source = SearchSysCache2(ATTNUM, ObjectIdGetDatum(from),
											 Int16GetDatum(attnum));
		HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(to), Int16GetDatum(attnum));
		HeapTuple	changed;

		if (!HeapTupleIsValid(source) || !HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for attribute %d of relation %u", attnum, from);
		for (int i = 0; i < lengthof(settings); i++)
		{
			replace[settings[i] - 1] = true;
			values[settings[i] - 1] = SysCacheGetAttr(ATTNUM, source, settings[i],
													  &nulls[settings[i] - 1]);
		}
		changed = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace);
		/* Most columns have none, and then there is nothing to write. */
		if (changed->t_len != tuple->t_len ||
			memcmp(changed->t_data->t_bits, tuple->t_data->t_bits,
				   tuple->t_len - offsetof(HeapTupleHeaderData, t_bits)) != 0)
			CatalogTupleUpdate(rel, &tuple->t_self, changed);
		heap_freetuple(changed);
		ReleaseSysCache(source);
		ReleaseSysCache(tuple);
	}
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

static Oid
heap_namespace(void)
{
	return get_namespace_oid(LDR_SWAP_SCHEMA, false);
}

/*
 * relrewrite is set as for a rewrite by the server: should a logical slot appear while the heap
 * is being filled, its rows are not decoded.
 */
static Oid
heap_make(Relation target, char *name)
{
	Oid			relid = RelationGetRelid(target);
	Oid			nsp = heap_namespace();
	Oid			toast = target->rd_rel->reltoastrelid;
	Oid			heap = get_relname_relid(name, nsp);

	if (OidIsValid(heap))		/* left over from an earlier attempt */
		ldr_swap_drop(heap);
	heap = heap_create_with_catalog(name, nsp, target->rd_rel->reltablespace, InvalidOid,
									InvalidOid, InvalidOid, target->rd_rel->relowner,
									target->rd_rel->relam, RelationGetDescr(target), NIL,
									RELKIND_RELATION, target->rd_rel->relpersistence, false,
									false, ONCOMMIT_NOOP, heap_storage_options(relid), false,
									true, true, relid, NULL);
	CommandCounterIncrement();
	LDR_FAULT("heap: made");
	LockRelationOid(heap, AccessExclusiveLock);
	if (OidIsValid(toast))
		NewHeapCreateToastTable(heap, heap_options(toast), AccessExclusiveLock, toast);
	LDR_FAULT("heap: has its TOAST");
	heap_copy_column_settings(relid, heap, RelationGetNumberOfAttributes(target));
	return heap;
}

Oid
ldr_swap_make(Relation target, int64 package_id)
{
	return heap_make(target, psprintf("swap_" INT64_FORMAT "_%u", package_id,
									  RelationGetRelid(target)));
}

/* What an index like this one is made of. Exclusion operators are left for the build. */
static IndexInfo *
heap_index_info(Relation index)
{
	IndexInfo  *info = BuildIndexInfo(index);

	info->ii_Expressions = (List *) ldr_swap_index_node(index, Anum_pg_index_indexprs);
	info->ii_Predicate =
		make_ands_implicit((Expr *) ldr_swap_index_node(index, Anum_pg_index_indpred));
	return info;
}

/* Options of the operator classes, NULL if there are none. */
static Datum *
heap_class_options(Relation index)
{
	Datum	   *options = palloc0(sizeof(Datum) * index->rd_index->indnatts);
	bool		any = false;

	for (int i = 0; i < index->rd_index->indnatts; i++)
	{
		options[i] = get_attoptions(RelationGetRelid(index), i + 1);
		any |= options[i] != (Datum) 0;
	}
	return any ? options : NULL;
}

static char *
heap_index_name(Relation heap, Oid index)
{
	return psprintf("swap_%u_%u", RelationGetRelid(heap), index);
}

/* Make an empty copy of the target's index on the heap. *info is what to build it with. */
static Oid
heap_create_index(Relation heap, Relation index, IndexInfo *info)
{
	HeapTuple	tuple = index->rd_indextuple;
	IndexInfo	bare = *info;
	List	   *columns = NIL;
	bool		isnull;
	oidvector  *classes;
	int2vector *options;
	char	   *name;
	Oid			copy;

	for (int i = 0; i < index->rd_index->indnatts; i++)
		columns = lappend(columns, NameStr(TupleDescAttr(RelationGetDescr(index), i)->attname));
	classes = (oidvector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, tuple,
															Anum_pg_index_indclass, &isnull));
	options = (int2vector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, tuple,
															 Anum_pg_index_indoption, &isnull));
	/* Else the index would claim a constraint that it does not have. */
	bare.ii_ExclusionOps = NULL;
	bare.ii_ExclusionProcs = NULL;
	bare.ii_ExclusionStrats = NULL;
	name = heap_index_name(heap, RelationGetRelid(index));
	copy = ldr_index_create(heap, name, &bare, columns, index->rd_rel->relam,
							index->rd_rel->reltablespace, index->rd_indcollation, classes->values,
							heap_class_options(index), options->values,
							heap_options(RelationGetRelid(index)));
	heap_copy_column_settings(RelationGetRelid(index), copy, index->rd_index->indnatts);
	return copy;
}

/* Text with each "from" in it replaced. */
static char *
heap_replace(const char *text, const char *from, const char *to)
{
	StringInfoData buf;
	const char *hit;

	initStringInfo(&buf);
	while ((hit = strstr(text, from)) != NULL)
	{
		appendBinaryStringInfo(&buf, text, hit - text);
		appendStringInfoString(&buf, to);
		text = hit + strlen(from);
	}
	appendStringInfoString(&buf, text);
	return buf.data;
}

/* How messages call a copy, and how they are to call it. */
typedef struct HeapNames
{
	const char *schema;			/* of the target */
	const char *table;
	const char *index;
	const char *heap;
	const char *copy;
} HeapNames;

static char *
heap_rename(const char *message, const HeapNames *names)
{
	if (message == NULL)
		return NULL;
	return heap_replace(heap_replace(message, names->copy, names->index), names->heap,
						names->table);
}

/* Say the error of a copy as if the rows had been put into the target. */
static void
heap_say(const HeapNames *names, ErrorData *edata)
{
	if (edata->sqlerrcode == ERRCODE_UNIQUE_VIOLATION)
		edata->message = psprintf("duplicate key value violates unique constraint \"%s\"",
								  names->index);
	else if (edata->sqlerrcode == ERRCODE_EXCLUSION_VIOLATION)
		edata->message = psprintf("conflicting key value violates exclusion constraint \"%s\"",
								  names->index);
	else
	{
		edata->message = heap_rename(edata->message, names);
		edata->detail = heap_rename(edata->detail, names);
	}
	if (edata->table_name)
	{
		edata->schema_name = pstrdup(names->schema);
		edata->table_name = pstrdup(names->table);
	}
	if (edata->constraint_name)
		edata->constraint_name = pstrdup(names->index);
}

/* Sort all rows of the heap into the copy, and check what the original demands. */
static void
heap_build_index(Relation target, Relation heap, Relation index, Oid copy_id, IndexInfo *info)
{
	MemoryContext cxt = CurrentMemoryContext;
	Relation	copy = index_open(copy_id, AccessExclusiveLock);
	HeapNames	names = {
		.schema = get_namespace_name(RelationGetNamespace(target)),
		.table = RelationGetRelationName(target),
		.index = RelationGetRelationName(index),
		.heap = RelationGetRelationName(heap),
		.copy = RelationGetRelationName(copy)
	};

	ldr_cache_statistics_targets(copy, index);
	PG_TRY();
	{
		index_build(heap, copy, info, false, true);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(cxt);
		edata = CopyErrorData();
		FlushErrorState();
		heap_say(&names, edata);
		ReThrowError(edata);
	}
	PG_END_TRY();
	index_close(copy, NoLock);
}

static void
heap_copy_index(Relation target, Relation heap, Oid index_id)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader swap index",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Relation	index = index_open(index_id, AccessShareLock);
	IndexInfo  *info = heap_index_info(index);

	LDR_FAULT("heap: an index to be built");
	heap_build_index(target, heap, index, heap_create_index(heap, index, info), info);
	index_close(index, AccessShareLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

void
ldr_swap_analyze(Oid relid)
{
	VacuumParams params = {0};

	params.options = VACOPT_ANALYZE;
	params.log_min_duration = -1;
	PushActiveSnapshot(GetTransactionSnapshot());	/* functions in indexes may look at tables */
	analyze_rel(relid, NULL, &params, NIL, true, GetAccessStrategy(BAS_VACUUM));
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/*
 * The progress of building goes to counters of its own command, which ends with ANALYZE's: who
 * shows another has to begin it anew.
 */
void
ldr_swap_complete(Relation target, Oid heap)
{
	Relation	rel = table_open(heap, AccessExclusiveLock);
	List	   *indexes = RelationGetIndexList(target);
	ListCell   *lc;

	pgstat_progress_start_command(PROGRESS_COMMAND_CREATE_INDEX, RelationGetRelid(target));
	foreach(lc, indexes)
		heap_copy_index(target, rel, lfirst_oid(lc));
	pgstat_progress_end_command();
	table_close(rel, NoLock);
	LDR_FAULT("heap: indexed");
	list_free(indexes);
	ldr_swap_analyze(heap);
}

Oid
ldr_swap_make_trial(Relation target, int64 package_id)
{
	Oid			trial = heap_make(target, psprintf("trial_" INT64_FORMAT "_%u", package_id,
												   RelationGetRelid(target)));
	Relation	rel = table_open(trial, AccessExclusiveLock);
	List	   *indexes = RelationGetIndexList(target);
	ListCell   *lc;

	foreach(lc, indexes)
		heap_copy_index(target, rel, lfirst_oid(lc));
	table_close(rel, NoLock);
	list_free(indexes);
	CommandCounterIncrement();
	return trial;
}

/* The target's index that an index of the trial is a copy of; NULL: none. Opened. */
static Relation
heap_original(Relation target, Relation trial, const char *copy)
{
	List	   *indexes = RelationGetIndexList(target);
	ListCell   *lc;

	foreach(lc, indexes)
		if (strcmp(heap_index_name(trial, lfirst_oid(lc)), copy) == 0)
			return index_open(lfirst_oid(lc), AccessShareLock);
	return NULL;
}

void
ldr_swap_set_exclusion(Relation target, Relation trial, ResultRelInfo *indexes)
{
	for (int i = 0; i < indexes->ri_NumIndices; i++)
	{
		IndexInfo  *info = indexes->ri_IndexRelationInfo[i];
		const char *copy = RelationGetRelationName(indexes->ri_IndexRelationDescs[i]);
		Relation	index = heap_original(target, trial, copy);

		if (index == NULL)
			elog(ERROR, "index \"%s\" is a copy of none", copy);
		if (index->rd_index->indisexclusion)
			RelationGetExclusionInfo(index, &info->ii_ExclusionOps, &info->ii_ExclusionProcs,
									 &info->ii_ExclusionStrats);
		index_close(index, NoLock);
	}
}

void
ldr_swap_rename(Relation target, Relation heap, ErrorData *edata)
{
	List	   *indexes = RelationGetIndexList(target);
	HeapNames	names = {
		.schema = get_namespace_name(RelationGetNamespace(target)),
		.table = RelationGetRelationName(target),
		.heap = RelationGetRelationName(heap)
	};
	ListCell   *lc;

	foreach(lc, indexes)
	{
		names.index = get_rel_name(lfirst_oid(lc));
		names.copy = heap_index_name(heap, lfirst_oid(lc));
		if (names.index && strstr(edata->message, names.copy))
		{
			heap_say(&names, edata);
			return;
		}
	}
}

void
ldr_swap_fill(Relation target, Oid heap, Oid trial)
{
	Relation	into = table_open(heap, AccessExclusiveLock);
	Relation	from = table_open(trial, AccessExclusiveLock);
	TupleDesc	desc = RelationGetDescr(target);
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * Max(desc->natts, 1));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(from, snapshot, 0, NULL);
	TupleTableSlot *row = table_slot_create(from, NULL);
	LdrSinkKind kind;
	LdrSink    *sink;
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped && !TupleDescAttr(desc, i)->attgenerated)
			attnums[n++] = i + 1;
	kind = ldr_storage_choose(LDR_SINK_SWAP, target, into,
							  (uint64) RelationGetNumberOfBlocks(from) * BLCKSZ, false);
	sink = ldr_sink_open(target, into, kind, attnums, n);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		CHECK_FOR_INTERRUPTS();
		ldr_sink_put_row(sink, row, attnums);
	}
	ldr_sink_close(sink);
	ExecDropSingleTupleTableSlot(row);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(from, NoLock);
	table_close(into, NoLock);
}

/*
 * Cascades: if somebody has made a view of a table that is none of his business, his view must
 * not keep it for ever.
 */
void
ldr_swap_drop(Oid heap)
{
	ObjectAddress object;

	LockRelationOid(heap, AccessExclusiveLock);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(heap)))
		return;
	if (get_rel_namespace(heap) != heap_namespace())
		elog(ERROR, "relation %u is not a swap heap", heap);
	LDR_FAULT("heap: to be dropped");
	ObjectAddressSet(object, RelationRelationId, heap);
	performDeletion(&object, DROP_CASCADE, PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
}

bool
ldr_swap_try_drop(Oid heap)
{
	/* If its owner has dropped it, another relation may have got its number. */
	if (get_rel_namespace(heap) != heap_namespace())
		return true;
	if (!ConditionalLockRelationOid(heap, AccessExclusiveLock))
		return false;
	ldr_swap_drop(heap);
	return true;
}

List *
ldr_swap_heaps(void)
{
	Oid			nsp = get_namespace_oid(LDR_SWAP_SCHEMA, true);
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *heaps = NIL;

	if (!OidIsValid(nsp))
		return NIL;
	rel = table_open(RelationRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(nsp));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->relkind == RELKIND_RELATION)
			heaps = lappend_oid(heaps, form->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return heaps;
}
