/*
 * publish/swap_choose.c: can a table be swapped, and is it still the same one? Changes nothing.
 *
 * A swap exchanges storage. So it must not be used where somebody has to see rows come and go
 * (triggers, rules, foreign keys, logical decoding), where the storage is not all of the table
 * (partitions, children, another access method), or where not all rows are the caller's to
 * replace (row security).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_trigger.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "replication/slot.h"
#include "rewrite/prs2lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "compat.h"
#include "publish/swap.h"
#include "publish/swap_internal.h"
#include "sink/sink.h"

const char *
ldr_swap_decoded(Relation target)
{
	int			slots,
				active;

	if (GetRelationPublications(RelationGetRelid(target)) != NIL ||
		GetAllTablesPublications() != NIL ||
		ldr_schema_publications(RelationGetNamespace(target)) != NIL)
		return "table is published";
	if (ReplicationSlotsCountDBSlots(MyDatabaseId, &slots, &active))
		return "database has logical replication slots";
	return NULL;
}

/* Is the table known to Citus? Its catalog is small and has the table's OID first. */
static bool
choose_is_distributed(Relation target)
{
	Oid			catalog = get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE);
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	if (!OidIsValid(catalog))
		return false;
	rel = table_open(catalog, AccessShareLock);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(target)));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Why the relation is not a plain table all of whose rows are in its own storage; NULL: it is. */
