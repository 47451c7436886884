/*
 * reader/split.h: cut a file into blocks of whole rows, which others read. No postgres.h.
 *
 * Cutting is far cheaper than reading. Readers of the blocks, in their order, give what the reader
 * of the file would have given: the same rows with the same lines, and the same error.
 *
 *	one process						others
 *	r = ldr_reader_open(...)
 *	                                b = ldr_block_reader_open(..., r's columns, ...)
 *	ldr_reader_split(r, ...)	->	ldr_block_reader_begin(b, ...), ldr_reader_next(b, ...)
 */
#ifndef LDR_SPLIT_H
#define LDR_SPLIT_H

#include "reader/reader.h"

/*
 * Bytes of a buffer behind those of the block, which ldr_reader_split sets to zero and which must
 * stay so: readers look further than their rows reach.
 */
#define LDR_BLOCK_SLACK 64

/* What a reader of the block has to know of it; without pointers, for memory that is shared. */
typedef struct LdrBlock
{
	size_t		len;			/* may be 0 in the last one */
	int64_t		line;			/* of its first byte */
	int			state;			/* for the reader */
	bool		last;			/* the file ends behind it */
} LdrBlock;

/*
 * Take the next rows of r away, as they stand in the file: as many whole ones as fit into size bytes
 * at buf, which has room for LDR_BLOCK_SLACK more. r stands behind them then: rows may be taken by
 * ldr_reader_next and by this in any order, but not behind an error of next, unless it was skipped,
 * nor behind the last block.
 *
 * LDR_OK; LDR_END if there are no more; LDR_TOO_LONG, without filling *err, if the next row does not
 * fit, or is not complete because the source failed in the middle of it: ldr_reader_next gives it, or its
 * error. LDR_OUT_OF_MEMORY.
 */
extern LdrStatus ldr_reader_split(LdrReader *r, char *buf, size_t size, LdrBlock *block,
								  LdrError *err);

/*
 * A reader of blocks of a file, given the options of the file's reader and what that found in its
 * header: ncolumns and columns. It has no rows before ldr_block_reader_begin.
 */
extern LdrReader *ldr_block_reader_open(LdrFormat format, const LdrReaderOptions *options,
										const int *columns, int ncolumns, LdrError *err);

/*
 * Read a block, which must stay where it is until the last row of it is done with: fields point into
 * it. What was not read of the one before is dropped, and so is an error in it.
 */
extern void ldr_block_reader_begin(LdrReader *r, char *data, const LdrBlock *block);

#endif							/* LDR_SPLIT_H */
