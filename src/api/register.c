/*
 * api/register.c: loader_register and loader_start: from a directory to a package in the catalog.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "api/api.h"
#include "compat.h"
#include "loader.h"
#include "publish/merge.h"
#include "publish/publish.h"
#include "source/spool.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(loader_register);
PG_FUNCTION_INFO_V1(loader_start);
PG_FUNCTION_INFO_V1(loader_start_package);

void
ldr_api_writes(const char *function)
{
	ldr_catalog_check();
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
}

char *
ldr_api_text(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/* dlt's rule: <dataset> for the default schema, <dataset>_<schema> for another. */
static char *
register_default_dataset(const LdrPackageDir *dir, const LdrOptions *options)
{
	const char *base = dir->state->dataset_name;
	const char *default_schema = options->default_schema_name ? options->default_schema_name
		: dir->state->default_schema_name;
	int			n;
	char	   *last;

	if (base && (default_schema == NULL || strcmp(default_schema, dir->schema->name) == 0))
		return pstrdup(base);
	if (base)
		return psprintf("%s_%s", base, dir->schema->name);
	last = ldr_package_last_dataset(GetUserId(), dir->schema->name, &n);
	if (last)
		return last;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the dataset of package \"%s\" is not known", dir->load_id),
			 n == 0 ? errdetail("The package carries no pipeline state, and role \"%s\" has not "
								"loaded schema \"%s\" before.",
								GetUserNameFromId(GetUserId(), false), dir->schema->name)
			 : errdetail("The package carries no pipeline state, and role \"%s\" has loaded schema "
						 "\"%s\" into %d datasets.",
						 GetUserNameFromId(GetUserId(), false), dir->schema->name, n),
			 errhint("Name it: dataset => '...'.")));
}

void
ldr_api_check_dataset(const char *dataset)
{
	if (dataset[0] == '\0' || strlen(dataset) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("dataset name \"%s\" is %s", dataset,
						dataset[0] ? "longer than 63 bytes" : "empty"),
				 dataset[0] ? errhint("Names are never cut; choose a shorter one.")
				 : errhint("Name a dataset, or leave the argument out.")));
	if (ldr_options_is_reserved(dataset))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("dataset name \"%s\" is reserved", dataset)));
}

char *
ldr_api_dataset(FunctionCallInfo fcinfo, int arg, const LdrPackageDir *dir,
				const LdrOptions *options)
{
	char	   *dataset = PG_ARGISNULL(arg) ? register_default_dataset(dir, options)
		: text_to_cstring(PG_GETARG_TEXT_PP(arg));

	ldr_api_check_dataset(dataset);
	return dataset;
}

void
ldr_api_check_encoding(const char *schema_name, const char *text, size_t len)
{
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return;
	for (size_t i = 0; i < len; i++)
		if (IS_HIGHBIT_SET(text[i]))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("schema \"%s\" has characters beyond ASCII and the database's "
							"encoding is %s", schema_name, GetDatabaseEncodingName()),
					 errhint("Load it into a database with encoding UTF8.")));
}

void
ldr_api_check_merge(const LdrPackageDir *dir, const LdrSchemaTable *root)
{
	LdrMerge	merge = {0};

	merge.tables = palloc0(sizeof(LdrMergeTable) * dir->schema->ntables);
	merge.tables[merge.ntables++].table = root;
	for (int i = 0; i < dir->schema->ntables; i++)
	{
		const LdrSchemaTable *table = &dir->schema->tables[i];

		if (table->root == root && table != root && table->seen_data)
			merge.tables[merge.ntables++].table = table;
	}
	merge.created_at = dir->state->created_at;
	ldr_merge_check(&merge);
	/* the keys of root rows are noted in a temporary table */
	if (merge.ntables > 1 &&
		ldr_database_aclcheck(MyDatabaseId, GetUserId(), ACL_CREATE_TEMP) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to create temporary tables in database \"%s\"",
						get_database_name(MyDatabaseId)),
				 errdetail("To merge table \"%s\" with its nested tables, role \"%s\" needs them.",
						   root->name, GetUserNameFromId(GetUserId(), false)),
				 errhint("GRANT TEMPORARY ON DATABASE ... TO it.")));
	pfree(merge.tables);
}

