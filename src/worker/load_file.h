/*
 * worker/load_file.h: a load of one file into one table, while it goes on. For src/worker only: what
 * others need is in worker/load.h.
 */
#ifndef LDR_LOAD_FILE_H
#define LDR_LOAD_FILE_H

#include "convert/form.h"
#include "reader/reader.h"
#include "sink/sink.h"
#include "worker/load.h"
#include "worker/rejects.h"

/* Where we are, for the detail of an error. */
typedef struct LdrLoad
{
	MemoryContext cxt;
	MemoryContext row_cxt;		/* what handling a row's error leaves */
	const char *path;
	LdrPackageDir *dir;			/* NULL: what is loaded are no whole files */
	const LdrFileStamp *stamp;	/* of the file, where dir is set */
	LdrReader  *reader;
	LdrSink    *sink;
	LdrConverter *converters;	/* one per column of the file */
	LdrForm    *form;			/* NULL: rows go into the sink's slot */
	AttrNumber *attnums;
	Relation	rel;
	Relation	into;			/* NULL: rel */
	LdrLoadLookFn look;			/* not NULL: rows are not loaded, but shown to it */
	void	   *look_arg;
	uint64		table_bytes;	/* of all files of the table */
	bool		builds_indexes; /* somebody does, at the end */
	LdrFormat	format;
	int			encoding;
	char		delimiter;		/* of csv */
	const LdrColumnName *names;	/* that the file may have columns of */
	int			nnames;
	int			share;			/* processes that it may take */
	int			workers;		/* parallel ones that it takes; 0: this process alone */
	LdrRow		row;
	int			field;			/* being converted, -1: none */
	bool		in_row;			/* where rejects are: an error now may be of the row */
	LdrRejects *rejects;		/* NULL: a bad row ends the load */
	LdrPending *pending;
	uint64		rows;
	uint64		rows_seen;		/* at the last look */
	uint64		bytes_unseen;	/* converted since the last look */
	uint64		bytes_paced;	/* of the file: see loader.max_rate */
} LdrLoad;

/* A load in a context of its own, into the table, or into the new one that stands for it. */
extern LdrLoad *ldr_load_make(const char *path, Relation rel, Relation into, LdrRejects *rejects);

/* An error was raised, and ends the load: raise it again, with where in the file it was. */
extern void ldr_load_fail(LdrLoad *load) __attribute__((noreturn));

/* The names that a file may have columns of: those of the live table, by attribute number. */
extern LdrColumnName *ldr_load_column_names(TupleDesc desc, AttrNumber *attnums, int *n);

/* Which attribute each field of a row is for; all: of the columns that the reader was given. */
extern void ldr_load_attnums(LdrLoad *load, const AttrNumber *all);

/* Have a reader closed when the current memory context goes. */
extern void ldr_load_keep_reader(LdrReader *reader);

/* Converters for the columns of the load's reader, which go into its attnums. */
extern void ldr_load_converters(LdrLoad *load, LdrFormat format, int encoding);
extern void ldr_load_file_converters(LdrLoad *load, LdrFormat format, const LdrOptions *options);

/* A sink for the columns of the file, into the table or into the new one that stands for it. */
extern void ldr_load_open_sink(LdrLoad *load, LdrLoadResult *result);

/* When the sink is open: have rows made into tuples, if it takes them. */
extern void ldr_load_form(LdrLoad *load);

/*
 * Convert and put the row in hand; and count it; and all rows of the reader, raising what is wrong
 * with it.
 */
extern void ldr_load_put_row(LdrLoad *load);
extern void ldr_load_row(LdrLoad *load);
extern void ldr_load_rows(LdrLoad *load);
extern void ldr_load_raise(LdrLoad *load, const LdrError *err) __attribute__((noreturn));

/* Show how far the load has come, and stop if somebody wants that. */
extern void ldr_load_look_up(LdrLoad *load);

/* Is it time to? */
static inline bool
ldr_load_is_to_look(const LdrLoad *load)
{
	return load->rows - load->rows_seen >= 128 || load->bytes_unseen > 1024 * 1024;
}

/*
 * Say in the detail of an error where in the file it came from, before what it said itself. The
 * reader's own errors have said so already.
 */
extern void ldr_load_locate_error(LdrLoad *load, ErrorData *edata);

/* --- load_guarded.c: where bad rows are set aside ------------------------------------------------ */

/* Have the sink tell of rows that it refuses. */
extern void ldr_load_guard_sink(LdrLoad *load);

/* As ldr_load_rows. */
extern void ldr_load_rows_guarded(LdrLoad *load);

/* Convert and put a row under the guard, which stays open until its batch is written. */
extern void ldr_load_put_guarded(LdrLoad *load);

/*
 * An error was raised. Undo what the row in hand began, and set it aside, if that was of the row;
 * else raise it.
 */
extern void ldr_load_catch_row(LdrLoad *load);

/* Set a row aside; and one that the reader has failed on. What is raised here is not about the row. */
extern void ldr_load_reject(LdrLoad *load, LdrReject *reject);
extern void ldr_load_reject_unread(LdrLoad *load, LdrReject *reject, const LdrError *err);

/* Between two rows, outside the guard: what is done inside is undone with the next bad row. */
extern void ldr_load_settle(LdrLoad *load);

#endif							/* LDR_LOAD_FILE_H */
