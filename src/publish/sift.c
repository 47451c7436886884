/*
 * publish/sift.c: merges and replaces by SQL that go on without the staged rows that the targets
 * refuse.
 *
 * Which rows a target refuses depends on the strategy, on what the target holds, on triggers and
 * policies; only the statements themselves can tell. So they are run as a whole, in a
 * subtransaction, and if that fails, by pieces down to single rows (merge_pieces.c), which finds
 * all rows that are to blame. All of that is undone, for a row that is refused must not have had
 * any effect: the row that it would have replaced stays. Then the rows are taken out of the
 * staging tables, and the statements are run as a whole again. They may fail again, since rows
 * stay now that would have gone; each round takes at least one row away, and there is a bound. But
 * for one thing: others may write to the targets, and a row that they have changed since it was
 * looked for is not updated by pieces, where it is known by its place. So if nothing was refused,
 * though the whole was, it may be another time.
 *
 * A nested row whose parent was refused cannot be merged without it: in a target where the parent
 * is there in an older form it would mix with the rows of that. So it is refused, too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "fault.h"
#include "publish/merge_sql.h"
#include "publish/sift.h"
#include "sink/guard.h"

#define SIFT_ROUNDS 10
#define SIFT_VAIN	3			/* of them in which nothing is found */
#define DELETE_ROWS 10000		/* at once */

/* --- one try ---------------------------------------------------------------------------------- */

/* Counts of what was undone are to go, too. */
static LdrTableStats *
sift_save_stats(const LdrRun *run)
{
	LdrTableStats *saved = palloc(sizeof(LdrTableStats) * Max(list_length(run->stats), 1));

	for (int i = 0; i < list_length(run->stats); i++)
		saved[i] = *(LdrTableStats *) list_nth(run->stats, i);
	return saved;
}

static void
sift_restore_stats(LdrRun *run, const LdrTableStats *saved, int n)
{
	run->stats = list_truncate(run->stats, n);
	for (int i = 0; i < n; i++)
		*(LdrTableStats *) list_nth(run->stats, i) = saved[i];
}

static void
sift_reset(LdrMerge *merge)
{
	merge->statements = NIL;
	for (int i = 0; i < merge->ntables; i++)
		merge->tables[i].inserted = merge->tables[i].updated = merge->tables[i].deleted = 0;
}

/* Apply, in a subtransaction that is kept if all goes well and if it is wanted. Else the error. */
static ErrorData *
sift_try(LdrSift *sift, bool keep)
{
	MemoryContext cxt = CurrentMemoryContext;
	int			n = list_length(sift->run->stats);
	LdrTableStats *saved = sift_save_stats(sift->run);
	ErrorData  *volatile edata = NULL;
	LdrGuard	guard = {0};

	sift_reset(sift->merge);
	ldr_guard_begin(&guard);
	PG_TRY();
	{
		sift->apply(sift);
		if (keep)
			ldr_guard_commit(&guard);
		else
			ldr_guard_abort(&guard);
	}
	PG_CATCH();
	{
		edata = ldr_guard_catch(&guard, cxt);
		if (!ldr_guard_is_of_row(edata, false))
			ReThrowError(edata);
	}
	PG_END_TRY();
	if (edata || !keep)
		sift_restore_stats(sift->run, saved, n);
	return edata;
}

/* --- rows go ---------------------------------------------------------------------------------- */

static int
sift_compare(const ListCell *a, const ListCell *b)
{
	const LdrRefused *x = lfirst(a);
	const LdrRefused *y = lfirst(b);

	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	return ItemPointerCompare((ItemPointer) &x->tid, (ItemPointer) &y->tid);
}

