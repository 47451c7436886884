/*
 * sink/storage_write.h: full pages -> the end of a heap that this transaction made, around the
 * shared buffers. One writer for a heap at a time, but for those who share its end.
 */
#ifndef LDR_STORAGE_WRITE_H
#define LDR_STORAGE_WRITE_H

#include "access/htup.h"
#include "sink/page.h"
#include "utils/rel.h"

typedef struct LdrStorage LdrStorage;

#define LDR_STORAGE_RUN 32		/* pages that are logged and written at once */

/* Can the heap's pages be written this way? A phrase why not, NULL: they can. */
extern const char *ldr_storage_reason(Relation heap, bool frozen);

/*
 * A writer, in the current context. The heap outlives it; its storage was made in this transaction,
 * and if the rows are frozen, in this very subtransaction.
 */
extern LdrStorage *ldr_storage_open(Relation heap, bool frozen);

/*
 * One more writer, in a parallel worker of the process that has opened one. It is for
 * ldr_storage_write_pages and _try_write_pages only, and is not closed. In the current context.
 */
extern LdrStorage *ldr_storage_join(Relation heap);

/* Such workers begin to write; and they have ended. No rows are flushed in between. */
extern void ldr_storage_share(LdrStorage *storage);
extern void ldr_storage_unshare(LdrStorage *storage);

/* What the pages have to be like. Assigns a transaction id. */
extern LdrPageKind ldr_storage_kind(const LdrStorage *storage);

/* Memory for pages, in the current context, aligned as files like it. */
extern char *ldr_storage_memory(int npages);

/*
 * Write pages that stand one after the other, and will get no more rows. They become the last ones
 * of the heap; the memory can be used again at once. One process writes at a time, others wait; or
 * they do not: false if somebody else does write.
 */
extern void ldr_storage_write_pages(LdrStorage *storage, char *memory, int n);
extern bool ldr_storage_try_write_pages(LdrStorage *storage, char *memory, int n);

/*
 * The same for a run whose last page has room left: its rows are kept until their page is full, or
 * until ldr_storage_flush. Or for such a page alone, which is left without sense.
 */
extern void ldr_storage_write_part(LdrStorage *storage, const LdrPageRun *run);
extern void ldr_storage_keep(LdrStorage *storage, Page page);

/* Rows were put. */
extern void ldr_storage_count(LdrStorage *storage, uint64 rows);

/*
 * Write what is kept, as rows of a page that the heap has, as far as there is room in the one that
 * the last flush, or another writer before, has left. So many small runs do not leave a page each.
 */
extern void ldr_storage_flush(LdrStorage *storage);

/*
 * Let the toaster see a row; the result is for ldr_page_put_tuple, and lives in the current
 * context. Raises 54000 if it is still too large for a page.
 */
extern HeapTuple ldr_storage_toast(LdrStorage *storage, HeapTuple tuple);
extern void ldr_storage_check_length(Size len);

/*
 * Write what is kept, and make what belongs to the pages agree with them: the visibility map. Not
 * called after an error.
 */
extern void ldr_storage_close(LdrStorage *storage);

#endif							/* LDR_STORAGE_WRITE_H */
