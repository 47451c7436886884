/*
 * sink/fill.h: rows -> a run of pages in memory: what the sinks have in common that do not put rows
 * into buffers. See page.h for how a row gets into a page.
 */
#ifndef LDR_FILL_H
#define LDR_FILL_H

#include "sink/page.h"
#include "sink/row.h"

/* The state of such a sink begins with this. What there is to be done, its kind knows. */
typedef struct LdrFill
{
	LdrRowCheck *check;
	LdrPageRun	run;
	/* there is no room for another row: afterwards there is */
	void		(*full) (LdrSink *sink);
	/* a row that has to go through the toaster first: this tuple, or (NULL) what is in the slot */
	void		(*large) (LdrSink *sink, HeapTuple tuple);
} LdrFill;

/* Set up the sink's state and its slot. Before rows are put, ldr_page_start has to be called. */
extern void ldr_fill_open(LdrSink *sink, LdrFill *fill);
extern void ldr_fill_close(LdrSink *sink);

/* Put the row in the slot; it is complete and checked then. Put a row that is a tuple. */
extern void ldr_fill_put(LdrSink *sink);
extern void ldr_fill_put_tuple(LdrSink *sink, HeapTuple tuple);

/* The same for one that the toaster has seen, so that it fits into a page. */
extern void ldr_fill_place(LdrSink *sink, HeapTuple tuple);

/* Pages are being written, and have been. An error in between is of no row. */
extern void ldr_fill_writing(LdrSink *sink);
extern void ldr_fill_written(LdrSink *sink);

#endif							/* LDR_FILL_H */
