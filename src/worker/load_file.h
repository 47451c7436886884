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
} LdrLoad;

/* A load in a context of its own, into the table, or into the new one that stands for it. */
extern LdrLoad *ldr_load_make(const char *path, Relation rel, Relation into, LdrRejects *rejects);

/* Have a reader closed when the current memory context goes. */
extern void ldr_load_keep_reader(LdrReader *reader);

/* Converters for the columns of the load's reader, which go into its attnums. */
extern void ldr_load_converters(LdrLoad *load, LdrFormat format, int encoding);

/* When the sink is open: have rows made into tuples, if it takes them. */
extern void ldr_load_form(LdrLoad *load);

/* Convert and put the row in hand; and all rows of the reader, raising what is wrong with it. */
extern void ldr_load_row(LdrLoad *load);
extern void ldr_load_rows(LdrLoad *load);
extern void ldr_load_raise(LdrLoad *load, const LdrError *err) __attribute__((noreturn));

/* Show how far the load has come, and stop if somebody wants that. */
extern void ldr_load_look_up(LdrLoad *load);

/*
 * Say in the detail of an error where in the file it came from, before what it said itself. The
 * reader's own errors have said so already.
 */
extern void ldr_load_locate_error(LdrLoad *load, ErrorData *edata);

#endif							/* LDR_LOAD_FILE_H */
