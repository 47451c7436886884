/*
 * sink/storage_write.c: full pages -> the end of a heap, around the shared buffers.
 *
 * The heap's storage was made by this transaction, so nobody else can see it, write to it or have
 * a page of it in a buffer, and if the transaction is not committed, its file goes, or nothing
 * refers to it after a crash. That makes it safe to write a page before the log up to its LSN is
 * on disk: nobody reads it unless the commit record is there, and that comes later in the log.
 *
 * What has to be seen to is the other way round, that a commit does not lose pages: they are in
 * the log, but replay begins at the redo pointer of the last checkpoint, and what was logged
 * before that must be in the file. A page in a shared buffer is written by the checkpoint itself.
 * Ours has to be written, and its file to be on the checkpointer's list of those to be synced,
 * before the checkpoint syncs. So a run is logged and written with checkpoints delayed, as the
 * server does where a change is not in a buffer (DELAY_CHKPT_START):
 *
 *	delay; log the run; write it, which asks for its file to be synced; end of delay
 *
 * A checkpoint takes its redo pointer, then waits for those who delay it, then writes buffers and
 * syncs the files that it was asked to. If the redo pointer lies before our record, replay writes
 * the pages. If it lies behind it, we were delaying when it was taken, so by the time that
 * checkpoint syncs our write is done and asked for. There is no moment that belongs to neither, and
 * nothing is left to be done at commit: no file is synced by us. Holding it up costs a checkpoint
 * the time of one run; it looks again every 10 ms whether somebody is in a delay.
 *
 * The other order, write and then log, would need no delay. But an error between the two would
 * leave pages in a file that survives (that of a table made outside the subtransaction that fails)
 * of which the log knows nothing: a standby would not have them, and what is logged of them later
 * could not be replayed. As it is, an error leaves pages in the log that are not in the file; their
 * blocks are written, and logged, once more by whoever comes next.
 *
 * With wal_level = minimal nothing is logged: the server syncs the file, or logs all of it, at
 * commit. The file of an unlogged heap has to be there after a clean shutdown, which ends with a
 * checkpoint. Both are asked to be synced all the same.
 *
 * The visibility map, and a page of the heap that gets more rows, are changed in shared buffers,
 * with a full image in the log.
 *
 * Not for what is decoded: full images of pages are not rows to logical decoding.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/proc.h"

#include "compat.h"
#include "fault.h"
#include "sink/rel_file.h"
#include "sink/storage_write.h"

#define MEMORY_ALIGN	4096	/* of what files are written from */

/* The visibility map: bits of a heap block in a page of it; visibilitymap.c has this for itself. */
#define VM_BLOCKS_PER_BYTE	(BITS_PER_BYTE / BITS_PER_HEAPBLOCK)
#define VM_BLOCKS_PER_PAGE \
	((BLCKSZ - MAXALIGN(SizeOfPageHeaderData)) * VM_BLOCKS_PER_BYTE)

struct LdrStorage
{
	Relation	heap;
	LdrRelFile *file;			/* of it */
	BlockNumber shared;			/* parallel workers write, too, from here on; Invalid: they do not */
	bool		frozen;
	Size		spare;
	BlockNumber unmapped;		/* blocks from here ... */
	BlockNumber end;			/* ... to here are not in the visibility map yet */
	Page		kept;			/* rows that wait for their page to be full; in memory */
	Page		rest;			/* memory for what is left of it */
	BlockNumber hole;			/* a page of the heap that may have room; Invalid: none */
};