static const char *
choose_kind(Relation target)
{
	switch (target->rd_rel->relkind)
	{
		case RELKIND_RELATION:
			break;
		case RELKIND_PARTITIONED_TABLE:
			return "table is partitioned";
		case RELKIND_FOREIGN_TABLE:
			return "table is foreign";
		case RELKIND_VIEW:
			return "table is a view";
		case RELKIND_MATVIEW:
			return "table is a materialized view";
		default:
			return "not a table";
	}
	if (target->rd_rel->relispartition)
		return "table is a partition";
	if (IsSystemRelation(target) || RelationIsMapped(target) || target->rd_rel->relisshared)
		return "table is a system catalog";
	if (target->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return "table is temporary";
	/* A crash between loading and publishing would empty the swap heap unnoticed. */
	if (target->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return "table is unlogged";
	if (target->rd_rel->relam != HEAP_TABLE_AM_OID)
		return "table has another access method than heap";
	if (OidIsValid(target->rd_rel->reloftype))
		return "table is a typed table";
	if (find_inheritance_children(RelationGetRelid(target), NoLock) != NIL)
		return "table has inheritance children";
	if (has_superclass(RelationGetRelid(target)))
		return "table inherits from another";
	if (choose_is_distributed(target))
		return "table is distributed";
	return NULL;
}

/* Why the current role may not replace all rows; NULL: it may. */
static const char *
choose_rights(Relation target)
{
	Oid			relid = RelationGetRelid(target);

	if (!ldr_is_owner(relid, GetUserId()))
		return "role does not own the table";
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return "row-level security applies";
	return NULL;
}

/* Is another table's foreign key bound to this one? (By its triggers, whether they fire or not.) */
static bool
choose_is_referenced(Relation target)
{
	for (int i = 0; target->trigdesc != NULL && i < target->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &target->trigdesc->triggers[i];

		if (RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_PK &&
			trigger->tgconstrrelid != RelationGetRelid(target))
			return true;
	}
	return false;
}

/*
 * Which rule or trigger would have something to do; NULL: none. The server's own triggers for
 * constraints that can be deferred have not: building the index checks the same.
 */
static const char *
choose_actions(Relation target)
{
	for (int i = 0; target->rd_rules != NULL && i < target->rd_rules->numLocks; i++)
	{
		RewriteRule *rule = target->rd_rules->rules[i];

		if ((rule->event == CMD_INSERT || rule->event == CMD_DELETE) && ldr_fires(rule->enabled))
			return "table has rules";
	}
	for (int i = 0; target->trigdesc != NULL && i < target->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &target->trigdesc->triggers[i];

		if (RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_NONE)
			return "table has foreign keys";
		if (trigger->tgisinternal && OidIsValid(trigger->tgconstrindid))
			continue;
		if (!TRIGGER_FOR_INSERT(trigger->tgtype) && !TRIGGER_FOR_DELETE(trigger->tgtype) &&
			!TRIGGER_FOR_TRUNCATE(trigger->tgtype))
			continue;
		if (ldr_fires(trigger->tgenabled))
			return "table has triggers";
	}
	return NULL;
}

Node *
ldr_swap_index_node(Relation index, AttrNumber column)
{
	bool		isnull;
	Datum		node = SysCacheGetAttr(INDEXRELID, index->rd_indextuple, column, &isnull);

	return isnull ? NULL : stringToNode(TextDatumGetCString(node));
}

/*
 * Does the index look at the row as a whole? Its copy would depend on the row type of the target,
 * and nobody could drop the target then.
 */
static bool
choose_uses_whole_row(Relation index)
{
	Bitmapset  *columns = NULL;

	pull_varattnos(ldr_swap_index_node(index, Anum_pg_index_indexprs), 1, &columns);
	pull_varattnos(ldr_swap_index_node(index, Anum_pg_index_indpred), 1, &columns);
	return bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, columns);
}

/*
 * The storage of an index moves to another OID. The server's own access methods, and those of
 * extensions that are named here, do not note it in there or keep files of their own beside it.
 */
static bool
choose_can_move(Oid access_method)
{
	static const char *const known[] = {"bloom", "hnsw", "ivfflat"};
	const char *name;

	if (access_method < FirstNormalObjectId)
		return true;
	name = get_am_name(access_method);
	for (int i = 0; name != NULL && i < lengthof(known); i++)
		if (strcmp(name, known[i]) == 0)
			return true;
	return false;
}

static const char *
choose_indexes(Relation target)
{
	const char *reason = NULL;
	List	   *indexes = RelationGetIndexList(target);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (!index->rd_index->indisvalid || !index->rd_index->indisready)
			reason = "table has an invalid index";
		else if (choose_uses_whole_row(index))
			reason = "table has an index on the whole row";
		else if (!choose_can_move(index->rd_rel->relam))
			reason = "table has an index of an unknown access method";
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return reason;
}

bool
ldr_swap_forbids_delete(Relation target)
{
	return (target->rd_rel->relkind == RELKIND_RELATION ||
			target->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
		ldr_publishes_changes(target) && target->rd_rel->relreplident != REPLICA_IDENTITY_FULL &&
		!OidIsValid(RelationGetReplicaIndex(target));
}

LdrReplaceWay
ldr_swap_choose(Relation target, const char **reason)
{
	const char *diff = choose_is_referenced(target) ? "table is referenced by foreign keys" : NULL;

	*reason = choose_kind(target);
	if (*reason == NULL)
		*reason = choose_rights(target);
	if (diff == NULL && target->rd_rel->relkind != RELKIND_VIEW)
		diff = ldr_swap_decoded(target);
	if (*reason == NULL)
		*reason = diff;
	if (*reason == NULL)
		*reason = choose_actions(target);
	if (*reason == NULL)
		*reason = choose_indexes(target);
	if (diff)
		return LDR_REPLACE_DIFF;
	return *reason ? LDR_REPLACE_REFILL : LDR_REPLACE_SWAP;
}

/* One key column of an index, as pg_index and pg_attribute have it. */
static void
choose_add_index_column(StringInfo buf, Relation index, int i, oidvector *classes,
						int2vector *options)
{
	Datum		att_options = get_attoptions(RelationGetRelid(index), i + 1);
	bool		is_key = i < index->rd_index->indnkeyatts;

	appendStringInfo(buf, " (%d", index->rd_index->indkey.values[i]);
	if (is_key)
		appendStringInfo(buf, " %u %u %d", classes->values[i], index->rd_indcollation[i],
						 options->values[i]);
	if (att_options != (Datum) 0)
		appendStringInfo(buf, " %s", OidOutputFunctionCall(F_ARRAY_OUT, att_options));
	appendStringInfoChar(buf, ')');
}

char *
ldr_swap_index_key(Relation index)
{
	Form_pg_index form = index->rd_index;
	HeapTuple	tuple = index->rd_indextuple;
	StringInfoData buf;
	bool		isnull;
	oidvector  *classes;
	int2vector *options;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%u %u %d %d %d", index->rd_rel->relam, index->rd_rel->reltablespace,
					 form->indnkeyatts, form->indisunique, ldr_nulls_not_distinct(form));
	classes = (oidvector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, tuple,
															Anum_pg_index_indclass, &isnull));
	options = (int2vector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, tuple,
															 Anum_pg_index_indoption, &isnull));
	for (int i = 0; i < form->indnatts; i++)
		choose_add_index_column(&buf, index, i, classes, options);
	/* Written anew, as what was copied once has lost the places in the source. */
	appendStringInfo(&buf, " %s %s",
					 nodeToString(ldr_swap_index_node(index, Anum_pg_index_indexprs)),
					 nodeToString(ldr_swap_index_node(index, Anum_pg_index_indpred)));
	return buf.data;
}

