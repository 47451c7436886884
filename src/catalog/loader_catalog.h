/*
 * catalog/loader_catalog.h: the extension's own tables. Nobody else queries them.
 *
 * Every function here is one statement, run under the identity of the extension's owner and with
 * search_path pg_catalog; before and after it the caller's identity holds. Callers are in a
 * transaction. Strings that come back live in the caller's memory context.
 */
#ifndef LDR_LOADER_CATALOG_H
#define LDR_LOADER_CATALOG_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "source/source.h"

#define LDR_MODE_PACKAGE	"package"	/* workers load what is at source */
#define LDR_MODE_JOB		"job"	/* its client's sessions load one job after the other */
#define LDR_MODE_STREAM		"stream"	/* a worker loads what a client's session hands it */

typedef struct LdrPackage
{
	int64		package_id;
	char	   *load_id;
	char	   *schema_name;
	char	   *schema_hash;
	char	   *dataset;
	char	   *pipeline_name;	/* NULL: not known */
	char	   *destination_name;	/* the client's name for this destination; NULL: not said */
	char	   *mode;			/* LDR_MODE_* */
	char	   *catalog;		/* of a sync: the configured catalog, JSON; NULL: a package of dlt */
	char	   *source;			/* a real path, or upload:<upload_id>; NULL unless mode is package */
	char	   *state;
	bool		wanted;
	bool		cancel_requested;
	bool		dropped;		/* what its refresh drops is gone, and committed */
	int			attempts;
	int64		begun_ms;		/* since the last beginning */
	char	   *options;		/* JSON */
	char	   *settings;		/* JSON */
	LdrPackageStamps stamps;
	Oid			role;
	char	   *role_name;
	int64		system_identifier;
	Oid			database;
	TransactionId xmin;
	char	   *sqlstate;		/* of the failure, all NULL if there is none */
	char	   *message;
	char	   *detail;
	char	   *hint;
} LdrPackage;

typedef struct LdrJob
{
	int			ordinal;
	char	   *job_id;
	char	   *file_name;
	char	   *table_name;
	char	   *format;
	char	   *state;
	char	   *kind;			/* load, or what follows a chain: merge, replace */
	int			retry_count;
	LdrFileStamp stamp;
	char	   *source;			/* in job mode, of one that is staged: its file's address; else NULL */
	char	   *definition;		/* JSON, in job mode, of what follows or of a statement; else NULL */
} LdrJob;

typedef struct LdrTableStats
{
	char	   *table_name;
	char	   *chain;
	const char *disposition;
	const char *strategy;
	const char *stage;			/* LDR_STAGE_*, NULL: none */
	const char *sink;
	const char *reason;
	int64		rows_read;
	int64		rows_inserted;
	int64		rows_updated;
	int64		rows_deleted;
	int64		rows_rejected;
	int64		bytes;
	int64		lock_wait_us;	/* -1: no strong lock was taken */
	int64		lock_hold_us;
	Oid			swapped;		/* the table, if it was swapped; not stored */
	uint64		files;			/* bytes of all files of the table; not stored */
} LdrTableStats;

/* Where a job's rows wait for publish. */
#define LDR_STAGE_STAGING	"staging"
#define LDR_STAGE_SWAP		"swap heap"

/* A relation that belongs to a package until that ends. */
typedef struct LdrStage
{
	Oid			relation;
	int64		package_id;
	char	   *table_name;
	char	   *kind;			/* LDR_STAGE_* */
	Oid			target;			/* of a swap heap */
	int64		fingerprint;
} LdrStage;

/* catalog.c */

/* False if the extension is not in this database (any more). */
extern bool ldr_catalog_exists(void);

/* Raises 55000 if the SQL script has left another version than the library's. */
extern void ldr_catalog_check(void);

extern const char *const ldr_library_version;

/*
 * Run one statement on the catalog as the extension's owner; parameters as for
 * SPI_execute_with_args. With a tuple callback, each row of the result is handed to it, in the
 * caller's memory context. fresh looks with a new snapshot whatever the isolation level; only for
 * SELECT. Returns the number of rows.
 */
