/*
 * sink/sink.c: which sink fits a table, and what the sinks have in common: privileges, domains
 * and defaults.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/xact.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/readfuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/typcache.h"

#include "sink/sink.h"

/* A column that the file fills and whose type is a domain with constraints. */
typedef struct SinkDomain
{
	AttrNumber	attnum;
	Oid			typid;
	void	   *extra;			/* domain_check's cache */
} SinkDomain;

/* A sink as this file makes it: what all kinds share and callers need not see. */
typedef struct SinkBase
{
	LdrSink		sink;			/* first: callers hold a pointer to it */
	int			ndomains;
	SinkDomain *domains;
	int			nrefused;
	AttrNumber *refused;		/* columns that the role may not fill */
} SinkBase;

typedef struct SinkDefault
{
	bool		ready;
	bool		is_volatile;
	ExprState  *expr;			/* NULL: value and isnull hold the constant */
	Datum		value;
	bool		isnull;
} SinkDefault;

struct LdrDefaults
{
	Relation	rel;
	EState	   *estate;
	SinkDefault *columns;		/* by attnum - 1 */
};

bool
ldr_fires(char enabled)
{
	if (enabled == TRIGGER_DISABLED)
		return false;
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return enabled != TRIGGER_FIRES_ON_ORIGIN;
	return enabled != TRIGGER_FIRES_ON_REPLICA;
}

/*
 * Why INSERT triggers or rules of the table keep the heap sink away, NULL if they do not. The
 * server makes triggers of its own for foreign keys and for constraints that can be deferred.
 */
static const char *
sink_trigger_reason(Relation rel)
{
	for (int i = 0; rel->rd_rules != NULL && i < rel->rd_rules->numLocks; i++)
	{
		RewriteRule *rule = rel->rd_rules->rules[i];

		if (rule->event == CMD_INSERT && ldr_fires(rule->enabled))
			return "table has rules";
	}
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (!TRIGGER_FOR_INSERT(trigger->tgtype) || !ldr_fires(trigger->tgenabled))
			continue;
		if (RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_FK)
			return "table has foreign keys";
		if (trigger->tgisinternal && OidIsValid(trigger->tgconstrindid))
			return "table has deferrable constraints";
		return "table has triggers";
	}
	return NULL;
}

/* Why the plain table cannot take the heap sink, NULL if it can. */
static const char *
sink_table_reason(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (rel->rd_rel->relispartition)
		return "table is a partition";
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->attgenerated != '\0')
			return "table has generated columns";
	}
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_ENABLED)
		return "row-level security applies";
	return sink_trigger_reason(rel);
}

/* Raise an error for a relation that takes no rows. */
static void
sink_refuse_kind(Relation rel)
{
	const char *kind;

	switch (rel->rd_rel->relkind)
	{
		case RELKIND_SEQUENCE:
			kind = "sequence";
			break;
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			kind = "index";
			break;
		case RELKIND_MATVIEW:
			kind = "materialized view";
			break;
		case RELKIND_TOASTVALUE:
			kind = "TOAST table";
			break;
		case RELKIND_COMPOSITE_TYPE:
			kind = "composite type";
			break;
		default:
			kind = "relation";
			break;
	}
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("cannot load rows into %s \"%s\"", kind, RelationGetRelationName(rel)),
			 errhint("Rows can be loaded into tables, partitioned tables, foreign tables and "
					 "views that accept INSERT.")));
}

/* Raise an error if the view or foreign table accepts no INSERT. */
static void
sink_check_insertable(Relation rel)
{
	int			events = relation_is_updatable(RelationGetRelid(rel), NIL, true, NULL);

	if ((events & (1 << CMD_INSERT)) != 0)
		return;
	if (rel->rd_rel->relkind == RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot load rows into view \"%s\"", RelationGetRelationName(rel)),
				 errhint("To make the view accept INSERT, provide an INSTEAD OF INSERT trigger or "
						 "an unconditional ON INSERT DO INSTEAD rule.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("foreign table \"%s\" does not allow inserts", RelationGetRelationName(rel))));
}

LdrSinkKind
ldr_sink_choose(Relation rel, const char **reason)
{
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot load rows into temporary table \"%s\" of another session",
						RelationGetRelationName(rel))));

	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
			*reason = sink_table_reason(rel);
			break;
		case RELKIND_PARTITIONED_TABLE:
			*reason = "table is partitioned";
			break;
		case RELKIND_FOREIGN_TABLE:
			sink_check_insertable(rel);
			*reason = "table is foreign";
			break;
		case RELKIND_VIEW:
			sink_check_insertable(rel);
			*reason = "table is a view";
			break;
		default:
			sink_refuse_kind(rel);
	}
	return *reason == NULL ? LDR_SINK_HEAP : LDR_SINK_EXECUTOR;
}

