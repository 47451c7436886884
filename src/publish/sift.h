/*
 * publish/sift.h: merges and replaces by SQL that go on without the staged rows that the targets
 * refuse.
 */
#ifndef LDR_SIFT_H
#define LDR_SIFT_H

#include "publish/merge.h"
#include "publish/publish.h"

typedef struct LdrSift LdrSift;

struct LdrSift
{
	LdrRun	   *run;
	LdrMerge   *merge;
	/* bring what is staged into the targets; may be undone, and called again */
	void		(*apply) (LdrSift *sift);
	/* staged rows of a table (List of LdrRefused), which are about to be deleted there, are none */
	void		(*refuse) (LdrSift *sift, int table, List *refused);
	/* are rows of the table rejects that are not staged, which others may hang on? */
	bool		(*lacks) (LdrSift *sift, int table);
	int64		limit;			/* as many may be refused; -1: any number */
};

/*
 * Apply in a subtransaction, after staged rows whose parent is missing were refused. If a row is
 * the reason why it fails, all such rows are looked for and refused, and it is done again without
 * them.
 * Raises what is no row's fault, and what it cannot find a row for.
 */
extern void ldr_sift(LdrSift *sift);

/* The chain of a package whose options say on_error => 'reject'; the rows go to its rejects. */
extern void ldr_sift_package(LdrRun *run, LdrMerge *merge, void (*apply) (LdrSift *sift));

#endif							/* LDR_SIFT_H */