typedef void (*LdrRowFn) (HeapTuple tuple, TupleDesc desc, void *arg);
extern uint64 ldr_catalog_execute(const char *sql, int nargs, Oid *types, Datum *values,
								  const char *nulls,
								  int expect, bool fresh, LdrRowFn fn, void *arg);

/* A column of the row in hand: text copy or NULL, integer or 0. */
extern char *ldr_catalog_text(HeapTuple tuple, TupleDesc desc, int column);
extern int64 ldr_catalog_int(HeapTuple tuple, TupleDesc desc, int column);

/* LdrRowFn of one column: into a char *, an int64, or an int64 * appended to a List *. */
extern void ldr_catalog_read_text(HeapTuple tuple, TupleDesc desc, void *arg);
extern void ldr_catalog_read_int(HeapTuple tuple, TupleDesc desc, void *arg);
extern void ldr_catalog_append_id(HeapTuple tuple, TupleDesc desc, void *arg);
#define LDR_TEXT_ARG(s) ((s) ? CStringGetTextDatum(s) : (Datum) 0)
#define LDR_TEXT_NULL(s) ((s) ? ' ' : 'n')

/* owner.c */
extern Oid	ldr_owner(Oid role, const char *role_name, int64 system_identifier);
extern Oid	ldr_package_owner(const LdrPackage *package);
extern bool ldr_package_may_act(const LdrPackage *package);
extern bool ldr_owner_may_see(Oid owner);

/* package.c */
extern LdrPackage *ldr_package_make(const char *mode);
extern bool ldr_package_has_ended(const LdrPackage *package);
extern int64 ldr_package_insert(const LdrPackage *package);
extern LdrPackage *ldr_package_get(int64 package_id, bool fresh);	/* NULL if there is none */
extern LdrPackage *ldr_package_find(const char *dataset, const char *schema_name,
									const char *load_id);
extern void ldr_package_reregister(const LdrPackage *package);
extern void ldr_package_supersede(int64 package_id);
typedef enum LdrTake
{
	LDR_TAKE_TO_ENTER,			/* it must not end; its jobs may, by ldr_package_hold() */
	LDR_TAKE_TO_END				/* none of its jobs is about to commit either */
} LdrTake;

extern bool ldr_package_take(int64 package_id, LdrTake how);
extern bool ldr_package_reopen(int64 package_id);
extern bool ldr_package_want(int64 package_id, int64 system_identifier, Oid database);
extern void ldr_package_count_attempt(int64 package_id);
extern bool ldr_package_resume(int64 package_id, const char *role_name, int64 system_identifier,
							   Oid database);
extern bool ldr_package_request_cancel(int64 package_id, bool running);
extern bool ldr_package_give_up(int64 package_id);
extern bool ldr_package_source_is_known(const char *source, Oid role, const char *dataset);
extern bool ldr_package_source_is_live(const char *source, Oid role);
extern bool ldr_package_source_is_loaded(const char *source, Oid role, TimestampTz since);
extern bool ldr_package_forget(int64 package_id);
extern void ldr_package_loading(int64 package_id);
extern void ldr_package_dropped(int64 package_id);
extern void ldr_package_loaded(int64 package_id, TimestampTz started_at);
extern void ldr_package_failed(int64 package_id, const char *state, TimestampTz started_at,
							   ErrorData *edata);
extern void ldr_package_hold(int64 package_id);
extern bool ldr_package_cancel_requested(int64 package_id);

/*
 * The first packages that were started, have not ended, belong to this server and are not held back
 * by another: ids in order, also of those that run.
 */
extern List *ldr_package_startable(int64 system_identifier, Oid database, int limit);

/* An unfinished earlier package that this one has to wait for, 0 if none; *failed if it failed. */
extern int64 ldr_package_blocker(int64 package_id, bool *failed);

/* A package that was started into the dataset, here, and has not ended; 0: none. */
extern int64 ldr_package_running(const char *dataset);

/* Datasets of packages that the current role may see. */
extern List *ldr_package_datasets(void);

/* The one dataset into which this role last loaded this schema; NULL and *n if not exactly one. */
extern char *ldr_package_last_dataset(Oid role, const char *schema_name, int *n);
extern int64 ldr_package_sweep(int minutes, int reject_minutes);

