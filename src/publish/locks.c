/*
 * publish/locks.c: how locks on the user's tables are taken.
 *
 * All of them, in OID order, inside a subtransaction: on a miss its abort lets all go, so that
 * nobody queues behind a request of ours for longer than loader.lock_timeout. Then again, after a
 * pause, until loader.lock_deadline; pg_dump holds every table for hours.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "loader.h"
#include "publish/publish.h"
#include "worker/worker.h"

static int
locks_compare(const ListCell *a, const ListCell *b)
{
	Oid			x = lfirst_oid(a);
	Oid			y = lfirst_oid(b);

	return x < y ? -1 : x > y;
}

/* One try at all of them. False if one could not be had in time; then none is held. */
static bool
locks_try(List *relids, LOCKMODE mode)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool got = true;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		ListCell   *lc;

		foreach(lc, relids)
			LockRelationOid(lfirst_oid(lc), mode);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(cxt);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		ldr_progress_show();
		if (edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE && edata->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
			ReThrowError(edata);
		FreeErrorData(edata);
		got = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	return got;
}

/*
 * Lock the relations until the end of the transaction. The caller has checked that the role may
 * do to them what it wants the lock for. *wait_us is how long it took. Raises 55P03 after
 * loader.lock_deadline.
 */
void
ldr_lock_tables(List *relids, LOCKMODE mode, int64 *wait_us)
{
	TimestampTz begin = GetCurrentTimestamp();
	TimestampTz deadline = TimestampTzPlusMilliseconds(begin, ldr_lock_deadline);
	long		pause = 10;

	list_sort(relids, locks_compare);
	while (!locks_try(relids, mode))
	{
		if (GetCurrentTimestamp() >= deadline)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not lock the tables of the package within loader.lock_deadline"),
					 errdetail("Another session holds a conflicting lock on one of them; \"%s\" is the first.",
							   get_rel_name(linitial_oid(relids))),
					 errhint("loader_plan() shows who holds it.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		ldr_check_cancel();
		pause = Min(pause * 2, Max(ldr_lock_timeout, 10));
	}
	*wait_us = GetCurrentTimestamp() - begin;
}