static int
choose_compare_text(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* The indexes, in an order that does not depend on when or under which name they were made. */
static void
choose_add_indexes(StringInfo buf, Relation target)
{
	List	   *texts = NIL;
	List	   *indexes = RelationGetIndexList(target);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		char	   *text = ldr_swap_index_key(index);

		if (index->rd_index->indisexclusion)
		{
			Oid		   *operators,
					   *procs;
			uint16	   *strategies;

			RelationGetExclusionInfo(index, &operators, &procs, &strategies);
			for (int i = 0; i < index->rd_index->indnkeyatts; i++)
				text = psprintf("%s %u", text, operators[i]);
		}
		texts = lappend(texts, text);
		index_close(index, AccessShareLock);
	}
	list_sort(texts, choose_compare_text);
	foreach(lc, texts)
		appendStringInfo(buf, "index %s\n", (char *) lfirst(lc));
}

static void
choose_add_columns(StringInfo buf, TupleDesc desc)
{
	TupleConstr *constr = desc->constr;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		appendStringInfo(buf, "column %s %u %d %u %d %d %c %d %c%c\n", NameStr(att->attname),
						 att->atttypid, att->atttypmod, att->attcollation, att->attnotnull,
						 att->attlen, att->attalign, att->attisdropped,
						 att->attidentity ? att->attidentity : '-',
						 att->attgenerated ? att->attgenerated : '-');
	}
	if (constr == NULL)
		return;
	for (int i = 0; i < constr->num_defval; i++)
	{
		AttrDefault *def = &constr->defval[i];

		if (TupleDescAttr(desc, def->adnum - 1)->attgenerated != '\0')
			appendStringInfo(buf, "generated %d %s\n", def->adnum,
							 nodeToString(stringToNode(def->adbin)));
	}
	for (int i = 0; i < constr->num_check; i++)
		appendStringInfo(buf, "check %s %s\n", constr->check[i].ccname,
						 nodeToString(stringToNode(constr->check[i].ccbin)));
}

int64
ldr_swap_fingerprint(Relation target)
{
	StringInfoData buf;
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader swap fingerprint",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	int64		hash;

	initStringInfo(&buf);
	appendStringInfo(&buf, "table %u %u %u %c\n", target->rd_rel->relowner, target->rd_rel->relam,
					 target->rd_rel->reltablespace, target->rd_rel->relpersistence);
	choose_add_columns(&buf, RelationGetDescr(target));
	choose_add_indexes(&buf, target);
	hash = (int64) hash_bytes_extended((unsigned char *) buf.data, buf.len, 0);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	return hash;
}