/* job.c */
extern void ldr_job_insert(int64 package_id, const LdrJob *job);
extern LdrJob *ldr_job_find(int64 package_id, const char *job_id);
extern void ldr_job_renew(int64 package_id, const LdrJob *job);
extern bool ldr_job_hold(int64 package_id, int ordinal);
extern List *ldr_job_list_chain(int64 package_id, const char *chain);
extern List *ldr_job_sources(int64 package_id); /* of char *: of those that are staged */
extern LdrJob *ldr_job_copy(const LdrJob *job);
extern List *ldr_job_list(int64 package_id, bool followup);
extern int	ldr_job_last(int64 package_id);
extern void ldr_job_delete(int64 package_id, const char *dataset);
extern LdrJob *ldr_job_claim(int64 package_id, bool staged_only);
extern void ldr_job_restage(int64 package_id, const char *table_name, Oid relation);
extern void ldr_job_restage_trial(int64 package_id, Oid from, Oid to);
extern void ldr_job_lost(int64 package_id, Oid relid);
extern void ldr_job_raise_first(int64 package_id);
extern void ldr_job_recheck(int64 package_id, const char *dataset);
extern bool ldr_job_has_rows(int64 package_id, const char *dataset);
extern void ldr_job_completed(int64 package_id, int ordinal, Oid relid, int64 rows_read,
							  int64 rows_inserted, int64 rows_rejected, TimestampTz started_at);
extern List *ldr_job_columns(int64 package_id, int ordinal);	/* of char * */
extern void ldr_job_set_columns(int64 package_id, int ordinal, const List *columns);
extern void ldr_job_failed(int64 package_id, int ordinal, const char *state,
						   TimestampTz started_at, ErrorData *edata);
extern void ldr_job_reset(int64 package_id);
extern void ldr_job_raise(int64 package_id, const char *job_id);

/* Does this session hold a lock on a table of the package, or on one of dlt's own there? */
extern bool ldr_package_tables_locked_by_me(int64 package_id, const char *dataset);
extern bool ldr_job_has_table(int64 package_id, const char *table_name);
extern void ldr_job_counts(int64 package_id, bool staged_only, int *unfinished, int *failed);

/*
 * Of a row of loader.job called j: has what follows for its chain been done? Then its rows are in
 * the tables, and need not be in the staging dataset any more.
 */
#define LDR_JOB_IS_FOLLOWED \
	"EXISTS (SELECT FROM loader.package_table t JOIN loader.job f " \
	"ON f.package_id = t.package_id AND f.table_name = t.chain AND f.kind <> 'load' " \
	"WHERE t.package_id = j.package_id AND t.table_name = j.table_name " \
	"AND f.state = 'completed')"

/* reject.c */
typedef struct LdrReject
{
	int64		id;				/* of one that is stored */
	int64		row;			/* its number among those that are loaded; not stored */
	int64		line;			/* where the row begins */
	const char *column;			/* NULL: it is not about one */
	const char *sqlstate;
	const char *message;
	const char *detail;			/* NULL: none */
	const char *raw;			/* bytes of the file */
	size_t		raw_len;		/* as many as are kept ... */
	size_t		raw_size;		/* ... of so many */
} LdrReject;

extern LdrReject *ldr_reject_copy(const LdrReject *reject);
extern void ldr_reject_insert(int64 package_id, const char *job_id, List *rejects);
extern void ldr_reject_delete_job(int64 package_id, const char *job_id);
extern void ldr_reject_delete_unfinished(int64 package_id);
extern int64 ldr_reject_total(int64 package_id, int but, int64 *read);
extern char *ldr_reject_first(int64 package_id);
/* A job that has rejects, for who loads them again. */
typedef struct LdrRejectJob
{
	LdrJob	   *job;
	List	   *columns;		/* of char *; NIL: the rows name them */
	char	   *disposition;	/* of the table */
	char	   *chain;			/* its root table */
	int64		replaced_by;	/* a later package that has replaced or removed the table's rows; 0: none */
	bool		superseded;		/* the dataset was dropped, and the package loaded anew as another one */
} LdrRejectJob;

extern List *ldr_reject_jobs(int64 package_id, const char *table_name); /* of LdrRejectJob */
extern List *ldr_reject_list(int64 package_id, const char *job_id, int64 after, int limit,
							 int bytes);
