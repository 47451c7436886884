/*
 * sink/executor.c: rows -> anything that takes INSERT, through the executor.
 *
 * A batch is a tuplestore that a statement sees under a name (an ephemeral named relation, as
 * transition tables of triggers are):
 *
 *	INSERT INTO t (columns) SELECT columns FROM loader_rows
 *
 * The statement names only the columns that the rows bring, so that the others get their
 * defaults; a batch ends where a row brings other columns than the row before it. A column whose
 * default is no other than NULL is named all the same: rows with and without it share a batch.
 *
 * Each batch runs in a subtransaction. If it fails, it is rolled back and its rows are inserted
 * one by one, until the one that is to blame raises its error. That error is the one that leaves
 * this file: rows that went in before it go with the caller's transaction. Where rows may be
 * refused, they are inserted in smaller pieces, down to single ones, but for those that cannot be.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "sink/sink.h"

#define EXECUTOR_ROWS	"loader_rows"
#define EXECUTOR_PLANS	16		/* sets of absent columns whose statements are kept */

/* Times, for the next piece of a batch: after one that went well, and after one that did not. */
#define PIECE_GROWS		2
#define PIECE_SHRINKS	4

typedef struct ExecutorPlan
{
	SPIPlanPtr	plan;			/* NULL: a free place */
	bool	   *absent;			/* of the statement, in the order of attnums */
} ExecutorPlan;

typedef struct ExecutorSinkState
{
	MemoryContext cxt;			/* the sink's */
	TupleDesc	desc;			/* of the rows: the table's, without constraints */
	Tuplestorestate *rows;		/* the batch; NULL: none yet */
	int			nrows;
	int64		lines[LDR_BATCH_ROWS];
	int64		numbers[LDR_BATCH_ROWS];	/* of the rows, as the caller counts them */
	bool	   *null_if_absent; /* in the order of attnums: has no default that NULL is not */
	bool	   *absent;			/* what the rows of the batch do not bring and default */
	bool	   *row_absent;		/* the same of the row being put */
	size_t		seen_bytes;		/* sink->batch_bytes after the row before */
	ExecutorPlan plans[EXECUTOR_PLANS];
	int			next_plan;		/* the place to use when all are taken */
	MemoryContextCallback release;
} ExecutorSinkState;

/* Saved plans live in no context of ours: let them go with it, also after an error. */
static void
executor_release_plans(void *arg)
{
	ExecutorSinkState *state = arg;

	for (int i = 0; i < EXECUTOR_PLANS; i++)
	{
		if (state->plans[i].plan != NULL)
			SPI_freeplan(state->plans[i].plan);
		state->plans[i].plan = NULL;
	}
}

/*
 * Connect to SPI with the rows visible to statements. The caller may be connected already; this
 * is a connection of our own, to be ended by SPI_finish or by the abort of the subtransaction.
 */
static void
executor_connect(ExecutorSinkState *state, Tuplestorestate *rows, int nrows)
{
	EphemeralNamedRelation enr;
	int			rc;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	enr = palloc0(sizeof(EphemeralNamedRelationData));
	enr->md.name = EXECUTOR_ROWS;
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = state->desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = nrows;
	enr->reldata = rows;
	rc = SPI_register_relation(enr);
	if (rc != SPI_OK_REL_REGISTER)
		elog(ERROR, "SPI_register_relation failed: %s", SPI_result_code_string(rc));
}

/* Does the statement need the clause by which INSERT may fill GENERATED ALWAYS columns? */
static bool
executor_overrides(LdrSink *sink, const bool *absent)
{
	/* A view does not tell which columns below it are such; the others do not mind. */
	if (sink->rel->rd_rel->relkind == RELKIND_VIEW)
		return true;
	for (int i = 0; i < sink->nattrs; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(sink->rel), sink->attnums[i] - 1);

		if (!absent[i] && att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
			return true;
	}
	return false;
}

/* The statement for rows without the columns in absent, in the current context. */
static char *
executor_statement(LdrSink *sink, const bool *absent)
{
	Relation	rel = sink->rel;
	const char *separator = "";
	StringInfoData names;
	StringInfoData values;
	char	   *schema = get_namespace_name(RelationGetNamespace(rel));

	if (schema == NULL)
		elog(ERROR, "cache lookup failed for namespace %u", RelationGetNamespace(rel));
	initStringInfo(&names);
	initStringInfo(&values);
	for (int i = 0; i < sink->nattrs; i++)
	{
		const char *name;

		if (absent[i])
			continue;
		name = quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel),
													  sink->attnums[i] - 1)->attname));
		appendStringInfo(&names, "%s%s", separator, name);
		appendStringInfo(&values, "%s" EXECUTOR_ROWS ".%s", separator, name);
		separator = ", ";
	}
	/* Without columns, all get their defaults: the list must then be left out, not empty. */
	return psprintf("INSERT INTO %s%s%s%s %sSELECT %s FROM " EXECUTOR_ROWS,
					quote_qualified_identifier(schema, RelationGetRelationName(rel)),
					names.len > 0 ? " (" : "", names.data, names.len > 0 ? ")" : "",
					executor_overrides(sink, absent) ? "OVERRIDING SYSTEM VALUE " : "",
					values.data);
}