/* A refresh drops and truncates tables of data; dlt's own are the record of what was loaded. */
static void
register_check_refresh(const LdrPackageDir *dir, char **names, int n)
{
	const LdrSchemaTable *own[] = {dir->schema->version_table, dir->schema->loads_table,
	dir->schema->state_table};

	for (int i = 0; i < n; i++)
		for (size_t o = 0; o < lengthof(own); o++)
			if (own[o] && strcmp(own[o]->name, names[i]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("refresh of table \"%s\" is not allowed", names[i]),
						 errdetail("It is one of dlt's own, and load_package_state.json of "
								   "package \"%s\" drops or truncates it.", dir->load_id),
						 errhint("Let dlt make the package anew.")));
}

void
ldr_api_check_supported(const LdrPackageDir *dir, const char *dataset, const LdrOptions *options)
{
	List	   *roots;
	ListCell   *lc;

	ldr_api_check_encoding(dir->schema->name, dir->schema_text, dir->schema_len);
	register_check_refresh(dir, dir->state->dropped_tables, dir->state->ndropped);
	register_check_refresh(dir, dir->state->truncated_tables, dir->state->ntruncated);
	roots = ldr_follow_roots(dir);
	foreach(lc, roots)
	{
		LdrSchemaTable *root = lfirst(lc);

		if (root->disposition == LDR_REPLACE)
			(void) ldr_replace_strategy(root, options);
		else
			ldr_api_check_merge(dir, root);
	}
	if (roots != NIL || dir->state->ndropped > 0 || dir->state->ntruncated > 0)
		(void) ldr_options_staging(options, dataset);
}

/* From PostgreSQL 17 on the worker connects as the role; so it is asked for everywhere. */
static void
register_check_connect(void)
{
	if (ldr_database_aclcheck(MyDatabaseId, GetUserId(), ACL_CONNECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for database \"%s\"", get_database_name(MyDatabaseId)),
				 errdetail("The package's workers would connect as role \"%s\", which may not.",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("GRANT CONNECT ON DATABASE ... TO it.")));
}

void
ldr_api_check_rights(const LdrPackageDir *dir, const char *dataset)
{
	Oid			user = GetUserId();
	Oid			nsp = get_namespace_oid(dataset, true);
	Oid			loads = OidIsValid(nsp)
		? get_relname_relid(dir->schema->loads_table->name, nsp) : InvalidOid;
	const char *needs;

	if (OidIsValid(loads))
		needs = pg_class_aclcheck(loads, user, ACL_INSERT) == ACLCHECK_OK ||
			pg_attribute_aclcheck_all(loads, user, ACL_INSERT, ACLMASK_ANY) == ACLCHECK_OK
			? NULL : "INSERT on the dataset's tables";
	else if (OidIsValid(nsp))
		needs = ldr_namespace_aclcheck(nsp, user, ACL_CREATE) == ACLCHECK_OK
			? NULL : "CREATE on the schema of that name";
	else
		needs = ldr_database_aclcheck(MyDatabaseId, user, ACL_CREATE) == ACLCHECK_OK
			? NULL : "CREATE on the database, or a schema of that name that is its own";
	if (needs)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to load into dataset \"%s\"", dataset),
				 errdetail("Role \"%s\" needs %s.", GetUserNameFromId(user, false), needs),
				 errhint("GRANT it, or load into another dataset.")));
}

static LdrPackage *
register_describe(FunctionCallInfo fcinfo, const LdrPackageDir *dir, const LdrOptions *options)
{
	LdrPackage *package = ldr_package_make(LDR_MODE_PACKAGE);

	package->load_id = dir->load_id;
	package->schema_name = dir->schema->name;
	package->schema_hash = dir->schema->version_hash;
	package->dataset = ldr_api_dataset(fcinfo, 1, dir, options);
	package->pipeline_name = dir->state->pipeline_name;
	package->destination_name = options->destination_name;
	package->source = dir->source;
	package->options = ldr_options_to_json(options);
	package->settings = ldr_environment_collect();
	package->stamps = dir->stamps;
	return package;
}

/* Is there a job of that id among them? */
static bool
register_has_job(const List *jobs, const char *job_id)
{
	const ListCell *lc;

	foreach(lc, jobs)
		if (strcmp(((const LdrJob *) lfirst(lc))->job_id, job_id) == 0)
		return true;
	return false;
}

