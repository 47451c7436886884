/*
 * worker/locks.c: locks of the lock manager that stand for things of ours. Each is freed by any
 * death of its holder.
 *
 * They live in the space of advisory locks, with a class number that the SQL functions cannot
 * produce (those use 1 and 2). Order: package, slot, job, enter, dataset (create), relations, dataset
 * (record). source/spool.c has classes of its own, from 0x4c20 on, which come after all of these.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "compat.h"
#include "loader.h"
#include "worker/worker.h"

#define MAX_SLOTS	1024		/* of loader.max_workers */

enum
{
	CLASS_SLOT = 0x4c01,		/* one of loader.max_workers, over all databases */
	CLASS_PACKAGE,				/* whoever works on a package as its coordinator */
	CLASS_CREATE,				/* creates a dataset and dlt's own tables in it */
	CLASS_RECORD,				/* writes to dlt's own tables of a dataset, before the commit */
	CLASS_SCAN,					/* scans a directory */
	CLASS_JOB,					/* works on jobs of a package that commit one by one, shared */
	CLASS_ENTER,				/* enters a job of a package in job mode */
	CLASS_FEED,					/* the session that a sync's messages come from */
	CLASS_STREAM,				/* a sync has a stream's table */
	CLASS_HUNGRY				/* a scout waits for a slot, for a database where nothing runs */
};

static List *streams_locked = NIL;	/* of uint64 *, in TopMemoryContext */
static int	slot_held = -1;
static int	slots_taken[MAX_SLOTS]; /* for parallel workers */
static int64 package_held = 0;	/* for the session */
static TransactionId package_locked_in = InvalidTransactionId;

static LOCKTAG
lock_tag(Oid db, uint64 id, uint16 class)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, db, (uint32) (id >> 32), (uint32) id, class);
	return tag;
}

/* Take one of the loader.max_workers slots, without waiting. False if all are taken. */
bool
ldr_slot_acquire(void)
{
	for (int i = 0; i < ldr_max_workers && slot_held < 0; i++)
	{
		LOCKTAG		tag = lock_tag(InvalidOid, i, CLASS_SLOT);

		if (LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL)
			slot_held = i;
	}
	return slot_held >= 0;
}

/*
 * Take up to n slots more, for parallel workers, until the end of the transaction; returns how many
 * there were. What is taken is not what this process has: that lock is counted.
 */
int
ldr_slots_take(int n)
{
	int			taken = 0;

	for (int i = 0; i < ldr_max_workers && taken < n; i++)
	{
		LOCKTAG		tag = lock_tag(InvalidOid, i, CLASS_SLOT);

		if (i != slot_held && LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_OK)
			slots_taken[taken++] = i;
	}
	return taken;
}

/* Let them go, the last n that were taken. */
void
ldr_slots_give(int n)
{
	for (int i = 0; i < n; i++)
	{
		LOCKTAG		tag = lock_tag(InvalidOid, slots_taken[i], CLASS_SLOT);

		if (ldr_lock_is_held(&tag, ExclusiveLock))
			LockRelease(&tag, ExclusiveLock, false);
	}
}

void
ldr_slot_release(void)
{
	LOCKTAG		tag = lock_tag(InvalidOid, slot_held, CLASS_SLOT);

	/* code of the user's tables may have called pg_advisory_unlock_all() */
	if (slot_held >= 0 && ldr_lock_is_held(&tag, ExclusiveLock))
		LockRelease(&tag, ExclusiveLock, true);
	slot_held = -1;
}

/*
 * Be the only one who works on the package, for the session or for the transaction. Without wait,
 * false if somebody else is.
 */
bool
ldr_package_lock(int64 package_id, bool session, bool wait)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_id, CLASS_PACKAGE);
	bool		got = LockAcquire(&tag, ExclusiveLock, session, !wait) != LOCKACQUIRE_NOT_AVAIL;

	if (got && session)
		package_held = package_id;
	if (got && !session)
		package_locked_in = GetCurrentTransactionId();
	return got;
}

/* Has this transaction locked a package, so that others may have to wait for its end? */
bool
ldr_package_locked_by_transaction(void)
{
	return TransactionIdIsValid(package_locked_in) &&
		TransactionIdIsCurrentTransactionId(package_locked_in);
}

static void
__attribute__((noreturn))
locks_lost(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("the lock on package " INT64_FORMAT " was lost", package_held),
			 errdetail("Code of one of its tables has called pg_advisory_unlock_all().")));
}

/*
 * Code of the user's tables may have called pg_advisory_unlock_all(). Take our locks again, and
 * give up if somebody else was faster.
 */