/*
 * The plan for rows without the columns in absent. It is made outside the batch's subtransaction:
 * an error here (a column of a view that cannot be inserted into, say) is no row's fault.
 */
static SPIPlanPtr
executor_plan(LdrSink *sink, const bool *absent)
{
	ExecutorSinkState *state = sink->state;
	Size		size = sizeof(bool) * sink->nattrs;
	ExecutorPlan *place = NULL;
	SPIPlanPtr	plan;
	int			rc;

	for (int i = 0; i < EXECUTOR_PLANS; i++)
	{
		if (state->plans[i].plan == NULL)
		{
			place = &state->plans[i];
			break;
		}
		if (memcmp(state->plans[i].absent, absent, size) == 0)
			return state->plans[i].plan;
	}
	if (place == NULL)
	{
		place = &state->plans[state->next_plan];
		state->next_plan = (state->next_plan + 1) % EXECUTOR_PLANS;
		plan = place->plan;
		place->plan = NULL;
		SPI_freeplan(plan);
	}
	if (place->absent == NULL)
		place->absent = MemoryContextAlloc(state->cxt, size + 1);

	executor_connect(state, NULL, LDR_BATCH_ROWS);
	plan = SPI_prepare(executor_statement(sink, absent), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	rc = SPI_keepplan(plan);
	if (rc != 0)
		elog(ERROR, "SPI_keepplan failed: %s", SPI_result_code_string(rc));
	/* Noted at once, so that an error from here on frees it. */
	place->plan = plan;
	memcpy(place->absent, absent, size);
	SPI_finish();
	return plan;
}

/*
 * Does leaving the column out of the statement do the same as NULL? Not in a view, whose defaults
 * are those of the table below. A domain with constraints is asked about its NULL only by a
 * statement that leaves the column out. And a column that the role may not fill cannot be named.
 */
static bool
executor_absent_is_null(Relation rel, AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);

	if (rel->rd_rel->relkind == RELKIND_VIEW || att->attidentity != '\0' ||
		att->attgenerated != '\0' || DomainHasConstraints(att->atttypid) ||
		build_column_default(rel, attnum) != NULL)
		return false;
	return pg_class_aclcheck(RelationGetRelid(rel), GetUserId(), ACL_INSERT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(RelationGetRelid(rel), attnum, GetUserId(),
							  ACL_INSERT) == ACLCHECK_OK;
}

static void
executor_open(LdrSink *sink)
{
	ExecutorSinkState *state = palloc0(sizeof(ExecutorSinkState));

	sink->state = state;
	state->cxt = CurrentMemoryContext;
	state->desc = CreateTupleDescCopy(RelationGetDescr(sink->rel));
	state->absent = palloc0(sizeof(bool) * (sink->nattrs + 1));
	state->row_absent = palloc0(sizeof(bool) * (sink->nattrs + 1));
	state->null_if_absent = palloc0(sizeof(bool) * (sink->nattrs + 1));
	for (int i = 0; i < sink->nattrs; i++)
		state->null_if_absent[i] = executor_absent_is_null(sink->rel, sink->attnums[i]);
	state->release.func = executor_release_plans;
	state->release.arg = state;
	MemoryContextRegisterResetCallback(state->cxt, &state->release);
	sink->slot = MakeSingleTupleTableSlot(state->desc, &TTSOpsVirtual);
	ldr_sink_clear_slot(sink->slot);
	/* The statement for whole rows now: what is wrong with it shows before the first row. */
	(void) executor_plan(sink, state->absent);
}

/* Run the statement over the rows. Returns how many it says it inserted. */
static uint64
executor_run(ExecutorSinkState *state, SPIPlanPtr plan, Tuplestorestate *rows, int nrows)
{
	uint64		processed;
	int			rc;

	executor_connect(state, rows, nrows);
	rc = SPI_execute_plan(plan, NULL, NULL, false, 0);
	/* A rule may have made something else of the INSERT; only errors are negative. */
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	processed = SPI_processed;
	SPI_finish();
	return processed;
}

/*
 * Run the statement over the rows in a subtransaction. If it fails, that is rolled back, and the
 * error is returned, in the sink's context; NULL if all is well. Leaves memory context and
 * resource owner as they were.
 */
static ErrorData *
executor_try(LdrSink *sink, SPIPlanPtr plan, Tuplestorestate *rows, int nrows, uint64 *processed)
{
	ExecutorSinkState *state = sink->state;
	MemoryContext oldcxt = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcxt);
	PG_TRY();
	{
		*processed = executor_run(state, plan, rows, nrows);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(state->cxt);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcxt);
	CurrentResourceOwner = oldowner;
	return error;
}

