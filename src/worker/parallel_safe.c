/*
 * worker/parallel_safe.c: may rows of a table be made in parallel workers? Whatever runs there of the
 * table's own has to be marked PARALLEL SAFE, as for parallel queries.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/readfuncs.h"
#include "optimizer/clauses.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

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

static bool
parallel_safe_expression(Node *expr)
{
	Query	   *query = makeNode(Query);

	if (expr == NULL)
		return true;
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
