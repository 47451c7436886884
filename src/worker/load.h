/*
 * worker/load.h: one job file into one table.
 */
#ifndef LDR_LOAD_H
#define LDR_LOAD_H

#include "executor/tuptable.h"
#include "options.h"
#include "source/package.h"
#include "utils/rel.h"
#include "worker/rejects.h"

typedef struct LdrLoadResult
{
	uint64		rows_read;
	uint64		rows_inserted;
	uint64		rows_rejected;
	List	   *columns;		/* names of the file's, if rows of it were rejected; not of jsonl */
	uint64		bytes;			/* of the file */
	const char *sink;
	int			workers;		/* parallel ones that took part */
	bool		unindexed;		/* the table's indexes have no entries of the rows */
	const char *reason;			/* why not the fastest; NULL */
} LdrLoadResult;

/*
 * Load a job's file of table (the package's) into rel (the live one), in the current transaction
 * and as the current role; or, if into is not NULL, what would be in rel into this swap heap (see
 * ldr_sink_open). Caller holds RowExclusiveLock on rel; for a swap heap, AccessShareLock will do.
 * table_bytes are those of all files of the table. builds_indexes: if result->unindexed says so, the
 * caller builds the table's indexes when the last of them is in (see sink/storage.h).
 * share is how many processes the load may take, this one not counted if they are others.
 * Raises the data's errors with file, line, column and the value's start as detail; what was put
 * into the table then has to be rolled back. With rejects (else NULL) a bad row goes there, and the
 * load goes on; the errors that are raised are those of the file or of the server.
 */
extern void ldr_load_file(LdrPackageDir *dir, const char *file_name, const LdrFileStamp *stamp,
						  LdrFormat format, const LdrSchemaTable *table, Relation rel,
						  Relation into, uint64 table_bytes, bool builds_indexes, int share,
						  const LdrOptions *options, LdrRejects *rejects,
						  LdrLoadResult *result);

/* A row as rel would have it, and where it stands; only for the call. */
typedef void (*LdrLoadLookFn) (void *arg, TupleTableSlot *slot, const LdrReject *where);

/*
 * Read a job's file once more, as it was loaded into rel with on_error => 'reject': each row that
 * was loaded then is shown to look, in order. Nothing is written. Caller holds RowExclusiveLock.
 * Returns the names of the file's columns (of char *), NIL for jsonl.
 */
extern List *ldr_load_look(LdrPackageDir *dir, const LdrJob *job, LdrFormat format,
						   const LdrSchemaTable *table, Relation rel, const LdrOptions *options,
						   LdrLoadLookFn look, void *arg);

/*
 * Load rows of a job's file that were set aside (List of LdrReject) once more, into rel, on which
 * the caller holds RowExclusiveLock. columns are those of the file (of char *), which its rows do
 * not name but in jsonl. What is refused goes to rejects, by the row's position in the list.
 */
extern void ldr_load_rejects(const LdrJob *job, LdrFormat format, const List *columns,
							 Relation rel, const LdrOptions *options, const List *rows,
							 LdrRejects *rejects, LdrLoadResult *result);

/* Say in a reject why, in words of the error, whose strings it may keep. */
extern void ldr_load_explain(LdrReject *reject, ErrorData *edata);

/* Open a reader of a job file that may have these columns; released with the current context. */
extern LdrReader *ldr_load_reader(LdrPackageDir *dir, const char *file_name,
								  const LdrFileStamp *stamp, LdrFormat format,
								  const LdrColumnName *names, int n, const LdrOptions *options);

#endif							/* LDR_LOAD_H */
