/*
 * api/api.h: what the SQL-callable functions share.
 */
#ifndef LDR_API_H
#define LDR_API_H

#include "catalog/loader_catalog.h"
#include "fmgr.h"
#include "options.h"
#include "source/package.h"

/* Refuse in recovery and in read-only transactions. */
extern void ldr_api_writes(const char *function);

/* A text argument that must not be NULL. Raises 22004. */
extern char *ldr_api_text(FunctionCallInfo fcinfo, int arg, const char *name);

/*
 * The dataset of a call: the argument, else what dlt's rule makes of the package's pipeline state,
 * else the one dataset into which the role loaded this schema before. Raises 22023.
 */
extern char *ldr_api_dataset(FunctionCallInfo fcinfo, int arg, const LdrPackageDir *dir,
							 const LdrOptions *options);

/*
 * Who may not write to a dataset may not occupy a place in its queue either: 42501. The rest of the
 * rights is asked for by the statements that need them.
 */
extern void ldr_api_check_rights(const LdrPackageDir *dir, const char *dataset);

/* Has the chain the keys that its strategy needs, and are its conditions conditions? Else 22023. */
extern void ldr_api_check_merge(const LdrPackageDir *dir, const LdrSchemaTable *root);

/* Raises 25001 unless the procedure was called where it can commit. */
extern void ldr_api_check_commits(FunctionCallInfo fcinfo, const char *hint);

/*
 * The dataset of a function of the job client or, if its argument staging is true, the staging
 * dataset of that; the layout of its name is the argument behind. Raises 22004, 42602, 42939.
 */
extern char *ldr_api_storage(FunctionCallInfo fcinfo, int arg, int staging);

/* An array of names as a List of char *; NIL for NULL. Raises 22004 for nulls in it. */
extern List *ldr_api_names(FunctionCallInfo fcinfo, int arg, const char *name);

/* Raises 42602 or 42939 for a name that no dataset can have. */
extern void ldr_api_check_dataset(const char *dataset);

/*
 * Names come as UTF-8, and the schema is stored byte for byte. Raises 0A000 for characters that the
 * database does not have.
 */
extern void ldr_api_check_encoding(const char *schema_name, const char *text, size_t len);

/*
 * Raises what cannot be loaded, and shows in the documents already: characters that the database
 * does not have, strategies that do not exist, merges without the keys that they need.
 */
extern void ldr_api_check_supported(const LdrPackageDir *dir, const char *dataset,
									const LdrOptions *options);

/*
 * Read the package at source and enter it in the catalog, or find it there. Returns the package,
 * NULL if it was loaded and forgotten (a NOTICE has said so). *is_new tells whether it is to be
 * started by whoever wants it started; elevel is for what there is to say if it is known.
 */
extern LdrPackage *ldr_api_register(FunctionCallInfo fcinfo, const char *source, int elevel,
									bool *is_new);

/* May the current role register again what the catalog knows? Raises 42501. */
extern void ldr_api_check_registered(const LdrPackage *known);

/* A package that the current role may act on. Raises 42704, 42501. */
extern LdrPackage *ldr_api_package(int64 package_id, bool fresh);

/* Mark as started and start it. Returns the worker's handle, NULL (with NOTICE) without a slot. */
extern struct BackgroundWorkerHandle *ldr_api_start(LdrPackage *package);

/* Keep coordinators away until commit. False if one works on the package. */
extern bool ldr_api_lock(const LdrPackage *package);
extern bool ldr_api_lock_jobs(const LdrPackage *package);

/* It has ended, and a session has it until it commits. */
extern void ldr_api_raise_in_use(int64 package_id) __attribute__((noreturn));

/* Raise the stored error of a package that failed or was cancelled. */
extern void ldr_api_raise_failure(const LdrPackage *package) __attribute__((noreturn));

#endif							/* LDR_API_H */