static void
sift_delete(const char *staging, const List *refused)
{
	Oid			types[] = {TIDARRAYOID};
	Datum	   *tids = palloc(sizeof(Datum) * DELETE_ROWS);
	Datum		values[1];
	int			n = 0;
	const ListCell *lc;

	foreach(lc, refused)
	{
		tids[n++] = PointerGetDatum(&((LdrRefused *) lfirst(lc))->tid);
		if (n < DELETE_ROWS && lnext(refused, lc))
			continue;
		values[0] = PointerGetDatum(construct_array(tids, n, TIDOID, sizeof(ItemPointerData),
													false, TYPALIGN_SHORT));
		if (ldr_sql_execute(psprintf("DELETE FROM %s s WHERE " LDR_SOME_ROWS, staging), 1, types,
							values, SPI_OK_DELETE) != n)
			elog(ERROR, "rows of staging table %s are not where they were", staging);
		n = 0;
	}
}

/* These rows are refused; one may be there twice, for two statements. */
static void
sift_refuse(LdrSift *sift, const LdrChain *chain, List *refused)
{
	list_sort(refused, sift_compare);
	for (int i = 0; i < chain->ntables; i++)
	{
		List	   *of_table = NIL;
		ListCell   *lc;

		foreach(lc, refused)
		{
			LdrRefused *r = lfirst(lc);

			if (r->table == i && (of_table == NIL ||
								  !ItemPointerEquals(&((LdrRefused *) llast(of_table))->tid,
													 &r->tid)))
				of_table = lappend(of_table, r);
		}
		if (of_table == NIL)
			continue;
		sift->refuse(sift, i, of_table);
		sift_delete(chain->tables[i].staging, of_table);
	}
}

/* --- rows without a parent -------------------------------------------------------------------- */

/* What a nested row refers to its parent by, and what of; false: nothing known. */
static bool
sift_link(const LdrChain *chain, const LdrChainTable *table, LdrChainTable **parent,
		  LdrChainColumn **key, LdrChainColumn **to)
{
	*parent = ldr_chain_parent(chain, table);
	*key = ldr_chain_column(table, LDR_HINT_PARENT_KEY);
	if (*key == NULL)
	{
		*parent = &chain->tables[0];
		*key = ldr_chain_column(table, LDR_HINT_ROOT_KEY);
	}
	*to = ldr_chain_column(*parent, LDR_HINT_ROW_KEY);
	if (*to == NULL)
		*to = ldr_chain_column(*parent, LDR_HINT_ROW_VERSION);
	return *key != NULL && *to != NULL;
}

/* The load id that dlt writes into root rows; NULL: it does not. */
static LdrChainColumn *
sift_load_id(const LdrChainTable *root)
{
	for (int i = 0; i < root->ncolumns; i++)
		if (pg_strcasecmp(root->columns[i].schema->name, "_dlt_load_id") == 0)
			return &root->columns[i];
	return NULL;
}

/*
 * Where only a part of a package is staged: is the root row of s in the target as the package left
 * it? If it is in an older form, its new one is still a reject; in a newer one, s is out of date.
 */
static char *
sift_root_is_there(LdrSift *sift, const LdrChain *chain, const LdrChainTable *table)
{
	const LdrChainTable *root = &chain->tables[0];
	LdrChainColumn *load_id = sift_load_id(root);
	LdrChainColumn *to = ldr_chain_column(root, LDR_HINT_ROW_KEY);
	LdrChainColumn *key = ldr_chain_column(table, LDR_HINT_ROOT_KEY);

	/* what is there is never changed: nested rows have come to older ones, too */
	if (ldr_merge_strategy(root->schema) == LDR_INSERT_ONLY)
		return "true";
	if (key == NULL && ldr_chain_parent(chain, table) == root)
		key = ldr_chain_column(table, LDR_HINT_PARENT_KEY);
	if (load_id == NULL || to == NULL || key == NULL)
		return sift->lacks(sift, 0) ? "false" : "true";
	return psprintf("(EXISTS (SELECT 1 FROM %s r WHERE %s AND "
					"r.%s::pg_catalog.text OPERATOR(pg_catalog.=) %s) "
					"OR EXISTS (SELECT 1 FROM %s r WHERE %s))",
					root->target, ldr_sql_equal(ldr_target(to, "r"), ldr_staged(key, "s")),
					load_id->name, quote_literal_cstr(sift->run->package->load_id),
					root->staging, ldr_sql_equal(ldr_staged(to, "r"), ldr_staged(key, "s")));
}

