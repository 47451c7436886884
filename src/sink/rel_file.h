/*
 * sink/rel_file.h: pages -> the file of a relation, many with one call.
 *
 * The server's storage manager takes one page at a time (before 17), and asks the kernel for each.
 * A run of pages costs the kernel less than half as much where it is one write.
 */
#ifndef LDR_REL_FILE_H
#define LDR_REL_FILE_H

#include "storage/block.h"
#include "utils/rel.h"

typedef struct LdrRelFile LdrRelFile;

/* The main fork of a relation, which outlives it; closed when the current memory context goes. */
extern LdrRelFile *ldr_rel_file_open(Relation rel);

/*
 * Write n pages that stand one after the other, from block on, and ask for their file to be synced.
 * All are of one segment (RELSEG_SIZE), and the pages of those before it are written; its first
 * page comes before others of it. Sets checksums. Raises what the server says of a full disk.
 */
extern void ldr_rel_file_write(LdrRelFile *file, BlockNumber block, char *pages, int n);

#endif							/* LDR_REL_FILE_H */