/* Can the error be of one row? A deadlock, a cancel or a full disk would hit any. */
static bool
executor_is_of_row(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_CONNECTION_EXCEPTION:
			return false;
		default:
			return error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/* Before the rows of the batch are read again, one by one. Returns a slot for them. */
static TupleTableSlot *
executor_rescan(ExecutorSinkState *state)
{
	/* The scan that failed had a read pointer of its own; ours still stands at the beginning. */
	tuplestore_select_read_pointer(state->rows, 0);
	return MakeSingleTupleTableSlot(state->desc, &TTSOpsMinimalTuple);
}

/* Insert the next row, the i-th, alone. As executor_try; error_line is the row's. */
static ErrorData *
executor_try_row(LdrSink *sink, SPIPlanPtr plan, TupleTableSlot *slot, int i, uint64 *processed)
{
	ExecutorSinkState *state = sink->state;
	Tuplestorestate *one;
	ErrorData  *error;

	CHECK_FOR_INTERRUPTS();
	if (!tuplestore_gettupleslot(state->rows, true, false, slot))
		elog(ERROR, "row %d of %d is missing from its batch", i + 1, state->nrows);
	one = tuplestore_begin_heap(true, false, MAX_KILOBYTES);
	tuplestore_puttupleslot(one, slot);
	/* Set before, for error context callbacks of the caller. */
	sink->error_line = state->lines[i];
	error = executor_try(sink, plan, one, 1, processed);
	tuplestore_end(one);
	return error;
}

/*
 * The batch failed with error: find the row by inserting them one by one, and raise its error. If
 * none fails alone, error itself is raised, with error_line 0. Does not return.
 */
static void executor_blame(LdrSink *sink, SPIPlanPtr plan, ErrorData *error)
			__attribute__((noreturn));

static void
executor_blame(LdrSink *sink, SPIPlanPtr plan, ErrorData *error)
{
	ExecutorSinkState *state = sink->state;
	TupleTableSlot *slot;
	uint64		processed;

	if (!executor_is_of_row(error))
		ReThrowError(error);
	if (state->nrows == 1)
	{
		sink->error_line = state->lines[0];
		ReThrowError(error);
	}

	slot = executor_rescan(state);
	for (int i = 0; i < state->nrows; i++)
	{
		ErrorData  *row_error = executor_try_row(sink, plan, slot, i, &processed);

		if (row_error != NULL)
		{
			if (!executor_is_of_row(row_error))
				sink->error_line = 0;
			ReThrowError(row_error);
		}
	}
	sink->error_line = 0;
	ReThrowError(error);
}

/* Insert n rows of the batch as one piece. As executor_try; error_line is the row's, if it is one. */
static ErrorData *
executor_try_piece(LdrSink *sink, SPIPlanPtr plan, TupleTableSlot *slot, int from, int n,
				   uint64 *processed)
{
	ExecutorSinkState *state = sink->state;
	Tuplestorestate *piece = tuplestore_begin_heap(true, false, MAX_KILOBYTES);
	ErrorData  *error;

	CHECK_FOR_INTERRUPTS();
	tuplestore_rescan(state->rows);
	if (!tuplestore_skiptuples(state->rows, from, true))
		elog(ERROR, "row %d of %d is missing from its batch", from, state->nrows);
	for (int i = 0; i < n; i++)
	{
		if (!tuplestore_gettupleslot(state->rows, true, false, slot))
			elog(ERROR, "row %d of %d is missing from its batch", from + i + 1, state->nrows);
		tuplestore_puttupleslot(piece, slot);
	}
	/* Set before, for error context callbacks of the caller. */
	sink->error_line = n == 1 ? state->lines[from] : 0;
	error = executor_try(sink, plan, piece, n, processed);
	tuplestore_end(piece);
	return error;
}

/*
 * The batch failed with error: insert its rows in smaller pieces, and refuse those that cannot be
 * inserted alone. Each piece costs a transaction id, so after a bad row they grow again.
 */
static uint64
executor_sift(LdrSink *sink, SPIPlanPtr plan, ErrorData *error)
{
	ExecutorSinkState *state = sink->state;
	TupleTableSlot *slot;
	uint64		inserted = 0;
	int			piece = state->nrows / PIECE_SHRINKS + 1;

	if (!ldr_guard_is_of_row(error, false))
		ReThrowError(error);
	slot = executor_rescan(state);
	for (int from = 0; from < state->nrows;)
	{
		int			n = Min(piece, state->nrows - from);
		uint64		processed = 0;
		ErrorData  *piece_error = executor_try_piece(sink, plan, slot, from, n, &processed);

		if (piece_error == NULL)
		{
			inserted += processed;
			from += n;
			piece *= PIECE_GROWS;
			continue;
		}
		if (!ldr_guard_is_of_row(piece_error, false))
			ReThrowError(piece_error);
		if (n == 1)
			sink->refuse(sink->refuse_arg, state->numbers[from++], piece_error);
		piece = n <= 2 ? 1 : n / PIECE_SHRINKS + 1;
		FreeErrorData(piece_error);
	}
	ExecDropSingleTupleTableSlot(slot);
	FreeErrorData(error);
	return inserted;
}

/* Insert the rows of the batch, and forget them. */
static void
executor_write(LdrSink *sink)
{
	ExecutorSinkState *state = sink->state;
	SPIPlanPtr	plan;
	ErrorData  *error;
	uint64		processed = 0;
	int64		next = state->numbers[state->nrows - 1] + 1;

	/* Each statement has a subtransaction of its own. */
	ldr_guard_commit(&sink->guard);
	sink->writing = true;
	sink->error_line = 0;
	plan = executor_plan(sink, state->absent);
	error = executor_try(sink, plan, state->rows, state->nrows, &processed);
	if (error != NULL && sink->refuse == NULL)
		executor_blame(sink, plan, error);
	if (error != NULL)
		processed = executor_sift(sink, plan, error);
	sink->error_line = 0;
	sink->writing = false;
	sink->inserted += processed;

	/* A new store for each batch: every scan leaves a read pointer behind in the old one. */
	tuplestore_end(state->rows);
	state->rows = NULL;
	state->nrows = sink->pending = 0;
	state->seen_bytes = 0;
	if (sink->written)
		sink->written(sink->refuse_arg, next);
}

static void
executor_flush(LdrSink *sink)
{
	ExecutorSinkState *state = sink->state;

	if (state->nrows == 0)
		return;
	executor_write(sink);
	sink->batch_bytes = 0;
}

static void
executor_put(LdrSink *sink)
{
	ExecutorSinkState *state = sink->state;
	Size		size = sizeof(bool) * sink->nattrs;
	size_t		row_bytes = sink->batch_bytes - state->seen_bytes;

	for (int i = 0; i < sink->nattrs; i++)
	{
		bool		absent = sink->absent[sink->attnums[i] - 1];

		if (absent && state->null_if_absent[i])
			sink->slot->tts_isnull[sink->attnums[i] - 1] = true;
		state->row_absent[i] = absent && !state->null_if_absent[i];
	}
	if (state->nrows > 0 && memcmp(state->row_absent, state->absent, size) != 0)
	{
		executor_write(sink);
		sink->batch_bytes = row_bytes;
	}
	if (state->nrows == 0)
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(state->cxt);

		/* Never to disk: the batch is bounded here. A row may be larger than work_mem. */
		state->rows = tuplestore_begin_heap(true, false, MAX_KILOBYTES);
		MemoryContextSwitchTo(oldcxt);
		memcpy(state->absent, state->row_absent, size);
		sink->first_line = sink->line;
	}

	ExecStoreVirtualTuple(sink->slot);
	tuplestore_puttupleslot(state->rows, sink->slot);
	state->lines[state->nrows] = sink->line;
	state->numbers[state->nrows++] = sink->row;
	sink->pending = state->nrows;
	/* The store has its own copy of the row. */
	ldr_sink_clear_slot(sink->slot);
	MemoryContextReset(sink->batch_cxt);
	state->seen_bytes = sink->batch_bytes;

	if (state->nrows == LDR_BATCH_ROWS || sink->batch_bytes >= LDR_BATCH_BYTES)
		executor_flush(sink);
}

static void
executor_close(LdrSink *sink)
{
	ExecDropSingleTupleTableSlot(sink->slot);
}

const LdrSinkOps ldr_executor_sink = {
	.name = "executor",
	.open = executor_open,
	.put = executor_put,
	.flush = executor_flush,
	.close = executor_close
};
