/*
 * worker/exchange.h: what the leader of a parallel load, who reads the file, and its workers, who
 * load what is in it, have in common: a ring of slots in shared memory, each for a block of the
 * file; and a page for each worker to leave.
 *
 * Blocks are numbered as they lie in the file, and settled in this order, whoever worked on them
 * and when: so of several errors the first one is raised, each time.
 */
#ifndef LDR_EXCHANGE_H
#define LDR_EXCHANGE_H

#include "reader/split.h"
#include "storage/condition_variable.h"
#include "storage/s_lock.h"

#ifndef LDR_FAULTS
#define LDR_SLOT_INPUT	(256 * 1024)	/* bytes of the file in one block, at most */
#define LDR_SLOT_LARGE	256		/* rows that are left to the leader, at once */
#else							/* the torture test's files are small */
#define LDR_SLOT_INPUT	(16 * 1024)
#define LDR_SLOT_LARGE	2
#endif

typedef enum LdrSlotState
{
	LDR_SLOT_FREE,
	LDR_SLOT_FILLED,			/* nobody works on it yet */
	LDR_SLOT_BUSY,
	LDR_SLOT_READY,			/* its rows are in pages, but for those that are left to the leader */
	LDR_SLOT_FAILED,			/* its worker has an error, and waits for its turn */
	LDR_SLOT_TURN				/* ... which has come: the error is to be raised */
} LdrSlotState;

typedef struct LdrExchangeSlot
{
	/* under the exchange's mutex; the rest is for who has the slot */
	LdrSlotState state;
	int			worker;			/* number of the one that claimed it last; -1: the leader */
	LdrBlock	block;			/* the input */
	uint64		rows;			/* that are in pages */
	/* rows that need the TOAST table, which are left to the leader: as they are counted in the block */
	int			nlarge;
	uint32		large[LDR_SLOT_LARGE];
	bool		more;			/* this is not all of the block: there was no room for more of them */
} LdrExchangeSlot;

typedef struct LdrExchange
{
	slock_t		mutex;
	ConditionVariable filled_cv;	/* there is a block to work on, or there will be none */
	ConditionVariable settled_cv;	/* a block is settled, or it is an error's turn */
	ConditionVariable ready_cv; /* for the leader: a block is ready, or has failed */
	int			nslots;			/* of the ring */
	uint64		filled;			/* blocks up to here were filled, */
	uint64		claimed;		/* ... somebody works or has worked on them, */
	uint64		settled;		/* ... and nothing is left to be done for them */
	bool		ended;			/* no more will be filled */
} LdrExchange;

/* Bytes that an exchange of so many slots takes, and how to set one up there. */
extern Size ldr_exchange_size(int nslots, int nworkers);
extern void ldr_exchange_init(LdrExchange *x, int nslots, int nworkers);

/* What there is for block number n: its slot, and what was read. */
extern LdrExchangeSlot *ldr_exchange_slot(LdrExchange *x, uint64 n);
extern char *ldr_exchange_input(LdrExchange *x, uint64 n);

/* The pages that workers leave, one after the other; new ones (of zeros) until then. */
extern char *ldr_exchange_rest(LdrExchange *x);

/* --- the leader ------------------------------------------------------------------------------ */

/* Is there a block to be filled? Its number is x->filled, which nobody else changes. */
extern bool ldr_exchange_has_room(LdrExchange *x);

/* Block number x->filled is filled. */
extern void ldr_exchange_fill(LdrExchange *x);

/* No block will be filled any more: workers that have none go home. */
extern void ldr_exchange_end(LdrExchange *x);

/* State of block number x->settled, whose turn it is; not READY and not FAILED: wait. */
extern LdrSlotState ldr_exchange_next(LdrExchange *x);

/* The worker that has that block; -1 if nobody has claimed it yet, or the leader has. */
extern int	ldr_exchange_worker(LdrExchange *x);

/* That block is settled, as far as it was delivered: its worker goes on with it, or it is free. */
extern void ldr_exchange_settle(LdrExchange *x);

/* The error of that block's worker is to be raised. */
extern void ldr_exchange_turn(LdrExchange *x);

/* Wait until the state of that block has changed; false after timeout ms. Serves interrupts. */
extern bool ldr_exchange_wait(LdrExchange *x, long timeout);

/* --- who works on a block ---------------------------------------------------------------------- */

/* The next block to work on, if there is one now; *n is its number. */
extern bool ldr_exchange_try_claim(LdrExchange *x, uint64 *n);

/* Wait for the next block to work on, *n its number. False if there are no more. */
extern bool ldr_exchange_claim(LdrExchange *x, uint64 *n);

/* A block is ready. With more, wait until it is settled as far as that. */
extern void ldr_exchange_deliver(LdrExchange *x, uint64 n, bool more);

/* An error: wait for its turn. (If another one is raised before, this process is terminated.) */
extern void ldr_exchange_fail(LdrExchange *x, uint64 n);

#endif							/* LDR_EXCHANGE_H */