const char *
ldr_storage_reason(Relation heap, bool frozen)
{
	if (heap->rd_rel->relkind != RELKIND_RELATION ||
		heap->rd_tableam != GetHeapamTableAmRoutine())
		return "table is not a heap";
	if (heap->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return "table is temporary";
	if (IsCatalogRelation(heap) || RelationIsMapped(heap))
		return "table is a catalog";
	if (!ldr_relation_is_new(heap))
		return "table was there before";
	/* what takes the place of a table is not decoded as rows, however it is written */
	if (!frozen && RelationIsLogicallyLogged(heap))
		return "wal_level is logical";
	return NULL;
}

static void
storage_init_page(const LdrStorage *storage, Page page)
{
	PageInit(page, BLCKSZ, 0);
	if (storage->frozen)
		PageSetAllVisible(page);
}

LdrStorage *
ldr_storage_join(Relation heap)
{
	LdrStorage *storage = palloc0(sizeof(LdrStorage));

	storage->heap = heap;
	storage->file = ldr_rel_file_open(heap);
	storage->shared = InvalidBlockNumber;
	return storage;
}

LdrStorage *
ldr_storage_open(Relation heap, bool frozen)
{
	LdrStorage *storage = ldr_storage_join(heap);
	const char *reason = ldr_storage_reason(heap, frozen);
	BlockNumber nblocks;

	if (reason != NULL)
		elog(ERROR, "pages of table \"%s\" cannot be written: %s",
			 RelationGetRelationName(heap), reason);
	if (frozen && heap->rd_createSubid != GetCurrentSubTransactionId())
		elog(ERROR, "rows of table \"%s\" cannot be frozen", RelationGetRelationName(heap));
	storage->frozen = frozen;
	storage->spare = RelationGetTargetPageFreeSpace(heap, HEAP_DEFAULT_FILLFACTOR);
	storage->kept = (Page) ldr_storage_memory(1);
	storage->rest = (Page) ldr_storage_memory(1);
	storage_init_page(storage, storage->kept);
	nblocks = RelationGetNumberOfBlocks(heap);
	storage->hole = nblocks > 0 ? nblocks - 1 : InvalidBlockNumber;
	return storage;
}

LdrPageKind
ldr_storage_kind(const LdrStorage *storage)
{
	return (LdrPageKind) {
		.xid = GetCurrentTransactionId(),
		.cid = GetCurrentCommandId(true),
		.frozen = storage->frozen,
		.spare = storage->spare
	};
}

char *
ldr_storage_memory(int npages)
{
	char	   *memory = palloc((Size) npages * BLCKSZ + MEMORY_ALIGN);

	return (char *) TYPEALIGN(MEMORY_ALIGN, memory);
}

/* --- the visibility map ----------------------------------------------------------------------- */

/* Set the bits of blocks that are in one page of the map. */
static void
storage_map_page(LdrStorage *storage, BlockNumber from, BlockNumber end, Buffer *buffer)
{
	const uint8 bits = VISIBILITYMAP_ALL_VISIBLE | VISIBILITYMAP_ALL_FROZEN;
	uint8	   *map;

	visibilitymap_pin(storage->heap, from, buffer);
	LockBuffer(*buffer, BUFFER_LOCK_EXCLUSIVE);
	map = (uint8 *) PageGetContents(BufferGetPage(*buffer));
	START_CRIT_SECTION();
	for (BlockNumber block = from; block < end; block++)
	{
		BlockNumber i = block % VM_BLOCKS_PER_PAGE;

		map[i / VM_BLOCKS_PER_BYTE] |= bits << (i % VM_BLOCKS_PER_BYTE) * BITS_PER_HEAPBLOCK;
	}
	MarkBufferDirty(*buffer);
	if (RelationNeedsWAL(storage->heap))
		log_newpage_buffer(*buffer, false);
	END_CRIT_SECTION();
	LockBuffer(*buffer, BUFFER_LOCK_UNLOCK);
}

static void
storage_map(LdrStorage *storage)
{
	Buffer		buffer = InvalidBuffer;

	for (BlockNumber from = storage->unmapped; from < storage->end;)
	{
		BlockNumber end = Min(storage->end, from - from % VM_BLOCKS_PER_PAGE + VM_BLOCKS_PER_PAGE);

		LDR_FAULT("storage: map to be written");
		storage_map_page(storage, from, end, &buffer);
		from = end;
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	storage->unmapped = storage->end;
}

/* Blocks were written that the map has to know of. */
static void
storage_note(LdrStorage *storage, BlockNumber block, int n)
{
	if (!storage->frozen || storage->shared != InvalidBlockNumber)
		return;
	if (block != storage->end)
	{
		storage_map(storage);
		storage->unmapped = block;
	}
	storage->end = block + n;
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Log pages; from here until they are written a checkpoint must not begin. */
static void
storage_log(LdrStorage *storage, Page *pages, int n, BlockNumber block)
{
	BlockNumber blocks[LDR_STORAGE_RUN];

	for (int i = 0; i < n; i++)
		blocks[i] = block + i;
	LDR_FAULT("storage: run to be logged");
	if (RelationNeedsWAL(storage->heap))
		ldr_log_pages(storage->heap, n, blocks, pages);
	LDR_FAULT("storage: run logged");
}

/*
 * Write n pages that stand one after the other, LDR_STORAGE_RUN at most; or fewer, up to the end of
 * a file: returns how many it was.
 */
static int
storage_write_run(LdrStorage *storage, char *memory, int n)
{
	BlockNumber block = RelationGetNumberOfBlocks(storage->heap);
	Page		pages[LDR_STORAGE_RUN];

	n = Min(n, RELSEG_SIZE - block % RELSEG_SIZE);
	if ((uint64) block + n > MaxBlockNumber)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot extend table \"%s\" beyond %u blocks",
						RelationGetRelationName(storage->heap), MaxBlockNumber)));
	for (int i = 0; i < n; i++)
	{
		pages[i] = (Page) (memory + (Size) i * BLCKSZ);
		ldr_page_number(pages[i], block + i);
	}
	PG_TRY();
	{
		ldr_delay_checkpoint(true);
		storage_log(storage, pages, n, block);
		ldr_rel_file_write(storage->file, block, memory, n);
	}
	PG_FINALLY();
	{
		/* the end of a subtransaction would not do it */
		ldr_delay_checkpoint(false);
	}
	PG_END_TRY();
	LDR_FAULT("storage: run written");
	storage_note(storage, block, n);
	return n;
}

