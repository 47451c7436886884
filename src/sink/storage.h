/*
 * sink/storage.h: when rows go as pages, and the indexes of a table that was filled so.
 */
#ifndef LDR_STORAGE_H
#define LDR_STORAGE_H

#include "sink/page.h"
#include "sink/sink.h"

/* loader.storage_sink */
typedef enum LdrStorageUse
{
	LDR_STORAGE_AUTO,			/* where the table gets enough rows to pay for it */
	LDR_STORAGE_ON,				/* wherever it can be used */
	LDR_STORAGE_OFF
} LdrStorageUse;

extern int	ldr_storage_use;	/* LdrStorageUse; the setting is the module's */

/* Would it pay for a table that gets these bytes of files, and has indexes to be built? */
extern bool ldr_storage_pays(uint64 bytes, bool has_indexes);

/*
 * What takes the place of the sink of that kind: LDR_SINK_STORAGE, or it stays. rel and into as for
 * ldr_sink_open; bytes are what the table gets in all. A table with indexes is filled this way
 * only if the caller builds_indexes (ldr_storage_index) when its last row is in. Not for rows that
 * may be refused.
 */
extern LdrSinkKind ldr_storage_choose(LdrSinkKind kind, Relation rel, Relation into, uint64 bytes,
									  bool builds_indexes);

/*
 * Build all indexes of a table by sorting its rows. An error is that of the row, as if it had been
 * inserted, but nobody knows its line. The progress of building has counters of its own command.
 */
extern void ldr_storage_index(Oid relid);

/* Of an open sink of this kind: what its pages must be like. Assigns the ids that are in rows. */
extern LdrPageKind ldr_storage_sink_kind(const LdrSink *sink);

/*
 * Parallel workers begin to fill the table, too, see sink/shared.h; and they have ended: each has
 * left a page of rows in pages, or a new one. Their rows are to be counted here.
 */
extern void ldr_storage_sink_share(LdrSink *sink);
extern void ldr_storage_sink_count(LdrSink *sink, uint64 rows);
extern void ldr_storage_sink_unshare(LdrSink *sink, char *pages, int n);

#endif							/* LDR_STORAGE_H */
