/*
 * worker/feed.c: two shm_mq queues in a segment of dynamic shared memory: messages one way, answers
 * the other.
 *
 * Neither end ever waits in one direction only, or both queues could be full with nobody to empty
 * them: whoever waits to send takes what has come for him.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "storage/shm_toc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "fault.h"
#include "worker/feed.h"
#include "worker/worker.h"

#define FEED_MAGIC		0x6c646664
#define FEED_IN_SIZE	(1024 * 1024)	/* so far a session can be ahead of its worker */
#define FEED_OUT_SIZE	(64 * 1024)
#define FEED_PIECE		(128 * 1024)	/* of what is sent at once */
#define FEED_LOOK_MS	500		/* between two calls of idle */

enum
{
	FEED_KEY_IN,
	FEED_KEY_OUT
};

/* The first byte of what the session sends. */
#define FEED_DATA		'd'
#define FEED_END		'e'

struct LdrFeed
{
	dsm_segment *segment;
	shm_mq_handle *in;
	shm_mq_handle *out;
	MemoryContext cxt;
	List	   *answers;		/* of char *, in cxt */
	bool		ended;			/* the worker has gone, and all that it said was read */
};

static void
feed_wait(long timeout)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout > 0 ? WL_TIMEOUT : 0),
					 timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* --- the session's end -------------------------------------------------------------------------- */

LdrFeed *
ldr_feed_make(dsm_handle *handle)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "loader feed",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	LdrFeed    *feed = palloc0(sizeof(LdrFeed));
	shm_toc_estimator e;
	shm_toc    *toc;
	shm_mq	   *in;
	shm_mq	   *out;
	Size		size;

	shm_toc_initialize_estimator(&e);
	shm_toc_estimate_chunk(&e, FEED_IN_SIZE);
	shm_toc_estimate_chunk(&e, FEED_OUT_SIZE);
	shm_toc_estimate_keys(&e, 2);
	size = shm_toc_estimate(&e);
	feed->cxt = cxt;
	feed->segment = dsm_create(size, 0);
	dsm_pin_mapping(feed->segment);
	toc = shm_toc_create(FEED_MAGIC, dsm_segment_address(feed->segment), size);
	in = shm_mq_create(shm_toc_allocate(toc, FEED_IN_SIZE), FEED_IN_SIZE);
	out = shm_mq_create(shm_toc_allocate(toc, FEED_OUT_SIZE), FEED_OUT_SIZE);
	shm_toc_insert(toc, FEED_KEY_IN, in);
	shm_toc_insert(toc, FEED_KEY_OUT, out);
	shm_mq_set_sender(in, MyProc);
	shm_mq_set_receiver(out, MyProc);
	feed->in = shm_mq_attach(in, feed->segment, NULL);
	feed->out = shm_mq_attach(out, feed->segment, NULL);
	MemoryContextSwitchTo(old);
	*handle = dsm_segment_handle(feed->segment);
	return feed;
}

void
ldr_feed_set_worker(LdrFeed *feed, BackgroundWorkerHandle *worker)
{
	shm_mq_set_handle(feed->in, worker);
	shm_mq_set_handle(feed->out, worker);
}

/* Take what the worker has said, without waiting. */
static void
feed_collect(LdrFeed *feed)
{
	for (;;)
	{
		Size		size;
		void	   *data;
		shm_mq_result result = shm_mq_receive(feed->out, &size, &data, true);
		MemoryContext old;

		if (result == SHM_MQ_DETACHED)
			feed->ended = true;
		if (result != SHM_MQ_SUCCESS)
			return;
		old = MemoryContextSwitchTo(feed->cxt);
		feed->answers = lappend(feed->answers, pnstrdup(data, size));
		MemoryContextSwitchTo(old);
	}
}

/* Until the worker has gone; keeps what it says. */
static void
feed_wait_end(LdrFeed *feed)
{
	for (;;)
	{
		feed_collect(feed);
		if (feed->ended)
			return;
		feed_wait(0);
	}
}

/* One message to the worker, of a kind. False if it has gone. */
static bool
feed_send_piece(LdrFeed *feed, char kind, const char *data, size_t len)
{
	shm_mq_iovec parts[2] = {{&kind, 1}, {data, len}};

	LDR_FAULT("session sends");
	for (;;)
	{
		shm_mq_result result = ldr_shm_mq_sendv(feed->in, parts, len > 0 ? 2 : 1);

		if (result == SHM_MQ_SUCCESS)
			return true;
		if (result == SHM_MQ_DETACHED)
			break;
		feed_collect(feed);
		if (feed->ended)
			return false;
		feed_wait(0);
	}
	feed_wait_end(feed);		/* what it said last is still to be read */
	return false;
}

bool
ldr_feed_send(LdrFeed *feed, const char *data, size_t len)
{
	while (len > 0)
	{
		size_t		n = Min(len, FEED_PIECE);

		if (!feed_send_piece(feed, FEED_DATA, data, n))
			return false;
		data += n;
		len -= n;
	}
	return true;
}

bool
ldr_feed_finish(LdrFeed *feed)
{
	if (feed->ended || !feed_send_piece(feed, FEED_END, NULL, 0))
		return false;
	feed_wait_end(feed);
	return true;
}