/* Staged rows whose parent is not staged, nor (where not all rows come) in the target. */
static char *
sift_orphans(LdrSift *sift, const LdrChain *chain, const LdrChainTable *table,
			 const LdrChainTable *parent, const LdrChainColumn *key, const LdrChainColumn *to)
{
	char	   *sql = psprintf("FROM %s s WHERE s.%s IS NOT NULL AND NOT EXISTS "
							   "(SELECT 1 FROM %s p WHERE %s)", table->staging, key->name,
							   parent->staging,
							   ldr_sql_equal(ldr_staged(to, "p"), ldr_staged(key, "s")));

	if (sift->merge->partial)
		sql = psprintf("%s AND NOT (EXISTS (SELECT 1 FROM %s d WHERE %s) AND %s)", sql,
					   parent->target, ldr_sql_equal(ldr_target(to, "d"), ldr_staged(key, "s")),
					   sift_root_is_there(sift, chain, table));
	return sql;
}

/* Parents come first in a chain, so that what hangs on an orphan is one, too. */
static void
sift_refuse_orphans(LdrSift *sift)
{
	LdrMerge   *merge = sift->merge;
	LdrSieve	sieve = {.cxt = CurrentMemoryContext, .limit = sift->limit};
	LdrChain   *chain = NULL;

	for (int i = 1; i < merge->ntables; i++)
	{
		ErrorData	edata = {.elevel = ERROR, .sqlerrcode = ERRCODE_FOREIGN_KEY_VIOLATION};
		LdrChainTable *parent;
		LdrChainColumn *key,
				   *to;

		merge->sieve = &sieve;
		if (chain == NULL)
		{
			chain = ldr_chain_make(merge);
			ldr_chain_look(chain);
		}
		if (sift_link(chain, &chain->tables[i], &parent, &key, &to) &&
			(merge->partial || sift->lacks(sift, parent - chain->tables)))
		{
			edata.message = psprintf("the row's parent in table \"%s\" was rejected",
									 parent->schema->name);
			if (merge->partial)
				edata.message = psprintf("the row's parent in table \"%s\" is not there as the "
										 "package brought it", parent->schema->name);
			edata.column_name = key->schema->name;
			ldr_pieces_refuse(ldr_pieces_choose(chain, &chain->tables[i],
												sift_orphans(sift, chain, &chain->tables[i],
															 parent, key, to)), &edata);
		}
		merge->sieve = NULL;
		if (sieve.refused != NIL)
			sift_refuse(sift, chain, sieve.refused);
		sieve.refused = NIL;
	}
}

/* ---------------------------------------------------------------------------------------------- */

/* Find what is refused. False if no row is, and will not be; *vain counts where it may still be. */
static bool
sift_find(LdrSift *sift, int *vain)
{
	LdrMerge   *merge = sift->merge;
	LdrSieve	sieve = {.cxt = CurrentMemoryContext, .limit = sift->limit};
	bool		fails;

	LDR_FAULT("sift: rows to be found");
	merge->sieve = &sieve;
	fails = sift_try(sift, false) != NULL;
	if (fails && sieve.refused == NIL)
		ldr_merge_sift_values(merge);
	merge->sieve = NULL;
	if (sieve.refused == NIL)
		return !fails && ++*vain < SIFT_VAIN;
	sift_refuse(sift, ldr_chain_make(merge), sieve.refused);
	LDR_FAULT("sift: rows refused");
	return true;
}

void
ldr_sift(LdrSift *sift)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "loader sift",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	int			vain = 0;

	for (int round = 0;; round++)
	{
		ErrorData  *edata;

		sift_refuse_orphans(sift);
		edata = sift_try(sift, true);
		if (edata == NULL)
			break;
		if (round == SIFT_ROUNDS || !sift_find(sift, &vain))
			ReThrowError(edata);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}