/* One job for each chain of tables that is merged or replaced, behind those of the files. */
static void
register_followups(int64 package_id, const LdrPackageDir *dir)
{
	int			ordinal = ldr_job_last(package_id);
	ListCell   *lc;

	foreach(lc, ldr_follow_roots(dir))
	{
		LdrJob	   *job = ldr_follow_job(dir->load_id, lfirst(lc));

		job->ordinal = ++ordinal;
		ldr_job_insert(package_id, job);
	}
}

/* Enter the files as jobs, behind and but for the completed ones: their rows are in already. */
static void
register_jobs(int64 package_id, const LdrPackageDir *dir)
{
	List	   *completed = ldr_job_list(package_id, false);
	int			ordinal = ldr_job_last(package_id);
	ListCell   *lc;

	foreach(lc, dir->files)
	{
		LdrPackageFile *file = lfirst(lc);
		LdrJob		job = {0};

		if (register_has_job(completed, file->job_id))
			continue;
		job.ordinal = ++ordinal;
		job.job_id = file->job_id;
		job.file_name = file->file_name;
		job.table_name = file->table;
		job.format = file->format_name;
		job.kind = "load";
		job.stamp = file->stamp;
		ldr_job_insert(package_id, &job);
	}
	register_followups(package_id, dir);
	ldr_event(package_id, "registered", NULL, "%d job%s.", list_length(dir->files),
			  list_length(dir->files) == 1 ? "" : "s");
}

void
ldr_api_check_registered(const LdrPackage *known)
{
	if (!ldr_package_may_act(known))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("package \"%s\" was registered by another role", known->load_id),
				 errdetail("Role \"%s\" loads it into dataset \"%s\".", known->role_name,
						   known->dataset)));
}

/* What the catalog says of this load already. NULL: nothing is in the way of entering it. */
static LdrPackage *
register_find(LdrPackage *package, const LdrPackageDir *dir, int elevel, bool *is_new)
{
	LdrPackage *known = ldr_package_find(package->dataset, package->schema_name, package->load_id);
	bool		loaded = ldr_system_is_loaded(dir->schema, package->dataset, package->load_id);

	*is_new = false;
	if (known == NULL)
		return NULL;
	ldr_api_check_registered(known);
	if (strcmp(known->mode, "job") == 0 && !loaded && strcmp(known->state, "loaded") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("load \"%s\" is being loaded by its client, job by job",
						known->load_id),
				 errdetail("It is package " INT64_FORMAT ", in state %s.", known->package_id,
						   known->state),
				 errhint("Let the client end it, or call loader_forget(" INT64_FORMAT ").",
						 known->package_id)));
	if (strcmp(known->state, "loaded") == 0 && !loaded)
	{
		ldr_package_supersede(known->package_id);
		return NULL;
	}
	if (strcmp(known->state, "failed") == 0 || strcmp(known->state, "cancelled") == 0)
	{
		package->package_id = known->package_id;
		if (!ldr_api_lock_jobs(known))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("package " INT64_FORMAT " is being loaded", known->package_id)));
		ldr_scout_at_end();
		ldr_package_reregister(package);
		ldr_job_delete(known->package_id, known->dataset);
		register_jobs(known->package_id, dir);
		ereport(elevel,
				(errmsg("package \"%s\" %s before and is registered anew", package->load_id,
						strcmp(known->state, "failed") == 0 ? "failed" : "was cancelled")));
		*is_new = true;
		return package;
	}
	*is_new = strcmp(known->state, "loaded") != 0;
	if (!*is_new)
		ereport(elevel,
				(errmsg("package \"%s\" is already loaded into dataset \"%s\"", package->load_id,
						package->dataset)));
	return known;
}

/*
 * An upload of what is loaded already is done with. (An archive's copy is not: a scan that finds
 * the archive again would unpack it again.)
 */
static void
register_not_needed(const LdrPackageDir *dir)
{
	if (strncmp(dir->source, LDR_UPLOAD_PREFIX, strlen(LDR_UPLOAD_PREFIX)) == 0)
		ldr_spool_done(dir->source, GetUserId());
}

