/*
 * publish/replace_refill.c: replace a table's rows by deleting all and inserting all, in the one
 * transaction. Works for whatever takes DELETE and INSERT; readers see the old rows until it ends.
 *
 * A published table without a replica identity takes no DELETE: there the caller truncates it.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "fault.h"
#include "publish/merge_sql.h"

static LdrChain *
refill_look(LdrMerge *merge)
{
	LdrChain   *chain = ldr_chain_make(merge);

	ldr_chain_look(chain);
	return chain;
}

void
ldr_refill_delete(LdrMerge *merge, int table)
{
	LdrChain   *chain = refill_look(merge);
	LdrChainTable *t = &chain->tables[table];

	LDR_FAULT("refill: to delete");
	t->counts->deleted += ldr_chain_run(chain, psprintf("DELETE FROM %s", t->target),
										SPI_OK_DELETE);
}

void
ldr_refill_insert(LdrMerge *merge, int table)
{
	LdrChain   *chain = refill_look(merge);
	LdrChainTable *t = &chain->tables[table];

	LDR_FAULT("refill: to insert");
	t->counts->inserted += ldr_chain_insert(chain, t, psprintf("%s s", t->staging), NULL);
}