void
ldr_package_lock_keep(void)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_held, CLASS_PACKAGE);
	ListCell   *lc;

	if (package_held == 0 || ldr_lock_is_held(&tag, ExclusiveLock))
		return;
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		locks_lost();
	foreach(lc, streams_locked)
	{
		LOCKTAG		stream = lock_tag(MyDatabaseId, *(uint64 *) lfirst(lc), CLASS_STREAM);

		if (LockAcquire(&stream, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
			locks_lost();
	}
	if (slot_held >= 0)
	{
		LOCKTAG		slot = lock_tag(InvalidOid, slot_held, CLASS_SLOT);

		(void) LockAcquire(&slot, ExclusiveLock, true, true);
	}
}

void
ldr_package_unlock(int64 package_id)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_id, CLASS_PACKAGE);

	package_held = 0;
	if (ldr_lock_is_held(&tag, ExclusiveLock))
		LockRelease(&tag, ExclusiveLock, true);
}

/* For the transaction of a job that commits by itself: somebody works on jobs of the package. */
void
ldr_job_lock(int64 package_id)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_id, CLASS_JOB);

	(void) LockAcquire(&tag, ShareLock, false, false);
}

/*
 * Until the end of the transaction: jobs of a package in job mode are entered one after the other.
 * Not by the package's row: who enters a job may have to wait for a staging table, which sessions
 * have that need the row to commit, and nobody would see that deadlock.
 */
void
ldr_enter_lock(int64 package_id)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_id, CLASS_ENTER);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/*
 * Does nobody work on such a job? (Progress counters do not tell: while an index is built they are
 * not ours.) With keep, nobody begins one before this transaction ends. Does not wait.
 */
bool
ldr_job_lock_idle(int64 package_id, bool keep)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_id, CLASS_JOB);

	if (LockAcquire(&tag, ExclusiveLock, !keep, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (!keep)
		LockRelease(&tag, ExclusiveLock, true);
	return true;
}

/* One of a dataset's locks, until the end of the transaction. Waits as lock_timeout lets it. */
void
ldr_dataset_lock(const char *dataset, LdrDatasetLock which)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, hash_bytes_extended((const unsigned char *) dataset,
																 strlen(dataset), 0),
							   which == LDR_DATASET_CREATE ? CLASS_CREATE : CLASS_RECORD);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	/* a lock on a relation does that by itself: see what its holder before us has created */
	AcceptInvalidationMessages();
}

/*
 * Until the end of the transaction, be the only scan of the directory by this role: another one,
 * which may leave its transaction open, is not to keep ours from its work. Does not wait.
 */
bool
ldr_scan_lock(const char *directory)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, hash_bytes_extended((const unsigned char *) directory,
																 strlen(directory), GetUserId()),
							   CLASS_SCAN);

	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* For the session: messages of the sync come from here. */
void
ldr_feed_lock(int64 package_id)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_id, CLASS_FEED);

	(void) LockAcquire(&tag, ExclusiveLock, true, false);
}

void
ldr_feed_unlock(int64 package_id)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_id, CLASS_FEED);

	if (ldr_lock_is_held(&tag, ExclusiveLock))
		LockRelease(&tag, ExclusiveLock, true);
}

/* Has the session that fed a sync gone? Until the end of the transaction it does not come back. */
bool
ldr_feed_is_gone(int64 package_id)
{
	LOCKTAG		tag = lock_tag(MyDatabaseId, package_id, CLASS_FEED);

	/* not either if it is this one */
	return LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_OK;
}

/* Have the table of a stream for a sync, until ldr_streams_unlock. False if another one has it. */
bool
ldr_stream_lock(const char *dataset, const char *table)
{
	uint64		id = hash_bytes_extended((const unsigned char *) table, strlen(table),
										 hash_bytes_extended((const unsigned char *) dataset,
															 strlen(dataset), 0));
	LOCKTAG		tag = lock_tag(MyDatabaseId, id, CLASS_STREAM);
	MemoryContext old;
	uint64	   *copy;

	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	copy = palloc(sizeof(uint64));
	*copy = id;
	streams_locked = lappend(streams_locked, copy);
	MemoryContextSwitchTo(old);
	return true;
}

/* For the session: packages wait here, none runs, and there is no slot. */
void
ldr_hunger_begin(void)
{
	LOCKTAG		tag = lock_tag(InvalidOid, 0, CLASS_HUNGRY);

	(void) LockAcquire(&tag, ExclusiveLock, true, false);
}

void
ldr_hunger_end(void)
{
	LOCKTAG		tag = lock_tag(InvalidOid, 0, CLASS_HUNGRY);

	LockRelease(&tag, ExclusiveLock, true);
}

/* Does another database wait for a slot? (One where a package runs does not.) Does not wait. */
bool
ldr_others_hunger(void)
{
	LOCKTAG		tag = lock_tag(InvalidOid, 0, CLASS_HUNGRY);

	if (LockAcquire(&tag, ShareLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, true);
	return false;
}

void
ldr_streams_unlock(void)
{
	ListCell   *lc;

	foreach(lc, streams_locked)
	{
		LOCKTAG		tag = lock_tag(MyDatabaseId, *(uint64 *) lfirst(lc), CLASS_STREAM);

		if (ldr_lock_is_held(&tag, ExclusiveLock))
			LockRelease(&tag, ExclusiveLock, true);
	}
	list_free_deep(streams_locked);
	streams_locked = NIL;
}
