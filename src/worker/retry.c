/*
 * worker/retry.c: which errors a retry can mend, and how long to wait before it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "fault.h"
#include "loader.h"
#include "worker/worker.h"

/* Decided by SQLSTATE; everything else is terminal: bad data stays bad. */
bool
ldr_error_is_transient(const ErrorData *edata)
{
	switch (ERRCODE_TO_CATEGORY(edata->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:	/* deadlock, serialization */
		case ERRCODE_INSUFFICIENT_RESOURCES:	/* disk full, out of memory, too many connections */
			return true;
	}
	switch (edata->sqlerrcode)
	{
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_IO_ERROR:
		case ERRCODE_DUPLICATE_SCHEMA:	/* somebody was first with the same DDL: look again */
		case ERRCODE_DUPLICATE_TABLE:
			return true;
		case ERRCODE_UNIQUE_VIOLATION:	/* the same, seen by the catalog's unique index */
			return edata->schema_name && strcmp(edata->schema_name, "pg_catalog") == 0;
		case ERRCODE_INTERNAL_ERROR:
			return edata->message && strcmp(edata->message, "tuple concurrently updated") == 0;
	}
	return false;
}

/* Wait loader.retry_delay, doubled with each attempt, up to a minute; a cancel ends it. */
void
ldr_retry_wait(int attempt, int64 package_id)
{
	long		ms = Min((long) ldr_retry_delay << Min(attempt, 10), Max(60000L, ldr_retry_delay));
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);

	ldr_progress_phase(LDR_PHASE_RETRY);
	LDR_FAULT("retry waits");
	while ((ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(ms, 500),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		ldr_xact_begin();
		if (ldr_package_cancel_requested(package_id))
			until = 0;
		ldr_xact_commit();
	}
}
