/*
 * publish/merge.c: which strategy a merge takes, whether it can, and the way there.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "fault.h"
#include "publish/merge_sql.h"

static const char *const merge_names[] = {
	[LDR_DELETE_INSERT] = "delete-insert",
	[LDR_UPSERT] = "upsert",
	[LDR_INSERT_ONLY] = "insert-only",
	[LDR_SCD2] = "scd2",
	[LDR_CDC] = "cdc"
};

LdrMergeStrategy
ldr_merge_strategy(const LdrSchemaTable *root)
{
	if (root->strategy == NULL)
		return LDR_DELETE_INSERT;
	for (int i = 0; i < lengthof(merge_names); i++)
		if (strcmp(root->strategy, merge_names[i]) == 0)
			return (LdrMergeStrategy) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown merge strategy \"%s\"", root->strategy),
			 errdetail("Hint \"x-merge-strategy\" of table \"%s\".", root->name),
			 errhint("It is delete-insert, upsert, insert-only, scd2 or cdc.")));
}

const char *
ldr_merge_strategy_name(LdrMergeStrategy strategy)
{
	return merge_names[strategy];
}

/* A hint that only one column may have. */
static void
merge_check_single(const LdrChainTable *table, LdrHint hint, const char *name)
{
	if (list_length(ldr_chain_columns(table, hint)) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" of the package's schema has several columns with the hint "
						"\"%s\"", table->schema->name, name),
				 errhint("Only one column may have it.")));
}

/* The conditions of the hints, where the strategy heeds them at all. */
static void
merge_conditions(LdrChain *chain)
{
	const LdrChainTable *root = &chain->tables[0];

	if (root->schema->source_filter)
		chain->filter = ldr_condition_sql(root->schema, "x-merge-source-filter",
										  root->schema->source_filter, NULL, NULL);
	if (root->schema->destination_scope)
		chain->scope = ldr_condition_sql(root->schema, "x-merge-destination-scope",
										 root->schema->destination_scope, root->target,
										 root->staging);
}

static LdrChain *
merge_checked_chain(LdrMerge *merge, LdrMergeStrategy strategy)
{
	LdrChain   *chain = ldr_chain_make(merge);

	merge_conditions(chain);
	merge_check_single(&chain->tables[0], LDR_HINT_HARD_DELETE, "hard_delete");
	merge_check_single(&chain->tables[0], LDR_HINT_DEDUP_SORT, "dedup_sort");
	switch (strategy)
	{
		case LDR_DELETE_INSERT:
			ldr_merge_delete_insert_check(chain);
			break;
		case LDR_UPSERT:
		case LDR_INSERT_ONLY:
		case LDR_CDC:
			ldr_merge_upsert_check(chain, strategy);
			break;
		case LDR_SCD2:
			ldr_merge_scd2_check(chain);
			break;
	}
	return chain;
}

void
ldr_merge_check(const LdrMerge *merge)
{
	LdrMerge	copy = *merge;

	(void) merge_checked_chain(&copy, ldr_merge_strategy(merge->tables[0].table));
}

const char *
ldr_merge_refuses_part(const LdrMerge *merge)
{
	LdrMerge	copy = *merge;
	LdrChain   *chain = ldr_chain_make(&copy);
	const LdrChainTable *root = &chain->tables[0];
	List	   *merge_keys = ldr_chain_columns(root, LDR_HINT_MERGE_KEY);
	List	   *primary = ldr_chain_columns(root, LDR_HINT_PRIMARY_KEY);

	if (root->schema->destination_scope || root->schema->source_filter)
		return "its merge has conditions (x-merge-destination-scope, x-merge-source-filter)";
	switch (ldr_merge_strategy(root->schema))
	{
		case LDR_UPSERT:
		case LDR_INSERT_ONLY:
			return NULL;
		case LDR_DELETE_INSERT:
			if (merge_keys == NIL ||
				(primary != NIL && list_difference_ptr(primary, merge_keys) == NIL))
				return NULL;
			return "strategy delete-insert deletes all rows of a merge key";
		case LDR_SCD2:
			if (merge_keys != NIL)
				return NULL;
			return "strategy scd2 without a merge key retires all rows that are absent";
		case LDR_CDC:
			break;
	}
	return "strategy cdc deletes rows that are absent";
}

bool
ldr_merge_hits_others(LdrMerge *merge)
{
	LdrChain   *chain;

	if (ldr_merge_strategy(merge->tables[0].table) != LDR_SCD2)
		return false;
	chain = merge_checked_chain(merge, LDR_SCD2);
	ldr_chain_look(chain);
	return ldr_merge_scd2_is_grouped(chain);
}

void
ldr_merge_run(LdrMerge *merge)
{
	LdrMergeStrategy strategy = ldr_merge_strategy(merge->tables[0].table);
	LdrChain   *chain = merge_checked_chain(merge, strategy);

	ldr_chain_look(chain);
	switch (strategy)
	{
		case LDR_DELETE_INSERT:
			LDR_FAULT("merge: delete-insert");
			ldr_merge_delete_insert(chain);
			break;
		case LDR_UPSERT:
		case LDR_INSERT_ONLY:
		case LDR_CDC:
			LDR_FAULT("merge: upsert");
			ldr_merge_upsert(chain, strategy);
			break;
		case LDR_SCD2:
			LDR_FAULT("merge: scd2");
			ldr_merge_scd2(chain);
			break;
	}
}
