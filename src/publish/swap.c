/*
 * publish/swap.c: put a loaded swap heap in place of a target table. Owns no job state.
 *
 * All of it is one transaction, in two parts:
 *
 *	prepare		ShareUpdateExclusiveLock on the target. Nobody changes its definition, vacuums or
 *				analyzes it; everybody reads and writes. What needs no stronger lock is done here:
 *				comparing, pairing indexes, statistics, the options of the new TOAST table. Others
 *				see none of it before the commit.
 *	exchange	AccessExclusiveLock. The rows of pg_class exchange what describes the storage; then
 *				the heap, which has the old storage now, is dropped.
 *
 * A crash or an abort leaves the target as it was and the heap, too: it can be used again.
 *
 * TOAST is exchanged by link: values in the new rows name the TOAST table that they were written
 * to, so this table comes along with them and takes over name and options of the old one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/toast_internals.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_statistic.h"
#include "commands/tablecmds.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "fault.h"
#include "publish/swap.h"
#include "publish/swap_internal.h"

/* Two relations that exchange their storage. */
typedef struct SwapPair
{
	Oid			target;
	Oid			heap;
} SwapPair;

struct LdrSwap
{
	SwapPair	table;
	SwapPair	toast;			/* either may be InvalidOid: the target may have dropped columns */
	int			nindexes;
	SwapPair   *indexes;
};

/* The heap cannot be used for this target any more; whoever sees 40001 plans again. */
static void
__attribute__((noreturn))
swap_stale(Oid target, const char *reason)
{
	const char *name = get_rel_name(target);

	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("cannot swap the loaded rows into table \"%s\"", name ? name : "(dropped)"),
			 errdetail("Since they were loaded, something has changed: %s.", reason)));
}

/* The key of each of the table's indexes, and their OIDs in *oids, both in the same order. */
static List *
swap_index_keys(Relation rel, List **oids)
{
	List	   *keys = NIL;
	ListCell   *lc;

	*oids = RelationGetIndexList(rel);
	foreach(lc, *oids)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		keys = lappend(keys, ldr_swap_index_key(index));
		index_close(index, AccessShareLock);
	}
	return keys;
}

/* Find a copy for each index of the target. Of two that are alike, either will do. */
static void
swap_pair_indexes(LdrSwap *swap, Relation target, Relation heap)
{
	List	   *target_oids,
			   *heap_oids;
	List	   *target_keys = swap_index_keys(target, &target_oids);
	List	   *heap_keys = swap_index_keys(heap, &heap_oids);

	if (list_length(target_oids) != list_length(heap_oids))
		swap_stale(swap->table.target, "the indexes of the table");
	swap->indexes = palloc0(sizeof(SwapPair) * (list_length(target_oids) + 1));
	for (int t = 0; t < list_length(target_oids); t++)
	{
		int			h = 0;

		while (h < list_length(heap_oids) &&
			   (!OidIsValid(list_nth_oid(heap_oids, h)) ||
				strcmp(list_nth(target_keys, t), list_nth(heap_keys, h)) != 0))
			h++;
		if (h == list_length(heap_oids))
			swap_stale(swap->table.target, "the indexes of the table");
		swap->indexes[swap->nindexes].target = list_nth_oid(target_oids, t);
		swap->indexes[swap->nindexes++].heap = list_nth_oid(heap_oids, h);
		lfirst_oid(list_nth_cell(heap_oids, h)) = InvalidOid;	/* taken */
	}
}

/* Let the target have the statistics of the heap instead of its own. */
static void
swap_carry_statistics(const SwapPair *pair)
{
	Relation	rel = table_open(StatisticRelationId, RowExclusiveLock);
	Datum		values[Natts_pg_statistic] = {0};
	bool		nulls[Natts_pg_statistic] = {0};
	bool		replace[Natts_pg_statistic] = {0};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	RemoveStatistics(pair->target, 0);
	values[Anum_pg_statistic_starelid - 1] = ObjectIdGetDatum(pair->target);
	replace[Anum_pg_statistic_starelid - 1] = true;
	ScanKeyInit(&key, Anum_pg_statistic_starelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(pair->heap));
	scan = systable_beginscan(rel, StatisticRelidAttnumInhIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		HeapTuple	copy = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace);

		CatalogTupleInsert(rel, copy);
		heap_freetuple(copy);
	}
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	RemoveStatistics(pair->heap, 0);	/* one thing less to do when the heap is dropped */
}

