/*
 * sink/sink.h: rows -> one table.
 *
 * The caller opens a sink inside a transaction, as the role that loads, fills one slot per row
 * and puts it. Rows are written in batches; a batch is bounded by rows and by bytes.
 */
#ifndef LDR_SINK_H
#define LDR_SINK_H

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "sink/guard.h"
#include "utils/rel.h"

typedef enum LdrSinkKind
{
	LDR_SINK_HEAP,				/* table_multi_insert, with indexes and constraints */
	/* the same checks and defaults, but frozen rows in a new table of the same columns */
	LDR_SINK_SWAP,
	/* the same, not frozen, and with the indexes of that table, which each row has to pass */
	LDR_SINK_TRIAL,
	/* each row as the table would have it is shown to the caller, and goes nowhere */
	LDR_SINK_LOOK,
	/*
	 * pages of a heap that this transaction made, frozen if there is into; an index of rel gets no
	 * entries: see sink/storage.h
	 */
	LDR_SINK_STORAGE,
	/* in a parallel worker: pages of a heap that its leader and others fill, too: see sink/shared.h */
	LDR_SINK_SHARED,
	/* INSERT through the executor: anything PostgreSQL can insert into */
	LDR_SINK_EXECUTOR
} LdrSinkKind;

typedef struct LdrSink LdrSink;

/* A row that was put, or is being put, is refused: its number, and why. */
typedef void (*LdrRefuseFn) (void *arg, int64 row, ErrorData *edata);

/* All rows before that number are written, or refused. */
typedef void (*LdrWrittenFn) (void *arg, int64 row);

/* A row of a LDR_SINK_LOOK, by its number. */
typedef void (*LdrLookFn) (void *arg, int64 row, TupleTableSlot *slot);

typedef struct LdrSinkOps
{
	const char *name;			/* as loader.tables shows it */
	bool		copies;			/* has no need of a row once it was put */
	void		(*open) (LdrSink *sink);
	void		(*put) (LdrSink *sink); /* the row in sink->slot, of line sink->line */
	/* a row as it will lie in the table; NULL: this kind takes none */
	void		(*put_tuple) (LdrSink *sink, HeapTuple tuple);
	void		(*flush) (LdrSink *sink);
	void		(*close) (LdrSink *sink);
} LdrSinkOps;

struct LdrSink
{
	LdrSinkKind kind;
	const LdrSinkOps *ops;
	Relation	rel;			/* open and locked by the caller; outlives the sink */
	Relation	into;			/* the new table that the rows go into, likewise; NULL: rel */
	int			nattrs;			/* columns that the file fills ... */
	AttrNumber *attnums;		/* ... and which */
	/*
	 * The row to fill: a virtual slot of the table's row type. The caller sets tts_values and
	 * tts_isnull of the columns in attnums, in batch_cxt. All others (and columns that the caller
	 * marks in absent) get their defaults from the sink.
	 */
	TupleTableSlot *slot;
	bool	   *absent;			/* by attnum - 1; the caller sets, the sink reads: default it */
	MemoryContext batch_cxt;	/* Datums of the batch; reset by the sink after each flush */
	size_t		batch_bytes;	/* the caller adds the bytes of each row, roughly */
	int64		line;			/* of the row being put */
	/*
	 * The line to blame for an error that was just raised: of the row that failed, also if it was
	 * put some rows ago. 0 if it is not known; then first_line .. line is the range of the batch.
	 */
	int64		error_line;
	int64		first_line;
	uint64		inserted;		/* rows written, flushed ones only */
	/*
	 * To go on after a bad row; NULL: its error is raised. The caller opens the guard before it
	 * converts a row, and undoes with it one whose error comes out of that or of ldr_sink_put (see
	 * ldr_sink_withdraw); a row that has joined its batch is refused by the sink.
	 */
	LdrRefuseFn refuse;
	LdrWrittenFn written;
	LdrLookFn	look;			/* of a LDR_SINK_LOOK */
	void	   *refuse_arg;
	LdrGuard	guard;
	int64		row;			/* number of the row being put; the caller counts */
	int			pending;		/* rows in the batch */
	bool		writing;		/* an error that comes out now is not of the row being put */
	ResultRelInfo *indexes;	/* whose indexes the rows go into; NULL: none */
	void	   *state;			/* of the kind */
};

