/*
 * sink/index_page.c: many entries onto one leaf page of a btree, with one search, one lock and one
 * WAL record.
 *
 * The server's own search finds the page for the first entry and leaves it locked. Each entry that
 * follows belongs to the same page if its key lies between those of two entries of it, or before
 * the page's upper bound. As the page then is where every equal key would be, an entry whose key
 * is not on it has no duplicate in the index, also not one in another transaction: whoever comes
 * later waits for the lock and finds ours. Nothing else is decided here. A key that is there, a
 * page without room (it has to be split, or cleaned of dead entries), or in any unusual state, is
 * left to index_insert.
 *
 * The page is changed in a copy, and put in place by a generic WAL record, so that there is
 * nothing in the critical section that could fail. Its redo is that of any page, on standbys too:
 * like the server's own of an insert it needs no more than the lock of the page.
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/nbtree.h"
#include "storage/predicate.h"
#include "utils/rel.h"

#include "compat.h"
#include "sink/index.h"

/* A page that the run before has put so many entries on, or more, is logged whole. */
#define MANY_ENTRIES	64

#define AHEAD			8		/* entries: their tuples lie anywhere in memory */

/* Where on the page the next entry belongs. */
typedef struct PagePlace
{
	Page		page;			/* a copy */
	OffsetNumber first;			/* of the page's entries */
	bool		rightmost;
	OffsetNumber last;			/* the entry that was put there last; 0: none */
} PagePlace;

/*
 * Search for the entry from now on. As the server has it: the TID is part of the key, but not
 * where keys are unique, for then an equal one is to be found whatever its TID.
 */
static void
page_set_key(LdrIndexRun *run, IndexTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(run->index);
	BTScanInsert key = run->key;
	bool		any_null = false;

	for (int i = 0; i < key->keysz; i++)
	{
		ScanKey		column = &key->scankeys[i];
		bool		isnull;

		column->sk_argument = index_getattr(tuple, i + 1, desc, &isnull);
		column->sk_flags &= ~SK_ISNULL;
		if (isnull)
			column->sk_flags |= SK_ISNULL;
		any_null |= isnull;
	}
	key->anynullkeys = any_null && !ldr_nulls_not_distinct(run->index->rd_index);
	key->scantid = run->unique && !key->anynullkeys ? NULL : &tuple->t_tid;
}

/*
 * Where the entry goes: before the first one of the page that is greater. Invalid if one is equal.
 * Entries come in order, more or less, so it is looked for behind the last one first.
 */
static OffsetNumber
page_find(const LdrIndexRun *run, const PagePlace *place)
{
	OffsetNumber low = place->first;
	OffsetNumber high = PageGetMaxOffsetNumber(place->page) + 1;
	OffsetNumber mid = place->last != 0 ? place->last : high - 1;
	bool		equal = false;
	int			step = 0;

	while (low < high)
	{
		int32		cmp = _bt_compare(run->index, run->key, place->page, mid);

		if (cmp > 0)
			low = mid + 1;
		else
		{
			high = mid;
			equal = cmp == 0;
		}
		/* the neighbour, in a dense run; then halves */
		mid = step++ == 0 && cmp > 0 && low < high ? low : low + (high - low) / 2;
	}
	return equal ? InvalidOffsetNumber : low;
}

/* Does the entry of the key belong to the page, which one before it did belong to? */
static bool
page_is_below_bound(const LdrIndexRun *run, const PagePlace *place)
{
	return place->rightmost || _bt_compare(run->index, run->key, place->page, P_HIKEY) < 0;
}

/* Put an entry on the copy of the page. The first one is known to belong to it. */
static bool
page_put(const LdrIndexRun *run, PagePlace *place, IndexTuple tuple, bool first)
{
	Size		size = MAXALIGN(IndexTupleSize(tuple));
	OffsetNumber offset;

	/* very large ones may be too large */
	if (size > BLCKSZ / 8 || PageGetFreeSpace(place->page) < size)
		return false;
	if (!page_is_below_bound(run, place))
		return false;
	offset = page_find(run, place);
	/* one that is less than all of the page may be of another to the left */
	if (offset == InvalidOffsetNumber || (offset == place->first && !first))
		return false;
	if (PageAddItem(place->page, (Item) tuple, size, offset, false, false) != offset)
		elog(ERROR, "could not add an entry to a page of index \"%s\"",
			 RelationGetRelationName(run->index));
	place->last = offset;
	return true;
}

