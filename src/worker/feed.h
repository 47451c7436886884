/*
 * worker/feed.h: a sync's messages on their way from the session that gets them to the worker that
 * loads them, and its answers on their way back, through two queues in shared memory.
 *
 * Each end knows when the other one has gone. The worker also knows whether the session has said
 * that its input is at its end, or was cut off in the middle.
 */
#ifndef LDR_FEED_H
#define LDR_FEED_H

#include "nodes/pg_list.h"
#include "source/source.h"
#include "storage/dsm.h"

struct BackgroundWorkerHandle;

/* --- the session's end -------------------------------------------------------------------------- */

typedef struct LdrFeed LdrFeed;

/*
 * Make the queues, which live until ldr_feed_close or the end of the session; so does what this
 * returns. The worker is told *handle.
 */
extern LdrFeed *ldr_feed_make(dsm_handle *handle);

/* The worker that was registered: how the session learns that it could not start. */
extern void ldr_feed_set_worker(LdrFeed *feed, struct BackgroundWorkerHandle *worker);

/*
 * Hand bytes over, waiting while the worker is behind. Answers that come meanwhile are kept. False
 * if the worker has gone. An interrupt leaves the feed cut off: close it then.
 */
extern bool ldr_feed_send(LdrFeed *feed, const char *data, size_t len);

/* The input is at its end: wait until the worker has gone. False if it had before. */
extern bool ldr_feed_finish(LdrFeed *feed);

/*
 * The input is cut off: wait until the worker has seen that, committed what it commits, and gone.
 * May be interrupted, and called again.
 */
extern void ldr_feed_cut(LdrFeed *feed);

/* Answers since the last call (List of char *), in the caller's context. Does not wait. */
extern List *ldr_feed_answers(LdrFeed *feed);

/* Has the worker gone? */
extern bool ldr_feed_has_ended(LdrFeed *feed);

extern void ldr_feed_close(LdrFeed *feed);

/* --- the worker's end --------------------------------------------------------------------------- */

/* Called while there is nothing to read: at once, and then again and again. */
typedef void (*LdrFeedIdleFn) (void *arg);

/* Attach to the queues of a session. False if it has gone. */
extern bool ldr_feed_attach(dsm_handle handle);

/*
 * The session's bytes. Its read waits for them; it raises 08006 if the session goes without having
 * said that its input is at its end.
 */
extern LdrSource *ldr_feed_source(LdrFeedIdleFn idle, void *arg);

/*
 * Hand an answer to the session, waiting while it does not take them. Nothing if it has gone. Not in
 * a transaction. Raises 57014 if the package is cancelled meanwhile.
 */
extern void ldr_feed_answer(const char *text);

/* The worker will say no more. */
extern void ldr_feed_detach(void);

#endif							/* LDR_FEED_H */
