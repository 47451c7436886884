/*
 * publish/merge_pieces.c: statements that write staged rows, by pieces, to find those rows that the
 * target refuses.
 *
 * Which rows a statement writes is asked once, and before it writes any: so two rows of one key are
 * both among them, as for the statement as a whole. A piece that fails is undone, and tried again
 * up to the row that is likely to blame; where that does not help, it is halved. Pieces are written
 * in the order of the staging table, so of two rows the one that came first stays.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "publish/merge_sql.h"
#include "schema/plan.h"
#include "sink/guard.h"
#include "worker/worker.h"

#define PIECE_ROWS	65536		/* at most, at once */
#define FETCH_ROWS	10000

struct LdrPieces
{
	LdrChain   *chain;
	LdrChainTable *table;
	int64		n;
	int64		size;
	ItemPointerData *tids;		/* of staged rows, in order */
	ItemPointerData *targets;	/* of the rows that they match; NULL: not known */
};

/* --- which rows ------------------------------------------------------------------------------- */

static ItemPointer
pieces_tid(uint64 row, int column)
{
	bool		isnull;

	return (ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[row],
													   SPI_tuptable->tupdesc, column, &isnull));
}

static void
pieces_append(LdrPieces *pieces)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		ItemPointer tid = pieces_tid(i, 1);

		/* an UPDATE of several rows by one */
		if (pieces->n > 0 && pieces->targets == NULL &&
			ItemPointerEquals(&pieces->tids[pieces->n - 1], tid))
			continue;
		if (pieces->n == pieces->size)
		{
			pieces->size *= 2;
			pieces->tids = repalloc_huge(pieces->tids, sizeof(ItemPointerData) * pieces->size);
			if (pieces->targets)
				pieces->targets = repalloc_huge(pieces->targets,
												sizeof(ItemPointerData) * pieces->size);
		}
		if (pieces->targets)
			pieces->targets[pieces->n] = *pieces_tid(i, 2);
		pieces->tids[pieces->n++] = *tid;
	}
}

