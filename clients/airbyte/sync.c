/*
 * sync.c: one sync: the input to the server, its states to the output.
 *
 * One loop waits for three things at once: input, the server, and room in the output. The bytes go
 * to the server as they come; nobody here looks into them. At any time there is at most
 *	- one piece of the input that is being collected while the server has the one before,
 *	- one call of the server under way, and
 *	- OUT_MAX bytes of output that nobody has read yet; beyond that no answer of the server is read.
 * So memory does not depend on the length of the input, and neither a source that waits for its
 * states nor one that never reads them can stop us for good.
 *
 * The server commits when it likes. As long as input comes, each call brings the states of before;
 * when none comes we ask now and then.
 *
 * A failure of the sync ends it like the end of the input does: the report has the states that
 * were not given out before, and the cause. SIGTERM and SIGINT, too; then the program dies of the
 * signal, after END_WITHIN seconds in any case, since who sends one will not wait for long.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "connector.h"

#define PIECE_MAX (1024 * 1024)
#define PIECE_ENOUGH (256 * 1024)	/* worth a call at once */
#define PIECE_DELAY 20			/* ms that less than that waits for more */
#define OUT_MAX (16 * 1024 * 1024)
#define LOOK_FIRST 200			/* ms without input before we ask for states */
#define LOOK_MAX 5000			/* the same, when we have asked in vain for long */
#define CANCEL_AFTER 3000		/* ms that a call may go on after a signal */
#define END_WITHIN 9			/* s from a signal to our end */

typedef enum SyncCall
{
	SYNC_IDLE,
	SYNC_WRITE,
	SYNC_CLOSE,
	SYNC_CLOSED
} SyncCall;

typedef struct Sync
{
	PGconn	   *conn;
	const char *package_id;
	LdrFailure *failure;
	SyncCall	call;
	bool		flushed;		/* nothing of the call waits to be sent */
	/* input */
	char	   *piece;
	size_t		len;
	bool		ended;			/* no more of it, whatever the reason */
	int64_t		first_at;		/* when the piece's first byte came */
	/* looking for states */
	int64_t		look_at;		/* INT64_MAX: nothing was sent, so there are none */
	int			look_delay;
	bool		got_states;		/* by the call under way */
	/* after a signal */
	int64_t		cancel_at;		/* 0: none has come */
} Sync;

/* --- signals ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t signal_taken;
static int	signal_pipe[2];

static void
die_of_signal(int signo)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t	only;

	ldr_certificates_remove();
	sigaction(signo, &action, NULL);
	sigemptyset(&only);
	sigaddset(&only, signo);
	sigprocmask(SIG_UNBLOCK, &only, NULL);
	raise(signo);
}

static void
signal_time_is_up(int signo)
{
	die_of_signal(signal_taken);
}

/* A second signal finds the default action, and ends us at once. */
static void
signal_end(int signo)
{
	int			save_errno = errno;

	signal_taken = signo;
	alarm(END_WITHIN);
	if (write(signal_pipe[1], "", 1) < 0)
		die_of_signal(signo);
	errno = save_errno;
}

static bool
sync_catch_signals(LdrFailure *failure)
{
	struct sigaction end = {.sa_handler = signal_end, .sa_flags = SA_RESETHAND | SA_RESTART};
	struct sigaction up = {.sa_handler = signal_time_is_up};
	struct sigaction old;

	if (pipe(signal_pipe) != 0)
		return ldr_failure_set(failure, LDR_SYSTEM_ERROR, "could not create a pipe: %s",
							   strerror(errno));
	sigaction(SIGALRM, &up, NULL);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, NULL, &old);
	if (old.sa_handler != SIG_IGN)
		sigaction(SIGINT, &end, NULL);
	return true;
}

/* --- time ------------------------------------------------------------------------------------- */

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* --- calls of the server ---------------------------------------------------------------------- */

/* The connection is of no more use: nothing else can be learnt. */
static void
sync_lost(Sync *sync)
{
	ldr_failure_lost(sync->failure, sync->conn);
	sync->call = SYNC_CLOSED;
}

static void
sync_call(Sync *sync, SyncCall call, const char *statement, const char *bytes, size_t len)
{
	const char *values[2] = {sync->package_id, bytes};
	int			lengths[2] = {0, (int) len};
	int			formats[2] = {0, 1};

	/* row by row: what came before an error is not lost with it */
	if (!PQsendQueryPrepared(sync->conn, statement, call == SYNC_CLOSE ? 1 : 2, values, lengths,
							 formats, 0) ||
		!PQsetSingleRowMode(sync->conn))
	{
		sync_lost(sync);
		return;
	}
	sync->call = call;
	sync->flushed = false;
	sync->got_states = false;
}

