/*
 * worker/parallel_load.h: what the leader of a parallel load tells its workers, once; and what those
 * who work on blocks do with an error. For src/worker/parallel*.c only.
 */
#ifndef LDR_PARALLEL_LOAD_H
#define LDR_PARALLEL_LOAD_H

#include "access/attnum.h"
#include "reader/reader.h"
#include "sink/page.h"
#include "storage/dsm.h"
#include "storage/shm_toc.h"
#include "worker/exchange.h"
#include "worker/load_file.h"

#define LDR_PARALLEL_LOAD		UINT64CONST(1)

/* Without pointers, as it lies elsewhere in each process. */
typedef struct LdrParallelLoad
{
	dsm_handle	exchange;		/* the segment that has it */
	Oid			relid;			/* says what a row must be */
	Oid			into;			/* the rows go into this table; invalid: into that one */
	LdrPageKind pages;
	LdrFormat	format;
	int			encoding;
	char		delimiter;
	/* the file's columns: which names they have, and where they go */
	int			ncolumns;
	int			columns[LDR_MAX_COLUMNS];
	AttrNumber	attnums[LDR_MAX_COLUMNS];
	/* the names that there may be */
	int			nnames;
	bool		raw_json[LDR_MAX_COLUMNS];
	/* the path of the file, for errors, and then the names; each terminated */
	char		texts[FLEXIBLE_ARRAY_MEMBER];
} LdrParallelLoad;

/* Describe a load whose reader is open, at a place of that size. */
extern Size ldr_parallel_load_size(const LdrLoad *load);
extern void ldr_parallel_load_fill(LdrParallelLoad *shared, const LdrLoad *load,
								   const LdrPageKind *pages);

/* And out again; allocated in the current context, texts stay where they are. */
extern const char *ldr_parallel_path(const LdrParallelLoad *shared);
extern void ldr_parallel_options(const LdrParallelLoad *shared, LdrReaderOptions *options);

/* A reader of the blocks, given these options, which must outlive it. */
extern LdrReader *ldr_parallel_block_reader(const LdrParallelLoad *shared,
											const LdrReaderOptions *options);

/*
 * In PG_CATCH: the error, with where in the file it was. Then whoever has it can wait: it holds
 * nothing that only the end of the transaction would let go, and others may want.
 */
extern ErrorData *ldr_parallel_catch(LdrLoad *load);

/*
 * Does the error wait for its turn, which comes when those of all blocks before could have been
 * raised? Not if it is of no row: those blocks may wait for pages that were to be written, and
 * somebody who wants us to stop does not want to wait for them.
 */
extern bool ldr_parallel_has_turn(const LdrLoad *load, const ErrorData *edata);

#endif							/* LDR_PARALLEL_LOAD_H */
