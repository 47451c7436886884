/*
 * worker/parallel.h: one file into one table, by several processes.
 *
 * The leader, which holds the transaction, cuts the file into blocks; its parallel workers (those of
 * the server, in the leader's lock group, with its snapshot and its identity), and the leader when
 * it has nothing else to do, read the blocks, convert and check rows, form pages and write them. See
 * worker/exchange.h.
 */
#ifndef LDR_PARALLEL_H
#define LDR_PARALLEL_H

#include "worker/load_file.h"

/*
 * Workers that the load of a file of that size should have, with the leader, if it works on blocks,
 * no more than load->share; 0: this process does it alone. Its reader and its sink are open.
 */
extern int	ldr_parallel_workers(const LdrLoad *load, uint64 size);

/*
 * Load the file by load->workers, like ldr_load_rows; sets it to those that there were. False if
 * there were none: then nothing is done. Raises the errors of workers, too.
 */
extern bool ldr_parallel_load(LdrLoad *load);

/*
 * May rows of the table be made in parallel workers, and by their leader? From a file that has the columns attnums;
 * defaults: it may leave out any of them in any row.
 */
extern bool ldr_parallel_safe(Relation rel, const AttrNumber *attnums, int n, bool defaults);

#endif							/* LDR_PARALLEL_H */