/* Staged rows s, or with matched pairs of them and the target's rows d. */
static LdrPieces *
pieces_choose(LdrChain *chain, LdrChainTable *table, const char *rows, bool matched)
{
	LdrPieces  *pieces = palloc0(sizeof(LdrPieces));
	SPIPlanPtr	plan;
	Portal		portal;

	pieces->chain = chain;
	pieces->table = table;
	pieces->size = 1024;
	pieces->tids = palloc(sizeof(ItemPointerData) * pieces->size);
	if (matched)
		pieces->targets = palloc(sizeof(ItemPointerData) * pieces->size);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(psprintf(matched ? "SELECT s.ctid, d.ctid %s ORDER BY 1, 2"
								: "SELECT s.ctid %s ORDER BY 1", rows), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		pieces_append(pieces);
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_finish();
	return pieces;
}

LdrPieces *
ldr_pieces_choose(LdrChain *chain, LdrChainTable *table, const char *rows)
{
	return pieces_choose(chain, table, rows, false);
}

/* --- what is refused -------------------------------------------------------------------------- */

static bool
pieces_is_enough(const LdrSieve *sieve)
{
	return sieve->limit >= 0 && list_length(sieve->refused) > sieve->limit;
}

static void
pieces_refuse(const LdrPieces *pieces, int64 row, const ErrorData *edata)
{
	LdrSieve   *sieve = pieces->chain->merge->sieve;
	int			table = pieces->table - pieces->chain->tables;
	LdrRefused *refused = sieve->refused != NIL ? llast(sieve->refused) : NULL;
	MemoryContext old;

	/* for several rows of the target */
	if (refused && refused->table == table && ItemPointerEquals(&refused->tid, &pieces->tids[row]))
		return;
	old = MemoryContextSwitchTo(sieve->cxt);
	refused = palloc(sizeof(LdrRefused));
	refused->table = table;
	refused->tid = pieces->tids[row];
	refused->edata = palloc0(sizeof(ErrorData));
	refused->edata->elevel = ERROR;
	refused->edata->sqlerrcode = edata->sqlerrcode;
	refused->edata->message = pstrdup(edata->message);
	refused->edata->detail = edata->detail ? pstrdup(edata->detail) : NULL;
	refused->edata->column_name = edata->column_name ? pstrdup(edata->column_name) : NULL;
	sieve->refused = lappend(sieve->refused, refused);
	MemoryContextSwitchTo(old);
}

void
ldr_pieces_refuse(const LdrPieces *pieces, const ErrorData *edata)
{
	for (int64 i = 0; i < pieces->n && !pieces_is_enough(pieces->chain->merge->sieve); i++)
		pieces_refuse(pieces, i, edata);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A statement that is run for one piece after the other. */
typedef struct PiecesRun
{
	DestReceiver dest;			/* first: counts what the statement returns */
	const LdrPieces *pieces;
	const char *sql;
	SPIPlanPtr	plan;
	int			expect;
	MemoryContext cxt;			/* for errors */
	int64		rows;			/* of all pieces */
	int64		done;			/* of the piece in hand, when it failed */
} PiecesRun;

static bool
pieces_receive(TupleTableSlot *slot, DestReceiver *self)
{
	((PiecesRun *) self)->done++;
	return true;
}

static void
pieces_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	/* only rows count */
}

static void
pieces_shutdown(DestReceiver *self)
{
	/* nor is there anything to end */
}

/*
 * The statement is planned once, for however many rows: as for few it fetches staged rows by where
 * they are. With RETURNING it tells each row when it is written. Where a rule does something else
 * that is not allowed.
 */
static void
pieces_prepare(PiecesRun *run, const char *some)
{
	Oid			types[] = {TIDARRAYOID, TIDARRAYOID};
	bool		returns = run->expect != SPI_OK_SELECT && !run->pieces->table->rules;

	run->sql = returns ? psprintf("%s RETURNING NULL", some) : some;
	if (returns)
		run->expect = run->expect == SPI_OK_INSERT ? SPI_OK_INSERT_RETURNING
			: SPI_OK_UPDATE_RETURNING;
	run->plan = SPI_prepare_cursor(run->sql, run->pieces->targets ? 2 : 1, types,
								   CURSOR_OPT_GENERIC_PLAN);
	if (run->plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	run->dest.receiveSlot = pieces_receive;
	run->dest.rStartup = pieces_startup;
	run->dest.rShutdown = pieces_shutdown;
	run->dest.rDestroy = pieces_shutdown;
	run->dest.mydest = DestTuplestore;	/* not DestNone: a SELECT would not be one */
}

static Datum
pieces_array(const ItemPointerData *from, int n)
{
	Datum	   *tids = palloc(sizeof(Datum) * n);
	ArrayType  *array;

	for (int i = 0; i < n; i++)
		tids[i] = PointerGetDatum(&from[i]);
	array = construct_array(tids, n, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
	pfree(tids);
	return PointerGetDatum(array);
}

static ParamListInfo
pieces_params(const LdrPieces *pieces, int64 from, int n)
{
	ParamListInfo params = makeParamList(pieces->targets ? 2 : 1);

	for (int i = 0; i < params->numParams; i++)
	{
		params->params[i].isnull = false;
		params->params[i].pflags = 0;
		params->params[i].ptype = TIDARRAYOID;
		params->params[i].value = pieces_array((i == 0 ? pieces->tids : pieces->targets) + from, n);
	}
	return params;
}

static void
pieces_execute(PiecesRun *run, int64 from, int n)
{
	SPIExecuteOptions options = {0};
	int			rc;

	options.params = pieces_params(run->pieces, from, n);
	options.dest = &run->dest;
	run->done = 0;
	rc = SPI_execute_plan_extended(run->plan, &options);
	if (rc != run->expect && rc != SPI_OK_REWRITTEN)
		elog(ERROR, "unexpected result %s of \"%s\"", SPI_result_code_string(rc), run->sql);
	run->rows += (int64) SPI_processed;
	for (int i = 0; i < options.params->numParams; i++)
		pfree(DatumGetPointer(options.params->params[i].value));
	pfree(options.params);
}

/* Write rows under a guard. If that fails it is undone, and the error is returned; else NULL. */
static ErrorData *
pieces_try(PiecesRun *run, int64 from, int n)
{
	ErrorData  *volatile edata = NULL;
	LdrGuard	guard = {0};

	CHECK_FOR_INTERRUPTS();
	ldr_check_cancel();			/* many rows that are refused are many statements */
	ldr_guard_begin(&guard);
	PG_TRY();
	{
		pieces_execute(run, from, n);
		ldr_guard_commit(&guard);
	}
	PG_CATCH();
	{
		edata = ldr_guard_catch(&guard, run->cxt);
		if (!ldr_guard_is_of_row(edata, false))
			ReThrowError(edata);
	}
	PG_END_TRY();
	return edata;
}

/* Find what is refused in a piece that has failed. The depth is bounded by its length. */
static void
pieces_halve(PiecesRun *run, int64 from, int n, ErrorData *edata)
{
	int			half = n / 2;

	if (n == 1)
		pieces_refuse(run->pieces, from, edata);
	FreeErrorData(edata);
	for (int i = 0; n > 1 && i < 2 && !pieces_is_enough(run->pieces->chain->merge->sieve); i++)
	{
		int64		first = from + (i == 0 ? 0 : half);
		int			rows = i == 0 ? half : n - half;

		edata = pieces_try(run, first, rows);
		if (edata)
			pieces_halve(run, first, rows, edata);
	}
}

static void
pieces_write(PiecesRun *run, int64 from, int n)
{
	ErrorData  *edata = n > 0 ? pieces_try(run, from, n) : NULL;

	if (edata)
		pieces_halve(run, from, n, edata);
}

/*
 * Write a piece, or the first rows of it. Returns how many, and how many are to be tried next.
 *
 * Rows are written one after the other, so if a piece fails, the row behind those that were written
 * is likely to blame. That is only a guess (a trigger fires at the end of a statement, or a plan
 * has its own order), so it is tried: those before it must go, and it must not.
 */
static int
pieces_advance(PiecesRun *run, int64 from, int n, int *next)
{
	ErrorData  *edata = pieces_try(run, from, n);
	int			before = (int) run->done;

	*next = Min(n * 2, PIECE_ROWS);
	if (edata == NULL)
		return n;
	*next = Max(before * 2, 1);
	if (n == 1 || before >= n)
	{
		*next = Max(n / 2, 1);
		pieces_halve(run, from, n, edata);
		return n;
	}
	FreeErrorData(edata);
	pieces_write(run, from, before);
	pieces_write(run, from + before, 1);
	return before + 1;
}

int64
ldr_pieces_write(LdrPieces *pieces, const char *some, int expect)
{
	PiecesRun	run = {.pieces = pieces, .expect = expect, .cxt = CurrentMemoryContext};
	int64		from = 0;
	int			n = PIECE_ROWS;

	if (pieces->n == 0)
		return 0;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	pieces_prepare(&run, some);
	while (from < pieces->n && !pieces_is_enough(pieces->chain->merge->sieve))
		from += pieces_advance(&run, from, (int) Min(n, pieces->n - from), &n);
	SPI_finish();
	return run.rows;
}

int64
ldr_chain_write(LdrChain *chain, LdrChainTable *table, const char *rows, const char *sql,
				const char *some, int expect)
{
	if (chain->merge->sieve == NULL)
		return ldr_chain_run(chain, sql, expect);
	return ldr_pieces_write(ldr_pieces_choose(chain, table, rows), some, expect);
}

/*
 * Which row of the target a staged row changes is noted with it, for to look for it by its key would
 * be to read the whole table for every piece, if it has no index. Where triggers or foreign keys
 * may move rows meanwhile, that is what has to be done.
 */
int64
ldr_chain_update(LdrChain *chain, LdrChainTable *table, const char *set, const char *from,
				 const char *matched, const char *condition)
{
	const char *update = psprintf("UPDATE %s d SET %s FROM ", table->target, set);
	const char *rows = psprintf("FROM %s d, %s WHERE %s", table->target, from, matched);

	if (chain->merge->sieve == NULL)
		return ldr_chain_run(chain, psprintf("%s%s WHERE %s", update, from, condition),
							 SPI_OK_UPDATE);
	if (!table->plain || table->cascades)
		return ldr_pieces_write(ldr_pieces_choose(chain, table, rows),
								psprintf("%s%s s WHERE %s AND " LDR_SOME_ROWS, update,
										 table->staging, condition), SPI_OK_UPDATE);
	return ldr_pieces_write(pieces_choose(chain, table, rows, true),
							psprintf("%sROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) "
									 "AS pair (s, d), %s s WHERE "
									 "s.ctid OPERATOR(pg_catalog.=) pair.s AND "
									 "d.ctid OPERATOR(pg_catalog.=) pair.d AND %s", update,
									 table->staging, condition), SPI_OK_UPDATE);
}

int64
ldr_chain_insert(LdrChain *chain, LdrChainTable *table, const char *from, const char *condition)
{
	return ldr_chain_write(chain, table,
						   psprintf("FROM %s%s", from, ldr_sql_where(condition)),
						   ldr_sql_insert(table, from, condition),
						   ldr_sql_insert(table, psprintf("%s s", table->staging), LDR_SOME_ROWS),
						   SPI_OK_INSERT);
}

/* --- values that no statement can compare ----------------------------------------------------- */

/* The columns whose types are not the target's, as those; NULL: there are none. */
static char *
pieces_casts(const LdrChainTable *table)
{
	char	   *sql = NULL;

	for (int i = 0; i < table->ncolumns; i++)
	{
		const LdrChainColumn *column = &table->columns[i];
		Oid			type = OidIsValid(column->type) ? getBaseType(column->type) : InvalidOid;

		if (!OidIsValid(type) || !OidIsValid(column->staging_type) ||
			IsBinaryCoercible(column->staging_type, type))
			continue;
		sql = psprintf("%s%ss.%s::%s", sql ? sql : "", sql ? ", " : "", column->name,
					   ldr_sql_type(type));
	}
	return sql;
}

void
ldr_merge_sift_values(LdrMerge *merge)
{
	LdrChain   *chain = ldr_chain_make(merge);

	ldr_chain_look(chain);
	for (int i = 0; i < chain->ntables; i++)
	{
		LdrChainTable *table = &chain->tables[i];
		char	   *casts = pieces_casts(table);
		char	   *from = psprintf("FROM %s s", table->staging);

		if (casts)
			(void) ldr_pieces_write(ldr_pieces_choose(chain, table, from),
									psprintf("SELECT %s %s WHERE " LDR_SOME_ROWS, casts, from),
									SPI_OK_SELECT);
	}
}
