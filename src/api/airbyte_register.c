/*
 * api/airbyte_register.c: from a catalog and a configuration to a sync in the catalog of packages;
 * and messages in a file, which are a package like any other.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "api/airbyte.h"
#include "api/api.h"
#include "compat.h"
#include "publish/stream.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(loader_start_stream);

LdrPackage *
ldr_airbyte_describe(const LdrSyncOptions *options, const char *catalog, char *destination_name)
{
	LdrPackage *package = ldr_package_make(LDR_MODE_STREAM);

	package->schema_name = options->source_name[0] ? options->source_name : "airbyte";
	package->schema_hash = "";
	package->dataset = options->schema;
	package->destination_name = destination_name;
	package->catalog = pstrdup(catalog);
	package->options = ldr_sync_options_to_json(options);
	package->settings = ldr_environment_collect();
	return package;
}

/* The table's name for loader.jobs and loader.tables, where the package's dataset goes without. */
static char *
register_label(const LdrPackage *package, const LdrStream *stream)
{
	return strcmp(stream->dataset, package->dataset) == 0 ? pstrdup(stream->table)
		: psprintf("%s.%s", stream->dataset, stream->table);
}

/* The streams of a sync, each with its job. */
void
ldr_airbyte_insert(const LdrPackage *package, const LdrAirbyteCatalog *catalog,
				   const char *file_name, const LdrFileStamp *stamp)
{
	for (int i = 0; i < catalog->nstreams; i++)
	{
		const LdrStream *stream = &catalog->streams[i];
		LdrPackageStream s = {0};
		LdrJob		job = {0};

		s.ordinal = job.ordinal = i + 1;
		s.name = ldr_sync_text(stream->name);
		s.name_space = ldr_sync_text(stream->name_space);
		s.dataset = stream->dataset;
		s.table_name = stream->table;
		s.mode = ldr_stream_mode_name(stream->mode);
		ldr_package_stream_insert(package->package_id, &s);
		job.table_name = register_label(package, stream);
		job.job_id = psprintf("%s.%d", job.table_name, job.ordinal);
		job.file_name = unconstify(char *, file_name);
		job.format = "airbyte";
		job.kind = "load";
		job.stamp = *stamp;
		ldr_job_insert(package->package_id, &job);
	}
	ldr_event(package->package_id, "registered", NULL, "%d stream%s.", catalog->nstreams,
			  catalog->nstreams == 1 ? "" : "s");
}

char *
ldr_airbyte_optional_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/* The arguments from source_name on, which open and start have in the same order. */
void
ldr_airbyte_read_choice(FunctionCallInfo fcinfo, int first, LdrSyncOptions *options,
						char **destination_name)
{
	List	   *streams = ldr_api_names(fcinfo, first + 1, "streams");
	ListCell   *lc;

	if (!PG_ARGISNULL(first))	/* else that of the configuration */
		options->source_name = ldr_airbyte_optional_text(fcinfo, first);
	if (!PG_ARGISNULL(first + 1))
	{
		options->streams = palloc(sizeof(char *) * (list_length(streams) + 1));
		foreach(lc, streams)
			options->streams[options->nstreams++] = ldr_airbyte_utf8(lfirst(lc));
	}
	options->write_strategy = ldr_airbyte_optional_text(fcinfo, first + 2);
	options->force_full_refresh = !PG_ARGISNULL(first + 3) && PG_GETARG_BOOL(first + 3);
	options->store_state = PG_ARGISNULL(first + 4) || PG_GETARG_BOOL(first + 4);
	*destination_name = ldr_airbyte_optional_text(fcinfo, first + 5);
}

/* Rows of streams that are not just appended wait in a schema that must be the role's. */
static void
register_check_stage(const LdrAirbyteCatalog *catalog, const LdrSyncOptions *options)
{
	char	   *why = NULL;

	for (int i = 0; i < catalog->nstreams && why == NULL; i++)
		if (catalog->streams[i].mode != LDR_STREAM_APPEND)
			why = ldr_airbyte_check_stage(options->raw_data_schema, catalog->streams[i].dataset);
	if (why)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for staging tables"),
				 errdetail("%s.", why)));
}

