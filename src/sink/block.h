/*
 * sink/block.h: rows -> pages in memory that another process will write.
 *
 * A sink of kind LDR_SINK_BLOCK writes nothing. It is opened with into == rel if the rows go into
 * another table than the one that says what they must be.
 */
#ifndef LDR_SINK_BLOCK_H
#define LDR_SINK_BLOCK_H

#include "sink/page.h"
#include "sink/sink.h"

/* Who owns the memory, and sees to what is in it. */
typedef struct LdrBlockOwner
{
	/* there is no room for another row: afterwards the pages are free again */
	void		(*full) (void *arg);
	/* the row in hand needs the TOAST table, so it is not in the pages */
	void		(*large) (void *arg);
	void	   *arg;
} LdrBlockOwner;

/* Fill these pages from now on. The owner is told; *owner outlives the sink. */
extern void ldr_block_sink_begin(LdrSink *sink, const LdrPageKind *kind,
								 const LdrBlockOwner *owner, char *pages, int npages);

/* As if there were no more room. */
extern void ldr_block_sink_hand_over(LdrSink *sink);

/* What is in them. */
extern const LdrPageRun *ldr_block_sink_run(const LdrSink *sink);

#endif							/* LDR_SINK_BLOCK_H */