/*
 * The new TOAST table gets the options of the old one as they are now, and is no longer that of
 * a rewrite. Its name has to wait until the old one is gone.
 */
static void
swap_prepare_toast(const SwapPair *toast)
{
	Relation	rel = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	source = SearchSysCache1(RELOID, ObjectIdGetDatum(toast->target));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(toast->heap));
	Datum		values[Natts_pg_class] = {0};
	bool		nulls[Natts_pg_class] = {0};
	bool		replace[Natts_pg_class] = {0};
	HeapTuple	changed;

	if (!HeapTupleIsValid(source) || !HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for TOAST table %u or %u", toast->target, toast->heap);
	values[Anum_pg_class_reloptions - 1] =
		SysCacheGetAttr(RELOID, source, Anum_pg_class_reloptions,
						&nulls[Anum_pg_class_reloptions - 1]);
	replace[Anum_pg_class_reloptions - 1] = true;
	values[Anum_pg_class_relrewrite - 1] = ObjectIdGetDatum(InvalidOid);
	replace[Anum_pg_class_relrewrite - 1] = true;
	changed = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace);
	CatalogTupleUpdate(rel, &tuple->t_self, changed);
	heap_freetuple(changed);
	ReleaseSysCache(source);
	ReleaseSysCache(tuple);
	table_close(rel, RowExclusiveLock);
}

/* Open the heap and lock all that belongs to it; nobody else has business there. */
static Relation
swap_open_heap(Oid target, Oid heap)
{
	Relation	rel = try_relation_open(heap, AccessExclusiveLock);
	List	   *indexes;
	ListCell   *lc;

	if (rel == NULL)
		swap_stale(target, "the swap heap is gone");
	if (RelationGetNamespace(rel) != get_namespace_oid(LDR_SWAP_SCHEMA, false) ||
		rel->rd_rel->relkind != RELKIND_RELATION)
		elog(ERROR, "relation %u is not a swap heap", heap);
	indexes = RelationGetIndexList(rel);
	foreach(lc, indexes)
		LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
	list_free(indexes);
	if (OidIsValid(rel->rd_rel->reltoastrelid))
	{
		LockRelationOid(rel->rd_rel->reltoastrelid, AccessExclusiveLock);
		(void) toast_get_valid_index(rel->rd_rel->reltoastrelid, AccessExclusiveLock);
	}
	return rel;
}

/*
 * Has the heap the columns that the rows will be read by? Since it was filled it has been a table
 * that its owner can change, if he has been let into the schema.
 */
static bool
swap_same_columns(TupleDesc target, TupleDesc heap)
{
	if (target->natts != heap->natts)
		return false;
	for (int i = 0; i < target->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(target, i);
		Form_pg_attribute b = TupleDescAttr(heap, i);

		if (a->attisdropped != b->attisdropped || a->atttypid != b->atttypid ||
			a->attlen != b->attlen || a->attalign != b->attalign)
			return false;
	}
	return true;
}

LdrSwap *
ldr_swap_prepare(Oid target, Oid heap, int64 fingerprint)
{
	LdrSwap    *swap = palloc0(sizeof(LdrSwap));
	Relation	target_rel = try_relation_open(target, ShareUpdateExclusiveLock);
	Relation	heap_rel;
	const char *reason;

	if (target_rel == NULL)
		swap_stale(target, "the table is gone");
	heap_rel = swap_open_heap(target, heap);
	if (ldr_swap_choose(target_rel, &reason) != LDR_REPLACE_SWAP)
		swap_stale(target, reason);
	/* What of its storage needs WAL is known by transaction: exchanged, it would not be. */
	if (ldr_relation_is_new(target_rel))
		swap_stale(target, "the storage of the table");
	if (ldr_swap_fingerprint(target_rel) != fingerprint)
		swap_stale(target, "columns, constraints or indexes of the table");
	if (!swap_same_columns(RelationGetDescr(target_rel), RelationGetDescr(heap_rel)))
		swap_stale(target, "the columns of the swap heap");

	swap->table.target = target;
	swap->table.heap = heap;
	swap->toast.target = target_rel->rd_rel->reltoastrelid;
	swap->toast.heap = heap_rel->rd_rel->reltoastrelid;
	LDR_FAULT("swap: heap checked");
	swap_pair_indexes(swap, target_rel, heap_rel);
	LDR_FAULT("swap: indexes paired");
	swap_carry_statistics(&swap->table);
	for (int i = 0; i < swap->nindexes; i++)
		swap_carry_statistics(&swap->indexes[i]);
	LDR_FAULT("swap: statistics carried");
	if (OidIsValid(swap->toast.target) && OidIsValid(swap->toast.heap))
		swap_prepare_toast(&swap->toast);
	LDR_FAULT("swap: TOAST prepared");
	relation_close(heap_rel, NoLock);
	relation_close(target_rel, NoLock);
	CommandCounterIncrement();
	return swap;
}

