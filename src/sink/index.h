/*
 * sink/index.h: entries of btree indexes that are collected while rows are written, and made in
 * key order.
 *
 * Only the place of an entry depends on the order in which entries are made, never its
 * correctness; so any order is right, and one close to the index's finds the pages of the index
 * one after the other instead of at random.
 */
#ifndef LDR_INDEX_H
#define LDR_INDEX_H

#include "access/itup.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"

/* Memory for entries of one sink, in kB; 0: entries are made row by row. */
extern int	ldr_index_memory;

typedef struct LdrIndexFeed LdrIndexFeed;

/*
 * Collect entries of the indexes that are open in rri; NULL: none of them can wait. An index that
 * is no btree, or whose constraint is not checked at once, gets its entries row by row. Lives in
 * the current context, and no longer than rri and estate.
 */
extern LdrIndexFeed *ldr_index_feed_create(ResultRelInfo *rri, EState *estate);

/*
 * Entries of a row that is in the table. line is what *error_line says of errors: those of this
 * row, and in a run those of the row whose entry is being made.
 */
extern void ldr_index_feed_add(LdrIndexFeed *feed, TupleTableSlot *slot, int64 line,
							   int64 *error_line);

/* Make all entries that were collected. */
extern void ldr_index_feed_run(LdrIndexFeed *feed, int64 *error_line);

/* --- inside ----------------------------------------------------------------------------------- */

typedef struct LdrIndexEntry
{
	uint64		key;			/* orders entries, roughly as the index does */
	uint32		at;				/* the tuple's place in the data, in units of MAXALIGN */
	uint32		line;			/* from the first one of the run */
} LdrIndexEntry;

/* The entries of one index. */
typedef struct LdrIndexRun
{
	Relation	heap;
	Relation	index;
	IndexInfo  *info;
	bool		unique;
	char	   *data;			/* index tuples, each with its TID */
	size_t		data_size;
	size_t		data_used;
	LdrIndexEntry *entries;
	int			nentries;
	int			max_entries;
	struct LdrIndexOrder *order;
	struct BTScanInsertData *key;	/* of the entry in hand */
	int			last_filled;	/* entries that the last page took */
} LdrIndexRun;

static inline IndexTuple
ldr_index_tuple(const LdrIndexRun *run, const LdrIndexEntry *entry)
{
	return (IndexTuple) (run->data + (size_t) entry->at * MAXIMUM_ALIGNOF);
}

/* How entries of an index are ordered; in the current context. */
extern struct LdrIndexOrder *ldr_index_order(Relation index);

/* Sort the entries, those that are equal in the order they came in. Resets the current context. */
extern void ldr_index_sort(LdrIndexRun *run);

typedef enum LdrLeafResult
{
	LDR_LEAF_DONE,				/* some entries are made */
	LDR_LEAF_LONE,				/* none: the next entry belongs to another page */
	LDR_LEAF_OTHER				/* none: no room on the page, an equal key, ... */
} LdrLeafResult;

/*
 * Put as many entries as belong there, from *next on and at least two, on one leaf page. What is
 * not plain is left to the server.
 */
extern LdrLeafResult ldr_index_page(LdrIndexRun *run, int *next);

#endif							/* LDR_INDEX_H */
