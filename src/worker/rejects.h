/*
 * worker/rejects.h: rows that are refused while the load goes on (on_error => 'reject').
 */
#ifndef LDR_REJECTS_H
#define LDR_REJECTS_H

#include "catalog/loader_catalog.h"
#include "options.h"

#define LDR_REJECT_RAW_MAX	(1024 * 1024)	/* bytes of a row that are kept */

/* What a load does with rows that it cannot load. */
typedef struct LdrRejects LdrRejects;

struct LdrRejects
{
	/* take a row; the strings in it are the caller's */
	void		(*add) (LdrRejects *self, const LdrReject *reject);
	/* called where no row is in hand: what was taken may be written */
	void		(*store) (LdrRejects *self);
	int64		count;			/* rows taken */
	bool		trial;			/* the new table that rows go into has its indexes already */
};

/* --- rows that were read and may still be refused, with the bytes of each -------------------- */

typedef struct LdrPending LdrPending;

/* In the current context. */
extern LdrPending *ldr_pending_create(void);

/* Note a row, by its number, the next one. Its bytes stay where they are until they are saved. */
extern void ldr_pending_add(LdrPending *pending, int64 row, int64 line, const char *raw,
							size_t len);

/* The bytes of all rows are about to go away: keep a copy. An LdrPending *, as a reader has it. */
extern void ldr_pending_save(void *pending);

/* All rows before that number are settled. */
extern void ldr_pending_drop(LdrPending *pending, int64 row);

/* Fill line and raw in. The bytes are there until the next call of add or drop. */
extern void ldr_pending_fill(const LdrPending *pending, int64 row, LdrReject *reject);

/* Are there so many bytes that the batch should be written? */
extern bool ldr_pending_is_full(const LdrPending *pending);

/* --- the rejects of a job ------------------------------------------------------------------- */

/*
 * Set bad rows of the job aside, in the catalog and in the current transaction; those of an earlier
 * attempt go. Allocated in the current context. Raises 22000 where there are more than max_rejects
 * by number.
 */
extern LdrRejects *ldr_rejects_of_job(int64 package_id, const LdrJob *job,
									  const LdrOptions *options);

/*
 * The job's rows are all read: write what is left. columns: names of the file's, in their order;
 * NIL for a format whose rows name them.
 */
extern void ldr_rejects_end(LdrRejects *rejects, List *columns);

/*
 * Has the package more rejects than its options allow, as the current transaction sees it? Raises
 * 22000 then. The share can be told only when all jobs are done (complete).
 */
extern void ldr_rejects_check(int64 package_id, const LdrOptions *options, bool complete);

/* Does the error say that there are too many? Others of its code may be of a row. */
extern bool ldr_rejects_is_limit(const ErrorData *edata);

#endif							/* LDR_REJECTS_H */
