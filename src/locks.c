/*
 * locks.c: how locks on the user's tables and datasets are waited for.
 *
 * All of them, in OID order, inside a subtransaction: on a miss its abort lets all go, so that
 * nobody queues behind a request of ours for longer than loader.lock_timeout. Then again, after a
 * pause, until loader.lock_deadline; pg_dump holds every table for hours. The first tries are
 * shorter: most tables have a moment without long readers, and in it the lock costs nobody a wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "fault.h"
#include "loader.h"
#include "locks.h"
#include "worker/worker.h"

static int
locks_compare(const ListCell *a, const ListCell *b)
{
	Oid			x = lfirst_oid(a);
	Oid			y = lfirst_oid(b);

	return x < y ? -1 : x > y;
}

/* What is to be locked in one try. */
typedef struct LockTarget
{
	List	   *relids;
	LOCKMODE	mode;
	const char *dataset;		/* and before them this, if not NULL */
	LdrDatasetLock which;
	long		ms;				/* for all of them together */
	Oid			missed;			/* what the last try waited for; InvalidOid: the dataset */
} LockTarget;

#define FIRST_TRY_MS	10

static void
locks_set_timeout(long ms)
{
	char		text[32];

	snprintf(text, sizeof(text), "%ld", ms);
	(void) set_config_option("lock_timeout", text, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * All of them within the time of the try: who queues behind the first may have to wait for the
 * last. Raises 55P03 when it is over.
 */
static void
locks_take(LockTarget *target)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), target->ms);
	ListCell   *lc;
	int			nest = NewGUCNestLevel();

	LDR_FAULT("locks to be taken");
	target->missed = InvalidOid;
	locks_set_timeout(target->ms);
	if (target->dataset)
		ldr_dataset_lock(target->dataset, target->which);
	foreach(lc, target->relids)
	{
		if (ConditionalLockRelationOid(lfirst_oid(lc), target->mode))
			continue;
		target->missed = lfirst_oid(lc);
		locks_set_timeout(Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until)));
		LockRelationOid(lfirst_oid(lc), target->mode);
	}
	AtEOXact_GUC(true, nest);
}

/* One try at all of them. False if one could not be had in time; then none is held. */
static bool
locks_try(LockTarget *target)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool got = true;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		locks_take(target);
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
		if (edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
			edata->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
			ReThrowError(edata);
		FreeErrorData(edata);
		got = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	return got;
}

/* A pause between two tries, in which a cancel gets through. Each is longer than the last. */
static void
locks_pause(long *pause)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, *pause,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	ldr_check_cancel();
	*pause = Min(*pause * 2, Max(ldr_lock_timeout, 10));
}

static void
__attribute__((noreturn))
locks_give_up(const LockTarget *target)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not get the locks%s within loader.lock_deadline",
					ldr_worker_package == 0 ? "" : " of the package"),
			 target->missed == InvalidOid ?
			 errdetail("Another package is recording its load in dataset \"%s\".",
					   target->dataset) :
			 errdetail("Another session holds a lock on \"%s\" that conflicts with %s.",
					   get_rel_name(target->missed),
					   GetLockmodeName(DEFAULT_LOCKMETHOD, target->mode)),
			 target->mode == AccessShareLock || ldr_worker_package == 0 ?
			 errhint("pg_locks shows who holds it.") :
			 errhint("loader_plan() shows who holds it.")));
}

static TimestampTz
locks_deadline(void)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ldr_lock_deadline);
}

/* Try, let go, pause, and again, until the deadline. */
static void
locks_wait(LockTarget *target)
{
	TimestampTz deadline = locks_deadline();
	long		pause = 10;
	LdrPhase	phase;

	target->ms = Min(FIRST_TRY_MS, ldr_lock_timeout);
	if (locks_try(target))
		return;
	phase = ldr_progress_phase(LDR_PHASE_LOCKS);
	do
	{
		target->ms = Min(target->ms + Max(target->ms / 4, 1), ldr_lock_timeout);
		if (target->relids != NIL && GetCurrentTimestamp() >= deadline)
			locks_give_up(target);
		locks_pause(&pause);
	} while (!locks_try(target));
	(void) ldr_progress_phase(phase);
}

int64
ldr_lock_tables(List *relids, LOCKMODE mode)
{
	TimestampTz begin = GetCurrentTimestamp();
	LockTarget	target = {.relids = relids, .mode = mode};

	list_sort(relids, locks_compare);
	locks_wait(&target);
	return GetCurrentTimestamp() - begin;
}

void
ldr_lock_dataset(const char *dataset, LdrDatasetLock which)
{
	LockTarget	target = {.dataset = dataset, .which = which};

	locks_wait(&target);
}

int64
ldr_lock_for_publish(const char *dataset, List *relids)
{
	TimestampTz begin = GetCurrentTimestamp();
	LockTarget	target = {.relids = relids, .mode = AccessExclusiveLock, .dataset = dataset,
	.which = LDR_DATASET_RECORD};

	list_sort(relids, locks_compare);
	locks_wait(&target);
	return GetCurrentTimestamp() - begin;
}

/* Never in a queue, so that nobody waits behind a mere look. */
void
ldr_lock_for_look(Oid relid)
{
	TimestampTz deadline = locks_deadline();
	long		pause = 10;

	while (!ConditionalLockRelationOid(relid, AccessShareLock))
	{
		if (GetCurrentTimestamp() >= deadline)
		{
			LockTarget	target = {.mode = AccessShareLock, .missed = relid};

			locks_give_up(&target);
		}
		locks_pause(&pause);
	}
}
