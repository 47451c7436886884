/*
 * publish/replace_refill.c: replace a table's rows by deleting all and inserting all, in the one
 * transaction. Works for whatever takes DELETE and INSERT; readers see the old rows until it ends.
 *
 * A published table without a replica identity takes no DELETE. There it is TRUNCATE, as dlt does it,
 * with its lock.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "publish/merge_sql.h"

void
ldr_refill_run(LdrMerge *merge, int table)
{
	LdrChain   *chain = ldr_chain_make(merge);
	LdrChainTable *t = &chain->tables[table];

	ldr_chain_look(chain);
	if (t->counts->truncate)
		ldr_chain_run(chain, psprintf("TRUNCATE TABLE ONLY %s", t->target), SPI_OK_UTILITY);
	else
		t->counts->deleted += ldr_chain_run(chain, psprintf("DELETE FROM %s", t->target),
											SPI_OK_DELETE);
	t->counts->inserted += ldr_chain_run(chain, ldr_sql_insert(t, psprintf("%s s", t->staging),
															   NULL), SPI_OK_INSERT);
}
