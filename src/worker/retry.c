/*
 * worker/retry.c: which errors a retry can mend, and how long to wait before it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "loader.h"
#include "worker/worker.h"

/* Classes that pass by themselves, but for the codes below. */
static const int transient_classes[] = {
	ERRCODE_CONNECTION_EXCEPTION,	/* 08: another server, behind a foreign table */
	ERRCODE_TRANSACTION_ROLLBACK,	/* 40: deadlock, serialization */
	ERRCODE_INSUFFICIENT_RESOURCES, /* 53: disk full, out of memory, too many connections */
	MAKE_SQLSTATE('7', '2', '0', '0', '0')	/* a snapshot too old, before 17 */
};

/* Of those classes: the same again would end the same way. */
static const int terminal_codes[] = {
	ERRCODE_PROTOCOL_VIOLATION,
	ERRCODE_CONFIGURATION_LIMIT_EXCEEDED	/* temp_file_limit, loader.upload_limit */
};

static const int transient_codes[] = {
	ERRCODE_LOCK_NOT_AVAILABLE,
	ERRCODE_SYSTEM_ERROR,
	ERRCODE_IO_ERROR,
	ERRCODE_DUPLICATE_SCHEMA,	/* somebody was first with the same DDL: look again */
	ERRCODE_DUPLICATE_TABLE,
	ERRCODE_DUPLICATE_OBJECT,
	/* our own shutdown is FATAL and ends the process: these come from another server */
	ERRCODE_ADMIN_SHUTDOWN,
	ERRCODE_CRASH_SHUTDOWN,
	ERRCODE_CANNOT_CONNECT_NOW,
	ERRCODE_IDLE_SESSION_TIMEOUT,
	ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION
};

/*
 * Codes that say too little: these messages are of DDL that somebody else has committed between our
 * look and our use of what we saw. Compared as they are before translation.
 */
static const struct
{
	int			code;
	const char *begin;
}			transient_messages[] =
{
	{ERRCODE_INTERNAL_ERROR, "tuple concurrently "},	/* updated, deleted */
	{ERRCODE_INTERNAL_ERROR, "cache lookup failed for "},
	{ERRCODE_INTERNAL_ERROR, "could not open relation with OID "},
	{ERRCODE_DUPLICATE_COLUMN, "column \"%s\" of relation "},
	{ERRCODE_FEATURE_NOT_SUPPORTED, "cached plan must not change result type"}
};

static bool
retry_lists(const int *codes, int n, int code)
{
	for (int i = 0; i < n; i++)
		if (codes[i] == code)
			return true;
	return false;
}

static bool
retry_begins(const char *text, const char *begin)
{
	return text && strncmp(text, begin, strlen(begin)) == 0;
}

/* Decided by SQLSTATE; everything else is terminal: bad data stays bad. */
bool
ldr_error_is_transient(const ErrorData *edata)
{
	int			code = edata->sqlerrcode;

	if (retry_lists(terminal_codes, lengthof(terminal_codes), code))
		return false;
	if (retry_lists(transient_classes, lengthof(transient_classes), ERRCODE_TO_CATEGORY(code)) ||
		retry_lists(transient_codes, lengthof(transient_codes), code))
		return true;
	for (int i = 0; i < lengthof(transient_messages); i++)
		if (code == transient_messages[i].code &&
			(retry_begins(edata->message_id, transient_messages[i].begin) ||
			 retry_begins(edata->message, transient_messages[i].begin)))
			return true;
	/* the same DDL again, as the catalog's unique index sees it */
	return code == ERRCODE_UNIQUE_VIOLATION && edata->schema_name &&
		strcmp(edata->schema_name, "pg_catalog") == 0;
}

/*
 * Wait loader.retry_delay, doubled with each attempt, up to a minute; less what has gone by already.
 * A cancel ends it.
 */
void
ldr_retry_wait(int attempt, int64 package_id, int64 gone_by)
{
	long		ms = Min((long) ldr_retry_delay << Min(attempt, 10), Max(60000L, ldr_retry_delay));
	/* a clock that was set back must not make it longer */
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													ms - Min(Max(gone_by, 0), ms));

	ldr_progress_phase(LDR_PHASE_RETRY);
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
