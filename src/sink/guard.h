/*
 * sink/guard.h: a subtransaction around rows that may be refused, and which errors are of a row.
 */
#ifndef LDR_GUARD_H
#define LDR_GUARD_H

#include "utils/resowner.h"

/*
 * One subtransaction at a time. Rows are converted and checked under it, so that an error can be
 * undone; it writes nothing until its batch is written, so undoing a row that has not joined the
 * batch takes nothing away from those that have.
 */
typedef struct LdrGuard
{
	bool		open;
	ResourceOwner owner;		/* outside */
} LdrGuard;

/* Begin, unless it is open. Leaves the memory context as it was. */
extern void ldr_guard_begin(LdrGuard *guard);

/*
 * End it, if it is open; resource owner and memory context are then those of outside. After an
 * error the caller has copied and flushed that before, and has switched to a context of its own.
 */
extern void ldr_guard_commit(LdrGuard *guard);
extern void ldr_guard_abort(LdrGuard *guard);

/*
 * In PG_CATCH: undo what was done under the guard. Returns a copy of the error in cxt, which is
 * current then.
 */
extern ErrorData *ldr_guard_catch(LdrGuard *guard, MemoryContext cxt);

/*
 * Is the error one of the row in hand: bad data, a constraint, what a trigger says? Not a cancel, a
 * deadlock, a full disk, a missing privilege or a missing function, which would hit any row. An
 * input function (converting) may say of a value that it is no such name or has no such syntax.
 */
extern bool ldr_guard_is_of_row(const ErrorData *edata, bool converting);

#endif							/* LDR_GUARD_H */
