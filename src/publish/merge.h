/*
 * publish/merge.h: from staging to the target by SQL: merges, and replaces that cannot be swaps.
 *
 * Works on one table chain, in the publish transaction, as the current role. All statements are
 * set-based, one per step, every name in them is quoted and qualified, operators included.
 */
#ifndef LDR_MERGE_H
#define LDR_MERGE_H

#include "nodes/pg_list.h"
#include "schema/schema.h"
#include "storage/itemptr.h"

typedef enum LdrMergeStrategy
{
	LDR_DELETE_INSERT,
	LDR_UPSERT,
	LDR_INSERT_ONLY,
	LDR_SCD2,
	LDR_CDC
} LdrMergeStrategy;

/* One table of the chain. */
typedef struct LdrMergeTable
{
	const LdrSchemaTable *table;
	const char *made_as;		/* name of the target, if it is not the table's; NULL */
	const char *staged_as;		/* the same of the staging table */
	int64		inserted;		/* what was done to the target */
	int64		updated;
	int64		deleted;
} LdrMergeTable;

/* A staged row that the target refuses. */
typedef struct LdrRefused
{
	int			table;			/* of the chain */
	ItemPointerData tid;		/* in the staging table */
	ErrorData  *edata;
} LdrRefused;

/*
 * To find the staged rows that the targets refuse: statements that write rows do so in pieces, each
 * under a subtransaction, down to single rows. What they write is for the caller to undo.
 */
typedef struct LdrSieve
{
	MemoryContext cxt;			/* of what is found */
	List	   *refused;		/* of LdrRefused */
	int64		limit;			/* after so many nobody looks for more; -1: none */
} LdrSieve;

typedef struct LdrMerge
{
	LdrMergeTable *tables;		/* root first, every parent before its children */
	int			ntables;
	const char *dataset;		/* schema of the targets ... */
	const char *staging;		/* ... and of the staging tables of the same names */
	const char *created_at;		/* of the package state: boundary of scd2; NULL: none */
	bool		dry_run;		/* do not run the statements, only collect them */
	bool		partial;		/* nested rows may come without their root rows, which are there */
	LdrSieve   *sieve;			/* NULL: what the target refuses is an error */
	List	   *statements;		/* of char *, as far as they were made */
} LdrMerge;

/*
 * The strategy that a root table of disposition merge asks for. Raises 22023 if there is none such.
 */
extern LdrMergeStrategy ldr_merge_strategy(const LdrSchemaTable *root);
extern const char *ldr_merge_strategy_name(LdrMergeStrategy strategy);

/*
 * Can the chain be merged at all? Keys and columns that the strategy needs, and conditions that
 * are one boolean expression each. Raises 22023 with table and hint. Looks at nothing live.
 */
extern void ldr_merge_check(const LdrMerge *merge);

/* Merge the chain by its strategy. Staging is loaded, indexed as far as it pays, and analyzed. */
extern void ldr_merge_run(LdrMerge *merge);

/*
 * Why the strategy cannot merge a part of a package's rows without changing what others have left:
 * a phrase; NULL: it can. Conditions of hints are refused, too, whatever they say.
 */
extern const char *ldr_merge_refuses_part(const LdrMerge *merge);

/*
 * The same, of what is staged and in the targets. For scd2: is the merge key that of a group of
 * rows, of which those that are not staged would be retired?
 */
extern bool ldr_merge_hits_others(LdrMerge *merge);

/*
 * With a sieve: refuse staged rows with values that the target's types do not take. For when a
 * statement did not come as far as to write rows, since it compares them.
 */
extern void ldr_merge_sift_values(LdrMerge *merge);

/*
 * Replace the contents of one table of the chain by those of its staging table: by deleting and
 * inserting everything, or only what differs, by primary key or by whole row. In two parts, so that
 * along a chain with foreign keys children lose rows before their parents, and get rows after them.
 */
typedef struct LdrDiff LdrDiff;
extern void ldr_refill_delete(LdrMerge *merge, int table);
extern void ldr_refill_insert(LdrMerge *merge, int table);
extern LdrDiff *ldr_diff_delete(LdrMerge *merge, int table);
extern void ldr_diff_insert(LdrDiff *diff);

#endif							/* LDR_MERGE_H */
