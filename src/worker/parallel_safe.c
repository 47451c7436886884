/*
 * worker/parallel_safe.c: may rows of a table be made in parallel workers, and by their leader?
 * Whatever runs there of the table's own has to be marked PARALLEL SAFE, as for parallel queries.
 * And it must not begin commands, which the leader is not allowed to, as it has begun to write.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/readfuncs.h"
#include "optimizer/clauses.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "worker/parallel.h"

/* The input function of the type, and of what is in it. Domains and row types are not asked. */
static bool
parallel_safe_type(Oid typid)
{
	Oid			element = get_element_type(typid);
	char		kind = get_typtype(typid);
	Oid			input,
				param;

	if (OidIsValid(element) && !parallel_safe_type(element))
		return false;
	if (kind != TYPTYPE_BASE && kind != TYPTYPE_ENUM)
		return false;
	getTypeInputInfo(typid, &input, &param);
	return func_parallel(input) == PROPARALLEL_SAFE;
}

/* A volatile function begins a command for each query of its own. Those in C rarely have any. */
static bool
begins_commands(Oid function, void *context)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		begins;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	begins = proc->provolatile == PROVOLATILE_VOLATILE && proc->prolang != INTERNALlanguageId &&
		proc->prolang != ClanguageId;
	ReleaseSysCache(tuple);
	return begins;
}

static bool
has_commands(Node *node, void *context)
{
	return node != NULL && (check_functions_in_node(node, begins_commands, context) ||
							expression_tree_walker(node, has_commands, context));
}

static bool
parallel_safe_expression(Node *expr)
{
	Query	   *query = makeNode(Query);

	if (expr == NULL)
		return true;
	if (has_commands(expr, NULL))
		return false;
	query->commandType = CMD_SELECT;
	query->targetList = list_make1(makeTargetEntry((Expr *) expr, 1, NULL, false));
	return max_parallel_hazard(query) == PROPARALLEL_SAFE;
}

static bool
parallel_safe_checks(const TupleConstr *constr)
{
	for (int i = 0; constr && i < constr->num_check; i++)
		if (!parallel_safe_expression(stringToNode(constr->check[i].ccbin)))
			return false;
	return true;
}

bool
ldr_parallel_safe(Relation rel, const AttrNumber *attnums, int n, bool defaults)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool	   *filled = palloc0(sizeof(bool) * (desc->natts + 1));
	bool		safe = parallel_safe_checks(desc->constr);

	for (int i = 0; safe && i < n; i++)
	{
		filled[attnums[i] - 1] = true;
		safe = parallel_safe_type(TupleDescAttr(desc, attnums[i] - 1)->atttypid);
	}
	for (int i = 0; safe && i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && (defaults || !filled[i] || att->attgenerated))
			safe = parallel_safe_expression(build_column_default(rel, i + 1));
	}
	pfree(filled);
	return safe;
}