static void
sink_refuse_privileges(Relation rel)
{
	aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(rel->rd_rel->relkind),
				   RelationGetRelationName(rel));
}

/*
 * The check that INSERT makes of the current user: INSERT on the table, or on each column that is
 * filled (on any column, if none is). Which ones a file fills shows row by row, so the columns
 * that are not permitted are noted here, and refused when a row brings them.
 */
static void
sink_check_privileges(SinkBase *base)
{
	LdrSink    *sink = &base->sink;
	Oid			relid = RelationGetRelid(sink->rel);
	Oid			userid = GetUserId();

	if (pg_class_aclcheck(relid, userid, ACL_INSERT) == ACLCHECK_OK)
		return;
	if (pg_attribute_aclcheck_all(relid, userid, ACL_INSERT, ACLMASK_ANY) != ACLCHECK_OK)
		sink_refuse_privileges(sink->rel);
	base->refused = palloc(sizeof(AttrNumber) * (sink->nattrs + 1));
	for (int i = 0; i < sink->nattrs; i++)
		if (pg_attribute_aclcheck(relid, sink->attnums[i], userid, ACL_INSERT) != ACLCHECK_OK)
			base->refused[base->nrefused++] = sink->attnums[i];
}

/* Our callers build attnums from the catalog; a wrong one is their bug. */
static void
sink_check_attnums(Relation rel, const AttrNumber *attnums, int nattrs)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *seen = NULL;

	for (int i = 0; i < nattrs; i++)
	{
		if (attnums[i] < 1 || attnums[i] > desc->natts ||
			TupleDescAttr(desc, attnums[i] - 1)->attisdropped ||
			bms_is_member(attnums[i], seen))
			elog(ERROR, "column number %d of table \"%s\" cannot be filled",
				 attnums[i], RelationGetRelationName(rel));
		seen = bms_add_member(seen, attnums[i]);
	}
	bms_free(seen);
}

/* Note the columns whose NULLs must pass the constraints of a domain. */
static void
sink_find_domains(SinkBase *base)
{
	LdrSink    *sink = &base->sink;

	base->domains = palloc0(sizeof(SinkDomain) * (sink->nattrs + 1));
	for (int i = 0; i < sink->nattrs; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(sink->rel), sink->attnums[i] - 1);

		if (DomainHasConstraints(att->atttypid))
		{
			base->domains[base->ndomains].attnum = att->attnum;
			base->domains[base->ndomains++].typid = att->atttypid;
		}
	}
}

/*
 * Frozen rows outlive an abort, unless the table goes with it: it must be of this very
 * subtransaction. Both tables must have the same columns, dropped ones included.
 */
static void
sink_check_into(Relation rel, Relation into)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		same = desc->natts == RelationGetNumberOfAttributes(into);

	for (int i = 0; same && i < desc->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(desc, i);
		Form_pg_attribute b = TupleDescAttr(RelationGetDescr(into), i);

		same = a->attisdropped == b->attisdropped && a->atttypid == b->atttypid &&
			a->attlen == b->attlen && a->attalign == b->attalign;
	}
	if (!same || into->rd_createSubid != GetCurrentSubTransactionId())
		elog(ERROR, "table \"%s\" is not a new swap heap of table \"%s\"",
			 RelationGetRelationName(into), RelationGetRelationName(rel));
}

/* Can the table take this kind of sink? */
static void
sink_check_kind(Relation rel, Relation into, LdrSinkKind kind)
{
	const char *reason;

	if (kind == LDR_SINK_SHARED)
		return;					/* the leader has asked */
	if (into != NULL)
	{
		sink_check_into(rel, into);
		return;
	}
	if (kind == LDR_SINK_LOOK)
		return;
	/* Again, as a trigger may have come since the plan was made; now a lock keeps others away. */
	if (ldr_sink_choose(rel, &reason) != LDR_SINK_HEAP && kind != LDR_SINK_EXECUTOR)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot write rows directly into table \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("Reason: %s.", reason)));
}

