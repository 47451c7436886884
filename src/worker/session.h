/*
 * worker/session.h: job mode: a client sends the jobs of a package one by one, and its own session
 * does the work. No worker touches such a package.
 *
 *	open (the package) -> enter (a job) -> commit -> run -> commit; at last: complete
 */
#ifndef LDR_SESSION_H
#define LDR_SESSION_H

#include "catalog/loader_catalog.h"
#include "publish/publish.h"

/* What the client sends for one file. */
typedef struct LdrSessionJob
{
	const char *file_name;
	const char *source;			/* address of the file; NULL: there is a statement instead */
	const char *statement;		/* INSERT ... SELECT; NULL */
	bool		staging;		/* rows go into the staging table */
} LdrSessionJob;

/*
 * The package of that load, entered if it is new and locked until the end of the transaction. NULL
 * if the load is recorded in the dataset. Lives in the current context. Raises 57014 if the package
 * was cancelled, 55000 if it is loaded as a package.
 */
extern LdrRun *ldr_session_open(LdrPackageDir *dir, const char *dataset, LdrOptions *options,
								LdrTake how);

/* Enter a job. NULL if it was completed before. */
extern LdrJob *ldr_session_enter(LdrRun *run, const LdrSessionJob *from);

/* Enter what follows for a chain, or find it. */
extern LdrJob *ldr_session_enter_followup(LdrRun *run, const LdrSchemaTable *root,
										  const char *definition);

/* What a follow-up job needs to know, as JSON, and the run of the job that was entered with it. */
extern char *ldr_session_define(const LdrRun *run, const char *state);
extern LdrRun *ldr_session_reopen(LdrPackage *package, const LdrJob *job);

/*
 * Run a job that was entered and commit; an error is recorded, committed and raised again. Caller
 * is a procedure that may commit, connected to SPI, at the beginning of a transaction. statement is
 * that of the job, if it has one.
 */
extern void ldr_session_run(LdrRun *run, LdrJob *job, const LdrSessionJob *from);

/* Record the load, in the current transaction. */
extern void ldr_session_complete(LdrRun *run);

#endif							/* LDR_SESSION_H */
