/*
 * publish/merge_pieces.c: statements that write staged rows, by pieces, to find those rows that the
 * target refuses.
 *
 * Which rows a statement writes is asked once, and before it writes any: so two rows of one key are
 * both among them, as for the statement as a whole. A piece that fails is undone and halved. Pieces
 * are written in the order of the staging table, so of two rows the one that came first stays.
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

#define PIECE_ROWS	65536		/* at most, at once */
#define FETCH_ROWS	10000

struct LdrPieces
{
	LdrChain   *chain;
	LdrChainTable *table;
	int64		n;
	int64		size;
	ItemPointerData *tids;
};

/* --- which rows ------------------------------------------------------------------------------- */

static void
pieces_append(LdrPieces *pieces)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		tid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		/* an UPDATE of several rows by one */
		if (pieces->n > 0 && ItemPointerEquals(&pieces->tids[pieces->n - 1],
											   (ItemPointer) DatumGetPointer(tid)))
			continue;
		if (pieces->n == pieces->size)
		{
			pieces->size *= 2;
			pieces->tids = repalloc_huge(pieces->tids, sizeof(ItemPointerData) * pieces->size);
		}
		pieces->tids[pieces->n++] = *(ItemPointer) DatumGetPointer(tid);
	}
}

LdrPieces *
ldr_pieces_choose(LdrChain *chain, LdrChainTable *table, const char *rows)
{
	LdrPieces  *pieces = palloc0(sizeof(LdrPieces));
	SPIPlanPtr	plan;
	Portal		portal;

	pieces->chain = chain;
	pieces->table = table;
	pieces->size = 1024;
	pieces->tids = palloc(sizeof(ItemPointerData) * pieces->size);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(psprintf("SELECT s.ctid %s ORDER BY 1", rows), 0, NULL);
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
	MemoryContext old = MemoryContextSwitchTo(sieve->cxt);
	LdrRefused *refused = palloc(sizeof(LdrRefused));

	refused->table = pieces->table - pieces->chain->tables;
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

static Datum
pieces_array(const LdrPieces *pieces, int64 from, int n)
{
	Datum	   *tids = palloc(sizeof(Datum) * n);
	ArrayType  *array;

	for (int i = 0; i < n; i++)
		tids[i] = PointerGetDatum(&pieces->tids[from + i]);
	array = construct_array(tids, n, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
	pfree(tids);
	return PointerGetDatum(array);
}

/* Write rows under a guard. If that fails it is undone, and the error is returned; else NULL. */
static ErrorData *
pieces_try(const LdrPieces *pieces, const char *some, int expect, int64 from, int n, int64 *rows)
{
	MemoryContext cxt = CurrentMemoryContext;
	Oid			types[] = {TIDARRAYOID};
	Datum		values[] = {pieces_array(pieces, from, n)};
	ErrorData  *volatile edata = NULL;
	LdrGuard	guard = {0};

	ldr_guard_begin(&guard);
	PG_TRY();
	{
		*rows += (int64) ldr_sql_execute(some, 1, types, values, expect);
		ldr_guard_commit(&guard);
	}
	PG_CATCH();
	{
		edata = ldr_guard_catch(&guard, cxt);
		if (!ldr_guard_is_of_row(edata, false))
			ReThrowError(edata);
	}
	PG_END_TRY();
	pfree(DatumGetPointer(values[0]));
	return edata;
}

/* The depth is bounded by the length of a piece: it is halved. */
static void
pieces_write(const LdrPieces *pieces, const char *some, int expect, int64 from, int n,
			 int64 *rows)
{
	ErrorData  *edata;

	CHECK_FOR_INTERRUPTS();
	if (pieces_is_enough(pieces->chain->merge->sieve))
		return;
	edata = pieces_try(pieces, some, expect, from, n, rows);
	if (edata == NULL)
		return;
	if (n == 1)
		pieces_refuse(pieces, from, edata);
	FreeErrorData(edata);
	if (n == 1)
		return;
	pieces_write(pieces, some, expect, from, n / 2, rows);
	pieces_write(pieces, some, expect, from + n / 2, n - n / 2, rows);
}

int64
ldr_pieces_write(LdrPieces *pieces, const char *some, int expect)
{
	int64		rows = 0;

	for (int64 from = 0; from < pieces->n; from += PIECE_ROWS)
		pieces_write(pieces, some, expect, from, (int) Min(PIECE_ROWS, pieces->n - from), &rows);
	return rows;
}

int64
ldr_chain_write(LdrChain *chain, LdrChainTable *table, const char *rows, const char *sql,
				const char *some, int expect)
{
	if (chain->merge->sieve == NULL)
		return ldr_chain_run(chain, sql, expect);
	return ldr_pieces_write(ldr_pieces_choose(chain, table, rows), some, expect);
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