/* The heap's end is ours: only parallel workers of one load ever meet there. */
static void
storage_write_locked(LdrStorage *storage, char *memory, int n)
{
	for (int i = 0; i < n;)
	{
		CHECK_FOR_INTERRUPTS();
		i += storage_write_run(storage, memory + (Size) i * BLCKSZ, Min(LDR_STORAGE_RUN, n - i));
	}
	UnlockRelationForExtension(storage->heap, ExclusiveLock);
}

bool
ldr_storage_try_write_pages(LdrStorage *storage, char *memory, int n)
{
	if (!ConditionalLockRelationForExtension(storage->heap, ExclusiveLock))
		return false;
	storage_write_locked(storage, memory, n);
	return true;
}

void
ldr_storage_write_pages(LdrStorage *storage, char *memory, int n)
{
	if (n == 0)
		return;
	LockRelationForExtension(storage->heap, ExclusiveLock);
	storage_write_locked(storage, memory, n);
}

void
ldr_storage_count(LdrStorage *storage, uint64 rows)
{
	pgstat_count_heap_insert(storage->heap, rows);
}

void
ldr_storage_keep(LdrStorage *storage, Page page)
{
	OffsetNumber left = FirstOffsetNumber;

	for (;;)
	{
		left = ldr_page_move(page, left, storage->kept, InvalidBlockNumber, storage->spare);
		if (left > PageGetMaxOffsetNumber(page))
			break;
		ldr_storage_write_pages(storage, (char *) storage->kept, 1);
		storage_init_page(storage, storage->kept);
	}
}

void
ldr_storage_write_part(LdrStorage *storage, const LdrPageRun *run)
{
	if (run->used == 0)
		return;
	ldr_storage_write_pages(storage, run->pages, run->used - 1);
	ldr_storage_keep(storage, ldr_page_of(run, run->used - 1));
}

/*
 * Move rows that are kept into the heap's page with room. Returns the first one that stays. That
 * page may be in a shared buffer, of whoever has filled it or read it, so it is changed there.
 */
static OffsetNumber
storage_fill_up(LdrStorage *storage)
{
	OffsetNumber left = FirstOffsetNumber;
	Buffer		buffer = ReadBuffer(storage->heap, storage->hole);
	Page		page;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	/* frozen rows belong into pages whose rows are all frozen, and no others do */
	if (!PageIsNew(page) && (PageIsAllVisible(page) != 0) == storage->frozen)
	{
		START_CRIT_SECTION();
		left = ldr_page_move(storage->kept, left, page, storage->hole, storage->spare);
		if (left > FirstOffsetNumber)
		{
			MarkBufferDirty(buffer);
			if (RelationNeedsWAL(storage->heap))
				log_newpage_buffer(buffer, true);
		}
		END_CRIT_SECTION();
	}
	UnlockReleaseBuffer(buffer);
	return left;
}

void
ldr_storage_flush(LdrStorage *storage)
{
	OffsetNumber left = FirstOffsetNumber;

	if (PageIsEmpty(storage->kept))
		return;
	LDR_FAULT("storage: kept rows to be written");
	if (storage->hole != InvalidBlockNumber)
		left = storage_fill_up(storage);
	if (left <= PageGetMaxOffsetNumber(storage->kept))
	{
		storage_init_page(storage, storage->rest);
		(void) ldr_page_move(storage->kept, left, storage->rest, InvalidBlockNumber, 0);
		ldr_storage_write_pages(storage, (char *) storage->rest, 1);
		storage->hole = RelationGetNumberOfBlocks(storage->heap) - 1;
	}
	storage_init_page(storage, storage->kept);
}

void
ldr_storage_check_length(Size len)
{
	if (MAXALIGN(len) > MaxHeapTupleSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row is too big: size %zu, maximum size %zu",
						(Size) MAXALIGN(len), (Size) MaxHeapTupleSize)));
}

HeapTuple
ldr_storage_toast(LdrStorage *storage, HeapTuple tuple)
{
	/* what its chunks are to be like, they take from here */
	tuple = heap_toast_insert_or_update(storage->heap, tuple, NULL, TABLE_INSERT_SKIP_FSM |
										(storage->frozen ? TABLE_INSERT_FROZEN : 0));
	ldr_storage_check_length(tuple->t_len);
	return tuple;
}

void
ldr_storage_share(LdrStorage *storage)
{
	storage->shared = RelationGetNumberOfBlocks(storage->heap);
}

void
ldr_storage_unshare(LdrStorage *storage)
{
	BlockNumber from = storage->shared;
	BlockNumber end = RelationGetNumberOfBlocks(storage->heap);

	storage->shared = InvalidBlockNumber;
	if (end > from)
		storage_note(storage, from, end - from);
}

void
ldr_storage_close(LdrStorage *storage)
{
	ldr_storage_flush(storage);
	LDR_FAULT("storage: to be finished");
	storage_map(storage);
}
