/*
 * publish/swap_internal.h: what the files of the swap share and nobody else needs.
 */
#ifndef LDR_SWAP_INTERNAL_H
#define LDR_SWAP_INTERNAL_H

#include "nodes/execnodes.h"
#include "utils/rel.h"

#define LDR_SWAP_SCHEMA "loader_swap"

/* swap_choose.c */

/* Why changes of the table must be seen row by row by those who decode them; NULL: nobody does. */
extern const char *ldr_swap_decoded(Relation target);

/*
 * All that the storage of an index depends on, as text: indexes with the same text can exchange
 * their storage. The same for a target's index and its copy, whatever they are called.
 */
extern char *ldr_swap_index_key(Relation index);

/* indexprs or indpred as the catalog has them (the relcache's are the planner's), or NULL. */
extern Node *ldr_swap_index_node(Relation index, AttrNumber column);

/* swap_heap.c */

/* ANALYZE, in the current transaction. Caller owns the table. */
extern void ldr_swap_analyze(Oid relid);

#endif							/* LDR_SWAP_INTERNAL_H */