#define LDR_BATCH_ROWS	1000
#define LDR_BATCH_BYTES (1024 * 1024)

/*
 * Which sink fits the table, and why if it is not the heap sink (*reason, a phrase for
 * loader_plan and events; NULL for the heap sink). Looks at the open relation and at the current
 * user (row security). Raises an error for what nothing can be inserted into.
 */
extern LdrSinkKind ldr_sink_choose(Relation rel, const char **reason);

/*
 * Open a sink on rel for the columns attnums, allocated in the current context. Checks that the
 * current user may INSERT; into which columns, is checked when a row brings them. Caller has a
 * snapshot and holds RowExclusiveLock.
 *
 * LDR_SINK_SWAP: rel says what a row must be, into (else NULL) takes it. into was made by this
 * very (sub)transaction and has no indexes; several sinks may fill it, one after the other. It
 * takes no more than AccessShareLock on rel, and ldr_swap_choose instead of privileges.
 *
 * LDR_SINK_TRIAL: likewise, but into has its indexes already.
 *
 * LDR_SINK_LOOK: rel says what a row must be, and nothing is written. Indexes are not asked, nor
 * triggers.
 *
 * LDR_SINK_STORAGE: only if ldr_storage_choose says so; with or without into. Takes no refuse.
 */
extern LdrSink *ldr_sink_open(Relation rel, Relation into, LdrSinkKind kind,
							  const AttrNumber *attnums, int nattrs);

/*
 * Can the expressions that a row of the table has to pass be prepared? Raises what is wrong with
 * them: it would be no row's fault, and the server keeps what it has prepared by half.
 */
extern void ldr_sink_check_expressions(Relation rel);

/* Put the row in sink->slot; writes a batch when one is full. Raises constraint errors etc. */
extern void ldr_sink_put(LdrSink *sink);

/*
 * Does the sink take tuples? Then the table asks for nothing but conversion, NOT NULL and defaults,
 * which are the caller's business (convert/form.h).
 */
extern bool ldr_sink_takes_tuples(LdrSink *sink);

/* Put a tuple, which lives as long as what is in batch_cxt; the sink fills its header. */
extern void ldr_sink_put_tuple(LdrSink *sink, HeapTuple tuple);

/* Put a row of another table: column from[i] of that goes into attnums[i]. */
extern void ldr_sink_put_row(LdrSink *sink, TupleTableSlot *row, const AttrNumber *from);

/*
 * The row being put is none: its error was undone with the guard. It has left nothing in the batch.
 */
extern void ldr_sink_withdraw(LdrSink *sink);

/* Write what is left, fire what must fire at the end, free the sink. Not called after an error. */
extern void ldr_sink_close(LdrSink *sink);

/*
 * For the sinks themselves. Make the slot ready for the next row: every column NULL.
 */
extern void ldr_sink_clear_slot(TupleTableSlot *slot);

/*
 * Defaults of the columns that a row does not bring, evaluated here (the executor sink leaves
 * that to the statement). One column at a time, prepared when it is first needed.
 */
typedef struct LdrDefaults LdrDefaults;

/* Prepare for rel, in the current context; estate must live as long. */
extern LdrDefaults *ldr_defaults_create(Relation rel, EState *estate);

/*
 * The default of a column, NULL where it has none, allocated in cxt; checked against the
 * constraints of a domain. Sets *is_volatile if the expression may look at the table itself, so
 * that rows before this one should have been written.
 */
extern Datum ldr_default_value(LdrDefaults *defaults, AttrNumber attnum, MemoryContext cxt,
							   bool *isnull, bool *is_volatile);

/* Does a trigger or rule of this enable state fire in this session? Both use the same letters. */
extern bool ldr_fires(char enabled);

extern const LdrSinkOps ldr_heap_sink;
extern const LdrSinkOps ldr_swap_sink;
extern const LdrSinkOps ldr_look_sink;
extern const LdrSinkOps ldr_storage_sink;
extern const LdrSinkOps ldr_shared_sink;
extern const LdrSinkOps ldr_executor_sink;

#endif							/* LDR_SINK_H */