static const LdrSinkOps *
sink_ops(LdrSinkKind kind)
{
	switch (kind)
	{
		case LDR_SINK_HEAP:
			return &ldr_heap_sink;
		case LDR_SINK_SWAP:
		case LDR_SINK_TRIAL:
			return &ldr_swap_sink;
		case LDR_SINK_LOOK:
			return &ldr_look_sink;
		case LDR_SINK_STORAGE:
			return &ldr_storage_sink;
		case LDR_SINK_SHARED:
			return &ldr_shared_sink;
		case LDR_SINK_EXECUTOR:
			break;
	}
	return &ldr_executor_sink;
}

LdrSink *
ldr_sink_open(Relation rel, Relation into, LdrSinkKind kind, const AttrNumber *attnums, int nattrs)
{
	MemoryContext cxt;
	MemoryContext oldcxt;
	SinkBase   *base;
	LdrSink    *sink;

	sink_check_kind(rel, into, kind);
	sink_check_attnums(rel, attnums, nattrs);
	if (XactReadOnly && !rel->rd_islocaltemp)
		PreventCommandIfReadOnly("INSERT");

	cxt = AllocSetContextCreate(CurrentMemoryContext, "loader sink", ALLOCSET_DEFAULT_SIZES);
	oldcxt = MemoryContextSwitchTo(cxt);
	base = palloc0(sizeof(SinkBase));
	sink = &base->sink;
	sink->kind = kind;
	sink->ops = sink_ops(kind);
	sink->rel = rel;
	sink->into = into;
	sink->nattrs = nattrs;
	sink->attnums = palloc(sizeof(AttrNumber) * (nattrs + 1));
	for (int i = 0; i < nattrs; i++)
		sink->attnums[i] = attnums[i];
	sink->absent = palloc0(sizeof(bool) * (RelationGetNumberOfAttributes(rel) + 1));
	sink->batch_cxt = AllocSetContextCreate(cxt, "loader sink batch", ALLOCSET_DEFAULT_SIZES);
	if (into == NULL)			/* else the role owns the table */
		sink_check_privileges(base);
	sink_find_domains(base);
	sink->ops->open(sink);
	MemoryContextSwitchTo(oldcxt);
	return sink;
}

/*
 * A converter returns NULL without asking the type, so a domain that refuses NULL is asked here,
 * for both kinds of sink: a statement that selects a column of the domain's type does not ask.
 */
static void
sink_check_domains(SinkBase *base)
{
	LdrSink    *sink = &base->sink;

	for (int i = 0; i < base->ndomains; i++)
	{
		SinkDomain *domain = &base->domains[i];

		if (!sink->absent[domain->attnum - 1] && sink->slot->tts_isnull[domain->attnum - 1])
			domain_check((Datum) 0, true, domain->typid, &domain->extra,
						 GetMemoryChunkContext(base));
	}
}

void
ldr_sink_put(LdrSink *sink)
{
	SinkBase   *base = (SinkBase *) sink;

	/* Until the row has joined its batch, what goes wrong is its own fault. */
	sink->error_line = sink->line;
	for (int i = 0; i < base->nrefused; i++)
		if (!sink->absent[base->refused[i] - 1])
			sink_refuse_privileges(sink->rel);
	sink_check_domains(base);
	sink->ops->put(sink);
	sink->error_line = 0;
}

bool
ldr_sink_takes_tuples(LdrSink *sink)
{
	TupleDesc	desc = RelationGetDescr(sink->rel);

	if (sink->ops->put_tuple == NULL || ((SinkBase *) sink)->nrefused > 0 ||
		(desc->constr != NULL && desc->constr->num_check > 0) ||
		sink->rel->rd_tableam != GetHeapamTableAmRoutine() ||
		(sink->into != NULL && sink->into->rd_tableam != GetHeapamTableAmRoutine()))
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attgenerated != '\0')
			return false;
	}
	return true;
}

void
ldr_sink_put_tuple(LdrSink *sink, HeapTuple tuple)
{
	sink->error_line = sink->line;
	sink->ops->put_tuple(sink, tuple);
	sink->error_line = 0;
}

void
ldr_sink_check_expressions(Relation rel)
{
	const TupleConstr *constr = RelationGetDescr(rel)->constr;
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader expressions",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext oldcxt = MemoryContextSwitchTo(cxt);

	for (int i = 0; constr && i < constr->num_check; i++)
		(void) expression_planner((Expr *) stringToNode(constr->check[i].ccbin));
	for (int i = 0; constr && i < RelationGetNumberOfAttributes(rel); i++)
		if (TupleDescAttr(RelationGetDescr(rel), i)->attgenerated)
			(void) expression_planner((Expr *) build_column_default(rel, i + 1));
	MemoryContextSwitchTo(oldcxt);
	MemoryContextDelete(cxt);
}

