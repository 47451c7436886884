/*
 * sink/page.h: rows -> heap pages in memory. Nothing here looks at a relation, a transaction or a
 * lock: whoever is told what the pages are for can fill them, in memory of any kind.
 */
#ifndef LDR_PAGE_H
#define LDR_PAGE_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "storage/bufpage.h"

typedef enum LdrPageResult
{
	LDR_PAGE_PUT,				/* the row is in a page */
	LDR_PAGE_RUN_FULL,			/* no page has room: write the run, start anew, put it again */
	LDR_PAGE_TOAST				/* the toaster has to see it first: then ldr_page_put_tuple */
} LdrPageResult;

/* What the pages are for, which is the same for all who fill pages of one heap. */
typedef struct LdrPageKind
{
	TransactionId xid;			/* that the rows are of */
	CommandId	cid;
	bool		frozen;			/* rows and pages are visible to all from the start */
	Size		spare;			/* bytes of each page to leave free: fillfactor */
} LdrPageKind;

/* A run of pages that is being filled. Rows do not know their block yet: see ldr_page_number. */
typedef struct LdrPageRun
{
	LdrPageKind kind;
	TupleDesc	desc;			/* of the rows, dropped columns included */
	char	   *pages;			/* the caller's memory, npages * BLCKSZ, MAXALIGNed at least */
	int			npages;
	int			used;			/* pages that have rows */
	uint64		rows;			/* in them */
} LdrPageRun;

/* Begin with empty pages. kind and desc are set once, before. */
extern void ldr_page_start(LdrPageRun *run, char *pages, int npages);

/* Form a row in the current page, or in the next one. */
extern LdrPageResult ldr_page_put(LdrPageRun *run, Datum *values, bool *isnull);

/* The same for a row that the toaster has seen, or that comes from another page. Never TOAST. */
extern LdrPageResult ldr_page_put_tuple(LdrPageRun *run, HeapTupleHeader tuple, Size len);

/* Tell the rows of a page the block that it is going to be. */
extern void ldr_page_number(Page page, BlockNumber block);

/*
 * Take the page's rows from the from-th on (counted from 1) into another page, as far as they fit;
 * spare is of that. Returns the first that did not. The caller has numbered neither.
 */
extern OffsetNumber ldr_page_move(Page page, OffsetNumber from, Page to, BlockNumber block,
								  Size spare);

static inline Page
ldr_page_of(const LdrPageRun *run, int i)
{
	return (Page) (run->pages + (Size) i * BLCKSZ);
}

#endif							/* LDR_PAGE_H */