/* Is there something to call the server for? */
static void
sync_next_call(Sync *sync, int64_t now)
{
	if (sync->call != SYNC_IDLE || ldr_out_pending() >= OUT_MAX)
		return;
	if (sync->ended && sync->len == 0)
		sync_call(sync, SYNC_CLOSE, "close", NULL, 0);
	else if (sync->len > 0 && (sync->ended || sync->len >= PIECE_ENOUGH ||
							   now >= sync->first_at + PIECE_DELAY))
	{
		sync_call(sync, SYNC_WRITE, "write", sync->piece, sync->len);
		sync->len = 0;
		sync->look_delay = LOOK_FIRST;
	}
	else if (sync->len == 0 && now >= sync->look_at)
	{
		sync_call(sync, SYNC_WRITE, "write", "", 0);
		sync->look_delay = sync->look_delay * 2 < LOOK_MAX ? sync->look_delay * 2 : LOOK_MAX;
	}
}

/* The last of a call's results has come. */
static void
sync_call_ended(Sync *sync)
{
	if (sync->got_states)
		sync->look_delay = LOOK_FIRST;
	sync->look_at = now_ms() + sync->look_delay;
	sync->call = sync->call == SYNC_CLOSE ? SYNC_CLOSED : SYNC_IDLE;
}

/* --- results ---------------------------------------------------------------------------------- */

static void
sync_row(Sync *sync, const PGresult *row)
{
	const char *text = PQgetvalue(row, 0, 0);

	if (sync->call == SYNC_CLOSE && strcmp(PQgetvalue(row, 0, 1), "t") == 0)
		ldr_report(text, sync->package_id, sync->failure);
	else
	{
		ldr_out_payload("STATE", "state", text, PQgetlength(row, 0, 0));
		sync->got_states = true;
	}
}

static void
sync_result(Sync *sync, const PGresult *result)
{
	switch (PQresultStatus(result))
	{
		case PGRES_SINGLE_TUPLE:
			sync_row(sync, result);
			break;
		case PGRES_TUPLES_OK:
			break;				/* the end of the rows */
		default:
			/* what a signal has made us cancel is no failure of the sync */
			if (sync->cancel_at == 0)
				ldr_failure_result(sync->failure, result);
			sync->ended = true;
			sync->len = 0;
			break;
	}
}

