/*
 * sink/guard.c: a subtransaction around rows that may be refused, and which errors are of a row.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "sink/guard.h"

void
ldr_guard_begin(LdrGuard *guard)
{
	MemoryContext cxt = CurrentMemoryContext;

	if (guard->open)
		return;
	guard->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	guard->open = true;
}

static void
guard_end(LdrGuard *guard, bool commit)
{
	MemoryContext cxt = CurrentMemoryContext;

	if (!guard->open)
		return;
	guard->open = false;
	if (commit)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = guard->owner;
}

void
ldr_guard_commit(LdrGuard *guard)
{
	guard_end(guard, true);
}

void
ldr_guard_abort(LdrGuard *guard)
{
	guard_end(guard, false);
}

ErrorData *
ldr_guard_catch(LdrGuard *guard, MemoryContext cxt)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(cxt);
	edata = CopyErrorData();
	FlushErrorState();
	ldr_guard_abort(guard);
	return edata;
}

/*
 * Row-level security has the code of a missing privilege, but refuses a row. Which of the two it
 * is, only the place tells that raised it.
 */
static bool
guard_is_policy(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE && edata->funcname &&
		strcmp(edata->funcname, "ExecWithCheckOptions") == 0;
}

/* Of our own or the server's state, whatever the row: by class, and the few that classes mix. */
static bool
guard_is_of_all(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_INVALID_CURSOR_STATE:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_INVALID_TRANSACTION_TERMINATION:
		case ERRCODE_SAVEPOINT_EXCEPTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_FDW_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return true;
		default:
			return sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX;
	}
}

bool
ldr_guard_is_of_row(const ErrorData *edata, bool converting)
{
	if (edata->elevel != ERROR)
		return false;
	if (guard_is_policy(edata) || edata->sqlerrcode == ERRCODE_GENERATED_ALWAYS)
		return true;
	/* a deeply nested value */
	if (converting && edata->sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX)
		return true;
	if (guard_is_of_all(edata->sqlerrcode))
		return false;
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
		return converting && edata->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE;
	return true;
}