/* The leaf page of the first entry, locked; invalid if it is one for the server. */
static Buffer
page_lock(LdrIndexRun *run)
{
	Buffer		buffer;
	BTPageOpaque opaque;

	_bt_freestack(ldr_bt_search(run->index, run->heap, run->key, &buffer));
	opaque = (BTPageOpaque) PageGetSpecialPointer(BufferGetPage(buffer));
	if (P_ISLEAF(opaque) && !P_IGNORE(opaque) && !P_INCOMPLETE_SPLIT(opaque))
		return buffer;
	_bt_relbuf(run->index, buffer);
	return InvalidBuffer;
}

/* Is there an entry after this one, and does it belong to the same page? */
static bool
page_has_second(LdrIndexRun *run, const PagePlace *place, int next)
{
	bool		below;

	if (next + 1 >= run->nentries)
		return false;
	page_set_key(run, ldr_index_tuple(run, &run->entries[next + 1]));
	below = page_is_below_bound(run, place);
	page_set_key(run, ldr_index_tuple(run, &run->entries[next]));
	return below;
}

/*
 * Is there something on the page that is not logged, and so may be missing where it is replayed:
 * hints that entries are dead, and marks for a VACUUM that runs? A record of differences would
 * carry some of it over, and some not.
 */
static bool
page_has_hints(Page page)
{
	BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
	OffsetNumber last = PageGetMaxOffsetNumber(page);

	if (P_HAS_GARBAGE(opaque) || (opaque->btpo_flags & BTP_SPLIT_END) != 0 ||
		opaque->btpo_cycleid != 0)
		return true;
	for (OffsetNumber i = P_FIRSTDATAKEY(opaque); i <= last; i++)
		if (ItemIdIsDead(PageGetItemId(page, i)))
			return true;
	return false;
}

/* Put entries on the locked page. Returns how many. */
static int
page_fill(LdrIndexRun *run, Buffer buffer, PagePlace *place, int next)
{
	GenericXLogState *state = GenericXLogStart(run->index);
	/* what is changed altogether would be compared for nothing */
	bool		whole = run->last_filled >= MANY_ENTRIES || page_has_hints(place->page);
	int			n = 0;

	place->page = GenericXLogRegisterBuffer(state, buffer, whole ? GENERIC_XLOG_FULL_IMAGE : 0);
	for (; next + n < run->nentries; n++)
	{
		IndexTuple	tuple = ldr_index_tuple(run, &run->entries[next + n]);

		if (next + n + AHEAD < run->nentries)
			__builtin_prefetch(ldr_index_tuple(run, &run->entries[next + n + AHEAD]));
		if (n > 0)
			page_set_key(run, tuple);
		if (!page_put(run, place, tuple, n == 0))
			break;
	}
	if (n > 0)
		GenericXLogFinish(state);
	else
		GenericXLogAbort(state);
	return n;
}

LdrLeafResult
ldr_index_page(LdrIndexRun *run, int *next)
{
	IndexTuple	tuple = ldr_index_tuple(run, &run->entries[*next]);
	LdrLeafResult result = LDR_LEAF_OTHER;
	BTPageOpaque opaque;
	PagePlace	place = {0};
	Buffer		buffer;
	int			n;

	/* an index of before 12 has other rules; pg_upgrade leaves them as they are */
	if (!run->key->heapkeyspace)
		return LDR_LEAF_OTHER;
	page_set_key(run, tuple);
	buffer = page_lock(run);
	if (!BufferIsValid(buffer))
		return LDR_LEAF_OTHER;
	place.page = BufferGetPage(buffer);
	opaque = (BTPageOpaque) PageGetSpecialPointer(place.page);
	place.first = P_FIRSTDATAKEY(opaque);
	place.rightmost = P_RIGHTMOST(opaque);
	if (!page_has_second(run, &place, *next))
		result = LDR_LEAF_LONE;
	else if (PageGetFreeSpace(place.page) >= MAXALIGN(IndexTupleSize(tuple)))
	{
		/* as the server does before it changes a page */
		CheckForSerializableConflictIn(run->index, NULL, BufferGetBlockNumber(buffer));
		n = page_fill(run, buffer, &place, *next);
		if (n > 0)
		{
			run->last_filled = n;
			*next += n;
			result = LDR_LEAF_DONE;
		}
	}
	_bt_relbuf(run->index, buffer);
	return result;
}
