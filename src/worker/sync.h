/*
 * worker/sync.h: an Airbyte sync that is being loaded. For worker/sync*.c, and for the coordinator,
 * which runs one.
 *
 * Messages come in order, and records of several streams may be mixed. A record counts when a state
 * of its stream, a state of the whole source, or the stream's end has come after it: then it is
 * covered. A commit must not hold a record that is not, since a source that goes on from the last
 * state sends it again. So at any time one stream at most, the direct one, writes records that are
 * not covered yet into the transaction, within a subtransaction, and only if nothing in it waits for
 * the commit already; all others are spooled, and written when their state comes.
 */
#ifndef LDR_SYNC_H
#define LDR_SYNC_H

#include "publish/stream.h"
#include "reader/airbyte.h"
#include "storage/buffile.h"
#include "utils/resowner.h"

struct SyncWriter;

/* A state that waits for the commit of what it covers. */
typedef struct SyncState
{
	char	   *answer;			/* with its counts, for the client */
	LdrSourceState kept;		/* for loader.stream_state; state NULL: not kept, or a later one is */
} SyncState;

/* Up to here what is spooled is covered, by this state; or by the stream's end. */
typedef struct SyncMark
{
	int64		bytes;			/* of the spool */
	SyncState  *state;			/* NULL: the end */
} SyncMark;

typedef struct SyncStream
{
	LdrSyncStream t;			/* its table */
	LdrPackageStream counts;	/* as they are, or will be when what was received is covered */
	LdrPackageStream covered;	/* as they were at the last cover */
	LdrStreamStatus status;
	int64		received;		/* records, whatever has become of them */
	int64		lost;			/* ... that no state covers */
	int64		since_state;	/* ... since its last state */
	double		byte_estimate;
	TimestampTz started_at;
	int64		skip_to;		/* line up to which an attempt before has committed */
	bool		skip_all;		/* it also did what follows from the status that it saw last */
	BufFile    *spool;			/* records that are not covered, one a line; NULL: none */
	int64		spool_read;		/* bytes of it that have been written to the table */
	int64		spool_end;
	List	   *marks;			/* of SyncMark */
	SyncState  *last_state;		/* of those that wait for the next commit; NULL: none */
	bool		changed;		/* there is something to record with the next commit */
	bool		finish;			/* complete: to be brought into the table */
} SyncStream;

typedef struct Sync
{
	LdrRun	   *run;
	LdrSyncOptions *options;
	LdrAirbyteCatalog *catalog;
	bool		from_file;
	uint64		bytes_paced;	/* of the file: see loader.max_rate */
	const char *path;			/* of the file, for messages */
	SyncStream *streams;
	int			nstreams;
	LdrMessageStream *names;	/* what readers look for, one for each stream */
	LdrSource  *source;
	LdrAirbyteReader *reader;
	/* the transaction */
	bool		in_xact;
	TimestampTz began_at;
	int64		xact_bytes;		/* of records that came since */
	MemoryContext work_cxt;		/* for the length of a commit */
	SyncStream *direct;			/* has records in it that are not covered; NULL: none */
	LdrTableStats direct_stats; /* of its table, before those */
	MemoryContext xact_cxt;		/* to go back to when its subtransaction ends */
	ResourceOwner xact_owner;
	struct SyncWriter *writer;	/* of the one table that is written to; NULL: none */
	List	   *states;			/* of SyncState: covered, and answered after the commit */
	SyncState  *last_state;		/* of the whole source, as in SyncStream */
	/* totals */
	int64		messages;
	int64		records;
	int64		since_global;
	int64		lines_skipped;
	int64		first_skipped;
	int64		line;			/* of the message in hand ... */
	SyncStream *about;			/* ... and the stream it is about, or NULL */
	char	   *source_error;	/* what the source said, if it did; or NULL */
} Sync;

/* sync.c */
extern void ldr_sync_run(LdrRun *run, bool has_feed);

/* sync_rows.c: records into tables */
extern void ldr_sync_record(Sync *sync, SyncStream *s, const LdrMessage *m);
extern void ldr_sync_close_writer(Sync *sync);
extern void ldr_sync_drop_writer(Sync *sync);
extern void ldr_sync_write_spooled(Sync *sync, SyncStream *s, int64 bytes);
extern void ldr_sync_drop_spool(SyncStream *s);

/* sync_commit.c: what is covered, and commits */
extern void ldr_sync_begin(Sync *sync);
extern void ldr_sync_make_direct(Sync *sync, SyncStream *s);
extern void ldr_sync_state(Sync *sync, SyncStream *s, const LdrMessage *m);
extern void ldr_sync_complete(Sync *sync, SyncStream *s);
extern void ldr_sync_forget_uncovered(Sync *sync, SyncStream *s);
extern bool ldr_sync_is_due(const Sync *sync);
extern void ldr_sync_make_room(Sync *sync);
extern void ldr_sync_commit(Sync *sync);
extern void ldr_sync_finish_complete(Sync *sync);

#endif							/* LDR_SYNC_H */