void
ldr_sink_withdraw(LdrSink *sink)
{
	sink->error_line = 0;
	ldr_sink_clear_slot(sink->slot);
	/* what rows that were refused have left in memory goes with the batch: that must not be late */
	if (sink->pending == 0)
	{
		MemoryContextReset(sink->batch_cxt);
		sink->batch_bytes = 0;
	}
	else if (sink->batch_bytes >= LDR_BATCH_BYTES)
		sink->ops->flush(sink);
}

void
ldr_sink_put_row(LdrSink *sink, TupleTableSlot *row, const AttrNumber *from)
{
	MemoryContext old = MemoryContextSwitchTo(sink->batch_cxt);

	slot_getallattrs(row);
	for (int i = 0; i < sink->nattrs; i++)
	{
		Form_pg_attribute att = TupleDescAttr(row->tts_tupleDescriptor, from[i] - 1);
		bool		isnull = row->tts_isnull[from[i] - 1];
		Datum		value = row->tts_values[from[i] - 1];

		sink->slot->tts_isnull[sink->attnums[i] - 1] = isnull;
		if (!isnull && !att->attbyval)
		{
			value = datumCopy(value, false, att->attlen);
			sink->batch_bytes += datumGetSize(value, false, att->attlen);
		}
		sink->slot->tts_values[sink->attnums[i] - 1] = isnull ? (Datum) 0 : value;
	}
	MemoryContextSwitchTo(old);
	ldr_sink_put(sink);
}

void
ldr_sink_close(LdrSink *sink)
{
	sink->ops->flush(sink);
	sink->ops->close(sink);
	MemoryContextDelete(GetMemoryChunkContext(sink));
	/* What follows in this transaction is to see the rows. */
	CommandCounterIncrement();
}

void
ldr_sink_clear_slot(TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
}

LdrDefaults *
ldr_defaults_create(Relation rel, EState *estate)
{
	LdrDefaults *defaults = palloc(sizeof(LdrDefaults));

	defaults->rel = rel;
	defaults->estate = estate;
	defaults->columns = palloc0(sizeof(SinkDefault) * (RelationGetNumberOfAttributes(rel) + 1));
	return defaults;
}

/*
 * Prepare a default. Done when it is first needed, not before: preparing asks for the right to
 * execute its functions, which a role need not have for a default that it never uses.
 */
static void
default_prepare(LdrDefaults *defaults, AttrNumber attnum)
{
	SinkDefault *column = &defaults->columns[attnum - 1];
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(defaults->rel), attnum - 1);
	MemoryContext oldcxt = MemoryContextSwitchTo(defaults->estate->es_query_cxt);
	Node	   *node = build_column_default(defaults->rel, attnum);

	if (node == NULL)
	{
		/* Every row gets the same NULL, so its domain is asked once. */
		if (DomainHasConstraints(att->atttypid))
			domain_check((Datum) 0, true, att->atttypid, NULL, NULL);
		column->isnull = true;
	}
	else
	{
		Expr	   *expr = expression_planner((Expr *) node);

		if (IsA(expr, Const))
		{
			column->value = ((Const *) expr)->constvalue;
			column->isnull = ((Const *) expr)->constisnull;
		}
		else
		{
			column->is_volatile = contain_volatile_functions_not_nextval((Node *) expr);
			column->expr = ExecInitExpr(expr, NULL);
		}
	}
	column->ready = true;
	MemoryContextSwitchTo(oldcxt);
}

Datum
ldr_default_value(LdrDefaults *defaults, AttrNumber attnum, MemoryContext cxt, bool *isnull,
				  bool *is_volatile)
{
	SinkDefault *column = &defaults->columns[attnum - 1];
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(defaults->rel), attnum - 1);
	MemoryContext oldcxt;
	Datum		value;

	if (!column->ready)
		default_prepare(defaults, attnum);
	if (column->expr == NULL)
	{
		*isnull = column->isnull;
		return column->value;
	}

	if (column->is_volatile)
		*is_volatile = true;
	value = ExecEvalExprSwitchContext(column->expr, GetPerTupleExprContext(defaults->estate),
									  isnull);
	if (*isnull || att->attbyval)
		return value;
	oldcxt = MemoryContextSwitchTo(cxt);
	value = datumCopy(value, att->attbyval, att->attlen);
	MemoryContextSwitchTo(oldcxt);
	return value;
}