List *
ldr_swap_relations(const LdrSwap *swap)
{
	List	   *relids = list_make1_oid(swap->table.target);

	for (int i = 0; i < swap->nindexes; i++)
		relids = lappend_oid(relids, swap->indexes[i].target);
	if (OidIsValid(swap->toast.target))
	{
		relids = lappend_oid(relids, swap->toast.target);
		relids = lappend_oid(relids, toast_get_valid_index(swap->toast.target, AccessShareLock));
	}
	return relids;
}

/* What a lock on the target does not keep still. */
static void
swap_recheck(Relation target)
{
	const char *reason;

	/*
	 * A logical slot that is being made waits for all running transactions, of which this is one
	 * as soon as it has its id: it either shows here or begins after the swap.
	 */
	(void) GetCurrentTransactionId();
	reason = ldr_swap_decoded(target);
	if (reason)
		swap_stale(RelationGetRelid(target), reason);
}

#define SWAP_FIELD(type, field) \
	do { type tmp_ = a->field; a->field = b->field; b->field = tmp_; } while (0)

/* What two rows of pg_class say of the storage. */
static void
swap_class_fields(Form_pg_class a, Form_pg_class b)
{
	SWAP_FIELD(Oid, relfilenode);
	SWAP_FIELD(Oid, reltablespace);
	SWAP_FIELD(Oid, reltoastrelid);
	SWAP_FIELD(int32, relpages);
	SWAP_FIELD(float4, reltuples);
	SWAP_FIELD(int32, relallvisible);
	SWAP_FIELD(TransactionId, relfrozenxid);
	SWAP_FIELD(TransactionId, relminmxid);
	ldr_exchange_all_frozen(a, b);
}

/*
 * Note for both in the relcache whose storage is of this transaction: what it need not log. The
 * target's is not, see ldr_swap_prepare; the heap's is if the heap is.
 */
static void
swap_new_storage(Relation target, Relation heap)
{
	if (!ldr_relation_is_new(heap))
		return;
	ldr_forget_new_storage(heap);
	ldr_assume_new_storage(target);
}

/* Exchange the storage of two tables or indexes, in pg_class and in what this session caches. */
static void
swap_storage(Relation class_rel, Relation target, Relation heap)
{
	HeapTuple	a = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(RelationGetRelid(target)));
	HeapTuple	b = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(RelationGetRelid(heap)));

	if (!HeapTupleIsValid(a) || !HeapTupleIsValid(b))
		elog(ERROR, "cache lookup failed for relation %u or %u", RelationGetRelid(target),
			 RelationGetRelid(heap));
	/* Predicate locks are on pages and rows that are no more; that on the whole table stays. */
	TransferPredicateLocksToHeapRelation(target);
	swap_class_fields((Form_pg_class) GETSTRUCT(a), (Form_pg_class) GETSTRUCT(b));
	swap_new_storage(target, heap);
	CatalogTupleUpdate(class_rel, &a->t_self, a);
	CatalogTupleUpdate(class_rel, &b->t_self, b);
	heap_freetuple(a);
	heap_freetuple(b);
}

static void
swap_close_storage(const SwapPair *pair)
{
	ldr_close_storage(pair->target);
	ldr_close_storage(pair->heap);
}

/*
 * The old index may have been unusable for old snapshots, because of rows that were updated
 * while it was built. In the new one are no such rows.
 */
static void
swap_clear_checkxmin(Oid index)
{
	HeapTuple	tuple = SearchSysCacheCopy1(INDEXRELID, ObjectIdGetDatum(index));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	if (((Form_pg_index) GETSTRUCT(tuple))->indcheckxmin)
	{
		Relation	rel = table_open(IndexRelationId, RowExclusiveLock);

		((Form_pg_index) GETSTRUCT(tuple))->indcheckxmin = false;
		CatalogTupleUpdate(rel, &tuple->t_self, tuple);
		table_close(rel, RowExclusiveLock);
	}
	heap_freetuple(tuple);
}

