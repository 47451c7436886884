/*
 * sink/row.h: what a row has to pass before it may be written: defaults, generated columns,
 * NOT NULL, CHECK. For the sinks that write rows themselves.
 */
#ifndef LDR_ROW_H
#define LDR_ROW_H

#include "sink/sink.h"

typedef struct LdrRowCheck
{
	EState	   *estate;			/* its range table holds the table, with the columns to fill */
	ResultRelInfo *rri;			/* of the table that checks the rows */
	TupleDesc	desc;			/* its row type, without constraints, as slots are to see it */
	LdrDefaults *defaults;
	int			nmissing;		/* columns that no row of the file brings ... */
	AttrNumber *missing;		/* ... and which */
} LdrRowCheck;

/* For the rows of sink->rel, in the current context. Opens no indexes. */
extern LdrRowCheck *ldr_row_check_open(LdrSink *sink);

/*
 * Complete the row in sink->slot, and check it; raises what is wrong with it. Returns whether a
 * volatile default was evaluated, which may look for the rows before this one in the table.
 */
extern bool ldr_row_complete(LdrRowCheck *check, LdrSink *sink);

/* Has the column a default that may look for other rows? */
extern bool ldr_row_default_looks(Relation rel, AttrNumber attnum);

/*
 * Has a column a domain with a constraint that may look for other rows? Values are asked while they
 * are converted.
 */
extern bool ldr_row_domains_look(Relation rel);

/* Indexes that were opened through rri are closed, too. */
extern void ldr_row_check_close(LdrRowCheck *check);

#endif							/* LDR_ROW_H */