/* A message that was interrupted on its way can only be gone on with: so the queue is let go. */
void
ldr_feed_cut(LdrFeed *feed)
{
	if (feed->in)
		shm_mq_detach(feed->in);
	feed->in = NULL;
	feed_wait_end(feed);
}

List *
ldr_feed_answers(LdrFeed *feed)
{
	List	   *answers = NIL;
	ListCell   *lc;

	if (!feed->ended)
		feed_collect(feed);
	foreach(lc, feed->answers)
		answers = lappend(answers, pstrdup(lfirst(lc)));
	list_free_deep(feed->answers);
	feed->answers = NIL;
	return answers;
}

bool
ldr_feed_has_ended(LdrFeed *feed)
{
	if (!feed->ended)
		feed_collect(feed);
	return feed->ended;
}

void
ldr_feed_close(LdrFeed *feed)
{
	dsm_detach(feed->segment);	/* which detaches from the queues */
	MemoryContextDelete(feed->cxt);
}

/* --- the worker's end --------------------------------------------------------------------------- */

/* This process is the worker of one sync. */
static dsm_segment *worker_segment = NULL;
static shm_mq_handle *worker_in;
static shm_mq_handle *worker_out;

typedef struct FeedSource
{
	LdrSource	base;
	LdrFeedIdleFn idle;
	void	   *arg;
	const char *data;			/* of the piece in hand, in the queue */
	size_t		len;
	uint64		consumed;
	bool		ended;
} FeedSource;

bool
ldr_feed_attach(dsm_handle handle)
{
	MemoryContext old;
	shm_toc    *toc;

	StartTransactionCommand();	/* for its resource owner */
	worker_segment = dsm_attach(handle);
	if (worker_segment)
		dsm_pin_mapping(worker_segment);
	CommitTransactionCommand();
	LDR_FAULT("worker has the feed's memory");
	if (worker_segment == NULL)
		return false;
	toc = shm_toc_attach(FEED_MAGIC, dsm_segment_address(worker_segment));
	if (toc == NULL)
		elog(ERROR, "shared memory of a sync is not what it should be");
	old = MemoryContextSwitchTo(TopMemoryContext);
	shm_mq_set_receiver(shm_toc_lookup(toc, FEED_KEY_IN, false), MyProc);
	shm_mq_set_sender(shm_toc_lookup(toc, FEED_KEY_OUT, false), MyProc);
	worker_in = shm_mq_attach(shm_toc_lookup(toc, FEED_KEY_IN, false), worker_segment, NULL);
	worker_out = shm_mq_attach(shm_toc_lookup(toc, FEED_KEY_OUT, false), worker_segment, NULL);
	MemoryContextSwitchTo(old);
	return true;
}

void
ldr_feed_detach(void)
{
	if (worker_segment)
		dsm_detach(worker_segment);
	worker_segment = NULL;
}

static void
__attribute__((noreturn))
feed_cut_off(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("the session that sent the messages has gone"),
			 errdetail("Its input had not come to its end."),
			 errhint("Open a new sync; the source goes on from the last state (loader_airbyte_states).")));
}

/* The next piece; false at the end. */
static bool
feed_next(FeedSource *s)
{
	bool		waited = false;

	for (;;)
	{
		Size		size;
		void	   *data;
		shm_mq_result result = shm_mq_receive(worker_in, &size, &data, true);

		if (result == SHM_MQ_DETACHED)
			feed_cut_off();
		if (result == SHM_MQ_SUCCESS)
		{
			s->data = (const char *) data + 1;
			s->len = size - 1;
			return *(const char *) data == FEED_DATA;
		}
		if (waited)
			feed_wait(FEED_LOOK_MS);
		s->idle(s->arg);
		waited = true;
	}
}

static ssize_t
feed_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	FeedSource *s = (FeedSource *) self;

	LDR_FAULT("worker receives");
	CHECK_FOR_INTERRUPTS();
	if (s->len == 0 && !s->ended)
		s->ended = !feed_next(s);
	if (s->ended)
		return 0;
	n = Min(n, s->len);
	memcpy(buf, s->data, n);
	s->data += n;
	s->len -= n;
	s->consumed += n;
	return (ssize_t) n;
}

static void
feed_close(LdrSource *self)
{
	free(self);
}

static uint64_t
feed_consumed(const LdrSource *self)
{
	return ((const FeedSource *) self)->consumed;
}

LdrSource *
ldr_feed_source(LdrFeedIdleFn idle, void *arg)
{
	FeedSource *s = calloc(1, sizeof(FeedSource));

	if (s == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	s->base.read = feed_read;
	s->base.close = feed_close;
	s->base.consumed = feed_consumed;
	s->idle = idle;
	s->arg = arg;
	return &s->base;
}

void
ldr_feed_answer(const char *text)
{
	shm_mq_iovec part = {text, strlen(text)};
	MemoryContext cxt = CurrentMemoryContext;

	if (worker_segment == NULL)
		return;
	for (;;)
	{
		shm_mq_result result = ldr_shm_mq_sendv(worker_out, &part, 1);

		if (result != SHM_MQ_WOULD_BLOCK)
			return;				/* of a session that has gone, reading says so */
		feed_wait(FEED_LOOK_MS);
		/* a session that does not ask could keep us here for ever */
		ldr_xact_begin();
		ldr_check_cancel();
		ldr_xact_commit();
		MemoryContextSwitchTo(cxt);
	}
}