LdrPackage *
ldr_api_register(FunctionCallInfo fcinfo, const char *source, int elevel, bool *is_new)
{
	LdrOptions *options = ldr_options_from_args(fcinfo, 2);
	LdrPackageDir *dir = ldr_package_read(source);
	LdrPackage *package,
			   *known;

	register_check_connect();
	package = register_describe(fcinfo, dir, options);
	ldr_api_check_supported(dir, package->dataset, options);
	ldr_api_check_rights(dir, package->dataset);
	known = register_find(package, dir, elevel, is_new);
	if (known)
	{
		if (!*is_new)
			register_not_needed(dir);
		return known;
	}
	if (ldr_system_is_loaded(dir->schema, package->dataset, package->load_id))
	{
		register_not_needed(dir);
		ereport(elevel,
				(errmsg("package \"%s\" is already loaded into dataset \"%s\"", package->load_id,
						package->dataset)));
		return NULL;
	}
	package->package_id = ldr_package_insert(package);
	if (package->package_id == 0)
	{
		/* another session was first, and has committed */
		known = ldr_package_find(package->dataset, package->schema_name, package->load_id);
		if (known == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("package \"%s\" was registered and forgotten by another session "
							"meanwhile", package->load_id)));
		ldr_api_check_registered(known);
		*is_new = strcmp(known->state, "new") == 0;
		return known;
	}
	register_jobs(package->package_id, dir);
	*is_new = true;
	return package;
}

LdrPackage *
ldr_api_package(int64 package_id, bool fresh)
{
	LdrPackage *package = ldr_package_get(package_id, fresh);

	if (package == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("package " INT64_FORMAT " does not exist", package_id),
				 errhint("See the view loader.packages.")));
	if (!ldr_package_may_act(package))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for package " INT64_FORMAT, package_id),
				 errdetail("It belongs to role \"%s\".", package->role_name)));
	return package;
}

BackgroundWorkerHandle *
ldr_api_start(LdrPackage *package)
{
	BackgroundWorkerHandle *handle;

	if (strcmp(package->mode, LDR_MODE_PACKAGE) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " is driven by its client",
						package->package_id),
				 errhint("No worker of the server's can go on with it.")));
	if (package->system_identifier != (int64) GetSystemIdentifier() ||
		package->database != MyDatabaseId ||
		get_role_oid(package->role_name, true) != package->role)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " was registered elsewhere", package->package_id),
				 errdetail("It comes from another database or server, or its role \"%s\" has "
						   "changed since.",
						   package->role_name),
				 errhint("loader_resume(" INT64_FORMAT ") takes it up here.",
						 package->package_id)));
	/* who has waited longer goes first; this package is among them if it was started before */
	ldr_start_waiting(false, NULL);
	if (package->wanted)
		return NULL;
	if (!ldr_package_want(package->package_id, (int64) GetSystemIdentifier(), MyDatabaseId))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("package " INT64_FORMAT " has ended with state %s", package->package_id,
						package->state),
				 errhint("loader_resume goes on with a failed or cancelled package.")));
	handle = ldr_package_start(package, true, true);
	if (handle == NULL)
		ereport(NOTICE,
				(errmsg("no worker slot is free: package " INT64_FORMAT " stays new",
						package->package_id),
				 errhint("The next loader_start, loader_scan or loader_wait, a package that ends, "
						 "or the launcher starts it. Without the launcher, two free slots are needed "
						 "for one package to start the next: raise max_worker_processes.")));
	return handle;
}

/*
 * loader_register(source, dataset, ...): read and check a package and enter it.
 */
Datum
loader_register(PG_FUNCTION_ARGS)
{
	LdrPackage *package;
	bool		is_new;

	ldr_api_writes("loader_register()");
	package = ldr_api_register(fcinfo, ldr_api_text(fcinfo, 0, "source"), NOTICE, &is_new);
	if (package == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT64(package->package_id);
}

/*
 * loader_start(source, dataset, ...): the same, and start it when the transaction commits.
 */
Datum
loader_start(PG_FUNCTION_ARGS)
{
	LdrPackage *package;
	bool		is_new;

	ldr_api_writes("loader_start()");
	package = ldr_api_register(fcinfo, ldr_api_text(fcinfo, 0, "source"), NOTICE, &is_new);
	if (package == NULL)
		PG_RETURN_NULL();
	if (is_new)
		ldr_api_start(package);
	PG_RETURN_INT64(package->package_id);
}

/*
 * loader_start(package_id): start a registered package.
 */
Datum
loader_start_package(PG_FUNCTION_ARGS)
{
	LdrPackage *package;

	ldr_api_writes("loader_start()");
	package = ldr_api_package(PG_GETARG_INT64(0), true);
	ldr_api_start(package);
	PG_RETURN_INT64(package->package_id);
}
