/*
 * publish/ways.c: how each table of a plan gets its rows. Changes nothing; what it finds may be
 * out of date when the table is locked, so it is asked again then.
 */
#include "postgres.h"

#include "access/relation.h"
#include "utils/rel.h"

#include "locks.h"
#include "publish/merge.h"
#include "publish/publish.h"
#include "publish/swap.h"

#define WAYS_DEFAULT_REPLACE "truncate-and-insert"

const char *
ldr_replace_strategy(const LdrSchemaTable *root, const LdrOptions *options)
{
	const char *strategy = options->replace_strategy ? options->replace_strategy
		: root->strategy ? root->strategy : WAYS_DEFAULT_REPLACE;

	if (!ldr_options_is_replace_strategy(strategy))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown replace strategy \"%s\"", strategy),
				 errdetail("Hint \"x-replace-strategy\" of table \"%s\".", root->name),
				 errhint("It is " LDR_REPLACE_STRATEGIES ".")));
	return strategy;
}

/* How the contents of a table that exists are replaced. */
static LdrWay
ways_replace(LdrPlanTable *t)
{
	Relation	rel;
	LdrReplaceWay how;

	ldr_lock_for_look(t->relid);
	rel = try_relation_open(t->relid, NoLock);
	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s\" was dropped by another session", t->table->name)));
	how = ldr_swap_choose(rel, &t->reason);
	t->truncates = how != LDR_REPLACE_SWAP && ldr_swap_forbids_delete(rel);
	relation_close(rel, AccessShareLock);
	return how == LDR_REPLACE_SWAP ? LDR_WAY_SWAP
		: how == LDR_REPLACE_DIFF ? LDR_WAY_DIFF : LDR_WAY_REFILL;
}

static void
ways_choose(LdrPlanTable *t, const LdrOptions *options)
{
	const LdrSchemaTable *root = t->table->root;

	if (root->disposition == LDR_MERGE)
	{
		t->way = t->has_jobs || !t->truncated ? LDR_WAY_MERGE : LDR_WAY_EMPTY;
		t->strategy = ldr_merge_strategy_name(ldr_merge_strategy(root));
		return;
	}
	if (root->disposition == LDR_REPLACE)
		t->strategy = ldr_replace_strategy(root, options);
	else if (!t->truncated)
		return;
	/* what publish creates is new to everybody: nothing is replaced */
	if (!OidIsValid(t->relid))
		return;
	t->way = ways_replace(t);
	/* asked for by name: whether the table could be swapped does not matter */
	if (t->strategy && strcmp(t->strategy, "diff") == 0)
	{
		t->way = LDR_WAY_DIFF;
		t->reason = NULL;
	}
	if (t->truncates)
	{
		t->way = LDR_WAY_REFILL;
		t->reason = "table is published and has no replica identity";
	}
	if (!t->has_jobs && t->way != LDR_WAY_SWAP)
		t->way = LDR_WAY_EMPTY;
}

void
ldr_ways_choose(LdrPlan *plan, const LdrOptions *options)
{
	for (int i = 0; i < plan->ntables; i++)
		if (!plan->tables[i].is_system || plan->tables[i].truncated)
			ways_choose(&plan->tables[i], options);
}

const char *
ldr_way_stage(LdrWay way)
{
	switch (way)
	{
		case LDR_WAY_SWAP:
			return LDR_STAGE_SWAP;
		case LDR_WAY_MERGE:
		case LDR_WAY_DIFF:
		case LDR_WAY_REFILL:
			return LDR_STAGE_STAGING;
		default:
			return NULL;
	}
}
