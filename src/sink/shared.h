/*
 * sink/shared.h: rows -> pages -> the end of a heap that other processes fill, too.
 *
 * A sink of kind LDR_SINK_SHARED is for a parallel worker, whose leader has a LDR_SINK_STORAGE of
 * the same tables. Rows of a worker are in the order in which they were put, with those of others
 * in between.
 */
#ifndef LDR_SINK_SHARED_H
#define LDR_SINK_SHARED_H

#include "sink/page.h"
#include "sink/sink.h"

/* The row in hand needs the TOAST table, which is the leader's: it is not in the pages. */
typedef void (*LdrLargeFn) (void *arg);

/* Set up a sink that was opened, before the first row. */
extern void ldr_shared_sink_begin(LdrSink *sink, const LdrPageKind *kind, LdrLargeFn large,
								  void *arg);

/* After the last row: write full pages; rows of the last one are left to the leader, in *rest. */
extern void ldr_shared_sink_end(LdrSink *sink, Page rest);

#endif							/* LDR_SINK_SHARED_H */
