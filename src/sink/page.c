/*
 * sink/page.c: rows -> heap pages in memory. See page.h.
 *
 * A row is formed where it is going to stay. Its header is what heap_insert makes of it, but for
 * its own address, which is known when the page gets its block.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/heaptoast.h"
#include "storage/itemptr.h"

#include "sink/page.h"

void
ldr_page_start(LdrPageRun *run, char *pages, int npages)
{
	run->pages = pages;
	run->npages = npages;
	run->used = 0;
	run->rows = 0;
}

/* Is there room for a row of len bytes? An empty page takes any; then no page is too small. */
static inline bool
page_has_room(Page page, Size len, Size spare)
{
	PageHeader	header = (PageHeader) page;
	Size		room = header->pd_upper - header->pd_lower;

	if (header->pd_lower == SizeOfPageHeaderData)
		return true;
	return PageGetMaxOffsetNumber(page) < MaxHeapTuplesPerPage &&
		room >= MAXALIGN(len) + sizeof(ItemIdData) + spare;
}

/* The page for a row of len bytes, NULL if the run has none. */
static inline Page
page_for(LdrPageRun *run, Size len)
{
	Page		page;

	if (likely(run->used > 0))
	{
		page = ldr_page_of(run, run->used - 1);
		if (page_has_room(page, len, run->kind.spare))
			return page;
	}
	if (run->used == run->npages)
		return NULL;
	page = ldr_page_of(run, run->used++);
	PageInit(page, BLCKSZ, 0);
	if (run->kind.frozen)
		PageSetAllVisible(page);
	return page;
}

/* Where a row of len bytes goes in the page; page_take then makes it one of its rows. */
static inline HeapTupleHeader
page_place(Page page, Size len)
{
	return (HeapTupleHeader) ((char *) page + ((PageHeader) page)->pd_upper - MAXALIGN(len));
}

static inline OffsetNumber
page_take(Page page, Size len)
{
	PageHeader	header = (PageHeader) page;
	OffsetNumber off = PageGetMaxOffsetNumber(page) + 1;

	header->pd_upper -= MAXALIGN(len);
	header->pd_lower += sizeof(ItemIdData);
	ItemIdSetNormal(PageGetItemId(page, off), header->pd_upper, len);
	return off;
}

/* What heap_insert sets, whatever the row. */
static inline void
page_stamp(const LdrPageKind *kind, HeapTupleHeader tuple)
{
	tuple->t_infomask &= ~HEAP_XACT_MASK;
	tuple->t_infomask2 &= ~HEAP2_XACT_MASK;
	tuple->t_infomask |= HEAP_XMAX_INVALID;
	HeapTupleHeaderSetXmin(tuple, kind->xid);
	if (kind->frozen)
		HeapTupleHeaderSetXminFrozen(tuple);
	HeapTupleHeaderSetCmin(tuple, kind->cid);
	HeapTupleHeaderSetXmax(tuple, InvalidTransactionId);
	ItemPointerSetInvalid(&tuple->t_ctid);
}

LdrPageResult
ldr_page_put(LdrPageRun *run, Datum *values, bool *isnull)
{
	int			natts = run->desc->natts;
	Size		hoff = offsetof(HeapTupleHeaderData, t_bits);
	bool		has_nulls = memchr(isnull, true, sizeof(bool) * natts) != NULL;
	HeapTupleHeader tuple;
	Size		size;
	Size		len;
	Page		page;

	if (has_nulls)
		hoff += BITMAPLEN(natts);
	hoff = MAXALIGN(hoff);
	size = heap_compute_data_size(run->desc, values, isnull);
	len = hoff + size;
	if (len > TOAST_TUPLE_THRESHOLD)
		return LDR_PAGE_TOAST;
	page = page_for(run, len);
	if (page == NULL)
		return LDR_PAGE_RUN_FULL;
	tuple = page_place(page, len);
	HeapTupleHeaderSetNatts(tuple, natts);
	tuple->t_hoff = hoff;
	heap_fill_tuple(run->desc, values, isnull, (char *) tuple + hoff, size, &tuple->t_infomask,
					has_nulls ? tuple->t_bits : NULL);
	if (unlikely(tuple->t_infomask & HEAP_HASEXTERNAL))
	{
		memset(tuple, 0, len);	/* the page's free space is zero */
		if (PageIsEmpty(page))
			run->used--;
		return LDR_PAGE_TOAST;
	}
	page_stamp(&run->kind, tuple);
	(void) page_take(page, len);
	run->rows++;
	return LDR_PAGE_PUT;
}

LdrPageResult
ldr_page_put_tuple(LdrPageRun *run, HeapTupleHeader tuple, Size len)
{
	Page		page = page_for(run, len);
	HeapTupleHeader place;

	if (page == NULL)
		return LDR_PAGE_RUN_FULL;
	place = page_place(page, len);
	memcpy(place, tuple, len);
	page_stamp(&run->kind, place);
	(void) page_take(page, len);
	run->rows++;
	return LDR_PAGE_PUT;
}

void
ldr_page_number(Page page, BlockNumber block)
{
	OffsetNumber n = PageGetMaxOffsetNumber(page);

	for (OffsetNumber off = FirstOffsetNumber; off <= n; off++)
	{
		HeapTupleHeader tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, off));

		ItemPointerSet(&tuple->t_ctid, block, off);
	}
}

OffsetNumber
ldr_page_move(Page page, OffsetNumber from, Page to, BlockNumber block, Size spare)
{
	OffsetNumber n = PageGetMaxOffsetNumber(page);

	for (; from <= n; from++)
	{
		ItemId		item = PageGetItemId(page, from);
		Size		len = ItemIdGetLength(item);
		HeapTupleHeader place;

		if (!page_has_room(to, len, spare))
			break;
		place = page_place(to, len);
		memset(place, 0, MAXALIGN(len));
		memcpy(place, PageGetItem(page, item), len);
		ItemPointerSet(&place->t_ctid, block, page_take(to, len));
	}
	return from;
}