extern uint64 ldr_reject_delete(const List *rejects);
extern void ldr_reject_renew(const List *rejects);	/* of LdrReject */
extern void ldr_reject_settled(int64 package_id, const LdrJob *job, int64 settled, int64 inserted);
extern void ldr_reject_settled_job(int64 package_id, const LdrJob *job, int64 settled,
								   int64 inserted);
extern int64 ldr_reject_count(int64 package_id, const char *table_name);
extern int64 ldr_reject_discard(int64 package_id, const char *table_name);

/* package_table.c */
extern void ldr_package_table_insert(int64 package_id, const LdrTableStats *stats);
extern void ldr_package_table_recount(int64 package_id);
extern char *ldr_package_table_stage(int64 package_id, const char *table_name);
extern bool ldr_package_table_has_rejects(const LdrPackage *package, const char *table_name);
extern void ldr_package_table_chain_rows(int64 package_id, const char *chain, int64 *read,
										 int64 *inserted);

/* stage.c */
extern void ldr_stage_insert(const LdrStage *stage);
extern void ldr_stage_delete(Oid relation);
extern List *ldr_stage_list(int64 package_id);	/* of LdrStage */
extern List *ldr_stage_orphans(void);	/* of LdrStage: their packages have ended or gone */
extern bool ldr_stage_is_orphan(Oid relation);	/* the same of one, seen with a fresh snapshot */
extern bool ldr_stage_exists(Oid relation);
extern bool ldr_stage_is_of(Oid relation, int64 package_id);	/* with a fresh snapshot */
extern bool ldr_stage_is_seizable(Oid relation);	/* of a package in job mode */
extern void ldr_stage_seize(Oid relation);

/* One among the relations (List of Oid) that a package which has not ended has; NULL: none. */
extern LdrStage *ldr_stage_of_live(const List *relids);

/* stream.c: Airbyte */
typedef struct LdrPackageStream
{
	int			ordinal;		/* from 1 */
	char	   *name_space;		/* this and those before status are not filled by _list */
	char	   *name;
	char	   *dataset;
	char	   *table_name;
	const char *mode;
	const char *status;			/* new, running, complete, incomplete, empty */
	int64		records;
	int64		bytes;
	int64		states;
	int64		nulled_values;
	int64		position;		/* line up to which its messages are in what was committed */
	bool		finished;		/* it was complete once, and brought into the table */
} LdrPackageStream;

extern void ldr_package_stream_insert(int64 package_id, const LdrPackageStream *s);
extern void ldr_package_stream_update(int64 package_id, const LdrPackageStream *s);
extern List *ldr_package_stream_list(int64 package_id);
extern char *ldr_sync_report(int64 package_id);
extern List *ldr_sync_rivals(int64 package_id);

/* A table between two syncs. Ids: LDR_NO_ID is NULL. */
typedef struct LdrStreamRecord
{
	char	   *dataset;
	char	   *table_name;
	const char *mode;			/* of the sync whose rows are in the table, like the next three */
	int64		generation_id;
	int64		sync_id;
	bool		complete;
	char	   *stage_schema;	/* of rows that wait for the stream's end; NULL: none */
	char	   *stage_name;
	int64		stage_generation_id;
} LdrStreamRecord;

extern LdrStreamRecord *ldr_stream_get(const char *dataset, const char *table_name);
extern void ldr_stream_put(const LdrStreamRecord *s);
extern bool ldr_stream_was_cut_off(const char *dataset, const char *table_name);

/* A state as it is kept. */
typedef struct LdrSourceState
{
	const char *kind;			/* stream, global, legacy */
	char	   *name_space;		/* NULL: none */
	char	   *name;			/* NULL: of the whole source */
	char	   *state;			/* JSON */
} LdrSourceState;

extern void ldr_stream_state_put(const LdrPackage *package, const char *source_name,
								 const LdrSourceState *s);
extern char *ldr_stream_states(const char *source_name, const char *destination_name,
							   Datum streams);

/* event.c */
extern void ldr_event(int64 package_id, const char *kind, const char *object,
					  const char *detail,...)
			pg_attribute_printf(4, 5);

#endif							/* LDR_LOADER_CATALOG_H */