/* Take in what the server has sent. */
static void
sync_read_server(Sync *sync)
{
	PGresult   *result;

	if (!PQconsumeInput(sync->conn))
	{
		sync_lost(sync);
		return;
	}
	while (!PQisBusy(sync->conn) && (sync->call == SYNC_WRITE || sync->call == SYNC_CLOSE))
	{
		result = PQgetResult(sync->conn);
		if (result == NULL)
			sync_call_ended(sync);
		else
			sync_result(sync, result);
		PQclear(result);
	}
	if (PQstatus(sync->conn) == CONNECTION_BAD)
		sync_lost(sync);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void
sync_read_input(Sync *sync)
{
	ssize_t		n = read(STDIN_FILENO, sync->piece + sync->len, PIECE_MAX - sync->len);

	if (n < 0 && errno != EINTR && errno != EAGAIN)
	{
		/* not its end: what would have come is missing */
		ldr_failure_set(sync->failure, LDR_SYSTEM_ERROR, "could not read standard input: %s",
						strerror(errno));
		sync->ended = true;
	}
	else if (n == 0)
		sync->ended = true;
	else if (n > 0)
	{
		if (sync->len == 0)
			sync->first_at = now_ms();
		sync->len += n;
		if (sync->look_at == INT64_MAX)
			sync->look_at = sync->first_at + LOOK_FIRST;
	}
}

/* A signal has come: no more input, and what of it was not sent stays with its source. */
static void
sync_stop(Sync *sync)
{
	char		byte;

	if (read(signal_pipe[0], &byte, 1) != 1)
		return;
	sync->ended = true;
	sync->len = 0;
	sync->cancel_at = now_ms() + CANCEL_AFTER;
}

/* The server is too far behind to end its call in time. Its answer is an error, or none. */
static void
sync_cancel(Sync *sync)
{
	PGcancel   *cancel = PQgetCancel(sync->conn);
	char		message[256];

	if (cancel != NULL)
		PQcancel(cancel, message, sizeof(message));
	PQfreeCancel(cancel);
	sync->cancel_at = INT64_MAX;
}

/* When the loop has to go on though nothing has happened: ms from now, -1 for never. */
static int
sync_timeout(const Sync *sync, int64_t now)
{
	int64_t		at = INT64_MAX;

	if (sync->call == SYNC_IDLE && ldr_out_pending() < OUT_MAX)
	{
		if (sync->ended || sync->len >= PIECE_ENOUGH)
			return 0;
		at = sync->len > 0 ? sync->first_at + PIECE_DELAY : sync->look_at;
	}
	if (sync->call == SYNC_WRITE && sync->cancel_at != 0)
		at = earlier(at, sync->cancel_at);
	if (at == INT64_MAX)
		return -1;
	return at > now ? (int) (at - now) : 0;
}

/* Wait for something to happen, and see to it. */
static void
sync_wait(Sync *sync, int64_t now)
{
	bool		reading = !sync->ended && sync->len < PIECE_MAX;
	bool		hearing = ldr_out_pending() < OUT_MAX;
	struct pollfd fds[4] = {
		{signal_pipe[0], POLLIN},
		{reading ? STDIN_FILENO : -1, POLLIN},
		{PQsocket(sync->conn), (hearing ? POLLIN : 0) | (sync->flushed ? 0 : POLLOUT)},
		{STDOUT_FILENO, ldr_out_pending() > 0 ? POLLOUT : 0}
	};

	if (poll(fds, 4, sync_timeout(sync, now)) < 0)
		return;
	if (fds[0].revents != 0)
		sync_stop(sync);
	if (fds[1].revents != 0 && !sync->ended)
		sync_read_input(sync);
	/* what a connection has to say of its end is read even if there is no room for it */
	if (fds[2].revents & ~POLLOUT)
		sync_read_server(sync);
	if (fds[3].revents & (POLLERR | POLLHUP))
		die_of_signal(SIGPIPE);
	if (fds[3].revents & POLLOUT)
		ldr_out_some();
}

static void
sync_loop(Sync *sync)
{
	while (sync->call != SYNC_CLOSED)
	{
		int64_t		now = now_ms();

		sync_next_call(sync, now);
		if (sync->call == SYNC_CLOSED)
			break;
		if (!sync->flushed)
		{
			int			rc = PQflush(sync->conn);

			if (rc < 0)
			{
				sync_lost(sync);
				break;
			}
			sync->flushed = rc == 0;
		}
		if (sync->call == SYNC_WRITE && sync->cancel_at != 0 && now >= sync->cancel_at)
			sync_cancel(sync);
		sync_wait(sync, now);
	}
}

/* --- the two statements ----------------------------------------------------------------------- */

static bool
sync_prepare(const LdrSession *session, const char *name, char *sql, LdrFailure *failure)
{
	PGresult   *result = PQprepare(session->conn, name, sql, 0, NULL);
	bool		ok = PQresultStatus(result) == PGRES_COMMAND_OK;

	if (!ok)
		ldr_failure_result(failure, result);
	PQclear(result);
	free(sql);
	return ok;
}

#define OP " OPERATOR(pg_catalog.->) "

/*
 * Its rows: each state, which the server takes out of the report since that keeps it as it is to
 * the letter, and last the rest of the report. %s is the extension's schema.
 */
static const char close_sql[] =
"WITH c AS MATERIALIZED (SELECT %s.loader_airbyte_close($1::pg_catalog.int8) AS r)"
" SELECT x.value::pg_catalog.text, false"
"  FROM c, pg_catalog.json_array_elements(c.r" OP "'states') x"
" UNION ALL SELECT pg_catalog.json_build_object('state', c.r" OP "'state',"
"   'records', c.r" OP "'records', 'bytes', c.r" OP "'bytes', 'streams', c.r" OP "'streams',"
"   'warnings', c.r" OP "'warnings', 'error', c.r" OP "'error')::pg_catalog.text, true"
"  FROM c";

static bool
sync_prepare_all(const LdrSession *session, LdrFailure *failure)
{
	return sync_prepare(session, "write",
						ldr_text("SELECT %s.loader_airbyte_write($1::pg_catalog.int8,"
								 " $2::pg_catalog.bytea)", session->schema), failure) &&
		sync_prepare(session, "close", ldr_text(close_sql, session->schema), failure);
}

bool
ldr_sync_run(LdrSession *session, const char *package_id, LdrFailure *failure)
{
	Sync		sync = {
		.conn = session->conn,
		.package_id = package_id,
		.failure = failure,
		.flushed = true,
		.look_at = INT64_MAX,
		.look_delay = LOOK_FIRST
	};

	if (!sync_catch_signals(failure) || !sync_prepare_all(session, failure))
		return false;
	PQsetnonblocking(session->conn, 1);
	sync.piece = ldr_alloc(PIECE_MAX);
	sync_loop(&sync);
	free(sync.piece);
	if (signal_taken)
	{
		if (failure->message != NULL)
			ldr_out_error(failure);
		ldr_out_log("INFO", "sync %s: ended by signal %d", package_id, (int) signal_taken);
		ldr_out_flush();
		die_of_signal(signal_taken);
	}
	return failure->message == NULL;
}