static void
swap_index(Relation class_rel, const SwapPair *pair)
{
	Relation	target = index_open(pair->target, AccessExclusiveLock);
	Relation	heap = index_open(pair->heap, AccessExclusiveLock);

	CheckTableNotInUse(target, "swap");
	swap_storage(class_rel, target, heap);
	index_close(heap, NoLock);
	index_close(target, NoLock);
	LDR_FAULT("swap: an index exchanged");
	swap_clear_checkxmin(pair->target);
}

/* A TOAST table now belongs to another table. */
static void
swap_toast_owner(Oid toast, Oid from, Oid to)
{
	if (OidIsValid(toast) &&
		changeDependencyFor(RelationRelationId, toast, RelationRelationId, from, to) != 1)
		elog(ERROR, "TOAST table %u does not depend on table %u alone", toast, from);
}

static void
swap_table(LdrSwap *swap)
{
	Relation	target = table_open(swap->table.target, AccessExclusiveLock);
	Relation	heap = table_open(swap->table.heap, AccessExclusiveLock);
	Relation	class_rel = table_open(RelationRelationId, RowExclusiveLock);

	CheckTableNotInUse(target, "swap");
	CheckTableNotInUse(heap, "swap");
	swap_recheck(target);
	CheckTableForSerializableConflictIn(target);
	LDR_FAULT("swap: checked again");
	swap_storage(class_rel, target, heap);
	LDR_FAULT("swap: table exchanged");
	for (int i = 0; i < swap->nindexes; i++)
		swap_index(class_rel, &swap->indexes[i]);
	LDR_FAULT("swap: indexes exchanged");
	swap_toast_owner(swap->toast.target, swap->table.target, swap->table.heap);
	LDR_FAULT("swap: old TOAST given away");
	swap_toast_owner(swap->toast.heap, swap->table.heap, swap->table.target);
	LDR_FAULT("swap: new TOAST taken");
	RelationClearMissing(target);	/* all new rows have all columns */
	InvokeObjectPostAlterHook(RelationRelationId, swap->table.target, 0);
	table_close(class_rel, RowExclusiveLock);
	table_close(heap, NoLock);
	table_close(target, NoLock);

	LDR_FAULT("swap: before storage is closed");
	swap_close_storage(&swap->table);
	for (int i = 0; i < swap->nindexes; i++)
		swap_close_storage(&swap->indexes[i]);
	CommandCounterIncrement();
}

/* The new TOAST table is called like the old one, which must be gone. */
static void
swap_rename_toast(LdrSwap *swap)
{
	Oid			index;
	char		name[NAMEDATALEN];

	if (!OidIsValid(swap->toast.heap))
		return;
	index = toast_get_valid_index(swap->toast.heap, AccessExclusiveLock);
	snprintf(name, sizeof(name), "pg_toast_%u", swap->table.target);
	RenameRelationInternal(swap->toast.heap, name, true, false);
	LDR_FAULT("swap: TOAST renamed");
	snprintf(name, sizeof(name), "pg_toast_%u_index", swap->table.target);
	RenameRelationInternal(index, name, true, true);
	CommandCounterIncrement();
}

void
ldr_swap_exchange(LdrSwap *swap)
{
	/* GRANT takes no lock; what it has committed by now is seen. */
	AcceptInvalidationMessages();
	swap_table(swap);
	LDR_FAULT("swap: made");
	ldr_swap_drop(swap->table.heap);
	LDR_FAULT("swap: old storage dropped");
	swap_rename_toast(swap);
}

/*
 * The new rows were never counted, and autovacuum goes by the counts. Extended statistics are of
 * the old rows still; to have them counted is ANALYZE's business.
 */
void
ldr_swap_report(Oid target)
{
	Relation	rel = try_relation_open(target, AccessShareLock);
	PgStat_Counter live;
	bool		extended;

	if (rel == NULL)
		return;
	LDR_FAULT("swap: to be reported");
	live = (PgStat_Counter) Max(rel->rd_rel->reltuples, 0);
	/* all rows are frozen, so those inserted before the swap need no vacuum any more */
	ldr_report_vacuum(rel, live);
	ldr_report_analyze(rel, live);
	extended = RelationGetStatExtList(rel) != NIL;
	relation_close(rel, AccessShareLock);
	/* whoever has this lock now is likely to do just that, and we are not here to wait */
	if (extended && ConditionalLockRelationOid(target, ShareUpdateExclusiveLock))
		ldr_swap_analyze(target);
}
