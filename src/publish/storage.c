/*
 * publish/storage.c: datasets and their tables as dlt's job client makes, changes, empties and
 * drops them, between packages.
 *
 * All of it in the caller's transaction, so locks are held until that ends. Those of our own are
 * waited for plainly, as the caller's lock_timeout lets it and where the deadlock detector sees it;
 * those of tables by the policy of locks.h. Order, as everywhere: dataset (create), relations,
 * dataset (record). What a package has for itself is left alone: rows wait in its staging tables.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "catalog/loader_catalog.h"
#include "compat.h"
#include "loader.h"
#include "locks.h"
#include "publish/publish.h"
#include "publish/storage.h"
#include "schema/live.h"
#include "worker/worker.h"

static void
__attribute__((noreturn))
storage_undefined(const char *dataset)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_SCHEMA),
			 errmsg("schema \"%s\" does not exist", dataset),
			 errdetail("It would be dataset \"%s\".", dataset),
			 errhint("loader_initialize_storage() creates it, and so does the first load.")));
}

/*
 * Raises 55006 if one of the relations, which are locked, holds rows of a package that goes on. In
 * job mode nobody can know whether it does, so its staging tables are there for who needs them.
 */
static void
storage_check_stages(List *relids)
{
	const LdrStage *stage;
	ListCell   *lc;

	foreach(lc, relids)
		ldr_stage_seize(lfirst_oid(lc));
	stage = ldr_stage_of_live(relids);
	if (stage)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("staging table \"%s\" belongs to package " INT64_FORMAT,
						stage->table_name, stage->package_id),
				 errdetail("Its rows wait there to be published."),
				 errhint("Wait until the package has ended, or stop it: loader_cancel("
						 INT64_FORMAT ").", stage->package_id)));
}

/* The same for a dataset into which a package is being loaded. */
static void
storage_check_packages(const char *dataset)
{
	int64		package_id = ldr_package_running(dataset);

	if (package_id != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("dataset \"%s\" is in use", dataset),
				 errdetail("Package " INT64_FORMAT " is being loaded into it.", package_id),
				 errhint("Wait until the package has ended, or stop it: loader_cancel("
						 INT64_FORMAT ").", package_id)));
}

/* Tables by name, with repetitions taken out. missing_ok false raises 42P01 for one that is not. */
static List *
storage_find(const char *dataset, List *names, bool missing_ok)
{
	Oid			nsp = get_namespace_oid(dataset, true);
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		Oid			relid = OidIsValid(nsp) ? get_relname_relid(lfirst(lc), nsp) : InvalidOid;

		if (OidIsValid(relid))
			relids = list_append_unique_oid(relids, relid);
		else if (!missing_ok)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation \"%s.%s\" does not exist", dataset, (char *) lfirst(lc)),
					 errdetail("It was named to be emptied."),
					 errhint("loader_update_stored_schema() makes the tables of a schema.")));
	}
	return relids;
}

/* COMMAND "dataset"."a", "dataset"."b" */
static void
storage_execute(const char *command, List *relids)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, relids)
	{
		Oid			relid = lfirst_oid(lc);

		appendStringInfo(&sql, "%s %s", sql.len > 0 ? "," : command,
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
													get_rel_name(relid)));
	}
	ldr_sql_execute(sql.data, 0, NULL, NULL, SPI_OK_UTILITY);
}

/* As one statement, so that foreign keys between the tables are in nobody's way. */
static void
storage_truncate(const char *dataset, List *names)
{
	List	   *relids = storage_find(dataset, names, false);
	List	   *locked = NIL;
	ListCell   *lc;

	if (relids == NIL)
		return;
	/* ask for the right before the lock; partitions are emptied with their table */
	foreach(lc, relids)
	{
		if (pg_class_aclcheck(lfirst_oid(lc), GetUserId(), ACL_TRUNCATE) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV,
						   get_relkind_objtype(get_rel_relkind(lfirst_oid(lc))),
						   get_rel_name(lfirst_oid(lc)));
		locked = list_concat_unique_oid(locked, find_all_inheritors(lfirst_oid(lc), NoLock, NULL));
	}
	(void) ldr_lock_tables(locked, AccessExclusiveLock);
	storage_check_stages(locked);
	if (!equal(storage_find(dataset, names, false), relids))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("tables of dataset \"%s\" were dropped by another session", dataset),
				 errhint("Try again.")));
	storage_execute("TRUNCATE TABLE", relids);
}

void
ldr_storage_initialize(const char *dataset, List *truncate_tables)
{
	if (OidIsValid(get_namespace_oid(dataset, true)))
	{
		storage_truncate(dataset, truncate_tables);
		return;
	}
	ldr_dataset_lock(dataset, LDR_DATASET_CREATE);
	if (!OidIsValid(get_namespace_oid(dataset, true)))
		ldr_create_schema(dataset);
}

/* Ask before any lock; what is in a schema goes with it, whoever owns that. */
static void
storage_check_schema_owner(const char *dataset, Oid nsp)
{
	if (OidIsValid(nsp) && !has_privs_of_role(GetUserId(), ldr_live_schema_owner(nsp)))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_SCHEMA, dataset);
}

/* DROP SCHEMA ... CASCADE, once nobody uses what is in it. */
static void
storage_drop_schema(const char *dataset, Oid nsp)
{
	List	   *relids = ldr_live_relations(nsp);

	if (relids != NIL)
		(void) ldr_lock_tables(relids, AccessExclusiveLock);
	storage_check_stages(relids);
	ldr_sql_execute(psprintf("DROP SCHEMA %s CASCADE", quote_identifier(dataset)),
					0, NULL, NULL, SPI_OK_UTILITY);
}

