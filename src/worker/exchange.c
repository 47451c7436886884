/*
 * worker/exchange.c: the ring of slots, and who waits for whom.
 *
 * Nobody waits in a circle: who has the block whose turn it is waits for nobody but the leader, and
 * the leader, if it does not work on a block itself, for nobody else. Beside that there is the lock
 * for extending the heap: who holds it waits for nobody here.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "worker/exchange.h"

#define SLOTS_OFFSET	MAXALIGN(sizeof(LdrExchange))
#define INPUT_OFFSET	MAXALIGN(sizeof(LdrExchangeSlot))
#define STRIDE			MAXALIGN(INPUT_OFFSET + LDR_SLOT_INPUT + LDR_BLOCK_SLACK)

Size
ldr_exchange_size(int nslots, int nworkers)
{
	return add_size(add_size(SLOTS_OFFSET, mul_size(STRIDE, nslots)), mul_size(BLCKSZ, nworkers));
}

void
ldr_exchange_init(LdrExchange *x, int nslots, int nworkers)
{
	memset(x, 0, sizeof(LdrExchange));
	SpinLockInit(&x->mutex);
	ConditionVariableInit(&x->filled_cv);
	ConditionVariableInit(&x->settled_cv);
	ConditionVariableInit(&x->ready_cv);
	x->nslots = nslots;
	for (int i = 0; i < nslots; i++)
		memset(ldr_exchange_slot(x, i), 0, sizeof(LdrExchangeSlot));
	memset(ldr_exchange_rest(x), 0, (Size) BLCKSZ * nworkers);
}

LdrExchangeSlot *
ldr_exchange_slot(LdrExchange *x, uint64 n)
{
	return (LdrExchangeSlot *) ((char *) x + SLOTS_OFFSET + STRIDE * (n % x->nslots));
}

char *
ldr_exchange_input(LdrExchange *x, uint64 n)
{
	return (char *) ldr_exchange_slot(x, n) + INPUT_OFFSET;
}

char *
ldr_exchange_rest(LdrExchange *x)
{
	return (char *) x + SLOTS_OFFSET + STRIDE * x->nslots;
}

static LdrSlotState
exchange_state(LdrExchange *x, uint64 n)
{
	LdrSlotState state;

	SpinLockAcquire(&x->mutex);
	state = ldr_exchange_slot(x, n)->state;
	SpinLockRelease(&x->mutex);
	return state;
}

static void
exchange_set(LdrExchange *x, uint64 n, LdrSlotState state)
{
	SpinLockAcquire(&x->mutex);
	ldr_exchange_slot(x, n)->state = state;
	SpinLockRelease(&x->mutex);
}

/* --- the leader ------------------------------------------------------------------------------ */

bool
ldr_exchange_has_room(LdrExchange *x)
{
	return exchange_state(x, x->filled) == LDR_SLOT_FREE;
}

void
ldr_exchange_fill(LdrExchange *x)
{
	SpinLockAcquire(&x->mutex);
	ldr_exchange_slot(x, x->filled)->state = LDR_SLOT_FILLED;
	x->filled++;
	SpinLockRelease(&x->mutex);
	ConditionVariableSignal(&x->filled_cv);
}

void
ldr_exchange_end(LdrExchange *x)
{
	SpinLockAcquire(&x->mutex);
	x->ended = true;
	SpinLockRelease(&x->mutex);
	ConditionVariableBroadcast(&x->filled_cv);
}

LdrSlotState
ldr_exchange_next(LdrExchange *x)
{
	return exchange_state(x, x->settled);
}

int
ldr_exchange_worker(LdrExchange *x)
{
	int			worker = -1;

	SpinLockAcquire(&x->mutex);
	if (x->settled < x->claimed)
		worker = ldr_exchange_slot(x, x->settled)->worker;
	SpinLockRelease(&x->mutex);
	return worker;
}

void
ldr_exchange_settle(LdrExchange *x)
{
	LdrExchangeSlot *slot = ldr_exchange_slot(x, x->settled);
	bool		more = slot->more;

	SpinLockAcquire(&x->mutex);
	slot->state = more ? LDR_SLOT_BUSY : LDR_SLOT_FREE;
	if (!more)
		x->settled++;
	SpinLockRelease(&x->mutex);
	if (more)
		ConditionVariableBroadcast(&x->settled_cv);
}

void
ldr_exchange_turn(LdrExchange *x)
{
	exchange_set(x, x->settled, LDR_SLOT_TURN);
	ConditionVariableBroadcast(&x->settled_cv);
}

bool
ldr_exchange_wait(LdrExchange *x, long timeout)
{
	LdrSlotState before = ldr_exchange_next(x);
	bool		changed = true;

	if (before == LDR_SLOT_READY || before == LDR_SLOT_FAILED)
		return true;			/* meanwhile */
	ConditionVariablePrepareToSleep(&x->ready_cv);
	while (changed && ((before = ldr_exchange_next(x)) != LDR_SLOT_READY) &&
		   before != LDR_SLOT_FAILED)
		changed = !ConditionVariableTimedSleep(&x->ready_cv, timeout, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	return changed;
}

/* --- who works on a block ---------------------------------------------------------------------- */

/* One look for a block. */
static bool
exchange_try_claim(LdrExchange *x, uint64 *n, bool *ended)
{
	bool		found;

	SpinLockAcquire(&x->mutex);
	found = x->claimed < x->filled;
	*ended = x->ended;
	if (found)
	{
		*n = x->claimed++;
		ldr_exchange_slot(x, *n)->state = LDR_SLOT_BUSY;
		ldr_exchange_slot(x, *n)->worker = ParallelWorkerNumber;
	}
	SpinLockRelease(&x->mutex);
	return found;
}

bool
ldr_exchange_try_claim(LdrExchange *x, uint64 *n)
{
	bool		ended;

	return exchange_try_claim(x, n, &ended);
}

bool
ldr_exchange_claim(LdrExchange *x, uint64 *n)
{
	bool		ended;
	bool		found = exchange_try_claim(x, n, &ended);

	if (found || ended)
		return found;
	ConditionVariablePrepareToSleep(&x->filled_cv);
	while (!(found = exchange_try_claim(x, n, &ended)) && !ended)
		ConditionVariableSleep(&x->filled_cv, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	return found;
}

/* Wait until the leader has changed the state of a block. */
static void
exchange_await(LdrExchange *x, uint64 n, LdrSlotState before)
{
	ConditionVariablePrepareToSleep(&x->settled_cv);
	while (exchange_state(x, n) == before)
		ConditionVariableSleep(&x->settled_cv, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

void
ldr_exchange_deliver(LdrExchange *x, uint64 n, bool more)
{
	ldr_exchange_slot(x, n)->more = more;
	exchange_set(x, n, LDR_SLOT_READY);
	ConditionVariableSignal(&x->ready_cv);
	if (more)
		exchange_await(x, n, LDR_SLOT_READY);
}

void
ldr_exchange_fail(LdrExchange *x, uint64 n)
{
	exchange_set(x, n, LDR_SLOT_FAILED);
	ConditionVariableSignal(&x->ready_cv);
	exchange_await(x, n, LDR_SLOT_FAILED);
}
