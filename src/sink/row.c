/*
 * sink/row.c: rows that are complete, and that the table would let in. What INSERT does with a row
 * before it goes to the table's storage.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_attribute.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "optimizer/optimizer.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "rewrite/rewriteHandler.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "compat.h"
#include "sink/row.h"

/* Make an EState whose range table holds the table, with the columns that the file fills. */
static EState *
row_make_estate(LdrSink *sink)
{
	EState	   *estate = CreateExecutorState();
	MemoryContext oldcxt = MemoryContextSwitchTo(estate->es_query_cxt);
	ParseState *pstate = make_parsestate(NULL);
	LOCKMODE	held = sink->into ? AccessShareLock : RowExclusiveLock;
	ParseNamespaceItem *item = addRangeTableEntryForRelation(pstate, sink->rel, held, NULL, false,
															 false);

	/*
	 * Errors show a role without SELECT the values of these columns only. The privileges
	 * themselves were checked when the sink was opened.
	 */
	ldr_nsitem_perms(item)->requiredPerms = ACL_INSERT;
	for (int i = 0; i < sink->nattrs; i++)
		ldr_nsitem_perms(item)->insertedCols =
			bms_add_member(ldr_nsitem_perms(item)->insertedCols,
						   sink->attnums[i] - FirstLowInvalidHeapAttributeNumber);
	ldr_init_range_table(estate, pstate);
	MemoryContextSwitchTo(oldcxt);
	return estate;
}

/* Note the live columns that are not in attnums. */
static void
row_find_missing(LdrSink *sink, LdrRowCheck *check)
{
	bool	   *filled = palloc0(sizeof(bool) * (check->desc->natts + 1));

	check->missing = palloc(sizeof(AttrNumber) * (check->desc->natts + 1));
	for (int i = 0; i < sink->nattrs; i++)
		filled[sink->attnums[i] - 1] = true;
	for (int i = 0; i < check->desc->natts; i++)
	{
		if (!filled[i] && !TupleDescAttr(check->desc, i)->attisdropped)
			check->missing[check->nmissing++] = i + 1;
	}
	pfree(filled);
}

LdrRowCheck *
ldr_row_check_open(LdrSink *sink)
{
	LdrRowCheck *check = palloc0(sizeof(LdrRowCheck));

	check->desc = CreateTupleDescCopy(RelationGetDescr(sink->rel));
	check->estate = row_make_estate(sink);
	check->rri = makeNode(ResultRelInfo);
	ExecInitResultRelation(check->estate, check->rri, 1);
	check->defaults = ldr_defaults_create(sink->rel, check->estate);
	row_find_missing(sink, check);
	return check;
}

static bool
row_is_generated(LdrSink *sink, AttrNumber attnum)
{
	/* The slots' descriptor does not say so. */
	return TupleDescAttr(RelationGetDescr(sink->rel), attnum - 1)->attgenerated != '\0';
}

/* A generated column cannot be filled by a row, as INSERT has it. */
static void
row_refuse_generated(LdrSink *sink, AttrNumber attnum)
{
	const char *name = NameStr(TupleDescAttr(RelationGetDescr(sink->rel), attnum - 1)->attname);

	ereport(ERROR,
			(errcode(ERRCODE_GENERATED_ALWAYS),
			 errmsg("cannot insert a non-DEFAULT value into column \"%s\"", name),
			 errdetail("Column \"%s\" is a generated column.", name)));
}

/* Give a column its default. Returns whether a volatile expression was evaluated. */
static bool
row_set_default(LdrRowCheck *check, LdrSink *sink, AttrNumber attnum)
{
	TupleTableSlot *slot = sink->slot;
	bool		is_volatile = false;

	slot->tts_isnull[attnum - 1] = true;
	if (row_is_generated(sink, attnum))
		return false;			/* computed when the others are there, if it is stored */
	slot->tts_values[attnum - 1] = ldr_default_value(check->defaults, attnum, sink->batch_cxt,
													 &slot->tts_isnull[attnum - 1], &is_volatile);
	return is_volatile;
}

bool
ldr_row_complete(LdrRowCheck *check, LdrSink *sink)
{
	TupleTableSlot *slot = sink->slot;
	TupleConstr *constr = RelationGetDescr(sink->rel)->constr;
	bool		is_volatile = false;

	ResetPerTupleExprContext(check->estate);
	for (int i = 0; i < check->nmissing; i++)
		is_volatile |= row_set_default(check, sink, check->missing[i]);
	for (int i = 0; i < sink->nattrs; i++)
	{
		if (sink->absent[sink->attnums[i] - 1])
			is_volatile |= row_set_default(check, sink, sink->attnums[i]);
		else if (row_is_generated(sink, sink->attnums[i]))
			row_refuse_generated(sink, sink->attnums[i]);
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(sink->rel);
	if (constr != NULL && constr->has_generated_stored)
		ExecComputeStoredGenerated(check->rri, check->estate, slot, CMD_INSERT);
	if (constr != NULL)
		ExecConstraints(check->rri, slot, check->estate);
	return is_volatile;
}

bool
ldr_row_default_looks(Relation rel, AttrNumber attnum)
{
	Node	   *node = build_column_default(rel, attnum);

	return node != NULL && contain_volatile_functions_not_nextval(node);
}

bool
ldr_row_domains_look(Relation rel)
{
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		DomainConstraintRef *ref;
		ListCell   *lc;

		if (att->attisdropped || !DomainHasConstraints(att->atttypid))
			continue;
		/* the context knows of it until it goes */
		ref = palloc(sizeof(DomainConstraintRef));
		InitDomainConstraintRef(att->atttypid, ref, CurrentMemoryContext, false);
		foreach(lc, ref->constraints)
		{
			const DomainConstraintState *constraint = lfirst(lc);

			if (contain_volatile_functions((Node *) constraint->check_expr))
				return true;
		}
	}
	return false;
}

void
ldr_row_check_close(LdrRowCheck *check)
{
	ExecCloseResultRelations(check->estate);
	ExecCloseRangeTableRelations(check->estate);
	FreeExecutorState(check->estate);
}