void
ldr_storage_drop(const char *dataset, const char *staging)
{
	Oid			nsp = get_namespace_oid(dataset, true);
	Oid			staging_nsp = get_namespace_oid(staging, true);

	if (!OidIsValid(nsp))
		storage_undefined(dataset);
	storage_check_schema_owner(dataset, nsp);
	storage_check_schema_owner(staging, staging_nsp);
	storage_check_packages(dataset);
	storage_drop_schema(dataset, nsp);
	if (OidIsValid(staging_nsp))
		storage_drop_schema(staging, staging_nsp);
}

/* The server's hint is to write CASCADE, but the statement is ours. */
static void
storage_drop_error(void *arg)
{
	if (geterrcode() == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
		errhint("Drop what depends on the table before.");
}

void
ldr_storage_drop_tables(const char *dataset, List *tables, const char *schema_name)
{
	List	   *relids = storage_find(dataset, tables, true);
	ErrorContextCallback callback = {error_context_stack, storage_drop_error, NULL};
	ListCell   *lc;

	foreach(lc, relids)
		if (!ldr_is_owner(lfirst_oid(lc), GetUserId()))
			aclcheck_error(ACLCHECK_NOT_OWNER,
						   get_relkind_objtype(get_rel_relkind(lfirst_oid(lc))),
						   get_rel_name(lfirst_oid(lc)));
	if (relids != NIL)
	{
		(void) ldr_lock_tables(relids, AccessExclusiveLock);
		storage_check_stages(relids);
		/* those that somebody has dropped before us need not be dropped */
		relids = storage_find(dataset, tables, true);
	}
	if (relids != NIL)
	{
		error_context_stack = &callback;
		storage_execute("DROP TABLE", relids);
		error_context_stack = callback.previous;
	}
	if (schema_name)
		ldr_stored_forget(dataset, schema_name);
}

/* The tables that an update is to look at (List of LdrSchemaTable). */
static List *
storage_tables(const LdrStorageUpdate *u)
{
	List	   *tables = NIL;
	ListCell   *lc;

	for (int i = 0; i < u->schema->ntables && u->only_tables == NIL; i++)
		tables = lappend(tables, &u->schema->tables[i]);
	foreach(lc, u->only_tables)
	{
		LdrSchemaTable *table = ldr_schema_table(u->schema, lfirst(lc));

		if (table == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("table \"%s\" is not in schema \"%s\"", (char *) lfirst(lc),
							u->schema->name),
					 errdetail("Argument \"only_tables\" names it."),
					 errhint("Hand over the schema that has it.")));
		tables = list_append_unique_ptr(tables, table);
	}
	return tables;
}

/* Is this very schema stored there? */
static bool
storage_knows(const LdrStorageUpdate *u)
{
	Oid			nsp = get_namespace_oid(u->dataset, true);

	return OidIsValid(nsp) &&
		OidIsValid(get_relname_relid(u->schema->version_table->name, nsp)) &&
		ldr_system_knows_version(u->schema, u->dataset, u->schema->version_hash);
}

/* The changes of a plan as dlt describes them. */
static char *
storage_describe(const LdrStorageUpdate *u, const LdrPlan *plan)
{
	int			n = 0;
	LdrChange  *changes;
	LdrError	err = {0};
	char	   *text;
	char	   *copy;

	for (int i = 0; i < plan->ntables; i++)
		n += plan->tables[i].nchanges;
	changes = palloc(sizeof(LdrChange) * Max(n, 1));
	n = 0;
	for (int i = 0; i < plan->ntables; i++)
		for (int c = 0; c < plan->tables[i].nchanges; c++)
			changes[n++] = plan->tables[i].changes[c];
	if (ldr_schema_update(u->text, u->len, changes, n, u->replace_strategy, &text, &err) != LDR_OK)
		ldr_raise(&err, NULL);
	copy = pstrdup(text);
	free(text);
	return copy;
}

char *
ldr_storage_update(const LdrStorageUpdate *u)
{
	List	   *tables = storage_tables(u);
	LdrPlan    *plan;
	bool		known = storage_knows(u);
	char	   *answer;

	if (known && !u->force)
		return pstrdup("{}");
	if (u->dry_run)
		return storage_describe(u, ldr_plan_staging(u->schema, u->dataset, tables));
	if (!OidIsValid(get_namespace_oid(u->dataset, true)))
		storage_undefined(u->dataset);

	/* one after the other; who comes second finds all done */
	ldr_dataset_lock(u->dataset, LDR_DATASET_CREATE);
	known = storage_knows(u);
	if (known && !u->force)
		return pstrdup("{}");
	ldr_create_lock(ldr_plan_staging(u->schema, u->dataset, tables));
	plan = ldr_plan_staging(u->schema, u->dataset, tables);
	answer = storage_describe(u, plan);
	ldr_create_plan(plan, u->create_indexes);
	if (known)
		return answer;
	/* a package with the same schema writes its version under this lock */
	ldr_dataset_lock(u->dataset, LDR_DATASET_RECORD);
	if (!ldr_system_knows_version(u->schema, u->dataset, u->schema->version_hash))
		ldr_system_record_version(u->schema, u->dataset, u->schema->version_hash, u->text, u->len);
	return answer;
}