/* Who may not connect cannot have a worker, and who may not write must not occupy a table's name. */
void
ldr_airbyte_check_rights(const LdrAirbyteCatalog *catalog, const LdrSyncOptions *options)
{
	if (ldr_database_aclcheck(MyDatabaseId, GetUserId(), ACL_CONNECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for database \"%s\"", get_database_name(MyDatabaseId)),
				 errdetail("The sync's worker would connect as role \"%s\", which may not.",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("GRANT CONNECT ON DATABASE ... TO it.")));
	register_check_stage(catalog, options);
	for (int i = 0; i < catalog->nstreams; i++)
	{
		const LdrStream *stream = &catalog->streams[i];
		Oid			namespace = get_namespace_oid(stream->dataset, true);
		Oid			relid = OidIsValid(namespace) ? get_relname_relid(stream->table, namespace)
			: InvalidOid;
		char	   *why = NULL;

		if (!OidIsValid(relid))
			why = ldr_airbyte_check_schema(stream->dataset);
		else if (pg_class_aclcheck(relid, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
			why = psprintf("role \"%s\" needs INSERT on it",
						   GetUserNameFromId(GetUserId(), false));
		if (why)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to load into table %s",
							quote_qualified_identifier(stream->dataset, stream->table)),
					 errdetail("%s.", why),
					 errhint("GRANT it, or sync into another schema.")));
	}
}

/* --- messages in a file ------------------------------------------------------------------------- */

/* What tells one file from another: its name, size, and when it was written. */
static char *
file_load_id(const char *file_name, const LdrFileStamp *stamp)
{
	return psprintf("%s.%llu.%lld", file_name, (unsigned long long) stamp->size,
					(long long) stamp->mtime_ns);
}

/* The path by which the file is found again, its stamp, and its name. */
static char *
file_find(const char *source, LdrFileStamp *stamp, char **file_name)
{
	LdrPackageDir *dir = ldr_package_of_file();

	*file_name = pstrdup(ldr_package_point_at(dir, source, stamp));
	return psprintf("%s/%s", strcmp(dir->jobs_path, "/") == 0 ? "" : dir->jobs_path, *file_name);
}

/* The same file again: what was loaded is loaded, what failed goes on. */
static LdrPackage *
file_known(const LdrPackage *package, bool *is_new)
{
	LdrPackage *known = ldr_package_find(package->dataset, package->schema_name, package->load_id);

	if (known == NULL)
		return NULL;
	ldr_api_check_registered(known);
	*is_new = strcmp(known->state, "new") == 0;
	if (strcmp(known->state, "loaded") == 0)
		ereport(NOTICE,
				(errmsg("file \"%s\" is already loaded into dataset \"%s\"", package->source,
						package->dataset)));
	else if (strcmp(known->state, "failed") == 0 || strcmp(known->state, "cancelled") == 0)
		ereport(NOTICE,
				(errmsg("package " INT64_FORMAT " of this file %s before", known->package_id,
						strcmp(known->state, "failed") == 0 ? "failed" : "was cancelled"),
				 errhint("loader_resume(" INT64_FORMAT ") goes on with it.", known->package_id)));
	return known;
}

/*
 * Enter a file of messages in the catalog. The arguments of loader_start: source, catalog, config,
 * source_name, streams, write_strategy, force_full_refresh, store_state, destination_name.
 */
static LdrPackage *
file_register(FunctionCallInfo fcinfo, bool *is_new)
{
	char	   *source = ldr_api_text(fcinfo, 0, "source");
	char	   *text = ldr_api_text(fcinfo, 1, "catalog");
	LdrSyncOptions *options = ldr_airbyte_options(fcinfo, 2);
	LdrAirbyteCatalog *catalog;
	LdrFileStamp stamp;
	LdrPackage *package;
	LdrPackage *known;
	char	   *destination_name;
	char	   *file_name;

	ldr_airbyte_read_choice(fcinfo, 3, options, &destination_name);
	catalog = ldr_sync_catalog(text, options);
	ldr_airbyte_check_rights(catalog, options);
	package = ldr_airbyte_describe(options, text, destination_name);
	package->mode = LDR_MODE_PACKAGE;
	package->source = file_find(source, &stamp, &file_name);
	package->load_id = file_load_id(file_name, &stamp);
	known = file_known(package, is_new);
	if (known)
		return known;
	package->package_id = ldr_package_insert(package);
	if (package->package_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("file \"%s\" was registered by another session meanwhile",
						package->source)));
	ldr_airbyte_insert(package, catalog, file_name, &stamp);
	*is_new = true;
	return package;
}

/*
 * loader_start(source, catalog, ...): load the messages of a file in the background.
 */
Datum
loader_start_stream(PG_FUNCTION_ARGS)
{
	LdrPackage *package;
	bool		is_new;

	ldr_api_writes("loader_start()");
	package = file_register(fcinfo, &is_new);
	if (is_new)
		ldr_api_start(package);
	PG_RETURN_INT64(package->package_id);
}
